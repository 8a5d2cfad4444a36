//! One stamped look at the world: what `HAProxy` and the container engine say, nothing derived.

mod checks;
mod healthcheck;
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

use crate::ids::{ContainerId, ImageId, ServerId};
use crate::image::{Image, ImageReference};
use crate::ports::Change;
use watchtower::{UpdateLabels, Watchtower};

pub use checks::{Checker, Checking, Checks};
pub use healthcheck::{Health, Healthcheck, START_INTERVAL};
pub use host::Host;
pub use owner::Owner;
pub use servers::Servers;
pub use volumes::UnnamedVolume;

/// Everything that a plan is decided on, taken in one look.
#[derive(Clone, Debug, Serialize)]
pub struct Observation {
    /// When the look was taken.
    pub at: Timestamp,
    /// What each load balancer said.
    pub load_balancers: Vec<LoadBalancerState>,
    /// Every container of the engine, running or not.
    pub containers: Vec<Container>,
    /// The engine behind each server that is not behind the default one.
    pub engines: BTreeMap<ServerId, String>,
    /// The names of the containers that the settings put behind servers.
    pub named: BTreeMap<ServerId, String>,
    /// The containers that are described, by backend.
    pub described: BTreeMap<String, Described>,
    /// What containers have otherwise than their descriptions, of those that were compared.
    pub drift: BTreeMap<ContainerId, Vec<Change>>,
    /// Which of the servers' addresses belong to their engine's host. A port that is published
    /// on every address reaches only these.
    pub host_addresses: BTreeSet<IpAddr>,
    /// What each server answered to a probe of our own.
    pub answers: BTreeMap<ServerId, Answer>,
    /// The servers that do not answer, and at whose address something accepts connections all the same.
    pub occupied: BTreeSet<ServerId>,
    /// What is certain of the engines' hosts, by engine.
    pub hosts: BTreeMap<String, Host>,
    /// The servers that earlier runs of this site have left out of service, by their journals.
    pub left_out: BTreeSet<ServerId>,
}

/// What must be known of a container that is described, before there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Described {
    /// Its name, with `{server}` for the server's, where one is given.
    pub name: Option<String>,
    /// The port inside.
    pub port: u16,
    /// What the engine does when it ends.
    pub restart: RestartPolicy,
    /// Its healthcheck, as far as the description alone tells of it.
    pub healthcheck: Option<Healthcheck>,
    /// The addresses that it asks for.
    pub addresses: Vec<PinnedAddress>,
    /// The paths inside at which it has something mounted that is not a volume without a name.
    pub mounts: Vec<String>,
    /// What its labels say to a Watchtower.
    pub update_labels: UpdateLabels,
    /// The paths of the engine's host that must be there.
    pub needs_paths: Vec<String>,
}

impl Observation {
    /// What is true of a server on all load balancers together.
    #[must_use]
    pub fn server(&self, id: &ServerId) -> Option<ServerState> {
        LoadBalancerState::joined(&self.load_balancers, id)
    }

    /// The engine that is behind a server: nothing for the default one.
    #[must_use]
    pub fn engine(&self, server: &ServerId) -> &str {
        self.engines.get(server).map_or("", String::as_str)
    }

    /// The engines that have containers.
    pub fn engine_names(&self) -> impl Iterator<Item = &str> {
        self.containers.iter().map(|it| it.engine.as_str()).collect::<BTreeSet<_>>().into_iter()
    }

    /// What the server answered to our own probe, if it was asked.
    #[must_use]
    pub fn answer(&self, server: &ServerId) -> Option<&Answer> {
        self.answers.get(server)
    }
}

/// One `HAProxy` process, by its runtime API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadBalancerState {
    /// The load balancer: the address of its runtime socket.
    pub name: String,
    /// `show info`: `Version`, for example `2.6.12-1+deb12u4`.
    pub version: String,
    /// `show info`: `Pid`. It changes when `HAProxy` is reloaded.
    pub pid: u32,
    /// The servers of every backend that was asked for.
    pub servers: Servers,
    /// Requests that wait in a backend's own queue (`qcur` of its BACKEND line), by name.
    pub queued: BTreeMap<String, u64>,
    /// Backends that content switching leaves out (`unpublish backend`, since `HAProxy` 3.4).
    pub unpublished: BTreeSet<String>,
    /// The workers that a reload has replaced, and what they still hold; `None` where no master socket tells of them.
    pub old_workers: Option<Vec<OldWorker>>,
}

