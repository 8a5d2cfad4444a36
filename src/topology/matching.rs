//! Finds the container behind a server line.
//!
//! The rules, strongest first; the first rule that finds anything decides:
//!
//! 1. `[servers]` of drainswap.toml names the container;
//! 2. the label `drainswap.server=mobile/app1` was given to the container;
//! 3. it publishes exactly the server's address and port;
//! 4. it publishes the port on every address of its host, and the server's address is the host's;
//! 5. the server's address is the container's own in one of its networks;
//! 6. the server's host name is the container's name or alias in a network, and `HAProxy` has not resolved it to
//!    another machine;
//! 7. it uses the host's network, declares the port, and the server's address is the host's;
//! 8. its image has that label, or may have it, and no other server line reaches the container.
//!
//! A label that one container has and an address that another one has contradict each other: then only `[servers]`
//! decides. An address behind a `namespace` or a `socks4` proxy is another network's, and shows nothing.
//!
//! Running containers are looked at first; one that was stopped, or never started, is behind a server only
//! if none runs.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::cfg::{self, Address, Host};
use crate::ids::{ContainerId, RunId, ServerId};
use crate::observation::{
    Answer, Attachment, Container, ContainerState, Described, LabelSource, LoadBalancerState, Observation,
    Published, ServerState,
};
use crate::topology::reach::reach;
use crate::topology::{Backend, has_no_port, reached, socket_address};

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
        /// Why the one that may be meant does not.
        why: NoMatch,
        /// The containers that come nearest, for a person to choose from.
        candidates: Vec<String>,
    },
    /// More than one fits equally well.
    Ambiguous {
        /// Those that fit, and by what.
        candidates: Vec<String>,
    },
}

/// Why no container is behind a server line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum NoMatch {
    /// None has its address or its name.
    NoneFits,
    /// `[servers]` names one that its engine does not have.
    NotThere {
        /// Its name.
        container: String,
    },
    /// The server's address is one of another network, so that it shows nothing.
    OtherNetwork {
        /// The word on the line that says so.
        keyword: &'static str,
    },
    /// This one has the server's name, but `HAProxy` has resolved that to an address which the container lacks.
    ResolvedElsewhere {
        /// Its name.
        container: String,
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
    /// `[servers]` names it, and nothing else shows that it is the one.
    Settings,
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
    /// Its image has the label, or may have it, and no container fits otherwise.
    ImageLabel,
}

impl MatchRule {
    /// Whether what the engine says of the container shows that it has the server's address.
    #[must_use]
    pub fn is_by_address(self) -> bool {
        match self {
            Self::Published | Self::PublishedEverywhere | Self::OwnAddress | Self::HostNetwork => true,
            Self::Settings | Self::Label | Self::Name | Self::ImageLabel => false,
        }
    }

    /// Whether traffic to the server's address ends in the container, and in no other.
    pub(super) fn has_address(self) -> bool {
        matches!(self, Self::Published | Self::PublishedEverywhere | Self::OwnAddress)
    }
}

