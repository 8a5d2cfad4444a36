//! What a load balancer reports.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::Deserialize;
use serde::Serialize;

use super::ServerState;
use super::servers::Servers;
use crate::model::ids::ServerId;

/// The state of one `HAProxy` process, from its runtime API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadBalancerState {
    /// The address of its runtime socket, which names the load balancer.
    pub name: String,
    /// `Version` of `show info`, for example `2.6.12-1+deb12u4`.
    pub version: String,
    /// `Pid` of `show info`. It changes when `HAProxy` is reloaded.
    pub pid: u32,
    /// The servers of every requested backend.
    pub servers: Servers,
    /// The number of requests in each backend's own queue (`qcur` of its BACKEND line), by name.
    pub queued: BTreeMap<String, u64>,
    /// The backends that content switching leaves out (`unpublish backend`, since `HAProxy` 3.4).
    pub unpublished: BTreeSet<String>,
    /// The old workers after a reload, and what they still hold; `None` if no master socket lists them.
    pub old_workers: Option<Vec<OldWorker>>,
}

/// An old worker after a reload. It serves its last sessions and then exits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OldWorker {
    /// The process ID.
    pub pid: u32,
    /// Every server to which it holds sessions.
    pub servers: Vec<OldServer>,
}

/// A server as an old worker knows it, whose configuration may differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OldServer {
    /// The line in that configuration.
    pub id: ServerId,
    pub address: Option<SocketAddr>,
    pub sessions: u64,
}

impl LoadBalancerState {
    /// Returns the state of a server on all of these combined: the sum of its sessions and the worst of its states.
    /// Returns `None` if one of them does not know it.
    #[must_use]
    pub fn joined(all: &[Self], id: &ServerId) -> Option<ServerState> {
        let mut states = all.iter().map(|seen| seen.server(id).cloned());
        let first = states.next()??;
        states.try_fold(first, |all, state| Some(all.and(state?)))
    }

    /// Counts the sessions on these servers at all of these load balancers together, in old workers too.
    #[must_use]
    pub fn sessions_on(all: &[Self], servers: &[ServerId]) -> SessionCount {
        let states = || servers.iter().flat_map(|id| all.iter().filter_map(|seen| seen.server(id)));
        let in_old_workers: u64 = all.iter().map(|seen| seen.sessions_in_old_workers(servers)).sum();
        SessionCount {
            now: states().map(|state| state.sessions).sum::<u64>() + in_old_workers,
            total: states().map(|state| state.sessions_total).sum(),
        }
    }

    /// Returns the server, if `HAProxy` knows it.
    #[must_use]
    pub fn server(&self, id: &ServerId) -> Option<&ServerState> {
        self.servers.find(id)
    }

    /// Returns the number of sessions that old workers still hold to these servers.
    #[must_use]
    pub fn sessions_in_old_workers(&self, servers: &[ServerId]) -> u64 {
        let workers = self.old_workers.iter().flatten();
        workers.map(|worker| self.sessions_of_old_worker(worker, servers)).sum()
    }

    /// Returns the number of sessions that an old worker still holds to these servers. They are matched by name and
    /// by address, because a server may have had another name.
    #[must_use]
    pub fn sessions_of_old_worker(&self, worker: &OldWorker, servers: &[ServerId]) -> u64 {
        let targets = self.targets(servers);
        let matches = |old: &&OldServer| targets.have(&old.id, old.address);
        worker.servers.iter().filter(matches).map(|old| old.sessions).sum()
    }

    /// Returns the names and addresses by which other workers may know these servers.
    #[must_use]
    pub fn targets<'a>(&self, servers: &'a [ServerId]) -> Targets<'a> {
        let addresses = servers.iter().filter_map(|id| self.server(id)?.address);
        Targets { addresses: addresses.collect(), ids: servers.iter().collect() }
    }
}

/// The sessions on some servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionCount {
    /// Those in flight.
    pub now: u64,
    /// Those since `HAProxy` started.
    pub total: u64,
}

/// The names and addresses by which other workers may know some servers.
#[derive(Debug)]
pub struct Targets<'a> {
    ids: BTreeSet<&'a ServerId>,
    addresses: BTreeSet<SocketAddr>,
}

impl Targets<'_> {
    /// Returns whether a worker's server with this name and address is one of the servers.
    #[must_use]
    pub fn have(&self, id: &ServerId, address: Option<SocketAddr>) -> bool {
        self.ids.contains(id) || address.is_some_and(|address| self.addresses.contains(&address))
    }
}

/// A session in flight, from `show sess`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its address in the process's memory, which identifies it: `0x7f3cb4f0d400`.
    pub id: String,
    /// The process ID of the old worker that holds it; `None` for the current worker.
    pub worker: Option<u32>,
    /// The server that handles it.
    pub server: ServerId,
    /// The server's address in an old worker, whose configuration may have another name for the server.
    pub address: Option<SocketAddr>,
    pub kind: SessionKind,
}

/// The activity in a session, by the analysers (`an=`) that are still working on its two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// A request whose answer has not begun.
    Waiting,
    /// An answer is under way.
    Answering,
    /// A tunnel, a websocket, or a connection in TCP mode. Only its two ends know when it is over.
    Tunnel,
}
