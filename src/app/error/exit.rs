//! The exit codes of errors.

use super::Error;
use crate::adapters::journal_file::LockError;
use crate::app::exit::Exit;
use crate::deploy::single_move::MoveError;
use crate::deploy::{PreflightError, StepError};
use crate::model::ids::ServerId;
use crate::plan::refusal::Refusal;
use crate::ports::{EngineError, LoadBalancerError};

impl Error {
    /// Returns the code that the process exits with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Engine(error) | Self::NoSuchImage { error, .. } => of_engine(error),
            Self::Refused(refusals) if refusals.iter().all(is_other_run) => Exit::Busy,
            Self::Settings(_)
            | Self::Unreadable(_)
            | Self::InContainer(_)
            | Self::Configuration { .. }
            | Self::NoStatsSocket { .. }
            | Self::InvalidLeaveSetting { .. }
            | Self::Render(_)
            | Self::Template { .. }
            | Self::Edit(_)
            | Self::SameBackend { .. }
            | Self::Install { .. }
            | Self::Journal(_)
            | Self::History(_)
            | Self::Lock(LockError::Journal(_)) => Exit::Configuration,
            Self::Socket(_)
            | Self::NoBackend { .. }
            | Self::NoServer { .. }
            | Self::ServerNameNotFound { .. }
            | Self::NoImage { .. }
            | Self::RunNotFound { .. }
            | Self::NoServices
            | Self::NoService { .. }
            | Self::Candidate { .. }
            | Self::NotSaved { .. }
            | Self::NotWritten { .. }
            | Self::NoPlanFile { .. }
            | Self::NotAPlanFile { .. }
            | Self::OtherPlan { .. }
            | Self::Events { .. }
            | Self::NotAFile { .. }
            | Self::OtherTarget { .. }
            | Self::SeveralFiles => Exit::Usage,
            Self::Refused(_)
            | Self::NotChecked { .. }
            | Self::NothingToRollBack { .. }
            | Self::SettingsExist { .. }
            | Self::RevisionNotFound { .. }
            | Self::NotPromoted { .. }
            | Self::NotStopped { .. }
            | Self::LockHolderUnknown { .. }
            | Self::ForeignRun { is_unfinished: false, .. } => Exit::Refused,
            Self::PlanDrifted { .. } | Self::NotApproved { .. } => Exit::Drifted,
            Self::LoadBalancer { error } => of_load_balancer(error),
            Self::LateCommand(_) | Self::HaproxyNotExecutable(_) => Exit::Unreachable,
            Self::Preflight(PreflightError(failure)) => of_failure(failure),
            Self::Lock(LockError::Busy { .. })
            | Self::Unfinished { .. }
            | Self::ForeignRun { is_unfinished: true, .. }
            | Self::MoveDuringRun { .. } => Exit::Busy,
            Self::MoveUncertain { .. } => Exit::Stuck,
            Self::Apply(error) => error.exit(),
            Self::ResumeStopped { .. } => Exit::Cancelled,
            Self::Move(error) => of_move(error),
            Self::Output(_) | Self::Page { .. } | Self::Prober(_) => Exit::Bug,
        }
    }

    /// Wraps an error that comes after servers were moved: an exit code from 2 to 9 would say that nothing was touched.
    #[must_use]
    pub fn after_a_move(self, servers: &[ServerId]) -> Self {
        // The codes 0 and 1 do not say so.
        if (2..10).contains(&self.exit().code()) {
            return Self::MoveUncertain { servers: servers.to_vec(), failure: Box::new(self) };
        }
        self
    }
}

