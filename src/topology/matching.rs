//! Finds the container behind a server line.
//!
//! The rules, strongest first. The first rule that matches anything decides:
//!
//! 1. `[servers]` in drainswap.toml names the container;
//! 2. the container itself has the label `drainswap.server=mobile/app1`;
//! 3. it publishes exactly the server's address and port;
//! 4. it publishes the port on every address of its host, and the server's address is the host's;
//! 5. the server's address is the container's own in one of its networks;
//! 6. the server's host name is the container's name or alias in a network, and `HAProxy` has not resolved it to
//!    another machine;
//! 7. it uses the host's network, declares the port, and the server's address is the host's;
//! 8. its image has that label, or may have it, and no other server line reaches the container.
//!
//! If one container has the label and another has the address, they contradict each other, and only `[servers]`
//! decides. An address behind a `namespace` or a `socks4` proxy belongs to another network and proves nothing.
//!
//! A container that a run created beside another one (label `drainswap.surge`) is behind no server line.
//!
//! Running containers come first. A container that was stopped, or never started, matches only if no running one
//! does.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::cfg::{self, Address, Host};
use crate::model::ids::{ContainerId, RunId, ServerId};
use crate::observation::{Answer, Container, Observation, Published, ServerState};
use crate::topology::nearest::{describe, nearest};
use crate::topology::reach::reach;
use crate::topology::{Backend, reached, socket_address};

/// What is behind a server line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum MatchResult {
    Container(Box<ContainerMatch>),
    /// The container is gone, and can be created again with a sibling's settings.
    Gone {
        /// The container, behind another server of the backend, whose settings the new one gets.
        like: Box<Container>,
        /// The port that the new one must publish.
        publish: Published,
        name: String,
    },
    /// There is no container yet, but drainswap.toml describes one.
    Described {
        /// The container, as it is known before it exists.
        like: Box<Container>,
        /// The port that it must publish.
        publish: Published,
        name: String,
    },
    /// No container matches.
    Unmatched {
        why: NoMatch,
        /// The closest containers, for a person to choose from.
        candidates: Vec<String>,
    },
    /// Several containers match equally well.
    Ambiguous {
        /// The matching containers, each with its rule.
        candidates: Vec<String>,
    },
}

/// The reason why no container is behind a server line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum NoMatch {
    /// No container has the address or the name.
    NoneFits,
    /// `[servers]` names a container that its engine does not have.
    NotThere { container: String },
    /// The server's address belongs to another network, so it proves nothing.
    OtherNetwork {
        /// The keyword on the line that causes this.
        keyword: &'static str,
    },
    /// A container has the server's name, but `HAProxy` has resolved the name to an address that it lacks.
    ResolvedElsewhere { container: String },
}

/// A container, and the rule by which it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContainerMatch {
    #[serde(flatten)]
    pub container: Container,
    pub rule: MatchRule,
}

/// The rules that match a container to a server line, in order of preference.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum MatchRule {
    /// `[servers]` names the container, and nothing else shows that it is the one.
    Settings,
    /// The container's label names the server, and nothing else shows that it is the one.
    Label,
    /// The container publishes the server's address and port.
    Published,
    /// The container publishes the port on every address of its host, and the server's address is the host's.
    PublishedEverywhere,
    /// The server's address is the container's own in one of its networks.
    OwnAddress,
    /// The server's host name is the container's name or an alias.
    Name,
    /// The container uses the host's network and declares the port, and the server's address is the host's.
    HostNetwork,
    /// The container's image has the label, or may have it, and no container matches otherwise.
    ImageLabel,
}

impl MatchRule {
    /// Returns whether the engine's data shows that the container has the server's address.
    #[must_use]
    pub fn is_by_address(self) -> bool {
        match self {
            Self::Published | Self::PublishedEverywhere | Self::OwnAddress | Self::HostNetwork => true,
            Self::Settings | Self::Label | Self::Name | Self::ImageLabel => false,
        }
    }

    /// Returns whether traffic to the server's address reaches this container and no other.
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

/// The temporary names of containers that a run replaces or is about to start:
/// `mobile-app1.old-20261123T221500.000Z`, `mobile-app1.new-20261123T221500.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerRole {
    /// The container that served before.
    #[serde(rename = "Old")]
    Previous,
    /// The container that will serve.
    #[serde(rename = "New")]
    Candidate,
}