/// A worker that a reload has replaced. It serves its last sessions, and then ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OldWorker {
    /// Its process.
    pub pid: u32,
    /// What it holds: every server that has sessions there.
    pub servers: Vec<OldServer>,
}

/// A server as a worker knows it that a reload has replaced: its configuration may have been another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OldServer {
    /// Which line of that configuration.
    pub id: ServerId,
    /// Where its traffic goes.
    pub address: Option<SocketAddr>,
    /// Sessions in flight.
    pub sessions: u64,
}

impl LoadBalancerState {
    /// What is true of a server on all of these together: its sessions are summed, of its states it has the worst.
    /// `None` if one of them does not know it.
    #[must_use]
    pub fn joined(all: &[Self], id: &ServerId) -> Option<ServerState> {
        let mut states = all.iter().map(|seen| seen.server(id).cloned());
        let first = states.next()??;
        states.try_fold(first, |all, state| Some(all.and(state?)))
    }

    /// The server, if `HAProxy` knows it.
    #[must_use]
    pub fn server(&self, id: &ServerId) -> Option<&ServerState> {
        self.servers.find(id)
    }

    /// The sessions that replaced workers still hold to these servers.
    #[must_use]
    pub fn sessions_in_old_workers(&self, servers: &[ServerId]) -> u64 {
        let workers = self.old_workers.iter().flatten();
        workers.map(|worker| self.sessions_of_old_worker(worker, servers)).sum()
    }

    /// The sessions that one of them still holds to these servers: by their names, and by their addresses, since a
    /// server may have had another name.
    #[must_use]
    pub fn sessions_of_old_worker(&self, worker: &OldWorker, servers: &[ServerId]) -> u64 {
        let targets = self.targets(servers);
        let is_meant = |old: &&OldServer| targets.have(&old.id, old.address);
        worker.servers.iter().filter(is_meant).map(|old| old.sessions).sum()
    }

    /// What other workers may know these servers by.
    #[must_use]
    pub fn targets<'a>(&self, servers: &'a [ServerId]) -> Targets<'a> {
        let addresses = servers.iter().filter_map(|id| self.server(id)?.address);
        Targets { addresses: addresses.collect(), ids: servers.iter().collect() }
    }
}

/// What other workers may know some servers by: their names, and the addresses that they have here.
#[derive(Debug)]
pub struct Targets<'a> {
    ids: BTreeSet<&'a ServerId>,
    addresses: BTreeSet<SocketAddr>,
}

impl Targets<'_> {
    /// Whether what a worker calls so, and reaches there, is one of the servers.
    #[must_use]
    pub fn have(&self, id: &ServerId, address: Option<SocketAddr>) -> bool {
        self.ids.contains(id) || address.is_some_and(|address| self.addresses.contains(&address))
    }
}

/// One session in flight, from `show sess`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its address in the process's memory, by which it can be named: `0x7f3cb4f0d400`.
    pub id: String,
    /// The old worker that holds it; `None` for the one that answers on the runtime socket.
    pub worker: Option<u32>,
    /// The server that it is on.
    pub server: ServerId,
    /// Where that server's traffic goes, of an old worker's: its configuration may have given it another name.
    pub address: Option<SocketAddr>,
    /// What goes on in it.
    pub kind: SessionKind,
}

/// What goes on in a session, by the analysers (`an=`) that are still at work on its two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// A request whose answer has not begun.
    Waiting,
    /// An answer is under way.
    Answering,
    /// A tunnel, a websocket, a connection in TCP mode: only its two ends know when it is over.
    Tunnel,
}

