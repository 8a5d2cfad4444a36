//! The exit codes of errors.

use super::Error;
use crate::adapters::journal_file::LockError;
use crate::deploy::{Failure, Untouched};
use crate::exit::Exit;
use crate::ids::ServerId;
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
            | Self::WrongLeave { .. }
            | Self::Render(_)
            | Self::Template { .. }
            | Self::Edit(_)
            | Self::NotItsFile { .. }
            | Self::HaproxyRefuses { .. }
            | Self::MountedFile { .. }
            | Self::SameBackend { .. }
            | Self::Install(_)
            | Self::Journal(_)
            | Self::History(_)
            | Self::Lock(LockError::Journal(_))
            | Self::LoadBalancer {
                error:
                    LoadBalancerError::NotAdmin { .. }
                    | LoadBalancerError::SeveralProcesses { .. }
                    | LoadBalancerError::NoSuchBackend { .. },
            } => Exit::Configuration,
            Self::Socket(_)
            | Self::NoBackend { .. }
            | Self::NoServer { .. }
            | Self::NoServerOfThatName { .. }
            | Self::NoImage { .. }
            | Self::NoRun { .. }
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
            | Self::NothingSuchToRollBackTo { .. }
            | Self::NotPromoted { .. }
            | Self::ReloadNeeded { .. }
            | Self::SocketGone { .. }
            | Self::NoReloader { .. }
            | Self::NotEmpty { .. }
            | Self::NotStopped { .. }
            | Self::HolderUnseen { .. }
            | Self::ForeignRun { is_unfinished: false, .. }
            | Self::NotUp { .. } => Exit::Refused,
            Self::PlanDrifted { .. } | Self::NotApproved { .. } => Exit::Drifted,
            Self::PutBack { .. } => Exit::RolledBack,
            Self::LoadBalancer { .. } | Self::LateCommand(_) | Self::NotRun(_) => Exit::Unreachable,
            Self::Untouched(Untouched(failure)) => of_failure(failure),
            Self::Lock(LockError::Busy { .. })
            | Self::Unfinished { .. }
            | Self::ForeignRun { is_unfinished: true, .. }
            | Self::MoveOverRun { .. } => Exit::Busy,
            Self::MoveTimedOut { .. }
            | Self::MoveUndone { .. }
            | Self::MoveHalfDone { .. }
            | Self::MoveUnsure { .. }
            | Self::NotPutBack { .. }
            | Self::NotReloaded { .. }
            | Self::NotRead { .. }
            | Self::RunsOtherwise { .. } => Exit::Stuck,
            Self::MoveStopped { .. } | Self::ResumeStopped { .. } => Exit::Cancelled,
            Self::Output(_) | Self::Page { .. } | Self::Prober(_) => Exit::Bug,
        }
    }

    /// Wraps an error that comes after servers were moved: an exit code from 2 to 9 would say that nothing was touched.
    #[must_use]
    pub fn after_a_move(self, servers: &[ServerId]) -> Self {
        // The codes 0 and 1 do not say so.
        if (2..10).contains(&self.exit().code()) {
            return Self::MoveUnsure { servers: servers.to_vec(), failure: Box::new(self) };
        }
        self
    }
}

/// Returns the code for a run that failed before it touched anything.
fn of_failure(failure: &Failure) -> Exit {
    match failure {
        Failure::Refused(refusal) if is_other_run(refusal) => Exit::Busy,
        Failure::Refused(_)
        | Failure::TakenOver { .. }
        | Failure::NotCarried { .. }
        | Failure::AgentAsked { .. }
        | Failure::Unserved { .. }
        | Failure::Vanished { .. }
        | Failure::StartedAgain { .. }
        | Failure::StillAnswers { .. }
        | Failure::Hook { .. }
        | Failure::Reloaded { .. } => Exit::Refused,
        Failure::Engine(error) => of_engine(error),
        Failure::LoadBalancer(_)
        | Failure::LateCommand(_)
        | Failure::UnansweredCall(_)
        | Failure::DrainTimedOut { .. }
        | Failure::Died { .. }
        | Failure::NeverReady { .. }
        | Failure::FellSilent { .. }
        | Failure::NotUp { .. }
        | Failure::NeverRose { .. }
        | Failure::Elsewhere { .. }
        | Failure::NotFollowed { .. }
        | Failure::NotSeen { .. } => Exit::Unreachable,
        Failure::Journal(_) | Failure::NoHook(_) => Exit::Configuration,
        Failure::Drifted { .. } | Failure::KeptGone { .. } => Exit::Drifted,
        Failure::Stopped => Exit::Cancelled,
    }
}

fn is_other_run(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::OtherRun { .. })
}

fn of_engine(error: &EngineError) -> Exit {
    match error {
        EngineError::BadDescription { .. } => Exit::Configuration,
        EngineError::NoLogin { reason, .. } if reason.is_of_settings() => Exit::Configuration,
        EngineError::OtherPlatform { .. } | EngineError::PlainPassword { .. } => Exit::Refused,
        EngineError::NoLogin { .. }
        | EngineError::NoRoom { .. }
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
