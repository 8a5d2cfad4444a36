//! The steps that undo a lane, depending on how far it got.

use crate::plan::{Lane, Step};

/// What an undo knows about the container that it takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoMode {
    /// It failed, so what it still holds is lost either way.
    Immediate,
    /// It serves, and goes because another lane failed. Other servers must carry its traffic, and its sessions must
    /// end first.
    Graceful,
}

/// Returns the steps that undo a lane after the `begun` steps. Each can be repeated, so it does not matter whether
/// the last one took effect.
#[must_use]
pub fn undo(lane: &Lane, begun: &[Step], care: UndoMode) -> Vec<Step> {
    let has = |step| begun.contains(&step);
    let replaced = is_replaced(begun);
    let mut steps = Vec::new();
    if replaced {
        if has(Step::Ready) {
            if care == UndoMode::Graceful {
                steps.push(Step::Verify);
            }
            steps.extend([Step::Drain, Step::AwaitIdle]);
        }
        steps.push(Step::Maint);
        if has(Step::Ready) {
            steps.push(Step::Settle);
        }
        steps.push(Step::Discard);
        steps.extend(restore_steps(lane));
    } else {
        if has(Step::Drain) || has(Step::Maint) || has(Step::Ready) {
            steps.push(Step::PutBack);
        }
        if has(Step::Create) {
            steps.push(Step::Discard);
        }
    }
    steps
}

/// Returns the remaining steps once the lane has its old container again, when it is unknown whether all of the
/// container's settings were restored.
#[must_use]
pub fn restore_steps(lane: &Lane) -> Vec<Step> {
    let back = lane.keeps_old().then_some(Step::Return);
    let prove = lane.old_served().then_some(Step::ProveOld);
    back.into_iter().chain(prove).chain([Step::PutBack]).collect()
}

/// Returns whether the old container was stopped or the new one was started.
#[must_use]
pub fn is_replaced(begun: &[Step]) -> bool {
    begun.contains(&Step::Stop) || begun.contains(&Step::Start)
}

impl Lane {
    /// Returns whether there is an old container to return to.
    #[must_use]
    pub fn keeps_old(&self) -> bool {
        self.replacement.as_ref().is_some_and(|replacement| replacement.old.is_some())
    }

    /// Returns whether the old container answered on any line that will be given requests again.
    fn old_served(&self) -> bool {
        self.keeps_old() && self.asked_of_old().next().is_some()
    }
}

#[cfg(test)]
mod tests;
