//! Executes a plan: applies its steps through the ports, one lane at a time, and journals each step.
//!
//! The plan decides what to do. This module decides only whether a step succeeded, and how much to undo if it did not.

mod address;
mod agents;
mod balancers;
mod by_hand;
mod capacity;
mod confirm;
mod container;
mod create;
mod drain;
mod emitter;
mod end;
mod failure;
mod final_check;
mod hooks;
mod lane;
mod ledger;
mod old_container;
mod outage;
mod readiness;
mod recovery;
mod replaced;
mod resume;
mod rotation;
mod silence;
pub mod single_move;
mod step;
mod surge;
pub mod takeover;
mod watch;
mod wave;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::site::fleet::Fleet;
pub use crate::site::late::Tracked;
use crate::site::unanswered::TrackedEngine;
use capacity::CapacityGate;
use emitter::Emitter;
pub use failure::StepError;
use hooks::HookVerdict;
use lane::{Direction, LaneRun, Mark};
use ledger::Ledger;
use watch::OutageWatch;

use crate::model::hook::HookPoint;
use crate::model::ids::{ContainerId, LaneId, ServerId};
use crate::observation::AdminState;
use crate::plan::rest::OutOfService;
use crate::plan::undo::is_replaced;
use crate::plan::{Plan, Replacement, Step};
use crate::ports::{ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::{EventKind, Reporter, Timing};
use crate::run::journal::{self, Record};
use crate::run::outcome::Outcome;
use crate::site::Site;

/// The two stop requests that a run can receive.
#[derive(Clone, Debug, Default)]
pub struct StopRequest {
    /// Cancelled by the first request: stop at the next safe point. A drain is aborted at once; if the old container is
    /// already stopped, the run waits for the new one to come up.
    pub asked: CancellationToken,
    /// Cancelled by the second request: undo the current lane at once.
    pub now: CancellationToken,
}

/// The failure that ended a run before any server left rotation. Containers that the run had created are removed again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct PreflightError(#[from] pub StepError);

/// A lane's replacement, and the engine that performs it.
type ReplacementOnEngine<'a, E> = (&'a Replacement, &'a TrackedEngine<E>);

/// One run of one plan. The lanes of a wave share it.
pub struct Executor<'a, L, E, P, C, H, J> {
    plan: &'a Plan,
    site: &'a Site<L, E, P, C, H>,
    stop: StopRequest,
    /// The stop requests that were reported.
    stop_requests_reported: Cell<usize>,
    emitter: Rc<Emitter<'a, C>>,
    ledger: Ledger<'a, J>,
    fleet: Fleet<'a, L>,
    capacity: CapacityGate,
    /// Whether the backends are served while servers are out.
    watch: Rc<OutageWatch<'a, C>>,
    lanes: Vec<LaneRun<'a, E>>,
    /// The timings of the lanes that finished.
    timings: RefCell<Vec<Timing>>,
    /// Servers that an undo has left in maint, and those that were to stay there.
    left_out: RefCell<BTreeSet<ServerId>>,
    /// Servers that an undo gave their old container back.
    restored: RefCell<BTreeSet<ServerId>>,
    /// Anonymous volumes of new containers that had served and were removed by an undo.
    volumes_left: RefCell<BTreeSet<String>>,
    /// The surge servers that have joined and have not begun to leave, by their index.
    surge_in_service: RefCell<BTreeSet<usize>>,
    /// The load balancers that may have a surge server.
    surge_is_at: RefCell<BTreeSet<String>>,
    /// Servers that run their new container and that their agents keep out of service.
    out_by_agents: RefCell<Vec<OutOfService>>,
}

