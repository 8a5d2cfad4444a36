//! The runtime API of a running HAProxy, over its `stats socket`.

pub mod address;
mod batch;
pub mod command;
pub mod master;
pub mod peer;
pub mod reply;
pub mod socket;
pub mod state_file;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use self::address::SocketAddress;
use self::batch::{Batch, NotApplied, batches};
use self::command::{Command, PLAIN_TAKEN, Unsendable, line};
use self::master::MasterSocket;
use self::reply::{ProcessInfo, Replies, ReplyError, Stat, StateRow};
use self::socket::{CHANGE_DEADLINE, DEADLINE, Endpoint, ExchangeError};
use crate::cfg::{Added, is_of_one_host};
use crate::model::ids::ServerId;
use crate::model::sanitize;
use crate::model::weight::Weight;
use crate::observation::{AdminState, Checker, LoadBalancerState, ServerState, Session};
use crate::ports::{LoadBalancer, LoadBalancerError};

/// How often a new state is read back until it shows, and the pause in between.
///
/// A reader can see a half-applied state for some microseconds.
const READ_BACKS: u32 = 10;
const READ_BACK_PAUSE: Duration = Duration::from_millis(5);

/// How often a new address is read back: HAProxy 2.9 and later apply it in a separate task.
const ADDRESS_READ_BACKS: u32 = 200;

/// How often a call is repeated when it reaches a process that a reload is replacing, and the pause in between.
///
/// That process still answers a connection that it accepted just before the reload.
const RELOAD_TRIES: u32 = 20;
const RELOAD_PAUSE: Duration = Duration::from_millis(25);

/// The default of `stats timeout`, if haproxy.cfg does not set it.
const STATS_TIMEOUT: Duration = Duration::from_secs(10);

/// The upper limit for `stats timeout` here: longer values are meant for interactive use.
const LONGEST_STATS_TIMEOUT: Duration = Duration::from_secs(60);

/// A `stats socket` of a running HAProxy. Each call opens a new connection.
#[derive(Clone, Debug)]
pub struct HaproxySocket {
    endpoint: Endpoint,
    /// The master process, which reports the workers that a reload has replaced.
    master: Option<MasterSocket>,
    /// The `server-state-file`, from which a new worker takes the server states at a reload.
    state_file: Option<PathBuf>,
    /// The servers that drainswap set down until their check passes, and that have not been up since.
    unproven: Arc<Mutex<BTreeSet<ServerId>>>,
    /// Whether HAProxy runs in another network namespace than drainswap.
    is_in_own_network: bool,
    /// The `stats timeout`: how long HAProxy waits for a command on a connection.
    stats_timeout: Duration,
}

impl HaproxySocket {
    /// Returns a socket for this address, without connecting.
    #[must_use]
    pub fn new(address: SocketAddress) -> Self {
        let endpoint = Endpoint::worker(address);
        Self {
            endpoint,
            master: None,
            state_file: None,
            unproven: Arc::default(),
            is_in_own_network: false,
            stats_timeout: STATS_TIMEOUT,
        }
    }

    /// Sets whether HAProxy runs in its own network namespace, where an address that is local to one host does not
    /// refer to this host.
    #[must_use]
    pub fn in_own_network(self, is_in_own_network: bool) -> Self {
        Self { is_in_own_network, ..self }
    }

    /// Also accepts this user as the owner of the listening process, because HAProxy is known to run as that user.
    #[must_use]
    pub fn owned_by(self, owner: Option<u32>) -> Self {
        Self { endpoint: self.endpoint.owned_by(owner), ..self }
    }

    /// Sets the `stats timeout` from haproxy.cfg, limited to one minute.
    #[must_use]
    pub fn with_stats_timeout(self, timeout: Duration) -> Self {
        Self { stats_timeout: timeout.min(LONGEST_STATS_TIMEOUT), ..self }
    }

    /// Adds the socket of the master process, which reports the workers that a reload has replaced.
    ///
    /// # Errors
    /// Fails if the master cannot be reached, or belongs to another HAProxy.
    pub async fn with_master(self, master: MasterSocket) -> Result<Self, LoadBalancerError> {
        // A reload between the two questions makes them disagree once; the next attempt agrees.
        let is_ours = async || {
            let pid = self.pid().await?;
            Ok::<_, LoadBalancerError>((master.knows(pid).await?, pid))
        };
        let (_, pid) = match past_reload(is_ours, |result| matches!(result, Ok((false, _)))).await? {
            (true, _) => return Ok(Self { master: Some(master), ..self }),
            other => other,
        };
        Err(LoadBalancerError::OtherMaster {
            master: master.to_string(),
            socket: self.address().to_string(),
            pid,
        })
    }

