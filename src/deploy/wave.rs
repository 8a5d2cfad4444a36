//! Runs the lanes of a plan, wave by wave, and decides what becomes of the run when a lane fails.

use futures_util::future::join_all;

use super::hooks::HookVerdict;
use super::recovery::Recovered;
use super::{Direction, Executor, Mark, StepError};
use crate::model::hook::HookPoint;
use crate::model::words::list;
use crate::plan::recover::{Finished, Recovery, after_failure};
use crate::plan::{OnFailure, Step};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::{EventKind, Timing};
use crate::run::outcome::Outcome;

/// A lane that did not come to its end, and why.
pub(super) type Failed = (usize, StepError);

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Runs the waves. Returns an error only if the first one failed before any server left rotation.
    pub(super) async fn waves(&self) -> Result<Outcome, StepError> {
        for wave in self.plan.waves() {
            let lanes: Vec<usize> = wave.collect();
            let mut failed = self.wave(&lanes).await;
            if failed.is_empty() {
                continue;
            }
            let is_untouched = lanes.iter().all(|lane| !self.traffic_touched(*lane));
            if lanes.contains(&0) && is_untouched {
                return Err(failed.swap_remove(0).1);
            }
            return Ok(self.handle_failure(failed).await);
        }
        self.resync(None).await;
        let through: Vec<usize> = self.all_lanes().filter(|lane| !self.at(*lane).is(Mark::Skipped)).collect();
        if let Err(failed) = Box::pin(self.final_check(&through)).await {
            return Ok(Box::pin(self.handle_failure(vec![failed])).await);
        }
        self.discard_candidates().await;
        self.remove_old_containers(&through).await;
        Ok(self.deployed(&through))
    }

    /// Runs the lanes of a wave at once, and returns those that failed, the cause of the others' stop first. When one
    /// fails, the others stop at their next safe point: one that only drains stops there, and one whose old container
    /// is stopped is finished.
    async fn wave(&self, lanes: &[usize]) -> Vec<Failed> {
        let run = async |lane: usize| {
            let ended = Box::pin(self.run_lane(lane)).await;
            if ended.is_err() {
                for other in lanes {
                    self.at(*other).stop.cancel();
                }
            }
            ended
        };
        let ended = join_all(lanes.iter().map(|lane| run(*lane))).await;
        let failed = lanes.iter().zip(ended).filter_map(|(lane, ended)| Some((*lane, ended.err()?)));
        let mut failed: Vec<Failed> = failed.collect();
        failed.sort_by_key(|(_, failure)| *failure == StepError::Stopped);
        failed
    }

    /// Ends the run after lanes failed, or after a stop request interrupted them.
    pub(super) async fn handle_failure(&self, failed: Vec<Failed>) -> Outcome {
        let cause = failed.iter().map(|(_, failure)| failure).find(|it| **it != StepError::Stopped).cloned();
        let reason = cause.as_ref().unwrap_or(&StepError::Stopped).to_string();
        let stays = match &cause {
            // Without a failure, only the rest of the run is not done. After a reload, the sessions that the old process
            // holds on serving servers cannot be counted.
            None | Some(StepError::Reloaded { .. }) => true,
            Some(_) => self.plan.goal.policy.on_failure == OnFailure::Stop,
        };
        let finished = if stays { Finished::Stay } else { Finished::Undone };
        let modes: Vec<_> = failed.iter().map(|(lane, failure)| (*lane, failure.undo_mode())).collect();
        let recovery = after_failure(self.plan, &self.ledger.progress().begun, &modes, finished);
        let mut recovered = self.carry_out(&recovery).await;
        if cause.is_some() && recovered.stuck.is_empty() {
            self.undo_failed_since(&recovery, &mut recovered).await;
        }
        match cause {
            _ if !recovered.stuck.is_empty() => self.stuck(reason, &recovered.stuck).await,
            None => self.cancel().await,
            Some(_) => self.rolled_back(reason, &recovered.kept).await,
        }
    }

    /// Undoes the lanes that were to keep their new containers, but whose containers have failed since: their old
    /// containers are about to be removed.
    async fn undo_failed_since(&self, recovery: &Recovery, recovered: &mut Recovered) {
        let failed = self.failed_since(&recovery.kept()).await;
        if failed.is_empty() {
            return;
        }
        for (lane, failure) in &failed {
            let message = format!("{} goes back too: {failure}", list(&self.lane_of(*lane).ids()));
            self.emit(*lane, EventKind::Warned { message });
        }
        let modes: Vec<_> = failed.iter().map(|(lane, failure)| (*lane, failure.undo_mode())).collect();
        let again = after_failure(self.plan, &self.ledger.progress().begun, &modes, Finished::Stay);
        *recovered = self.carry_out(&again).await;
    }

    /// Runs all steps of a lane, from rotation to rotation.
    async fn run_lane(&self, index: usize) -> Result<(), StepError> {
        let lane = &self.plan.lanes[index];
        self.check_lane_stop(index)?;
        let run = self.at(index);
        run.starts(Direction::Forward, self.fleet.processes());
        run.timing.set(Timing::default());
        self.emit(
            index,
            EventKind::LaneStarted {
                of: self.plan.lanes.len(),
                servers: lane.ids(),
                role: lane.role,
                cause: lane.cause.clone(),
                forecasts: lane.forecasts.clone(),
            },
        );
        if self.hook(HookPoint::BeforeDrain, Some(index)).await? == HookVerdict::Skip {
            run.mark(Mark::Skipped);
            self.emit(index, EventKind::LaneSkipped { servers: lane.ids() });
            return Ok(());
        }
        let steps = lane.steps.iter().filter(|step| !matches!(step, Step::Create | Step::Remove));
        self.run_steps(index, &steps.copied().collect::<Vec<_>>()).await?;
        self.hook(HookPoint::AfterEnable, Some(index)).await.map(drop)
    }

    /// Runs these steps of a lane.
    pub(super) async fn run_steps(&self, index: usize, steps: &[Step]) -> Result<(), StepError> {
        let lane = &self.plan.lanes[index];
        for step in steps {
            if let Err(failure) = self.run_hook_and_step(index, *step).await {
                if failure != StepError::Stopped {
                    let (log, health) = self.diagnostics(index).await;
                    let reason = failure.to_string();
                    self.emit(
                        index,
                        EventKind::StepFailed { servers: lane.ids(), step: *step, reason, log, health },
                    );
                }
                return Err(failure);
            }
        }
        let timing = self.at(index).timing.get();
        self.timings.borrow_mut().push(timing);
        self.emit(index, EventKind::LaneFinished { servers: lane.ids(), timing });
        Ok(())
    }

    /// Runs a step, and before it the hook that belongs to it.
    pub(super) async fn run_hook_and_step(&self, lane: usize, step: Step) -> Result<(), StepError> {
        if self.stop_at_once(lane).is_cancelled() {
            self.report_lane_stop(lane);
            return Err(StepError::Stopped);
        }
        self.check_may_begin(lane, step)?;
        if let Some(moment) = self.plan.lanes[lane].hook_before(step) {
            // The hook may take long, and the servers must stay out of rotation until it ends.
            self.with_maint_held(lane, self.hook(moment, Some(lane))).await?;
            self.check_may_begin(lane, step)?;
        }
        self.run_step(lane, step).await
    }

    /// Runs one step: a record, the effect, a record.
    pub(super) async fn run_step(&self, lane: usize, step: Step) -> Result<(), StepError> {
        self.record_begun(lane, step).await?;
        if step == Step::Remove {
            // Everything serves by now, so retry: a passing error must not leave a container behind.
            self.apply_with_retry(lane, step).await?;
        } else if let Err(failure) = self.apply(lane, step).await {
            return Err(self.explain_failure(lane, failure).await);
        }
        self.record_done(lane, step).await
    }
}
