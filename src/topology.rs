//! Matches containers to server lines, and predicts where traffic goes.

mod caveats;
pub mod divergence;
pub mod engine_map;
pub mod matching;
mod missing;
mod nearest;
pub mod own_check;
pub mod places;
pub mod reach;
pub mod readiness;
mod to_observe;
pub mod traffic;
mod unlisted;
pub mod updaters;

use std::fmt;

use caveats::{caveats, persistence};
use matching::{MatchResult, MatchRule, NoMatch};
use own_check::{OwnCheck, own_check};
use serde::{Deserialize, Serialize};
use unlisted::unlisted;

use crate::cfg::{Address, Configuration, Host, Mode, NotDynamic, Place, Port, Proxy, Version};
use crate::model::ids::{ContainerId, ServerId};
use crate::model::probe::Probe;
use crate::observation::{AdminState, Answer, Container, Observation, OldWorker, ServerState};

pub use to_observe::{addresses, engines, probes};
pub use unlisted::Unlisted;

/// The backends of a configuration, joined with their observed state.
#[derive(Clone, Debug, Serialize)]
pub struct Topology {
    /// Every backend and listen section with servers, in the configuration's order.
    pub backends: Vec<Backend>,
    /// Servers that `HAProxy` runs but the configuration lacks: a section was removed without a reload, the server
    /// was added at runtime, or `HAProxy` has read another file too.
    #[serde(skip)]
    pub unlisted: Vec<Unlisted>,
}

/// A backend or listen section.
#[derive(Clone, Debug, Serialize)]
pub struct Backend {
    pub name: String,
    /// Whether `option allbackups` is set: without a usable primary all backups share the traffic.
    pub all_backups: bool,
    /// Whether persistent clients are sent to servers that are down (`option persist`, `force-persist`).
    #[serde(skip)]
    pub persists: bool,
    /// What ties clients to one of its servers, in `HAProxy`'s words. In drain such clients still come; in maint they
    /// are balanced over the other servers (measured on 2.2 to 3.2).
    #[serde(rename = "ties")]
    pub persistence: Vec<String>,
    /// Notes for the operator on what the configuration does to clients when a server is taken out or put back.
    #[serde(rename = "traps")]
    pub caveats: Vec<String>,
    /// The servers, in the configuration's order.
    pub servers: Vec<Server>,
}

/// A server line, its state in `HAProxy`, and the container behind it.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    pub id: ServerId,
    pub place: Place,
    pub role: Role,
    /// The weight on the line.
    pub weight: u32,
    /// Whether the line has `disabled`.
    pub disabled: bool,
    /// The state in `HAProxy`; `None` if the running process does not know the server.
    pub state: Option<ServerState>,
    /// The host name on the line, if it has one instead of an address.
    pub host_name: Option<HostName>,
    pub tls: bool,
    /// The probe that proves that it serves; `None` if its address is unknown.
    pub probe: Option<Probe>,
    /// `HAProxy`'s own check, where that decides whether it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_check: Option<OwnCheck>,
    /// The probe that must fail once its container has stopped.
    #[serde(skip)]
    pub silence: Option<Probe>,
    /// Its answer to the probe, or the result of its own check.
    pub answer: Option<Answer>,
    pub behind: MatchResult,
    /// The container that its address leads to, regardless of labels and settings.
    #[serde(skip)]
    pub reaches: Option<ContainerId>,
    /// The words with which a server of the same settings is added at runtime, without weight, `maxconn` and cookie.
    #[serde(skip)]
    pub dynamic: Result<Vec<String>, NotDynamic>,
    /// The value of the backend's cookie that selects it.
    #[serde(skip)]
    pub cookie: Option<String>,
}

/// The host name on a server line, and how `HAProxy` resolves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostName {
    /// The name.
    pub name: String,
    /// Whether `HAProxy` keeps resolving it through its `resolvers`; otherwise it resolved it once, at its start.
    pub is_resolved: bool,
}

