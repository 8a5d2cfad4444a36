//! The servers that a run does not work on, and those that it leaves out of service.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::ids::ServerId;
use crate::model::words::named;
use crate::observation::AdminState;

/// The server lines that a run leaves as they are, and those that it leaves out of service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Rest {
    /// Server lines that are not worked on, in the configuration's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftServer>,
    /// Servers that stay out of service because an operator or haproxy.cfg took them out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub out_of_service: Vec<OutOfService>,
}

/// A server line that is not worked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Left")]
pub struct LeftServer {
    /// The server line.
    pub server: ServerId,
    /// The reason.
    pub why: LeftReason,
}

/// The reason why a server line is not worked on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "WhyLeft")]
pub enum LeftReason {
    /// It has no container, and none may be created: a virtual machine, a sorry server, an address on another host.
    NoContainer,
    /// It has a container, but `HAProxy` has no address for its host name.
    NoAddress,
    /// Its container is gone, and `--no-create` prevents a new one.
    NotCreated,
    /// It is a spare slot: it has no container, and is out of service or has no address.
    Spare,
    /// `leave` in drainswap.toml names it.
    Leave,
    /// `--only` does not name it.
    NotAsked,
}

/// A server that stays out of service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "StaysOut")]
pub struct OutOfService {
    /// The server.
    pub server: ServerId,
    /// The administrative state that it keeps.
    pub state: AdminState,
    /// Whether its agent (`agent-check`) is on and may have set that state: `HAProxy` does not report which.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_agent: bool,
}

impl Rest {
    /// Returns whether every server is worked on, and in service at the end.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left.is_empty() && self.out_of_service.is_empty()
    }

    /// Returns one sentence for each reason why lines are not worked on.
    pub fn why_left(&self) -> impl Iterator<Item = String> {
        use LeftReason::{Leave, NoAddress, NoContainer, NotAsked, NotCreated, Spare};
        let of = |why| {
            let servers: Vec<&ServerId> =
                self.left.iter().filter(|it| it.why == why).map(|it| &it.server).collect();
            (!servers.is_empty()).then(|| format!("{} {}", named(&servers), why.in_words(servers.len() == 1)))
        };
        [NoContainer, NoAddress, NotCreated, Spare, Leave, NotAsked].into_iter().filter_map(of)
    }

    /// Returns one sentence for each state in which servers stay out of service, and whether `--enable` ends that.
    pub fn why_out(&self) -> impl Iterator<Item = (String, bool)> {
        let of = |(state, has_agent)| {
            let servers: Vec<&ServerId> = self
                .out_of_service
                .iter()
                .filter(|it| (it.state, it.has_agent) == (state, has_agent))
                .map(|it| &it.server)
                .collect();
            let stay = if servers.len() == 1 { "stays" } else { "stay" };
            let agent = if has_agent { " (by agent-check, or by hand)" } else { "" };
            (!servers.is_empty())
                .then(|| (format!("{} {stay} in {state}{agent}", named(&servers)), !has_agent))
        };
        let states = [AdminState::Drain, AdminState::Maint];
        states.into_iter().flat_map(|state| [(state, false), (state, true)]).filter_map(of)
    }
}

impl fmt::Display for Rest {
    /// Writes a summary such as `1 left: web/sorry has no container; web/app2 stays in maint`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.why_left().collect::<Vec<_>>().join("; ");
        let counted = if left.is_empty() { left } else { format!("{} left: {left}", self.left.len()) };
        let parts =
            std::iter::once(counted).filter(|it| !it.is_empty()).chain(self.why_out().map(|(why, _)| why));
        f.write_str(&parts.collect::<Vec<_>>().join("; "))
    }
}

impl LeftReason {
    fn in_words(self, is_one: bool) -> &'static str {
        match (self, is_one) {
            (Self::NoContainer, true) => "has no container",
            (Self::NoContainer, false) => "have no container",
            (Self::NoAddress, true) => "has no address in HAProxy",
            (Self::NoAddress, false) => "have no address in HAProxy",
            (Self::NotCreated, true) => "has no container any more (--no-create)",
            (Self::NotCreated, false) => "have no container any more (--no-create)",
            (Self::Spare, true) => "is a spare slot",
            (Self::Spare, false) => "are spare slots",
            (Self::Leave, true) => "is excluded by the settings (leave)",
            (Self::Leave, false) => "are excluded by the settings (leave)",
            (Self::NotAsked, true) => "is not named by --only",
            (Self::NotAsked, false) => "are not named by --only",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(server: &str, why: LeftReason) -> LeftServer {
        LeftServer { server: server.parse().unwrap(), why }
    }

    #[test]
    fn each_reason_has_a_sentence_and_many_names_are_counted() {
        let slots = (1..=6).map(|number| left(&format!("web/slot{number}"), LeftReason::Spare));
        let mut rest = Rest { left: slots.collect(), ..Rest::default() };
        rest.left.push(left("web/sorry", LeftReason::NoContainer));
        rest.out_of_service = vec![OutOfService {
            server: "web/app2".parse().unwrap(),
            state: AdminState::Maint,
            has_agent: false,
        }];
        assert_eq!(
            rest.to_string(),
            "7 left: web/sorry has no container; web/slot1, web/slot2, web/slot3, web/slot4 and 2 more are spare slots; web/app2 stays in maint"
        );
        assert_eq!(Rest::default().to_string(), "");
    }

    #[test]
    fn each_reason_is_given_for_one_server_and_for_several() {
        use LeftReason::{Leave, NoAddress, NoContainer, NotAsked, NotCreated, Spare};
        let words = |why, servers: &[&str]| {
            let left = servers.iter().map(|server| left(server, why)).collect();
            Rest { left, ..Rest::default() }.why_left().collect::<String>()
        };
        for (why, of_one, of_two) in [
            (NoContainer, "has no container", "have no container"),
            (NoAddress, "has no address in HAProxy", "have no address in HAProxy"),
            (
                NotCreated,
                "has no container any more (--no-create)",
                "have no container any more (--no-create)",
            ),
            (Spare, "is a spare slot", "are spare slots"),
            (Leave, "is excluded by the settings (leave)", "are excluded by the settings (leave)"),
            (NotAsked, "is not named by --only", "are not named by --only"),
        ] {
            assert_eq!(words(why, &["web/a"]), format!("web/a {of_one}"));
            assert_eq!(words(why, &["web/a", "web/b"]), format!("web/a, web/b {of_two}"));
        }
    }
}
