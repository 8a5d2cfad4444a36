//! Tracks commands without an answer: `HAProxy` may still execute one, so the state of its server is unknown until that
//! is ruled out.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lateness::{AWAY, Late};
use super::wait::{Waited, until};
use crate::model::ids::ServerId;
use crate::model::new_server::NewServer;
use crate::model::weight::Weight;
use crate::model::words::list;
use crate::observation::{AdminState, Checker, LoadBalancerState, ServerState, Session};
use crate::ports::{LoadBalancer, LoadBalancerError};

/// How often a server that a late command may change is checked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A load balancer, with the commands that it has not answered.
#[derive(Debug)]
pub struct Tracked<L> {
    inner: L,
    servers: Mutex<BTreeMap<ServerId, Tracking>>,
}

/// The changes that were requested for one server.
#[derive(Debug, Default)]
struct Tracking {
    /// The last change of each kind that `HAProxy` has made or may have made.
    wanted: Vec<PendingChange>,
    /// Set while a command may still take effect.
    late: Option<Late>,
}

/// A change that a late command may undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PendingChange {
    State(AdminState),
    /// Sets the state, with the server down until its checks have passed.
    Unproven(AdminState),
    Address(SocketAddr),
    Weight(Weight),
    Checking(Checker, bool),
}

impl PendingChange {
    /// Returns whether another change supersedes this one.
    fn is_replaced_by(self, other: Self) -> bool {
        match (self, other) {
            (Self::Checking(of, _), Self::Checking(other, _)) => of == other,
            (Self::State(_) | Self::Unproven(_), Self::State(_) | Self::Unproven(_))
            | (Self::Address(_), Self::Address(_))
            | (Self::Weight(_), Self::Weight(_)) => true,
            (
                Self::State(_) | Self::Unproven(_) | Self::Address(_) | Self::Weight(_) | Self::Checking(..),
                _,
            ) => false,
        }
    }

    /// Returns whether the server is known to have this change. Weights and checks never are: setting them again is
    /// harmless.
    fn is_applied(self, now: &ServerState) -> bool {
        match self {
            Self::State(state) | Self::Unproven(state) => {
                now.admin.state() == state || now.admin.is_inherited()
            }
            Self::Address(address) => now.address == Some(address),
            Self::Weight(_) | Self::Checking(..) => false,
        }
    }

    async fn apply(self, on: &impl LoadBalancer, server: &ServerId) -> Result<(), LoadBalancerError> {
        match self {
            Self::State(state) => on.set_admin_states(&[(server.clone(), state)]).await,
            Self::Unproven(state) => on.set_unproven(&[(server.clone(), state)]).await,
            Self::Address(address) => on.set_address(server, address).await,
            Self::Weight(weight) => on.set_weight(server, weight).await,
            Self::Checking(checker, is_on) => on.set_checking(server, checker, is_on).await,
        }
    }
}

/// A server that was set again because a late command had changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reapplied {
    pub server: ServerId,
    pub state: AdminState,
}

impl fmt::Display for Reapplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, state } = self;
        write!(f, "a late command changed {server}; it is in {state} again")
    }
}

/// The error that a command may still take effect, because `HAProxy` does not answer for long enough to rule that out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{load_balancer} has not answered a command that changes {server}, and was not available long enough to rule out that the command still takes effect. Check that HAProxy runs, then run drainswap again"
)]
pub struct LateCommand {
    pub load_balancer: String,
    pub server: ServerId,
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallResult {
    /// `HAProxy` made the change, or some of several.
    Applied,
    /// `HAProxy` did not make it, and will not.
    NotApplied,
    /// `HAProxy` may still make it: the connection ended without an answer, or the caller stopped waiting.
    Unknown,
}

/// A call whose changes are under way.
struct Call<'a, L> {
    tracked: &'a Tracked<L>,
    changes: Vec<(ServerId, PendingChange)>,
    end: CallResult,
}

impl<L> Call<'_, L> {
    fn end(mut self, result: Result<(), LoadBalancerError>) -> Result<(), LoadBalancerError> {
        self.end = match &result {
            Err(LoadBalancerError::Unanswered { .. }) => CallResult::Unknown,
            Err(LoadBalancerError::Unreachable { .. }) => CallResult::NotApplied,
            Err(_) if self.changes.len() == 1 => CallResult::NotApplied,
            Ok(()) | Err(_) => CallResult::Applied,
        };
        result
    }
}

