//! Continues or rolls back an unfinished run.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::recovery::{TRY_EVERY, TRY_FOR};
use super::{Direction, Executor, Mark, StepError};
use crate::observation::AdminState;
use crate::plan::Step;
use crate::plan::recover::{Action, LaneFound, LaneRecovery, Towards, recover, was_removing};
use crate::ports::{ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::EventKind;
use crate::run::journal::Run;
use crate::run::outcome::Outcome;
use crate::site::wait::retry;

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Brings an unfinished run to an end. Begins no further lane.
    pub async fn recover(self, unfinished: &Run, towards: Towards) -> Outcome {
        let started = Instant::now();
        let outcome = match Box::pin(self.adopt(unfinished)).await {
            Err(failure) => self.adoption_failed(unfinished, failure).await,
            Ok(()) => Box::pin(self.recover_lanes(towards)).await,
        };
        Box::pin(self.close(outcome, started)).await
    }

    async fn recover_lanes(&self, towards: Towards) -> Outcome {
        let reason = self.unfinished_reason();
        let found = self.find_lanes().await;
        let find = |lane| found.get(&lane).copied().unwrap_or_default();
        let begun = self.ledger.progress().begun.clone();
        let recovery = recover(self.plan, &begun, towards, find);
        for it in recovery.lanes.iter().filter(|it| it.action == Action::Restore) {
            self.at(it.lane).mark(Mark::Back);
            self.at(it.lane).unmark(Mark::Out);
        }
        let recovered = self.carry_out(&recovery).await;
        if !recovered.failed.is_empty() {
            // The lanes that could not be undone are tried once more with those that could not be finished.
            let failed = recovered.failed.into_iter().chain(recovered.stuck).collect();
            return self.handle_failure(failed).await;
        }
        if !recovered.stuck.is_empty() {
            return self.stuck(reason, &recovered.stuck).await;
        }
        if towards == Towards::Finish || was_removing(&begun) {
            return self.cancel().await;
        }
        let mut outcome = self.rolled_back(reason, &recovered.kept).await;
        if let Outcome::RolledBack { asked, .. } = &mut outcome {
            *asked = true;
        }
        outcome
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

    /// Returns what is known of the containers of every lane that has touched traffic. Assumes that all are in their
    /// places if the engine does not answer: the next step reports it.
    pub(super) async fn find_lanes(&self) -> BTreeMap<usize, LaneFound> {
        let mut all = BTreeMap::new();
        for lane in self.all_lanes().filter(|lane| self.traffic_touched(*lane)) {
            let Some((_, engine)) = self.at(lane).swap else { continue };
            let look = async || engine.containers().await;
            let Ok(containers) = retry(TRY_EVERY, TRY_FOR, EngineError::is_outage, look).await else {
                continue;
            };
            let new = self.created(lane);
            let found = LaneFound::of(self.lane_of(lane), &self.begun(lane), new.as_ref(), &containers);
            // An old container whose servers are in service was not stopped.
            let old_may_stop = self.old_may_be_stopping(lane) && self.is_out_everywhere(lane).await;
            let new_may_stop = new.is_some_and(|new| engine.is_stopping(&new));
            all.insert(lane, found.with_stops(old_may_stop, new_may_stop));
        }
        all
    }

    /// Loads how far an unfinished run came. Asks the engines first what became of the calls that they had not answered.
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
        self.adopt_surge().await?;
        let in_flight = unfinished.progress.in_flight(&unfinished.plan);
        for (_, engine) in self.engines(|_| true) {
            self.guarded_all(&in_flight, self.wait_for_engine(None, engine)).await?;
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

    /// Runs the remaining steps of a lane that was interrupted halfway.
    pub(super) async fn finish_lane(&self, it: &LaneRecovery) -> Result<(), StepError> {
        self.at(it.lane).starts(Direction::Forward, self.fleet.processes());
        self.emit(it.lane, EventKind::LaneResumed { servers: it.servers.clone(), steps: it.steps.clone() });
        self.run_steps(it.lane, &it.steps).await
    }
}
