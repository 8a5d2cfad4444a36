//! Drains servers: a drain ends only when no worker holds a session and no new one can arrive.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::agents;
use super::balancers::{BalancerStates, state_from};
use super::rotation::{LOOK_EVERY, with_state};
use super::{Executor, Mark, StepError, Tracked, millis};
use crate::model::ids::ServerId;
use crate::observation::{AdminState, LoadBalancerState, Session, SessionCount, SessionKind};
use crate::plan::{LaneServer, OnDrainTimeout, Step, floor};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, LoadBalancerError, Prober, WallClock};
use crate::run::event::EventKind;
use crate::site::idle::{IdleTracker, SETTLE};
use crate::site::wait::{Waited, until};

/// How often the remaining sessions are reported.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How often a stalled queue is woken.
const WAKE_EVERY: Duration = Duration::from_secs(1);

/// The shortest pause between two batches of ended sessions; many sessions end in larger batches.
const END_EVERY: Duration = Duration::from_millis(100);

/// How long a session may take to end after it was shut down.
const GRACE: Duration = Duration::from_secs(10);

/// The progress of one wait for the last session.
struct DrainProgress {
    begun: Instant,
    sessions: u64,
    idle: IdleTracker,
    /// When the remaining sessions were last reported, and how many there were.
    told: (Instant, u64),
    woken: Option<Instant>,
}

impl DrainProgress {
    fn begin() -> Self {
        let now = Instant::now();
        Self { begun: now, sessions: 0, idle: IdleTracker::default(), told: (now, 0), woken: None }
    }
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Drains the lane's servers. They leave through the capacity gate: no other lane leaves between the check and the
    /// drain.
    pub(super) async fn drain(&self, lane: usize) -> Result<(), StepError> {
        let gate = self.capacity.enter().await;
        let seen = self.with_room(lane, async || self.look_with_room(lane).await).await?;
        let servers = self.lane_of(lane).ids();
        // A server in maint gets no traffic already, and drain would give persistent clients back to it.
        let can_leave = |load_balancer: &Tracked<L>, id: &ServerId| {
            let state = state_from(&seen.all, load_balancer).and_then(|seen| seen.server(id));
            state.is_some_and(|state| state.admin.state() != AdminState::Maint)
        };
        self.at(lane).leaves_rotation();
        self.capacity.leaves(lane, self.lane_of(lane).id_set());
        self.emit(lane, EventKind::DrainStarted { servers: servers.clone() });
        let drain = async |it: &Tracked<L>| {
            let leaving = servers.iter().filter(|server| can_leave(it, server));
            let states: Vec<_> = leaving.map(|server| (server.clone(), AdminState::Drain)).collect();
            it.set_admin_states(&states).await
        };
        self.on_all(lane, drain).await?;
        drop(gate);
        self.agents_off(lane, AdminState::Drain).await
    }

    /// Looks, and checks the capacity again if HAProxy was reloaded or other lanes are out.
    async fn look_with_room(&self, lane: usize) -> Result<BalancerStates, StepError> {
        let seen = self.refresh(lane).await?;
        if seen.is_new || !self.capacity.others(lane).is_empty() {
            self.require_capacity_without(lane, &seen)?;
        }
        Ok(seen)
    }

    /// Runs a check that needs capacity. If it is refused while other lanes are out, waits until they are back.
    pub(super) async fn with_room<T>(
        &self,
        lane: usize,
        check: impl AsyncFn() -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        let limit = self.plan.goal.policy.drain_timeout + self.plan.goal.policy.ready_timeout;
        let stop = self.stop_request(lane);
        let waited = until(LOOK_EVERY, limit, &stop, async || {
            // Before the check: they may come back during it.
            let are_others_out = !self.capacity.others(lane).is_empty();
            match check().await {
                Err(StepError::Refused(_)) if are_others_out => Ok(None),
                result => result.map(Some),
            }
        });
        match waited.await? {
            Waited::Done(found) => Ok(found),
            Waited::Stopped => Err(StepError::Stopped),
            // Their own limits have passed: the refusal stands.
            Waited::TimedOut => check().await,
        }
    }