    /// Connects to a socket that accepts changes: HAProxy answers, and the level is `admin`.
    pub async fn connect(address: SocketAddress) -> Result<Self, LoadBalancerError> {
        let socket = Self::new(address);
        socket.require_admin().await?;
        Ok(socket)
    }

    /// Rewrites this `server-state-file` after each change, so that a reload keeps the states from the first request of
    /// the new worker.
    #[must_use]
    pub fn saving_states_in(self, file: PathBuf) -> Self {
        Self { state_file: Some(file), ..self }
    }

    /// Writes the states of all servers into the state file, in one step.
    ///
    /// Only logs a failure: if a reload reads an outdated file, drainswap notices it like any other reload.
    async fn save_states(&self) {
        let Some(file) = &self.state_file else { return };
        let written = async {
            let states = self.ask(&[Command::ServersState(None)]).await?;
            let states = state_file::persistent_states(&states, &self.unproven());
            state_file::replace(file, &states).map_err(|error| self.unreachable(error.to_string()))
        };
        if let Err(error) = written.await {
            tracing::warn!(file = %file.display(), %error, "cannot update the server-state-file");
        }
    }

    fn unproven(&self) -> MutexGuard<'_, BTreeSet<ServerId>> {
        self.unproven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a server as up, if drainswap had set it down until its check passes and it is up now.
    async fn save_proven(&self, seen: &LoadBalancerState) {
        let is_down = |id: &ServerId| seen.server(id).is_none_or(|now| !now.operational.is_up());
        let has_proven = {
            let mut unproven = self.unproven();
            let before = unproven.len();
            unproven.retain(is_down);
            unproven.len() < before
        };
        if has_proven {
            self.save_states().await;
        }
    }

    /// Returns the address of the socket.
    #[must_use]
    pub fn address(&self) -> &SocketAddress {
        self.endpoint.address()
    }

    /// Checks that this socket accepts changes.
    pub async fn require_admin(&self) -> Result<(), LoadBalancerError> {
        let answer = self.ask(&[Command::Level]).await?;
        match Replies::new(&answer).level().map_err(|error| explain(Command::Level, error))? {
            "admin" => Ok(()),
            level => Err(LoadBalancerError::NotAdmin {
                socket: self.address().to_string(),
                level: level.to_owned(),
            }),
        }
    }

    /// Adds a server to the running HAProxy, in maintenance and with the checks of its line enabled.
    pub async fn add_server(
        &self,
        Added { server, words, settings }: &Added,
    ) -> Result<(), LoadBalancerError> {
        self.send_expecting(Command::AddServer(server, words), "New server registered.").await?;
        let checkers = [(Checker::Health, settings.check), (Checker::Agent, settings.agent_check)];
        for (checker, _) in checkers.into_iter().filter(|(_, is_asked)| *is_asked) {
            self.send_expecting(Command::SetChecking(server, checker, true), "").await?;
        }
        Ok(())
    }

    /// Removes a server that is in maintenance and has no connections left.
    pub async fn remove_server(&self, server: &ServerId) -> Result<(), LoadBalancerError> {
        self.send_expecting(Command::DelServer(server), "Server deleted.").await
    }

    /// Sends a command, and fails unless the answer is exactly this text.
    async fn send_expecting(&self, command: Command<'_>, success: &str) -> Result<(), LoadBalancerError> {
        let answer = self.ask(&[command]).await?;
        match answer.trim() {
            reply if reply == success => Ok(()),
            reply => {
                let reply = sanitize::line(reply.lines().next().unwrap_or_default());
                Err(LoadBalancerError::Refused { command: command.to_string(), reply })
            }
        }
    }

    /// Sends a command that answers with nothing, then updates the state file.
    async fn set(&self, command: Command<'_>) -> Result<(), LoadBalancerError> {
        self.send_expecting(command, "").await?;
        self.save_states().await;
        Ok(())
    }

    /// Turns TLS to the server on or off. Only reading the state shows whether HAProxy applied it.
    pub async fn set_ssl(&self, server: &ServerId, on: bool) -> Result<(), LoadBalancerError> {
        self.set_setting(Command::SetServerSsl(server, on)).await
    }

