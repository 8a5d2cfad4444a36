//! Executes the plan of a single move: each change at all load balancers or at none, and waits for the effect.
//!
//! A move shares with a run how it looks at the load balancers, counts sessions, notices reloads and rules out late
//! commands. It has no journal, because it leaves nothing to resume: a move that is interrupted has set its servers, or
//! has not. So it needs no state directory either.

mod error;
mod wait;

use std::cell::RefCell;
use std::collections::BTreeMap;

pub use error::{MoveError, Unfinished};

use super::{StopRequest, takeover};
use crate::model::ids::ServerId;
use crate::observation::{AdminState, LoadBalancerState};
use crate::plan::refusal::Refusal;
use crate::plan::server_change::ServerChange;
use crate::plan::single_move::{MoveStep, SingleMove};
use crate::ports::{LoadBalancer, LoadBalancerError, Prober};
use crate::site::fleet::Fleet;
use crate::site::late::{self, Tracked};

/// What happens during a move, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveEvent {
    /// A server does not answer, and clients are sent there anyway.
    Silent {
        server: ServerId,
        answer: String,
    },
    /// Sessions in old workers cannot be counted, because no master socket shows them.
    OldWorkersUnseen,
    /// A command has no answer, or had a late effect.
    Late {
        message: String,
    },
    /// `HAProxy` was reloaded and lost its runtime states, so drainswap sets them again.
    HaproxyReloaded {
        was: u32,
        is: u32,
    },
    /// The server has the requested state.
    IsIn {
        server: ServerId,
        state: AdminState,
    },
    SessionsLeft {
        server: ServerId,
        sessions: u64,
    },
    SessionsShutDown {
        sessions: u64,
    },
    /// The wait for the server has ended: it is up, or holds no session.
    Over {
        server: ServerId,
        state: AdminState,
    },
}

/// The changes that were made: load balancer, server and change, in order.
pub type Applied = Vec<(String, ServerId, ServerChange)>;

/// What a move did.
#[derive(Debug)]
pub struct Moved {
    pub applied: Applied,
    pub sessions_shut_down: u64,
    /// The states after it.
    pub after: Vec<LoadBalancerState>,
}

/// One execution of a single move.
pub struct MoveRun<'a, L, P> {
    plan: &'a SingleMove,
    /// The states before the move.
    before: &'a [LoadBalancerState],
    load_balancers: &'a [Tracked<L>],
    fleet: Fleet<'a, L>,
    prober: &'a P,
    stop: StopRequest,
    tell: &'a dyn Fn(MoveEvent),
    applied: RefCell<Applied>,
}

impl<'a, L: LoadBalancer, P: Prober> MoveRun<'a, L, P> {
    /// Returns a move that has not begun. `before` are the states that it was planned for.
    pub fn new(
        plan: &'a SingleMove,
        before: &'a [LoadBalancerState],
        load_balancers: &'a [Tracked<L>],
        prober: &'a P,
        stop: StopRequest,
        tell: &'a dyn Fn(MoveEvent),
    ) -> Self {
        let processes: BTreeMap<String, u32> =
            before.iter().map(|seen| (seen.name.clone(), seen.pid)).collect();
        Self {
            plan,
            before,
            load_balancers,
            fleet: Fleet::new(load_balancers, processes),
            prober,
            stop,
            tell,
            applied: RefCell::default(),
        }
    }

    /// Checks that the servers which take over answer.
    ///
    /// # Errors
    /// One of them does not. Nothing has been changed.
    pub async fn check_takeover(&self) -> Result<(), Refusal> {
        takeover::require_answers(self.prober, &self.plan.probes, &self.plan.takeover).await
    }

    /// Reports the servers that would come back although they do not answer.
    pub async fn report_silent(&self) {
        if self.plan.state == AdminState::Ready {
            // Only a wait fails.
            let _none = self.wait_ready(false).await;
        }
    }

    /// Makes the move.
    ///
    /// # Errors
    /// Says whether the servers are as before, and if not, where they are.
    pub async fn run(self) -> Result<Moved, MoveError> {
        if self.plan.state == AdminState::Ready {
            self.wait_ready(self.plan.must_answer).await?;
        }
        let mut sessions_shut_down = 0;
        for step in &self.plan.steps {
            if self.stop.asked.is_cancelled() {
                return Err(self.stopped());
            }
            match step {
                MoveStep::Set { servers, change } => self.set(servers, *change).await?,
                MoveStep::AwaitIdle(state) => self.wait(*state).await?,
                MoveStep::AwaitUp => self.wait(AdminState::Ready).await?,
                MoveStep::ShutDownSessions => {
                    sessions_shut_down = self.end_sessions().await.map_err(|it| self.uncertain(it))?;
                }
            }
        }
        let after = self.states().await.map_err(|it| self.uncertain(it))?;
        Ok(Moved { applied: self.applied.take(), sessions_shut_down, after })
    }

    /// Returns an error that does not say that nothing was touched.
    fn uncertain(&self, failure: impl Into<MoveError>) -> MoveError {
        MoveError::Uncertain { servers: self.plan.ids(), failure: Box::new(failure.into()) }
    }

    /// Returns the state at every load balancer. Waits for one that is being restarted.
    async fn states(&self) -> Result<Vec<LoadBalancerState>, LoadBalancerError> {
        let seen = self.fleet.call_all(&[], async |it: &Tracked<L>| it.full_state(&[]).await).await;
        seen.into_iter().collect()
    }

