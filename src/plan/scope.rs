//! The server lines of a backend that a run works on, and what it may do to those out of service.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::ids::ServerId;
use crate::observation::{AdminState, Container, Observation};
use crate::plan::rest::LeftReason;
use crate::topology::Server;
use crate::topology::matching::{ContainerRole, MatchResult};

/// The server lines that a run works on, and what it may do to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Scope {
    /// The names of the only servers to work on. Empty means all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub only: BTreeSet<String>,
    /// The servers that the settings exclude from every run.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub leave: BTreeSet<ServerId>,
    /// Whether a missing container is left missing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_create: bool,
    /// Whether servers that a person or haproxy.cfg took out of service are put in service.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enable: bool,
}

impl Scope {
    /// Returns whether this is the default scope.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether this works on more servers than `other`, or does more to them.
    #[must_use]
    pub fn does_more_than(&self, other: &Self) -> bool {
        self.enable && !other.enable
            || other.no_create && !self.no_create
            || !self.leave.is_superset(&other.leave)
    }

    /// Returns whether a server is in service at one load balancer and taken out by hand at another. Only a person
    /// knows which state it should have.
    #[must_use]
    pub fn has_mixed_states(&self, server: &Server, observation: &Observation) -> bool {
        let states = observation.load_balancers.iter().filter_map(|seen| seen.server(&server.id));
        let is_kept = self.kept_state(server, &observation.left_out).is_some();
        is_kept && states.into_iter().any(|state| state.admin.state() == AdminState::Ready)
    }

    /// Returns the state that a server is left in because a person, haproxy.cfg or its agent put it there.
    ///
    /// A server that a run of this site has left out does not count. If an agent is on, a run never ends such a
    /// state: it may be the agent's, and `HAProxy` does not tell (`show stat` keeps no answer of "drain", "maint" or
    /// "ready", measured on 2.2 to 3.4).
    #[must_use]
    pub fn kept_state(&self, server: &Server, left_out: &BTreeSet<ServerId>) -> Option<AdminState> {
        let state = server.state.as_ref()?.admin.state();
        let is_enabled = self.enable && !server.has_agent();
        let is_kept = state != AdminState::Ready && !is_enabled && !left_out.contains(&server.id);
        is_kept.then_some(state)
    }

    /// Returns whether a server counts as `HAProxy` sees it, without answering drainswap's own probe.
    #[must_use]
    pub fn is_haproxys(&self, server: &Server) -> bool {
        server.is_foreign() || self.leave.contains(&server.id)
    }

    /// Returns why a run does not work on a server line, or `None` if it does.
    #[must_use]
    pub fn left(&self, server: &Server, observation: &Observation) -> Option<LeftReason> {
        if self.leave.contains(&server.id) {
            return Some(LeftReason::Leave);
        }
        if !self.only.is_empty() && !self.only.contains(&server.id.server) {
            return Some(LeftReason::NotAsked);
        }
        let is_kept_out = || self.kept_state(server, &observation.left_out) == Some(AdminState::Maint);
        // A container that another run is about to start there must be reported as a conflict.
        let is_under_way = |like: &Container, name: &str| {
            let is_new =
                |it: &Container| ContainerRole::Candidate.read(&it.name).is_some_and(|(of, _)| of == name);
            observation.containers.iter().any(|it| it.engine == like.engine && is_new(it))
        };
        // A server that the running process does not know has no state to be left in.
        let state = server.state.as_ref()?;
        match &server.behind {
            MatchResult::Container(_) if state.admin.is_unresolved() => Some(LeftReason::NoAddress),
            MatchResult::Container(_) | MatchResult::Ambiguous { .. } => None,
            MatchResult::Gone { like, name, .. } | MatchResult::Described { like, name, .. }
                if is_under_way(like, name) =>
            {
                None
            }
            MatchResult::Gone { .. } | MatchResult::Described { .. } if is_kept_out() => {
                Some(LeftReason::Spare)
            }
            MatchResult::Gone { .. } | MatchResult::Described { .. } => {
                self.no_create.then_some(LeftReason::NotCreated)
            }
            MatchResult::Unmatched { .. } if server.is_spare() => Some(LeftReason::Spare),
            MatchResult::Unmatched { .. } => server.is_foreign().then_some(LeftReason::NoContainer),
        }
    }
}

#[cfg(test)]
mod tests;
