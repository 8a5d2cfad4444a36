//! Maps each step to its effect.

use super::recovery::{TRY_EVERY, TRY_FOR};
use super::{Executor, StepError};
use crate::plan::{Lane, Replacement, Step};
use crate::ports::{ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::site::wait::retry;

/// How many calls of a step may take effect only after their time limit. A step makes few calls.
const LATE_CALLS: u32 = 5;

impl<'a, L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'a, L, E, P, C, H, J>
{
    /// Applies a step to a lane.
    pub(super) async fn apply(&self, lane: usize, step: Step) -> Result<(), StepError> {
        // Boxed for its size.
        self.guard_step(step, lane, Box::pin(self.apply_unguarded(lane, step))).await
    }

    /// Applies a step, and retries it for a while if it fails for a reason that may pass.
    pub(super) async fn apply_with_retry(&self, lane: usize, step: Step) -> Result<(), StepError> {
        self.guard_step(step, lane, Box::pin(self.retry_unguarded(lane, step))).await
    }

    async fn retry_unguarded(&self, lane: usize, step: Step) -> Result<(), StepError> {
        let mut late_calls = 0;
        loop {
            let attempt = async || self.apply_unguarded(lane, step).await;
            let result = retry(TRY_EVERY, TRY_FOR, StepError::may_pass, attempt).await;
            // A call that used up its time limit took longer than the retries last, and may have its effect by now.
            let is_given_up = matches!(&result, Err(StepError::Engine(EngineError::GivenUp { .. })));
            if !is_given_up || late_calls == LATE_CALLS || self.wait_for_lane_engine(lane).await.is_err() {
                return result;
            }
            late_calls += 1;
        }
    }

    /// Runs `work` with the guard that the step needs: nothing may put the lane's servers into rotation while its
    /// containers change, and the other servers are watched all the time.
    async fn guard_step<T>(&self, step: Step, lane: usize, work: impl Future<Output = T>) -> T {
        match step {
            Step::Stop | Step::Start | Step::Prove | Step::Discard | Step::Return | Step::ProveOld => {
                self.with_maint_held(lane, work).await
            }
            Step::Drain | Step::Maint | Step::Ready => self.with_outage_watch(lane, work).await,
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
    async fn wait_out_late_commands(&self, lane: usize, step: Step) -> Result<(), StepError> {
        match step {
            Step::Drain | Step::Discard | Step::Return => Box::pin(self.wait_until_settled()).await,
            Step::Settle => {
                let settled = self.wait_until_settled_or_unserved(lane);
                Box::pin(self.with_maint_held(lane, settled)).await
            }
            Step::Stop if self.is_unsettled() => {
                Box::pin(self.wait_until_settled_or_unserved(lane)).await?;
                // It may have let sessions in again.
                Box::pin(self.recheck_idle(lane)).await
            }
            Step::Create
            | Step::Verify
            | Step::AwaitIdle
            | Step::Maint
            | Step::Stop
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
    async fn wait_out_unanswered_calls(&self, lane: usize, step: Step) -> Result<(), StepError> {
        match step {
            Step::Stop | Step::Start | Step::Discard | Step::Return => self.wait_for_lane_engine(lane).await,
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

    pub(super) async fn apply_unguarded(&self, lane: usize, step: Step) -> Result<(), StepError> {
        self.wait_out_late_commands(lane, step).await?;
        self.wait_out_unanswered_calls(lane, step).await?;
        let swap = self.at(lane).swap;
        let old = swap.and_then(|(replacement, _)| replacement.old.as_ref());
        let new = self.created(lane);
        match (step, swap, old, new) {
            (Step::Verify, ..) => self.verify(lane).await,
            (Step::Drain, ..) => self.drain(lane).await,
            (Step::AwaitIdle, ..) => self.await_idle(lane).await,
            (Step::Maint, ..) => self.maint(lane).await,
            (Step::Settle, ..) => self.recheck_idle(lane).await,
            (Step::Stop, Some(swap), Some(old), _) => {
                self.stop_and_keep(lane, swap, old).await?;
                self.wait_silent(lane, swap, old).await
            }
            (Step::Start, Some(swap), _, Some(new)) => match self.start(lane, swap, &new).await {
                Err(failure) => Err(self.explain_restarted(lane, failure).await),
                Ok(()) => Ok(()),
            },
            (Step::Prove, _, _, new) => match self.wait_ready(lane, new).await {
                Err(failure) => Err(self.explain_restarted(lane, failure).await),
                Ok(()) => Ok(()),
            },
            (Step::Ready, ..) => self.ready(lane).await,
            (Step::Confirm, ..) => self.confirm(lane).await,
            (Step::Remove, Some(swap), ..) => self.remove(lane, swap).await,
            (Step::Discard, Some(swap), _, new) => self.discard(lane, swap, new).await,
            (Step::Return, Some(swap), Some(old), _) => match self.restore_old(lane, swap, old).await {
                Err(failure) => Err(self.explain_replaced(lane, failure).await),
                Ok(()) => Ok(()),
            },
            (Step::ProveOld, _, old, _) => {
                let stand_in = self.at(lane).stand_in.borrow().clone();
                let there = stand_in.or(old.map(|old| old.id.clone()));
                self.wait_ready(lane, there).await
            }
            (Step::PutBack, ..) => self.restore_states(lane).await,
            // All new containers are created before the first lane begins. A missing container needs nothing, whatever
            // a stored plan says of it.
            (Step::Create | Step::Stop | Step::Start | Step::Remove | Step::Discard | Step::Return, ..) => {
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