/// Records the changes even if the call is dropped before its end.
impl<L> Drop for Call<'_, L> {
    fn drop(&mut self) {
        if self.end != CallResult::NotApplied {
            for (server, change) in &self.changes {
                self.tracked.remember(server, *change, self.end == CallResult::Unknown);
            }
        }
    }
}

impl<L> Tracked<L> {
    fn servers(&self) -> MutexGuard<'_, BTreeMap<ServerId, Tracking>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, server: &ServerId, change: PendingChange, is_late: bool) {
        let mut servers = self.servers();
        let tracking = servers.entry(server.clone()).or_default();
        tracking.wanted.retain(|it| !it.is_replaced_by(change));
        tracking.wanted.push(change);
        if is_late {
            // Restart the time.
            tracking.late = Some(Late::default());
        }
    }
}

impl<L: LoadBalancer> Tracked<L> {
    /// Wraps a load balancer that has no commands under way.
    #[must_use]
    pub fn new(inner: L) -> Self {
        Self { inner, servers: Mutex::default() }
    }

    /// Returns the servers that a command without an answer may still change.
    #[must_use]
    pub fn unsettled(&self) -> Vec<ServerId> {
        let servers = self.servers();
        servers.iter().filter(|(_, it)| it.late.is_some()).map(|(server, _)| server.clone()).collect()
    }

    /// Returns a note for the operator if a late command may still change servers.
    #[must_use]
    pub fn unsettled_note(&self) -> Option<String> {
        let servers = self.unsettled();
        let waited = || {
            format!(
                "{} has not answered a command that changes {}, which may still take effect: drainswap watches for that until HAProxy has answered other commands for {} s",
                self.name(),
                list(&servers),
                self.late_effect_window().as_secs()
            )
        };
        (!servers.is_empty()).then(waited)
    }

    fn is_settled(&self) -> bool {
        self.servers().values().all(|it| it.late.is_none())
    }

    /// Awaits changes, and remembers them if `HAProxy` made them or may have made them.
    async fn change(
        &self,
        changes: Vec<(ServerId, PendingChange)>,
        made: impl Future<Output = Result<(), LoadBalancerError>>,
    ) -> Result<(), LoadBalancerError> {
        let call = Call { tracked: self, changes, end: CallResult::Unknown };
        call.end(made.await)
    }

    /// Makes one check of the servers that a late command may change, and sets those again that it has changed.
    async fn watch(&self) -> Vec<Reapplied> {
        let unsettled: Vec<(ServerId, Vec<PendingChange>)> = {
            let servers = self.servers();
            let late = servers.iter().filter(|(_, it)| it.late.is_some());
            late.map(|(server, it)| (server.clone(), it.wanted.clone())).collect()
        };
        let mut backends: Vec<String> = unsettled.iter().map(|(server, _)| server.backend.clone()).collect();
        backends.dedup();
        if backends.is_empty() {
            return Vec::new();
        }
        let Ok(seen) = self.inner.state(&backends).await else {
            // While it does not answer, it executes nothing either.
            self.note_answer(None);
            return Vec::new();
        };
        let now = Instant::now();
        let mut set_again = Vec::new();
        for (server, changes) in unsettled {
            // A server that HAProxy does not know any more needs no change.
            let Some(state) = seen.server(&server) else { continue };
            for change in changes.into_iter().filter(|change| !change.is_applied(state)) {
                if let (Ok(()), PendingChange::State(state) | PendingChange::Unproven(state)) =
                    (change.apply(self, &server).await, change)
                {
                    set_again.push(Reapplied { server: server.clone(), state });
                }
            }
        }
        self.note_answer(Some(now));
        set_again
    }

    /// Records whether the load balancer answers now, and forgets commands that can no longer take effect.
    fn note_answer(&self, now: Option<Instant>) {
        let late_for = self.inner.late_effect_window();
        for it in self.servers().values_mut() {
            if it.late.as_mut().is_some_and(|late| late.is_over(now, late_for)) {
                it.late = None;
            }
        }
    }
}

