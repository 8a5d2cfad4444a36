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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    /// Returns a ready server of weight 100 with its own check on and without an agent.
    fn ready() -> ServerState {
        World::pair().observation.load_balancers[0].servers[0].clone()
    }

    /// Returns the server as it will be after the change.
    fn after(change: ServerChange, mut server: ServerState) -> ServerState {
        change.preview(&mut server, 100);
        server
    }

    #[test]
    fn a_previewed_change_counts_as_applied() {
        let drained = after(ServerChange::State(AdminState::Drain), ready());
        for (change, from) in [
            (ServerChange::State(AdminState::Drain), ready()),
            (ServerChange::State(AdminState::Maint), ready()),
            (ServerChange::State(AdminState::Ready), drained.clone()),
            (ServerChange::ReadyWhenProven, drained),
            (ServerChange::Weight(Weight::Percent(50)), ready()),
            (ServerChange::Check(Checker::Health, false), ready()),
        ] {
            assert!(!change.is_applied(&from, 100), "{change:?}");
            assert!(change.is_applied(&after(change, from), 100), "{change:?}");
        }
    }

    #[test]
    fn a_previewed_state_has_its_status_and_one_that_is_already_so_keeps_what_haproxy_reports() {
        for (state, status) in [(AdminState::Drain, "DRAIN"), (AdminState::Maint, "MAINT")] {
            let there = after(ServerChange::State(state), ready());
            assert_eq!(there.status, status);
            assert_eq!(after(ServerChange::ReadyWhenProven, there).status, "UP");
        }
        let rising = ServerState { status: "UP 1/3".to_owned(), ..ready() };
        assert_eq!(after(ServerChange::State(AdminState::Ready), rising.clone()), rising);
    }

    #[test]
    fn a_check_that_a_server_does_not_have_cannot_be_turned_on() {
        let on = ServerChange::Check(Checker::Agent, true);
        assert_eq!(after(on, ready()), ready());
        let mut with_agent = ready();
        with_agent.checks.agent = Checking::Off;
        assert_eq!(after(on, with_agent.clone()).checks.agent, Checking::On);
        assert!(!on.is_applied(&with_agent, 100) && on.is_applied(&after(on, with_agent), 100));
    }

    #[test]
    fn the_inverse_of_a_change_restores_what_was_before() {
        let drained = after(ServerChange::State(AdminState::Drain), ready());
        for (change, from) in [
            (ServerChange::State(AdminState::Maint), drained.clone()),
            (ServerChange::ReadyWhenProven, drained),
            (ServerChange::Weight(Weight::Percent(0)), ready()),
            (ServerChange::Check(Checker::Health, false), ready()),
        ] {
            let back = change.inverse(&from);
            assert_eq!(after(back, after(change, from.clone())), from, "{change:?}");
        }
    }

    #[test]
    fn only_changes_of_the_state_set_one() {
        assert_eq!(ServerChange::ReadyWhenProven.state(), Some(AdminState::Ready));
        assert_eq!(ServerChange::State(AdminState::Drain).state(), Some(AdminState::Drain));
        assert_eq!(ServerChange::Weight(Weight::Percent(0)).state(), None);
        assert_eq!(ServerChange::Check(Checker::Health, false).state(), None);
    }
}
