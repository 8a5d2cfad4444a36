//! The server states that one process reports at one moment, with one line.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::command::Command;
use super::past_reload::past_reload;
use super::reply::{ProcessInfo, Replies, Stat, StateRow};
use super::{HaproxySocket, explain, garbled};
use crate::observation::{LoadBalancerState, ServerState};
use crate::ports::LoadBalancerError;

impl HaproxySocket {
    /// Reads the state of a process that is not stopping.
    pub(super) async fn read_states(&self, scopes: &[Option<&str>]) -> Result<RawStates, LoadBalancerError> {
        let stops = |look: &RawStates| look.process.stopping;
        let look =
            past_reload(|| self.read_states_once(scopes), |result| result.as_ref().is_ok_and(stops)).await?;
        if stops(&look) {
            return Err(self.unreachable(format!("process {} is stopping", look.process.pid)));
        }
        Ok(look)
    }

    /// Returns the PID of the process that is not stopping.
    pub(super) async fn pid(&self) -> Result<u32, LoadBalancerError> {
        Ok(self.read_states(&[]).await?.process.pid)
    }

    /// Reads everything about these backends with one line, so that one process answers at one moment.
    async fn read_states_once(&self, scopes: &[Option<&str>]) -> Result<RawStates, LoadBalancerError> {
        let answer = self.ask(&questions(scopes)).await?;
        let mut replies = Replies::new(&answer);
        let process = replies.info().map_err(|error| explain(Command::Info, error))?;
        if process.processes > 1 {
            return Err(LoadBalancerError::SeveralProcesses {
                socket: self.address().to_string(),
                processes: process.processes,
            });
        }
        let mut look = RawStates { process, rows: Vec::new(), stat: Stat::default() };
        // The server states of a stopping process are useless, and 2.2 does not print any.
        for scope in scopes.iter().filter(|_| !look.process.stopping) {
            let (state, stat) = (Command::ServersState(*scope), Command::Stat(*scope));
            look.rows.extend(replies.servers_state().map_err(|error| explain(state, error))?);
            let table = replies.stat().map_err(|error| explain(stat, error))?;
            look.stat.servers.extend(table.servers);
            look.stat.queued.extend(table.queued);
            look.stat.unpublished.extend(table.unpublished);
        }
        Ok(look)
    }
}

pub(super) fn questions<'a>(scopes: &[Option<&'a str>]) -> Vec<Command<'a>> {
    let tables = scopes.iter().flat_map(|scope| [Command::ServersState(*scope), Command::Stat(*scope)]);
    [Command::Info].into_iter().chain(tables).collect()
}

/// The parsed answers to one line.
pub(super) struct RawStates {
    process: ProcessInfo,
    rows: Vec<StateRow>,
    stat: Stat,
}

impl RawStates {
    fn has(&self, backend: &str) -> bool {
        self.stat.queued.contains_key(backend)
    }

    /// Returns whether `show stat` listed every backend and server.
    ///
    /// If a frontend has the same name as a backend, `show stat` with that name lists only the frontend.
    pub(super) fn is_complete(&self, backends: &BTreeSet<&str>) -> bool {
        let counted = self.rows.iter().all(|row| self.stat.servers.contains_key(&row.key));
        counted && backends.iter().all(|backend| self.has(backend))
    }

    /// Keeps only these backends, or all if there are none.
    pub(super) fn only(mut self, backends: &BTreeSet<&str>) -> Result<Self, LoadBalancerError> {
        if let Some(missing) = backends.iter().find(|backend| !self.has(backend)) {
            let disabled = self.rows.iter().any(|row| row.id.backend == *missing);
            let reply = if disabled { "it is `disabled`" } else { "`show stat` does not list it" };
            return Err(LoadBalancerError::NoSuchBackend {
                backend: (*missing).to_owned(),
                reply: reply.to_owned(),
            });
        }
        if !backends.is_empty() {
            self.rows.retain(|row| backends.contains(row.id.backend.as_str()));
            self.stat.queued.retain(|name, _| backends.contains(name.as_str()));
            self.stat.unpublished.retain(|name| backends.contains(name.as_str()));
        }
        Ok(self)
    }

    pub(super) fn into_state(
        mut self,
        name: String,
        is_known_here: impl Fn(IpAddr) -> bool,
    ) -> Result<LoadBalancerState, LoadBalancerError> {
        let mut servers = Vec::with_capacity(self.rows.len());
        for row in std::mem::take(&mut self.rows) {
            match self.stat.servers.remove(&row.key) {
                Some(stat) => servers.push(ServerState {
                    id: row.id,
                    address: row.address.filter(|address| is_known_here(address.ip())),
                    admin: row.admin,
                    operational: row.operational,
                    status: stat.status,
                    check: stat.check,
                    weight: row.weight,
                    initial_weight: row.initial_weight,
                    settings: row.settings,
                    checks: row.checks,
                    sessions: stat.sessions,
                    sessions_total: stat.sessions_total,
                    limit: stat.limit,
                }),
                // `show stat` leaves out a `disabled` backend.
                None if !self.has(&row.id.backend) => {}
                None => {
                    return Err(garbled(Command::Stat(Some(&row.id.backend)), &row.id));
                }
            }
        }
        let ProcessInfo { version, pid, .. } = self.process;
        let servers = servers.into();
        let Stat { queued, unpublished, .. } = self.stat;
        Ok(LoadBalancerState { name, version, pid, servers, queued, unpublished, old_workers: None })
    }
}