impl<'a, L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'a, L, E, P, C, H, J>
{
    /// Returns a run that has not begun.
    ///
    /// # Errors
    /// An engine that the plan needs is not known any more.
    pub fn new(
        plan: &'a Plan,
        site: &'a Site<L, E, P, C, H>,
        journal: &'a mut J,
        stop: StopRequest,
        listener: &'a mut dyn Reporter,
    ) -> Result<Self, EngineError> {
        let swap = |it: &'a Replacement| site.engines.named(&it.like.engine).map(|engine| (it, engine));
        let swaps = plan.lanes.iter().map(|lane| lane.replacement.as_ref().map(swap).transpose());
        let processes = plan.workers.iter().map(|it| (it.load_balancer.clone(), it.pid));
        let processes: BTreeMap<String, u32> = processes.collect();
        let lane = |swap| LaneRun::new(swap, &stop.asked, processes.clone());
        let lanes = swaps.map(|swap| swap.map(lane)).collect::<Result<_, _>>()?;
        let emitter = Rc::new(Emitter::new(&plan.run, &site.clock, listener));
        Ok(Self {
            plan,
            site,
            stop,
            stop_requests_reported: Cell::new(0),
            watch: Rc::new(OutageWatch::new(plan, Rc::clone(&emitter))),
            emitter,
            ledger: Ledger::new(plan, journal),
            fleet: Fleet::new(&site.load_balancers, processes),
            capacity: CapacityGate::default(),
            lanes,
            timings: RefCell::default(),
            left_out: RefCell::new(kept_in_maint(plan)),
            restored: RefCell::default(),
            volumes_left: RefCell::default(),
            surge_in_service: RefCell::default(),
            surge_is_at: RefCell::default(),
            out_by_agents: RefCell::default(),
        })
    }

    /// Executes the plan, and rolls back if a step fails.
    ///
    /// # Errors
    /// Returns only a failure that ended the run before any server left rotation.
    pub async fn run(self) -> Result<Outcome, PreflightError> {
        let started = Instant::now();
        let plan = self.plan;
        let opened = Record::Opened {
            version: journal::VERSION,
            pid: std::process::id(),
            plan: Box::new(plan.clone()),
            site: Some(Box::new(self.site.identity.of(plan))),
        };
        self.ledger.open(&opened).await.map_err(StepError::from)?;
        self.emit_run(EventKind::RunStarted {
            backend: plan.goal.backend.clone(),
            purpose: plan.goal.purpose,
            lanes: plan.lanes.iter().map(crate::plan::Lane::ids).collect(),
            waves: plan.waves().into_iter().map(|wave| wave.map(LaneId::at).collect()).collect(),
            images: plan.images.clone(),
        });
        for message in &plan.warnings {
            self.emit_run(EventKind::Warned { message: message.clone() });
        }
        let result = self.prepare_and_run().await;
        match result {
            Ok(outcome) => Ok(Box::pin(self.close(outcome, started)).await),
            Err(failure) => {
                self.discard_candidates().await;
                let stopped = failure == StepError::Stopped;
                let outcome = if stopped {
                    self.cancelled(&[])
                } else {
                    Outcome::Refused { reason: failure.to_string() }
                };
                let outcome = Box::pin(self.close(outcome, started)).await;
                if matches!(outcome, Outcome::Refused { .. }) {
                    Err(PreflightError(failure))
                } else {
                    Ok(outcome)
                }
            }
        }
    }

    async fn prepare_and_run(&self) -> Result<Outcome, StepError> {
        if self.hook(HookPoint::BeforeRun, None).await? == HookVerdict::Skip {
            return Ok(Outcome::Skipped);
        }
        self.prepare().await?;
        match self.join_surge().await {
            Ok(()) => self.waves().await,
            // Nothing has left rotation.
            Err(StepError::Stopped) => Err(StepError::Stopped),
            Err(failure) => Ok(self.rolled_back(failure.to_string(), &[]).await),
        }
    }

    /// Does everything that is possible while every server is still in rotation.
    async fn prepare(&self) -> Result<(), StepError> {
        for image in &self.plan.images {
            self.check_stop()?;
            self.pull(image).await?;
        }
        self.check_stop()?;
        self.create_all().await?;
        self.create_surge().await?;
        self.check_no_concurrent_run().await
    }

    /// Records that a lane begins a step.
    async fn record_begun(&self, lane: usize, step: Step) -> Result<(), StepError> {
        let at = self.site.clock.now();
        Ok(self.ledger.record(&Record::Begun { at, lane, step }).await?)
    }

