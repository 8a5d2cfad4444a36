//! Runs the lanes of a plan, wave by wave, and decides what becomes of the run when a lane fails.

use futures_util::future::join_all;

use super::hooks::HookVerdict;
use super::recovery::LaneUndo;
use super::{Direction, Executor, Mark, StepError};
use crate::model::hook::HookPoint;
use crate::plan::undo::UndoMode;
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

    /// Ends the run after lanes failed, or after a stop request interrupted them. First undoes those lanes, so that none
    /// stays out of rotation because another one cannot be undone.
    pub(super) async fn handle_failure(&self, failed: Vec<Failed>) -> Outcome {
        let cause = failed.iter().map(|(_, failure)| failure).find(|it| **it != StepError::Stopped).cloned();
        let reason = cause.as_ref().unwrap_or(&StepError::Stopped).to_string();
        let (mut kept, mut stuck) = (Vec::new(), Vec::new());
        for (lane, failure) in failed.iter().filter(|(lane, _)| self.traffic_touched(*lane)) {
            match self.undo_lane(*lane, failure.undo_mode()).await {
                Ok(LaneUndo::Undone) => {}
                Ok(LaneUndo::KeptNew(_)) => kept.push(*lane),
                Err(error) => stuck.push((*lane, error)),
            }
        }
        if !stuck.is_empty() {
            return self.stuck(reason, &stuck).await;
        }
        let Some(cause) = cause else { return self.cancel().await };
        let plan = self.plan;
        // During the last check, the lanes after the one that failed are finished as well.
        let has_failed = |lane: &usize| failed.iter().any(|(of, _)| of == lane);
        let others: Vec<usize> =
            self.all_lanes().filter(|lane| !has_failed(lane) && self.traffic_touched(*lane)).collect();
        // After a reload, the sessions that the old process holds on serving servers cannot be counted.
        let keep = plan.policy.on_failure == OnFailure::Stop || matches!(cause, StepError::Reloaded { .. });
        if !keep {
            let lanes: Vec<_> = others.iter().rev().map(|lane| (*lane, UndoMode::Graceful)).collect();
            return self.roll_back(&lanes, reason, kept).await;
        }
        let outcome = self.roll_back(&[], reason, kept).await;
        let Outcome::RolledBack { reason, kept, left_out, restored, asked } = outcome else { return outcome };
        self.remove_old_containers(&others).await;
        let kept = others.iter().flat_map(|lane| plan.lanes[*lane].ids()).chain(kept).collect();
        Outcome::RolledBack { reason, kept, left_out, restored, asked }
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
        self.run_steps(index, |step| !matches!(step, Step::Create | Step::Remove)).await?;
        self.hook(HookPoint::AfterEnable, Some(index)).await.map(drop)
    }

    /// Runs the steps of a lane that `is_wanted` selects.
    pub(super) async fn run_steps(
        &self,
        index: usize,
        is_wanted: impl Fn(&Step) -> bool,
    ) -> Result<(), StepError> {
        let lane = &self.plan.lanes[index];
        for step in lane.steps.iter().filter(|step| is_wanted(step)) {
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
