//! Undoes lanes, and reports the actual state if that fails.

use std::convert::Infallible;
use std::iter::repeat_n;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::readiness::ProbeSubject;
use super::wave::Failed;
use super::{Direction, Executor, Mark, StepError};
use crate::model::ids::ServerId;
use crate::model::words::list;
use crate::plan::Step;
use crate::plan::recover::{Action, LaneRecovery, Recovery, candidates};
use crate::plan::undo::{UndoMode, is_replaced};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::EventKind;
use crate::run::journal::Record;
use crate::run::outcome::{Outcome, StuckServer};
use crate::site::wait::{Waited, until};

/// How often, and for how long, a step of an undo is retried: an engine or a load balancer that is being restarted
/// comes back within this time. It is longer than the engine's limit for a query (30 s), so that one that hangs is
/// asked again.
pub(super) const TRY_EVERY: Duration = Duration::from_millis(500);
pub(super) const TRY_FOR: Duration = Duration::from_secs(35);

/// How many times the undo of a failed container starts over because of a reload.
const RELOADS: u32 = 5;

/// What became of the lanes of a recovery.
#[derive(Default)]
pub(super) struct Recovered {
    /// The lanes that keep their new containers.
    pub kept: Vec<usize>,
    /// The lanes that could not be finished.
    pub failed: Vec<Failed>,
    /// The lanes that can neither be undone nor keep serving.
    pub stuck: Vec<Failed>,
}

/// The result of undoing a lane.
pub(super) enum LaneUndo {
    /// The lane is as it was.
    Undone,
    /// The lane could not be undone without loss, for this reason, and keeps serving with the new container.
    KeptNew(StepError),
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Does with each lane what the recovery says. After a lane that can neither be undone nor keep serving, no lane
    /// that serves is taken out any more.
    pub(super) async fn carry_out(&self, recovery: &Recovery) -> Recovered {
        let mut recovered = Recovered { kept: recovery.kept(), ..Recovered::default() };
        for it in &recovery.lanes {
            let lane = it.lane;
            match it.action {
                Action::Finish => {
                    if let Err(failure) = self.finish_lane(it).await {
                        recovered.failed.push((lane, failure));
                    }
                }
                Action::Undo(_) | Action::Restore => {
                    let serves = it.action == Action::Undo(UndoMode::Graceful) && self.is_confirmed(lane);
                    if !recovered.stuck.is_empty() && serves {
                        continue;
                    }
                    match self.undo_lane(it).await {
                        Ok(LaneUndo::Undone) => {}
                        Ok(LaneUndo::KeptNew(_)) => recovered.kept.push(lane),
                        Err(failure) => recovered.stuck.push((lane, failure)),
                    }
                }
                // At most a container was created: it is removed at the end, or reported as left behind.
                Action::RemoveNew | Action::Keep | Action::Nothing => {}
            }
        }
        recovered
    }

    /// Ends a rollback: removes what is not needed any more. These lanes keep their new containers.
    pub(super) async fn rolled_back(&self, reason: String, kept: &[usize]) -> Outcome {
        self.discard_candidates().await;
        self.remove_old_containers(kept).await;
        let kept = kept.iter().flat_map(|lane| self.plan.lanes[*lane].ids()).collect();
        let left_out: Vec<ServerId> = self.left_out.borrow().iter().cloned().collect();
        let restored = self.restored.take().into_iter().filter(|it| !left_out.contains(it));
        Outcome::RolledBack { reason, kept, restored: restored.collect(), left_out, asked: false }
    }

    /// Undoes the steps that a lane has begun, and reports that.
    pub(super) async fn undo_lane(&self, it: &LaneRecovery) -> Result<LaneUndo, StepError> {
        let servers = it.servers.clone();
        self.emit(it.lane, EventKind::UndoStarted { servers: servers.clone(), steps: it.steps.clone() });
        let taken = self.run_undo(it).await?;
        match &taken {
            LaneUndo::Undone => {
                if !self.at(it.lane).is(Mark::TakenOver) {
                    self.restored.borrow_mut().extend(self.lane_of(it.lane).enabled_ids());
                }
                self.emit(it.lane, EventKind::Undone { servers });
            }
            LaneUndo::KeptNew(why) => {
                let message = format!("the current container of {} stays in service: {why}", list(&servers));
                self.emit(it.lane, EventKind::Warned { message });
                self.emit(it.lane, EventKind::LaneKept { servers });
            }
        }
        Ok(taken)
    }

