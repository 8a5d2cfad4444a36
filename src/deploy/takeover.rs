//! Checks that the servers which take over from a lane's servers exist, answer and have capacity.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::balancers::{BalancerStates, state_from};
use super::rotation::LOOK_EVERY;
use super::{Executor, StepError};
use crate::model::ids::ServerId;
use crate::model::probe::{Probe, distinct};
use crate::observation::{AdminState, Answer, LoadBalancerState, Operational};
use crate::plan::floor;
use crate::plan::refusal::Refusal;
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, LoadBalancerError, Prober, WallClock};
use crate::run::event::EventKind;
use crate::site::wait::{Waited, until};
use crate::topology::traffic::{Balance, can_be_woken};

/// Returns what a lane must wait for before these servers leave.
fn takeover_obstacle(
    balances: &[Balance],
    seen: &LoadBalancerState,
    out: &BTreeSet<ServerId>,
    is_early: bool,
) -> Option<EventKind> {
    for balance in balances.iter().filter(|balance| balance.has_any(out)) {
        let after = balance.forecast(seen, out).shares.into_iter();
        let is_starting =
            |id: &ServerId| seen.server(id).is_some_and(|state| state.operational == Operational::Starting);
        let servers: Vec<ServerId> = after.map(|share| share.server).filter(is_starting).collect();
        if !servers.is_empty() {
            return Some(EventKind::SlowStartAwaited { servers });
        }
        let queued = balance.queued(seen);
        if queued > 0 && is_early && !can_be_woken(seen) {
            return Some(EventKind::QueueAwaited { backend: balance.backend.clone(), queued });
        }
    }
    None
}

/// Checks that the takeover servers of each leaving server answer. A takeover server without a probe cannot be checked.
///
/// # Errors
/// Returns the first takeover server that does not answer.
pub async fn require_answers(
    prober: &impl Prober,
    questions: &[(ServerId, Probe)],
    leaving: &BTreeMap<ServerId, BTreeSet<ServerId>>,
) -> Result<(), Refusal> {
    let known: BTreeMap<&ServerId, &Probe> = questions.iter().map(|(id, probe)| (id, probe)).collect();
    let pairs = leaving.iter().flat_map(|(server, all)| all.iter().map(move |carrier| (server, carrier)));
    let asked: Vec<_> = pairs.filter_map(|pair| Some((pair, *known.get(pair.1)?))).collect();
    for probe in distinct(asked.iter().map(|(_, probe)| *probe)) {
        if let Answer::NotReady(answer) = prober.probe(probe).await
            && let Some(((server, carrier), _)) = asked.iter().find(|(_, its)| *its == probe)
        {
            let (server, carrier) = ((*server).clone(), (*carrier).clone());
            return Err(Refusal::TakeoverServerDown { server, carrier, answer });
        }
    }
    Ok(())
}

