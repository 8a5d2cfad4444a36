//! Decides which server lines of a lane are probed: the new container must serve on them, and the old one on those on
//! which it did before.
//!
//! A line that did not serve before, such as a forgotten second `listen` that has been `DOWN` for months, is no
//! reason to fail a deploy or to report an undo as stuck. A line is dead if it did not answer and no check had it up,
//! while another line of the same container answered. If none answered, nothing shows which lines matter, and all are
//! probed.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::ids::ServerId;
use crate::observation::{AdminState, ContainerState};
use crate::plan::{Lane, LaneServer};
use crate::topology::Server;

/// What a server line did before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Before {
    /// Whether a passed check, or an agent, had it up. Without a check, and before the first one, `HAProxy` always
    /// has a server up, which proves nothing.
    pub up: bool,
    /// Whether it answered drainswap's own probe.
    pub answered: bool,
}

impl Before {
    /// Returns what a server line does now.
    #[must_use]
    pub fn of(server: &Server) -> Self {
        let up = server.state.as_ref().is_some_and(|state| {
            state.operational.is_up() && (state.has_passed_a_check() || state.asks_agent())
        });
        Self { up, answered: server.answers() }
    }

    /// Returns whether this line did not serve although one of `lines`, all to the same container, answered.
    fn is_dead_among(self, mut lines: impl Iterator<Item = Self>) -> bool {
        !self.answered && !self.up && lines.any(|line| line.answered)
    }
}

/// Returns whether a server line is dead, among all lines to the same container.
#[must_use]
pub fn is_dead(server: &Server, lines: &[&Server]) -> bool {
    Before::of(server).is_dead_among(lines.iter().map(|line| Before::of(line)))
}

impl LaneServer {
    /// Returns whether it answered drainswap's own probe before the run.
    #[must_use]
    pub fn answered(&self) -> bool {
        self.served || self.before.is_some_and(|before| before.answered)
    }

    /// Returns whether `HAProxy`'s own check decides whether a container serves on this line.
    #[must_use]
    pub fn has_own_check(&self) -> bool {
        self.own_check.is_some()
    }

    /// Returns whether a check had it up before the run.
    #[must_use]
    pub fn was_up(&self) -> bool {
        self.served || self.before.is_some_and(|before| before.up)
    }
}

impl Lane {
    /// Returns whether a line of this lane was dead before the run. In plans of earlier versions that is unknown, and
    /// the line counts as alive.
    #[must_use]
    pub fn is_dead(&self, server: &LaneServer) -> bool {
        let answered = |line: &LaneServer| Before { up: line.was_up(), answered: line.answered() };
        server.before.is_some() && answered(server).is_dead_among(self.servers.iter().map(answered))
    }

    /// Returns the lines on which the new container must answer: all but the dead ones, which stay as they are.
    pub fn alive(&self) -> impl Iterator<Item = &LaneServer> {
        self.servers.iter().filter(|server| !self.is_dead(server))
    }

    /// Returns the alive lines that must serve when the run ends: those that neither a person nor haproxy.cfg took
    /// out of service.
    pub fn enabled(&self) -> impl Iterator<Item = &LaneServer> {
        self.alive().filter(|server| server.stays.is_none())
    }

    /// Returns the dead lines. They never count towards a floor, even if `HAProxy` reports them up, as it does after a
    /// reload.
    #[must_use]
    pub fn dead_ids(&self) -> BTreeSet<ServerId> {
        self.servers.iter().filter(|server| self.is_dead(server)).map(|server| server.id.clone()).collect()
    }

    /// Returns the lines that must serve when the run ends and whose own checks decide. A line that tracks another is
    /// left out.
    #[must_use]
    pub fn own_checked_ids(&self) -> Vec<ServerId> {
        let checked = self.enabled().filter(|it| it.own_check.as_ref().is_some_and(|it| it.tracks.is_none()));
        checked.map(|it| it.id.clone()).collect()
    }

    /// Returns whether an agent is on for any of its servers.
    #[must_use]
    pub fn has_agents(&self) -> bool {
        self.servers.iter().any(|server| !server.agents.is_empty())
    }

    /// Returns how long its servers may take to be up, if a container may take `ready_timeout` to answer.
    #[must_use]
    pub fn up_within(&self, ready_timeout: Duration) -> Duration {
        let rises = self.servers.iter().filter_map(|it| Some(it.own_check.as_ref()?.within)).max();
        ready_timeout.saturating_add(rises.unwrap_or_default())
    }

    /// Returns the lines on which the old container must answer before it goes back into service: those on which it
    /// did before.
    pub fn asked_of_old(&self) -> impl Iterator<Item = &LaneServer> {
        self.servers.iter().filter(|server| server.answered() && server.was != AdminState::Maint)
    }

    /// Returns whether the old container was running, so that it runs again after an undo.
    fn old_comes_back(&self) -> bool {
        let old = self.replacement.as_ref().and_then(|replacement| replacement.old.as_ref());
        old.is_some_and(|old| matches!(old.state, ContainerState::Running | ContainerState::Restarting))
    }

    /// Returns the state that an undo gives a server: its previous one, if the old container is back.
    ///
    /// Otherwise the server goes to maint. In ready `HAProxy` would count it as up at once, by its own rule, and send it
    /// requests that nothing answers. A lane that only puts servers back in service has replaced nothing, so their
    /// previous state is safe.
    #[must_use]
    pub fn state_after_undo(&self, server: &LaneServer) -> AdminState {
        let is_known = server.served || server.before.is_some();
        let is_safe = self.replacement.is_none() || is_known && self.old_comes_back();
        if is_safe { server.was } else { AdminState::Maint }
    }
}

#[cfg(test)]
mod tests;
