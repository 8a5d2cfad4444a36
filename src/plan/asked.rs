//! What is asked of each server line of a lane: of the old container what it did before, of the new one that it serves.
//!
//! A line that served nobody before, such as a forgotten second `listen` that has been `DOWN` for months, is no reason to
//! fail a deploy or to call an undo stuck. It is dead where it did not answer and no check had it up, while another line
//! of the same container answered. Where none answered, nothing tells which of them matter, and all are asked.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::ServerId;
use crate::observation::{AdminState, ContainerState};
use crate::plan::{Lane, LaneServer};
use crate::topology::Server;

/// What a server line did before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Before {
    /// Whether a check that had passed, or an agent, had it up. Without one, and before its first check, `HAProxy` has a
    /// server up whatever happens, which proves nothing.
    pub up: bool,
    /// Whether it answered drainswap's own probe.
    pub answered: bool,
}

impl Before {
    /// What a server line does now.
    #[must_use]
    pub fn of(server: &Server) -> Self {
        let up = server.state.as_ref().is_some_and(|state| {
            state.operational.is_up() && (state.has_passed_a_check() || state.asks_agent())
        });
        Self { up, answered: server.answers() }
    }

    /// Whether nothing served on this line, while one of `lines`, all to the same container, answered.
    fn is_dead_among(self, mut lines: impl Iterator<Item = Self>) -> bool {
        !self.answered && !self.up && lines.any(|line| line.answered)
    }
}

/// Whether a server line is dead, among all lines to the same container.
#[must_use]
pub fn is_dead(server: &Server, lines: &[&Server]) -> bool {
    Before::of(server).is_dead_among(lines.iter().map(|line| Before::of(line)))
}

impl LaneServer {
    /// Whether it answered drainswap's own probe before the run.
    #[must_use]
    pub fn answered(&self) -> bool {
        self.served || self.before.is_some_and(|before| before.answered)
    }

    /// Whether `HAProxy`'s own check decides whether a container serves on this line.
    #[must_use]
    pub fn has_own_check(&self) -> bool {
        self.own_check.is_some()
    }

    /// Whether a check had it up before the run.
    #[must_use]
    pub fn was_up(&self) -> bool {
        self.served || self.before.is_some_and(|before| before.up)
    }
}

impl Lane {
    /// Whether a line of this lane served nobody before. Of an earlier plan's line that is not known, and it is not.
    #[must_use]
    pub fn is_dead(&self, server: &LaneServer) -> bool {
        let answered = |line: &LaneServer| Before { up: line.was_up(), answered: line.answered() };
        server.before.is_some() && answered(server).is_dead_among(self.servers.iter().map(answered))
    }

    /// The lines on which the new container must answer: all but the dead ones, which stay as they are.
    pub fn alive(&self) -> impl Iterator<Item = &LaneServer> {
        self.servers.iter().filter(|server| !self.is_dead(server))
    }

    /// Those of them that must serve when the run ends: all but those that a person or haproxy.cfg took out of service.
    pub fn enabled(&self) -> impl Iterator<Item = &LaneServer> {
        self.alive().filter(|server| server.stays.is_none())
    }

    /// The others. They serve nobody, even where `HAProxy` has them up, as it has after a reload: no floor counts them.
    #[must_use]
    pub fn dead_ids(&self) -> BTreeSet<ServerId> {
        self.servers.iter().filter(|server| self.is_dead(server)).map(|server| server.id.clone()).collect()
    }

    /// Those of the lines that must serve when the run ends whose own checks decide. One that tracks another follows it.
    #[must_use]
    pub fn own_checked_ids(&self) -> Vec<ServerId> {
        let checked = self.enabled().filter(|it| it.own_check.as_ref().is_some_and(|it| it.tracks.is_none()));
        checked.map(|it| it.id.clone()).collect()
    }

    /// Whether an agent is asked about any of its servers.
    #[must_use]
    pub fn has_agents(&self) -> bool {
        self.servers.iter().any(|server| !server.agents.is_empty())
    }

    /// How long its servers may take to be up where a container may take so long to answer.
    #[must_use]
    pub fn up_within(&self, ready_timeout: Duration) -> Duration {
        let rises = self.servers.iter().filter_map(|it| Some(it.own_check.as_ref()?.within)).max();
        ready_timeout.saturating_add(rises.unwrap_or_default())
    }

    /// The lines on which the old container must answer before it is in service again: those on which it did.
    pub fn asked_of_old(&self) -> impl Iterator<Item = &LaneServer> {
        self.servers.iter().filter(|server| server.answered() && server.was != AdminState::Maint)
    }

    /// Whether the old container ran, and so runs again after an undo.
    fn old_comes_back(&self) -> bool {
        let old = self.replacement.as_ref().and_then(|replacement| replacement.old.as_ref());
        old.is_some_and(|old| matches!(old.state, ContainerState::Running | ContainerState::Restarting))
    }

    /// The state that a server is put back to after an undo: the one that it had, wherever the old container is back.
    ///
    /// Without it, a server goes to maint: as ready it would be up at once, by `HAProxy`'s own rule, and be given requests
    /// that nobody answers. A lane that only puts servers back in service has replaced nothing, so what they were is safe.
    #[must_use]
    pub fn state_after_undo(&self, server: &LaneServer) -> AdminState {
        let is_known = server.served || server.before.is_some();
        let is_safe = self.replacement.is_none() || is_known && self.old_comes_back();
        if is_safe { server.was } else { AdminState::Maint }
    }
}

#[cfg(test)]
mod tests;