    /// Fails where a load balancer cannot spare the lane's servers beside those of the other lanes that are out: one
    /// that has just come, or come back, or one whose remaining servers have gone since.
    fn require_capacity_without(&self, lane: usize, seen: &BalancerStates) -> Result<(), StepError> {
        // A lane that is undone has failed, or was checked first.
        if self.is_undoing(lane) {
            return Ok(());
        }
        let others = self.capacity.others(lane);
        let is_shared = !others.is_empty();
        let out: BTreeSet<ServerId> = &self.lane_of(lane).id_set() | &others;
        let served = self.lane_of(lane).servers.iter().filter(|server| server.served);
        let served: BTreeSet<ServerId> = served.map(|server| server.id.clone()).chain(others).collect();
        for balance in self.plan.balances.iter().filter(|it| it.has_any(&out)) {
            for seen in &seen.all {
                let before = balance.forecast_with(seen, &served, &self.lane_of(lane).dead_ids());
                let after = balance.forecast(seen, &out);
                floor::check(balance, &before, &after, &out, self.plan.goal.policy.floor)?;
                if is_shared {
                    floor::check_room(balance, &before, &after, seen, &self.plan.goal.policy)?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn await_idle(&self, lane: usize) -> Result<(), StepError> {
        let servers = self.lane_of(lane).ids();
        let limit = self.plan.goal.policy.drain_timeout;
        if let Err(failure) = self.until_idle(lane, AdminState::Drain, SETTLE, limit).await {
            let StepError::DrainTimedOut { sessions, .. } = failure else { return Err(failure) };
            match self.plan.goal.policy.on_drain_timeout {
                OnDrainTimeout::Fail => return Err(failure),
                OnDrainTimeout::Force => {
                    self.emit(lane, EventKind::DrainForced { servers, sessions });
                    return Ok(());
                }
                OnDrainTimeout::Maint => {
                    self.end_persistence(lane, sessions).await?;
                    self.until_idle(lane, AdminState::Maint, SETTLE, limit).await?;
                }
                OnDrainTimeout::Shutdown => {
                    self.end_persistence(lane, sessions).await?;
                    self.with_outage_watch(lane, self.shut_down(lane)).await?;
                    self.until_idle(lane, AdminState::Maint, SETTLE, GRACE).await?;
                }
            }
        }
        let took_ms = self.at(lane).timing.get().drain_ms;
        self.emit(lane, EventKind::Drained { servers, took_ms });
        Ok(())
    }

    /// Sends persistent clients (by cookie or stick table) elsewhere too. Sessions in flight go on.
    async fn end_persistence(&self, lane: usize, sessions: u64) -> Result<(), StepError> {
        self.maint(lane).await?;
        self.emit(lane, EventKind::PersistenceEnded { servers: self.lane_of(lane).ids(), sessions });
        Ok(())
    }

    /// Shuts the remaining sessions down, spread over time so that their clients do not all reconnect at once. Looks
    /// each session up right before: its name is an address in memory, which a later session of another client may get.
    async fn shut_down(&self, lane: usize) -> Result<(), StepError> {
        let servers = self.lane_of(lane).ids();
        let over = self.plan.goal.policy.shutdown_over;
        let count = u32::try_from(self.sessions_left(&servers).await?.len()).unwrap_or(u32::MAX).max(1);
        let every = (over / count).max(END_EVERY);
        let at_once = (u128::from(count) * every.as_millis()).div_ceil(over.as_millis().max(1));
        let at_once = usize::try_from(at_once).unwrap_or(usize::MAX).max(1);
        let stop = self.stop_at_once(lane);
        let mut sessions = 0;
        let ended = until(every, over + GRACE, &stop, async || {
            self.check_promise(lane)?;
            let left = self.sessions_left(&servers).await?;
            for (load_balancer, session) in left.iter().take(at_once) {
                load_balancer.end_session(session).await?;
                sessions += 1;
            }
            Ok::<_, StepError>((left.len() <= at_once).then_some(()))
        });
        match ended.await? {
            Waited::Stopped => return Err(StepError::Stopped),
            // The next wait counts what is left by then.
            Waited::Done(()) | Waited::TimedOut => {}
        }
        self.emit(lane, EventKind::SessionsShutDown { servers, sessions });
        Ok(())
    }

    pub(super) async fn recheck_idle(&self, lane: usize) -> Result<(), StepError> {
        if self.plan.goal.policy.on_drain_timeout == OnDrainTimeout::Force {
            let seen = self.refresh(lane).await?;
            if seen.is_new {
                return self.take_out_again(lane, &seen, AdminState::Maint).await;
            }
            self.restore_maint(lane, &seen).await?;
            return self.sessions(lane, &seen).map(|_| ());
        }
        let limit = self.plan.goal.policy.drain_timeout;
        self.until_idle(lane, AdminState::Maint, LOOK_EVERY, limit).await
    }

    /// Waits until no session is in flight on the lane's servers, and that has held for `settle` with no new one
    /// counted. A reload of `HAProxy` forgets the servers' state, so it is set again.
    pub(super) async fn until_idle(
        &self,
        lane: usize,
        state: AdminState,
        settle: Duration,
        limit: Duration,
    ) -> Result<(), StepError> {
        let servers = self.lane_of(lane).ids();
        let stop = self.stop_request(lane);
        let (mut watch, mut healed) = (DrainProgress::begin(), BTreeSet::new());
        let waited = until(LOOK_EVERY, limit, &stop, async || {
            self.report_lane_stop(lane);
            let seen = self.refresh(lane).await?;
            if seen.is_new || seen.all.iter().any(|seen| agents::is_any_on(self.lane_of(lane), seen)) {
                self.take_out_again(lane, &seen, state).await?;
                watch.idle = IdleTracker::default();
                return Ok(None);
            }
            if state == AdminState::Maint && self.restore_maint(lane, &seen).await? {
                watch.idle = IdleTracker::default();
                return Ok(None);
            }
            if !self.is_undoing(lane) && self.override_stale_check(lane, &seen, &mut healed).await? {
                return Ok(None);
            }
            // Once the old container is being stopped, going back would not restore service sooner.
            if !self.has_begun(lane, Step::Stop) {
                self.require_capacity_without(lane, &seen)?;
            }
            self.check_promise(lane)?;
            let SessionCount { now, total } = self.sessions(lane, &seen)?;
            if now != watch.sessions {
                watch.sessions = now;
                let after_ms = millis(watch.begun);
                self.emit(
                    lane,
                    EventKind::SessionsLeft { servers: servers.clone(), sessions: now, after_ms },
                );
            }
            self.wake_queues(lane, &seen, &mut watch).await?;
            if watch.idle.update(now, total, settle) {
                return Ok(Some(()));
            }
            if watch.told.0.elapsed() >= TELL_EVERY {
                self.report_sessions_left(lane, &mut watch).await?;
            }
            Ok::<_, StepError>(None)
        });
        let waited = waited.await?;
        self.at(lane).time(|timing| {
            timing.drain_ms = self.at(lane).left_rotation.get().map_or_else(|| millis(watch.begun), millis);
        });
        match waited {
            Waited::Done(()) => Ok(()),
            Waited::TimedOut => Err(StepError::DrainTimedOut { sessions: watch.sessions, limit }),
            Waited::Stopped => {
                self.report_lane_stop(lane);
                Err(StepError::Stopped)
            }
        }
    }

    /// Sets servers to maint again that an operator or another tool set to drain, where persistent clients return.
    /// Returns whether there were any. A server in rotation is a failure, which [`Self::sessions`] reports.
    async fn restore_maint(&self, lane: usize, seen: &BalancerStates) -> Result<bool, StepError> {
        let mut lost = self.lane_of(lane).ids();
        lost.retain(|id| {
            let mut states = seen.all.iter().filter_map(|seen| seen.server(id));
            states.any(|state| state.admin.state() == AdminState::Drain)
        });
        // Only a lane that was set to maint can have lost it.
        if lost.is_empty() || !self.at(lane).is(Mark::Out) {
            return Ok(false);
        }
        self.set(lane, &with_state(&lost, AdminState::Maint)).await?;
        for server in &lost {
            let message = format!("{server} was set to drain during the run; it is in maint again");
            self.emit(lane, EventKind::Warned { message });
        }
        Ok(true)
    }

    async fn report_sessions_left(&self, lane: usize, watch: &mut DrainProgress) -> Result<(), StepError> {
        let servers = self.lane_of(lane).ids();
        let left = self.sessions_left(&servers).await?;
        let count = |is_meant: &dyn Fn(&Session) -> bool| {
            u64::try_from(left.iter().filter(|(_, session)| is_meant(session)).count()).unwrap_or(u64::MAX)
        };
        let (all, before) = (count(&|_| true), watch.told.1);
        watch.told = (Instant::now(), all);
        self.emit(
            lane,
            EventKind::DrainProgressed {
                servers,
                waiting: count(&|session| session.kind == SessionKind::Waiting),
                answering: count(&|session| session.kind == SessionKind::Answering),
                tunnels: count(&|session| session.kind == SessionKind::Tunnel),
                in_old_workers: count(&|session| session.worker.is_some()),
                change: i64::try_from(all).unwrap_or(i64::MAX).saturating_sub_unsigned(before),
                after_ms: millis(watch.begun),
            },
        );
        Ok(())
    }

    /// Returns the sessions in flight, each with its load balancer.
    async fn sessions_left(&self, servers: &[ServerId]) -> Result<Vec<(&Tracked<L>, Session)>, StepError> {
        let mut left = Vec::new();
        for load_balancer in &self.site.load_balancers {
            match load_balancer.sessions(servers).await {
                Ok(sessions) => left.extend(sessions.into_iter().map(|session| (load_balancer, session))),
                // The next check decides whether one may be missing.
                Err(LoadBalancerError::Unreachable { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(left)
    }

    /// Wakes stalled queues: `HAProxy` does not hand requests that were queued when the last primary left to a free
    /// backup.
    async fn wake_queues(
        &self,
        lane: usize,
        seen: &BalancerStates,
        watch: &mut DrainProgress,
    ) -> Result<(), StepError> {
        if watch.woken.is_some_and(|woken| woken.elapsed() < WAKE_EVERY) {
            return Ok(());
        }
        let (plan, out): (_, BTreeSet<ServerId>) = (self.plan, self.lane_of(lane).id_set());
        for balance in plan.balances.iter().filter(|balance| balance.has_any(&out)) {
            for load_balancer in &self.site.load_balancers {
                let stalled = state_from(&seen.all, load_balancer).and_then(|seen| balance.stalled(seen));
                let Some(stalled) = stalled else { continue };
                load_balancer.wake_queue(&stalled.server, stalled.limit).await?;
                watch.woken = Some(Instant::now());
                self.emit(lane, EventKind::QueueWoken { server: stalled.server, queued: stalled.queued });
            }
        }
        Ok(())
    }

    /// Counts the sessions on the lane's servers. Fails if one of them is in rotation.
    pub(super) fn sessions(&self, lane: usize, seen: &BalancerStates) -> Result<SessionCount, StepError> {
        for LaneServer { id, .. } in &self.lane_of(lane).servers {
            let mut states = seen.server(id, self.is_undoing(lane))?.into_iter();
            if states.any(|state| state.admin.state() == AdminState::Ready) {
                return Err(StepError::StateChanged { server: id.clone(), found: AdminState::Ready });
            }
        }
        Ok(LoadBalancerState::sessions_on(&seen.all, &self.lane_of(lane).ids()))
    }

    /// Takes the lane's servers out again at a load balancer that lost their state, if it can spare them.
    pub(super) async fn take_out_again(
        &self,
        lane: usize,
        seen: &BalancerStates,
        state: AdminState,
    ) -> Result<(), StepError> {
        self.require_capacity_without(lane, seen)?;
        // Servers without a container come first: HAProxy would send them the traffic of those that leave.
        let mut states = self.lost_maint(lane, seen);
        states.extend(self.not_yet_out(lane, seen, state)?);
        self.set(lane, &states).await?;
        self.agents_off(lane, state).await
    }

    /// Returns the servers of other lanes that a reload put into rotation although they must be in maint.
    fn lost_maint(&self, lane: usize, seen: &BalancerStates) -> Vec<(ServerId, AdminState)> {
        let others = self.all_lanes().filter(|other| *other != lane && self.at(*other).is(Mark::Out));
        let mut lost: Vec<ServerId> = others.flat_map(|other| self.lane_of(other).ids()).collect();
        let is_lost = |id: &ServerId| {
            let mut states = seen.all.iter().filter_map(|seen| seen.server(id));
            states.any(|state| state.admin.state() != AdminState::Maint)
        };
        lost.retain(is_lost);
        lost.into_iter().map(|server| (server, AdminState::Maint)).collect()
    }

    /// Returns the lane's servers that are not yet in at least this state, each with the state that it must get.
    pub(super) fn not_yet_out(
        &self,
        lane: usize,
        seen: &BalancerStates,
        state: AdminState,
    ) -> Result<Vec<(ServerId, AdminState)>, StepError> {
        let mut moved = Vec::new();
        for server in &self.lane_of(lane).servers {
            // Drain would let persistent clients return to a server that is in maint. A server that an undo takes out
            // again is in service, whatever its state was before.
            let wanted = if self.is_undoing(lane) { state } else { state.max(server.was) };
            if seen.server(&server.id, self.is_undoing(lane))?.iter().any(|now| now.admin.state() < wanted) {
                moved.push((server.id.clone(), wanted));
            }
        }
        Ok(moved)
    }
}
