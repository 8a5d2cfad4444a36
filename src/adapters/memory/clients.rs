//! Clients: requests all the time, some long, some tied to a server, and their results.

use std::net::SocketAddr;

use super::engine::EndedBy;
use super::haproxy::SimulatedWorker;
use super::server_line::ServerLine;
use super::{Effect, Millis, ScheduledEvent, SimulatedSite};
use crate::model::ids::ServerId;
use crate::observation::AdminState;

/// `timeout queue`.
const QUEUE_LIMIT: Millis = 4_000;

/// The longest time between the choice of a server for a request and the moment when that server counts it.
const CONNECT: Millis = 12;

/// The behaviour of the clients.
#[derive(Default)]
pub(super) struct Clients {
    /// The mean time between two requests to a backend; 0 for none.
    every: Millis,
    /// Whether they keep connections open and stay on a server (`option prefer-last-server`).
    keep_alive: bool,
    /// Whether clients have stopped sending requests.
    pub(super) is_closed: bool,
    count: u64,
}

/// A session on a server.
#[derive(Clone, Debug)]
pub struct SimulatedSession {
    pub id: u64,
    pub server: ServerId,
    pub address: SocketAddr,
    /// Whether the session has reached the server, and counts.
    pub is_connected: bool,
    /// How long it takes from then on.
    pub takes: Millis,
    pub is_tunnel: bool,
}

/// A request that waits for a server.
#[derive(Clone, Debug)]
pub struct Queued {
    pub backend: String,
    /// When it times out.
    pub until: Millis,
}

/// How a client lost its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// No server of the backend was usable.
    NoServer(String),
    /// No process answered behind its server.
    NoAnswer(ServerId),
    /// A process other than its server's container answered.
    WrongAnswer(ServerId),
    /// It timed out in the queue.
    WaitedInVain(String),
    /// Its container was stopped before the request was complete.
    Cut(ServerId, EndedBy),
}

impl SimulatedSite {
    /// Starts the clients and the checks.
    pub(super) fn open(&mut self) {
        self.clients.every = 20;
        for balancer in 0..self.haproxies.len() {
            let Some(worker) = &self.haproxies[balancer].worker else { continue };
            let mut backends: Vec<String> = worker.lines.iter().map(|line| line.id.backend.clone()).collect();
            backends.dedup();
            for backend in backends {
                self.schedule(1, ScheduledEvent::Request(balancer, backend));
            }
            self.begin_checks(balancer);
        }
    }

    /// Sets the mean time between two requests, in milliseconds.
    pub fn requests_every(&mut self, every: Millis) {
        self.clients.every = every.max(1);
    }

    /// Stops all clients.
    pub fn close(&mut self) {
        self.clients.is_closed = true;
    }

    /// Makes clients keep their connections open.
    pub fn keep_alive(&mut self) {
        self.clients.keep_alive = true;
    }

    pub(super) fn request(&mut self, balancer: usize, backend: &str) {
        if self.clients.is_closed {
            return;
        }
        let every = self.clients.every;
        let pause = 1 + self.rng.u64(..2 * every);
        self.schedule(pause, ScheduledEvent::Request(balancer, backend.to_owned()));
        // While HAProxy is down there is no server to choose, and drainswap is not to blame.
        let Some(worker) = &mut self.haproxies[balancer].worker else { return };
        let tied: Vec<&ServerLine> =
            worker.lines.iter().filter(|it| it.ties && it.id.backend == backend).collect();
        // Drain still accepts clients that are tied to a server; maintenance does not.
        let chosen = (!tied.is_empty() && self.rng.u8(..4) == 0)
            .then(|| tied[self.rng.usize(..tied.len())])
            .filter(|line| line.up && line.admin.state() != AdminState::Maint)
            .map(|line| (line.id.clone(), line.address));
        match chosen {
            Some((server, address)) => self.give(balancer, server, address),
            None => self.balance(balancer, backend),
        }
    }

    /// Sends the next request on a kept-alive connection. A server in drain or maintenance loses such a client here.
    pub(super) fn next_request(&mut self, balancer: usize, server: &ServerId) {
        if self.clients.is_closed {
            return;
        }
        let Some(worker) = &self.haproxies[balancer].worker else { return };
        match worker.line(server).filter(|line| line.is_usable() && worker.has_room(line)) {
            Some(line) => self.give(balancer, server.clone(), line.address),
            None => self.balance(balancer, &server.backend),
        }
    }

    fn balance(&mut self, balancer: usize, backend: &str) {
        let until = self.now + QUEUE_LIMIT;
        let Some(worker) = &mut self.haproxies[balancer].worker else { return };
        if worker.usable_servers(backend).is_empty() {
            return self.lose(Loss::NoServer(backend.to_owned()));
        }
        worker.queue.push(Queued { backend: backend.to_owned(), until });
        self.dequeue(balancer);
    }

    /// Gives waiting requests to servers with free capacity, and times out old requests.
    pub(super) fn dequeue(&mut self, balancer: usize) {
        let now = self.now;
        loop {
            let Some(worker) = &mut self.haproxies[balancer].worker else { return };
            if let Some(at) = worker.queue.iter().position(|queued| queued.until <= now) {
                let queued = worker.queue.remove(at);
                self.lose(Loss::WaitedInVain(queued.backend));
                continue;
            }
            let held = worker.held();
            let gone_on = worker.unstall(|backend| held.iter().all(|it| it != backend));
            self.stood_still(gone_on);
            let Some(worker) = &mut self.haproxies[balancer].worker else { return };
            let free = worker.queue.iter().enumerate().find_map(|(at, queued)| {
                if worker.stalled.iter().any(|(backend, _)| *backend == queued.backend) {
                    return None;
                }
                let room = worker.usable_servers(&queued.backend);
                let room: Vec<&ServerLine> = room.into_iter().filter(|line| worker.has_room(line)).collect();
                (!room.is_empty()).then_some((at, room))
            });
            let Some((at, room)) = free else { return };
            let line = room[self.rng.usize(..room.len())];
            let (server, address) = (line.id.clone(), line.address);
            worker.queue.remove(at);
            self.give(balancer, server, address);
        }
    }

