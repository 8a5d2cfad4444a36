//! How a run ends: what it says, and what it removes.

use super::{Executor, Mark, median, millis};
use crate::model::ids::ServerId;
use crate::plan::Step;
use crate::plan::rest::{OutOfService, Rest};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::{EventKind, Timing};
use crate::run::journal::Record;
use crate::run::outcome::Outcome;
use tokio::time::Instant;

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Ends the run at a safe point: replaced servers stay replaced, and the rest stay as they are.
    pub(super) async fn cancel(&self) -> Outcome {
        // A lane that was skipped, or undone, is as it was.
        let replaced: Vec<usize> = self.all_lanes().filter(|lane| self.traffic_touched(*lane)).collect();
        if let Err(failed) = Box::pin(self.final_check(&replaced)).await {
            return Box::pin(self.handle_failure(vec![failed])).await;
        }
        self.discard_candidates().await;
        self.remove_old_containers(&replaced).await;
        self.cancelled(&replaced)
    }

    pub(super) fn cancelled(&self, replaced: &[usize]) -> Outcome {
        let (replaced, remaining): (Vec<_>, Vec<_>) =
            self.all_lanes().partition(|lane| replaced.contains(lane));
        if remaining.is_empty() {
            // No lane remains, so the run is complete.
            return self.deployed(&replaced);
        }
        let left_out = self.left_out.borrow();
        let names = |lanes: Vec<usize>| lanes.iter().flat_map(|lane| self.plan.lanes[*lane].ids()).collect();
        Outcome::Cancelled {
            replaced: names(replaced),
            remaining: names(remaining),
            left_out: left_out.iter().cloned().collect(),
            rest: Rest { left: Vec::new(), out_of_service: self.out_of_service(|it| !left_out.contains(it)) },
        }
    }

    /// Returns the selected servers that an operator, haproxy.cfg or an agent keeps out of service.
    pub(super) fn out_of_service(&self, is_meant: impl Fn(&ServerId) -> bool) -> Vec<OutOfService> {
        let by_agents = self.out_by_agents.borrow();
        let all = self.plan.rest.out_of_service.iter().chain(by_agents.iter());
        all.filter(|it| is_meant(&it.server)).cloned().collect()
    }

    /// Returns the outcome of a run that finished the lanes `through` and skipped the rest.
    pub(super) fn deployed(&self, through: &[usize]) -> Outcome {
        let lanes = &self.plan.lanes;
        let replaced = through.iter().filter(|lane| lanes[**lane].replacement.is_some()).count();
        let skipped = self.all_lanes().filter(|lane| self.at(*lane).is(Mark::Skipped));
        let skipped = skipped.flat_map(|lane| lanes[lane].ids()).collect();
        let put_back = through.len() - replaced;
        let rest = Rest { left: self.plan.rest.left.clone(), out_of_service: self.out_of_service(|_| true) };
        Outcome::Deployed { replaced, put_back, skipped, rest }
    }

    /// Removes the old containers of these lanes. A failure is only a warning: an old container that is left costs only
    /// disk space.
    pub(super) async fn remove_old_containers(&self, lanes: &[usize]) {
        self.warn_of_restarted(lanes).await;
        let plan = self.plan;
        for &lane in lanes.iter().filter(|lane| plan.lanes[**lane].steps.contains(&Step::Remove)) {
            if let Err(error) = self.run_step(lane, Step::Remove).await {
                self.emit(
                    lane,
                    EventKind::Warned { message: format!("the old container was not removed: {error}") },
                );
            }
        }
    }

    pub(super) async fn close(&self, outcome: Outcome, started: Instant) -> Outcome {
        let plan = self.plan;
        let outcome = Box::pin(self.settled_outcome(outcome)).await;
        let outcome = Box::pin(self.without_surge(outcome)).await;
        for name in self.fleet.stale() {
            let servers = plan.lanes.iter().flat_map(crate::plan::Lane::ids).collect::<Vec<_>>();
            let message = format!(
                "{name} did not answer before the run ended: check there that these servers are in service: {}",
                crate::model::words::list(&servers)
            );
            self.emit_run(EventKind::Warned { message });
        }
        self.name_volumes_left();
        for (engine, call) in self.site.engines.unanswered() {
            let at = self.site.clock.now();
            // The journal's error is reported below.
            let _told = self.ledger.record(&Record::Unanswered { at, engine, call }).await;
        }
        self.after_run(&outcome).await;
        let at = self.site.clock.now();
        if let Err(error) = self.ledger.record(&Record::Closed { at, outcome: outcome.clone() }).await {
            let typed = |words: &[&str]| self.site.typed.command(words);
            let (status, resume) = (typed(&["status"]), typed(&["resume", &plan.goal.backend]));
            let message = format!(
                "the run ended, but its journal could not record that: {error}. If `{status}` reports the run as unfinished, `{resume}` closes it"
            );
            self.emit_run(EventKind::Warned { message });
        }
        let own_ms = median(self.timings.borrow().iter().map(Timing::own_ms).collect());
        self.emit_run(EventKind::RunEnded { outcome: outcome.clone(), took_ms: millis(started), own_ms });
        outcome
    }
}
