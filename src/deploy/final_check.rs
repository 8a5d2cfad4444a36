//! The last check of a run: what it is about to report is true and stays true.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::balancers::require_known;
use super::rotation::LOOK_EVERY;
use super::wave::Failed;
use super::{Executor, StepError, Tracked};
use crate::model::ids::ServerId;
use crate::observation::{AdminState, Answer, ServerState};
use crate::plan::rest::OutOfService;
use crate::plan::undo::UndoMode;
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::EventKind;
use crate::run::outcome::Outcome;
use crate::site::late::{self, Reapplied};
use crate::site::wait::until;

/// Whether a lane's servers are in service, as a poll shows it.
#[derive(Default)]
struct LaneService {
    /// Why the lane is not in service.
    why_not: Option<StepError>,
    /// The servers that their agents may keep out, with their states.
    by_agents: BTreeMap<ServerId, AdminState>,
    /// The servers that something else took out, with their states.
    taken_out: Vec<(ServerId, AdminState)>,
}

impl LaneService {
    fn failed(why: StepError) -> Self {
        Self { why_not: Some(why), ..Self::default() }
    }

    fn of(servers: impl Iterator<Item = ServerState>) -> Self {
        let mut found = Self::default();
        for server in servers {
            let state = server.admin.state();
            if server.may_be_out_by_agent() {
                found.by_agents.insert(server.id, state);
                continue;
            }
            if state != AdminState::Ready && !server.admin.is_inherited() {
                found.taken_out.push((server.id.clone(), state));
            }
            if state != AdminState::Ready || !server.operational.is_up() {
                found.why_not = Some(StepError::ServerNotUp { server: server.id, status: server.status });
            }
        }
        found
    }
}

impl<'a, L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'a, L, E, P, C, H, J>
{
    /// Waits until no late command can change a server any more. Skips load balancers that the run continues without;
    /// what they missed is reported at the end.
    pub(super) async fn wait_until_settled(&self) -> Result<(), StepError> {
        let asked = self.current_balancers();
        for message in asked.iter().filter_map(|it| it.unsettled_note()) {
            self.emit_run(EventKind::Warned { message });
        }
        let mut set_again = Vec::new();
        let settled = late::wait_until_settled(&asked, |again: Reapplied| set_again.push(again)).await;
        for again in set_again {
            self.emit_run(EventKind::Warned { message: again.to_string() });
        }
        Ok(settled?)
    }

    /// Does the same, but fails as soon as the lane has to go back at once.
    pub(super) async fn wait_until_settled_or_unserved(&self, lane: usize) -> Result<(), StepError> {
        let (watch, lane) = (Rc::clone(&self.watch), self.lane_of(lane));
        tokio::select! {
            biased;
            settled = self.wait_until_settled() => settled,
            failure = watch.wait_for_promised_outage(lane) => Err(failure),
        }
    }

    /// Returns whether a late command may still change a server.
    pub(super) fn is_unsettled(&self) -> bool {
        self.current_balancers().iter().any(|it| !it.unsettled().is_empty())
    }

