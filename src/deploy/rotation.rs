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
use crate::plan::{Lane, LaneServer, OnDrainTimeout, Step, floor};
use crate::ports::{ContainerEngine, Journal, LoadBalancer, Prober, WallClock};

/// How often the load balancer is asked while a server drains or comes up. One question takes it
/// about 0.1 ms.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long zero sessions must hold, with no new one counted, before a server counts as idle: a request
/// that was balanced just before the drain is counted only when it is connected.
const SETTLE: Duration = Duration::from_millis(100);

/// How long a server that is up again is watched for its first request. A quiet night is no failure.
const WATCH: Duration = Duration::from_secs(1);

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
        let out = self.lane_of(lane).id_set();
        let seen = self.look(lane).await?;
        let floor = self.plan.policy.floor;
        let mut carriers = Vec::new();
        for balance in self.plan.balances.iter().filter(|b| b.servers.iter().any(|(id, _)| out.contains(id)))
        {
            let forecast = floor::check_fresh(balance, &seen, &out, floor)?;
            let moves = forecast != balance.forecast(&seen, &BTreeSet::new());
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

    pub(super) async fn drain(&mut self, lane: usize) -> Result<(), Failure> {
        // A server in maint gets no traffic already, and drain would give persistent clients back to it.
        let seen = self.look_anew(lane).await?;
        let in_maint =
            |id: &ServerId| seen.server(id).is_some_and(|state| state.admin.state() == AdminState::Maint);
        let mut servers = self.lane_of(lane).ids();
        servers.retain(|id| !in_maint(id));
        self.left_rotation.get_or_insert_with(Instant::now);
        self.tell(Fact::DrainStarted { servers: servers.clone() });
        for server in &servers {
            self.set(server, AdminState::Drain).await?;
        }
        Ok(())
    }

    pub(super) async fn await_idle(&mut self, lane: usize) -> Result<(), Failure> {
        let servers = self.lane_of(lane).ids();
        match self.until_idle(lane, AdminState::Drain, SETTLE).await {
            Ok(()) => {
                let took_ms = self.timing.drain_ms;
                self.tell(Fact::Drained { servers, took_ms });
                Ok(())
            }
            Err(Failure::DrainTimedOut { sessions, .. }) if self.is_forced() => {
                self.tell(Fact::DrainForced { servers, sessions });
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn settle(&mut self, lane: usize) -> Result<(), Failure> {
        if self.is_forced() {
            let seen = self.look(lane).await?;
            return self.sessions(lane, &seen).map(|_| ());
        }
        self.until_idle(lane, AdminState::Maint, LOOK_EVERY).await
    }

    fn is_forced(&self) -> bool {
        self.plan.policy.on_drain_timeout == OnDrainTimeout::Force
    }

    /// Waits until no session is in flight on the lane's servers, and that has held for `settle` with no new
    /// one counted. A reload of `HAProxy` forgets the state that they are in, so it is set again.
    async fn until_idle(&mut self, lane: usize, state: AdminState, settle: Duration) -> Result<(), Failure> {
        let begun = Instant::now();
        let servers = self.lane_of(lane).ids();
        let limit = self.plan.policy.drain_timeout;
        let stop = self.stop.asked.clone();
        let mut sessions = 0;
        let mut zero_since: Option<(Instant, u64)> = None;
        let waited = until(LOOK_EVERY, limit, &stop, async || {
            self.hear_stop();
            let process = self.process;
            let seen = self.look(lane).await?;
            if seen.pid != process {
                self.set_out_again(lane, &seen, state).await?;
                zero_since = None;
                return Ok(None);
            }
            let (now, total) = self.sessions(lane, &seen)?;
            if now != sessions {
                sessions = now;
                let after_ms = millis(begun);
                self.tell(Fact::SessionsLeft { servers: servers.clone(), sessions, after_ms });
            }
            zero_since = match zero_since {
                _ if now > 0 => None,
                Some((since, counted)) if counted == total => Some((since, counted)),
                Some(_) | None => Some((Instant::now(), total)),
            };
            Ok::<_, Failure>(zero_since.filter(|(since, _)| since.elapsed() >= settle).map(|_| ()))
        });
        let waited = waited.await?;
        self.timing.drain_ms = self.left_rotation.map_or_else(|| millis(begun), millis);
        match waited {
            Waited::Done(()) => Ok(()),
            Waited::TimedOut => Err(Failure::DrainTimedOut { sessions, limit }),
            Waited::Stopped => {
                self.hear_stop();
                Err(Failure::Stopped)
            }
        }
    }

    /// The sessions in flight on the lane's servers, and how many there ever were.
    fn sessions(&self, lane: usize, seen: &LoadBalancerState) -> Result<(u64, u64), Failure> {
        let (mut now, mut total) = (0, 0);
        for LaneServer { id, .. } in &self.lane_of(lane).servers {
            let state = seen.server(id).ok_or_else(|| Failure::Vanished { server: id.clone() })?;
            let found = state.admin.state();
            if found == AdminState::Ready {
                return Err(Failure::TakenOver { server: id.clone(), found });
            }
            now += state.sessions;
            total += state.sessions_total;
        }
        Ok((now + seen.sessions_in_old_workers(&self.lane_of(lane).ids()), total))
    }

    /// Takes the lane's servers out again in a process that knows nothing of it.
    async fn set_out_again(
        &mut self,
        lane: usize,
        seen: &LoadBalancerState,
        state: AdminState,
    ) -> Result<(), Failure> {
        let plan = self.plan;
        for server in &plan.lanes[lane].servers {
            let now =
                seen.server(&server.id).ok_or_else(|| Failure::Vanished { server: server.id.clone() })?;
            // Drain would let persistent clients come back to a server that was in maint.
            let wanted = state.max(server.was);
            if now.admin.state() != wanted {
                self.set(&server.id, wanted).await?;
            }
        }
        Ok(())
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
    async fn set(&self, server: &ServerId, state: AdminState) -> Result<(), Failure> {
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
    async fn look(&mut self, lane: usize) -> Result<LoadBalancerState, Failure> {
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
