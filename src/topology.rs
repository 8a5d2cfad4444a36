//! Which container is behind which server lines, and where traffic goes.

pub mod divergence;
pub mod matching;
pub mod own_check;
pub mod reach;
pub mod readiness;
pub mod traffic;
pub mod updaters;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cfg::{Address, Configuration, Host, Mode, Place, Port, Proxy};
use crate::engines::Engine;
use crate::ids::{ContainerId, ServerId};
use crate::observation::{
    AdminState, Answer, Container, LoadBalancerState, Observation, OldWorker, ServerState,
};
use crate::places::Places;
use crate::probe::Probe;
use matching::{Behind, MatchRule, NoMatch};
use own_check::{OwnCheck, own_check};

/// The backends of a configuration, joined with what was observed of them.
#[derive(Clone, Debug, Serialize)]
pub struct Topology {
    /// Every backend and listen section that has servers, in the configuration's order.
    pub backends: Vec<Backend>,
    /// Servers that `HAProxy` runs and the configuration lacks: a section was removed without a reload, the server was
    /// added at runtime, or `HAProxy` has read another file too.
    #[serde(skip)]
    pub unlisted: Vec<Unlisted>,
}

/// A server that `HAProxy` runs and the configuration lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlisted {
    /// The load balancer that runs it.
    pub load_balancer: String,
    /// What that says of it.
    pub state: ServerState,
    /// The container that its address leads to.
    pub reaches: Option<ContainerId>,
}

impl Unlisted {
    /// Whether it has no sessions, and gets none.
    #[must_use]
    pub fn is_out_of_use(&self) -> bool {
        self.state.admin.state() == AdminState::Maint && self.state.sessions == 0
    }
}

/// One backend or listen section.
#[derive(Clone, Debug, Serialize)]
pub struct Backend {
    /// Its name.
    pub name: String,
    /// `option allbackups`: without a usable primary all backups share the traffic.
    pub all_backups: bool,
    /// Whether clients tied to a server come even where it is down (`option persist`, `force-persist`).
    #[serde(skip)]
    pub persists: bool,
    /// What ties clients to one of its servers, in `HAProxy`'s words: those still come in drain, and in maint go where
    /// the balance sends them (measured on 2.2 to 3.2).
    pub ties: Vec<String>,
    /// What its configuration does to clients when a server is taken out or put back, for a person to know.
    pub traps: Vec<String>,
    /// Its servers, in the configuration's order.
    pub servers: Vec<Server>,
}

/// One server line, the state that `HAProxy` gives it, and what is behind it.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Which line.
    pub id: ServerId,
    /// Where it is written.
    pub place: Place,
    /// From the `backup` keyword.
    pub role: Role,
    /// The weight that is written.
    pub weight: u32,
    /// Whether `disabled` is written on its line.
    pub disabled: bool,
    /// What `HAProxy` says of it; `None` when the running process does not know it.
    pub state: Option<ServerState>,
    /// The host name that is written, where it is no address.
    pub host_name: Option<HostName>,
    /// Whether its traffic is encrypted.
    pub tls: bool,
    /// How to prove that it serves; `None` where its address is not known.
    pub probe: Option<Probe>,
    /// `HAProxy`'s own check of it, where that decides whether it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_check: Option<OwnCheck>,
    /// What must fail when its container has stopped.
    #[serde(skip)]
    pub silence: Option<Probe>,
    /// What it answered to its probe, or what its own check says of it.
    pub answer: Option<Answer>,
    /// What is behind it.
    pub behind: Behind,
    /// The container that its address leads to, whatever a label or the settings put behind it.
    #[serde(skip)]
    pub reaches: Option<ContainerId>,
}

/// The host name in a server line, and who makes an address of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostName {
    /// The name.
    pub name: String,
    /// Whether `HAProxy` goes on asking its `resolvers`; else it has asked once, when it started.
    pub is_resolved: bool,
}

