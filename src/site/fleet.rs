//! The load balancers of a site as one: every one of them gets the same calls, and a reload of one is noticed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::late::Tracked;
use super::wait::{OUTAGE, retry};
use crate::model::ids::ServerId;
use crate::observation::LoadBalancerState;
use crate::ports::{LoadBalancer, LoadBalancerError};

/// How often a load balancer that is restarting is tried again.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// How long a load balancer that was silent the last time may take to answer.
const BRIEFLY: Duration = Duration::from_millis(250);

/// All load balancers, and what is known of each.
pub struct Fleet<'a, L> {
    load_balancers: &'a [Tracked<L>],
    /// The process of each load balancer, as lanes that go forward have seen it.
    processes: RefCell<BTreeMap<String, u32>>,
    /// The load balancers that answered the last time.
    answering: RefCell<BTreeSet<String>>,
    /// The load balancers that missed changes because they did not answer.
    stale: RefCell<BTreeSet<String>>,
    /// The processes that came by a reload which was reported.
    reported: RefCell<BTreeSet<(String, u32)>>,
    /// The servers that turned out to have an agent which may be on.
    agents: RefCell<BTreeSet<ServerId>>,
}

/// How the process that answers at a load balancer differs from the one that was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessChange {
    /// It is the same.
    None,
    /// No process was known: the load balancer is new, or missed changes while it was away.
    Appeared,
    /// `HAProxy` was reloaded or restarted, and forgot what was set. What the old process still holds is visible.
    Reloaded { was: u32 },
    /// The same, but the sessions of the old process cannot be counted.
    ReloadedUnseen { was: u32 },
}

impl ProcessChange {
    /// Compares the process that answered with the known one.
    #[must_use]
    pub fn of(known: Option<u32>, seen: &LoadBalancerState) -> Self {
        match known {
            None => Self::Appeared,
            Some(was) if was == seen.pid => Self::None,
            Some(was) if seen.old_workers.is_none() => Self::ReloadedUnseen { was },
            Some(was) => Self::Reloaded { was },
        }
    }
}

impl<'a, L: LoadBalancer> Fleet<'a, L> {
    /// Returns the fleet whose load balancers have these processes.
    #[must_use]
    pub fn new(load_balancers: &'a [Tracked<L>], processes: BTreeMap<String, u32>) -> Self {
        Self {
            load_balancers,
            answering: RefCell::new(processes.keys().cloned().collect()),
            processes: RefCell::new(processes),
            stale: RefCell::default(),
            reported: RefCell::default(),
            agents: RefCell::default(),
        }
    }

    /// Calls all load balancers at once, and returns the result of each. Waits for one that is restarting, but not for
    /// one that was silent the last time, so that it does not delay the others. Looks at `backends` to see whether
    /// that one is back.
    pub async fn call_all<T>(
        &self,
        backends: &[String],
        call: impl AsyncFn(&'a Tracked<L>) -> Result<T, LoadBalancerError>,
    ) -> Vec<Result<T, LoadBalancerError>> {
        let calls = self
            .load_balancers
            .iter()
            .map(|it| self.with_restart_grace(it, backends, async || call(it).await));
        join_all(calls).await
    }

    async fn with_restart_grace<T>(
        &self,
        load_balancer: &Tracked<L>,
        backends: &[String],
        mut call: impl AsyncFnMut() -> Result<T, LoadBalancerError>,
    ) -> Result<T, LoadBalancerError> {
        let name = load_balancer.name();
        let result = if self.answered(&name) {
            retry(TRY_EVERY, OUTAGE, LoadBalancerError::is_silence, call).await
        } else {
            let reason = "it did not answer before and still does not".to_owned();
            let silence = || LoadBalancerError::Unreachable { socket: name, reason };
            let look = timeout(BRIEFLY, load_balancer.state(backends));
            // Only a query may be cut off: a change may still take effect after its caller stopped waiting.
            match look.await.unwrap_or_else(|_| Err(silence())) {
                Ok(_) => call().await,
                Err(error) => Err(error),
            }
        };
        result.map_err(|error| error.at(load_balancer.name(), self.load_balancers.len()))
    }

    /// Returns the process of each load balancer, for a lane that starts.
    #[must_use]
    pub fn processes(&self) -> BTreeMap<String, u32> {
        self.processes.borrow().clone()
    }

    /// Notes the process that a lane which goes forward has seen.
    pub fn has_process(&self, name: &str, pid: u32) {
        self.processes.borrow_mut().insert(name.to_owned(), pid);
    }

    /// Returns how the process that answers at a load balancer differs from the one that was noted.
    #[must_use]
    pub fn process_change(&self, seen: &LoadBalancerState) -> ProcessChange {
        ProcessChange::of(self.processes.borrow().get(&seen.name).copied(), seen)
    }

    /// Returns whether a load balancer answered the last time.
    fn answered(&self, name: &str) -> bool {
        self.answering.borrow().contains(name)
    }

    /// Notes that a load balancer answers.
    pub fn answers(&self, name: &str) {
        self.answering.borrow_mut().insert(name.to_owned());
    }

    /// Notes that a load balancer missed a change. Returns whether that is news.
    pub fn mark_stale(&self, name: &str) -> bool {
        self.processes.borrow_mut().remove(name);
        let answered = self.answering.borrow_mut().remove(name);
        self.stale.borrow_mut().insert(name.to_owned()) || answered
    }

    /// Returns whether a load balancer missed changes.
    pub fn is_stale(&self, name: &str) -> bool {
        self.stale.borrow().contains(name)
    }

    /// Notes that a load balancer has every change again. Returns whether it had missed any.
    pub fn is_resynced(&self, name: &str) -> bool {
        self.stale.borrow_mut().remove(name)
    }

    /// Returns the load balancers that missed changes.
    pub fn stale(&self) -> BTreeSet<String> {
        self.stale.borrow().clone()
    }

    /// Returns whether any load balancer in a state is stale.
    pub fn is_any_stale(&self, seen: &[LoadBalancerState]) -> bool {
        seen.iter().any(|seen| self.is_stale(&seen.name))
    }

    /// Notes that a reload was reported. Returns whether that is the first report.
    pub fn reports_reload(&self, name: &str, pid: u32) -> bool {
        self.reported.borrow_mut().insert((name.to_owned(), pid))
    }

    /// Notes servers that have an agent which may be on.
    pub fn have_agents(&self, servers: impl IntoIterator<Item = ServerId>) {
        self.agents.borrow_mut().extend(servers);
    }

    /// Returns whether a server turned out to have an agent.
    pub fn has_agent(&self, server: &ServerId) -> bool {
        self.agents.borrow().contains(server)
    }
}
