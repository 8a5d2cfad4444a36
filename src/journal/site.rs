//! The place that a run works on: two sites may share a state directory, and their runs must not be taken for each other's.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::ServerId;
use crate::plan::Plan;

/// What tells one site from another.
///
/// No single mark is enough: an engine that was installed anew has another identifier, two virtual machines that were
/// cloned share one, a checkout has another path in every CI job, and a runtime socket may be named in two ways.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The address of every server, as haproxy.cfg has it.
    pub servers: BTreeMap<ServerId, String>,
    /// The runtime sockets: real paths, or `host:port`.
    pub sockets: BTreeSet<String>,
    /// The identifiers of the engines (`ID` of `docker info`). Podman makes up another one each time.
    pub engines: BTreeSet<String>,
    /// The real paths of haproxy.cfg.
    pub files: BTreeSet<String>,
}

impl Site {
    /// The same, with the servers of the backends alone that a plan is for or touches.
    #[must_use]
    pub fn of(&self, plan: &Plan) -> Self {
        let backends = plan.backends();
        let is_touched = |id: &ServerId| id.backend == plan.backend || backends.contains(&id.backend);
        let servers = self.servers.iter().filter(|(id, _)| is_touched(id));
        let servers = servers.map(|(id, address)| (id.clone(), address.clone())).collect();
        Self { servers, ..self.clone() }
    }

    /// Whether a run on a backend that was made at `of` belongs to this site.
    ///
    /// The servers that both have must have the same addresses, and there must be one: a server that was added or
    /// removed since makes no other site of it. A socket, an engine or a file must be the same, too.
    #[must_use]
    pub fn owns(&self, of: &Self, backend: &str) -> bool {
        let both: Vec<bool> = of
            .servers
            .iter()
            .filter(|(id, _)| id.backend == backend)
            .filter_map(|(id, address)| Some(self.servers.get(id)? == address))
            .collect();
        let is_known = self.shares_socket(of)
            || !self.engines.is_disjoint(&of.engines)
            || !self.files.is_disjoint(&of.files);
        is_known && !both.is_empty() && both.iter().all(|is_same| *is_same)
    }

    /// Whether the same `HAProxy` is set through one of the sockets.
    #[must_use]
    pub fn shares_socket(&self, other: &Self) -> bool {
        !self.sockets.is_disjoint(&other.sockets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A site from `server=address` words, and its marks: `socket:…`, `engine:…`, `file:…`.
    fn site(text: &str) -> Site {
        let mut site = Site::default();
        for word in text.split_whitespace() {
            if let Some((server, address)) = word.split_once('=') {
                site.servers.insert(ServerId::new("mobile", server), address.to_owned());
            } else if word.starts_with("socket:") {
                site.sockets.insert(word.to_owned());
            } else if word.starts_with("engine:") {
                site.engines.insert(word.to_owned());
            } else {
                site.files.insert(word.to_owned());
            }
        }
        site
    }

    #[test]
    fn a_run_belongs_where_its_addresses_and_one_mark_are_the_same() {
        let here = site("app1=:50000 app1b=:50001 socket:a engine:1 file:/cfg");
        for (of, is_ours) in [
            ("app1=:50000 app1b=:50001 socket:a engine:1 file:/cfg", true),
            // One mark is enough: the others change on ordinary sites.
            ("app1=:50000 app1b=:50001 socket:a", true),
            ("app1=:50000 app1b=:50001 engine:1 file:/other", true),
            ("app1=:50000 app1b=:50001 socket:b engine:2 file:/cfg", true),
            ("app1=:50000 app1b=:50001 socket:b engine:2 file:/other", false),
            ("app1=:50000 app1b=:50001", false),
            // A server that came or went since is no other site; one that moved may be.
            ("app1=:50000 socket:a", true),
            ("app1=:50000 app2=:50002 socket:a", true),
            ("app1=:50000 app1b=:60001 socket:a", false),
            ("app1=:60000 app1b=:60001 socket:a engine:1 file:/cfg", false),
            ("web1=:50000 socket:a engine:1 file:/cfg", false),
            ("socket:a engine:1 file:/cfg", false),
        ] {
            assert_eq!(here.owns(&site(of), "mobile"), is_ours, "{of}");
        }
        assert!(!here.owns(&here, "pay"), "it has no such backend");
    }

    #[test]
    fn only_the_servers_of_the_backends_that_a_run_touches_are_kept() {
        let mut all = site("app1=:50000 socket:a");
        all.servers.insert(ServerId::new("pay", "app1"), ":1".to_owned());
        let mut plan = crate::testing::World::pair().plan("v2").unwrap();
        assert_eq!(all.of(&plan), site("app1=:50000 socket:a"));
        // Also where nothing is known of where its traffic goes.
        plan.balances.clear();
        assert_eq!(all.of(&plan), site("app1=:50000 socket:a"));
    }
}