    /// Sets the port of the server's check; `None` is the server's port. Only reading the state shows whether HAProxy
    /// applied it.
    pub async fn set_check_port(
        &self,
        server: &ServerId,
        port: Option<u16>,
    ) -> Result<(), LoadBalancerError> {
        self.set_setting(Command::SetServerCheckPort(server, port.unwrap_or_default())).await
    }

    /// Sets the address of the server's check. Only reading the state shows whether HAProxy applied it.
    pub async fn set_check_address(
        &self,
        server: &ServerId,
        address: IpAddr,
    ) -> Result<(), LoadBalancerError> {
        self.set_setting(Command::SetServerCheckAddress(server, address)).await
    }

    /// Sends a command whose answer is ignored: a sentence, on success too, that differs between versions.
    async fn set_setting(&self, command: Command<'_>) -> Result<(), LoadBalancerError> {
        self.ask(&[command]).await?;
        self.save_states().await;
        Ok(())
    }

    async fn ask(&self, commands: &[Command<'_>]) -> Result<String, LoadBalancerError> {
        let line = line(commands).map_err(|error| match &error {
            Unsendable::BadName { command } | Unsendable::TooLong { command, .. } => {
                LoadBalancerError::NotSent { command: command.clone(), reason: error.to_string() }
            }
        })?;
        let is_change = commands.iter().any(|command| command.is_change());
        let answer = if is_change {
            self.endpoint.change(&line, CHANGE_DEADLINE).await
        } else {
            self.endpoint.ask(&line, DEADLINE).await
        };
        match answer {
            // Descriptions may contain any bytes.
            Ok(answer) => {
                let answer = sanitize::lines(&answer);
                match answer.strip_prefix(PLAIN_TAKEN) {
                    Some("") => Err(self.unreachable(ExchangeError::Empty.to_string())),
                    Some(answers) => Ok(answers.to_owned()),
                    None => Ok(answer),
                }
            }
            Err(ExchangeError::UntrustedPeer(stranger)) => Err(LoadBalancerError::UntrustedListener {
                socket: self.address().to_string(),
                reason: stranger.to_string(),
            }),
            Err(ExchangeError::Unanswered(reason)) => Err(LoadBalancerError::Unanswered {
                socket: self.address().to_string(),
                command: commands.first().map(Command::to_string).unwrap_or_default(),
                reason: reason.to_string(),
            }),
            Err(error) => Err(self.unreachable(error.to_string())),
        }
    }

    fn unreachable(&self, reason: String) -> LoadBalancerError {
        LoadBalancerError::Unreachable { socket: self.address().to_string(), reason }
    }

    /// Applies these changes to servers, until all of them have the wanted state.
    async fn set_states<'a>(
        &self,
        states: &'a [(ServerId, AdminState)],
        changes: impl Fn(&'a ServerId, AdminState) -> Vec<Command<'a>>,
    ) -> Result<(), LoadBalancerError> {
        let batches = batches(states, changes);
        for batch in &batches {
            self.set_batch(batch).await?;
        }
        if !batches.is_empty() {
            self.save_states().await;
        }
        Ok(())
    }

    async fn set_batch(&self, batch: &Batch<'_>) -> Result<(), LoadBalancerError> {
        let mut untaken = past_reload(|| self.set_once(batch), is_refused_by_a_stopping_process).await?;
        let mut reads = 1;
        while let Some(NotApplied { server, wanted, found }) = untaken {
            if reads == READ_BACKS {
                let command = Command::SetServerState(server, wanted).to_string();
                return Err(LoadBalancerError::StateNotApplied { command, server: server.clone(), found });
            }
            reads += 1;
            #[expect(
                clippy::disallowed_methods,
                reason = "a bounded read-back of a state that may be half-applied"
            )]
            sleep(READ_BACK_PAUSE).await;
            untaken = batch.first_not_applied(&mut Replies::new(&self.ask(&batch.reads()).await?))?;
        }
        Ok(())
    }

    /// Changes servers and reads their states back with one line, so that the same process does both.
    async fn set_once<'a>(&self, batch: &Batch<'a>) -> Result<Option<NotApplied<'a>>, LoadBalancerError> {
        let answer = self.ask(&[batch.changes(), &batch.reads()].concat()).await?;
        let mut replies = Replies::new(&answer);
        batch.check_accepted(&mut replies)?;
        batch.first_not_applied(&mut replies)
    }

    /// Reads the state of a process that is not stopping.
    async fn read_states(&self, scopes: &[Option<&str>]) -> Result<RawStates, LoadBalancerError> {
        let stops = |look: &RawStates| look.process.stopping;
        let look =
            past_reload(|| self.read_states_once(scopes), |result| result.as_ref().is_ok_and(stops)).await?;
        if stops(&look) {
            return Err(self.unreachable(format!("process {} is stopping", look.process.pid)));
        }
        Ok(look)
    }

    /// Returns the PID of the process that is not stopping.
    async fn pid(&self) -> Result<u32, LoadBalancerError> {
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

/// Returns whether a stopping process refused the command. A disabled backend causes the same answer, permanently.
fn is_refused_by_a_stopping_process<T>(result: &Result<T, LoadBalancerError>) -> bool {
    matches!(result, Err(LoadBalancerError::Refused { reply, .. }) if reply == reply::STOPPING)
}

/// Repeats a call for a moment while its result is stale.
async fn past_reload<T, F: Future<Output = T>>(call: impl Fn() -> F, is_stale: impl Fn(&T) -> bool) -> T {
    let mut result = call().await;
    for _ in 0..RELOAD_TRIES {
        if !is_stale(&result) {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "a bounded retry while a worker hands over")]
        sleep(RELOAD_PAUSE).await;
        result = call().await;
    }
    result
}

