//! HAProxy: its processes, their servers, and the effect of commands.

use std::collections::{BTreeMap, BTreeSet};

use super::clients::{Queued, SimulatedSession};
use super::server_line::ServerLine;
use super::{Effect, Millis, ScheduledEvent, SimulatedSite};
use crate::model::ids::ServerId;
use crate::observation::{AdminState, LoadBalancerState, OldServer, OldWorker, ServerState};

/// How long HAProxy takes to restart.
const RESTART: Millis = 1_500;

/// How often `HAProxy` queries an agent, and how long the agent takes to answer.
const AGENT_INTER: Millis = 150;
const AGENT_TAKES: Millis = 60;

/// A load balancer.
pub struct Haproxy {
    /// The address of its runtime socket.
    pub name: String,
    /// `show info`: `Version`. 2.2 has no stalled queues, and crashes on a command that looks into one.
    pub version: String,
    /// The process that answers; `None` during a restart.
    pub worker: Option<SimulatedWorker>,
    /// The processes that a reload has replaced and that still have sessions.
    pub old: Vec<SimulatedWorker>,
    /// Whether a master socket reports these old processes.
    pub has_master: bool,
    /// The server lines of a new process.
    configured: Vec<ServerLine>,
    next_pid: u32,
    is_begun: bool,
}

/// A process of a load balancer.
#[derive(Clone)]
pub struct SimulatedWorker {
    pub pid: u32,
    pub lines: Vec<ServerLine>,
    /// The sessions in progress.
    pub sessions: Vec<SimulatedSession>,
    /// The waiting requests.
    pub queue: Vec<Queued>,
    /// The backends whose queue has stalled, and since when.
    pub stalled: Vec<(String, Millis)>,
}

impl SimulatedWorker {
    /// Returns the line of a server.
    #[must_use]
    pub fn line(&self, id: &ServerId) -> Option<&ServerLine> {
        self.lines.iter().find(|line| line.id == *id)
    }

    pub(super) fn line_mut(&mut self, id: &ServerId) -> Option<&mut ServerLine> {
        self.lines.iter_mut().find(|line| line.id == *id)
    }

    /// Returns the sessions on a server that HAProxy counts.
    #[must_use]
    pub fn sessions_on(&self, id: &ServerId) -> u64 {
        let counted = self.sessions.iter().filter(|session| session.is_connected && session.server == *id);
        counted.count() as u64
    }

    /// Returns the servers that get the backend's balanced requests.
    #[must_use]
    pub fn usable_servers(&self, backend: &str) -> Vec<&ServerLine> {
        let usable = |backup: bool| {
            let of_backend = self.lines.iter().filter(|line| line.id.backend == backend);
            of_backend.filter(|line| line.is_usable() && line.backup == backup).collect::<Vec<_>>()
        };
        let mut takers = usable(false);
        if takers.is_empty() {
            takers = usable(true);
            if takers.iter().any(|line| !line.all_backups) {
                takers.truncate(1);
            }
        }
        takers
    }
}

impl Haproxy {
    pub(super) fn new(index: usize, lines: Vec<ServerLine>) -> Self {
        let mut new = Self {
            name: format!("/run/haproxy{index}.sock"),
            version: "3.0.11".to_owned(),
            worker: None,
            old: Vec::new(),
            has_master: true,
            configured: lines,
            next_pid: 1000 * (u32::try_from(index).unwrap_or(0) + 1),
            is_begun: false,
        };
        new.worker = Some(new.fresh());
        new
    }

    fn fresh(&mut self) -> SimulatedWorker {
        self.next_pid += 1;
        let (mut lines, pid) = (self.configured.clone(), self.next_pid);
        // The first process has run for a long time.
        lines.iter_mut().filter(|_| self.is_begun).for_each(|line| line.passed = None);
        self.is_begun = true;
        SimulatedWorker { pid, lines, sessions: Vec::new(), queue: Vec::new(), stalled: Vec::new() }
    }

    /// Returns all processes.
    pub fn workers(&self) -> impl Iterator<Item = &SimulatedWorker> {
        self.worker.iter().chain(&self.old)
    }

    pub(super) fn process(&mut self, pid: u32) -> Option<&mut SimulatedWorker> {
        self.worker.iter_mut().chain(&mut self.old).find(|worker| worker.pid == pid)
    }