impl ContainerRole {
    fn infix(self) -> &'static str {
        match self {
            Self::Previous => ".old-",
            Self::Candidate => ".new-",
        }
    }

    /// Returns the name that a container has while it is put aside.
    #[must_use]
    pub fn name(self, name: &str, run: &RunId) -> String {
        format!("{name}{}{run}", self.infix())
    }

    /// Returns whether a name is such a temporary one. A container with such a name is behind no server, unless it
    /// runs and has the server's address.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        [Self::Previous, Self::Candidate].iter().any(|aside| aside.read(name).is_some())
    }

    /// Returns the container's original name and the run that put it aside.
    #[must_use]
    pub fn read(self, name: &str) -> Option<(&str, &str)> {
        name.rsplit_once(self.infix()).filter(|(_, run)| {
            let run = run.as_bytes();
            run.len() >= 16 && run[..8].iter().all(u8::is_ascii_digit) && run[8] == b'T'
        })
    }
}

/// Finds the container behind a server line. [`find_missing`] finds containers that are gone.
pub(super) fn match_container(
    id: &ServerId,
    server: &cfg::Server,
    state: Option<&ServerState>,
    observation: &Observation,
) -> MatchResult {
    let line = LineMatcher {
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
        // It has no place of its own, and goes with its run.
        let here = here.filter(|container| container.surge.run().is_none());
        here.filter(|container| !ContainerRole::is_name(&container.name) || line.is_served_by(container))
    };
    let unmatched = |why| MatchResult::Unmatched { why, candidates: nearest(eligible(), id, line.target) };
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
    MatchResult::Ambiguous { candidates: candidates.iter().map(named).collect() }
}

/// Returns the container that the address of a server line leads to.
pub(super) fn reaches(
    id: &ServerId,
    server: &cfg::Server,
    state: Option<&ServerState>,
    observation: &Observation,
) -> Option<ContainerId> {
    let target = socket_address(&server.address, state).filter(|_| other_network(server).is_none())?;
    reached(observation, observation.engine(id), target).map(|container| container.id.clone())
}

/// Returns the keyword on a server line that puts its address in another network.
fn other_network(server: &cfg::Server) -> Option<&'static str> {
    let namespace = server.namespace.as_ref().map(|_| "namespace");
    namespace.or(server.socks4.as_ref().map(|_| "socks4"))
}

/// Returns the strongest rule by which any of these containers matches, and all that match by it.
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

/// A server line whose container is wanted.
struct LineMatcher<'a> {
    id: &'a ServerId,
    address: &'a Address,
    target: Option<SocketAddr>,
    other_network: Option<&'static str>,
    /// Whether HAProxy has no address for the line's name, so that no request can go anywhere.
    is_unresolved: bool,
    observation: &'a Observation,
}

impl LineMatcher<'_> {
    fn found(&self, container: &Container, rule: MatchRule) -> MatchResult {
        // A label or the settings select the container; its address may still show how it is reached.
        let rule = self.evidence(container).unwrap_or(rule);
        MatchResult::Container(Box::new(ContainerMatch { container: container.clone(), rule }))
    }

    /// Returns the rule by which a container matches this line.
    fn rule(&self, container: &Container) -> Option<MatchRule> {
        if !container.claims.is_empty() && container.claimed_by.is_container() {
            // A container that names its servers matches no other.
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

    /// Returns other containers with the line's address, if the labelled ones do not have it, or only by a weaker
    /// rule.
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

    /// Returns whether a container runs and has the line's address, so that it matches whatever its name is: `docker
    /// compose up` starts containers that a run has put aside.
    fn is_served_by(&self, container: &Container) -> bool {
        !container.state.is_idle() && self.evidence(container).is_some_and(MatchRule::has_address)
    }

    /// Returns how a container is reached by the line's address or name, regardless of its label.
    fn evidence(&self, container: &Container) -> Option<MatchRule> {
        if self.other_network.is_some() {
            return None;
        }
        let is_host = |target: SocketAddr| self.observation.host_addresses.contains(&target.ip());
        let by_address = self.target.and_then(|target| reach(container, target, is_host(target)));
        // Requests go to the address to which HAProxy resolved the name. A stopped container has no address to
        // compare with it; then nothing may answer there.
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

    /// Returns why none of these containers matches the line.
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

/// Undoes matches by an image's label if another server line reaches the same container, which then belongs to that
/// line.
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
            server.behind = MatchResult::Unmatched { why: NoMatch::NoneFits, candidates };
        }
    }
}

#[cfg(test)]
mod tests;
