//! Finds the container behind a server line.
//!
//! The ways to find it, strongest first; the first way that finds anything decides:
//!
//! 1. the label `drainswap.server=mobile/app1` on the container;
//! 2. it publishes exactly the server's address and port;
//! 3. it publishes the port on every address of its host, and the server's address is the host's;
//! 4. the server's address is the container's own in one of its networks;
//! 5. the server's host name is the container's name or alias in a network;
//! 6. it uses the host's network, declares the port, and the server's address is the host's.
//!
//! Running containers are looked at first; one that was stopped, or never started, is behind a server only
//! if none runs.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::cfg::{Address, Host};
use crate::ids::{RunId, ServerId};
use crate::observation::{Container, ContainerState, Described, Observation, Published, ServerState};
use crate::topology::reach::reach;
use crate::topology::{Backend, socket_address};

/// What is behind a server line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Behind {
    /// This container.
    Container(Box<ContainerMatch>),
    /// Nothing: its container is gone. It can be created again with a sibling's settings.
    Gone {
        /// The container, behind another server of the backend, whose settings it gets.
        like: Box<Container>,
        /// The port that it must publish.
        publish: Published,
        /// The name that it gets.
        name: String,
    },
    /// Nothing yet: drainswap.toml describes its container.
    Described {
        /// The container as far as it is known before there is one.
        like: Box<Container>,
        /// The port that it must publish.
        publish: Published,
        /// The name that it gets.
        name: String,
    },
    /// No container fits.
    Unmatched {
        /// The containers that come nearest, for a person to choose from.
        candidates: Vec<String>,
    },
    /// More than one fits equally well.
    Ambiguous {
        /// Those that fit, and by what.
        candidates: Vec<String>,
    },
}

/// A container, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContainerMatch {
    /// The container.
    #[serde(flatten)]
    pub container: Container,
    /// How it was found.
    pub rule: MatchRule,
}

/// How a container was found to be behind a server line; the order is the order of preference.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum MatchRule {
    /// Its label names the server, and nothing else shows that it is the one.
    Label,
    /// It publishes the server's address and port.
    Published,
    /// It publishes the port on every address of its host, and the server's address is the host's.
    PublishedEverywhere,
    /// The server's address is its own in one of its networks.
    OwnAddress,
    /// The server's host name is its name or an alias of it.
    Name,
    /// It uses the host's network, declares the port, and the server's address is the host's.
    HostNetwork,
}

impl MatchRule {
    /// Whether what the engine says of the container shows that it has the server's address.
    #[must_use]
    pub fn is_by_address(self) -> bool {
        match self {
            Self::Published | Self::PublishedEverywhere | Self::OwnAddress | Self::HostNetwork => true,
            Self::Label | Self::Name => false,
        }
    }
}

impl fmt::Display for MatchRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Label => "by its label drainswap.server",
            Self::Published => "publishes the address",
            Self::PublishedEverywhere => "publishes the port on every address",
            Self::OwnAddress => "has the address in a network",
            Self::Name => "has the name",
            Self::HostNetwork => "uses the host's network and declares the port",
        })
    }
}

/// How the container that a run replaces, or is about to start, is named beside its real name:
/// `mobile-app1.old-20261123T221500.000Z`, `mobile-app1.new-20261123T221500.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aside {
    /// The one that served before.
    Old,
    /// The one that will serve.
    New,
}

impl Aside {
    fn infix(self) -> &'static str {
        match self {
            Self::Old => ".old-",
            Self::New => ".new-",
        }
    }

    /// The name that a container has while it is put aside.
    #[must_use]
    pub fn name(self, name: &str, run: &RunId) -> String {
        format!("{name}{}{run}", self.infix())
    }

    /// Whether a name is one of those: such a container is behind no server.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        [Self::Old, Self::New].iter().any(|aside| aside.read(name).is_some())
    }

    /// The name that the container had, and the run that put it aside.
    #[must_use]
    pub fn read(self, name: &str) -> Option<(&str, &str)> {
        name.rsplit_once(self.infix()).filter(|(_, run)| {
            let run = run.as_bytes();
            run.len() >= 16 && run[..8].iter().all(u8::is_ascii_digit) && run[8] == b'T'
        })
    }
}

