//! One container with every server line that reaches it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error as _;

use super::Replacement;
use super::Step;
use super::before::Before;
use crate::model::hook::HookPoint;
use crate::model::ids::ContainerId;
use crate::model::ids::ServerId;
use crate::model::image::Image;
use crate::model::probe::Probe;
use crate::observation::AdminState;
use crate::topology::HostName;
use crate::topology::Role;
use crate::topology::matching::MatchRule;
use crate::topology::own_check::OwnCheck;
use crate::topology::traffic::Forecast;

/// The work on one replica: one container and every server line that reaches it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Lane {
    /// The server lines, at least one. The first belongs to the backend that the run was started for.
    #[serde(deserialize_with = "at_least_one")]
    pub servers: Vec<LaneServer>,
    /// The role of the lane: primary if any of its lines is one.
    pub role: Role,
    /// Why the lane needs work.
    pub cause: Cause,
    /// What is replaced by what; `None` if the server is only put back in service.
    pub replacement: Option<Replacement>,
    /// Where the traffic of each backend goes while the lane is out.
    pub forecasts: Vec<Forecast>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// Deserialises servers and requires at least one, because a lane is named after its first server.
pub(super) fn at_least_one<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let servers = Vec::deserialize(deserializer)?;
    if servers.is_empty() { Err(D::Error::custom("a lane has no server")) } else { Ok(servers) }
}

impl Lane {
    /// Returns the first server, whose name is the lane's name.
    #[must_use]
    pub fn name(&self) -> &ServerId {
        &self.servers[0].id
    }

    /// Returns the identifiers of the containers that the lane replaces, copies or brings back.
    pub fn containers(&self) -> impl Iterator<Item = &ContainerId> {
        let replacement = self.replacement.iter();
        let known = replacement.flat_map(|it| [Some(&it.like), it.old.as_ref(), it.returning.as_ref()]);
        known.flatten().map(|container| &container.id)
    }

    /// Returns the hook point that comes before a step. Idleness is checked once more after the hook.
    #[must_use]
    pub fn hook_before(&self, step: Step) -> Option<HookPoint> {
        match step {
            Step::Settle => Some(HookPoint::AfterDrain),
            Step::Ready if self.replacement.is_some() => Some(HookPoint::BeforeEnable),
            Step::Create
            | Step::Verify
            | Step::Drain
            | Step::AwaitIdle
            | Step::Maint
            | Step::Stop
            | Step::Start
            | Step::Prove
            | Step::Ready
            | Step::Confirm
            | Step::Remove
            | Step::Discard
            | Step::Return
            | Step::ProveOld
            | Step::PutBack => None,
        }
    }

    /// Returns the lane's servers.
    #[must_use]
    pub fn ids(&self) -> Vec<ServerId> {
        self.servers.iter().map(|server| server.id.clone()).collect()
    }

    /// Returns the servers that must serve when the run ends.
    #[must_use]
    pub fn enabled_ids(&self) -> Vec<ServerId> {
        self.enabled().map(|server| server.id.clone()).collect()
    }

    /// Returns the backends of the lane's servers, each once.
    #[must_use]
    pub fn backends(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.servers.iter().map(|server| &server.id.backend).collect();
        names.into_iter().cloned().collect()
    }

    /// Returns the lane's servers as a set.
    #[must_use]
    pub fn id_set(&self) -> BTreeSet<ServerId> {
        self.servers.iter().map(|server| server.id.clone()).collect()
    }
}

/// A server line of a lane, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LaneServer {
    /// The server line.
    pub id: ServerId,
    /// The probe that proves that it serves.
    pub probe: Probe,
    /// An additional probe for a new container.
    #[serde(default)]
    pub also: Option<Probe>,
    /// `HAProxy`'s own check, where that decides whether a container serves on this line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_check: Option<OwnCheck>,
    /// The probe that must fail once the old container has stopped; `None` if that is not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Probe>,
    /// Its administrative state before the run.
    pub was: AdminState,
    /// The state that it keeps when its container is replaced, where a person or haproxy.cfg took it out of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stays: Option<AdminState>,
    /// The load balancers that ask its agent (`agent-check`). The agent is turned off there while the server is out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// The load balancers at which its agent is off and stays off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents_off: Vec<String>,
    /// The number of sessions in flight on it when the plan was made, on all load balancers.
    #[serde(default)]
    pub sessions: u64,
    /// Whether `HAProxy` gave it requests and it answered drainswap's own probe before the run.
    pub served: bool,
    /// What it did before the run; missing in plans of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// Whether `HAProxy` will give it requests as soon as it is ready.
    pub takes_traffic: bool,
    /// How the container behind it was found; `None` if there is none yet, and in plans of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<MatchRule>,
    /// The address that its traffic goes to; `None` in plans of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// The host name on its line, if it has one instead of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<HostName>,
}

/// Why a lane needs work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cause {
    /// It runs a different image.
    OtherImage {
        /// The image that it runs.
        runs: Image,
    },
    /// It has the wanted image, but does not run or does not answer.
    NotServing {
        /// What is wrong with it.
        why: String,
    },
    /// Its container is gone.
    ContainerGone {
        /// The container whose settings the new one gets.
        like: String,
    },
    /// It has no container yet, and drainswap.toml describes one.
    NotYetThere,
    /// It has the wanted image, but differs from its description in drainswap.toml.
    Drifted,
    /// It has the same image as the container that it replaced, and that container comes back.
    Superseded,
    /// It runs the wanted image and answers, but was left out of service.
    OutOfService {
        /// The administrative state that it was left in.
        left_in: AdminState,
    },
}