impl HostName {
    fn of(server: &crate::cfg::Server) -> Option<Self> {
        let Address::Inet { host: Host::Name(name), .. } = &server.address else { return None };
        Some(Self { name: name.clone(), is_resolved: server.has_resolvers })
    }
}

/// The role of a server in its backend.
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
    /// Returns the role of a server line.
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
    /// Returns whether `HAProxy` would give it a request now.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.state.as_ref().is_some_and(ServerState::is_usable)
    }

    /// Returns whether it is a spare slot: it has no container, and is in maint, including because its name has no
    /// address, or has a port on which nothing listens.
    #[must_use]
    pub fn is_spare(&self) -> bool {
        let Some(state) = &self.state else { return false };
        self.is_foreign() && (state.admin.state() == AdminState::Maint || has_no_port(state))
    }

    /// Returns whether its agent (`agent-check`) is on and may change its state.
    #[must_use]
    pub fn has_agent(&self) -> bool {
        self.state.as_ref().is_some_and(ServerState::asks_agent)
    }

    /// Returns whether only `HAProxy` knows its health: it has no container and is not meant to have one.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        match &self.behind {
            MatchResult::Unmatched { why: NoMatch::NotThere { .. }, .. }
            | MatchResult::Container(_)
            | MatchResult::Gone { .. }
            | MatchResult::Described { .. }
            | MatchResult::Ambiguous { .. } => false,
            MatchResult::Unmatched { .. } => true,
        }
    }

    /// Returns whether it answers drainswap's own probe, or its own check reports it up where that decides.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.answer.as_ref().is_some_and(Answer::is_ready)
    }

    /// Returns the text of its answer to the probe.
    #[must_use]
    pub fn answer_detail(&self) -> &str {
        self.answer.as_ref().map_or("it was not probed", Answer::detail)
    }

    /// Returns the address to which `HAProxy` sends its traffic, if known.
    #[must_use]
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.state.as_ref().and_then(|state| state.address)
    }

    /// Returns the container behind it, if known.
    #[must_use]
    pub fn container(&self) -> Option<&Container> {
        match &self.behind {
            MatchResult::Container(found) => Some(&found.container),
            MatchResult::Gone { .. }
            | MatchResult::Described { .. }
            | MatchResult::Unmatched { .. }
            | MatchResult::Ambiguous { .. } => None,
        }
    }

    /// Returns how that container was found.
    #[must_use]
    pub fn rule(&self) -> Option<MatchRule> {
        match &self.behind {
            MatchResult::Container(found) => Some(found.rule),
            MatchResult::Gone { .. }
            | MatchResult::Described { .. }
            | MatchResult::Unmatched { .. }
            | MatchResult::Ambiguous { .. } => None,
        }
    }
}

impl Backend {
    /// Returns the backend with possible secrets hidden: the headers and bodies of its checks.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut backend = self.clone();
        let probes = backend.servers.iter_mut().filter_map(|server| server.probe.as_mut());
        probes.for_each(|probe| probe.question.hide());
        backend
    }
}

impl Topology {
    /// Joins a configuration with an observation.
    ///
    /// Servers whose container is missing or uncertain are part of the result; the planner decides what to do about
    /// them.
    #[must_use]
    pub fn new(configuration: &Configuration, observation: &Observation) -> Self {
        let mut backends: Vec<Backend> = with_servers(configuration)
            .map(|proxy| Backend {
                name: proxy.name.clone(),
                all_backups: proxy.all_backups,
                persists: proxy.persist,
                persistence: persistence(proxy),
                caveats: caveats(proxy),
                servers: servers(configuration, proxy, observation),
            })
            .collect();
        matching::drop_image_labels(&mut backends);
        for backend in &mut backends {
            missing::find_missing(backend, observation);
        }
        Self { backends, unlisted: unlisted(configuration, observation) }
    }