impl fmt::Display for MatchRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Settings => "by [servers] in drainswap.toml",
            Self::Label => "by its label drainswap.server",
            Self::Published => "publishes the address",
            Self::PublishedEverywhere => "publishes the port on every address",
            Self::OwnAddress => "has the address in a network",
            Self::Name => "has the name",
            Self::HostNetwork => "uses the host's network and declares the port",
            Self::ImageLabel => "has the label drainswap.server, which may be its image's",
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

    /// Whether a name is one of those: such a container is behind no server, unless it runs and has the server's address.
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
    server: &cfg::Server,
    state: Option<&ServerState>,
    observation: &Observation,
) -> Behind {
    let line = Line {
        id,
        address: &server.address,
        target: socket_address(&server.address, state),
        other_network: other_network(server),
        is_unresolved: state.is_some_and(|state| state.admin.is_unresolved()),
        observation,
    };
    let engine = observation.engine(id);
    let eligible = || {
        let here = observation.containers.iter().filter(|container| container.engine == engine);
        here.filter(|container| !Aside::is_name(&container.name) || line.is_served_by(container))
    };
    let unmatched = |why| Behind::Unmatched { why, candidates: nearest(eligible(), id, line.target) };
    if let Some(name) = observation.named.get(id) {
        let named = eligible().find(|container| container.name == *name);
        let not_there = || unmatched(NoMatch::NotThere { container: name.clone() });
        return named.map_or_else(not_there, |container| line.found(container, MatchRule::Settings));
    }
    let running = || eligible().filter(|container| !container.state.is_idle());
    let idle = || eligible().filter(|container| container.state.is_idle());
    let of_image =
        |container: &Container| line.is_claimed_by_image(container).then_some(MatchRule::ImageLabel);
    let found = best(running(), |it| line.rule(it))
        .or_else(|| best(idle(), |it| line.rule(it)))
        .or_else(|| best(running(), of_image))
        .or_else(|| best(idle(), of_image));
    let Some((rule, fits)) = found else { return unmatched(line.no_match(running())) };
    let mut candidates: Vec<(&Container, MatchRule)> = fits.into_iter().map(|it| (it, rule)).collect();
    if rule == MatchRule::Label {
        candidates.extend(line.contradictions(&candidates, running()));
    }
    if let [(only, rule)] = candidates[..] {
        return line.found(only, rule);
    }
    let named = |(container, rule): &(&Container, MatchRule)| format!("{} ({rule})", container.name);
    Behind::Ambiguous { candidates: candidates.iter().map(named).collect() }
}

/// The container that the address of a server line leads to.
pub(super) fn reaches(
    id: &ServerId,
    server: &cfg::Server,
    state: Option<&ServerState>,
    observation: &Observation,
) -> Option<ContainerId> {
    let target = socket_address(&server.address, state).filter(|_| other_network(server).is_none())?;
    reached(observation, observation.engine(id), target).map(|container| container.id.clone())
}

/// The word on a server line that makes its address one of another network.
fn other_network(server: &cfg::Server) -> Option<&'static str> {
    let namespace = server.namespace.as_ref().map(|_| "namespace");
    namespace.or(server.socks4.as_ref().map(|_| "socks4"))
}

/// The strongest rule by which any of these containers fits, and all that fit by it.
fn best<'c>(
    containers: impl Iterator<Item = &'c Container>,
    rule: impl Fn(&Container) -> Option<MatchRule>,
) -> Option<(MatchRule, Vec<&'c Container>)> {
    let mut best: Option<(MatchRule, Vec<&Container>)> = None;
    for container in containers {
        let Some(rule) = rule(container) else { continue };
        match &mut best {
            Some((known, fits)) if *known == rule => fits.push(container),
            Some((known, _)) if *known < rule => {}
            Some(_) | None => best = Some((rule, vec![container])),
        }
    }
    best
}

/// A server line that a container is looked for.
struct Line<'a> {
    id: &'a ServerId,
    address: &'a Address,
    target: Option<SocketAddr>,
    other_network: Option<&'static str>,
    /// Whether HAProxy has no address for its name, so that no request can go anywhere.
    is_unresolved: bool,
    observation: &'a Observation,
}

