//! Maps each step to its effect.

use super::recovery::{TRY_EVERY, TRY_FOR};
use super::wait::insist;
use super::{Executor, Failure};
use crate::plan::{Lane, Replacement, Step};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, WallClock};

impl<'a, L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'a, L, E, P, C, H, J>
{
    /// Applies a step to a lane.
    pub(super) async fn effect(&self, lane: usize, step: Step) -> Result<(), Failure> {
        self.during(step, lane, self.simply(lane, step)).await
    }

    /// Applies a step, and retries it for a while if it fails for a reason that may pass.
    pub(super) async fn insist_on(&self, lane: usize, step: Step) -> Result<(), Failure> {
        self.during(step, lane, self.again_and_again(lane, step)).await
    }

    async fn again_and_again(&self, lane: usize, step: Step) -> Result<(), Failure> {
        insist(TRY_EVERY, TRY_FOR, Failure::may_pass, async || self.simply(lane, step).await).await
    }

    /// Runs `work` with the guard that the step needs: nothing may put the lane's servers into rotation while its
    /// containers change, and the other servers are watched all the time.
    async fn during<T>(&self, step: Step, lane: usize, work: impl Future<Output = T>) -> T {
        match step {
            Step::Keep | Step::Start | Step::Prove | Step::Discard | Step::Return | Step::ProveOld => {
                self.guarded(lane, work).await
            }
            Step::Drain | Step::Maint | Step::Ready => self.watched(lane, work).await,
            // These steps poll by themselves, or no server is out.
            Step::Create
            | Step::Verify
            | Step::AwaitIdle
            | Step::Settle
            | Step::Confirm
            | Step::Remove
            | Step::PutBack => work.await,
        }
    }

    /// Waits for late commands before a step that they could spoil: a late command must neither take out a second
    /// server, nor put one into rotation whose container is gone.
    async fn outlast_late_commands(&self, lane: usize, step: Step) -> Result<(), Failure> {
        match step {
            Step::Drain | Step::Discard | Step::Return => Box::pin(self.until_settled()).await,
            Step::Settle => {
                let settled = self.until_settled_or_unserved(lane);
                Box::pin(self.guarded(lane, settled)).await
            }
            Step::Keep if self.is_unsettled() => {
                Box::pin(self.until_settled_or_unserved(lane)).await?;
                // It may have let sessions in again.
                Box::pin(self.settle(lane)).await
            }
            Step::Create
            | Step::Verify
            | Step::AwaitIdle
            | Step::Maint
            | Step::Keep
            | Step::Start
            | Step::Prove
            | Step::Ready
            | Step::Confirm
            | Step::Remove
            | Step::ProveOld
            | Step::PutBack => Ok(()),
        }
    }

    /// Waits for unanswered calls, so that no step works on a container that such a call may still change.
    async fn outlast_unanswered_calls(&self, lane: usize, step: Step) -> Result<(), Failure> {
        match step {
            Step::Keep | Step::Start | Step::Discard | Step::Return => self.until_answered(lane).await,
            Step::Create
            | Step::Verify
            | Step::Drain
            | Step::AwaitIdle
            | Step::Maint
            | Step::Settle
            | Step::Prove
            | Step::Ready
            | Step::Confirm
            | Step::Remove
            | Step::ProveOld
            | Step::PutBack => Ok(()),
        }
    }

    pub(super) async fn simply(&self, lane: usize, step: Step) -> Result<(), Failure> {
        self.outlast_late_commands(lane, step).await?;
        self.outlast_unanswered_calls(lane, step).await?;
        let swap = self.at(lane).swap;
        let old = swap.and_then(|(replacement, _)| replacement.old.as_ref());
        let new = self.created(lane);
        match (step, swap, old, new) {
            (Step::Verify, ..) => self.verify(lane).await,
            (Step::Drain, ..) => self.drain(lane).await,
            (Step::AwaitIdle, ..) => self.await_idle(lane).await,
            (Step::Maint, ..) => self.maint(lane).await,
            (Step::Settle, ..) => self.settle(lane).await,
            (Step::Keep, Some(swap), Some(old), _) => {
                self.keep(lane, swap, old).await?;
                self.falls_silent(lane, swap, old).await
            }
            (Step::Start, Some(swap), _, Some(new)) => match self.start(lane, swap, &new).await {
                Err(failure) => Err(self.or_started_again(lane, failure).await),
                Ok(()) => Ok(()),
            },
            (Step::Prove, _, _, new) => match self.prove(lane, new).await {
                Err(failure) => Err(self.or_started_again(lane, failure).await),
                Ok(()) => Ok(()),
            },
            (Step::Ready, ..) => self.ready(lane).await,
            (Step::Confirm, ..) => self.confirm(lane).await,
            (Step::Remove, Some(swap), ..) => self.remove(lane, swap).await,
            (Step::Discard, Some(swap), _, new) => self.discard(lane, swap, new).await,
            (Step::Return, Some(swap), Some(old), _) => match self.return_old(lane, swap, old).await {
                Err(failure) => Err(self.or_replaced(lane, failure).await),
                Ok(()) => Ok(()),
            },
            (Step::ProveOld, _, old, _) => {
                let stand_in = self.at(lane).stand_in.borrow().clone();
                let there = stand_in.or(old.map(|old| old.id.clone()));
                self.prove(lane, there).await
            }
            (Step::PutBack, ..) => self.put_back(lane).await,
            // All new containers are created before the first lane begins. A missing container needs nothing, whatever
            // a stored plan says of it.
            (Step::Create | Step::Keep | Step::Start | Step::Remove | Step::Discard | Step::Return, ..) => {
                Ok(())
            }
        }
    }

    pub(super) fn lane_of(&self, lane: usize) -> &'a Lane {
        &self.plan.lanes[lane]
    }

    pub(super) fn replacement(&self, lane: usize) -> Option<&Replacement> {
        self.at(lane).swap.map(|(replacement, _)| replacement)
    }
}