    /// Makes a change of these servers, and waits until no unanswered command can undo it any more.
    async fn set(&self, servers: &[ServerId], change: ServerChange) -> Result<(), MoveError> {
        let seen = self
            .states()
            .await
            .map_err(|it| if self.is_touched() { self.uncertain(it) } else { it.into() })?;
        let pending = self.plan.pending(servers, change, &seen);
        let made = if pending.is_empty() { Ok(()) } else { self.set_everywhere(&pending, change).await };
        self.wait_until_settled().await?;
        made?;
        if change.state() == Some(self.plan.state) {
            for server in servers {
                (self.tell)(MoveEvent::IsIn { server: server.clone(), state: self.plan.state });
            }
        }
        Ok(())
    }

    fn is_touched(&self) -> bool {
        !self.applied.borrow().is_empty()
    }

    /// Makes a change at all load balancers, or restores the earlier states at all of them.
    async fn set_everywhere(&self, servers: &[ServerId], change: ServerChange) -> Result<(), MoveError> {
        for load_balancer in self.load_balancers {
            // The load balancer that fails may have made the change and lost the answer.
            let name = load_balancer.name();
            let changes = servers.iter().map(|server| (name.clone(), server.clone(), change));
            self.applied.borrow_mut().extend(changes);
            let mut made = apply(load_balancer, servers, change).await;
            if matches!(made, Err(LoadBalancerError::Unanswered { .. })) {
                // A repetition does no harm, whether or not the first command takes effect.
                made = apply(load_balancer, servers, change).await;
            }
            let Err(failure) = made else { continue };
            let failure = failure.at(name, self.load_balancers.len());
            let left = self.restore().await;
            if left.is_empty() {
                return Err(failure.into());
            }
            return Err(MoveError::PartlyApplied { servers: servers.to_vec(), left, failure });
        }
        Ok(())
    }

    /// Undoes all changes, the last one first. Returns the load balancers that fail to do so.
    async fn restore(&self) -> Vec<String> {
        let applied = self.applied.borrow().clone();
        let mut left = Vec::new();
        for (name, server, change) in applied.iter().rev() {
            let was = self.before.iter().find(|seen| seen.name == *name).and_then(|seen| seen.server(server));
            let load_balancer = self.load_balancers.iter().find(|it| it.name() == *name);
            let Some((load_balancer, was)) = load_balancer.zip(was) else { continue };
            let servers = std::slice::from_ref(server);
            if apply(load_balancer, servers, change.inverse(was)).await.is_err() && !left.contains(name) {
                left.push(name.clone());
            }
        }
        left
    }

    /// Sets again what a new process has forgotten.
    async fn set_again(
        &self,
        load_balancer: &Tracked<L>,
        seen: &LoadBalancerState,
    ) -> Result<(), LoadBalancerError> {
        let applied = self.applied.borrow().clone();
        for (at, (name, server, change)) in applied.iter().enumerate() {
            let is_superseded = |(of, id, later): &(String, ServerId, ServerChange)| {
                of == name && id == server && change.state().is_some() && later.state().is_some()
            };
            let is_so = |now| change.is_applied(now, self.plan.written(server));
            let is_due = *name == seen.name && !applied[at + 1..].iter().any(is_superseded);
            if is_due && seen.server(server).is_some_and(|now| !is_so(now)) {
                apply(load_balancer, std::slice::from_ref(server), *change).await?;
            }
        }
        Ok(())
    }

    /// Waits until no unanswered command can undo the move any more.
    async fn wait_until_settled(&self) -> Result<(), MoveError> {
        let late = |message: String| (self.tell)(MoveEvent::Late { message });
        let all: Vec<&Tracked<L>> = self.load_balancers.iter().collect();
        all.iter().filter_map(|it| it.unsettled_note()).for_each(late);
        let settled = late::wait_until_settled(&all, |again| late(again.to_string()));
        tokio::select! {
            biased;
            settled = settled => settled.map_err(|it| self.uncertain(it)),
            () = self.stop.asked.cancelled() => Err(self.stopped()),
        }
    }

    /// Ends every session that the servers still hold, including those of old workers that the master socket shows.
    async fn end_sessions(&self) -> Result<u64, LoadBalancerError> {
        let ids = self.plan.ids();
        let mut sessions = 0;
        for load_balancer in self.load_balancers {
            for session in load_balancer.sessions(&ids).await? {
                load_balancer.end_session(&session).await?;
                sessions += 1;
            }
        }
        if sessions > 0 {
            (self.tell)(MoveEvent::SessionsShutDown { sessions });
        }
        Ok(sessions)
    }
}

/// Makes a change of these servers at one load balancer.
async fn apply(
    load_balancer: &impl LoadBalancer,
    servers: &[ServerId],
    change: ServerChange,
) -> Result<(), LoadBalancerError> {
    let with = |state: AdminState| servers.iter().map(|server| (server.clone(), state)).collect::<Vec<_>>();
    match change {
        ServerChange::State(state) => return load_balancer.set_admin_states(&with(state)).await,
        ServerChange::ReadyWhenProven => return load_balancer.set_unproven(&with(AdminState::Ready)).await,
        ServerChange::Weight(weight) => {
            for server in servers {
                load_balancer.set_weight(server, weight).await?;
            }
        }
        ServerChange::Check(checker, on) => {
            for server in servers {
                load_balancer.set_checking(server, checker, on).await?;
            }
        }
    }
    Ok(())
}