    /// Undoes a lane. A stop request does not interrupt that.
    async fn run_undo(&self, it: &LaneRecovery) -> Result<LaneUndo, StepError> {
        let (lane, care) = (it.lane, it.undo_mode());
        if it.steps.is_empty() {
            return Ok(LaneUndo::Undone);
        }
        // The timing is that of this undo's drain.
        self.at(lane).starts(Direction::Undo { needs_all: false }, self.fleet.processes());
        let mut taken = Box::pin(self.undo_steps(it)).await;
        for _ in 0..RELOADS {
            // A reload forgets what was set at runtime: from the beginning again, in the process that answers now.
            if care == UndoMode::Graceful || !matches!(taken, Err(StepError::Reloaded { .. })) {
                break;
            }
            taken = Box::pin(self.undo_steps(it)).await;
        }
        self.at(lane).direction.set(Direction::Forward);
        let taken = taken?;
        if matches!(taken, LaneUndo::Undone) {
            let undone = Record::Undone { at: self.site.clock.now(), lane };
            if let Err(error) = self.ledger.record_anyway(&undone).await {
                // Continue: the world is as it was, and the remaining lanes must be undone.
                self.emit(lane, EventKind::Warned { message: error.to_string() });
            }
        }
        Ok(taken)
    }

    async fn undo_steps(&self, it: &LaneRecovery) -> Result<LaneUndo, StepError> {
        let (lane, care) = (it.lane, it.undo_mode());
        let begun = self.begun(lane);
        if is_replaced(&begun)
            && it.action != Action::Restore
            && let Err(failure) = self.with_maint_held(lane, self.old_is_still_in_place(lane)).await
        {
            return match self.foreign_replacement(lane, &failure).await {
                Some(other) => self.leave_to_foreign(lane, &other, failure).await,
                None => self.keep_serving(lane, self.or_kept_gone(lane, failure)).await,
            };
        }
        if let (UndoMode::Immediate, Ok(seen)) = (care, self.lane_states(lane).await) {
            // Sessions that an earlier process holds on a failed container are lost either way.
            for seen in &seen {
                self.sees_process(lane, seen);
            }
        }
        let serves = care == UndoMode::Graceful && begun.contains(&Step::Ready);
        for &step in &it.steps {
            // A serving container may only go if every load balancer knows: a silent one may still send requests.
            let needs_all = serves && step.takes_out();
            self.at(lane).direction.set(Direction::Undo { needs_all });
            let done = self.apply_with_retry(lane, step).await;
            self.at(lane).direction.set(Direction::Undo { needs_all: false });
            let Err(failure) = done else { continue };
            if step == Step::Return
                && let Some(other) = self.foreign_replacement(lane, &failure).await
            {
                return self.leave_to_foreign(lane, &other, failure).await;
            }
            let waits = matches!(step, Step::AwaitIdle | Step::Settle);
            // The next step takes a server out again that was set to ready in between.
            let in_vain = matches!(
                failure,
                StepError::DrainTimedOut { .. } | StepError::Unserved { .. } | StepError::StateChanged { .. }
            );
            let can_stay = waits || step == Step::Verify || step.takes_out() && failure.is_silence();
            match care {
                // Its remaining sessions are lost either way.
                UndoMode::Immediate if waits && in_vain => {}
                UndoMode::Graceful if can_stay => return self.keep_serving(lane, failure).await,
                UndoMode::Immediate | UndoMode::Graceful => return Err(failure),
            }
        }
        Ok(LaneUndo::Undone)
    }

    /// Keeps a lane in service that cannot be undone without loss, if its container answers.
    pub(super) async fn keep_serving(&self, lane: usize, failure: StepError) -> Result<LaneUndo, StepError> {
        let asked = if self.has_begun(lane, Step::Start) { ProbeSubject::New } else { ProbeSubject::Old };
        if asked == ProbeSubject::Old && self.old_may_be_stopping(lane) {
            // It answers only until it has stopped.
            return Err(failure);
        }
        // Another process may have its address, so the container must also run.
        if !self.wait_for_answer(lane, asked).await || self.is_known_stopped(lane, asked).await {
            return Err(failure);
        }
        self.apply_with_retry(lane, Step::Ready).await?;
        let (restored, taken) = match self.old_container(lane) {
            // The new one was never started, so it is the old one that answers.
            Some((old, engine)) if !self.has_begun(lane, Step::Start) => {
                let restored = engine.set_restart(&old.id, &old.restart).await.map_err(StepError::from);
                let discarded = self.apply_unguarded(lane, Step::Discard).await;
                self.warn_unless(discarded, lane, "cannot discard a container that was never started");
                (restored, LaneUndo::Undone)
            }
            Some(_) | None => (self.restore_restart(lane).await, LaneUndo::KeptNew(failure)),
        };
        self.warn_unless(
            restored,
            lane,
            "the restart policy of its container was not restored, so Docker will not restart it",
        );
        Ok(taken)
    }

