//! The site that a run works on: two sites may share a state directory, and their runs must not be confused.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::ids::ServerId;
use crate::plan::Plan;

/// The characteristics that distinguish one site from another.
///
/// No single one is enough: a reinstalled engine has a new identifier, cloned virtual machines share one, a checkout
/// has another path in every CI job, and a runtime socket may have two names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteIdentity {
    /// The address of every server, as written in haproxy.cfg.
    pub servers: BTreeMap<ServerId, String>,
    /// The runtime sockets: real paths, or `host:port`.
    pub sockets: BTreeSet<String>,
    /// The identifiers of the engines (`ID` of `docker info`). Podman generates a new one each time.
    pub engines: BTreeSet<String>,
    /// The real paths of haproxy.cfg.
    pub files: BTreeSet<String>,
}

impl SiteIdentity {
    /// Returns the same site with only the servers of the backends that a plan is for or touches.
    #[must_use]
    pub fn of(&self, plan: &Plan) -> Self {
        let backends = plan.backends();
        let is_touched = |id: &ServerId| id.backend == plan.goal.backend || backends.contains(&id.backend);
        let servers = self.servers.iter().filter(|(id, _)| is_touched(id));
        let servers = servers.map(|(id, address)| (id.clone(), address.clone())).collect();
        Self { servers, ..self.clone() }
    }

    /// Returns whether a run on a backend that was made at `of` belongs to this site.
    ///
    /// The servers that both sites have must have the same addresses, and there must be at least one: adding or
    /// removing a server does not make another site. A socket, an engine or a file must also match.
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

    /// Returns whether both sites use the same `HAProxy` through one of their sockets.
    #[must_use]
    pub fn shares_socket(&self, other: &Self) -> bool {
        !self.sockets.is_disjoint(&other.sockets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a site from `server=address` words and marks: `socket:…`, `engine:…`, `file:…`.
    fn site(text: &str) -> SiteIdentity {
        let mut site = SiteIdentity::default();
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
    fn a_run_belongs_to_a_site_with_the_same_addresses_and_one_common_mark() {
        let here = site("app1=:50000 app1b=:50001 socket:a engine:1 file:/cfg");
        for (of, is_ours) in [
            ("app1=:50000 app1b=:50001 socket:a engine:1 file:/cfg", true),
            // One mark is enough: the others change on ordinary sites.
            ("app1=:50000 app1b=:50001 socket:a", true),
            ("app1=:50000 app1b=:50001 engine:1 file:/other", true),
            ("app1=:50000 app1b=:50001 socket:b engine:2 file:/cfg", true),
            ("app1=:50000 app1b=:50001 socket:b engine:2 file:/other", false),
            ("app1=:50000 app1b=:50001", false),
            // Adding or removing a server does not make another site; moving one may.
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
        // This also holds if it is unknown where the traffic goes.
        plan.balances.clear();
        assert_eq!(all.of(&plan), site("app1=:50000 socket:a"));
    }
}
