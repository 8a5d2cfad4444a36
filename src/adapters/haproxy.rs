//! The runtime API of a running HAProxy, over its `stats socket`.

pub mod address;
mod batch;
pub mod command;
mod dynamic;
pub mod master;
mod past_reload;
pub mod peer;
mod raw_states;
pub mod reply;
pub mod socket;
pub mod state_file;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use self::address::SocketAddress;
use self::command::{Command, PLAIN_TAKEN, Unsendable, line};
use self::master::MasterSocket;
use self::past_reload::past_reload;
use self::raw_states::questions;
use self::reply::{Replies, ReplyError};
use self::socket::{CHANGE_DEADLINE, DEADLINE, Endpoint, ExchangeError};
use crate::cfg::{Added, is_of_one_host};
use crate::model::ids::ServerId;
use crate::model::new_server::NewServer;
use crate::model::sanitize;
use crate::model::weight::Weight;
use crate::observation::{AdminState, Checker, LoadBalancerState, Session};
use crate::ports::{LoadBalancer, LoadBalancerError};

/// The pause before a state or an address is read back again.
const READ_BACK_PAUSE: Duration = Duration::from_millis(5);

/// How often a new address is read back: HAProxy 2.9 and later apply it in a separate task.
const ADDRESS_READ_BACKS: u32 = 200;

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
    /// Whether HAProxy and drainswap run in different network namespaces.
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
            Err(error @ ExchangeError::TooLong) => Err(LoadBalancerError::TooLong {
                socket: self.address().to_string(),
                reason: error.to_string(),
            }),
            Err(error) => Err(self.unreachable(error.to_string())),
        }
    }

    fn unreachable(&self, reason: String) -> LoadBalancerError {
        LoadBalancerError::Unreachable { socket: self.address().to_string(), reason }
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

    async fn join_server(&self, server: &NewServer) -> Result<(), LoadBalancerError> {
        dynamic::join(self, server).await
    }

    async fn delete_server(&self, server: &ServerId) -> Result<bool, LoadBalancerError> {
        dynamic::delete(self, server).await
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
