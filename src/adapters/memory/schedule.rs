//! The calendar of events that happen without a call.

use std::collections::BTreeMap;

use super::engine_api::EngineRequest;
use super::{Millis, SimulatedSite};
use crate::model::ids::{ContainerId, ServerId};
use crate::observation::AdminState;

/// An event that happens without a call. A `usize` is the index of the load balancer, a first `u32` the PID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduledEvent {
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
    LateCall(EngineRequest),
}

/// The scheduled events.
#[derive(Default)]
pub(super) struct Schedule {
    /// Events at the same time happen in the order in which they were scheduled.
    entries: BTreeMap<(Millis, u64), ScheduledEvent>,
    count: u64,
}

impl Schedule {
    pub(super) fn enter(&mut self, at: Millis, what: ScheduledEvent) {
        self.count += 1;
        self.entries.insert((at, self.count), what);
    }

    fn due(&mut self, now: Millis) -> Option<(Millis, ScheduledEvent)> {
        let entry = self.entries.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, _), what) = entry.remove_entry();
        Some((at, what))
    }
}

impl SimulatedSite {
    /// Processes all events that have been due since the last call.
    pub(super) fn run_due_events(&mut self) {
        let now = Millis::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX);
        while let Some((at, what)) = self.calendar.due(now) {
            self.now = at;
            self.run_event(what);
        }
        self.now = now;
    }

    fn run_event(&mut self, what: ScheduledEvent) {
        match what {
            ScheduledEvent::Request(balancer, backend) => self.request(balancer, &backend),
            ScheduledEvent::NextRequest(balancer, server) => self.next_request(balancer, &server),
            ScheduledEvent::Connect(balancer, pid, session) => self.connect(balancer, pid, session),
            ScheduledEvent::End(balancer, pid, session) => self.end(balancer, pid, session),
            ScheduledEvent::Check(balancer, pid, server) => self.check(balancer, pid, &server),
            ScheduledEvent::AskAgent(balancer, pid, server) => self.ask_agent(balancer, pid, &server),
            ScheduledEvent::AgentAnswers(balancer, pid, server) => self.agent_answers(balancer, pid, &server),
            ScheduledEvent::LateCheck(balancer, server) => self.late_check(balancer, &server),
            ScheduledEvent::ContainerEnds(id, started_at) => self.container_ends(&id, started_at),
            ScheduledEvent::Stopped(id, started_at) => self.stop_ends(&id, started_at),
            ScheduledEvent::SupervisorStarts(id) => self.supervisor_starts(&id),
            ScheduledEvent::HaproxyStarts(balancer) => self.start_haproxy(balancer),
            ScheduledEvent::EngineStarts => self.start_engine(),
            ScheduledEvent::Person(server, state) => self.person_sets(&server, state),
            ScheduledEvent::LateCommand(balancer, pid, states) => self.late_command(balancer, pid, states),
            ScheduledEvent::LateCall(called) => self.late_call(&called),
        }
    }

    pub(super) fn schedule(&mut self, after: Millis, what: ScheduledEvent) {
        self.calendar.enter(self.now + after, what);
    }
}
