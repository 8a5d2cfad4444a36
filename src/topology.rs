//! Which container is behind which server lines, and where traffic goes.

pub mod matching;
pub mod reach;
pub mod readiness;
pub mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cfg::{Address, Configuration, Host, Mode, Place, Port, Proxy};
use crate::engines::EngineMap;
use crate::ids::ServerId;
use crate::observation::{Answer, Container, LoadBalancerState, Observation, ServerState};
use crate::probe::Probe;
use matching::{Behind, MatchRule};

/// The backends of a configuration, joined with what was observed of them.
#[derive(Clone, Debug, Serialize)]
pub struct Topology {
    /// Every backend and listen section that has servers, in the configuration's order.
    pub backends: Vec<Backend>,
}

/// One backend or listen section.
#[derive(Clone, Debug, Serialize)]
pub struct Backend {
    /// Its name.
    pub name: String,
    /// `option allbackups`: without a usable primary all backups share the traffic.
    pub all_backups: bool,
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
    /// What `HAProxy` says of it; `None` when the running process does not know it.
    pub state: Option<ServerState>,
    /// The host name that is written, where it is no address.
    pub host_name: Option<HostName>,
    /// Whether its traffic is encrypted.
    pub tls: bool,
    /// How to prove that it serves; `None` where its address is not known.
    pub probe: Option<Probe>,
    /// What must fail when its container has stopped.
    #[serde(skip)]
    pub silence: Option<Probe>,
    /// What it answered to its probe.
    pub answer: Option<Answer>,
    /// What is behind it.
    pub behind: Behind,
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

    /// Whether it answers our own probe.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.answer.as_ref().is_some_and(Answer::is_ready)
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
                ties: ties(proxy),
                traps: traps(proxy),
                servers: servers(proxy, observation),
            })
            .collect();
        for backend in &mut backends {
            matching::find_gone(backend, observation);
        }
        Self { backends }
    }

    /// The backend of that name.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.name == name)
    }

    /// Every other server line, in any backend, that reaches what this one reaches: the same container, however each
    /// was matched, or the same address.
    pub fn lines_beside(&self, server: &Server) -> impl Iterator<Item = &Server> {
        let (id, container, address) =
            (server.id.clone(), server.container().map(|it| it.id.clone()), server.address());
        let all = self.backends.iter().flat_map(|backend| &backend.servers);
        all.filter(move |other| {
            let same_container =
                container.is_some() && other.container().map(|it| &it.id) == container.as_ref();
            other.id != id && (same_container || address.is_some() && other.address() == address)
        })
    }
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
            if let Some(probe) = readiness::probe(proxy, server, load_balancer.server(&id)) {
                probes.push((id, probe));
            }
        }
    }
    probes
}

/// The engine behind every server that is not behind the default one, for [`Observation::engines`].
#[must_use]
pub fn engines(configuration: &Configuration, map: &EngineMap) -> BTreeMap<ServerId, String> {
    let mut engines = BTreeMap::new();
    for proxy in with_servers(configuration) {
        for server in &proxy.servers {
            let id = ServerId::new(&proxy.name, &server.name);
            engines.extend(map.endpoint(&server.address).map(|endpoint| (id, endpoint)));
        }
    }
    engines
}

/// The addresses of every server, for [`Observation::host_addresses`].
#[must_use]
pub fn addresses(configuration: &Configuration, load_balancer: &LoadBalancerState) -> BTreeSet<IpAddr> {
    let running = load_balancer.servers.iter().filter_map(|server| Some(server.address?.ip()));
    let written = with_servers(configuration).flat_map(|proxy| &proxy.servers).filter_map(|server| {
        match &server.address {
            Address::Inet { host: Host::Ip(ip), .. } => Some(*ip),
            Address::Inet { host: Host::Name(_), .. }
            | Address::Datagram { .. }
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

fn servers(proxy: &Proxy, observation: &Observation) -> Vec<Server> {
    let line = |server: &crate::cfg::Server| {
        let id = ServerId::new(&proxy.name, &server.name);
        let state = observation.server(&id);
        Server {
            place: server.place.clone(),
            role: Role::of(server),
            weight: server.weight,
            host_name: HostName::of(server),
            tls: server.ssl,
            probe: readiness::probe(proxy, server, state.as_ref()),
            silence: readiness::silence(proxy, server, state.as_ref()),
            answer: observation.answer(&id).cloned(),
            behind: matching::behind(&id, &server.address, state.as_ref(), observation),
            state,
            id,
        }
    };
    proxy.servers.iter().map(line).collect()
}

/// Where a server's traffic goes: what the running `HAProxy` says, else what is written, if that is an
/// address and a port. A port that depends on the client's is none.
fn socket_address(address: &Address, state: Option<&ServerState>) -> Option<std::net::SocketAddr> {
    let Address::Inet { host, port: Port::Fixed(port) } = address else { return None };
    let written = match host {
        Host::Ip(ip) => Some((*ip, *port).into()),
        Host::Name(_) => None,
    };
    state.and_then(|state| state.address).or(written)
}

/// Whether requests to this proxy are HTTP.
fn is_http(proxy: &Proxy) -> bool {
    proxy.mode == Mode::Http
}

#[cfg(test)]
mod tests;
