//! Agents (`agent-check`): the answer "ready" would end a drain or a maint, so they are off while their servers are out.

use std::collections::BTreeSet;
use std::time::Duration;

use super::rotation::LOOK_EVERY;
use super::wait::{Waited, until};
use super::{Deploy, Failure, Tracked};
use crate::event::Fact;
use crate::ids::ServerId;
use crate::observation::{Checker, Checking, LoadBalancerState, ServerState};
use crate::plan::Lane;
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, LoadBalancerError, Prober, WallClock};

/// How long the last question to an agent may take. `HAProxy` gives it `timeout check`, or else `agent-inter`.
const LAST_ANSWER: Duration = Duration::from_secs(30);

/// What a load balancer says of the lane's servers whose agents were on there when the plan was made.
fn with_agents<'a>(
    lane: &'a Lane,
    seen: &'a LoadBalancerState,
) -> impl Iterator<Item = &'a ServerState> + 'a {
    let had_one = lane.servers.iter().filter(|server| server.agents.contains(&seen.name));
    had_one.filter_map(|server| seen.server(&server.id))
}

/// Turns the lane's agents on or off at a load balancer. One that is on is turned on all the same: a late command to turn
/// it off is then none that is wanted any more. A line that a reload has left without an agent stays so.
pub(super) async fn turn(
    load_balancer: &impl LoadBalancer,
    lane: &Lane,
    on: bool,
) -> Result<(), LoadBalancerError> {
    if !lane.has_agents() {
        return Ok(());
    }
    let seen = match load_balancer.glance(&lane.backends()).await {
        // A reload has removed the backend.
        Err(LoadBalancerError::NoSuchBackend { .. }) => return Ok(()),
        seen => seen?,
    };
    let is_turned = |agent: Checking| agent == Checking::On || on && agent == Checking::Off;
    for server in with_agents(lane, &seen).filter(|state| is_turned(state.checks.agent)) {
        load_balancer.set_checking(&server.id, Checker::Agent, on).await?;
    }
    Ok(())
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Deploy<'_, L, E, P, C, H, J>
{
    /// Turns the agents of the lane's servers off, and waits until none of them is being asked any more.
    pub(super) async fn agents_off(&mut self, lane: usize) -> Result<(), Failure> {
        if !self.lane_of(lane).has_agents() {
            return Ok(());
        }
        let (plan, stop) = (self.plan, self.stop.asked.clone());
        self.everywhere(async |it: &Tracked<L>| turn(it, &plan.lanes[lane], false).await).await?;
        let mut asked: BTreeSet<ServerId> = BTreeSet::new();
        let waited = until(LOOK_EVERY, LAST_ANSWER, &stop, async || {
            self.hear_stop();
            let seen = self.look_anew(lane).await?;
            let states = seen.iter().flat_map(|seen| with_agents(&plan.lanes[lane], seen));
            asked = states.filter(|state| state.checks.asks_agent).map(|state| state.id.clone()).collect();
            Ok::<_, Failure>(asked.is_empty().then_some(()))
        });
        match (waited.await?, asked.pop_first()) {
            (Waited::Stopped, _) => {
                self.hear_stop();
                Err(Failure::Stopped)
            }
            (Waited::TimedOut, Some(server)) if !self.is_undoing => {
                Err(Failure::AgentAsked { server, limit: LAST_ANSWER })
            }
            (Waited::TimedOut, Some(server)) => {
                let message = format!("the agent of {server} is still being asked, and may change its state");
                self.tell(Fact::Warned { message });
                Ok(())
            }
            (Waited::Done(()) | Waited::TimedOut, _) => Ok(()),
        }
    }

    /// Turns the agents on again that were on before.
    pub(super) async fn agents_on(&mut self, lane: usize) -> Result<(), Failure> {
        if !self.lane_of(lane).has_agents() {
            return Ok(());
        }
        let plan = self.plan;
        self.everywhere(async |it: &Tracked<L>| turn(it, &plan.lanes[lane], true).await).await.map(drop)
    }
}
