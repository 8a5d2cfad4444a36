//! How a surge server leaves: once the others can do without it, and its last session has ended.

use std::collections::BTreeSet;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::recovery::{TRY_EVERY, TRY_FOR};
use super::super::rotation::LOOK_EVERY;
use super::super::{Executor, StepError, Tracked, millis};
use super::with_state;
use crate::model::ids::ServerId;
use crate::model::words::list;
use crate::observation::{AdminState, LoadBalancerState, ServerState};
use crate::plan::OnDrainTimeout;
use crate::plan::surge::{Surge, Way};
use crate::ports::{
    ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, LoadBalancerError, Prober, WallClock,
};
use crate::run::event::EventKind;
use crate::run::journal::{SurgeProgress, SurgeStep};
use crate::run::outcome::{Outcome, StuckServer};
use crate::site::fleet::ProcessChange;
use crate::site::idle::{IdleTracker, SETTLE};
use crate::site::wait::{Waited, retry, until};
use crate::topology::traffic::Balance;

/// How often a surge server tries to leave while other servers go away.
const ATTEMPTS: u32 = 5;

/// Whether a surge server holds no session any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    Yes,
    No,
    /// No other server of its backend serves, so it is needed.
    Unserved,
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Makes the surge servers leave, unless servers are left out of service that they stand in for.
    pub(in crate::deploy) async fn without_surge(&self, outcome: Outcome) -> Outcome {
        if matches!(outcome, Outcome::Stuck { .. }) {
            return outcome;
        }
        for (index, surge) in self.plan.surge.iter().enumerate() {
            if self.ledger.progress().surge.get(&index).is_none_or(SurgeProgress::is_gone) {
                continue;
            }
            // Everything serves by now, so retry: a passing error must not leave a surge server behind.
            let leave = async || self.leave_one(index, surge).await;
            if let Err(failure) = retry(TRY_EVERY, TRY_FOR, StepError::may_pass, leave).await {
                return self.surge_stuck(surge, &outcome, &failure).await;
            }
        }
        outcome
    }

    async fn surge_stuck(&self, surge: &Surge, outcome: &Outcome, failure: &StepError) -> Outcome {
        let status = format!("the surge server could not leave: {failure}");
        let resume = self.site.typed.command(&["resume", &self.plan.goal.backend]);
        Outcome::Stuck {
            reason: format!("{outcome}, but {status}"),
            servers: vec![StuckServer { server: surge.name().clone(), status, commands: Vec::new() }],
            kept: self
                .plan
                .lanes
                .iter()
                .flat_map(crate::plan::Lane::ids)
                .filter(|it| outcome.keeps_new_container(it))
                .collect(),
            journal: self.ledger.place().await,
            resume,
        }
    }

    async fn leave_one(&self, index: usize, surge: &Surge) -> Result<(), StepError> {
        let begun = Instant::now();
        let has_begun_to_join =
            self.ledger.progress().surge.get(&index).is_some_and(SurgeProgress::may_be_in_haproxy);
        if has_begun_to_join {
            let mut is_out = false;
            for _ in 0..ATTEMPTS {
                is_out = self.try_to_leave(index, surge).await?;
                if is_out {
                    break;
                }
            }
            if !is_out {
                return Err(StepError::StateChanged {
                    server: surge.name().clone(),
                    found: AdminState::Ready,
                });
            }
            if self.plan.goal.policy.on_drain_timeout == OnDrainTimeout::Force {
                // `HAProxy` deletes no server that holds a session.
                self.remove_surge_container(index, surge).await?;
            }
            let delete = async |it: &Tracked<L>| self.remove_from(it, surge).await;
            self.on_fleet(surge, delete).await?;
        } else {
            self.record_anyway(index, SurgeStep::Leave).await;
        }
        self.remove_surge_container(index, surge).await?;
        self.record_anyway(index, SurgeStep::Gone).await;
        if has_begun_to_join {
            self.emit_run(EventKind::SurgeLeft { servers: surge.ids(), took_ms: millis(begun) });
        }
        Ok(())
    }

    /// Takes a surge server out once the other servers can do without it. Returns false if it had to be put back, because
    /// the others went away meanwhile.
    async fn try_to_leave(&self, index: usize, surge: &Surge) -> Result<bool, StepError> {
        self.wait_for_room_without(surge).await?;
        self.surge_in_service.borrow_mut().remove(&index);
        self.record_anyway(index, SurgeStep::Leave).await;
        let is_out = self.take_out_surge(surge).await?;
        if !is_out {
            self.set_surge(surge, AdminState::Ready).await?;
            self.surge_in_service.borrow_mut().insert(index);
        }
        Ok(is_out)
    }

    /// Waits until every backend that a surge server serves has another server too. One that is out of service, although
    /// its container serves, is put back: someone took it out, or a load balancer missed that it was put back.
    async fn wait_for_room_without(&self, surge: &Surge) -> Result<(), StepError> {
        let limit = self.plan.goal.policy.ready_timeout;
        let (never, mut shortage) = (CancellationToken::new(), None);
        let waited = until(LOOK_EVERY, limit, &never, async || {
            shortage = None;
            for seen in self.surge_states(surge).await? {
                // Where it does not serve either, it is not missed.
                let serves = surge.ids().iter().any(|id| seen.server(id).is_some_and(ServerState::is_usable));
                if let Some(balance) = self.unserved_without(surge, &seen).filter(|_| serves) {
                    self.put_back_for(balance, &seen).await?;
                    let (load_balancer, backend) = (seen.name.clone(), balance.backend.clone());
                    shortage = Some(StepError::Unserved { load_balancer, backend });
                }
            }
            Ok::<_, StepError>(shortage.is_none().then_some(()))
        });
        match (waited.await?, shortage) {
            (Waited::Done(()), _) | (_, None) => Ok(()),
            (Waited::TimedOut | Waited::Stopped, Some(shortage)) => Err(shortage),
        }
    }

    /// Puts the servers of a backend back in service at a load balancer that the run has worked on and that it does not
    /// leave out.
    async fn put_back_for(&self, balance: &Balance, seen: &LoadBalancerState) -> Result<(), StepError> {
        let enabled = self.plan.lanes.iter().flat_map(|lane| lane.enabled().map(|server| &server.id));
        let enabled =
            enabled.filter(|id| id.backend == balance.backend && !self.left_out.borrow().contains(id));
        let is_out = |id: &&ServerId| {
            seen.server(id).is_some_and(|state| {
                state.admin.state() != AdminState::Ready && !state.admin.is_inherited() && !state.asks_agent()
            })
        };
        let back: Vec<ServerId> = enabled.filter(is_out).cloned().collect();
        let found = self.site.load_balancers.iter().find(|it| it.name() == seen.name);
        let Some(load_balancer) = found.filter(|_| !back.is_empty()) else { return Ok(()) };
        let states: Vec<_> = back.iter().map(|id| (id.clone(), AdminState::Ready)).collect();
        load_balancer.set_admin_states(&states).await?;
        let message = format!(
            "{} was out of service at {}, although its container serves; it is ready again, because the surge server leaves",
            list(&back),
            seen.name
        );
        self.emit_run(EventKind::Warned { message });
        Ok(())
    }

    /// Takes a surge server out of rotation, and waits until its last session has ended. Returns false if no other server
    /// serves any more.
    async fn take_out_surge(&self, surge: &Surge) -> Result<bool, StepError> {
        let policy = &self.plan.goal.policy;
        // Drain would let the clients that its cookie holds come back.
        let has_cookie = surge.servers.iter().any(|server| match &server.way {
            Way::Added { words } => words.iter().any(|word| word == "cookie"),
            Way::Slot { .. } => false,
        });
        for state in [AdminState::Drain, AdminState::Maint] {
            if has_cookie && state == AdminState::Drain {
                continue;
            }
            self.set_surge(surge, state).await?;
            match self.wait_until_idle(surge, state).await? {
                Idle::Unserved => return Ok(false),
                Idle::Yes if state == AdminState::Maint => return Ok(true),
                // In maint nothing new arrives, and what arrived just before ends.
                Idle::Yes | Idle::No => {}
            }
        }
        let seen = self.surge_states(surge).await?;
        let sessions = LoadBalancerState::sessions_on(&seen, &surge.ids()).now;
        match policy.on_drain_timeout {
            OnDrainTimeout::Force => Ok(true),
            OnDrainTimeout::Fail | OnDrainTimeout::Maint => {
                Err(StepError::DrainTimedOut { sessions, limit: policy.drain_timeout })
            }
            OnDrainTimeout::Shutdown => {
                for load_balancer in &self.site.load_balancers {
                    for session in load_balancer.sessions(&surge.ids()).await? {
                        load_balancer.end_session(&session).await?;
                    }
                }
                self.emit_run(EventKind::SessionsShutDown { servers: surge.ids(), sessions });
                Ok(true)
            }
        }
    }

    /// Waits until no session is in flight on a surge server, for at most the drain limit.
    async fn wait_until_idle(&self, surge: &Surge, state: AdminState) -> Result<Idle, StepError> {
        let (never, mut idle) = (CancellationToken::new(), IdleTracker::default());
        let (mut is_unseen, mut sessions) = (false, 0);
        let waited = until(LOOK_EVERY, self.plan.goal.policy.drain_timeout, &never, async || {
            let seen = self.surge_states(surge).await?;
            let is_in = |it: &ServerState| it.admin.state() < state;
            let is_any_in =
                |seen: &LoadBalancerState| surge.ids().iter().any(|id| seen.server(id).is_some_and(is_in));
            if seen.iter().any(is_any_in) {
                // An operator has put it back in service.
                self.set_surge(surge, state).await?;
                idle = IdleTracker::default();
                return Ok(None);
            }
            // One that is down would not help.
            let could_serve = |seen: &LoadBalancerState| {
                surge.ids().iter().any(|id| seen.server(id).is_some_and(|it| it.operational.is_up()))
            };
            if seen.iter().any(|seen| could_serve(seen) && self.unserved_without(surge, seen).is_some()) {
                return Ok(Some(Idle::Unserved));
            }
            // The sessions of the old process cannot be counted: they get the whole time to end.
            let unseen =
                |seen| matches!(self.fleet.process_change(seen), ProcessChange::ReloadedUnseen { .. });
            is_unseen |= seen.iter().any(unseen);
            let count = LoadBalancerState::sessions_on(&seen, &surge.ids());
            sessions = count.now;
            let is_idle = idle.update(count.now, count.total, SETTLE) && !is_unseen;
            Ok::<_, StepError>(is_idle.then_some(Idle::Yes))
        });
        Ok(match waited.await? {
            Waited::Done(idle) => idle,
            Waited::TimedOut | Waited::Stopped if is_unseen && sessions == 0 => Idle::Yes,
            Waited::TimedOut | Waited::Stopped => Idle::No,
        })
    }

    /// Returns a backend of a surge server that no other server serves.
    fn unserved_without(&self, surge: &Surge, seen: &LoadBalancerState) -> Option<&Balance> {
        // A run without a floor promises nothing.
        let promised = self.plan.goal.policy.floor > 0;
        let out: BTreeSet<ServerId> = surge.ids().into_iter().collect();
        let mut balances = self.plan.balances.iter().filter(|it| promised && it.has_any(&out));
        balances.find(|balance| balance.forecast(seen, &out).shares.is_empty())
    }

    /// Sets the state of a surge server at every load balancer that knows it.
    async fn set_surge(&self, surge: &Surge, state: AdminState) -> Result<(), StepError> {
        let set = async |it: &Tracked<L>| {
            let seen = it.state(&surge.backends()).await?;
            let mut states = with_state(surge, state);
            states.retain(|(id, _)| seen.server(id).is_some());
            it.set_admin_states(&states).await
        };
        self.on_fleet(surge, set).await.map(drop)
    }

    /// Deletes a surge server's servers at a load balancer, or gives slots their own addresses back.
    async fn remove_from(&self, load_balancer: &Tracked<L>, surge: &Surge) -> Result<(), LoadBalancerError> {
        for server in &surge.servers {
            match &server.way {
                Way::Slot { address } => {
                    if load_balancer.state(&surge.backends()).await?.server(&server.id).is_some() {
                        load_balancer.set_address(&server.id, *address).await?;
                    }
                }
                Way::Added { .. } => {
                    let never = CancellationToken::new();
                    let limit = self.plan.goal.policy.drain_timeout;
                    let gone = until(LOOK_EVERY, limit, &never, async || {
                        let is_gone = load_balancer.delete_server(&server.id).await?;
                        Ok::<_, LoadBalancerError>(is_gone.then_some(()))
                    });
                    if gone.await? != Waited::Done(()) {
                        return Err(LoadBalancerError::Refused {
                            command: format!("del server {}", server.id),
                            reply: "it still has connections".to_owned(),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Stops and removes the container of a surge server, even if the answer that named it was lost.
    async fn remove_surge_container(&self, index: usize, surge: &Surge) -> Result<(), StepError> {
        let (engine, name) = (self.engine_of(surge)?, surge.container_name(&self.plan.run));
        let is_outage = |failure: &StepError| failure.is_outage();
        retry(TRY_EVERY, TRY_FOR, is_outage, async || {
            let all = engine.containers().await?;
            let known = self.surge_container(index);
            let found = all.into_iter().find(|it| known.as_ref() == Some(&it.id) || it.name == name);
            let Some(container) = found else { return Ok(()) };
            match engine.stop(&container.id).await {
                Ok(()) | Err(EngineError::Refused { .. }) => {}
                Err(error) => return Err(StepError::from(error)),
            }
            Ok(engine.remove_with_volumes(&container.id, &BTreeSet::new()).await?)
        })
        .await
    }
}