impl Line<'_> {
    fn found(&self, container: &Container, rule: MatchRule) -> Behind {
        // A label and the settings say which container it is; how its address is reached is seen beside that.
        let rule = self.evidence(container).unwrap_or(rule);
        Behind::Container(Box::new(ContainerMatch { container: container.clone(), rule }))
    }

    /// The rule by which the container is chosen for this line, if it fits.
    fn rule(&self, container: &Container) -> Option<MatchRule> {
        if !container.claims.is_empty() && container.claimed_by.is_container() {
            // A container that says what it serves serves nothing else.
            return self.is_claimed(container).then_some(MatchRule::Label);
        }
        self.evidence(container)
    }

    fn is_claimed(&self, container: &Container) -> bool {
        container.claims.contains(&self.id.to_string())
    }

    fn is_claimed_by_image(&self, container: &Container) -> bool {
        self.other_network.is_none() && !container.claimed_by.is_container() && self.is_claimed(container)
    }

    /// Other containers that have the address which the labelled ones do not have, or have less certainly.
    fn contradictions<'c>(
        &self,
        labelled: &[(&'c Container, MatchRule)],
        running: impl Iterator<Item = &'c Container>,
    ) -> Vec<(&'c Container, MatchRule)> {
        let known = labelled.iter().filter_map(|(it, _)| self.evidence(it)).min();
        let others = running.filter(|it| labelled.iter().all(|(labelled, _)| labelled.id != it.id));
        let with_rule = others.filter_map(|it| Some((it, self.evidence(it)?)));
        with_rule.filter(|(_, rule)| rule.has_address() && known.is_none_or(|known| *rule < known)).collect()
    }

    /// Whether it runs and has the line's address, so that it is behind the line whatever its name is: `docker compose up`
    /// starts what a run has put aside.
    fn is_served_by(&self, container: &Container) -> bool {
        !container.state.is_idle() && self.evidence(container).is_some_and(MatchRule::has_address)
    }

    /// How the container is reached by the line's address or name, whatever its label says.
    fn evidence(&self, container: &Container) -> Option<MatchRule> {
        if self.other_network.is_some() {
            return None;
        }
        let is_host = |target: SocketAddr| self.observation.host_addresses.contains(&target.ip());
        let by_address = self.target.and_then(|target| reach(container, target, is_host(target)));
        // What HAProxy has made of the name is the address that its requests go to. A container that does not run has
        // none of its own to compare with; then nothing must answer there.
        let may_be_here = by_address.is_some()
            || self.target.is_none_or(is_host)
            || container.state.is_idle() && !self.is_answered();
        let is_named = may_be_here && !self.is_unresolved && self.is_named(container);
        let by_name = is_named.then_some(MatchRule::Name);
        by_address.into_iter().chain(by_name).min()
    }

    fn is_named(&self, container: &Container) -> bool {
        let Address::Inet { host: Host::Name(name), .. } = self.address else { return false };
        container.name == *name || container.networks.iter().any(|network| network.aliases.contains(name))
    }

    fn is_answered(&self) -> bool {
        self.observation.answer(self.id).is_some_and(Answer::is_ready)
    }

    /// Why none of these is behind the line.
    fn no_match<'c>(&self, mut running: impl Iterator<Item = &'c Container>) -> NoMatch {
        if let Some(keyword) = self.other_network {
            return NoMatch::OtherNetwork { keyword };
        }
        match running.find(|it| it.claims.is_empty() && self.is_named(it)) {
            Some(container) => NoMatch::ResolvedElsewhere { container: container.name.clone() },
            None => NoMatch::NoneFits,
        }
    }
}

/// Takes the containers back that only the label of an image put behind a server, where another server line reaches
/// them: they are that one's.
pub(super) fn drop_image_labels(backends: &mut [Backend]) {
    let servers = || backends.iter().flat_map(|backend| &backend.servers);
    let rivals: BTreeSet<ContainerId> = servers()
        .filter(|server| server.rule().is_some_and(|rule| rule != MatchRule::ImageLabel))
        .filter_map(|server| Some(server.container()?.id.clone()))
        .collect();
    let servers = backends.iter_mut().flat_map(|backend| &mut backend.servers);
    for server in servers.filter(|server| server.rule() == Some(MatchRule::ImageLabel)) {
        if let Some(container) = server.container().filter(|it| rivals.contains(&it.id)) {
            let candidates = vec![describe(container)];
            server.behind = Behind::Unmatched { why: NoMatch::NoneFits, candidates };
        }
    }
}