    pub(super) fn state(
        &self,
        now: Millis,
        backends: &[String],
        with_old: bool,
    ) -> Option<LoadBalancerState> {
        let worker = self.worker.as_ref()?;
        let is_meant = |id: &ServerId| backends.is_empty() || backends.contains(&id.backend);
        let server = |line: &ServerLine| ServerState {
            id: line.id.clone(),
            address: Some(line.address),
            admin: line.admin,
            operational: line.operational(now),
            status: line.status().to_owned(),
            check: line.last_check().to_owned(),
            weight: line.weight,
            initial_weight: line.written_weight,
            settings: None,
            checks: line.checks(),
            sessions: worker.sessions_on(&line.id),
            sessions_total: line.total,
            limit: line.limit,
        };
        let servers = worker.lines.iter().filter(|line| is_meant(&line.id)).map(server).collect();
        let mut queued: BTreeMap<String, u64> = BTreeMap::new();
        for waiting in &worker.queue {
            *queued.entry(waiting.backend.clone()).or_default() += 1;
        }
        let old_workers = (with_old && self.has_master).then(|| self.old.iter().map(old_worker).collect());
        let (name, version) = (self.name.clone(), self.version.clone());
        let (pid, unpublished) = (worker.pid, BTreeSet::new());
        Some(LoadBalancerState { name, version, pid, servers, queued, unpublished, old_workers })
    }
}

fn old_worker(worker: &SimulatedWorker) -> OldWorker {
    let held = |line: &ServerLine| OldServer {
        id: line.id.clone(),
        address: Some(line.address),
        sessions: worker.sessions_on(&line.id),
    };
    let servers = worker.lines.iter().map(held).filter(|server| server.sessions > 0).collect();
    OldWorker { pid: worker.pid, servers }
}

impl SimulatedSite {
    /// Replaces the process by one with the initial server states; the old one keeps its sessions.
    pub fn reload(&mut self, balancer: usize) {
        let haproxy = &mut self.haproxies[balancer];
        let Some(mut old) = haproxy.worker.take() else { return };
        let mut new = haproxy.fresh();
        // Only the old process would connect its queued requests; here their clients simply send them again.
        new.queue = std::mem::take(&mut old.queue);
        let pid = new.pid;
        haproxy.worker = Some(new);
        haproxy.old.push(old);
        haproxy.old.retain(|worker| !worker.sessions.is_empty());
        self.external_change_at = Some(self.now);
        self.log(|| format!("HAProxy {balancer} is reloaded: process {pid}"));
        self.begin_checks(balancer);
        self.dequeue(balancer);
    }

    /// Ends all processes. HAProxy starts again after a while.
    pub(super) fn end_haproxy(&mut self, balancer: usize) {
        let haproxy = &mut self.haproxies[balancer];
        haproxy.worker = None;
        haproxy.old.clear();
        self.log(|| format!("HAProxy {balancer} ends"));
        self.schedule(RESTART, ScheduledEvent::HaproxyStarts(balancer));
    }

    pub(super) fn start_haproxy(&mut self, balancer: usize) {
        let haproxy = &mut self.haproxies[balancer];
        if haproxy.worker.is_none() {
            haproxy.worker = Some(haproxy.fresh());
            self.external_change_at = Some(self.now);
            self.log(|| format!("HAProxy {balancer} starts"));
            self.begin_checks(balancer);
        }
    }

    pub(super) fn begin_checks(&mut self, balancer: usize) {
        let Some(worker) = &self.haproxies[balancer].worker else { return };
        let pid = worker.pid;
        let checked = worker.lines.iter().filter_map(|line| Some((line.id.clone(), line.check?.inter)));
        let with_agent = worker.lines.iter().filter(|line| line.agent.is_some()).map(|line| line.id.clone());
        let with_agent: Vec<ServerId> = with_agent.collect();
        for (server, inter) in checked.collect::<Vec<_>>() {
            let first = 1 + self.rng.u64(..inter);
            self.schedule(first, ScheduledEvent::Check(balancer, pid, server));
        }
        for server in with_agent {
            let first = 1 + self.rng.u64(..AGENT_INTER);
            self.schedule(first, ScheduledEvent::AskAgent(balancer, pid, server));
        }
    }

    /// Begins the checks of a server that was added at runtime.
    pub(super) fn begin_check(&mut self, balancer: usize, server: &ServerId) {
        let Some(worker) = &self.haproxies[balancer].worker else { return };
        let (pid, check) = (worker.pid, worker.line(server).and_then(|line| line.check));
        if let Some(check) = check {
            let first = 1 + self.rng.u64(..check.inter);
            self.schedule(first, ScheduledEvent::Check(balancer, pid, server.clone()));
        }
    }

    pub(super) fn ask_agent(&mut self, balancer: usize, pid: u32, server: &ServerId) {
        let Some(agent) = self.line(balancer, pid, server).and_then(|line| line.agent.as_mut()) else {
            return;
        };
        if agent.is_on {
            agent.is_asked = true;
            self.schedule(AGENT_TAKES, ScheduledEvent::AgentAnswers(balancer, pid, server.clone()));
        }
        self.schedule(AGENT_INTER, ScheduledEvent::AskAgent(balancer, pid, server.clone()));
    }