impl HostName {
    fn of(server: &crate::cfg::Server) -> Option<Self> {
        let Address::Inet { host: Host::Name(name), .. } = &server.address else { return None };
        Some(Self { name: name.clone(), is_resolved: server.has_resolvers })
    }
}

/// A server's part in its backend.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes traffic whenever it is usable.
    Primary,
    /// Takes traffic only when no primary is usable.
    Backup,
}

impl Role {
    /// The role that a server line gives.
    #[must_use]
    pub fn of(server: &crate::cfg::Server) -> Self {
        if server.backup { Self::Backup } else { Self::Primary }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Primary => "primary",
            Self::Backup => "backup",
        })
    }
}

impl Server {
    /// Whether `HAProxy` would give it a request now.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.state.as_ref().is_some_and(ServerState::is_usable)
    }

    /// Whether it is a slot for a server to come: no container is behind it, and it is in maint, which it is too as long as
    /// its name has no address, or has a port that nothing listens on.
    #[must_use]
    pub fn is_spare(&self) -> bool {
        let Some(state) = &self.state else { return false };
        self.is_foreign() && (state.admin.state() == AdminState::Maint || has_no_port(state))
    }

    /// Whether its agent (`agent-check`) is asked, and may change its state.
    #[must_use]
    pub fn has_agent(&self) -> bool {
        self.state.as_ref().is_some_and(ServerState::asks_agent)
    }

    /// Whether only `HAProxy` can tell how it is: no container is behind it, and none is meant to be.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        match &self.behind {
            Behind::Unmatched { why: NoMatch::NotThere { .. }, .. }
            | Behind::Container(_)
            | Behind::Gone { .. }
            | Behind::Described { .. }
            | Behind::Ambiguous { .. } => false,
            Behind::Unmatched { .. } => true,
        }
    }

    /// Whether it answers our own probe, or its own check has it up where that decides.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.answer.as_ref().is_some_and(Answer::is_ready)
    }

    /// What it answered to its probe, in words.
    #[must_use]
    pub fn answer_detail(&self) -> &str {
        self.answer.as_ref().map_or("it was not asked", Answer::detail)
    }

    /// Where `HAProxy` sends its traffic, if that is an address.
    #[must_use]
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.state.as_ref().and_then(|state| state.address)
    }

    /// The container behind it, if it is known.
    #[must_use]
    pub fn container(&self) -> Option<&Container> {
        match &self.behind {
            Behind::Container(found) => Some(&found.container),
            Behind::Gone { .. }
            | Behind::Described { .. }
            | Behind::Unmatched { .. }
            | Behind::Ambiguous { .. } => None,
        }
    }

    /// How that container was found.
    #[must_use]
    pub fn rule(&self) -> Option<MatchRule> {
        match &self.behind {
            Behind::Container(found) => Some(found.rule),
            Behind::Gone { .. }
            | Behind::Described { .. }
            | Behind::Unmatched { .. }
            | Behind::Ambiguous { .. } => None,
        }
    }
}

impl Backend {
    /// The same with what may be secret hidden: the headers and bodies of its checks.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut backend = self.clone();
        let probes = backend.servers.iter_mut().filter_map(|server| server.probe.as_mut());
        probes.for_each(|probe| probe.question.hide());
        backend
    }
}

impl Topology {
    /// Joins a configuration with an observation. A server whose container is not found, or
    /// not for certain, is part of the result; whoever plans with it decides what that means.
    #[must_use]
    pub fn new(configuration: &Configuration, observation: &Observation) -> Self {
        let mut backends: Vec<Backend> = with_servers(configuration)
            .map(|proxy| Backend {
                name: proxy.name.clone(),
                all_backups: proxy.all_backups,
                persists: proxy.persist,
                ties: ties(proxy),
                traps: traps(proxy),
                servers: servers(configuration, proxy, observation),
            })
            .collect();
        matching::drop_image_labels(&mut backends);
        for backend in &mut backends {
            matching::find_gone(backend, observation);
        }
        Self { backends, unlisted: unlisted(configuration, observation) }
    }

