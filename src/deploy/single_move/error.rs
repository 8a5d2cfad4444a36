//! The errors of a single move.

use std::fmt;

use crate::model::ids::ServerId;
use crate::model::words::{list, sessions};
use crate::observation::{AdminState, ServerState};
use crate::ports::LoadBalancerError;
use crate::site::late::LateCommand;

/// An error that ends a single move.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// A load balancer failed, and the servers are as before.
    #[error(transparent)]
    LoadBalancer(#[from] LoadBalancerError),
    /// A command without an answer may still take effect.
    #[error(transparent)]
    LateCommand(#[from] LateCommand),
    /// A change failed at one load balancer, and could not be undone at the load balancers in `left`.
    #[error("{failure}. {} may have changed state at {}: set the state there with `drainswap ready|drain|maint`", list(.servers), .left.join(", "))]
    PartlyApplied { servers: Vec<ServerId>, left: Vec<String>, failure: LoadBalancerError },
    /// The move started, and then a step or a check of its result failed.
    #[error("{failure}. Some changes of {} may have been applied", list(.servers))]
    Uncertain { servers: Vec<ServerId>, failure: Box<MoveError> },
    /// An agent, another command or a reload ended the move. `has_agent` says whether `agent-check` is on.
    #[error("{server} is ready again: {}. Find out which, then set the server again", revert_cause(*.has_agent))]
    Reverted { server: ServerId, has_agent: bool },
    #[error(
        "{server} {what}. drainswap gave up after {seconds} s (--drain-timeout), and {server} stays in {state}. Try again, or raise --drain-timeout"
    )]
    TimedOut { server: ServerId, what: Unfinished, seconds: u64, state: AdminState },
    /// The operator stopped the wait.
    #[error(
        "drainswap stopped waiting, and {server} stays in {state}. Put it back with `drainswap ready {server}` if that is not intended"
    )]
    Stopped { server: ServerId, state: AdminState },
}

/// How far a move came when its time was over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// The server did not answer drainswap's own probe.
    Silent {
        answer: String,
    },
    Sessions(u64),
    NotUp {
        status: String,
    },
    /// Its agent (`agent-check`) may have taken it out of service.
    OutByAgent(AdminState),
    /// A load balancer does not know the server.
    Unknown,
}

impl Unfinished {
    /// Returns what is missing for a state.
    pub(super) fn of(state: AdminState, last: Option<&ServerState>) -> Self {
        match (state, last) {
            (_, None) => Self::Unknown,
            (AdminState::Ready, Some(last)) if last.may_be_out_by_agent() => {
                Self::OutByAgent(last.admin.state())
            }
            (AdminState::Ready, Some(last)) => Self::NotUp { status: last.status.clone() },
            (AdminState::Drain | AdminState::Maint, Some(last)) => Self::Sessions(last.sessions),
        }
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { answer } => write!(f, "did not answer: {answer}"),
            Self::Sessions(left) => write!(f, "still had {}", sessions(*left)),
            Self::NotUp { status } => write!(f, "did not come up ({status})"),
            Self::OutByAgent(state) => {
                write!(f, "was in {state} again, perhaps because of its agent (agent-check)")
            }
            Self::Unknown => f.write_str("is not known to every load balancer"),
        }
    }
}

/// The possible reasons that a drain or a maint ended.
fn revert_cause(has_agent: bool) -> &'static str {
    if has_agent {
        "its agent (agent-check) may have reported \"ready\" (--agent off turns it off), another command may have put it back, or HAProxy was reloaded"
    } else {
        "another command put it back, or HAProxy was reloaded"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Checking;
    use crate::testing::World;

    fn seen() -> ServerState {
        World::pair().observation.load_balancers[0].servers[0].clone()
    }

    #[test]
    fn what_is_missing_depends_on_the_state_that_was_asked_for() {
        let told = |state, last: Option<&ServerState>| Unfinished::of(state, last).to_string();
        let last = seen();
        for state in [AdminState::Ready, AdminState::Drain, AdminState::Maint] {
            assert_eq!(told(state, None), "is not known to every load balancer");
        }
        assert_eq!(told(AdminState::Drain, Some(&last)), "still had 2 sessions");
        assert_eq!(told(AdminState::Maint, Some(&last)), "still had 2 sessions");
        let down = ServerState { status: "DOWN".to_owned(), ..last };
        assert_eq!(told(AdminState::Ready, Some(&down)), "did not come up (DOWN)");
    }

    #[test]
    fn an_agent_may_be_why_a_server_did_not_come_up() {
        let mut last = ServerState { admin: AdminState::Drain.bits(), ..seen() };
        last.checks.agent = Checking::On;
        let told = Unfinished::of(AdminState::Ready, Some(&last));
        assert_eq!(told, Unfinished::OutByAgent(AdminState::Drain));
        assert!(told.to_string().contains("agent-check"), "{told}");
    }

    #[test]
    fn a_reverted_move_names_the_agent_only_if_there_is_one() {
        let told = |has_agent| {
            let server = "mobile/app1".parse().unwrap();
            MoveError::Reverted { server, has_agent }.to_string()
        };
        assert_eq!(
            told(false),
            "mobile/app1 is ready again: another command put it back, or HAProxy was reloaded. Find out which, then set the server again"
        );
        assert!(told(true).contains("agent"), "{}", told(true));
    }
}
