//! The runtime API of a load balancer in memory.

use std::net::SocketAddr;
use std::time::Duration;

use super::call::Part;
use super::clients::SimulatedSession;
use super::server_line::ServerLine;
use super::{Effect, Memory, Millis, ScheduledEvent, SimulatedSite};
use crate::model::ids::ServerId;
use crate::model::new_server::NewServer;
use crate::model::weight::Weight;
use crate::observation::{AdminState, Checker, LoadBalancerState, SessionKind};
use crate::ports::{LoadBalancer, LoadBalancerError};

/// `stats timeout`.
const LATE_FOR: Millis = 10_000;

fn refused(command: impl Into<String>, reply: &str) -> LoadBalancerError {
    LoadBalancerError::Refused { command: command.into(), reply: reply.to_owned() }
}

/// The runtime API of a load balancer in memory.
pub struct MemoryHaproxy {
    memory: Memory,
    index: usize,
    name: String,
}

impl MemoryHaproxy {
    pub(super) fn new(memory: Memory, index: usize, name: String) -> Self {
        Self { memory, index, name }
    }

    async fn ask<T: Send>(
        &self,
        what: &'static str,
        effect: impl FnOnce(&mut SimulatedSite) -> Result<T, LoadBalancerError> + Send,
    ) -> Result<T, LoadBalancerError> {
        self.ask_or_late(what, None, effect).await
    }

    /// Like [`Self::ask`], for a call that may take effect late.
    async fn ask_or_late<T: Send>(
        &self,
        what: &'static str,
        late: Option<ScheduledEvent>,
        effect: impl FnOnce(&mut SimulatedSite) -> Result<T, LoadBalancerError> + Send,
    ) -> Result<T, LoadBalancerError> {
        let (index, socket) = (self.index, self.name.clone());
        let ask = |site: &mut SimulatedSite| {
            if site.haproxies[index].worker.is_none() {
                return Err(LoadBalancerError::Unreachable {
                    socket,
                    reason: "connection refused".to_owned(),
                });
            }
            effect(site)
        };
        self.memory.call_or_late(Part::LoadBalancer(self.index), what, late, ask).await
    }

    /// Sets servers with one line. A refusal does not stop the others from being set.
    async fn set_all(
        &self,
        what: &'static str,
        late: Option<ScheduledEvent>,
        states: &[(ServerId, AdminState)],
        set: impl Fn(&mut SimulatedSite, usize, &ServerId, AdminState) -> bool + Send + Sync,
    ) -> Result<(), LoadBalancerError> {
        let Some((last, _)) = states.last() else { return Ok(()) };
        let set = |site: &mut SimulatedSite| {
            site.subject = last.clone();
            let mut refusals = Vec::new();
            for (server, state) in states {
                if set(site, self.index, server, *state) {
                    site.effect(&Effect::Set(self.index, server.clone(), *state));
                } else {
                    refusals.push(refused(format!("set server {server} state {state}"), "No such server."));
                }
            }
            refusals.into_iter().next().map_or(Ok(()), Err)
        };
        self.ask_or_late(what, late, set).await
    }

    async fn seen(
        &self,
        backends: &[String],
        with_old: bool,
    ) -> Result<LoadBalancerState, LoadBalancerError> {
        let look = |site: &mut SimulatedSite| {
            let state = site.haproxies[self.index].state(site.now, backends, with_old);
            state.ok_or_else(|| refused("show info", "no process"))
        };
        let state = self.ask(if with_old { "look" } else { "glance" }, look).await?;
        for backend in backends {
            if state.servers.iter().all(|server| server.id.backend != *backend) {
                let reply = "No such proxy.".to_owned();
                return Err(LoadBalancerError::NoSuchBackend { backend: backend.clone(), reply });
            }
        }
        Ok(state)
    }
}

impl LoadBalancer for MemoryHaproxy {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn late_effect_window(&self) -> Duration {
        Duration::from_millis(LATE_FOR)
    }

