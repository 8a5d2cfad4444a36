//! A timestamped observation: what `HAProxy` and the container engines report, with nothing derived from it.

mod change;
mod checks;
mod host;
mod owner;
mod servers;
mod volumes;
pub mod watchtower;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::ids::{ContainerId, ImageId, ServerId};
use crate::model::image::{Image, ImageReference};
use watchtower::{UpdateLabels, Watchtower};

pub use crate::model::healthcheck::{Health, Healthcheck, START_INTERVAL};
pub use change::ContainerChange;
pub use checks::{Checker, Checking, Checks};
pub use host::Host;
pub use owner::Owner;
pub use servers::Servers;
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
    /// The servers that earlier runs of this site have left out of service, according to their journals.
    pub left_out: BTreeSet<ServerId>,
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

/// The state of one server, from `show servers state` and `show stat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerState {
    pub id: ServerId,
    /// The address of its traffic; `None` for a unix socket or an unresolved name.
    pub address: Option<SocketAddr>,
    pub admin: AdminBits,
    pub operational: Operational,
    /// The `status` column of `show stat`, for people only (`UP 1/3`, `MAINT (via b/s)`).
    pub status: String,
    /// The result of the last health check (`L7OK`, `L4CON` …), empty without one.
    pub check: String,
    /// The current weight. A server with weight 0 gets no balanced traffic.
    pub weight: u32,
    /// The weight of the server's line, as `HAProxy` has read it.
    #[serde(skip)]
    pub initial_weight: u32,
    /// Other current settings of the line; `None` before 2.4, which does not report them.
    #[serde(skip)]
    pub settings: Option<RunningSettings>,
    /// Whether its health checks and its agent are on.
    pub checks: Checks,
    /// The sessions in flight (`scur`): requests, tunnels and streams, but not idle connections.
    pub sessions: u64,
    /// The sessions since `HAProxy` started (`stot`).
    pub sessions_total: u64,
    /// The maximum number of sessions at once (`slim`, from `maxconn`); `None` if there is no limit.
    pub limit: Option<u64>,
}

/// Settings of a server's line that can change at runtime, and that a `server-state-file` keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunningSettings {
    pub ssl: bool,
    /// The port of the checks, if it is not the server's own.
    pub check_port: Option<u16>,
    /// The address of the checks, if it is not the server's own.
    pub check_address: Option<IpAddr>,
}

impl ServerState {
    /// Combines the states of the same server on two load balancers.
    fn and(self, other: Self) -> Self {
        let badness = |state: &Self| (!state.is_usable(), state.admin.state(), state.operational);
        let sessions = self.sessions + other.sessions;
        let sessions_total = self.sessions_total + other.sessions_total;
        let limit = self.limit.zip(other.limit).map(|(a, b)| a + b);
        let worst = if badness(&other) > badness(&self) { other } else { self };
        Self { sessions, sessions_total, limit, ..worst }
    }

    /// Returns whether its last health check has passed (`L7OK`, `L4OK`, `L7OKC` …).
    #[must_use]
    pub fn has_passed_a_check(&self) -> bool {
        self.checks.health == Checking::On && self.check.contains("OK")
    }

    /// Returns whether its agent (`agent-check`) is on and may change its state.
    #[must_use]
    pub fn asks_agent(&self) -> bool {
        self.checks.agent == Checking::On
    }

    /// Returns whether its agent (`agent-check`) has reported it as down.
    #[must_use]
    pub fn is_down_by_agent(&self) -> bool {
        self.asks_agent() && self.status == "DOWN (agent)"
    }

    /// Returns whether its agent (`agent-check`) may have taken it out of service. The agent is on, and `HAProxy`
    /// does not keep the agent's answer.
    #[must_use]
    pub fn may_be_out_by_agent(&self) -> bool {
        self.asks_agent() && self.admin.state() != AdminState::Ready && !self.admin.is_inherited()
    }

    /// Returns whether the server may be given a new request now, according to `HAProxy`: no drain, no maintenance,
    /// operationally up (starting counts), and a weight.
    ///
    /// This is `srv_willbe_usable()` in `HAProxy`'s `include/haproxy/backend.h`.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.operational.is_up() && self.weight > 0 && self.admin.state() == AdminState::Ready
    }
}

