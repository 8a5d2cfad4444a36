//! Turns agents (`agent-check`) off while their servers are out: the answer "ready" would end a drain or a maint.
//!
//! The agents are read from the load balancers each time and not taken from the plan alone: a reload may add one, and a
//! load balancer that was away when the plan was made may have one.

use std::collections::BTreeSet;
use std::time::Duration;

use super::balancers::BalancerStates;
use super::rotation::LOOK_EVERY;
use super::{Executor, StepError, Tracked};
use crate::model::ids::ServerId;
use crate::observation::{AdminState, Checker, Checking, LoadBalancerState, ServerState};
use crate::plan::{Lane, LaneServer};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, LoadBalancerError, Prober, WallClock};
use crate::run::event::EventKind;
use crate::site::wait::{Waited, until};

/// How long the last query of an agent may take. `HAProxy` limits it to `timeout check`, or else to `agent-inter`.
const LAST_ANSWER: Duration = Duration::from_secs(30);

/// Returns the lane's servers that have an agent, with their state at a load balancer.
fn with_agents<'a>(
    lane: &'a Lane,
    seen: &'a LoadBalancerState,
) -> impl Iterator<Item = (&'a LaneServer, &'a ServerState)> + 'a {
    let known = lane.servers.iter().filter_map(|server| Some((server, seen.server(&server.id)?)));
    known.filter(|(_, state)| state.checks.agent != Checking::Absent)
}

/// Returns whether an agent is on while its server is in rotation: one that was off before the run stays off.
fn belongs_on(server: &LaneServer, seen: &LoadBalancerState) -> bool {
    !server.agents_off.contains(&seen.name)
}

/// Returns whether an agent of the lane is on at a load balancer.
pub(super) fn is_any_on(lane: &Lane, seen: &LoadBalancerState) -> bool {
    with_agents(lane, seen).any(|(_, state)| state.asks_agent())
}

/// Turns the agents of these servers on or off at a load balancer. Turns an agent on even if it is on, so that the
/// command supersedes a late one that turns it off.
pub(super) async fn set_agents(
    load_balancer: &impl LoadBalancer,
    lane: &Lane,
    servers: &[ServerId],
    on: bool,
) -> Result<(), LoadBalancerError> {
    let seen = match load_balancer.state(&lane.backends()).await {
        // A reload removed the backend.
        Err(LoadBalancerError::NoSuchBackend { .. }) => return Ok(()),
        seen => seen?,
    };
    let is_turned = |server: &LaneServer, state: &ServerState| {
        if on { belongs_on(server, &seen) } else { state.asks_agent() }
    };
    let meant = with_agents(lane, &seen).filter(|(server, _)| servers.contains(&server.id));
    for (server, _) in meant.filter(|(server, state)| is_turned(server, state)) {
        load_balancer.set_checking(&server.id, Checker::Agent, on).await?;
    }
    Ok(())
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Remembers which of the lane's servers have an agent: a reload, or a load balancer that was away when the plan
    /// was made, may have brought one.
    pub(super) fn note_agents(&self, lane: usize, all: &[LoadBalancerState]) {
        let lane = self.lane_of(lane);
        for seen in all {
            let to_turn = with_agents(lane, seen)
                .filter(|(server, state)| state.asks_agent() || belongs_on(server, seen));
            self.fleet.have_agents(to_turn.map(|(server, _)| server.id.clone()));
        }
    }

    /// Returns whether a server of the lane has an agent that is off because of the run.
    pub(super) fn has_agent(&self, server: &LaneServer) -> bool {
        !server.agents.is_empty() || self.fleet.has_agent(&server.id)
    }

    fn has_agents(&self, lane: usize) -> bool {
        self.lane_of(lane).servers.iter().any(|server| self.has_agent(server))
    }

    /// Turns the agents of the lane's servers off, waits until none of them is being queried, and sets again what the
    /// last answers changed. The servers are in `state` already, so that an agent that hangs does not keep them in
    /// service.
    pub(super) async fn agents_off(&self, lane: usize, state: AdminState) -> Result<(), StepError> {
        if !self.has_agents(lane) {
            return Ok(());
        }
        let (plan, servers, stop) = (self.plan, self.lane_of(lane).ids(), self.stop_request(lane));
        self.on_all(lane, async |it: &Tracked<L>| set_agents(it, &plan.lanes[lane], &servers, false).await)
            .await?;
        let (mut asked, mut all): (BTreeSet<ServerId>, _) = (BTreeSet::new(), Vec::new());
        let waited = until(LOOK_EVERY, LAST_ANSWER, &stop, async || {
            self.report_lane_stop(lane);
            all = self.lane_states(lane).await?;
            let states = all.iter().flat_map(|seen| with_agents(&plan.lanes[lane], seen));
            let states = states.map(|(_, state)| state);
            asked = states.filter(|state| state.checks.asks_agent).map(|state| state.id.clone()).collect();
            Ok::<_, StepError>(asked.is_empty().then_some(()))
        });
        match (waited.await?, asked.pop_first()) {
            (Waited::Stopped, _) => {
                self.report_lane_stop(lane);
                return Err(StepError::Stopped);
            }
            (Waited::TimedOut, Some(server)) if !self.is_undoing(lane) => {
                return Err(StepError::AgentStillPending { server, limit: LAST_ANSWER });
            }
            (Waited::TimedOut, Some(server)) => {
                let message =
                    format!("the agent of {server} is still being queried and may change the server's state");
                self.emit(lane, EventKind::Warned { message });
            }
            (Waited::Done(()) | Waited::TimedOut, _) => {}
        }
        let moved = self.not_yet_out(lane, &BalancerStates { all, is_new: false }, state)?;
        self.set(lane, &moved).await
    }

    /// Turns the agents of these servers of the lane on again.
    pub(super) async fn agents_on(&self, lane: usize, servers: &[ServerId]) -> Result<(), StepError> {
        if !self.has_agents(lane) {
            return Ok(());
        }
        let plan = self.plan;
        self.on_all(lane, async |it: &Tracked<L>| set_agents(it, &plan.lanes[lane], servers, true).await)
            .await
            .map(drop)
    }
}
