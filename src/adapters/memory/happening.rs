//! What happens by itself, each at its time.

use std::collections::BTreeMap;

use super::engine::Called;
use super::{Millis, Site};
use crate::ids::{ContainerId, ServerId};
use crate::observation::AdminState;

/// Something that happens without anybody's call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A client sends a request to a backend, at the load balancer of that index.
    Request(usize, String),
    /// The client of a connection that was kept sends its next request, to the server that had the last one if it may have it.
    NextRequest(usize, ServerId),
    /// A request that was given to a server reaches it: the load balancer, the process, the session.
    Connect(usize, u32, u64),
    /// A session ends by itself.
    End(usize, u32, u64),
    /// A server's check is due: the load balancer, the process.
    Check(usize, u32, ServerId),
    /// A server's agent is asked: the load balancer, the process.
    AskAgent(usize, u32, ServerId),
    /// The agent answers.
    AgentAnswers(usize, u32, ServerId),
    /// A check that hung fails at last.
    LateCheck(usize, ServerId),
    /// A container ends by itself, if it was started at that time.
    ContainerEnds(String, Millis),
    /// A stop comes to its end, if the container was started at that time.
    Stopped(ContainerId, Millis),
    /// A supervisor starts a container that was stopped.
    SupervisorStarts(String),
    /// A load balancer is started.
    HaproxyStarts(usize),
    /// The engine starts what it had to stop.
    EngineStarts,
    /// A person sets a server's state everywhere.
    Person(ServerId, AdminState),
    /// A command that its caller has given up reaches the process: the load balancer, the process.
    LateCommand(usize, u32, Vec<(ServerId, AdminState)>),
    /// A call that its caller has given up is carried out by the engine.
    LateCall(Called),
}

/// What is to come.
#[derive(Default)]
pub(super) struct Calendar {
    /// Of those at one time the one that was entered first comes first.
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
    /// Lets everything happen that has been due since the last call.
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