/// Finds what is behind a server line; a container that is gone is found by [`find_gone`].
pub(super) fn behind(
    id: &ServerId,
    address: &Address,
    state: Option<&ServerState>,
    observation: &Observation,
) -> Behind {
    let line = Line { id, address, target: socket_address(address, state), observation };
    let engine = observation.engine(id);
    let eligible = || {
        let here = observation.containers.iter().filter(|container| container.engine == engine);
        here.filter(|container| !Aside::is_name(&container.name))
    };
    let running = eligible().filter(|container| !container.state.is_idle());
    let idle = eligible().filter(|container| container.state.is_idle());
    let found = line.best(running).or_else(|| line.best(idle));
    match found {
        Some((rule, one)) if one.len() == 1 => {
            // A label says which container it is; how its address is reached is seen beside that.
            let rule = line.evidence(one[0]).unwrap_or(rule);
            Behind::Container(Box::new(ContainerMatch { container: one[0].clone(), rule }))
        }
        Some((rule, several)) => {
            let candidates = several.iter().map(|container| format!("{} ({rule})", container.name)).collect();
            Behind::Ambiguous { candidates }
        }
        None => Behind::Unmatched { candidates: nearest(eligible(), line.target) },
    }
}

/// A server line that a container is looked for.
struct Line<'a> {
    id: &'a ServerId,
    address: &'a Address,
    target: Option<SocketAddr>,
    observation: &'a Observation,
}

impl Line<'_> {
    /// The strongest rule by which any of these containers fits, and all that fit by it.
    fn best<'c>(
        &self,
        containers: impl Iterator<Item = &'c Container>,
    ) -> Option<(MatchRule, Vec<&'c Container>)> {
        let mut best: Option<(MatchRule, Vec<&Container>)> = None;
        for container in containers {
            let Some(rule) = self.rule(container) else { continue };
            match &mut best {
                Some((known, fits)) if *known == rule => fits.push(container),
                Some((known, _)) if *known < rule => {}
                Some(_) | None => best = Some((rule, vec![container])),
            }
        }
        best
    }

    /// The rule by which the container is chosen for this line, if it fits.
    fn rule(&self, container: &Container) -> Option<MatchRule> {
        if !container.claims.is_empty() {
            // A container that says what it serves serves nothing else.
            let id = self.id.to_string();
            return container.claims.contains(&id).then_some(MatchRule::Label);
        }
        self.evidence(container)
    }

    /// How the container is reached by the line's address or name, whatever its label says.
    fn evidence(&self, container: &Container) -> Option<MatchRule> {
        let by_address = self.target.and_then(|target| {
            reach(container, target, self.observation.host_addresses.contains(&target.ip()))
        });
        let by_name = self.is_named(container).then_some(MatchRule::Name);
        by_address.into_iter().chain(by_name).min()
    }

    fn is_named(&self, container: &Container) -> bool {
        let Address::Inet { host: Host::Name(name), .. } = self.address else { return false };
        container.name == *name || container.networks.iter().any(|network| network.aliases.contains(name))
    }
}

/// The containers that a person may have meant: those that publish the port, else all that run.
fn nearest<'a>(containers: impl Iterator<Item = &'a Container>, target: Option<SocketAddr>) -> Vec<String> {
    /// More names than this help nobody.
    const MOST: usize = 8;
    let (same_port, others): (Vec<_>, Vec<_>) =
        containers.filter(|container| container.state == ContainerState::Running).partition(|container| {
            target.is_some_and(|target| container.published.iter().any(|p| p.port == target.port()))
        });
    let chosen = if same_port.is_empty() { others } else { same_port };
    chosen.into_iter().take(MOST).map(describe).collect()
}

