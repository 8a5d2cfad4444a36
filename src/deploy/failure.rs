//! The reasons why a step fails.

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::hook::HookPoint;
use crate::model::ids::ServerId;
use crate::observation::AdminState;
use crate::plan::refusal::Refusal;
use crate::plan::undo::UndoMode;
use crate::ports::{EngineError, HookError, JournalError, LoadBalancerError};
use crate::site::late::LateCommand;
use crate::site::unanswered::UnansweredCall;

/// The reason why a step failed. The container's log is not part of it; the caller that reports the failure collects
/// it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    #[error("{error}{}", .error.advice())]
    LoadBalancer {
        #[from]
        error: LoadBalancerError,
    },
    #[error(transparent)]
    LateCommand(#[from] LateCommand),
    #[error(transparent)]
    UnansweredCall(#[from] UnansweredCall),
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A journal record could not be made durable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A condition that held when the plan was made does not hold any more.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(
        "{sessions} {} not ended within {} s (--drain-timeout). Raise it, or set --on-drain-timeout to maint, shutdown or force",
        if *.sessions == 1 { "session had" } else { "sessions had" },
        .limit.as_secs_f32()
    )]
    DrainTimedOut { sessions: u64, limit: Duration },
    /// `HAProxy` was reloaded, and its old process may hold sessions that drainswap cannot count.
    #[error(
        "HAProxy was reloaded during the run (process {was} is now {is}), so drainswap cannot count the sessions in its old process. Deploy again when that process has exited"
    )]
    Reloaded { was: u32, is: u32 },
    #[error(
        "server {server} no longer exists in the running HAProxy: a reload removed it. Add it to haproxy.cfg again, or plan again without it"
    )]
    Vanished { server: ServerId },
    /// A person or another tool set the server's state during the run.
    #[error(
        "an operator, an agent check or another tool set {server} to {found} while drainswap drained it. Find out which, then deploy again"
    )]
    StateChanged { server: ServerId, found: AdminState },
    #[error(
        "the container exited with code {exit_code}{}",
        if *.out_of_memory { " (out of memory). Give it more memory, then deploy again" } else { ". Correct what its log shows, then deploy again" }
    )]
    Exited {
        exit_code: i64,
        /// Whether the kernel killed it for lack of memory.
        out_of_memory: bool,
    },
    #[error(
        "the container did not answer within {} s (--ready-timeout); its last answer: {last_answer}. Check its log, or raise --ready-timeout",
        .limit.as_secs_f32()
    )]
    NeverReady { limit: Duration, last_answer: String },
    /// The container passed its probe, and then stopped answering.
    #[error(
        "the container answered, entered service, then stopped answering: {answer}. Check its log, then deploy again"
    )]
    StoppedAnswering { answer: String },
    #[error(
        "server {server} is not up in HAProxy: {status}. Put it in service or correct its check, then deploy again"
    )]
    ServerNotUp { server: ServerId, status: String },
    /// The server's own check, which decides whether it is up, did not bring it up in time.
    #[error(
        "HAProxy's check did not bring {server} up within {} s (--ready-timeout plus the check's rise time): {status}. Correct its check or the container, or raise --ready-timeout",
        .limit.as_secs_f32()
    )]
    CheckNeverPassed { server: ServerId, status: String, limit: Duration },
    #[error(
        "HAProxy did not report within {} s (--ready-timeout) whether {server} is up. Check that HAProxy runs and answers at its socket, then try again",
        .limit.as_secs_f32()
    )]
    StateUnknown { server: ServerId, limit: Duration },
    #[error(
        "the remaining servers were not ready to take over from {server} within {} s (--drain-timeout): still in slow start, or requests are still queued. Try again later, or raise --drain-timeout",
        .limit.as_secs_f32()
    )]
    TakeoverTimedOut { server: ServerId, limit: Duration },
    /// An agent that was turned off has not answered its last query.
    #[error(
        "drainswap turned off the agent (agent-check) of {server}, but the agent did not answer its last query within {} s, and a late answer could put the server back into rotation. Check what hangs at its agent-port",
        .limit.as_secs()
    )]
    AgentStillPending { server: ServerId, limit: Duration },
    /// No server of a backend serves, although the plan keeps at least one in service.
    #[error(
        "no server of {backend} serves at {load_balancer}, although the plan keeps at least one in service (--floor). Check why the remaining servers went down, then deploy again"
    )]
    Unserved { load_balancer: String, backend: String },
    /// The container to be replaced is gone or was replaced.
    #[error(
        "the container {container} behind {server} was removed or replaced after the plan was made. Plan again"
    )]
    Drifted { server: ServerId, container: String },
    /// The old container, which the run had put aside, was removed.
    #[error(
        "the old container of {server}, kept as {container}, is gone: an operator or a cleanup such as `docker container prune` removed it. Deploy the image that {server} should run"
    )]
    KeptGone { server: ServerId, container: String },
    #[error(
        "container {container} does not have {} of {server}, so it is not behind that server (it has {has}). Anything that answers there is another process: find it (ss -ltnp), and publish the port from {container}",
        .address.map_or_else(|| "the planned address".to_owned(), |it| format!("the address {it}"))
    )]
    WrongAddress { server: ServerId, container: String, address: Option<SocketAddr>, has: String },
    #[error(
        "HAProxy did not change the address of {server} to {address}, where its container is now, within {} s. Check the resolvers of haproxy.cfg, then try again",
        .limit.as_secs_f32()
    )]
    AddressNotUpdated { server: ServerId, address: SocketAddr, limit: Duration },
    #[error(
        "{container} behind {server} was stopped and runs again: a supervisor (systemd, supervisord, another deploy tool) restarts it. Take it out of that supervisor first"
    )]
    OldRestarted { server: ServerId, container: String },
    /// The address still answers although the old container is stopped.
    #[error(
        "{address} of {server} still answers although {container} is stopped: another process answers there, so {container} does not serve {server}. Find that process (ss -ltnp), or set silence_check = false if a relay keeps answering there"
    )]
    StillAnswers { server: ServerId, container: String, address: SocketAddr },
    #[error(
        "the hook {hook} {}. Correct what its output shows, then try again",
        match .code { Some(code) => format!("exited with code {code}"), None => "was killed".to_owned() }
    )]
    Hook {
        hook: HookPoint,
        /// Its exit code; `None` if it timed out or a signal killed it.
        code: Option<i32>,
    },
    #[error(transparent)]
    HookNotRun(#[from] HookError),
    #[error("asked to stop")]
    Stopped,
}

