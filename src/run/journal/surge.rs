//! What becomes of a surge server, step by step.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::ids::ContainerId;

/// A step of a surge server. `Create`, `Join` and `Leave` are recorded before their effect, the others after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum SurgeStep {
    /// Its container is about to be created.
    Create,
    /// Its container exists.
    Created { container: ContainerId },
    /// It is about to join at these addresses, one for each of its servers, at which its container has answered.
    Join { addresses: Vec<SocketAddr> },
    /// It has joined: it takes traffic at every load balancer.
    Joined,
    /// It is about to leave.
    Leave,
    /// It has left, and its container is removed.
    Gone,
}

impl SurgeStep {
    /// Returns its position among the steps.
    fn position(&self) -> usize {
        match self {
            Self::Create => 0,
            Self::Created { .. } => 1,
            Self::Join { .. } => 2,
            Self::Joined => 3,
            Self::Leave => 4,
            Self::Gone => 5,
        }
    }
}

/// How far a surge server came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SurgeProgress {
    pub container: Option<ContainerId>,
    /// Where the traffic of each of its servers goes; empty if it has not begun to join.
    pub addresses: Vec<SocketAddr>,
    /// The last step.
    last: Option<SurgeStep>,
}

impl SurgeProgress {
    /// Applies a step.
    ///
    /// # Errors
    /// Why the step cannot follow the one before.
    pub(super) fn apply(&mut self, step: &SurgeStep) -> Result<(), String> {
        let last = self.last.as_ref();
        // Records of steps that take it back may be missing, if the disk was full.
        let follows = last.is_none_or(|last| last.position() <= step.position() && *last != SurgeStep::Gone);
        if !follows || last.is_none() && !matches!(step, SurgeStep::Create | SurgeStep::Leave) {
            return Err(format!("makes the step {step:?} of a surge server, which cannot follow {last:?}"));
        }
        match step {
            SurgeStep::Created { container } => self.container = Some(container.clone()),
            SurgeStep::Join { addresses } => self.addresses.clone_from(addresses),
            SurgeStep::Gone => *self = Self::default(),
            SurgeStep::Create | SurgeStep::Joined | SurgeStep::Leave => {}
        }
        self.last = Some(step.clone());
        Ok(())
    }

    /// Returns whether it may be in service at a load balancer, and is to stay.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        matches!(self.last, Some(SurgeStep::Joined))
    }

    /// Returns whether it has begun to join.
    #[must_use]
    pub fn may_be_in_haproxy(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Returns whether nothing of it is left.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.last, None | Some(SurgeStep::Gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> [SurgeStep; 6] {
        let container = ContainerId("c".repeat(64));
        [
            SurgeStep::Create,
            SurgeStep::Created { container },
            SurgeStep::Join { addresses: vec!["127.0.0.1:49153".parse().unwrap()] },
            SurgeStep::Joined,
            SurgeStep::Leave,
            SurgeStep::Gone,
        ]
    }

    #[test]
    fn a_surge_server_joins_stays_and_leaves() {
        let mut progress = SurgeProgress::default();
        let joined: Vec<bool> = steps()
            .iter()
            .map(|step| {
                progress.apply(step).unwrap();
                progress.has_joined()
            })
            .collect();
        assert_eq!(joined, [false, false, false, true, false, false]);
        assert_eq!((progress.container.clone(), progress.addresses.len()), (None, 0));
        assert!(progress.is_gone());
    }

    #[test]
    fn it_leaves_from_every_step_and_never_comes_back() {
        for reached in 0..5 {
            let mut progress = SurgeProgress::default();
            steps()[..reached].iter().for_each(|step| progress.apply(step).unwrap());
            progress.apply(&SurgeStep::Leave).unwrap();
            assert!(progress.apply(&SurgeStep::Joined).is_err());
            progress.apply(&SurgeStep::Gone).unwrap();
            assert!(progress.apply(&SurgeStep::Leave).is_err());
        }
    }
}