    async fn full_state(&self, backends: &[String]) -> Result<LoadBalancerState, LoadBalancerError> {
        self.seen(backends, true).await
    }

    async fn state(&self, backends: &[String]) -> Result<LoadBalancerState, LoadBalancerError> {
        self.seen(backends, false).await
    }

    async fn set_admin_states(&self, states: &[(ServerId, AdminState)]) -> Result<(), LoadBalancerError> {
        let pid = self.memory.site().haproxies[self.index].worker.as_ref().map(|worker| worker.pid);
        let late = pid.map(|pid| ScheduledEvent::LateCommand(self.index, pid, states.to_vec()));
        self.set_all("set state", late, states, SimulatedSite::set_state).await
    }

    async fn set_address(&self, server: &ServerId, address: SocketAddr) -> Result<(), LoadBalancerError> {
        let set = |site: &mut SimulatedSite| {
            let worker = site.haproxies[self.index].worker.as_mut();
            let Some(line) = worker.and_then(|worker| worker.line_mut(server)) else {
                return Err(refused(format!("set server {server} addr {address}"), "No such server."));
            };
            line.address = address;
            Ok(())
        };
        self.ask("set address", set).await
    }

    async fn join_server(&self, server: &NewServer) -> Result<(), LoadBalancerError> {
        let add = |site: &mut SimulatedSite| {
            let Some(worker) = site.haproxies[self.index].worker.as_mut() else { return Ok(()) };
            match worker.line(&server.id) {
                Some(line) if line.address == server.address => return Ok(()),
                Some(_) => {
                    let reply = "Already exists a server with the same name in backend.";
                    return Err(refused(format!("add server {}", server.id), reply));
                }
                None => {}
            }
            let beside = worker.lines.iter().find(|line| line.id.backend == server.id.backend);
            let all_backups = beside.is_some_and(|line| line.all_backups);
            worker.lines.push(ServerLine::added(server, all_backups));
            site.effect(&Effect::Joined(self.index, server.id.clone()));
            Ok(())
        };
        self.ask("add server", add).await
    }

    async fn delete_server(&self, server: &ServerId) -> Result<bool, LoadBalancerError> {
        let delete = |site: &mut SimulatedSite| {
            let Some(worker) = site.haproxies[self.index].worker.as_mut() else { return Ok(true) };
            let Some(line) = worker.line(server) else { return Ok(true) };
            if line.admin.state() != AdminState::Maint {
                let reply = "Only servers in maintenance mode can be deleted.";
                return Err(refused(format!("del server {server}"), reply));
            }
            if worker.sessions.iter().any(|session| session.server == *server) {
                return Ok(false);
            }
            worker.lines.retain(|line| line.id != *server);
            site.effect(&Effect::Deleted(self.index, server.clone()));
            Ok(true)
        };
        self.ask("del server", delete).await
    }

    async fn set_weight(&self, server: &ServerId, weight: Weight) -> Result<(), LoadBalancerError> {
        let set = |site: &mut SimulatedSite| {
            let worker = site.haproxies[self.index].worker.as_mut();
            let Some(line) = worker.and_then(|worker| worker.line_mut(server)) else {
                return Err(refused(format!("set server {server} weight {weight}"), "No such server."));
            };
            line.weight = weight.of(line.written_weight);
            site.dequeue(self.index);
            Ok(())
        };
        self.ask("set weight", set).await
    }

    async fn set_checking(
        &self,
        server: &ServerId,
        checker: Checker,
        on: bool,
    ) -> Result<(), LoadBalancerError> {
        let set = |site: &mut SimulatedSite| {
            let refused = |reply| {
                let verb = if on { "enable" } else { "disable" };
                Err(refused(format!("{verb} {checker} {server}"), reply))
            };
            let worker = site.haproxies[self.index].worker.as_mut();
            let Some(line) = worker.and_then(|worker| worker.line_mut(server)) else {
                return refused("No such server.");
            };
            match (checker, line.check, &mut line.agent) {
                (Checker::Health, Some(_), _) => {
                    let was_new = line.is_new && !line.checking;
                    line.checking = on;
                    if was_new && on {
                        site.begin_check(self.index, server);
                    }
                }
                (Checker::Agent, _, Some(agent)) => agent.is_on = on,
                (Checker::Health | Checker::Agent, ..) if on => {
                    return refused("It is not configured on this server.");
                }
                (Checker::Health | Checker::Agent, ..) => {}
            }
            Ok(())
        };
        self.ask("set checking", set).await
    }