/// The administrative state, as `set server … state` of the runtime API takes it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AdminState {
    /// In service.
    Ready,
    /// No balanced traffic; persistent clients still come, and checks go on.
    Drain,
    /// No traffic and no checks.
    Maint,
}

impl AdminState {
    /// Returns the bits that `HAProxy` has after this state is set.
    #[must_use]
    pub fn bits(self) -> AdminBits {
        AdminBits(match self {
            Self::Ready => 0,
            Self::Drain => 8,
            Self::Maint => 1,
        })
    }
}

impl fmt::Display for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        })
    }
}

/// The bit mask `srv_admin_state` of `show servers state`, which is printed in decimal.
///
/// The bits are those of `HAProxy`'s `include/haproxy/server-t.h`, the same from 2.2 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AdminBits(pub u32);

impl AdminBits {
    /// Forced or inherited maintenance, or an unresolved address.
    const MAINT: u32 = 0x01 | 0x02 | 0x20;
    /// `CMAINT`, which only marks a server that is `disabled` in the configuration. It stays after `ready`, and a
    /// `server-state-file` does not set it.
    const LINE: u32 = 0x04;
    /// Forced or inherited drain.
    const DRAIN: u32 = 0x08 | 0x10;
    /// Maintenance or drain that comes from a tracked server or from name resolution, and that `set server … state
    /// ready` does not end.
    const NOT_OURS: u32 = 0x02 | 0x10 | Self::UNRESOLVED;
    /// Maintenance because name resolution gives no address: a spare slot of a `server-template`.
    const UNRESOLVED: u32 = 0x20;

    /// Returns the state that the bits amount to.
    #[must_use]
    pub fn state(self) -> AdminState {
        if self.0 & Self::MAINT != 0 {
            AdminState::Maint
        } else if self.0 & Self::DRAIN != 0 {
            AdminState::Drain
        } else {
            AdminState::Ready
        }
    }

    /// Returns the state that was set for this server itself, without inherited states.
    #[must_use]
    pub fn own_state(self) -> AdminState {
        Self(self.0 & !Self::NOT_OURS).state()
    }

    /// Returns whether the state is inherited (from a tracked server or name resolution), so that setting this
    /// server's own state does not change it.
    #[must_use]
    pub fn is_inherited(self) -> bool {
        self.0 & Self::NOT_OURS != 0
    }

    /// Returns whether its line has `disabled`, as `HAProxy` has read it.
    #[must_use]
    pub fn is_disabled_by_its_line(self) -> bool {
        self.0 & Self::LINE != 0
    }

    /// Returns whether it is in maintenance because its name has no address.
    #[must_use]
    pub fn is_unresolved(self) -> bool {
        self.0 & Self::UNRESOLVED != 0
    }
}

/// The value of `srv_op_state` of `show servers state`, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operational {
    /// Value 2: up.
    Running,
    /// Value 1: up, in its slow start.
    Starting,
    /// Value 3: up for persistent clients only (`NOLB`).
    Stopping,
    /// Value 0: down.
    Stopped,
}

impl Operational {
    /// Returns whether it is up, including in its slow start.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Starting)
    }
}