/// How long to wait for a queue to empty. A queue that never empties has later requests that pull the waiting ones
/// along.
const QUEUE_PATIENCE: Duration = Duration::from_secs(15);

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Checks the floor against the current state, and probes the takeover servers once more.
    pub(super) async fn verify(&self, lane: usize) -> Result<(), StepError> {
        self.old_is_there(lane).await?;
        self.wait_for_takeover(lane).await?;
        let carriers = self.with_room(lane, async || self.carriers_with_room(lane).await).await?;
        let leaving = BTreeMap::from([(self.lane_of(lane).name().clone(), carriers.clone())]);
        let questions: Vec<_> = self.plan.probes.iter().cloned().chain(self.surge_probes()).collect();
        require_answers(&self.site.prober, &questions, &leaving).await?;
        let carriers = carriers.into_iter().collect();
        self.emit(lane, EventKind::Verified { carriers });
        Ok(())
    }

    /// Checks floor and headroom without the lane's servers and those of other lanes that are out. Returns the servers
    /// that take over.
    async fn carriers_with_room(&self, lane: usize) -> Result<BTreeSet<ServerId>, StepError> {
        let (out, dead) = (self.lane_of(lane).id_set(), self.lane_of(lane).dead_ids());
        let seen = self.refresh(lane).await?;
        let all_out = &out | &self.capacity.others(lane);
        let balances = self.plan.balances.iter().filter(|balance| balance.has_any(&out));
        let remaining =
            floor::require_capacity(balances, &seen.all, &all_out, &dead, &self.plan.goal.policy)?;
        Ok(remaining.carriers)
    }

    /// Waits until the takeover servers are ready: a server in its slow start does not take its full share yet, and an
    /// `HAProxy` that cannot be woken would strand queued requests.
    async fn wait_for_takeover(&self, lane: usize) -> Result<(), StepError> {
        let (limit, stop) = (self.plan.goal.policy.drain_timeout, self.stop_request(lane));
        let (plan, out) = (self.plan, self.lane_of(lane).id_set());
        let (mut awaited, begun, mut healed) = (None, Instant::now(), BTreeSet::new());
        let waited = until(LOOK_EVERY, limit, &stop, async || {
            let seen = self.refresh(lane).await?;
            if self.override_stale_check(lane, &seen, &mut healed).await? {
                return Ok(None);
            }
            let is_early = begun.elapsed() < QUEUE_PATIENCE;
            let now =
                seen.all.iter().find_map(|seen| takeover_obstacle(&plan.balances, seen, &out, is_early));
            if let Some(fact) = now.clone().filter(|_| awaited.is_none()) {
                self.emit(lane, fact);
            }
            awaited.clone_from(&now);
            Ok::<_, StepError>(now.is_none().then_some(()))
        });
        match waited.await? {
            Waited::Done(()) => Ok(()),
            Waited::Stopped => Err(StepError::Stopped),
            Waited::TimedOut => {
                let server = self.lane_of(lane).name().clone();
                Err(StepError::TakeoverTimedOut { server, limit })
            }
        }
    }

    /// Overrules a stale check. A check that hung while a container was replaced fails when the new one already serves,
    /// and takes it out of rotation (measured on 2.2 to 3.2). A server that answers drainswap's own probe is set
    /// healthy again, once. If a server's own check decides, it has passed before and decides again at once.
    pub(super) async fn override_stale_check(
        &self,
        lane: usize,
        seen: &BalancerStates,
        healed: &mut BTreeSet<(String, ServerId)>,
    ) -> Result<bool, StepError> {
        let (site, plan) = (self.site, self.plan);
        let through = (0..plan.lanes.len()).filter(|it| *it != lane && self.is_confirmed(*it));
        let servers: Vec<_> = through.flat_map(|it| &plan.lanes[it].servers).collect();
        let mut has_healed = false;
        for load_balancer in &site.load_balancers {
            let Some(seen) = state_from(&seen.all, load_balancer) else { continue };
            let is_down = |id: &ServerId| {
                let state = seen.server(id);
                state.is_some_and(|it| {
                    // An agent's verdict is not overruled.
                    it.admin.state() == AdminState::Ready && !it.operational.is_up() && !it.is_down_by_agent()
                })
            };
            for server in servers.iter().filter(|server| is_down(&server.id)) {
                if !healed.insert((load_balancer.name(), server.id.clone()))
                    || !site.prober.probe(&server.probe).await.is_ready()
                {
                    continue;
                }
                match load_balancer.set_healthy(&server.id).await {
                    Ok(()) => has_healed = true,
                    // The server that it tracks must be healthy, and is examined separately.
                    Err(LoadBalancerError::Refused { .. }) => continue,
                    Err(error) => return Err(error.into()),
                }
                self.emit(lane, EventKind::CheckOverruled { server: server.id.clone() });
            }
        }
        Ok(has_healed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::testing::World;

    /// A prober that always gets the same answer, and counts its probes.
    struct Always(Answer, AtomicUsize);

    impl Prober for Always {
        async fn probe(&self, _: &Probe) -> Answer {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.clone()
        }
    }

    #[tokio::test]
    async fn carriers_that_share_a_container_are_asked_once() {
        let lines = "    server app1 127.0.0.1:50000\n    server app2 127.0.0.2:50000\n";
        let world = World::of(&format!("backend mobile\n{lines}backend tablet\n{lines}"));
        let questions = crate::topology::probes(&world.configuration, &world.observation.load_balancers[0]);
        let leaving = ["mobile", "tablet"].map(|backend| {
            (ServerId::new(backend, "app1"), BTreeSet::from([ServerId::new(backend, "app2")]))
        });
        let asked = async |always| {
            let prober = Always(always, AtomicUsize::new(0));
            let answered = require_answers(&prober, &questions, &leaving.clone().into()).await;
            (answered, prober.1.into_inner())
        };
        assert_eq!(asked(Answer::Ready("200".to_owned())).await, (Ok(()), 1));
        let silent = Refusal::TakeoverServerDown {
            server: ServerId::new("mobile", "app1"),
            carrier: ServerId::new("mobile", "app2"),
            answer: "no answer".to_owned(),
        };
        assert_eq!(asked(Answer::NotReady("no answer".to_owned())).await, (Err(silent), 1));
    }

    /// `HAProxy` 2.2 cannot be told to check its queue, and strands queued requests when the last primary goes.
    #[test]
    fn a_queue_that_cannot_be_woken_delays_the_drain_but_not_for_ever() {
        let mut world = World::pair();
        let seen = &mut world.observation.load_balancers[0];
        "2.2.9".clone_into(&mut seen.version);
        seen.queued = [("mobile".to_owned(), 3)].into();
        let balances = [Balance::of(world.topology().backend("mobile").unwrap())];
        let seen = &world.observation.load_balancers[0];
        let out = BTreeSet::from(["mobile/app1".parse().unwrap()]);
        let queued = EventKind::QueueAwaited { backend: "mobile".to_owned(), queued: 3 };
        assert_eq!(takeover_obstacle(&balances, seen, &out, true), Some(queued));
        assert_eq!(takeover_obstacle(&balances, seen, &out, false), None);
        let woken = LoadBalancerState { version: "2.6.12".to_owned(), ..seen.clone() };
        assert_eq!(takeover_obstacle(&balances, &woken, &out, true), None);
    }
}
