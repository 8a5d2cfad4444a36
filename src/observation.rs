//! A timestamped observation: what `HAProxy` and the container engines report, with nothing derived from it.

mod change;
mod checks;
mod container;
mod host;
mod load_balancer;
mod owner;
mod place;
mod server;
mod servers;
mod surge;
mod volumes;
pub mod watchtower;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::ids::{ContainerId, RunId, ServerId};
use watchtower::UpdateLabels;

pub use crate::model::healthcheck::{Health, Healthcheck, START_INTERVAL};
pub use change::ContainerChange;
pub use checks::{Checker, Checking, Checks};
pub use container::{Container, ContainerState, LabelSource};
pub use host::Host;
pub use load_balancer::{
    LoadBalancerState, OldServer, OldWorker, Session, SessionCount, SessionKind, Targets,
};
pub use owner::Owner;
pub use place::{Attachment, Pinned, PinnedAddress, Published, RestartPolicy};
pub use server::{AdminBits, AdminState, Operational, RunningSettings, ServerState};
pub use servers::Servers;
pub use surge::{AloneBecause, SurgeLabel};
pub use volumes::UnnamedVolume;

/// Everything that a plan is based on, observed at one time.
#[derive(Clone, Debug, Serialize)]
pub struct Observation {
    /// The time of the observation.
    pub at: Timestamp,
    pub load_balancers: Vec<LoadBalancerState>,
    /// Every container of the engines, running or not.
    pub containers: Vec<Container>,
    /// The engine of each server that is not on the default one.
    pub engines: BTreeMap<ServerId, String>,
    /// The names of the containers that the settings put behind servers.
    pub named: BTreeMap<ServerId, String>,
    /// The descriptions of containers, by backend.
    pub described: BTreeMap<String, Described>,
    /// The differences between containers and their descriptions, for the containers that were compared.
    pub drift: BTreeMap<ContainerId, Vec<ContainerChange>>,
    /// The servers' addresses that belong to their engine's host. A port that is published on every address reaches
    /// only these.
    pub host_addresses: BTreeSet<IpAddr>,
    /// The answer of each server to drainswap's own probe.
    pub answers: BTreeMap<ServerId, Answer>,
    /// The servers that do not answer, but at whose address something accepts connections.
    pub occupied: BTreeSet<ServerId>,
    /// What is known of the engines' hosts, by engine.
    pub hosts: BTreeMap<String, Host>,
    /// The servers that earlier runs of this site have left out of service, according to their journals, and those on
    /// which a run of another state directory is at work.
    pub left_out: BTreeSet<ServerId>,
    /// The runs in this state directory.
    pub known_runs: BTreeSet<RunId>,
}

/// What must be known of a described container before it exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Described {
    /// The configured name, with `{server}` in place of the server's name.
    pub name: Option<String>,
    /// The port inside the container.
    pub port: u16,
    pub restart: RestartPolicy,
    /// The healthcheck, where the description alone determines it.
    pub healthcheck: Option<Healthcheck>,
    /// The addresses that the container requests.
    pub addresses: Vec<PinnedAddress>,
    /// The paths inside the container at which something other than an anonymous volume is mounted.
    pub mounts: Vec<String>,
    /// The labels that Watchtower reads.
    pub update_labels: UpdateLabels,
    /// The paths that must exist on the engine's host.
    pub needs_paths: Vec<String>,
}

impl Observation {
    /// Returns the state of a server on all load balancers combined.
    #[must_use]
    pub fn server(&self, id: &ServerId) -> Option<ServerState> {
        LoadBalancerState::joined(&self.load_balancers, id)
    }

    /// Returns the engine of a server, which is empty for the default one.
    #[must_use]
    pub fn engine(&self, server: &ServerId) -> &str {
        self.engines.get(server).map_or("", String::as_str)
    }

    /// Returns the engines that have containers.
    pub fn engine_names(&self) -> impl Iterator<Item = &str> {
        self.containers.iter().map(|it| it.engine.as_str()).collect::<BTreeSet<_>>().into_iter()
    }

    /// Returns the server's answer to drainswap's own probe, if it was probed.
    #[must_use]
    pub fn answer(&self, server: &ServerId) -> Option<&Answer> {
        self.answers.get(server)
    }
}

/// A server's answer to one of drainswap's own probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", content = "detail")]
pub enum Answer {
    /// It serves. The detail is what proved it (`GET /health → 200`).
    Ready(String),
    /// It does not serve (yet). The detail is what came instead (`connection refused`).
    NotReady(String),
}

impl Answer {
    /// Returns whether the server serves.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// Returns what proved that it serves, or what came instead.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Ready(detail) | Self::NotReady(detail) => detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_bits_are_a_mask() {
        // The values that HAProxy was seen to print, and their meanings.
        for (bits, state) in [
            (0, AdminState::Ready),
            (4, AdminState::Ready),
            (1, AdminState::Maint),
            (5, AdminState::Maint),
            (2, AdminState::Maint),
            (32, AdminState::Maint),
            (8, AdminState::Drain),
            (12, AdminState::Drain),
            (16, AdminState::Drain),
            (64, AdminState::Ready),
        ] {
            assert_eq!(AdminBits(bits).state(), state, "{bits}");
        }
        assert!(AdminBits(16).is_inherited() && AdminBits(32).is_inherited() && !AdminBits(9).is_inherited());
    }
}