    /// The backend of that name.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.name == name)
    }

    /// Every other server line, in any backend, that reaches what this one reaches: the same container, however each
    /// was matched, the same address, or another address that leads to the container.
    pub fn lines_beside(&self, server: &Server) -> impl Iterator<Item = &Server> {
        let (id, container, address) =
            (server.id.clone(), server.container().map(|it| it.id.clone()), server.address());
        let all = self.backends.iter().flat_map(|backend| &backend.servers);
        all.filter(move |other| {
            let same_container =
                container.is_some() && other.container().map(|it| &it.id) == container.as_ref();
            let leads_there = container.is_some() && other.reaches == container;
            let same_address = address.is_some() && other.address() == address;
            other.id != id && (same_container || leads_there || same_address)
        })
    }

    /// The servers that the configuration lacks and that reach what these reach, as far as they are in use.
    pub fn unlisted_beside<'a>(&'a self, servers: &'a [&'a Server]) -> impl Iterator<Item = &'a Unlisted> {
        self.unlisted.iter().filter(move |unlisted| {
            let same_container = |server: &&Server| {
                unlisted.reaches.is_some() && server.container().map(|it| &it.id) == unlisted.reaches.as_ref()
            };
            let same_address = |server: &&Server| {
                unlisted.state.address.is_some() && server.address() == unlisted.state.address
            };
            !unlisted.is_out_of_use() && servers.iter().any(|it| same_container(it) || same_address(it))
        })
    }

    /// Everything of `HAProxy` that reaches a container by its address, in words.
    #[must_use]
    pub fn users(&self, container: &ContainerId, observation: &Observation) -> Vec<String> {
        let lines = self.backends.iter().flat_map(|backend| &backend.servers);
        let lines = lines.filter(|server| server.reaches.as_ref() == Some(container));
        let unlisted = self.unlisted.iter().filter(|it| it.reaches.as_ref() == Some(container));
        let workers = observation.load_balancers.iter().flat_map(|seen| seen.old_workers.iter().flatten());
        let holds = |worker: &&OldWorker| {
            let mut addresses = worker.servers.iter().filter_map(|old| old.address);
            addresses.any(|address| {
                observation
                    .engine_names()
                    .any(|engine| reached(observation, engine, address).is_some_and(|it| it.id == *container))
            })
        };
        lines
            .map(|server| server.id.to_string())
            .chain(unlisted.map(|it| format!("{}, which haproxy.cfg lacks", it.state.id)))
            .chain(workers.filter(holds).map(|worker| format!("HAProxy's replaced worker {}", worker.pid)))
            .collect()
    }
}

/// The container on that engine that an address leads to. One that does not run has no address.
fn reached<'a>(
    observation: &'a Observation,
    engine: &str,
    address: std::net::SocketAddr,
) -> Option<&'a Container> {
    let running = observation.containers.iter().filter(|it| it.engine == engine && !it.state.is_idle());
    let is_host = observation.host_addresses.contains(&address.ip());
    // A port that is only declared may be another one's.
    let rule = |it: &Container| reach::reach(it, address, is_host).filter(|rule| rule.has_address());
    running.filter_map(|it| Some((rule(it)?, it))).min_by_key(|(rule, _)| *rule).map(|(_, it)| it)
}

/// The servers of the running `HAProxy` that the configuration lacks.
fn unlisted(configuration: &Configuration, observation: &Observation) -> Vec<Unlisted> {
    let listed = server_ids(configuration);
    let everywhere = observation.load_balancers.iter();
    let servers = everywhere.flat_map(|seen| seen.servers.iter().map(move |server| (seen, server)));
    let unlisted = servers.filter(|(_, server)| !listed.contains(&server.id));
    let found = unlisted.map(|(seen, server)| Unlisted {
        load_balancer: seen.name.clone(),
        reaches: server.address.and_then(|address| {
            reached(observation, observation.engine(&server.id), address).map(|it| it.id.clone())
        }),
        state: server.clone(),
    });
    found.collect()
}

