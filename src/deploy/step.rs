//! Which step has which effect.

use super::{Deploy, Failure};
use crate::plan::{Lane, Replacement, Step};
use crate::ports::{ContainerEngine, Journal, LoadBalancer, Prober, WallClock};

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, J: Journal> Deploy<'_, L, E, P, C, J> {
    /// Does a step of a lane. From maint until the servers are ready again, or put back, nothing may put them into
    /// rotation.
    pub(super) async fn effect(&mut self, lane: usize, step: Step) -> Result<(), Failure> {
        let is_about_a_container = matches!(
            step,
            Step::Keep | Step::Start | Step::Prove | Step::Discard | Step::Return | Step::ProveOld
        );
        if is_about_a_container && self.out.contains(&lane) {
            self.while_out(lane, async |this| this.simply(lane, step).await).await
        } else {
            self.simply(lane, step).await
        }
    }

    async fn simply(&mut self, lane: usize, step: Step) -> Result<(), Failure> {
        match step {
            Step::Create => self.create(lane).await,
            Step::Verify => self.verify(lane).await,
            Step::Drain => self.drain(lane).await,
            Step::AwaitIdle => self.await_idle(lane).await,
            Step::Maint => self.maint(lane).await,
            Step::Settle => self.settle(lane).await,
            Step::Keep => self.keep(lane).await,
            Step::Start => self.start(lane).await,
            Step::Prove => self.prove(lane, self.created.get(&lane).cloned()).await,
            Step::Ready => self.ready(lane).await,
            Step::Confirm => self.confirm(lane).await,
            Step::Remove => self.remove(lane).await,
            Step::Discard => self.discard(lane).await,
            Step::Return => self.return_old(lane).await,
            Step::ProveOld => {
                let old = self.replacement(lane).and_then(|it| it.old.as_ref()).map(|old| old.id.clone());
                self.prove(lane, old).await
            }
            Step::PutBack => self.put_back(lane).await,
        }
    }

    pub(super) fn lane_of(&self, lane: usize) -> &Lane {
        &self.plan.lanes[lane]
    }

    pub(super) fn replacement(&self, lane: usize) -> Option<&Replacement> {
        self.plan.lanes[lane].replacement.as_ref()
    }
}