/// Waits until no command without an answer can take effect any more. Checks the servers once a second, and passes each
/// one that it had to set again to `tell`.
///
/// # Errors
/// Fails if a load balancer does not answer for long enough, within one minute more than that takes.
pub async fn wait_until_settled<L: LoadBalancer>(
    load_balancers: &[&Tracked<L>],
    mut tell: impl FnMut(Reapplied),
) -> Result<(), LateCommand> {
    let late = load_balancers.iter().filter(|it| !it.is_settled());
    let Some(longest) = late.map(|it| it.late_effect_window()).max() else { return Ok(()) };
    let never = CancellationToken::new();
    let Ok(waited) = until(LOOK_EVERY, longest + AWAY, &never, async || {
        join_all(load_balancers.iter().map(|it| it.watch())).await.into_iter().flatten().for_each(&mut tell);
        let is_settled = load_balancers.iter().all(|it| it.is_settled());
        Ok::<_, Infallible>(is_settled.then_some(()))
    })
    .await;
    let mut unsettled =
        load_balancers.iter().flat_map(|it| it.unsettled().into_iter().map(|id| (it.name(), id)));
    match (waited, unsettled.next()) {
        (Waited::Done(()), _) | (_, None) => Ok(()),
        (Waited::TimedOut | Waited::Stopped, Some((load_balancer, server))) => {
            Err(LateCommand { load_balancer, server })
        }
    }
}

/// Waits until `HAProxy` has answered for so long that no command whose connection has ended can still take effect.
/// Returns whether that happened within one minute more than it takes.
pub async fn wait_out_commands(load_balancer: &impl LoadBalancer) -> bool {
    let late_for = load_balancer.late_effect_window();
    let (never, mut late) = (CancellationToken::new(), Late::default());
    let Ok(waited) = until(LOOK_EVERY, late_for + AWAY, &never, async || {
        let answers = load_balancer.state(&[]).await.is_ok();
        let is_over = late.is_over(answers.then(Instant::now), late_for);
        Ok::<_, Infallible>(is_over.then_some(()))
    })
    .await;
    waited == Waited::Done(())
}

impl<L: LoadBalancer> LoadBalancer for Tracked<L> {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn late_effect_window(&self) -> Duration {
        self.inner.late_effect_window()
    }

    async fn full_state(&self, backends: &[String]) -> Result<LoadBalancerState, LoadBalancerError> {
        self.inner.full_state(backends).await
    }

    async fn state(&self, backends: &[String]) -> Result<LoadBalancerState, LoadBalancerError> {
        self.inner.state(backends).await
    }

    async fn set_admin_states(&self, states: &[(ServerId, AdminState)]) -> Result<(), LoadBalancerError> {
        let changes = states.iter().map(|(server, state)| (server.clone(), PendingChange::State(*state)));
        self.change(changes.collect(), self.inner.set_admin_states(states)).await
    }

    async fn set_unproven(&self, states: &[(ServerId, AdminState)]) -> Result<(), LoadBalancerError> {
        let changes = states.iter().map(|(server, state)| (server.clone(), PendingChange::Unproven(*state)));
        self.change(changes.collect(), self.inner.set_unproven(states)).await
    }

    async fn set_address(&self, server: &ServerId, address: SocketAddr) -> Result<(), LoadBalancerError> {
        let change = (server.clone(), PendingChange::Address(address));
        self.change(vec![change], self.inner.set_address(server, address)).await
    }

    async fn join_server(&self, server: &NewServer) -> Result<(), LoadBalancerError> {
        // It joins in maint.
        let change = (server.id.clone(), PendingChange::State(AdminState::Maint));
        self.change(vec![change], self.inner.join_server(server)).await
    }

    async fn set_weight(&self, server: &ServerId, weight: Weight) -> Result<(), LoadBalancerError> {
        let change = (server.clone(), PendingChange::Weight(weight));
        self.change(vec![change], self.inner.set_weight(server, weight)).await
    }

    async fn set_checking(
        &self,
        server: &ServerId,
        checker: Checker,
        on: bool,
    ) -> Result<(), LoadBalancerError> {
        let change = (server.clone(), PendingChange::Checking(checker, on));
        self.change(vec![change], self.inner.set_checking(server, checker, on)).await
    }

    // The following calls change nothing that lasts: the next check corrects a late one, or it repeats the current
    // state.

    async fn delete_server(&self, server: &ServerId) -> Result<bool, LoadBalancerError> {
        self.inner.delete_server(server).await
    }

    async fn set_healthy(&self, server: &ServerId) -> Result<(), LoadBalancerError> {
        self.inner.set_healthy(server).await
    }

    async fn sessions(&self, servers: &[ServerId]) -> Result<Vec<Session>, LoadBalancerError> {
        self.inner.sessions(servers).await
    }

    async fn end_session(&self, session: &Session) -> Result<(), LoadBalancerError> {
        self.inner.end_session(session).await
    }

    async fn wake_queue(&self, server: &ServerId, limit: u64) -> Result<(), LoadBalancerError> {
        self.inner.wake_queue(server, limit).await
    }
}