fn server_ids(configuration: &Configuration) -> BTreeSet<ServerId> {
    let servers = with_servers(configuration)
        .flat_map(|proxy| proxy.servers.iter().map(|server| ServerId::new(&proxy.name, &server.name)));
    servers.collect()
}

/// The proxies that have servers. A disabled one is left out: the running `HAProxy` has none of it.
pub fn with_servers(configuration: &Configuration) -> impl Iterator<Item = &Proxy> {
    configuration.proxies.iter().filter(|proxy| !proxy.servers.is_empty() && !proxy.disabled)
}

/// How to probe every server of a configuration, given where the running `HAProxy` sends its traffic.
#[must_use]
pub fn probes(configuration: &Configuration, load_balancer: &LoadBalancerState) -> Vec<(ServerId, Probe)> {
    let mut probes = Vec::new();
    for proxy in with_servers(configuration) {
        for server in &proxy.servers {
            let id = ServerId::new(&proxy.name, &server.name);
            let own_check = own_check(configuration, proxy, server);
            if let Some(probe) =
                readiness::probe(proxy, server, load_balancer.server(&id), own_check.as_ref())
            {
                probes.push((id, probe));
            }
        }
    }
    probes
}

/// The engine behind every server that is not behind the default one, for [`Observation::engines`]. A server that the
/// configuration lacks is where its address says, or where another server of that host is.
#[must_use]
pub fn engines(
    configuration: &Configuration,
    load_balancers: &[LoadBalancerState],
    places: &Places,
) -> BTreeMap<ServerId, String> {
    let mut engines = BTreeMap::new();
    let mut by_host = BTreeMap::new();
    let mut listed = BTreeSet::new();
    for proxy in with_servers(configuration) {
        for server in &proxy.servers {
            let id = ServerId::new(&proxy.name, &server.name);
            listed.insert(id.clone());
            let Some(Engine { endpoint, .. }) = places.engine(&id, &server.address) else { continue };
            let running = load_balancers.iter().filter_map(|seen| seen.server(&id)?.address);
            by_host.extend(running.map(|address| (address.ip(), endpoint.clone())));
            engines.insert(id, endpoint);
        }
    }
    let running = load_balancers.iter().flat_map(|seen| &seen.servers);
    for server in running.filter(|server| !listed.contains(&server.id)) {
        let Some(address) = server.address else { continue };
        let (host, port) = (Host::Ip(address.ip()), Port::Fixed(address.port()));
        let written = places.engine(&server.id, &Address::Inet { host, port });
        let endpoint = written.map(|engine| engine.endpoint).or_else(|| by_host.get(&address.ip()).cloned());
        engines.extend(endpoint.map(|endpoint| (server.id.clone(), endpoint)));
    }
    engines
}

/// The addresses of every server, for [`Observation::host_addresses`].
#[must_use]
pub fn addresses(configuration: &Configuration, load_balancer: &LoadBalancerState) -> BTreeSet<IpAddr> {
    let running = load_balancer.servers.iter().filter_map(|server| Some(server.address?.ip()));
    let written = with_servers(configuration).flat_map(|proxy| &proxy.servers).filter_map(|server| {
        match &server.address {
            Address::Inet { host: Host::Ip(ip), .. } => Some(ip.to_canonical()),
            Address::Inet { host: Host::Name(_), .. }
            | Address::Datagram { .. }
            | Address::Quic { .. }
            | Address::Unix(_)
            | Address::Other(_) => None,
        }
    });
    running.chain(written).collect()
}