/// Returns the code for a load balancer that failed.
fn of_load_balancer(error: &LoadBalancerError) -> Exit {
    match error {
        LoadBalancerError::NotAdmin { .. }
        | LoadBalancerError::SeveralProcesses { .. }
        | LoadBalancerError::NoSuchBackend { .. } => Exit::Configuration,
        LoadBalancerError::At { .. }
        | LoadBalancerError::Unreachable { .. }
        | LoadBalancerError::UntrustedListener { .. }
        | LoadBalancerError::Unanswered { .. }
        | LoadBalancerError::OtherMaster { .. }
        | LoadBalancerError::Refused { .. }
        | LoadBalancerError::NotSent { .. }
        | LoadBalancerError::StateNotApplied { .. }
        | LoadBalancerError::AddressNotApplied { .. }
        | LoadBalancerError::CutShort { .. }
        | LoadBalancerError::TooLong { .. }
        | LoadBalancerError::InvalidReply { .. } => Exit::Unreachable,
    }
}

/// Returns the code for a single move that failed.
fn of_move(error: &MoveError) -> Exit {
    match error {
        MoveError::LoadBalancer(_) | MoveError::LateCommand(_) => Exit::Unreachable,
        MoveError::Stopped { .. } => Exit::Cancelled,
        MoveError::PartlyApplied { .. }
        | MoveError::Uncertain { .. }
        | MoveError::Reverted { .. }
        | MoveError::TimedOut { .. } => Exit::Stuck,
    }
}

/// Returns the code for a run that failed before it touched anything.
fn of_failure(failure: &StepError) -> Exit {
    match failure {
        StepError::Refused(refusal) if is_other_run(refusal) => Exit::Busy,
        StepError::Refused(_)
        | StepError::StateChanged { .. }
        | StepError::TakeoverTimedOut { .. }
        | StepError::AgentStillPending { .. }
        | StepError::Unserved { .. }
        | StepError::Vanished { .. }
        | StepError::OldRestarted { .. }
        | StepError::StillAnswers { .. }
        | StepError::Hook { .. }
        | StepError::Reloaded { .. } => Exit::Refused,
        StepError::Engine(error) => of_engine(error),
        StepError::LoadBalancer { .. }
        | StepError::LateCommand(_)
        | StepError::UnansweredCall(_)
        | StepError::DrainTimedOut { .. }
        | StepError::Exited { .. }
        | StepError::NeverReady { .. }
        | StepError::StoppedAnswering { .. }
        | StepError::ServerNotUp { .. }
        | StepError::CheckNeverPassed { .. }
        | StepError::WrongAddress { .. }
        | StepError::AddressNotUpdated { .. }
        | StepError::StateUnknown { .. } => Exit::Unreachable,
        StepError::Journal(_) | StepError::HookNotRun(_) => Exit::Configuration,
        StepError::Drifted { .. } | StepError::KeptGone { .. } => Exit::Drifted,
        StepError::Stopped => Exit::Cancelled,
    }
}

fn is_other_run(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::ConcurrentRun { .. })
}

fn of_engine(error: &EngineError) -> Exit {
    match error {
        EngineError::BadDescription { .. } => Exit::Configuration,
        EngineError::NoLogin { reason, .. } if reason.is_of_settings() => Exit::Configuration,
        EngineError::OtherPlatform { .. } | EngineError::PlainPassword { .. } => Exit::Refused,
        EngineError::NoLogin { .. }
        | EngineError::NotEnoughSpace { .. }
        | EngineError::Unreachable { .. }
        | EngineError::BadEndpoint { .. }
        | EngineError::NoSuchImage { .. }
        | EngineError::Registry { .. }
        | EngineError::Refused { .. }
        | EngineError::TimedOut { .. }
        | EngineError::Unanswered { .. }
        | EngineError::GivenUp { .. } => Exit::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_move_no_code_says_that_nothing_was_touched() {
        let gone =
            || Error::from(LoadBalancerError::NoSuchBackend { backend: "b".into(), reply: String::new() });
        assert_eq!(gone().exit(), Exit::Configuration);
        assert_eq!(gone().after_a_move(&[ServerId::new("b", "s")]).exit(), Exit::Stuck);
    }
}
