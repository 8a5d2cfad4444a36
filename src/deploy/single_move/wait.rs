//! Waits for the effect of a move: the end of the last session, or a server that answers and is up.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{MoveError, MoveEvent, MoveRun, Unfinished};
use crate::model::ids::ServerId;
use crate::model::probe::{Probe, distinct};
use crate::observation::{AdminState, Answer, LoadBalancerState, ServerState};
use crate::ports::{LoadBalancer, Prober};
use crate::site::fleet::ProcessChange;
use crate::site::idle::{IdleTracker, SETTLE};
use crate::site::wait::{Waited, until};

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A server whose move has not taken effect yet.
#[derive(Default)]
struct Pending {
    last: Option<ServerState>,
    idle: IdleTracker,
    is_over: bool,
}

impl Pending {
    /// Takes the state of the server at all load balancers together, and returns whether the number of sessions has
    /// changed.
    fn update(&mut self, now: Option<ServerState>, wanted: AdminState) -> bool {
        self.is_over = now.as_ref().is_some_and(|now| match wanted {
            AdminState::Ready => now.operational.is_up() && !now.may_be_out_by_agent(),
            AdminState::Drain | AdminState::Maint => {
                self.idle.update(now.sessions, now.sessions_total, SETTLE)
            }
        });
        let sessions = |state: &Option<ServerState>| state.as_ref().map(|it| it.sessions);
        let has_changed = self.last.is_some() && now.is_some() && sessions(&self.last) != sessions(&now);
        self.last = now;
        has_changed
    }
}

