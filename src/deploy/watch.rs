//! Watches whether backends are served while some of their servers are out.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::emitter::Emitter;
use super::outage::{Outage, OutageChange};
use super::rotation::LOOK_EVERY;
use super::{Executor, Mark, StepError, whole_millis};
use crate::model::ids::ServerId;
use crate::observation::LoadBalancerState;
use crate::plan::{Lane, Plan, Step, floor};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::EventKind;
use crate::site::wait::poll;

/// The outage monitor of a run. It queries nothing itself: it gets every state that a step or its guard reads, and
/// while a server is out one of them polls all the time.
pub(super) struct OutageWatch<'a, C> {
    plan: &'a Plan,
    emitter: Rc<Emitter<'a, C>>,
    /// By load balancer and backend.
    outages: RefCell<BTreeMap<(String, String), Outage>>,
}

impl<'a, C: WallClock> OutageWatch<'a, C> {
    pub fn new(plan: &'a Plan, emitter: Rc<Emitter<'a, C>>) -> Self {
        Self { plan, emitter, outages: RefCell::default() }
    }

    /// Takes a state over, and reports at once if an outage begins or ends. Servers in `out` count as out, whatever
    /// state a reload has given them for a moment.
    pub fn record(&self, seen: &LoadBalancerState, out: &BTreeSet<ServerId>) {
        for backend in self.plan.balances.iter().map(|balance| &balance.backend) {
            let Some(serves) = floor::serves(seen, backend, out) else { continue };
            let key = (seen.name.clone(), backend.clone());
            let turn = self.outages.borrow_mut().entry(key).or_default().record(serves);
            let (load_balancer, backend) = (seen.name.clone(), backend.clone());
            let kind = match turn {
                Some(OutageChange::Began(after)) => {
                    EventKind::OutageBegan { load_balancer, backend, after_ms: whole_millis(after) }
                }
                Some(OutageChange::Ended(took)) => {
                    EventKind::OutageEnded { load_balancer, backend, took_ms: whole_millis(took) }
                }
                None => continue,
            };
            // Lanes that are out together cause it together.
            self.emitter.emit(None, kind);
        }
    }

    /// Returns a callback that passes states to the monitor while a step is under way. It ignores load balancers in
    /// `behind`, because their state does not show which servers serve.
    pub fn recorder(
        self: Rc<Self>,
        behind: BTreeSet<String>,
        out: BTreeSet<ServerId>,
    ) -> impl Fn(&LoadBalancerState) {
        move |seen| {
            if !behind.contains(&seen.name) {
                self.record(seen, &out);
            }
        }
    }

    /// Forgets a load balancer that does not answer, because nothing polls it any more.
    pub fn forget(&self, load_balancer: &str) {
        self.outages.borrow_mut().retain(|(of, _), _| of != load_balancer);
    }

    /// Returns whether any backend has an outage.
    pub fn is_any_on(&self) -> bool {
        self.outages.borrow().values().any(|outage| outage.is_on())
    }

    /// Returns a failure if an outage affects a backend that the plan keeps served while this lane is out.
    pub fn promised_outage(&self, lane: &Lane) -> Option<StepError> {
        let promised: BTreeSet<&str> = floor::promised(lane, &self.plan.goal.policy).collect();
        let outages = self.outages.borrow();
        let mut on = outages.iter().filter(|(_, outage)| outage.is_on()).map(|(key, _)| key);
        let (load_balancer, backend) = on.find(|(_, backend)| promised.contains(backend.as_str()))?;
        Some(StepError::Unserved { load_balancer: load_balancer.clone(), backend: backend.clone() })
    }

    /// Waits until there is such an outage.
    pub async fn wait_for_promised_outage(&self, lane: &Lane) -> StepError {
        poll(LOOK_EVERY, async || self.promised_outage(lane)).await
    }
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Fails if the lane has to go back at once because its backend is not served.
    pub(super) fn check_promise(&self, lane: usize) -> Result<(), StepError> {
        self.watch.promised_outage(self.lane_of(lane)).map_or(Ok(()), Err)
    }

    /// Does the same before a step. From the start of the new container on, waiting for its answer is the faster way
    /// back.
    pub(super) fn check_may_begin(&self, lane: usize, step: Step) -> Result<(), StepError> {
        match step {
            Step::AwaitIdle | Step::Maint | Step::Settle | Step::Stop | Step::Start => {
                self.check_promise(lane)
            }
            Step::Create
            | Step::Verify
            | Step::Drain
            | Step::Prove
            | Step::Ready
            | Step::Confirm
            | Step::Remove
            | Step::Discard
            | Step::Return
            | Step::ProveOld
            | Step::PutBack => Ok(()),
        }
    }

    /// Passes the states of load balancers to the monitor, except those that missed a change: their state does not show
    /// which servers serve.
    pub(super) fn record_outages(&self, lane: usize, all: &[LoadBalancerState]) {
        let mut out = self.capacity.others(lane);
        if self.at(lane).is(Mark::Out) {
            out.extend(self.lane_of(lane).ids());
        }
        for seen in all.iter().filter(|seen| !self.fleet.is_stale(&seen.name)) {
            self.watch.record(seen, &out);
        }
    }
}
