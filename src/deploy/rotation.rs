//! What a lane does to traffic: takes its servers out of rotation, and puts them back.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::wait::{Waited, insist, until};
use super::{Deploy, Failure, World, millis};
use crate::event::{Fact, FirstRequest};
use crate::ids::ServerId;
use crate::observation::{AdminState, Answer, LoadBalancerState, Operational};
use crate::plan::refusal::Refusal;
use crate::plan::{Lane, Step, floor};
use crate::ports::{ContainerEngine, Journal, LoadBalancer, Prober, WallClock};
use crate::topology::traffic::{Balance, can_be_woken};

/// How often the load balancer is asked while a server drains or comes up. One question takes it
/// about 0.1 ms.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a server that is up again is watched for its first request. A quiet night is no failure.
const WATCH: Duration = Duration::from_secs(1);

/// What must be waited for before these servers leave.
fn awaits(balances: &[Balance], seen: &LoadBalancerState, out: &BTreeSet<ServerId>) -> Option<Fact> {
    for balance in balances.iter().filter(|balance| balance.has_any(out)) {
        let after = balance.forecast(seen, out).shares.into_iter();
        let is_starting =
            |id: &ServerId| seen.server(id).is_some_and(|state| state.operational == Operational::Starting);
        let servers: Vec<ServerId> = after.map(|share| share.server).filter(is_starting).collect();
        if !servers.is_empty() {
            return Some(Fact::SlowStartAwaited { servers });
        }
        let queued = balance.queued(seen);
        if queued > 0 && !can_be_woken(seen) {
            return Some(Fact::QueueAwaited { backend: balance.backend.clone(), queued });
        }
    }
    None
}

/// How long `HAProxy` may be away while it is started anew, and how often it is asked meanwhile.
const OUTAGE: Duration = Duration::from_secs(10);
const TRY_EVERY: Duration = Duration::from_millis(100);

/// Every loop has a bound; nothing that goes on beside this one takes so long.
const A_DAY: Duration = Duration::from_secs(24 * 3600);

impl<L: LoadBalancer, E, P, C> World<L, E, P, C> {
    /// Looks until one of the lane's servers is not in maint any more, sets it again, and tells which.
    async fn kept_out(&self, lane: &Lane) -> Vec<ServerId> {
        let never = CancellationToken::new();
        let lost = until(LOOK_EVERY, A_DAY, &never, async || {
            // One that does not answer gives nobody a request either, and is asked again.
            let Ok(seen) = self.load_balancer.look(&lane.backends()).await else { return Ok(None) };
            let mut lost = lane.ids();
            lost.retain(|id| seen.server(id).is_some_and(|state| state.admin.state() != AdminState::Maint));
            let mut set = Vec::new();
            for server in lost {
                if self.load_balancer.set_admin_state(&server, AdminState::Maint).await.is_ok() {
                    set.push(server);
                }
            }
            Ok::<_, Infallible>(Some(set).filter(|set| !set.is_empty()))
        });
        match lost.await {
            Ok(Waited::Done(servers)) => servers,
            Ok(Waited::TimedOut | Waited::Stopped) => Vec::new(),
        }
    }
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, J: Journal> Deploy<'_, L, E, P, C, J> {
    /// The floor on a fresh look, and the servers that will carry the traffic asked once more.
    pub(super) async fn verify(&mut self, lane: usize) -> Result<(), Failure> {
        self.old_is_there(lane).await?;
        self.until_carried(lane).await?;
        let out = self.lane_of(lane).id_set();
        let seen = self.look(lane).await?;
        let floor = self.plan.policy.floor;
        let mut carriers = Vec::new();
        for balance in self.plan.balances.iter().filter(|b| b.has_any(&out)) {
            let forecast = floor::check_fresh(balance, &seen, &out, floor)?;
            let before = balance.forecast(&seen, &BTreeSet::new());
            floor::check_room(balance, &before, &forecast, &seen, &self.plan.policy)?;
            let moves = forecast != before;
            // Without a floor nobody needs to carry anything.
            for share in forecast.shares.into_iter().filter(|_| moves && floor > 0) {
                let Some(probe) = self.plan.probe(&share.server) else { continue };
                if let Answer::NotReady(answer) = self.world.prober.probe(probe).await {
                    let server = self.lane_of(lane).name().clone();
                    return Err(Refusal::CarrierSilent { server, carrier: share.server, answer }.into());
                }
                carriers.push(share.server);
            }
        }
        self.tell(Fact::Verified { carriers });
        Ok(())
    }