/// A container, from the engine's inspection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Container {
    /// The engine's identifier.
    pub id: ContainerId,
    /// The name, without the leading slash.
    pub name: String,
    /// The image reference that it was created from.
    pub image_reference: String,
    /// The image that it runs.
    pub image: ImageId,
    /// The repository digests (`repository@sha256:…`) that the engine knows for that image.
    pub repo_digests: Vec<String>,
    /// Whether it runs.
    pub state: ContainerState,
    /// The result of Docker's own healthcheck; `None` if the container has none.
    pub health: Option<Health>,
    /// That healthcheck; also `None` in journals and plans of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The TCP ports that it publishes, or would publish if it were running.
    pub published: Vec<Published>,
    /// The UDP ports that it publishes, or would publish if it were running.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published_udp: Vec<Published>,
    /// The networks that it is attached to.
    pub networks: Vec<Attachment>,
    /// Whether it uses the host's network, so that it listens on the host's own addresses.
    pub host_network: bool,
    /// The TCP ports that its image or its creator declared.
    pub exposed: Vec<u16>,
    /// The server lines in its label `drainswap.server`, which are separated by commas there.
    pub claims: Vec<String>,
    /// The source of that label.
    #[serde(default, skip_serializing_if = "LabelSource::is_container")]
    pub claimed_by: LabelSource,
    /// What the engine does when it exits.
    pub restart: RestartPolicy,
    /// Whether it was started with `--rm`: the engine deletes it when it stops, and nothing could bring it back.
    pub auto_remove: bool,
    /// The other tool that it belongs to.
    pub owner: Option<Owner>,
    /// Its settings, if it is a running Watchtower.
    #[serde(skip)]
    pub watchtower: Option<Box<Watchtower>>,
    /// The labels that Watchtower reads.
    #[serde(default, skip_serializing_if = "UpdateLabels::is_empty")]
    pub update_labels: UpdateLabels,
    /// The identifiers of the containers whose network, IPC or process namespace it shares.
    #[serde(default)]
    pub lives_in: Vec<ContainerId>,
    /// Whether its image is no longer on the engine.
    #[serde(default)]
    pub image_is_gone: bool,
    /// The hostname that a person gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The names of the containers that it links to in the default network (`--link`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// The volumes that it has under a name that a person chose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named_volumes: Vec<String>,
    /// Its anonymous volumes; `None` if they are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnamed_volumes: Option<Vec<UnnamedVolume>>,
    /// The paths that must exist on its engine's host whenever it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_paths: Vec<String>,
    /// How many files its process may open, if it has no limit of its own and runs on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// The endpoint of its engine, as in `[engines]`; empty for the default one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub engine: String,
}

impl Container {
    /// Creates a container that does not exist yet.
    #[must_use]
    pub fn described(name: String, restart: RestartPolicy, engine: String) -> Self {
        Self {
            id: ContainerId(String::new()),
            name,
            image_reference: String::new(),
            image: ImageId(String::new()),
            repo_digests: Vec::new(),
            state: ContainerState::Created,
            health: None,
            healthcheck: None,
            published: Vec::new(),
            published_udp: Vec::new(),
            networks: Vec::new(),
            host_network: false,
            exposed: Vec::new(),
            claims: Vec::new(),
            claimed_by: LabelSource::Container,
            restart,
            auto_remove: false,
            owner: None,
            watchtower: None,
            update_labels: UpdateLabels::default(),
            lives_in: Vec::new(),
            image_is_gone: false,
            hostname: None,
            links: Vec::new(),
            named_volumes: Vec::new(),
            unnamed_volumes: None,
            needs_paths: Vec::new(),
            open_files: None,
            engine,
        }
    }

    /// Returns whether it belongs to a Compose project.
    #[must_use]
    pub fn is_of_compose(&self) -> bool {
        matches!(self.owner, Some(Owner::Compose(_)))
    }

    /// Returns how many containers in its place are kept for a rollback, given the policy's `keep`. Containers of a
    /// Compose project are never kept: their labels would make the next `up` start them, and remove the one that
    /// serves (seen with 1.29 and 2.40).
    #[must_use]
    pub fn kept_of(&self, keep: usize) -> usize {
        if self.is_of_compose() { 0 } else { keep }
    }

    /// Returns whether Docker reports it as healthy, and can do so again within this time after a restart.
    #[must_use]
    pub fn is_healthy_again_within(&self, limit: Duration) -> bool {
        let is_in_time = self.healthcheck.is_none_or(|check| check.first_check < limit);
        self.health == Some(Health::Healthy) && is_in_time
    }

