//! Continues or rolls back an unfinished run.

use tokio::time::Instant;

use super::{Direction, Executor, Mark, StepError};
use crate::observation::AdminState;
use crate::plan::Step;
use crate::plan::undo::{UndoMode, is_replaced};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::journal::Run;
use crate::run::outcome::Outcome;

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Rolls an unfinished run back: undoes every lane that it had begun, the last one first. A run that was already
    /// removing old containers had succeeded with those lanes, so it is finished instead.
    pub async fn roll_back_unfinished(self, unfinished: &Run) -> Outcome {
        let started = Instant::now();
        let outcome = match Box::pin(self.adopt(unfinished)).await {
            Err(failure) => self.adoption_failed(unfinished, failure).await,
            Ok(()) if unfinished.progress.was_removing() => Box::pin(self.cancel()).await,
            Ok(()) => Box::pin(self.roll_back_all()).await,
        };
        Box::pin(self.close(outcome, started)).await
    }

    async fn roll_back_all(&self) -> Outcome {
        let reason = self.unfinished_reason();
        let lanes: Vec<_> = self.all_lanes().rev().map(|lane| (lane, UndoMode::Graceful)).collect();
        let mut outcome = self.roll_back(&lanes, reason, Vec::new()).await;
        if let Outcome::RolledBack { asked, .. } = &mut outcome {
            *asked = true;
        }
        outcome
    }

    /// Resumes an unfinished run up to the next safe point: completes the lane in progress if its old container may
    /// have been stopped, and undoes that lane otherwise. Begins no further lane.
    pub async fn finish_in_flight(self, unfinished: &Run) -> Outcome {
        let started = Instant::now();
        let outcome = match Box::pin(self.adopt(unfinished)).await {
            Err(failure) => self.adoption_failed(unfinished, failure).await,
            Ok(()) if unfinished.progress.was_removing() => Box::pin(self.cancel()).await,
            Ok(()) => Box::pin(self.finish_lane_in_flight()).await,
        };
        Box::pin(self.close(outcome, started)).await
    }

    /// Reports the run as stuck without touching anything, because the engine may still carry out the run's earlier
    /// calls.
    async fn adoption_failed(&self, unfinished: &Run, failure: StepError) -> Outcome {
        let mut lanes = unfinished.progress.in_flight(&unfinished.plan);
        if lanes.is_empty() {
            lanes.push(0);
        }
        let stranded: Vec<_> = lanes.into_iter().map(|lane| (lane, failure.clone())).collect();
        self.stuck_outcome(self.unfinished_reason(), &stranded).await
    }

    fn unfinished_reason(&self) -> String {
        format!("run {} was not finished", self.plan.run)
    }

    async fn finish_lane_in_flight(&self) -> Outcome {
        let reason = self.unfinished_reason();
        // Record the undo that the interrupted run could not record.
        for lane in self.all_lanes().filter(|lane| self.at(*lane).is(Mark::Back)) {
            if let Err(failure) = self.undo_lane(lane, UndoMode::Graceful).await {
                return self.stuck(reason, &[(lane, failure)]).await;
            }
        }
        let in_flight = self.ledger.progress().in_flight(self.plan);
        let mut to_finish = Vec::new();
        for lane in in_flight {
            if self.can_finish_lane(lane).await {
                to_finish.push(lane);
            } else if let Err(failure) = self.undo_lane(lane, UndoMode::Immediate).await {
                // If its new container is gone, there are no sessions to preserve.
                return self.stuck(reason, &[(lane, failure)]).await;
            }
        }
        let mut failed = Vec::new();
        for lane in to_finish {
            self.at(lane).starts(Direction::Forward, self.fleet.processes());
            if let Err(failure) = self.finish_lane(lane).await {
                failed.push((lane, failure));
            }
        }
        if failed.is_empty() { self.cancel().await } else { self.handle_failure(failed).await }
    }

    /// Returns whether a lane of an unfinished run can be completed: its old container may have been stopped or is
    /// gone, and the new one exists.
    async fn can_finish_lane(&self, lane: usize) -> bool {
        (is_replaced(&self.begun(lane)) || self.old_is_gone(lane).await) && self.new_is_there(lane).await
    }

    /// Loads the state of an unfinished run: what it had begun, and which lanes were undone since without a record in
    /// the journal. Those lanes may serve already and must not be taken out again. Asks the engines first what became
    /// of the calls that they had not answered.
    async fn adopt(&self, unfinished: &Run) -> Result<(), StepError> {
        self.ledger.continue_from(unfinished.progress.clone());
        for lane in self.all_lanes() {
            if self.has_begun(lane, Step::Maint) && !self.has_begun(lane, Step::Ready) {
                self.at(lane).mark(Mark::Out);
            }
        }
        for (engine, call) in &unfinished.progress.unanswered {
            self.site.engines.named(engine)?.remember(call.clone());
        }
        for lane in self.all_lanes() {
            let is_stopping = unfinished.progress.is_under_way(lane, Step::Stop);
            if let Some((old, engine)) = self.old_container(lane).filter(|_| is_stopping) {
                engine.note_stop(&old.id);
            }
        }
        let in_flight = unfinished.progress.in_flight(&unfinished.plan);
        for (_, engine) in self.engines(|_| true) {
            self.guarded_all(&in_flight, self.wait_for_engine(None, engine)).await?;
        }
        for lane in self.all_lanes() {
            // A container that may be stopping does not count as restored while its servers are out.
            let may_stop = self.old_may_be_stopping(lane) && self.is_out_everywhere(lane).await;
            let begun = self.begun(lane);
            if is_replaced(&begun) && !may_stop && self.old_container_restored(lane, &begun).await {
                self.at(lane).mark(Mark::Back);
                self.at(lane).unmark(Mark::Out);
            }
        }
        Ok(())
    }

    /// Returns whether all servers of a lane are in maint. Assumes so if the load balancers cannot be queried.
    async fn is_out_everywhere(&self, lane: usize) -> bool {
        let ids = self.lane_of(lane).id_set();
        let Ok(seen) = self.lane_states(lane).await else { return true };
        let mut servers = seen.iter().flat_map(|seen| &seen.servers).filter(|it| ids.contains(&it.id));
        servers.all(|it| it.admin.state() == AdminState::Maint)
    }

    /// Runs the remaining steps of a lane that was interrupted halfway. Each step may be repeated. A reload since then
    /// may have put the servers back into rotation, so they are drained again unless the new container is known to
    /// serve.
    async fn finish_lane(&self, lane: usize) -> Result<(), StepError> {
        let is_stopping = self.new_container(lane).is_some_and(|(new, engine)| engine.is_stopping(&new));
        let serves = self.has_begun(lane, Step::Ready) && !is_stopping;
        let is_gone = self.old_is_gone(lane).await;
        let is_over = |step: &Step| {
            matches!(step, Step::Create | Step::Remove)
                // The old container has no traffic to take over, and it cannot be stopped and kept.
                || is_gone && matches!(step, Step::Verify | Step::Stop)
                || serves && !matches!(step, Step::Prove | Step::Ready | Step::Confirm)
        };
        self.run_steps(lane, |step| !is_over(step)).await
    }
}
