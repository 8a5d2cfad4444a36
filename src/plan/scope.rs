//! Which server lines of a backend a run works on, and what it may do to those that are out of use.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::ServerId;
use crate::observation::{AdminState, Container, Observation};
use crate::outcome::WhyLeft;
use crate::topology::Server;
use crate::topology::matching::{Aside, Behind};

/// Which server lines a run works on, and what it may do to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Scope {
    /// The names of the only servers that are worked on; empty means all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub only: BTreeSet<String>,
    /// Servers that are never worked on, by the settings.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub leave: BTreeSet<ServerId>,
    /// Whether a container that is gone stays so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_create: bool,
    /// Whether servers that a person or haproxy.cfg took out of service are put in service.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enable: bool,
}

impl Scope {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it works on more, or does more to it, than another one.
    #[must_use]
    pub fn does_more_than(&self, other: &Self) -> bool {
        self.enable && !other.enable
            || other.no_create && !self.no_create
            || !self.leave.is_superset(&other.leave)
    }

    /// Whether a server is in service at one load balancer, and taken out of it by hand at another: what state it is to
    /// have then, only a person knows.
    #[must_use]
    pub fn is_torn(&self, server: &Server, observation: &Observation) -> bool {
        let states = observation.load_balancers.iter().filter_map(|seen| seen.server(&server.id));
        let is_kept = self.kept_state(server, &observation.left_out).is_some();
        is_kept && states.into_iter().any(|state| state.admin.state() == AdminState::Ready)
    }

    /// The state that a server is left in, because a person, haproxy.cfg or its agent put it there. What a run of this site
    /// has left out is not theirs. Where an agent is on, a run does not end such a state: it may be the agent's, and
    /// `HAProxy` does not tell (`show stat` keeps no answer of "drain", "maint" or "ready", measured on 2.2 to 3.4).
    #[must_use]
    pub fn kept_state(&self, server: &Server, left_out: &BTreeSet<ServerId>) -> Option<AdminState> {
        let state = server.state.as_ref()?.admin.state();
        let is_enabled = self.enable && !server.has_agent();
        let is_kept = state != AdminState::Ready && !is_enabled && !left_out.contains(&server.id);
        is_kept.then_some(state)
    }

    /// Whether a server counts as `HAProxy` sees it, and need not answer drainswap's own probe.
    #[must_use]
    pub fn is_haproxys(&self, server: &Server) -> bool {
        server.is_foreign() || self.leave.contains(&server.id)
    }

    /// Why a server line is not worked on; nothing where it is.
    #[must_use]
    pub fn left(&self, server: &Server, observation: &Observation) -> Option<WhyLeft> {
        if self.leave.contains(&server.id) {
            return Some(WhyLeft::Leave);
        }
        if !self.only.is_empty() && !self.only.contains(&server.id.server) {
            return Some(WhyLeft::NotAsked);
        }
        let is_kept_out = || self.kept_state(server, &observation.left_out) == Some(AdminState::Maint);
        // What another run is about to start there is in the way of this one.
        let is_under_way = |like: &Container, name: &str| {
            let is_new = |it: &Container| Aside::New.read(&it.name).is_some_and(|(of, _)| of == name);
            observation.containers.iter().any(|it| it.engine == like.engine && is_new(it))
        };
        // One that the running process does not know has no state that it could be left in.
        let state = server.state.as_ref()?;
        match &server.behind {
            Behind::Container(_) if state.admin.is_unresolved() => Some(WhyLeft::NoAddress),
            Behind::Container(_) | Behind::Ambiguous { .. } => None,
            Behind::Gone { like, name, .. } | Behind::Described { like, name, .. }
                if is_under_way(like, name) =>
            {
                None
            }
            Behind::Gone { .. } | Behind::Described { .. } if is_kept_out() => Some(WhyLeft::Spare),
            Behind::Gone { .. } | Behind::Described { .. } => self.no_create.then_some(WhyLeft::NotCreated),
            Behind::Unmatched { .. } if server.is_spare() => Some(WhyLeft::Spare),
            Behind::Unmatched { .. } => server.is_foreign().then_some(WhyLeft::NoContainer),
        }
    }
}

#[cfg(test)]
mod tests;