    async fn set_healthy(&self, server: &ServerId) -> Result<(), LoadBalancerError> {
        let heal = |site: &mut SimulatedSite| {
            let worker = site.haproxies[self.index].worker.as_mut();
            let line = worker.and_then(|worker| worker.line_mut(server));
            let Some((check, line)) = line.and_then(|line| Some((line.check?, line))) else {
                return Err(refused(format!("set server {server} health up"), "No such server."));
            };
            (line.up, line.health) = (line.admin.state() != AdminState::Maint, check.rise + check.fall - 1);
            site.effect(&Effect::Healed(server.clone()));
            site.dequeue(self.index);
            Ok(())
        };
        self.ask("set healthy", heal).await
    }

    async fn set_unproven(&self, states: &[(ServerId, AdminState)]) -> Result<(), LoadBalancerError> {
        self.set_all("set unproven", None, states, SimulatedSite::set_unproven).await
    }

    async fn sessions(
        &self,
        servers: &[ServerId],
    ) -> Result<Vec<crate::observation::Session>, LoadBalancerError> {
        let look = |site: &mut SimulatedSite| {
            let haproxy = &site.haproxies[self.index];
            let current = haproxy.worker.as_ref().map(|worker| worker.pid);
            let addresses: Vec<SocketAddr> = haproxy
                .worker
                .iter()
                .flat_map(|it| &it.lines)
                .filter(|it| servers.contains(&it.id))
                .map(|it| it.address)
                .collect();
            let known = haproxy.workers().filter(|it| Some(it.pid) == current || haproxy.has_master);
            let sessions =
                known.flat_map(|worker| worker.sessions.iter().map(move |session| (worker.pid, session)));
            let meant = sessions.filter(|(_, it)| it.is_connected && addresses.contains(&it.address));
            let session = |(pid, session): (u32, &SimulatedSession)| crate::observation::Session {
                id: format!("{:#x}", session.id),
                worker: Some(pid).filter(|pid| Some(*pid) != current),
                server: session.server.clone(),
                address: Some(session.address),
                kind: if session.is_tunnel { SessionKind::Tunnel } else { SessionKind::Waiting },
            };
            Ok(meant.map(session).collect())
        };
        self.ask("sessions", look).await
    }

    async fn end_session(&self, session: &crate::observation::Session) -> Result<(), LoadBalancerError> {
        let end = |site: &mut SimulatedSite| {
            let id = session.id.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
            let current = site.haproxies[self.index].worker.as_ref().map(|worker| worker.pid);
            if let (Some(pid), Some(id)) = (session.worker.or(current), id) {
                site.end(self.index, pid, id);
            }
            site.effect(&Effect::SessionEnded(session.server.clone()));
            Ok(())
        };
        self.ask("end session", end).await
    }

    async fn wake_queue(&self, server: &ServerId, _limit: u64) -> Result<(), LoadBalancerError> {
        let wake = |site: &mut SimulatedSite| {
            let haproxy = &mut site.haproxies[self.index];
            let waits = haproxy.worker.as_ref().is_some_and(|worker| !worker.queue.is_empty());
            if waits && haproxy.version.starts_with("2.2") {
                site.effect(&Effect::HaproxyEnded);
                site.end_haproxy(self.index);
                return Ok(());
            }
            if let Some(worker) = &mut haproxy.worker {
                let woken = worker.unstall(|backend| backend == server.backend);
                site.stood_still(woken);
            }
            site.dequeue(self.index);
            Ok(())
        };
        self.ask("wake queue", wake).await
    }
}