    /// Records that a lane has done a step.
    async fn record_done(&self, lane: usize, step: Step) -> Result<(), StepError> {
        let at = self.site.clock.now();
        Ok(self.ledger.record(&Record::Done { at, lane, step }).await?)
    }

    /// Returns the state of a lane.
    fn at(&self, lane: usize) -> &LaneRun<'a, E> {
        &self.lanes[lane]
    }

    /// Returns the indices of all lanes.
    fn all_lanes(&self) -> std::ops::Range<usize> {
        0..self.plan.lanes.len()
    }

    /// Returns the steps that a lane has begun and not undone.
    fn begun(&self, lane: usize) -> Vec<Step> {
        self.ledger.progress().begun(lane).to_vec()
    }

    fn has_begun(&self, lane: usize, step: Step) -> bool {
        self.ledger.progress().has_begun(lane, step)
    }

    fn traffic_touched(&self, lane: usize) -> bool {
        self.ledger.progress().has_touched_traffic(lane)
    }

    /// Returns whether the lane's new container serves.
    fn is_confirmed(&self, lane: usize) -> bool {
        self.has_begun(lane, Step::Confirm)
    }

    /// Returns the container that takes over in a lane: the one that was created, or a kept one that comes back.
    fn created(&self, lane: usize) -> Option<ContainerId> {
        self.ledger.progress().new_container(self.plan, lane).cloned()
    }

    fn is_undoing(&self, lane: usize) -> bool {
        matches!(self.at(lane).direction.get(), Direction::Undo { .. })
    }

    /// Returns the token that stops a lane at its next safe point. No request interrupts an undo.
    fn stop_request(&self, lane: usize) -> CancellationToken {
        if self.is_undoing(lane) { CancellationToken::new() } else { self.at(lane).stop.clone() }
    }

    /// Returns the token that undoes a lane at once. No request interrupts an undo.
    fn stop_at_once(&self, lane: usize) -> CancellationToken {
        if self.is_undoing(lane) { CancellationToken::new() } else { self.stop.now.clone() }
    }

    fn check_stop(&self) -> Result<(), StepError> {
        self.report_stop_requests();
        if self.stop.asked.is_cancelled() { Err(StepError::Stopped) } else { Ok(()) }
    }

    /// Reports a stop request, once for each of the two.
    fn report_stop_requests(&self) {
        let asked = [&self.stop.asked, &self.stop.now].iter().filter(|token| token.is_cancelled()).count();
        if self.stop_requests_reported.get() < asked {
            self.stop_requests_reported.set(asked);
            let is_replaced = |lane: &usize| self.at(*lane).is(Mark::Out) && is_replaced(&self.begun(*lane));
            let seen_through =
                self.all_lanes().filter(is_replaced).flat_map(|lane| self.plan.lanes[lane].ids());
            self.emit_run(EventKind::StopRequested {
                at_once: asked > 1,
                seen_through: seen_through.collect(),
            });
        }
    }

    /// Fails if a lane must not start any more.
    fn check_lane_stop(&self, lane: usize) -> Result<(), StepError> {
        self.report_stop_requests();
        if self.at(lane).stop.is_cancelled() { Err(StepError::Stopped) } else { Ok(()) }
    }

    /// Reports stop requests for a lane that polls. An undo ignores them.
    fn report_lane_stop(&self, lane: usize) {
        if !self.is_undoing(lane) {
            self.report_stop_requests();
        }
    }

    /// Reports an event of a lane.
    fn emit(&self, lane: usize, kind: EventKind) {
        self.emitter.emit(Some(LaneId::at(lane)), kind);
    }

    /// Reports an event that belongs to no lane.
    fn emit_run(&self, kind: EventKind) {
        self.emitter.emit(None, kind);
    }
}

/// Returns the servers that an operator or haproxy.cfg put in maint, and that stay there.
fn kept_in_maint(plan: &Plan) -> BTreeSet<ServerId> {
    let kept = plan.rest.out_of_service.iter().filter(|it| it.state == AdminState::Maint);
    kept.map(|it| it.server.clone()).collect()
}

/// Returns the median; of two middle values, the upper one.
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Returns the whole milliseconds since `since`.
fn millis(since: Instant) -> u64 {
    whole_millis(since.elapsed())
}

fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
