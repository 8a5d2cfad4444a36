//! The traffic side of a lane: takes its servers out of rotation, and puts them back.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{repeat, select_all};
use futures_util::{StreamExt, future};
use tokio_util::sync::CancellationToken;

use super::agents;
use super::balancers::set_known_states;
use super::readiness::OLD_LIMIT;
use super::{Executor, Mark, StepError, Tracked, millis};
use crate::model::ids::{LaneId, ServerId};
use crate::observation::{AdminState, Checking, LoadBalancerState, ServerState};
use crate::plan::undo::is_replaced;
use crate::plan::{Lane, LaneServer, OnDrainTimeout, Step};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, LoadBalancerError, Prober, WallClock};
use crate::run::event::EventKind;
use crate::site::wait::{OUTAGE, Waited, pause, poll, until};

/// How often the load balancer is polled while a server drains or comes up. One query takes it about 0.1 ms.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often the load balancer is polled while it takes long to answer another command.
const GLANCE_EVERY: Duration = Duration::from_millis(200);

/// Returns whether `HAProxy` has a server up although its checks are on and none has passed.
pub(super) fn is_unproven(now: &ServerState) -> bool {
    now.checks.health == Checking::On && now.operational.is_up() && !now.has_passed_a_check()
}

/// Returns these servers, all with the same state.
pub(super) fn with_state(servers: &[ServerId], state: AdminState) -> Vec<(ServerId, AdminState)> {
    servers.iter().map(|server| (server.clone(), state)).collect()
}