    /// Returns the backend of that name.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.name == name)
    }

    /// Returns every other server line, in any backend, that reaches the same container: it was matched to that
    /// container, has the same address, or has another address that leads to it.
    pub fn aliases_of(&self, server: &Server) -> impl Iterator<Item = &Server> {
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

    /// Returns the servers that are in use, that the configuration lacks, and that reach the containers of `servers`.
    pub fn unlisted_aliases_of<'a>(
        &'a self,
        servers: &'a [&'a Server],
    ) -> impl Iterator<Item = &'a Unlisted> {
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

    /// Returns descriptions of everything in `HAProxy` that reaches a container by its address.
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
            .chain(unlisted.map(|it| format!("{} (not in haproxy.cfg)", it.state.id)))
            .chain(workers.filter(holds).map(|worker| format!("HAProxy's old worker {}", worker.pid)))
            .collect()
    }
}

/// Returns the container on an engine that an address leads to. A stopped container has no address.
fn reached<'a>(
    observation: &'a Observation,
    engine: &str,
    address: std::net::SocketAddr,
) -> Option<&'a Container> {
    let running = observation.containers.iter().filter(|it| it.engine == engine && !it.state.is_idle());
    let is_host = observation.host_addresses.contains(&address.ip());
    // A port that is merely declared may belong to another container.
    let rule = |it: &Container| reach::reach(it, address, is_host).filter(|rule| rule.has_address());
    running.filter_map(|it| Some((rule(it)?, it))).min_by_key(|(rule, _)| *rule).map(|(_, it)| it)
}

/// Returns the proxies that have servers, without disabled ones, which the running `HAProxy` does not have.
pub fn with_servers(configuration: &Configuration) -> impl Iterator<Item = &Proxy> {
    configuration.proxies.iter().filter(|proxy| !proxy.servers.is_empty() && !proxy.disabled)
}

fn servers(configuration: &Configuration, proxy: &Proxy, observation: &Observation) -> Vec<Server> {
    let oldest = oldest_version(observation);
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
            behind: matching::match_container(&id, server, state.as_ref(), observation),
            reaches: matching::reaches(&id, server, state.as_ref(), observation),
            dynamic: proxy.dynamic_words(server, oldest),
            cookie: server.cookie.clone(),
            state,
            id,
        }
    };
    proxy.servers.iter().map(line).collect()
}

/// Returns the oldest version among the load balancers. One that reports none that can be read counts as the oldest.
fn oldest_version(observation: &Observation) -> Version {
    let versions = observation.load_balancers.iter().map(|seen| seen.version.parse().ok());
    versions.min().flatten().unwrap_or(Version::new(0, 0))
}

/// Returns whether the port is independent of the client's. `HAProxy` reports the offset `+1` as port 1.
fn has_own_port(address: &Address) -> bool {
    match address {
        Address::Inet { port, .. } | Address::Datagram { port, .. } | Address::Quic { port, .. } => {
            matches!(port, Port::Fixed(_))
        }
        Address::Unix(_) | Address::Other(_) => true,
    }
}

/// Returns where a server's traffic goes: as the running `HAProxy` reports it, or else as the line says. Returns
/// `None` if that is not an address with a fixed port.
fn socket_address(address: &Address, state: Option<&ServerState>) -> Option<std::net::SocketAddr> {
    let Address::Inet { port: Port::Fixed(_), .. } = address else { return None };
    state.and_then(|state| state.address).or(address.fixed())
}

/// Returns whether the port is a placeholder: 0, or 1, on which nothing is ever published.
fn has_no_port(state: &ServerState) -> bool {
    state.address.is_some_and(|address| address.port() <= 1)
}

/// Returns whether requests to this proxy are HTTP.
fn is_http(proxy: &Proxy) -> bool {
    proxy.mode == Mode::Http
}

#[cfg(test)]
mod tests;