/// One server, from `show servers state` and `show stat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerState {
    /// Which server.
    pub id: ServerId,
    /// Where its traffic goes; `None` for a unix socket or a name that is not resolved.
    pub address: Option<SocketAddr>,
    /// The administrative state.
    pub admin: AdminBits,
    /// The operational state.
    pub operational: Operational,
    /// The `status` column of `show stat`, for people only (`UP 1/3`, `MAINT (via b/s)`).
    pub status: String,
    /// What the last health check said (`L7OK`, `L4CON` …), empty without one.
    pub check: String,
    /// The weight in use now; 0 takes no balanced traffic.
    pub weight: u32,
    /// The weight of the server's line, as `HAProxy` has read it.
    #[serde(skip)]
    pub initial_weight: u32,
    /// Other settings of the line, as they are now; `None` before 2.4, which does not tell of them.
    #[serde(skip)]
    pub settings: Option<RunningSettings>,
    /// Who asks it whether it is well.
    pub checks: Checks,
    /// Sessions in flight now (`scur`): requests, tunnels, streams; not idle connections.
    pub sessions: u64,
    /// Sessions since `HAProxy` started (`stot`).
    pub sessions_total: u64,
    /// How many sessions it may have at once (`slim`, from `maxconn`); `None` where there is no limit.
    pub limit: Option<u64>,
}

/// Settings of a server's line that can be changed at runtime, and that a `server-state-file` keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunningSettings {
    /// Whether its traffic is encrypted.
    pub ssl: bool,
    /// The port that is checked, if it is not the server's own.
    pub check_port: Option<u16>,
    /// The address that is checked, if it is not the server's own.
    pub check_address: Option<IpAddr>,
}

impl ServerState {
    /// This one and what another load balancer says of the same server, together.
    fn and(self, other: Self) -> Self {
        let badness = |state: &Self| (!state.is_usable(), state.admin.state(), state.operational);
        let sessions = self.sessions + other.sessions;
        let sessions_total = self.sessions_total + other.sessions_total;
        let limit = self.limit.zip(other.limit).map(|(a, b)| a + b);
        let worst = if badness(&other) > badness(&self) { other } else { self };
        Self { sessions, sessions_total, limit, ..worst }
    }

    /// Whether its last health check has passed (`L7OK`, `L4OK`, `L7OKC` …).
    #[must_use]
    pub fn has_passed_a_check(&self) -> bool {
        self.checks.health == Checking::On && self.check.contains("OK")
    }

    /// Whether its agent (`agent-check`) is asked, and may change its state.
    #[must_use]
    pub fn asks_agent(&self) -> bool {
        self.checks.agent == Checking::On
    }

    /// Whether its agent (`agent-check`) has said that it is down.
    #[must_use]
    pub fn is_down_by_agent(&self) -> bool {
        self.asks_agent() && self.status == "DOWN (agent)"
    }

    /// Whether its agent (`agent-check`) may have taken it out of service: the agent is on, and `HAProxy` does not keep what
    /// it said.
    #[must_use]
    pub fn may_be_out_by_agent(&self) -> bool {
        self.asks_agent() && self.admin.state() != AdminState::Ready && !self.admin.is_inherited()
    }

    /// Whether the server may be given a new request now, going by what `HAProxy` says:
    /// no drain, no maintenance, operationally up (starting counts), and a weight.
    ///
    /// This is `srv_willbe_usable()` of `HAProxy`'s `include/haproxy/backend.h`.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.operational.is_up() && self.weight > 0 && self.admin.state() == AdminState::Ready
    }
}

/// The administrative state as the runtime API's `set server … state` takes it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AdminState {
    /// In service.
    Ready,
    /// No balanced traffic; persistent clients still come, checks go on.
    Drain,
    /// No traffic at all, no checks.
    Maint,
}

impl AdminState {
    /// What `HAProxy` makes of it when it is set.
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

/// `srv_admin_state` of `show servers state`: a bit mask, printed in decimal.
///
/// The bits are those of `HAProxy`'s `include/haproxy/server-t.h`, the same from 2.2 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AdminBits(pub u32);

impl AdminBits {
    /// Forced or inherited maintenance, or an address that is not resolved.
    const MAINT: u32 = 0x01 | 0x02 | 0x20;
    /// `CMAINT` only marks a server that is `disabled` in the configuration. It stays after `ready`, and a
    /// `server-state-file` does not set it.
    const LINE: u32 = 0x04;
    /// Forced or inherited drain.
    const DRAIN: u32 = 0x08 | 0x10;
    /// Maintenance or drain that comes from a tracked server, or from name resolution:
    /// `set server … state ready` does not end it.
    const NOT_OURS: u32 = 0x02 | 0x10 | Self::UNRESOLVED;
    /// Maintenance because name resolution gives no address: a spare slot of a `server-template`.
    const UNRESOLVED: u32 = 0x20;

    /// The state that the bits amount to.
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