/// Passes states of this load balancer to `watch`, the first one after a delay, so that a quick command costs no query.
async fn watch_states(
    load_balancer: &impl LoadBalancer,
    lane: &Lane,
    watch: impl Fn(&LoadBalancerState),
) -> Infallible {
    let mut is_due = false;
    let look = async || {
        if std::mem::replace(&mut is_due, true)
            && let Ok(seen) = load_balancer.state(&lane.backends()).await
        {
            watch(&seen);
        }
        None
    };
    poll(GLANCE_EVERY, look).await
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    pub(super) async fn maint(&self, lane: usize) -> Result<(), StepError> {
        self.at(lane).leaves_rotation();
        self.set(lane, &with_state(&self.lane_of(lane).ids(), AdminState::Maint)).await?;
        self.at(lane).mark(Mark::Out);
        self.agents_off(lane, AdminState::Maint).await
    }

    /// Runs `work` on the lane's container while the lane's servers stay out. If maint is lost it is set again within
    /// one poll: a reload forgets it, and would send the servers requests that no container answers. Each load balancer
    /// has a separate guard, so that one that hangs does not delay the others.
    pub(super) async fn with_maint_held<T>(&self, lane: usize, work: impl Future<Output = T>) -> T {
        self.guarded_all(&[lane], work).await
    }

    /// Polls until one of the lane's servers has left maint at this load balancer, or has its agent on again. Corrects
    /// that, and returns the servers that had left maint.
    /// Brings surge servers back too. Passes each state to `watch`; `setting` counts the corrections under way.
    async fn hold_in_maint(
        &self,
        load_balancer: &Tracked<L>,
        lane: &Lane,
        watch: impl Fn(&LoadBalancerState),
        setting: &Cell<usize>,
    ) -> Vec<ServerId> {
        let look = async || {
            // A load balancer that does not answer sends no requests either, so poll it again.
            let seen = load_balancer.state(&lane.backends()).await.ok()?;
            watch(&seen);
            setting.set(setting.get() + 1);
            // The next poll tries again.
            let _restored = self.restore_surge(load_balancer, &seen).await;
            setting.set(setting.get() - 1);
            let mut lost = lane.ids();
            lost.retain(|id| seen.server(id).is_some_and(|state| state.admin.state() != AdminState::Maint));
            let has_agent_on = agents::is_any_on(lane, &seen);
            if lost.is_empty() && !has_agent_on {
                return None;
            }
            setting.set(setting.get() + 1);
            let set = load_balancer.set_admin_states(&with_state(&lost, AdminState::Maint)).await;
            // A reload turned it on. The next poll handles an answer that is still under way.
            let turned_off = if has_agent_on {
                agents::set_agents(load_balancer, lane, &lane.ids(), false).await
            } else {
                Ok(())
            };
            setting.set(setting.get() - 1);
            set.and(turned_off).is_ok().then_some(lost)
        };
        poll(LOOK_EVERY, look).await
    }

    /// Does the same for several lanes.
    pub(super) async fn guarded_all<T>(&self, lanes: &[usize], work: impl Future<Output = T>) -> T {
        let out = lanes.iter().filter(|lane| self.at(**lane).is(Mark::Out));
        let out: Vec<&Lane> = out.map(|lane| self.lane_of(*lane)).collect();
        if out.is_empty() {
            return work.await;
        }
        let servers = out
            .iter()
            .flat_map(|lane| lane.ids())
            .chain(lanes.iter().flat_map(|it| self.capacity.others(*it)));
        let see = &Rc::clone(&self.watch).recorder(self.fleet.stale(), servers.collect());
        let (mut lost, setting) = (Vec::new(), &Cell::new(0));
        let done = {
            let guard = |(load_balancer, lane)| {
                repeat(()).then(move |()| self.hold_in_maint(load_balancer, lane, see, setting))
            };
            let load_balancers = self.site.load_balancers.iter();
            let each = load_balancers.flat_map(|it| out.iter().map(move |lane| (it, *lane)));
            let mut guards = select_all(each.map(|it| Box::pin(guard(it))));
            // Boxed because of its size.
            let mut work = Box::pin(work);
            let done = loop {
                tokio::select! {
                    biased;
                    done = &mut work => break done,
                    Some(servers) = guards.next() => lost.extend(servers),
                }
            };
            // A maint command that is under way must not arrive after the next step's command.
            while setting.get() > 0 {
                tokio::select! {
                    Some(servers) = guards.next() => lost.extend(servers),
                    () = pause(LOOK_EVERY) => {}
                }
            }
            done
        };
        for server in lost {
            let lane = lanes.iter().find(|lane| self.lane_of(**lane).ids().contains(&server));
            let message = format!("{server} was put into rotation during the run; it is in maint again");
            self.emitter.emit(lane.map(|lane| LaneId::at(*lane)), EventKind::Warned { message });
        }
        done
    }

    /// Runs `work` on the lane's servers. A load balancer may take long to answer, so a second connection watches for
    /// outages.
    pub(super) async fn with_outage_watch<T>(&self, lane: usize, work: impl Future<Output = T>) -> T {
        let see = &Rc::clone(&self.watch).recorder(self.fleet.stale(), self.capacity.others(lane));
        let lane = self.lane_of(lane);
        let looks = self.site.load_balancers.iter().map(|it| Box::pin(watch_states(it, lane, see)));
        tokio::select! {
            biased;
            done = work => done,
            (never, ..) = future::select_all(looks) => match never {},
        }
    }

    pub(super) async fn ready(&self, lane: usize) -> Result<(), StepError> {
        self.update_addresses(lane).await?;
        self.count_sessions(lane).await?;
        self.at(lane).unmark(Mark::Out);
        let (run, index, lane) = (self.at(lane), lane, self.lane_of(lane));
        let servers = lane.enabled_ids();
        // Servers that their own checks decide come first, so that servers that track one of them are down like it.
        self.set_unproven(index, &with_state(&lane.own_checked_ids(), AdminState::Ready)).await?;
        let others: Vec<ServerId> =
            lane.enabled().filter(|it| !it.has_own_check()).map(|it| it.id.clone()).collect();
        self.set(index, &with_state(&others, AdminState::Ready)).await?;
        let stay = |has_own_check: bool| {
            let lines = lane.alive().filter(|it| it.has_own_check() == has_own_check);
            lines.filter_map(|it| Some((it.id.clone(), it.stays?))).collect::<Vec<_>>()
        };
        self.set(index, &stay(false)).await?;
        self.set_unproven(index, &stay(true)).await?;
        let dead = lane.servers.iter().filter(|server| lane.is_dead(server));
        self.set_unproven(index, &dead.map(|server| (server.id.clone(), server.was)).collect::<Vec<_>>())
            .await?;
        // An agent in the new container answers by now, and what it reports is true.
        self.agents_on(index, &lane.ids()).await?;
        if let Some(left) = run.left_rotation.get() {
            run.time(|timing| timing.out_of_rotation_ms = millis(left));
        }
        self.capacity.returns(index);
        if !servers.is_empty() {
            self.emit(index, EventKind::Enabled { servers });
        }
        Ok(())
    }

    /// Remembers the session totals, so that the first session afterwards is noticed.
    async fn count_sessions(&self, lane: usize) -> Result<(), StepError> {
        let mut counted: BTreeMap<ServerId, u64> = BTreeMap::new();
        for server in self.lane_states(lane).await?.into_iter().flat_map(|seen| seen.servers) {
            *counted.entry(server.id).or_default() += server.sessions_total;
        }
        *self.at(lane).sessions_before_ready.borrow_mut() = counted;
        Ok(())
    }

    /// Gives servers their states, but leaves those with checks down until their checks pass.
    pub(super) async fn set_unproven(
        &self,
        lane: usize,
        states: &[(ServerId, AdminState)],
    ) -> Result<(), StepError> {
        if states.is_empty() {
            return Ok(());
        }
        let backends: BTreeSet<String> = states.iter().map(|(server, _)| server.backend.clone()).collect();
        let (backends, is_undoing): (Vec<String>, _) =
            (backends.into_iter().collect(), self.is_undoing(lane));
        let set = async |it: &Tracked<L>| {
            let seen = match it.state(&backends).await {
                Err(LoadBalancerError::NoSuchBackend { .. }) if is_undoing => it.state(&[]).await?,
                seen => seen?,
            };
            let needs_proof = |server: &ServerId| {
                seen.server(server)
                    .is_some_and(|now| now.admin.state() == AdminState::Maint || is_unproven(now))
            };
            let is_checked =
                |server: &ServerId| seen.server(server).is_some_and(|now| now.checks.health == Checking::On);
            let (unproven, others): (Vec<_>, Vec<_>) = states.iter().cloned().partition(|(server, state)| {
                *state != AdminState::Maint && is_checked(server) && needs_proof(server)
            });
            it.set_unproven(&unproven).await?;
            set_known_states(it, &others, is_undoing).await
        };
        self.on_all(lane, set).await.map(drop)
    }

    /// Waits until `HAProxy` has those servers up again that only its checks can prove.
    async fn wait_up_again(&self, lane: usize) -> Result<(), StepError> {
        let is_checked = |it: &&LaneServer| {
            it.was_up() && (!it.answered() || it.has_own_check()) && it.was == AdminState::Ready
        };
        let servers: Vec<&LaneServer> = self.plan.lanes[lane].servers.iter().filter(is_checked).collect();
        if servers.is_empty() {
            return Ok(());
        }
        let limit = self.lane_of(lane).up_within(self.plan.goal.policy.ready_timeout.max(OLD_LIMIT));
        let (mut down, never) = (None, CancellationToken::new());
        let waited = until(LOOK_EVERY, limit, &never, async || {
            let seen = self.lane_states(lane).await?;
            let states = servers.iter().flat_map(|it| seen.iter().filter_map(|seen| seen.server(&it.id)));
            // A server that was taken out since then stays out.
            let is_down =
                |state: &&ServerState| !state.operational.is_up() && state.admin.state() == AdminState::Ready;
            down = states.into_iter().find(is_down).cloned();
            Ok::<_, StepError>(down.is_none().then_some(()))
        });
        let waited = waited.await?;
        match (waited, down) {
            (Waited::TimedOut, Some(state)) => {
                Err(StepError::ServerNotUp { server: state.id, status: state.status })
            }
            (..) => Ok(()),
        }
    }

    /// Gives each server its former state, where that is safe.
    pub(super) async fn restore_states(&self, lane: usize) -> Result<(), StepError> {
        let plan = self.plan;
        self.update_addresses(lane).await?;
        self.at(lane).unmark(Mark::Out);
        // A drain that took too long may have ended in maint, and HAProxy has a server that leaves maint up at once.
        let may_end_in_maint =
            matches!(plan.goal.policy.on_drain_timeout, OnDrainTimeout::Maint | OnDrainTimeout::Shutdown);
        let was_in_maint =
            self.has_begun(lane, Step::Maint) || may_end_in_maint && self.has_begun(lane, Step::AwaitIdle);
        let was_restarted = is_replaced(&self.begun(lane));
        let (mut proven, mut unproven, mut as_before) = (Vec::new(), Vec::new(), Vec::new());
        for server in &plan.lanes[lane].servers {
            let safe = plan.lanes[lane].state_after_undo(server);
            let state = if was_in_maint { safe } else { server.was };
            let answers = server.answered() && !(server.has_own_check() && was_restarted);
            let is_proven = answers || server.was_up() && !was_restarted;
            if is_proven { &mut proven } else { &mut unproven }.push((server.id.clone(), state));
            // An agent would end the maint of a server on which nothing answers.
            if state == server.was {
                as_before.push(server.id.clone());
            }
        }
        self.set(lane, &proven).await?;
        self.set_unproven(lane, &unproven).await?;
        self.agents_on(lane, &as_before).await?;
        let left_out = proven.into_iter().chain(unproven).filter(|(_, state)| *state == AdminState::Maint);
        self.left_out.borrow_mut().extend(left_out.map(|(server, _)| server));
        self.capacity.returns(lane);
        if self.site.load_balancers.len() > 1 || self.watch.is_any_on() {
            // A load balancer that does not answer has missed this, which is reported at the end.
            let _seen = self.refresh(lane).await;
        }
        if self.watch.is_any_on() {
            // HAProxy's checks may need a moment. If they take longer, the next poll reports the end of the outage.
            let never = CancellationToken::new();
            let _ended = until(LOOK_EVERY, OUTAGE, &never, async || {
                self.lane_states(lane).await?;
                Ok::<_, StepError>((!self.watch.is_any_on()).then_some(()))
            })
            .await;
        }
        if was_restarted { self.wait_up_again(lane).await } else { Ok(()) }
    }
}