fn questions<'a>(scopes: &[Option<&'a str>]) -> Vec<Command<'a>> {
    let tables = scopes.iter().flat_map(|scope| [Command::ServersState(*scope), Command::Stat(*scope)]);
    [Command::Info].into_iter().chain(tables).collect()
}

/// The parsed answers to one line.
struct RawStates {
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
    fn is_complete(&self, backends: &BTreeSet<&str>) -> bool {
        let counted = self.rows.iter().all(|row| self.stat.servers.contains_key(&row.key));
        counted && backends.iter().all(|backend| self.has(backend))
    }

    /// Keeps only these backends, or all if there are none.
    fn only(mut self, backends: &BTreeSet<&str>) -> Result<Self, LoadBalancerError> {
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

    fn into_state(
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

impl LoadBalancer for HaproxySocket {
    fn name(&self) -> String {
        self.address().to_string()
    }

    fn late_effect_window(&self) -> Duration {
        self.stats_timeout
    }

    async fn full_state(&self, backends: &[String]) -> Result<LoadBalancerState, LoadBalancerError> {
        let mut state = self.state(backends).await?;
        if let Some(master) = &self.master {
            state.old_workers = Some(master.old_workers(state.pid).await?);
        }
        Ok(state)
    }

    async fn state(&self, backends: &[String]) -> Result<LoadBalancerState, LoadBalancerError> {
        let named: BTreeSet<_> = backends.iter().map(String::as_str).collect();
        let scopes: Vec<_> = named.iter().copied().map(Some).collect();
        let too_long = matches!(line(&questions(&scopes)), Err(Unsendable::TooLong { .. }));
        let complete = if named.is_empty() || too_long {
            None
        } else {
            Some(self.read_states(&scopes).await?).filter(|look| look.is_complete(&named))
        };
        let look = match complete {
            Some(look) => look,
            None => self.read_states(&[None]).await?.only(&named)?,
        };
        let state = look.into_state(self.name(), |ip| !(self.is_in_own_network && is_of_one_host(ip)))?;
        self.save_proven(&state).await;
        Ok(state)
    }

    async fn set_admin_states(&self, states: &[(ServerId, AdminState)]) -> Result<(), LoadBalancerError> {
        self.set_states(states, |server, state| vec![Command::SetServerState(server, state)]).await
    }

    async fn set_address(&self, server: &ServerId, address: SocketAddr) -> Result<(), LoadBalancerError> {
        let set = Command::SetServerAddress(server, address);
        let read = Command::ServersState(Some(&server.backend));
        // The reply is a sentence for people, so read the address back instead.
        self.ask(&[set]).await?;
        let mut found = None;
        for _ in 0..ADDRESS_READ_BACKS {
            let answer = self.ask(&[read]).await?;
            let rows = Replies::new(&answer).servers_state().map_err(|error| explain(read, error))?;
            found = rows.iter().find(|row| row.id == *server).and_then(|row| row.address);
            if found == Some(address) {
                self.save_states().await;
                return Ok(());
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a bounded read-back of an address that HAProxy applies later"
            )]
            sleep(READ_BACK_PAUSE).await;
        }
        Err(LoadBalancerError::AddressNotApplied { command: set.to_string(), server: server.clone(), found })
    }

    async fn set_weight(&self, server: &ServerId, weight: Weight) -> Result<(), LoadBalancerError> {
        self.set(Command::SetServerWeight(server, weight)).await
    }

    async fn set_checking(
        &self,
        server: &ServerId,
        checker: Checker,
        on: bool,
    ) -> Result<(), LoadBalancerError> {
        self.set(Command::SetChecking(server, checker, on)).await
    }

    async fn set_healthy(&self, server: &ServerId) -> Result<(), LoadBalancerError> {
        self.send_expecting(Command::SetServerHealthy(server), "").await
    }

    async fn set_unproven(&self, states: &[(ServerId, AdminState)]) -> Result<(), LoadBalancerError> {
        self.unproven().extend(states.iter().map(|(server, _)| server.clone()));
        // In drain the server is up for an instant, and a client with its cookie could reach it: so everything is in
        // one line.
        let changes = |server, state| {
            let drain = Command::SetServerState(server, AdminState::Drain);
            vec![drain, Command::SetServerDown(server), Command::SetServerState(server, state)]
        };
        self.set_states(states, changes).await
    }

    async fn sessions(&self, servers: &[ServerId]) -> Result<Vec<Session>, LoadBalancerError> {
        let answer = self.ask(&[Command::Sessions]).await?;
        let mut sessions =
            Replies::new(&answer).sessions().map_err(|error| explain(Command::Sessions, error))?;
        let Some(master) = &self.master else {
            sessions.retain(|session| servers.contains(&session.server));
            return Ok(sessions);
        };
        let backends: BTreeSet<&String> = servers.iter().map(|server| &server.backend).collect();
        let seen = self.state(&backends.into_iter().cloned().collect::<Vec<_>>()).await?;
        sessions.extend(master.sessions_of_old_workers(seen.pid).await?);
        let targets = seen.targets(servers);
        sessions.retain(|session| targets.have(&session.server, session.address));
        Ok(sessions)
    }

    async fn end_session(&self, session: &Session) -> Result<(), LoadBalancerError> {
        if let (Some(pid), Some(master)) = (session.worker, &self.master) {
            return master.end_session(pid, &session.id).await;
        }
        let command = Command::ShutdownSession(&session.id);
        let answer = self.ask(&[command]).await?;
        Replies::new(&answer).ended_session().map_err(|error| explain(command, error))
    }

    async fn wake_queue(&self, server: &ServerId, limit: u64) -> Result<(), LoadBalancerError> {
        self.send_expecting(Command::SetServerMaxconn(server, limit), "").await
    }
}

/// Reads the states from a `server-state-file`, which contains an answer to `show servers state`.
///
/// Returns `None` if it cannot be read.
#[must_use]
pub fn saved_states_in(file: &Path) -> Option<BTreeMap<ServerId, AdminState>> {
    saved_states(&std::fs::read(file).ok()?)
}

/// Reads the states from the content of a `server-state-file`.
#[must_use]
pub fn saved_states(bytes: &[u8]) -> Option<BTreeMap<ServerId, AdminState>> {
    let text = format!("{}\n\n", sanitize::lines(bytes).trim_end());
    let rows = Replies::new(&text).servers_state().ok()?;
    Some(rows.into_iter().map(|row| (row.id, row.admin.state())).collect())
}

fn garbled(read: Command<'_>, server: &ServerId) -> LoadBalancerError {
    LoadBalancerError::InvalidReply { command: read.to_string(), reason: format!("it has no {server}") }
}

fn explain(command: Command<'_>, error: ReplyError) -> LoadBalancerError {
    match (error, command.backend()) {
        (ReplyError::Refused { reply }, Some(backend)) if reply::is_unknown_backend(&reply) => {
            LoadBalancerError::NoSuchBackend { backend: backend.to_owned(), reply }
        }
        (ReplyError::Refused { reply }, _) => {
            LoadBalancerError::Refused { command: command.to_string(), reply }
        }
        (ReplyError::CutShort, _) => LoadBalancerError::CutShort { command: command.to_string() },
        (error, _) => {
            LoadBalancerError::InvalidReply { command: command.to_string(), reason: error.to_string() }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