fn ties(proxy: &Proxy) -> Vec<String> {
    let cookie = proxy.cookie.iter().map(|name| format!("cookie {name}"));
    let sticks = proxy.sticks.then(|| "a stick table".to_owned());
    let mut used: Vec<String> =
        proxy.use_servers.iter().map(|rule| format!("use-server {}", rule.server)).collect();
    used.dedup();
    cookie.chain(sticks).chain(used).collect()
}

fn traps(proxy: &Proxy) -> Vec<String> {
    let name = &proxy.name;
    let mut traps = Vec::new();
    if proxy.persist {
        traps.push(format!(
            "backend {name} has option persist or force-persist: clients tied to a server still come in maint, and meet nobody while its container is replaced"
        ));
    }
    if proxy.servers.iter().any(|server| server.cuts_backup_sessions_when_up) {
        traps.push(format!(
            "backend {name} has on-marked-up shutdown-backup-sessions: when a server is ready again, HAProxy cuts what is in flight on its backups"
        ));
    }
    if proxy.servers.iter().any(|server| server.cuts_sessions_when_down) {
        traps.push(format!(
            "backend {name} has on-marked-down shutdown-sessions: with --on-drain-timeout maint or shutdown, HAProxy cuts all that is in flight at once"
        ));
    }
    if proxy.servers.iter().any(|server| server.maxconn.is_some()) {
        traps.push(format!(
            "backend {name} has maxconn: where requests queue when the last primary leaves, HAProxy 2.6 to 3.2 may leave them queued although a backup is free, and is woken then"
        ));
    }
    traps
}

fn servers(configuration: &Configuration, proxy: &Proxy, observation: &Observation) -> Vec<Server> {
    let line = |server: &crate::cfg::Server| {
        let id = ServerId::new(&proxy.name, &server.name);
        let mut state = observation.server(&id);
        if let Some(state) = state.as_mut().filter(|_| !has_own_port(&server.address)) {
            state.address = None;
        }
        let own_check = own_check(configuration, proxy, server);
        Server {
            place: server.place.clone(),
            role: Role::of(server),
            weight: server.weight,
            disabled: server.disabled,
            host_name: HostName::of(server),
            tls: server.ssl,
            probe: readiness::probe(proxy, server, state.as_ref(), own_check.as_ref()),
            silence: readiness::silence(proxy, server, state.as_ref(), own_check.as_ref()),
            answer: own_check::answer(own_check.as_ref(), state.as_ref(), observation.answer(&id)),
            own_check,
            behind: matching::behind(&id, server, state.as_ref(), observation),
            reaches: matching::reaches(&id, server, state.as_ref(), observation),
            state,
            id,
        }
    };
    proxy.servers.iter().map(line).collect()
}

/// Whether its port is not the client's. `HAProxy` tells of the offset of `+1` as if it were port 1.
fn has_own_port(address: &Address) -> bool {
    match address {
        Address::Inet { port, .. } | Address::Datagram { port, .. } | Address::Quic { port, .. } => {
            matches!(port, Port::Fixed(_))
        }
        Address::Unix(_) | Address::Other(_) => true,
    }
}

/// Where a server's traffic goes: what the running `HAProxy` says, else what is written, if that is an
/// address and a port. A port that depends on the client's is none.
fn socket_address(address: &Address, state: Option<&ServerState>) -> Option<std::net::SocketAddr> {
    let Address::Inet { port: Port::Fixed(_), .. } = address else { return None };
    state.and_then(|state| state.address).or(address.fixed())
}

/// Whether the port is a placeholder's: 0, or 1, on which nothing is ever published.
fn has_no_port(state: &ServerState) -> bool {
    state.address.is_some_and(|address| address.port() <= 1)
}

/// Whether requests to this proxy are HTTP.
fn is_http(proxy: &Proxy) -> bool {
    proxy.mode == Mode::Http
}

#[cfg(test)]
mod tests;