/// The containers that a person may have meant: those that publish the port, have the address, or are labelled or named
/// like the server, else those that are named like its backend. A stranger in the list would only be a temptation.
fn nearest<'a>(
    containers: impl Iterator<Item = &'a Container>,
    id: &ServerId,
    target: Option<SocketAddr>,
) -> Vec<String> {
    /// More names than this help nobody.
    const MOST: usize = 5;
    let has_word = |container: &Container, wanted: &str| {
        container.name.split(|c: char| !c.is_alphanumeric()).any(|word| word == wanted)
    };
    let comes_near = |container: &&Container| {
        let is_addressed = target.is_some_and(|target| {
            let has_it = |network: &Attachment| network.addresses.contains(&target.ip());
            container.published.iter().any(|it| it.port == target.port())
                || container.networks.iter().any(has_it)
        });
        let is_claimed = container
            .claims
            .iter()
            .filter_map(|claim| claim.split_once('/'))
            .any(|(backend, server)| backend == id.backend || server == id.server);
        is_addressed || is_claimed || has_word(container, &id.server)
    };
    let running = containers.filter(|container| container.state == ContainerState::Running);
    let (near, others): (Vec<_>, Vec<_>) = running.partition(comes_near);
    let of_backend = || others.into_iter().filter(|it| has_word(it, &id.backend)).collect();
    let chosen = if near.is_empty() { of_backend() } else { near };
    chosen.into_iter().take(MOST).map(describe).collect()
}

fn describe(container: &Container) -> String {
    let ports: Vec<String> =
        container.published.iter().map(|p| SocketAddr::new(p.ip, p.port).to_string()).collect();
    let ports = if ports.is_empty() { "nothing".to_owned() } else { ports.join(", ") };
    let claims = container.claims.join(",");
    let says = match container.claimed_by {
        _ if claims.is_empty() => String::new(),
        LabelSource::Container => format!(", and says drainswap.server={claims}"),
        LabelSource::Image => format!(", and its image says drainswap.server={claims}"),
        LabelSource::Unknown => {
            format!(", and says drainswap.server={claims}, perhaps by its image, which cannot be read")
        }
    };
    format!("{} (publishes {ports}{says})", container.name)
}

/// Turns an unmatched server into a gone one where that is certain: `HAProxy` does not use it, its line is not
/// `disabled`, nothing accepts connections there, its address is the engine's host with a port above 1, a sibling shows
/// what its container was like, and no other container has the name that it gets.
pub(super) fn find_gone(backend: &mut Backend, observation: &Observation) {
    let gone: Vec<(usize, Behind)> = backend
        .servers
        .iter()
        .enumerate()
        .filter(|(_, server)| {
            may_be_gone(server) && !server.answers() && !observation.occupied.contains(&server.id)
        })
        .filter_map(|(index, server)| {
            let address = server.state.as_ref()?.address?;
            let on_host = observation.host_addresses.contains(&address.ip());
            let engine = observation.engine(&server.id);
            if let Some(described) = observation.described.get(&server.id.backend).filter(|_| on_host) {
                return Some((index, not_yet(server, described, address, observation)?));
            }
            let is_used =
                |seen: &LoadBalancerState| seen.server(&server.id).is_some_and(ServerState::is_usable);
            if observation.load_balancers.iter().any(is_used) {
                return None;
            }
            let (sibling, port) = sibling(backend, server, engine)?;
            let named = observation.named.get(&server.id).cloned();
            let name = named.unwrap_or_else(|| name_like(&sibling.1, &sibling.0, &server.id));
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

/// Whether no container is behind it, and one that publishes its address would be.
fn may_be_gone(server: &super::Server) -> bool {
    if server.disabled || server.state.as_ref().is_some_and(has_no_port) {
        return false;
    }
    match &server.behind {
        Behind::Unmatched { why: NoMatch::NoneFits | NoMatch::NotThere { .. }, .. } => true,
        Behind::Unmatched {
            why: NoMatch::OtherNetwork { .. } | NoMatch::ResolvedElsewhere { .. }, ..
        }
        | Behind::Container(_)
        | Behind::Gone { .. }
        | Behind::Described { .. }
        | Behind::Ambiguous { .. } => false,
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
    let described_name = || pattern.replace("{server}", &server.id.server).replace(':', "_");
    let name = observation.named.get(&server.id).cloned().unwrap_or_else(described_name);
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