    /// The state that was set for this server itself, whatever comes from elsewhere.
    #[must_use]
    pub fn own_state(self) -> AdminState {
        Self(self.0 & !Self::NOT_OURS).state()
    }

    /// Whether the state comes from elsewhere (a tracked server, name resolution), so that
    /// setting this server's own state does not change it.
    #[must_use]
    pub fn is_inherited(self) -> bool {
        self.0 & Self::NOT_OURS != 0
    }

    /// Whether its line says `disabled`, as `HAProxy` has read it.
    #[must_use]
    pub fn is_disabled_by_its_line(self) -> bool {
        self.0 & Self::LINE != 0
    }

    /// Whether it is in maintenance because its name has no address.
    #[must_use]
    pub fn is_unresolved(self) -> bool {
        self.0 & Self::UNRESOLVED != 0
    }
}

/// `srv_op_state` of `show servers state`, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operational {
    /// 2: up.
    Running,
    /// 1: up, in its slow start.
    Starting,
    /// 3: up for persistent clients only (`NOLB`).
    Stopping,
    /// 0: down.
    Stopped,
}

impl Operational {
    /// Whether it is up, be it in its slow start.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Starting)
    }
}

/// One container, from the engine's inspection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Container {
    /// The engine's identifier.
    pub id: ContainerId,
    /// The name, without the leading slash.
    pub name: String,
    /// The image that it was created from, as written then.
    pub image_reference: String,
    /// The image that it runs.
    pub image: ImageId,
    /// The repository digests (`repository@sha256:…`) that the engine knows for that image.
    pub repo_digests: Vec<String>,
    /// Whether it runs.
    pub state: ContainerState,
    /// What Docker's own healthcheck says, `None` where the container has none.
    pub health: Option<Health>,
    /// That healthcheck; `None` also in earlier journals and plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The TCP ports that it publishes; of a stopped container, those that it would.
    pub published: Vec<Published>,
    /// The UDP ports that it publishes, as the TCP ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published_udp: Vec<Published>,
    /// The networks that it is attached to.
    pub networks: Vec<Attachment>,
    /// Whether it uses the host's network, so that it listens on the host's own addresses.
    pub host_network: bool,
    /// TCP ports that its image or its creator declared.
    pub exposed: Vec<u16>,
    /// The label `drainswap.server`: the server lines that it says it serves, several separated by commas.
    pub claims: Vec<String>,
    /// Who set that label.
    #[serde(default, skip_serializing_if = "LabelSource::is_container")]
    pub claimed_by: LabelSource,
    /// What the engine does when it ends.
    pub restart: RestartPolicy,
    /// Started with `--rm`: it vanishes when it is stopped, and nothing could bring it back.
    pub auto_remove: bool,
    /// Another tool to which it belongs.
    pub owner: Option<Owner>,
    /// Its settings, where it is a Watchtower that runs.
    #[serde(skip)]
    pub watchtower: Option<Box<Watchtower>>,
    /// What its labels say to a Watchtower.
    #[serde(default, skip_serializing_if = "UpdateLabels::is_empty")]
    pub update_labels: UpdateLabels,
    /// The containers whose network, IPC or process namespace it lives in, by identifier.
    #[serde(default)]
    pub lives_in: Vec<ContainerId>,
    /// Whether its image is not on the engine any more.
    #[serde(default)]
    pub image_is_gone: bool,
    /// The hostname that a person gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The containers that it links to in the default network (`--link`), by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// The volumes that it has by a name that a person gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named_volumes: Vec<String>,
    /// The volumes that it has without a name; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnamed_volumes: Option<Vec<UnnamedVolume>>,
    /// The paths of its engine's host that must be there whenever it is started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_paths: Vec<String>,
    /// How many files its process may open, where it was given no limit and runs on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// The engine that it is on: its endpoint, as `[engines]` has it, and nothing for the default one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub engine: String,
}

impl Container {
    /// One that there is not yet.
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

    /// Whether it belongs to a Compose project.
    #[must_use]
    pub fn is_of_compose(&self) -> bool {
        matches!(self.owner, Some(Owner::Compose(_)))
    }

    /// How many containers of its place are kept for a rollback, where so many are kept of others. None is of a Compose
    /// project: its labels would make the next `up` start it, and remove the one that serves (seen with 1.29 and 2.40).
    #[must_use]
    pub fn kept_of(&self, keep: usize) -> usize {
        if self.is_of_compose() { 0 } else { keep }
    }

