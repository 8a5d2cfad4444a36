//! Why a step failed.

use std::net::SocketAddr;
use std::time::Duration;

use super::late::LateCommand;
use super::unanswered::UnansweredCall;
use crate::hook::Moment;
use crate::ids::ServerId;
use crate::observation::AdminState;
use crate::plan::refusal::Refusal;
use crate::plan::undo::Care;
use crate::ports::{EngineError, HookError, JournalError, LoadBalancerError};

/// Why a step failed. The container's log is gathered beside it, by whoever reports it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The load balancer.
    #[error(transparent)]
    LoadBalancer(#[from] LoadBalancerError),
    /// A command without an answer may still take effect.
    #[error(transparent)]
    LateCommand(#[from] LateCommand),
    /// A call to the engine without an answer may still take effect.
    #[error(transparent)]
    UnansweredCall(#[from] UnansweredCall),
    /// The engine or a registry.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A record could not be made durable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A guard that held when the plan was made does not hold any more.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Sessions did not end in time.
    #[error(
        "{sessions} {} not ended within {} s (--drain-timeout); wait longer, or choose with --on-drain-timeout what becomes of them: maint, shutdown, force",
        if *.sessions == 1 { "session had" } else { "sessions had" },
        .limit.as_secs_f32()
    )]
    DrainTimedOut {
        /// How many were left.
        sessions: u64,
        /// The limit.
        limit: Duration,
    },
    /// `HAProxy` was reloaded: its old process may hold sessions that cannot be seen from here.
    #[error(
        "HAProxy was reloaded meanwhile (process {was} is now {is}): what its old process still holds cannot be counted. Deploy again when it has left"
    )]
    Reloaded {
        /// The process that the plan was made for.
        was: u32,
        /// The process that answers now.
        is: u32,
    },
    /// `HAProxy` does not know the server any more.
    #[error("HAProxy does not know {server} any more: a reload has removed it")]
    Vanished {
        /// Which server.
        server: ServerId,
    },
    /// Somebody else set the server's state meanwhile.
    #[error("somebody set {server} to {found} meanwhile")]
    TakenOver {
        /// Which server.
        server: ServerId,
        /// The state that it was found in.
        found: AdminState,
    },
    /// The new container ended.
    #[error("the container ended with code {exit_code}{}", if *.out_of_memory { ", for want of memory" } else { "" })]
    Died {
        /// Its exit code.
        exit_code: i64,
        /// Whether the kernel ended it.
        out_of_memory: bool,
    },
    /// The new container did not answer in time.
    #[error("the container did not answer within {} s (--ready-timeout); its last answer: {last_answer}", .limit.as_secs_f32())]
    NeverReady {
        /// The limit.
        limit: Duration,
        /// What it answered last.
        last_answer: String,
    },
    /// The container answered, was put in service, and then did not answer any more.
    #[error("the container answered, was put in service, and then failed: {answer}")]
    FellSilent {
        /// What it answered.
        answer: String,
    },
    /// `HAProxy` does not have the server up.
    #[error("HAProxy does not have {server} up: {status}")]
    NotUp {
        /// Which server.
        server: ServerId,
        /// `HAProxy`'s word for it.
        status: String,
    },
    /// `HAProxy`'s own check, which decides, did not have the server up in time.
    #[error(
        "HAProxy's own check did not have {server} up within {} s (--ready-timeout and what the check takes to rise): {status}",
        .limit.as_secs_f32()
    )]
    NeverRose {
        /// Which server.
        server: ServerId,
        /// `HAProxy`'s word for it.
        status: String,
        /// The limit.
        limit: Duration,
    },
    /// `HAProxy` does not say whether it has the server up.
    #[error("HAProxy did not say within {} s (--ready-timeout) whether it has {server} up", .limit.as_secs_f32())]
    NotSeen {
        /// Which server.
        server: ServerId,
        /// The limit.
        limit: Duration,
    },
    /// The others could not take over.
    #[error(
        "the others could not take over from {server} within {} s (--drain-timeout): a slow start or a queue does not end",
        .limit.as_secs_f32()
    )]
    NotCarried {
        /// Which server.
        server: ServerId,
        /// The limit.
        limit: Duration,
    },
    /// The last answer of an agent that was turned off has not come.
    #[error(
        "the agent (agent-check) of {server} was turned off, and has not answered its last question within {} s: its answer could put the server back into rotation. See what hangs at its agent-port",
        .limit.as_secs()
    )]
    AgentAsked {
        /// The server.
        server: ServerId,
        /// The limit.
        limit: Duration,
    },
    /// No server of a backend serves, although the plan promised that one does.
    #[error(
        "no server of {backend} serves at {load_balancer}, although the plan promised that one does (--floor). See what became of the servers that were to serve, and deploy again when they do"
    )]
    Unserved {
        /// The load balancer.
        load_balancer: String,
        /// The backend.
        backend: String,
    },
    /// The container that was to be replaced is not there any more.
    #[error("the container {container} behind {server} was removed or replaced meanwhile; plan again")]
    Drifted {
        /// The lane's first server.
        server: ServerId,
        /// The container's name when the plan was made.
        container: String,
    },
    /// A container does not have its server's address.
    #[error(
        "{container} does not have the address {} of {server}, and so is not behind it: it has {has}. What else answers there is another's",
        .address.map_or_else(|| "that was planned".to_owned(), |it| it.to_string())
    )]
    Elsewhere {
        /// The server.
        server: ServerId,
        /// The container's name.
        container: String,
        /// Where the server's traffic goes.
        address: Option<SocketAddr>,
        /// The addresses that the container has.
        has: String,
    },
    /// `HAProxy` does not send a server's traffic to where its host name leads.
    #[error(
        "HAProxy did not send {server} to {address} within {} s: where its container is now", .limit.as_secs_f32()
    )]
    NotFollowed {
        /// The server.
        server: ServerId,
        /// Where its container is.
        address: SocketAddr,
        /// The limit.
        limit: Duration,
    },
    /// The old container runs again although it was stopped.
    #[error(
        "{container} behind {server} was stopped and runs again: a supervisor (systemd, supervisord, another deploy tool) restarts it. Take it out of that supervisor first"
    )]
    StartedAgain {
        /// The server.
        server: ServerId,
        /// The container's name.
        container: String,
    },
    /// The address answers although the old container is stopped.
    #[error(
        "{address} of {server} still answers although {container} is stopped: another process answers there, so {container} is not what serves {server}. Find that process (ss -ltnp), or set silence_check = false if a relay keeps answering there"
    )]
    StillAnswers {
        /// The server.
        server: ServerId,
        /// The container's name.
        container: String,
        /// Where its traffic goes.
        address: SocketAddr,
    },
    /// A hook wants the run to stop.
    #[error("the hook {hook} {}", match .code { Some(code) => format!("ended with code {code}"), None => "was killed".to_owned() })]
    Hook {
        /// Which.
        hook: Moment,
        /// Its exit code; `None` where its time was over, or a signal ended it.
        code: Option<i32>,
    },
    /// A hook cannot be run.
    #[error(transparent)]
    NoHook(#[from] HookError),
    /// Somebody asked the run to stop.
    #[error("asked to stop")]
    Stopped,
}

