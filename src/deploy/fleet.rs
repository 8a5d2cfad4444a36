//! What a run knows of its load balancers.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::ServerId;
use crate::observation::LoadBalancerState;

/// The load balancers of a run, as its lanes have seen them.
#[derive(Default)]
pub(super) struct Fleet {
    /// The process of each load balancer, as lanes that go forward have seen it.
    processes: RefCell<BTreeMap<String, u32>>,
    /// The load balancers that answered the last time.
    answering: RefCell<BTreeSet<String>>,
    /// The load balancers that missed changes because they did not answer.
    stale: RefCell<BTreeSet<String>>,
    /// The processes that came by a reload which the run has reported.
    reported: RefCell<BTreeSet<(String, u32)>>,
    /// The servers that turned out to have an agent which may be on.
    agents: RefCell<BTreeSet<ServerId>>,
}

impl Fleet {
    /// Returns the fleet of a run that was planned for these processes.
    pub fn new(processes: BTreeMap<String, u32>) -> Self {
        Self {
            answering: RefCell::new(processes.keys().cloned().collect()),
            processes: RefCell::new(processes),
            ..Self::default()
        }
    }

    /// Returns the process of each load balancer, for a lane that starts.
    pub fn processes(&self) -> BTreeMap<String, u32> {
        self.processes.borrow().clone()
    }

    /// Notes the process that a lane which goes forward has seen.
    pub fn has_process(&self, name: &str, pid: u32) {
        self.processes.borrow_mut().insert(name.to_owned(), pid);
    }

    /// Returns whether a load balancer answered the last time.
    pub fn answered(&self, name: &str) -> bool {
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
