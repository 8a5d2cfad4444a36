//! A change of one server by hand.

use crate::model::weight::Weight;
use crate::observation::{AdminState, Checker, Checking, ServerState};

/// One change of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerChange {
    State(AdminState),
    /// Ready, but without requests until its own check has risen: out of maint it would get some at once.
    ReadyWhenProven,
    Weight(Weight),
    /// Turns a check on or off.
    Check(Checker, bool),
}

impl ServerChange {
    /// Returns whether the server is already so. A state that comes from elsewhere, such as a tracked server, is set
    /// anyway. `written` is the server's weight in haproxy.cfg.
    #[must_use]
    pub fn is_applied(self, now: &ServerState, written: u32) -> bool {
        match self {
            Self::State(state) => now.admin.state() == state && !now.admin.is_inherited(),
            Self::ReadyWhenProven => Self::State(AdminState::Ready).is_applied(now, written),
            Self::Weight(weight) => now.weight == weight.of(written),
            Self::Check(checker, true) => now.checks.of(checker) == Checking::On,
            Self::Check(checker, false) => now.checks.of(checker) != Checking::On,
        }
    }

    /// Returns whether a server with this weight in haproxy.cfg gets no balanced traffic after the change.
    #[must_use]
    pub fn takes_out(self, written: u32) -> bool {
        match self {
            Self::State(state) => state != AdminState::Ready,
            Self::Weight(weight) => weight.of(written) == 0,
            Self::Check(..) | Self::ReadyWhenProven => false,
        }
    }

    /// Returns the state that the change sets, if it sets one.
    #[must_use]
    pub fn state(self) -> Option<AdminState> {
        match self {
            Self::State(state) => Some(state),
            Self::ReadyWhenProven => Some(AdminState::Ready),
            Self::Weight(_) | Self::Check(..) => None,
        }
    }

    /// Returns the change that restores the earlier state.
    #[must_use]
    pub fn inverse(self, before: &ServerState) -> Self {
        match self {
            Self::State(_) | Self::ReadyWhenProven => Self::State(before.admin.state()),
            Self::Weight(_) => Self::Weight(Weight::Absolute(before.weight)),
            Self::Check(checker, _) => Self::Check(checker, before.checks.of(checker) == Checking::On),
        }
    }

    /// Updates a state to what it will be after the change.
    pub fn preview(self, now: &mut ServerState, written: u32) {
        match self {
            Self::State(state) if now.admin.state() == state => {}
            Self::State(state) => {
                now.admin = state.bits();
                let status = match state {
                    AdminState::Ready => "UP",
                    AdminState::Drain => "DRAIN",
                    AdminState::Maint => "MAINT",
                };
                status.clone_into(&mut now.status);
            }
            Self::ReadyWhenProven => Self::State(AdminState::Ready).preview(now, written),
            Self::Weight(weight) => now.weight = weight.of(written),
            Self::Check(checker, on) => {
                let checking = match checker {
                    Checker::Health => &mut now.checks.health,
                    Checker::Agent => &mut now.checks.agent,
                };
                if *checking != Checking::Absent {
                    *checking = if on { Checking::On } else { Checking::Off };
                }
            }
        }
    }
}