impl Failure {
    /// What the failure says of the new container, and so how carefully it is taken away.
    pub(super) fn care(&self) -> Care {
        match self {
            Self::Died { .. }
            | Self::NeverReady { .. }
            | Self::FellSilent { .. }
            | Self::NotUp { .. }
            | Self::NeverRose { .. }
            | Self::Elsewhere { .. }
            | Self::NotFollowed { .. }
            | Self::Unserved { .. } => Care::Failed,
            Self::LoadBalancer(_)
            | Self::LateCommand(_)
            | Self::UnansweredCall(_)
            | Self::Engine(_)
            | Self::Journal(_)
            | Self::Refused(_)
            | Self::DrainTimedOut { .. }
            | Self::NotCarried { .. }
            | Self::AgentAsked { .. }
            | Self::NotSeen { .. }
            | Self::Reloaded { .. }
            | Self::Vanished { .. }
            | Self::TakenOver { .. }
            | Self::Drifted { .. }
            | Self::StartedAgain { .. }
            | Self::StillAnswers { .. }
            | Self::Hook { .. }
            | Self::NoHook(_)
            | Self::Stopped => Care::Serving,
        }
    }

    /// Whether the load balancer does not answer: it may just be started anew.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::LateCommand(_))
            || matches!(self, Self::LoadBalancer(error) if error.is_silence())
    }

    /// Whether nobody answered at all.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Engine(error) if error.is_outage())
    }

    /// Whether the same thing may succeed in a moment: an engine or a load balancer that is being restarted, or a server
    /// that is to carry the traffic and is just coming up.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::LoadBalancer(_) | Self::Engine(_) | Self::Refused(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_session_is_spoken_of_as_one() {
        let timed_out = |sessions| {
            let failure = Failure::DrainTimedOut { sessions, limit: Duration::from_secs(1) };
            failure.to_string()
        };
        assert!(timed_out(1).starts_with("1 session had not ended within 1 s (--drain-timeout); "));
        assert!(timed_out(2).starts_with("2 sessions had not ended within 1 s (--drain-timeout); "));
    }

    #[test]
    fn only_who_does_not_answer_is_waited_for() {
        let unreachable = EngineError::Unreachable { endpoint: String::new(), reason: String::new() };
        let (subject, reason) = (String::new(), String::new());
        let refused = EngineError::Refused { action: "inspect", subject, reason };
        assert!(Failure::from(unreachable).is_outage());
        assert!(!Failure::from(refused).is_outage() && !Failure::Stopped.is_outage());
        let refused = LoadBalancerError::Refused { command: String::new(), reply: String::new() };
        assert!(!Failure::from(refused).is_silence() && !Failure::Stopped.is_silence());
    }

    #[test]
    fn a_container_that_the_kernel_has_ended_is_said_to_be() {
        let died = |out_of_memory| Failure::Died { exit_code: 137, out_of_memory }.to_string();
        assert_eq!(died(false), "the container ended with code 137");
        assert_eq!(died(true), "the container ended with code 137, for want of memory");
    }
}
