//! The calendar of events that happen without a call.

use std::collections::BTreeMap;

use super::engine::Called;
use super::{Millis, Site};
use crate::ids::{ContainerId, ServerId};
use crate::observation::AdminState;

/// An event that happens without a call. A `usize` is the index of the load balancer, a first `u32` the PID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A client sends a request to a backend.
    Request(usize, String),
    /// The client of a kept-alive connection sends its next request, to the same server if that is usable.
    NextRequest(usize, ServerId),
    /// A request reaches the server that it was given to, as this session.
    Connect(usize, u32, u64),
    /// A session ends.
    End(usize, u32, u64),
    /// A server's check is due.
    Check(usize, u32, ServerId),
    /// A server's agent is due to be asked.
    AskAgent(usize, u32, ServerId),
    AgentAnswers(usize, u32, ServerId),
    /// A check that hung finally fails.
    LateCheck(usize, ServerId),
    /// A container exits, if it was started at that time.
    ContainerEnds(String, Millis),
    /// A stop finishes, if the container was started at that time.
    Stopped(ContainerId, Millis),
    /// A supervisor starts a stopped container.
    SupervisorStarts(String),
    HaproxyStarts(usize),
    /// The engine starts the containers that it had to stop.
    EngineStarts,
    /// A person sets a server's state at every load balancer.
    Person(ServerId, AdminState),
    /// A command reaches the process after its caller has given up.
    LateCommand(usize, u32, Vec<(ServerId, AdminState)>),
    /// The engine executes a call after its caller has given up.
    LateCall(Called),
}

/// The scheduled events.
#[derive(Default)]
pub(super) struct Calendar {
    /// Events at the same time happen in the order in which they were scheduled.
    entries: BTreeMap<(Millis, u64), Happening>,
    count: u64,
}

impl Calendar {
    pub(super) fn enter(&mut self, at: Millis, what: Happening) {
        self.count += 1;
        self.entries.insert((at, self.count), what);
    }

    fn due(&mut self, now: Millis) -> Option<(Millis, Happening)> {
        let entry = self.entries.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, _), what) = entry.remove_entry();
        Some((at, what))
    }
}

impl Site {
    /// Processes all events that have been due since the last call.
    pub(super) fn catch_up(&mut self) {
        let now = Millis::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX);
        while let Some((at, what)) = self.calendar.due(now) {
            self.now = at;
            self.happen(what);
        }
        self.now = now;
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Request(balancer, backend) => self.request(balancer, &backend),
            Happening::NextRequest(balancer, server) => self.next_request(balancer, &server),
            Happening::Connect(balancer, pid, session) => self.connect(balancer, pid, session),
            Happening::End(balancer, pid, session) => self.end(balancer, pid, session),
            Happening::Check(balancer, pid, server) => self.check(balancer, pid, &server),
            Happening::AskAgent(balancer, pid, server) => self.ask_agent(balancer, pid, &server),
            Happening::AgentAnswers(balancer, pid, server) => self.agent_answers(balancer, pid, &server),
            Happening::LateCheck(balancer, server) => self.late_check(balancer, &server),
            Happening::ContainerEnds(id, started_at) => self.container_ends(&id, started_at),
            Happening::Stopped(id, started_at) => self.stop_ends(&id, started_at),
            Happening::SupervisorStarts(id) => self.supervisor_starts(&id),
            Happening::HaproxyStarts(balancer) => self.start_haproxy(balancer),
            Happening::EngineStarts => self.start_engine(),
            Happening::Person(server, state) => self.person_sets(&server, state),
            Happening::LateCommand(balancer, pid, states) => self.late_command(balancer, pid, states),
            Happening::LateCall(called) => self.late_call(&called),
        }
    }

    pub(super) fn later(&mut self, after: Millis, what: Happening) {
        self.calendar.enter(self.now + after, what);
    }
}