    /// Applies an agent's answer, even if the agent was turned off in between.
    pub(super) fn agent_answers(&mut self, balancer: usize, pid: u32, server: &ServerId) {
        let Some(line) = self.line(balancer, pid, server) else { return };
        let Some(agent) = &mut line.agent else { return };
        agent.is_asked = false;
        let says = agent.says;
        if line.admin.state() != says {
            self.log(|| format!("the agent of {server} says {says}"));
            self.set_state(balancer, server, says);
        }
    }

    pub(super) fn check(&mut self, balancer: usize, pid: u32, server: &ServerId) {
        let Some(address) = self.line(balancer, pid, server).map(|line| line.address) else { return };
        let passes = self.answers(address);
        let Some(line) = self.line(balancer, pid, server) else { return };
        let Some(check) = line.check else { return };
        if line.checking && line.admin.state() == AdminState::Maint && line.is_new {
            // Its first maintenance is the only one in which a server is checked.
            line.passed = Some(passes);
        } else if line.checking && line.admin.state() != AdminState::Maint {
            let full = check.rise + check.fall - 1;
            line.passed = Some(passes);
            match (passes, line.up) {
                (true, true) => line.health = full,
                (true, false) => {
                    line.health += 1;
                    if line.health >= check.rise {
                        (line.up, line.health) = (true, full);
                    }
                }
                (false, _) => {
                    line.health = line.health.saturating_sub(1);
                    if line.health < check.rise {
                        (line.up, line.health) = (false, 0);
                    }
                }
            }
        }
        // Without clients it does not matter how soon a check notices a change.
        let inter = if self.clients.is_closed { 10 * check.inter } else { check.inter };
        self.schedule(inter, ScheduledEvent::Check(balancer, pid, server.clone()));
        self.dequeue(balancer);
    }

    /// Fails a check that started before the server's container was replaced, and hung until now.
    pub(super) fn late_check(&mut self, balancer: usize, server: &ServerId) {
        self.log(|| format!("a hanging check of {server} fails"));
        let worker = self.haproxies[balancer].worker.as_mut();
        let line = worker.and_then(|worker| worker.line_mut(server));
        if let Some(line) =
            line.filter(|line| line.check.is_some() && line.admin.state() != AdminState::Maint)
        {
            (line.up, line.health, line.passed) = (false, 0, Some(false));
        }
    }

    fn line(&mut self, balancer: usize, pid: u32, server: &ServerId) -> Option<&mut ServerLine> {
        let worker = self.haproxies[balancer].worker.as_mut().filter(|worker| worker.pid == pid)?;
        worker.line_mut(server)
    }

    /// Applies a late command. It is lost if a new process has replaced the one that it was sent to.
    pub(super) fn late_command(&mut self, balancer: usize, pid: u32, states: Vec<(ServerId, AdminState)>) {
        for (server, state) in states {
            if self.line(balancer, pid, &server).is_some() {
                self.set_state(balancer, &server, state);
                self.effect(&Effect::SetLate(balancer, server, state));
            }
        }
    }

    /// Makes a person set a server's state at every load balancer.
    pub(super) fn person_sets(&mut self, server: &ServerId, state: AdminState) {
        self.external_change_at = Some(self.now);
        self.log(|| format!("a person sets {server} to {state}"));
        for balancer in 0..self.haproxies.len() {
            self.set_state(balancer, server, state);
        }
    }

    /// Like [`SimulatedSite::set_state`], but the server stays down until its check passes.
    pub(super) fn set_unproven(&mut self, balancer: usize, server: &ServerId, state: AdminState) -> bool {
        if !self.set_state(balancer, server, AdminState::Drain) {
            return false;
        }
        if let Some(line) =
            self.haproxies[balancer].worker.as_mut().and_then(|worker| worker.line_mut(server))
        {
            (line.up, line.health, line.up_since) = (false, 0, None);
        }
        self.set_state(balancer, server, state)
    }

    /// Sets a server's state. Returns whether the server exists.
    pub(super) fn set_state(&mut self, balancer: usize, server: &ServerId, state: AdminState) -> bool {
        let now = self.now;
        let haproxy = &mut self.haproxies[balancer];
        let can_stall = !haproxy.version.starts_with("2.2");
        let Some(worker) = &mut haproxy.worker else { return false };
        let had_primaries = worker.usable_servers(&server.backend).iter().any(|line| !line.backup);
        let Some(line) = worker.line_mut(server) else { return false };
        line.set(state, now);
        let takers = worker.usable_servers(&server.backend);
        let only_backups = !takers.is_empty() && takers.iter().all(|line| line.backup);
        let waits = worker.queue.iter().any(|queued| queued.backend == server.backend);
        if can_stall && had_primaries && only_backups && waits {
            worker.stalled.push((server.backend.clone(), now));
        }
        self.dequeue(balancer);
        true
    }
}