    /// Returns whether the engine reports that the container which should answer does not run or is gone.
    async fn is_known_stopped(&self, lane: usize, asked: ProbeSubject) -> bool {
        let of = match asked {
            ProbeSubject::New => self.new_container(lane),
            ProbeSubject::Old | ProbeSubject::Same => {
                self.old_container(lane).map(|(old, engine)| (old.id.clone(), engine))
            }
        };
        let Some((id, engine)) = of else { return false };
        match engine.status(&id).await {
            Ok(pulse) => !pulse.running,
            Err(error) => !error.is_outage(),
        }
    }

    /// Returns whether the container answers on the lane's lines within [`TRY_FOR`].
    pub(super) async fn wait_for_answer(&self, lane: usize, asked: ProbeSubject) -> bool {
        let never = CancellationToken::new();
        let answers = until(TRY_EVERY, TRY_FOR, &never, async || {
            Ok::<_, Infallible>(self.probe_lines(lane, asked).await.is_ready().then_some(()))
        });
        let Ok(answers) = answers.await;
        answers == Waited::Done(())
    }

    pub(super) fn warn_unless(&self, done: Result<(), StepError>, lane: usize, what: &str) {
        if let Err(error) = done {
            let message = format!("{}: {what}: {error}", list(&self.lane_of(lane).ids()));
            self.emit(lane, EventKind::Warned { message });
        }
    }

    /// Removes every container that was only created, in lanes that have not touched traffic.
    pub(super) async fn discard_candidates(&self) {
        let candidates = candidates(self.plan, &self.ledger.progress().begun);
        for candidate in candidates {
            if let Err(error) = self.run_undo(&candidate).await {
                let message = format!("cannot discard a container that was never started: {error}");
                self.emit(candidate.lane, EventKind::Warned { message });
            }
        }
    }

    /// Returns the end of a new container's log, and the last runs of its healthcheck.
    pub(super) async fn diagnostics(&self, lane: usize) -> (Vec<String>, Vec<String>) {
        /// At most one screen, so that the failure itself stays visible.
        const LINES: usize = 15;
        let Some((new, engine)) = self.new_container(lane) else { return Default::default() };
        let health = engine.status(&new).await.map(|pulse| pulse.health_log).unwrap_or_default();
        (engine.log_tail(&new, LINES).await.unwrap_or_default(), health)
    }

    /// Returns the outcome for a lane that cannot be undone: the state of its servers, and the commands that restore
    /// them. Removes containers that were only created first.
    pub(super) async fn stuck(&self, reason: String, lanes: &[Failed]) -> Outcome {
        self.discard_candidates().await;
        self.stuck_outcome(reason, lanes).await
    }

    /// Returns the same outcome, but removes nothing.
    pub(super) async fn stuck_outcome(&self, reason: String, lanes: &[Failed]) -> Outcome {
        let mut servers = Vec::new();
        for (lane, failure) in lanes {
            servers.extend(self.stranded_servers(*lane, failure).await);
        }
        let is_kept = |other: &usize| {
            // A lane that was undone has no begun steps left.
            lanes.iter().all(|(lane, _)| lane != other)
                && self.has_begun(*other, Step::Start)
                && !self.at(*other).is(Mark::Back)
        };
        let kept = self.all_lanes().filter(is_kept).flat_map(|it| self.plan.lanes[it].ids());
        let resume = self.site.typed.command(&["resume", &self.plan.goal.backend]);
        let (kept, journal) = (kept.collect(), self.ledger.place().await);
        Outcome::Stuck { reason, servers, kept, journal, resume }
    }

    /// Returns what is true of the servers of a lane that could not be undone, and what brings them back.
    async fn stranded_servers(&self, lane: usize, failure: &StepError) -> Vec<StuckServer> {
        let seen = self.lane_states(lane).await.ok();
        let stranded = |(server, commands): (ServerId, Vec<String>)| {
            let everywhere = seen.iter().flatten();
            let state = everywhere.filter_map(|seen| seen.server(&server)).max_by_key(|it| it.operational);
            let status = state.map_or("HAProxy does not report its state".to_owned(), |state| {
                format!("HAProxy reports {}", state.status)
            });
            StuckServer { status: format!("{status}; {failure}"), server, commands }
        };
        let servers = self.plan.lanes[lane].ids();
        // The servers share one container, so only the last one lists the commands.
        let before_the_last = repeat_n(Vec::new(), servers.len() - 1);
        let commands = before_the_last.chain([self.recovery_commands(lane).await]);
        servers.into_iter().zip(commands).map(stranded).collect()
    }
}