    pub(super) fn stood_still(&mut self, since: Vec<Millis>) {
        for since in since {
            self.longest_stall = self.longest_stall.max(self.now - since);
        }
    }

    fn give(&mut self, balancer: usize, server: ServerId, address: SocketAddr) {
        self.clients.count += 1;
        let id = self.clients.count;
        let is_tunnel = self.rng.u8(..30) == 0;
        let takes = if is_tunnel { 200 + self.rng.u64(..300) } else { 3 + self.rng.u64(..50) };
        let Some(worker) = &mut self.haproxies[balancer].worker else { return };
        worker.sessions.push(SimulatedSession { id, server, address, is_connected: false, takes, is_tunnel });
        let pid = worker.pid;
        // HAProxy counts a balanced request only once it is connected, which mostly happens at once.
        let after = if self.rng.u8(..4) == 0 { self.rng.u64(..CONNECT) } else { 0 };
        self.schedule(after, ScheduledEvent::Connect(balancer, pid, id));
    }

    pub(super) fn connect(&mut self, balancer: usize, pid: u32, id: u64) {
        let Some(worker) = self.haproxies[balancer].process(pid) else { return };
        let Some(session) = worker.sessions.iter().find(|session| session.id == id).cloned() else { return };
        if let Some(line) = worker.line_mut(&session.server) {
            line.total += 1;
        }
        if self.serves(session.address) {
            let worker = self.haproxies[balancer].process(pid);
            let found = worker.and_then(|it| it.sessions.iter_mut().find(|session| session.id == id));
            if let Some(session) = found {
                session.is_connected = true;
            }
            self.schedule(session.takes, ScheduledEvent::End(balancer, pid, id));
        } else {
            self.drop_session(balancer, pid, id);
            let is_answered = self.answers(session.address);
            let loss = if is_answered { Loss::WrongAnswer } else { Loss::NoAnswer };
            self.lose(loss(session.server));
        }
    }

    /// Ends a session, which may let queued requests continue.
    pub(super) fn end(&mut self, balancer: usize, pid: u32, id: u64) {
        // An old worker closes a connection with its last answer, and some clients have no more requests.
        let goes_on = self.clients.keep_alive && !id.is_multiple_of(3);
        let worker = self.haproxies[balancer].worker.as_ref().filter(|worker| goes_on && worker.pid == pid);
        let ends = worker.and_then(|it| it.sessions.iter().find(|session| session.id == id));
        if let Some(server) = ends.filter(|it| !it.is_tunnel).map(|session| session.server.clone()) {
            self.schedule(1 + id % 5, ScheduledEvent::NextRequest(balancer, server));
        }
        self.drop_session(balancer, pid, id);
        self.dequeue(balancer);
    }

    fn drop_session(&mut self, balancer: usize, pid: u32, id: u64) {
        let haproxy = &mut self.haproxies[balancer];
        if let Some(worker) = haproxy.process(pid) {
            worker.sessions.retain(|session| session.id != id);
        }
        haproxy.old.retain(|worker| !worker.sessions.is_empty());
    }

    /// Cuts every session to an address, and returns their number.
    pub(super) fn cut(&mut self, address: SocketAddr, by: EndedBy) -> usize {
        let mut lost = Vec::new();
        for haproxy in &mut self.haproxies {
            for worker in haproxy.worker.iter_mut().chain(&mut haproxy.old) {
                let (cut, left) = std::mem::take(&mut worker.sessions)
                    .into_iter()
                    .partition(|it| it.is_connected && it.address == address);
                worker.sessions = left;
                lost.extend(Vec::into_iter(cut).map(|session: SimulatedSession| session.server));
            }
            haproxy.old.retain(|worker| !worker.sessions.is_empty());
        }
        let count = lost.len();
        for server in lost {
            self.lose(Loss::Cut(server, by));
        }
        count
    }

    fn lose(&mut self, loss: Loss) {
        self.effect(&Effect::Lost(loss));
    }
}

impl SimulatedWorker {
    fn has_room(&self, line: &ServerLine) -> bool {
        let taken = self.sessions.iter().filter(|session| session.server == line.id).count() as u64;
        line.limit.is_none_or(|limit| taken < limit)
    }

    /// Ends the stall of the matching queues, and returns since when each one stalled.
    pub(super) fn unstall(&mut self, is_meant: impl Fn(&str) -> bool) -> Vec<Millis> {
        let (gone_on, left) = std::mem::take(&mut self.stalled).into_iter().partition(|(it, _)| is_meant(it));
        self.stalled = left;
        Vec::into_iter(gone_on).map(|(_, since): (String, Millis)| since).collect()
    }

    /// Returns the backends that have a stream on a server out of use. A queue of such a backend may stall until the
    /// stream ends.
    fn held(&self) -> Vec<String> {
        let out = self.lines.iter().filter(|line| !line.is_usable());
        let held = out.filter(|line| self.sessions.iter().any(|session| session.server == line.id));
        held.map(|line| line.id.backend.clone()).collect()
    }
}