    /// Whether Docker has it healthy, and can have it so again so long after it is started anew.
    #[must_use]
    pub fn is_healthy_again_within(&self, limit: Duration) -> bool {
        let is_in_time = self.healthcheck.is_none_or(|check| check.first_check < limit);
        self.health == Some(Health::Healthy) && is_in_time
    }

    /// Its volumes without a name that none of these containers of its engine has. The data there goes with it.
    #[must_use]
    pub fn own_volumes<'a>(&self, containers: impl Iterator<Item = &'a Self>) -> Vec<&UnnamedVolume> {
        let others = containers.filter(|it| it.engine == self.engine && it.id != self.id);
        let shared: BTreeSet<&str> = others.flat_map(Self::unnamed_volume_names).collect();
        let own = self.unnamed_volumes.iter().flatten().filter(|it| !shared.contains(it.name.as_str()));
        own.collect()
    }

    /// The names that the engine made up for its volumes.
    pub fn unnamed_volume_names(&self) -> impl Iterator<Item = &str> {
        self.unnamed_volumes.iter().flatten().map(|it| it.name.as_str())
    }

    /// The image that it runs, pinned: by its registry's digest where the engine knows one for the
    /// repository that it was created from, else as this engine's own.
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

/// Who set a container's label. The engine shows the labels of a container and of its image as one set, so that only
/// a look at the image tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// The one who created the container: its image lacks the label, or has another value.
    #[default]
    Container,
    /// Perhaps the one who built the image, which has the same label.
    Image,
    /// Not known: the image cannot be read.
    Unknown,
}

impl LabelSource {
    /// Whether the one who created the container set it.
    #[must_use]
    pub fn is_container(&self) -> bool {
        *self == Self::Container
    }
}

/// Whether a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Created and never started.
    Created,
    /// Running.
    Running,
    /// Running, but frozen: it answers nothing.
    Paused,
    /// Ended, and about to be started again by its restart policy.
    Restarting,
    /// Ended, being removed, or dead.
    Stopped,
}

impl ContainerState {
    /// Whether nothing of it runs: it has ended, or was never started.
    #[must_use]
    pub fn is_idle(self) -> bool {
        matches!(self, Self::Created | Self::Stopped)
    }
}

/// A published port: the host's address and port, and the container's port behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Published {
    /// The host's address; unspecified (`0.0.0.0`, `::`) means every address of the host.
    pub ip: IpAddr,
    /// The host's port.
    pub port: u16,
    /// The container's port.
    pub container_port: u16,
}

/// The ports and addresses that the engine chose for a container, and that its successor asks for by number.
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
    /// Whether there is nothing of the engine's choice.
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

/// A container's place in one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Attachment {
    /// The network's name.
    pub network: String,
    /// The container's own addresses there; none while it is stopped.
    pub addresses: Vec<IpAddr>,
    /// Those that were asked for (`--ip`), and that it has again whenever it is started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<IpAddr>,
    /// Whether a container that does not run has lost this network: it was removed, or is another one of that name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_gone: bool,
    /// Whether no network has that name any more, either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_missing: bool,
    /// Names that reach it there.
    pub aliases: Vec<String>,
}

/// A container's restart policy (`docker run --restart`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped` or `on-failure`; empty means `no`.
    pub name: String,
    /// For `on-failure`: how often, 0 for ever.
    pub maximum_retries: i64,
}

impl RestartPolicy {
    /// Whether both say the same: an empty name means `no`.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let name = |it: &Self| if it.name.is_empty() { "no".to_owned() } else { it.name.clone() };
        name(self) == name(other) && self.maximum_retries == other.maximum_retries
    }

    /// The policy of a container that stays ended when it ends.
    #[must_use]
    pub fn never() -> Self {
        Self { name: "no".to_owned(), maximum_retries: 0 }
    }
}

/// What a server answered to one probe of our own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", content = "detail")]
pub enum Answer {
    /// It serves; the detail says what proved it (`GET /health → 200`).
    Ready(String),
    /// It does not (yet); the detail says what came instead (`connection refused`).
    NotReady(String),
}

impl Answer {
    /// Whether the server serves.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// What proved it, or what came instead.
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
        // The values that HAProxy was seen to print, and what each means.
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