    /// Waits until those who would carry the lane's traffic can: a server in its slow start does not carry its share
    /// yet, and what waits in a queue is left there by an `HAProxy` that cannot be woken.
    async fn until_carried(&mut self, lane: usize) -> Result<(), Failure> {
        let (limit, stop) = (self.plan.policy.drain_timeout, self.stop.asked.clone());
        let (plan, out) = (self.plan, self.lane_of(lane).id_set());
        let mut awaited = None;
        let waited = until(LOOK_EVERY, limit, &stop, async || {
            let seen = self.look(lane).await?;
            let now = awaits(&plan.balances, &seen, &out);
            if let Some(fact) = now.clone().filter(|_| awaited.is_none()) {
                self.tell(fact);
            }
            awaited.clone_from(&now);
            Ok::<_, Failure>(now.is_none().then_some(()))
        });
        match waited.await? {
            Waited::Done(()) => Ok(()),
            Waited::Stopped => Err(Failure::Stopped),
            Waited::TimedOut => {
                let server = self.lane_of(lane).name().clone();
                Err(Failure::NotCarried { server, limit })
            }
        }
    }

    pub(super) async fn maint(&mut self, lane: usize) -> Result<(), Failure> {
        self.left_rotation.get_or_insert_with(Instant::now);
        for server in self.lane_of(lane).ids() {
            self.set(&server, AdminState::Maint).await?;
        }
        Ok(())
    }

    /// Does something while the lane's servers must stay out, and sets maint again within a look where it was lost: a
    /// reload forgets it, and would give them requests that nobody answers.
    pub(super) async fn while_out<T>(&mut self, lane: usize, work: impl AsyncFnOnce(&mut Self) -> T) -> T {
        let (world, plan) = (self.world, self.plan);
        let mut lost = Vec::new();
        let done = {
            let mut work = pin!(work(self));
            loop {
                tokio::select! {
                    biased;
                    done = &mut work => break done,
                    servers = world.kept_out(&plan.lanes[lane]) => lost.extend(servers),
                }
            }
        };
        for server in lost {
            let message = format!("{server} was put into rotation meanwhile, and is in maint again");
            self.tell(Fact::Warned { message });
        }
        done
    }

    pub(super) async fn ready(&mut self, lane: usize) -> Result<(), Failure> {
        self.count_sessions(lane).await?;
        let servers = self.lane_of(lane).ids();
        for server in &servers {
            self.set(server, AdminState::Ready).await?;
        }
        if let Some(left) = self.left_rotation {
            self.timing.out_of_rotation_ms = millis(left);
        }
        self.tell(Fact::Enabled { servers });
        Ok(())
    }

    /// Remembers how many sessions there were, so that the first one after is noticed.
    async fn count_sessions(&mut self, lane: usize) -> Result<(), Failure> {
        let seen = self.look_anew(lane).await?;
        let counted: BTreeMap<_, _> =
            seen.servers.into_iter().map(|server| (server.id, server.sessions_total)).collect();
        self.sessions_before_ready = counted;
        Ok(())
    }

