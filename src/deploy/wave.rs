//! Runs the lanes of a plan, wave by wave, and decides what becomes of the run when a lane fails.

use futures_util::future::join_all;

use super::hooks::Wish;
use super::recovery::TakenBack;
use super::{Direction, Executor, Failure, Mark};
use crate::event::{Fact, Timing};
use crate::hook::Moment;
use crate::outcome::Outcome;
use crate::plan::undo::Care;
use crate::plan::{OnFailure, Step};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, WallClock};

/// A lane that did not come to its end, and why.
pub(super) type Failed = (usize, Failure);

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Runs the waves. Returns an error only if the first one failed before any server left rotation.
    pub(super) async fn waves(&self) -> Result<Outcome, Failure> {
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
            return Ok(self.after(failed).await);
        }
        self.catch_up(None).await;
        let through: Vec<usize> = self.all_lanes().filter(|lane| !self.at(*lane).is(Mark::Skipped)).collect();
        if let Err(failed) = Box::pin(self.last_look(&through)).await {
            return Ok(Box::pin(self.after(vec![failed])).await);
        }
        self.discard_candidates().await;
        self.remove_old(&through).await;
        Ok(self.deployed(&through))
    }

    /// Runs the lanes of a wave at once, and returns those that failed, the cause of the others' stop first. When one
    /// fails, the others stop at their next safe point: one that only drains stops there, and one whose old container
    /// is stopped is finished.
    async fn wave(&self, lanes: &[usize]) -> Vec<Failed> {
        let run = async |lane: usize| {
            let ended = Box::pin(self.lane(lane)).await;
            if ended.is_err() {
                lanes.iter().for_each(|other| self.at(*other).stop.cancel());
            }
            ended
        };
        let ended = join_all(lanes.iter().map(|lane| run(*lane))).await;
        let failed = lanes.iter().zip(ended).filter_map(|(lane, ended)| Some((*lane, ended.err()?)));
        let mut failed: Vec<Failed> = failed.collect();
        failed.sort_by_key(|(_, failure)| *failure == Failure::Stopped);
        failed
    }

    /// Ends the run after lanes failed, or after a stop request interrupted them. First undoes those lanes, so that none
    /// stays out of rotation because another one cannot be undone.
    pub(super) async fn after(&self, failed: Vec<Failed>) -> Outcome {
        let cause = failed.iter().map(|(_, failure)| failure).find(|it| **it != Failure::Stopped).cloned();
        let reason = cause.as_ref().unwrap_or(&Failure::Stopped).to_string();
        let (mut kept, mut stuck) = (Vec::new(), Vec::new());
        for (lane, failure) in failed.iter().filter(|(lane, _)| self.traffic_touched(*lane)) {
            match self.take_lane_back(*lane, failure.care()).await {
                Ok(TakenBack::Undone) => {}
                Ok(TakenBack::Serves(_)) => kept.push(*lane),
                Err(error) => stuck.push((*lane, error)),
            }
        }
        if !stuck.is_empty() {
            return self.stuck(reason, &stuck).await;
        }
        let Some(cause) = cause else { return self.give_up().await };
        let plan = self.plan;
        // During the last check, the lanes after the one that failed are finished as well.
        let has_failed = |lane: &usize| failed.iter().any(|(of, _)| of == lane);
        let others: Vec<usize> =
            self.all_lanes().filter(|lane| !has_failed(lane) && self.traffic_touched(*lane)).collect();
        // After a reload, the sessions that the old process holds on serving servers cannot be counted.
        let keep = plan.policy.on_failure == OnFailure::Stop || matches!(cause, Failure::Reloaded { .. });
        if !keep {
            let lanes: Vec<_> = others.iter().rev().map(|lane| (*lane, Care::Serving)).collect();
            return self.roll_back(&lanes, reason, kept).await;
        }
        let outcome = self.roll_back(&[], reason, kept).await;
        let Outcome::RolledBack { reason, kept, left_out, restored, asked } = outcome else { return outcome };
        self.remove_old(&others).await;
        let kept = others.iter().flat_map(|lane| plan.lanes[*lane].ids()).chain(kept).collect();
        Outcome::RolledBack { reason, kept, left_out, restored, asked }
    }

    /// Runs all steps of a lane, from rotation to rotation.
    async fn lane(&self, index: usize) -> Result<(), Failure> {
        let lane = &self.plan.lanes[index];
        self.check_lane_stop(index)?;
        let run = self.at(index);
        run.starts(Direction::Forward, self.fleet.processes());
        run.timing.set(Timing::default());
        self.tell(Fact::LaneStarted {
            lane: index + 1,
            of: self.plan.lanes.len(),
            servers: lane.ids(),
            role: lane.role,
            cause: lane.cause.clone(),
            forecasts: lane.forecasts.clone(),
        });
        if self.hook(Moment::BeforeDrain, Some(index)).await? == Wish::Skip {
            run.mark(Mark::Skipped);
            self.tell(Fact::LaneSkipped { servers: lane.ids() });
            return Ok(());
        }
        self.steps(index, |step| !matches!(step, Step::Create | Step::Remove)).await?;
        self.hook(Moment::AfterEnable, Some(index)).await.map(drop)
    }

    /// Runs the steps of a lane that `is_wanted` selects.
    pub(super) async fn steps(&self, index: usize, is_wanted: impl Fn(&Step) -> bool) -> Result<(), Failure> {
        let lane = &self.plan.lanes[index];
        for step in lane.steps.iter().filter(|step| is_wanted(step)) {
            if let Err(failure) = self.hook_and_step(index, *step).await {
                if failure != Failure::Stopped {
                    let (log, health) = self.last_words(index).await;
                    let reason = failure.to_string();
                    self.tell(Fact::StepFailed { servers: lane.ids(), step: *step, reason, log, health });
                }
                return Err(failure);
            }
        }
        let timing = self.at(index).timing.get();
        self.timings.borrow_mut().push(timing);
        self.tell(Fact::LaneFinished { servers: lane.ids(), timing });
        Ok(())
    }

    /// Runs a step, and before it the hook that belongs to it.
    pub(super) async fn hook_and_step(&self, lane: usize, step: Step) -> Result<(), Failure> {
        if self.stop_at_once(lane).is_cancelled() {
            self.report_lane_stop(lane);
            return Err(Failure::Stopped);
        }
        self.may_begin(lane, step)?;
        if let Some(moment) = self.plan.lanes[lane].moment_before(step) {
            // The hook may take long, and the servers must stay out of rotation until it ends.
            self.guarded(lane, self.hook(moment, Some(lane))).await?;
            self.may_begin(lane, step)?;
        }
        self.step(lane, step).await
    }

    /// Runs one step: a record, the effect, a record.
    pub(super) async fn step(&self, lane: usize, step: Step) -> Result<(), Failure> {
        self.begin(lane, step).await?;
        if step == Step::Remove {
            // Everything serves by now, so retry: a passing error must not leave a container behind.
            self.insist_on(lane, step).await?;
        } else if let Err(failure) = self.effect(lane, step).await {
            return Err(self.explained(lane, failure).await);
        }
        self.end(lane, step).await
    }
}