fn describe(container: &Container) -> String {
    let ports: Vec<String> =
        container.published.iter().map(|p| SocketAddr::new(p.ip, p.port).to_string()).collect();
    let ports = if ports.is_empty() { "nothing".to_owned() } else { ports.join(", ") };
    if container.claims.is_empty() {
        format!("{} (publishes {ports})", container.name)
    } else {
        let claims = container.claims.join(",");
        format!("{} (publishes {ports}, and says drainswap.server={claims})", container.name)
    }
}

/// Turns an unmatched server into a gone one where that is certain: `HAProxy` does not use it, nothing
/// answers there, its address is the engine's host, a sibling shows what its container was like, and no
/// other container has the name that it gets.
pub(super) fn find_gone(backend: &mut Backend, observation: &Observation) {
    let gone: Vec<(usize, Behind)> = backend
        .servers
        .iter()
        .enumerate()
        .filter(|(_, server)| matches!(server.behind, Behind::Unmatched { .. }) && !server.answers())
        .filter_map(|(index, server)| {
            let address = server.state.as_ref()?.address?;
            let on_host = observation.host_addresses.contains(&address.ip());
            let engine = observation.engine(&server.id);
            if let Some(described) = observation.described.get(&server.id.backend).filter(|_| on_host) {
                return Some((index, not_yet(server, described, address, observation)?));
            }
            if server.is_usable() {
                return None;
            }
            let (sibling, port) = sibling(backend, server, engine)?;
            let name = name_like(&sibling.1, &sibling.0, &server.id);
            let taken = observation.containers.iter().any(|it| it.engine == engine && it.name == name);
            (on_host && !taken).then(|| {
                let publish = Published { ip: address.ip(), port: address.port(), container_port: port };
                (index, Behind::Gone { like: Box::new(sibling.1), publish, name })
            })
        })
        .collect();
    for (index, behind) in gone {
        backend.servers[index].behind = behind;
    }
}

/// What there will be behind a server whose container is described, unless another container has its name.
fn not_yet(
    server: &super::Server,
    described: &Described,
    address: SocketAddr,
    observation: &Observation,
) -> Option<Behind> {
    let engine = observation.engine(&server.id);
    let pattern = described.name.clone().unwrap_or_else(|| format!("{}-{{server}}", server.id.backend));
    let name = pattern.replace("{server}", &server.id.server).replace(':', "_");
    if observation.containers.iter().any(|it| it.engine == engine && it.name == name) {
        return None;
    }
    let publish = Published { ip: address.ip(), port: address.port(), container_port: described.port };
    let like = Container::described(name.clone(), described.restart.clone(), engine.to_owned());
    Some(Behind::Described { like: Box::new(like), publish, name })
}

/// A sibling with a published port, on the same engine: of the same role if there is one, else any.
fn sibling(backend: &Backend, server: &super::Server, engine: &str) -> Option<((ServerId, Container), u16)> {
    let is_here = |other: &&super::Server| other.container().is_some_and(|it| it.engine == engine);
    let mut siblings: Vec<&super::Server> = backend.servers.iter().filter(is_here).collect();
    siblings.sort_by_key(|other| other.role != server.role);
    siblings.into_iter().find_map(|other| {
        let container = other.container()?;
        let address = other.state.as_ref()?.address?;
        let published = container.published.iter().find(|p| p.port == address.port())?;
        Some(((other.id.clone(), container.clone()), published.container_port))
    })
}

/// The sibling's name with the sibling's server name replaced, `mobile-app2` → `mobile-app1`, else
/// the backend's and the server's names.
fn name_like(sibling: &Container, sibling_id: &ServerId, id: &ServerId) -> String {
    let legal = |name: &str| name.replace(':', "_");
    match sibling.name.strip_suffix(&sibling_id.server) {
        Some(stem) => legal(&format!("{stem}{}", id.server)),
        None => legal(&format!("{}-{}", id.backend, id.server)),
    }
}

#[cfg(test)]
mod tests;