    /// Waits until `HAProxy` has the servers up, and for a while until each that should take traffic does.
    pub(super) async fn confirm(&mut self, lane: usize) -> Result<(), Failure> {
        let begun = Instant::now();
        let stop = self.stop.now.clone();
        let container = self.created.get(&lane).cloned();
        let mut down = None;
        let waited = until(LOOK_EVERY, self.plan.policy.ready_timeout, &stop, async || {
            self.hear_stop();
            let seen = self.look_anew(lane).await?;
            let states = || {
                self.lane_of(lane)
                    .servers
                    .iter()
                    .filter_map(|server| Some((server, seen.server(&server.id)?)))
            };
            down = states()
                .find(|(_, state)| !matches!(state.operational, Operational::Running | Operational::Starting))
                .map(|(server, state)| (server.id.clone(), state.status.clone()));
            if down.is_some() {
                return Ok(None);
            }
            let untaken = states().filter(|(server, _)| server.takes_traffic).any(|(server, state)| {
                self.sessions_before_ready
                    .get(&server.id)
                    .is_some_and(|before| state.sessions_total <= *before)
            });
            let due = self.lane_of(lane).servers.iter().any(|server| server.takes_traffic);
            let first_request = match (due, untaken) {
                (false, _) => FirstRequest::NotDue,
                (true, false) => FirstRequest::Taken,
                (true, true) if begun.elapsed() >= WATCH => FirstRequest::NotYet,
                (true, true) => return Ok(None),
            };
            Ok::<_, Failure>(Some(first_request))
        });
        match waited.await? {
            Waited::Done(first_request) => {
                if let Answer::NotReady(answer) = self.ask(lane, container.as_ref()).await? {
                    return Err(Failure::FellSilent { answer });
                }
                self.restore_restart(lane).await?;
                self.tell(Fact::Confirmed { servers: self.lane_of(lane).ids(), first_request });
                Ok(())
            }
            Waited::TimedOut => {
                let (server, status) =
                    down.unwrap_or_else(|| (self.lane_of(lane).name().clone(), String::new()));
                Err(Failure::NotUp { server, status })
            }
            Waited::Stopped => {
                self.hear_stop();
                Err(Failure::Stopped)
            }
        }
    }

    /// Gives each server the state that it had, where that is safe.
    pub(super) async fn put_back(&mut self, lane: usize) -> Result<(), Failure> {
        let plan = self.plan;
        for server in &plan.lanes[lane].servers {
            let safe = plan.lanes[lane].state_after_undo(server);
            let state = if self.has_begun(lane, Step::Maint) { safe } else { server.was };
            self.set(&server.id, state).await?;
            if state == AdminState::Maint && !self.left_out.contains(&server.id) {
                self.left_out.push(server.id.clone());
            }
        }
        Ok(())
    }

    /// Sets a server's state. A load balancer that is just being started anew is waited for.
    pub(super) async fn set(&self, server: &ServerId, state: AdminState) -> Result<(), Failure> {
        let set = async || Ok(self.world.load_balancer.set_admin_state(server, state).await?);
        insist(TRY_EVERY, OUTAGE, Failure::is_silence, set).await
    }

    /// A look at the lane's backends, whatever process answers. A load balancer that is just being started anew is
    /// waited for.
    pub(super) async fn look_anew(&self, lane: usize) -> Result<LoadBalancerState, Failure> {
        let backends = self.lane_of(lane).backends();
        let look = async || Ok(self.world.load_balancer.look(&backends).await?);
        insist(TRY_EVERY, OUTAGE, Failure::is_silence, look).await
    }

    /// A look at the lane's backends that misses nothing: what the process that the plan was made for still holds after
    /// a reload is told by the master, or by nobody.
    pub(super) async fn look(&mut self, lane: usize) -> Result<LoadBalancerState, Failure> {
        let seen = self.look_anew(lane).await?;
        let (was, is) = (self.process, seen.pid);
        if was != is {
            if seen.old_workers.is_none() {
                return Err(Failure::Reloaded { was, is });
            }
            self.process = is;
            self.tell(Fact::HaproxyReloaded { was, is });
        }
        Ok(seen)
    }
}