impl StepError {
    /// Returns how gracefully the new container must be taken away, given what the failure says about it.
    pub(super) fn undo_mode(&self) -> UndoMode {
        match self {
            Self::Exited { .. }
            | Self::NeverReady { .. }
            | Self::StoppedAnswering { .. }
            | Self::ServerNotUp { .. }
            | Self::CheckNeverPassed { .. }
            | Self::WrongAddress { .. }
            | Self::AddressNotUpdated { .. }
            | Self::Unserved { .. } => UndoMode::Immediate,
            Self::LoadBalancer { .. }
            | Self::LateCommand(_)
            | Self::UnansweredCall(_)
            | Self::Engine(_)
            | Self::Journal(_)
            | Self::Refused(_)
            | Self::DrainTimedOut { .. }
            | Self::TakeoverTimedOut { .. }
            | Self::AgentStillPending { .. }
            | Self::StateUnknown { .. }
            | Self::Reloaded { .. }
            | Self::Vanished { .. }
            | Self::StateChanged { .. }
            | Self::Drifted { .. }
            | Self::KeptGone { .. }
            | Self::OldRestarted { .. }
            | Self::StillAnswers { .. }
            | Self::Hook { .. }
            | Self::HookNotRun(_)
            | Self::Stopped => UndoMode::Graceful,
        }
    }

    /// Returns whether the load balancer does not answer, for example because it is restarting.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::LateCommand(_))
            || matches!(self, Self::LoadBalancer { error } if error.is_silence())
    }

    /// Returns whether the engine did not answer at all.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Engine(error) if error.is_outage())
    }

    /// Returns whether a retry may succeed: an engine or a load balancer may be restarting, or a server that takes over
    /// the traffic may be coming up.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::LoadBalancer { .. } | Self::Engine(_) | Self::Refused(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_session_is_singular() {
        let timed_out = |sessions| {
            let failure = StepError::DrainTimedOut { sessions, limit: Duration::from_secs(1) };
            failure.to_string()
        };
        assert!(timed_out(1).starts_with("1 session had not ended within 1 s (--drain-timeout). "));
        assert!(timed_out(2).starts_with("2 sessions had not ended within 1 s (--drain-timeout). "));
    }

    #[test]
    fn only_an_unreachable_engine_is_an_outage() {
        let unreachable = EngineError::Unreachable { endpoint: String::new(), reason: String::new() };
        let (subject, reason) = (String::new(), String::new());
        let refused = EngineError::Refused { action: "inspect", subject, reason };
        assert!(StepError::from(unreachable).is_outage());
        assert!(!StepError::from(refused).is_outage() && !StepError::Stopped.is_outage());
        let refused = LoadBalancerError::Refused { command: String::new(), reply: String::new() };
        assert!(!StepError::from(refused).is_silence() && !StepError::Stopped.is_silence());
    }

    #[test]
    fn an_exit_for_lack_of_memory_is_named() {
        let died = |out_of_memory| StepError::Exited { exit_code: 137, out_of_memory }.to_string();
        assert_eq!(
            died(false),
            "the container exited with code 137. Correct what its log shows, then deploy again"
        );
        assert_eq!(
            died(true),
            "the container exited with code 137 (out of memory). Give it more memory, then deploy again"
        );
    }
}