    /// Returns its anonymous volumes that no other of these containers on its engine has, whose data would be removed
    /// with it.
    #[must_use]
    pub fn own_volumes<'a>(&self, containers: impl Iterator<Item = &'a Self>) -> Vec<&UnnamedVolume> {
        let others = containers.filter(|it| it.engine == self.engine && it.id != self.id);
        let shared: BTreeSet<&str> = others.flat_map(Self::unnamed_volume_names).collect();
        let own = self.unnamed_volumes.iter().flatten().filter(|it| !shared.contains(it.name.as_str()));
        own.collect()
    }

    /// Returns the names that the engine made up for its volumes.
    pub fn unnamed_volume_names(&self) -> impl Iterator<Item = &str> {
        self.unnamed_volumes.iter().flatten().map(|it| it.name.as_str())
    }

    /// Returns the image that it runs, pinned by its registry's digest if the engine knows one for the repository
    /// that it was created from, or else by its ID on this engine.
    #[must_use]
    pub fn running_image(&self) -> Image {
        let reference = self.image_reference.parse::<ImageReference>().ok();
        let digest = reference.as_ref().and_then(|reference| {
            let known = self.repo_digests.iter().filter_map(|known| known.rsplit_once('@'));
            let mut same = known.filter(|(repository, _)| *repository == reference.repository);
            same.next().map(|(_, digest)| digest.to_owned())
        });
        match (reference, digest) {
            (Some(reference), Some(digest)) => {
                Image::Registry { reference: ImageReference { digest: None, ..reference }, digest }
            }
            (_, _) => Image::Local { reference: self.image_reference.clone(), id: self.image.clone() },
        }
    }
}

/// The source of a container's label. The engine shows the labels of a container and its image as one set, so only a
/// look at the image tells them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// The creator of the container, because its image lacks the label or has another value.
    #[default]
    Container,
    /// Perhaps the image, which has the same label.
    Image,
    /// Unknown, because the image cannot be read.
    Unknown,
}

impl LabelSource {
    /// Returns whether the container's creator set it.
    #[must_use]
    pub fn is_container(&self) -> bool {
        *self == Self::Container
    }
}

/// The run state of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Created and never started.
    Created,
    /// Running.
    Running,
    /// Running but frozen, so that it does not answer.
    Paused,
    /// Exited, and about to be restarted by its restart policy.
    Restarting,
    /// Exited, being removed, or dead.
    Stopped,
}

impl ContainerState {
    /// Returns whether nothing of it runs: it has exited or was never started.
    #[must_use]
    pub fn is_idle(self) -> bool {
        matches!(self, Self::Created | Self::Stopped)
    }
}

/// A published port: the host's address and port, and the container's port behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Published {
    /// The host's address. Unspecified (`0.0.0.0`, `::`) means every address of the host.
    pub ip: IpAddr,
    /// The host's port.
    pub port: u16,
    /// The container's port.
    pub container_port: u16,
}

/// The ports and addresses that the engine chose for a container, and that its successor requests explicitly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Pinned {
    /// The TCP ports that it publishes.
    pub ports: Vec<Published>,
    /// The UDP ports that it publishes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub udp_ports: Vec<Published>,
    /// Its own addresses that server lines name.
    pub addresses: Vec<PinnedAddress>,
}

impl Pinned {
    /// Returns whether the engine chose nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An address in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PinnedAddress {
    /// The network's name.
    pub network: String,
    /// The address.
    pub address: IpAddr,
}

/// A container's attachment to a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Attachment {
    /// The network's name.
    pub network: String,
    /// The container's own addresses there; empty while it is stopped.
    pub addresses: Vec<IpAddr>,
    /// The addresses that were requested (`--ip`), which it has again whenever it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<IpAddr>,
    /// Whether a stopped container has lost this network: it was removed, or another one has the name now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_gone: bool,
    /// Whether no network has that name any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_missing: bool,
    /// The names that reach the container there.
    pub aliases: Vec<String>,
}

/// A container's restart policy (`docker run --restart`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped` or `on-failure`; empty means `no`.
    pub name: String,
    /// The maximum number of restarts for `on-failure`; 0 means no limit.
    pub maximum_retries: i64,
}

impl RestartPolicy {
    /// Returns whether both are the same policy. An empty name means `no`.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let name = |it: &Self| if it.name.is_empty() { "no".to_owned() } else { it.name.clone() };
        name(self) == name(other) && self.maximum_retries == other.maximum_retries
    }

    /// Returns the policy of a container that is never restarted.
    #[must_use]
    pub fn never() -> Self {
        Self { name: "no".to_owned(), maximum_retries: 0 }
    }
}

impl fmt::Display for RestartPolicy {
    /// Writes the policy as `docker run --restart` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.as_str(), self.maximum_retries) {
            ("", _) => f.write_str("no"),
            (name, 0) => f.write_str(name),
            (name, retries) => write!(f, "{name}:{retries}"),
        }
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