impl<L: LoadBalancer, P: Prober> MoveRun<'_, L, P> {
    /// Probes the servers before clients are sent to them. Waits until they answer if they must.
    pub(super) async fn wait_ready(&self, must_answer: bool) -> Result<(), MoveError> {
        let probes: Vec<_> =
            self.plan.probes.iter().filter(|(id, _)| self.plan.servers.contains_key(id)).collect();
        for probe in distinct(probes.iter().map(|(_, probe)| probe)) {
            let same = probes.iter().filter(|(_, its)| its == probe).map(|(server, _)| server);
            self.wait_probe_ready(probe, &same.collect::<Vec<_>>(), must_answer).await?;
        }
        Ok(())
    }

    async fn wait_probe_ready(
        &self,
        probe: &Probe,
        servers: &[&ServerId],
        must_answer: bool,
    ) -> Result<(), MoveError> {
        let mut last: Answer = self.prober.probe(probe).await;
        if last.is_ready() {
            return Ok(());
        }
        if !must_answer {
            for server in servers {
                let (server, answer) = ((*server).clone(), last.detail().to_owned());
                (self.tell)(MoveEvent::Silent { server, answer });
            }
            return Ok(());
        }
        let limit = self.plan.policy.drain_timeout;
        let answers = until(LOOK_EVERY, limit, &self.stop.asked, async || {
            last = self.prober.probe(probe).await;
            Ok::<_, MoveError>(last.is_ready().then_some(()))
        });
        let waited = answers.await?;
        let (server, state) = (servers[0].clone(), self.state_before(servers[0]));
        match waited {
            Waited::Done(()) => Ok(()),
            Waited::Stopped => Err(MoveError::Stopped { server, state }),
            Waited::TimedOut => {
                let what = Unfinished::Silent { answer: last.detail().to_owned() };
                Err(MoveError::TimedOut { server, what, seconds: limit.as_secs(), state })
            }
        }
    }

    /// Returns the error of a move that is stopped now.
    pub(super) fn stopped(&self) -> MoveError {
        let server = self.plan.ids().swap_remove(0);
        let applied = self.applied.borrow();
        let set = applied.iter().rev().find_map(|(_, id, change)| change.state().filter(|_| *id == server));
        let state = set.unwrap_or_else(|| self.state_before(&server));
        MoveError::Stopped { server, state }
    }

    /// Returns the state of a server before the move.
    fn state_before(&self, server: &ServerId) -> AdminState {
        let state = self.before.first().and_then(|seen| seen.server(server));
        state.map_or(self.plan.state, |it| it.admin.state())
    }

    /// Waits until the move has taken effect on all servers.
    pub(super) async fn wait(&self, state: AdminState) -> Result<(), MoveError> {
        if state != AdminState::Ready && self.before.iter().any(|seen| seen.old_workers.is_none()) {
            (self.tell)(MoveEvent::OldWorkersUnseen);
        }
        let mut pending: BTreeMap<&ServerId, Pending> =
            self.plan.servers.keys().map(|server| (server, Pending::default())).collect();
        let limit = self.plan.policy.drain_timeout;
        let waited = until(LOOK_EVERY, limit, &self.stop.asked, async || {
            let is_so = self.look(state, &mut pending).await?;
            Ok::<_, MoveError>(is_so.then_some(()))
        });
        let waited = waited.await?;
        let left = pending.into_iter().find(|(_, pending)| !pending.is_over);
        match (waited, left) {
            (Waited::Done(()), _) | (_, None) => {
                for server in self.plan.ids() {
                    (self.tell)(MoveEvent::Over { server, state });
                }
                Ok(())
            }
            (Waited::TimedOut, Some((server, Pending { last, .. }))) => Err(MoveError::TimedOut {
                server: server.clone(),
                what: Unfinished::of(state, last.as_ref()),
                seconds: limit.as_secs(),
                state: last.map_or(state, |last| last.admin.state()),
            }),
            (Waited::Stopped, Some((server, _))) => Err(MoveError::Stopped { server: server.clone(), state }),
        }
    }

    /// Looks once, and returns whether the move has taken effect on all servers. Sets again what a reload has undone.
    async fn look(
        &self,
        wanted: AdminState,
        pending: &mut BTreeMap<&ServerId, Pending>,
    ) -> Result<bool, MoveError> {
        let seen = self.states().await.map_err(|it| self.uncertain(it))?;
        if self.follow_reloads(&seen, wanted).await? {
            for pending in pending.values_mut() {
                *pending = Pending::default();
            }
            return Ok(false);
        }
        for (server, pending) in &mut *pending {
            let states = seen.iter().filter_map(|seen| seen.server(server));
            if wanted != AdminState::Ready && states.clone().any(|it| it.admin.state() == AdminState::Ready) {
                let has_agent = states.into_iter().any(ServerState::asks_agent);
                return Err(MoveError::Reverted { server: (*server).clone(), has_agent });
            }
            let now = LoadBalancerState::joined(&seen, server).map(|state| {
                let sessions = LoadBalancerState::sessions_on(&seen, std::slice::from_ref(server));
                ServerState { sessions: sessions.now, sessions_total: sessions.total, ..state }
            });
            let sessions = now.as_ref().map_or(0, |now| now.sessions);
            if pending.update(now, wanted) && wanted != AdminState::Ready {
                (self.tell)(MoveEvent::SessionsLeft { server: (*server).clone(), sessions });
            }
        }
        Ok(pending.values().all(|pending| pending.is_over))
    }

    /// Sets again what new processes have forgotten, and returns whether there were any.
    async fn follow_reloads(
        &self,
        seen: &[LoadBalancerState],
        wanted: AdminState,
    ) -> Result<bool, MoveError> {
        let mut is_new = false;
        for (load_balancer, seen) in self.load_balancers.iter().zip(seen) {
            match self.fleet.process_change(seen) {
                ProcessChange::None => continue,
                ProcessChange::ReloadedUnseen { .. } if wanted != AdminState::Ready => {
                    let server = self.plan.ids().swap_remove(0);
                    let has_agent = seen.server(&server).is_some_and(ServerState::asks_agent);
                    return Err(MoveError::Reverted { server, has_agent });
                }
                ProcessChange::Reloaded { was } | ProcessChange::ReloadedUnseen { was } => {
                    (self.tell)(MoveEvent::HaproxyReloaded { was, is: seen.pid });
                }
                ProcessChange::Appeared => {}
            }
            self.set_again(load_balancer, seen).await.map_err(|it| self.uncertain(it))?;
            self.fleet.has_process(&seen.name, seen.pid);
            is_new = true;
        }
        Ok(is_new)
    }
}