    fn current_balancers(&self) -> Vec<&'a Tracked<L>> {
        let all = &self.site.load_balancers;
        all.iter().filter(|it| !self.fleet.is_stale(&it.name())).collect()
    }

    /// Checks that every server of these lanes is in service at every load balancer, with a container that answers.
    ///
    /// # Errors
    /// Returns the first lane that fails the check, and why.
    pub(super) async fn final_check(&self, lanes: &[usize]) -> Result<(), (usize, StepError)> {
        let Some(first) = lanes.first() else { return Ok(()) };
        self.wait_until_settled().await.map_err(|failure| (*first, failure))?;
        let begun = Instant::now();
        for &lane in lanes {
            self.wait_in_service(lane, begun).await.map_err(|failure| (lane, failure))?;
        }
        Ok(())
    }

    /// Makes the same check of lanes that keep their new containers after another lane failed, and returns those whose
    /// containers have failed since. One that cannot be checked counts as in service.
    pub(super) async fn failed_since(&self, lanes: &[usize]) -> Vec<Failed> {
        let (mut failed, begun) = (Vec::new(), Instant::now());
        for &lane in lanes {
            if let Err(failure) = self.wait_in_service(lane, begun).await
                && failure.undo_mode() == UndoMode::Immediate
            {
                failed.push((lane, failure));
            }
        }
        failed
    }

    /// Waits until a lane's container answers and its servers are ready and up. Puts a server that something else took
    /// out of service back once, if its container answers. A server with an agent comes back through the agent or is
    /// kept out by it, which is not a failure of the container. All lanes share one time limit for their agents.
    async fn wait_in_service(&self, lane: usize, begun: Instant) -> Result<(), StepError> {
        let (limit, never) = (self.plan.goal.policy.ready_timeout, CancellationToken::new());
        let container = self.created(lane);
        let alive: BTreeSet<ServerId> = self.lane_of(lane).enabled_ids().into_iter().collect();
        // A poll that the limit cuts off changes nothing.
        let (mut last, mut is_put_back) = (None, false);
        let waited = until(LOOK_EVERY, limit, &never, async || {
            if let Answer::NotReady(answer) = self.check_container(lane, container.as_ref()).await? {
                last = Some(LaneService::failed(StepError::StoppedAnswering { answer }));
                return Ok(None);
            }
            let seen = self.lane_states(lane).await?;
            require_known(&seen, &alive)?;
            let servers = seen.into_iter().flat_map(|seen| seen.servers);
            let mut now = LaneService::of(servers.filter(|server| alive.contains(&server.id)));
            let taken_out = std::mem::take(&mut now.taken_out);
            let is_over = now.why_not.is_none() && (now.by_agents.is_empty() || begun.elapsed() >= limit);
            last = Some(now);
            if is_put_back || taken_out.is_empty() {
                return Ok(is_over.then_some(()));
            }
            is_put_back = true;
            self.put_taken_out_back(lane, taken_out).await?;
            Ok::<_, StepError>(None)
        });
        waited.await?;
        let Some(LaneService { why_not, by_agents, .. }) = last else {
            return Err(StepError::StateUnknown { server: self.lane_of(lane).name().clone(), limit });
        };
        if let Some(why) = why_not {
            return Err(why);
        }
        for (server, state) in by_agents {
            let message =
                format!("{server} answers but stays in {state}, set by its agent (agent-check) or by hand");
            self.emit(lane, EventKind::Warned { message });
            self.out_by_agents.borrow_mut().push(OutOfService { server, state, has_agent: true });
        }
        Ok(())
    }

    /// Makes servers ready again that something else put into these states during the run.
    async fn put_taken_out_back(
        &self,
        lane: usize,
        taken_out: Vec<(ServerId, AdminState)>,
    ) -> Result<(), StepError> {
        let states: Vec<_> =
            taken_out.iter().map(|(server, _)| (server.clone(), AdminState::Ready)).collect();
        self.set(lane, &states).await?;
        for (server, state) in taken_out {
            let message = format!("{server} was set to {state} during the run; it is ready again");
            self.emit(lane, EventKind::Warned { message });
        }
        Ok(())
    }

    /// Returns the outcome once no late command can make it untrue; otherwise that the run is stuck.
    pub(super) async fn settled_outcome(&self, outcome: Outcome) -> Outcome {
        let Err(failure) = self.wait_until_settled().await else { return outcome };
        if matches!(outcome, Outcome::Stuck { .. }) {
            return outcome;
        }
        let of_lane = |lane: &usize| matches!(&failure, StepError::LateCommand(it) if self.lane_of(*lane).ids().contains(&it.server));
        let lane = self.all_lanes().find(of_lane).unwrap_or_default();
        self.stuck(outcome.to_string(), &[(lane, failure)]).await
    }
}
