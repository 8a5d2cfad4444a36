//! The states of servers after a reload: those of haproxy.cfg, and those set at runtime, which a reload loses.
//!
//! A `server-state-file` also gives the new worker values that haproxy.cfg no longer has: the port and the check port
//! of a checked server, ssl, and earlier states.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::adapters::haproxy::HaproxySocket;
use crate::app::error::{ApplyError, Error};
use crate::cfg::{Configuration, Server};
use crate::model::ids::ServerId;
use crate::model::weight::Weight;
use crate::observation::{AdminState, Checker, Checking, LoadBalancerState, Operational, ServerState};
use crate::ports::{LoadBalancer, LoadBalancerError};
use crate::site::wait::until;
use crate::topology::divergence::{Difference, settings_that_differ};

/// The wait for the answer of an agent that was asked before it was turned off: that answer still counts.
const AGENT_ANSWERS_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What HAProxy has done since the states were recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeSource<'a> {
    /// HAProxy has read its files.
    Reload,
    /// HAProxy has only executed commands: an address set at runtime was set on purpose.
    Runtime,
    /// HAProxy has done nothing, and haproxy.cfg may have been edited: weights and states that it has not read are set.
    /// Other settings that differ may have been set on purpose, and traffic depends on them.
    Edit,
    /// HAProxy has only executed commands, and these servers were added again as their lines say.
    Added(&'a BTreeSet<ServerId>),
}

impl ChangeSource<'_> {
    fn has_read(self, server: &ServerId) -> bool {
        match self {
            Self::Reload => true,
            Self::Runtime | Self::Edit => false,
            Self::Added(servers) => servers.contains(server),
        }
    }
}

/// The result of restoring the states of servers.
#[derive(Debug, Default)]
pub(super) struct ReapplyReport {
    pub set: Vec<String>,
    /// The changes that HAProxy refuses at runtime.
    pub refused: Vec<String>,
}

impl ReapplyReport {
    /// Fails if a HAProxy that has read haproxy.cfg refused a change.
    pub fn complete(self) -> Result<(), Error> {
        let Self { refused, .. } = self;
        if refused.is_empty() {
            Ok(())
        } else {
            Err(ApplyError::RunningConfigDiffers { not_so: refused }.into())
        }
    }
}

/// The values that were set at runtime, for each server that has any.
pub(super) struct States(BTreeMap<ServerId, State>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    admin: Option<AdminState>,
    weight: Option<u32>,
    /// The address of a server that is `disabled` in its line but in service: a slot that is in use.
    address: Option<SocketAddr>,
    is_agent_off: bool,
    /// Whether the server was set to down although nothing checks it.
    is_down: bool,
}

impl State {
    /// Compares the state with the line as HAProxy has read it and with the line as it is now: a value that differs
    /// from both was set at runtime.
    fn of(now: &ServerState, line: &Server) -> Self {
        let (admin, weight) = (now.admin.state(), now.weight);
        let read = admin_of_line(now.admin.is_disabled_by_its_line());
        let is_set = !now.admin.is_inherited() && admin != read && admin != admin_of_line(line.disabled);
        Self {
            admin: is_set.then_some(admin),
            weight: Some(weight).filter(|it| *it != now.initial_weight && *it != line.weight),
            address: now.address.filter(|_| line.disabled && admin != AdminState::Maint),
            is_agent_off: now.checks.agent == Checking::Off,
            is_down: is_down_without_a_check(now, line),
        }
    }
}

/// Returns the state that a server line gives.
pub(super) fn admin_of_line(disabled: bool) -> AdminState {
    if disabled { AdminState::Maint } else { AdminState::Ready }
}

/// Returns whether the server is down and no check will ever find it up. A `server-state-file` can leave it so.
fn is_down_without_a_check(now: &ServerState, line: &Server) -> bool {
    let is_asked = line.check || line.track.is_some() || now.asks_agent();
    !is_asked && now.operational == Operational::Stopped && now.admin.state() != AdminState::Maint
}

fn find<'c>(configuration: &'c Configuration, id: &ServerId) -> Option<&'c Server> {
    configuration.backend(&id.backend)?.servers.iter().find(|server| server.name == id.server)
}

/// Returns the servers that are added or removed, and those with a change in a setting that a `server-state-file`
/// contains.
pub(super) fn changed(old: &Configuration, new: &Configuration) -> BTreeSet<ServerId> {
    let says = |server: &Server| {
        let check = (server.check_port, server.check_address.clone(), server.agent_place.clone());
        (server.address.clone(), check, server.ssl, server.weight, server.disabled)
    };
    let all = [old, new].into_iter().flat_map(|it| &it.proxies);
    let ids =
        all.flat_map(|proxy| proxy.servers.iter().map(|server| ServerId::new(&proxy.name, &server.name)));
    ids.filter(|id| find(old, id).map(says) != find(new, id).map(says)).collect()
}

/// The differences between the wanted and the actual states of servers.
pub(super) type Mismatches = Vec<(ServerId, Mismatch)>;

/// A difference between the wanted and the actual state of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    Agent,
    Setting(Difference),
    Weight { to: u32, from: u32 },
    Down,
    Admin { to: AdminState, from: AdminState },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("agent off, not on"),
            Self::Setting(Difference::Address { written, running }) => {
                write!(f, "address {written}, not {running}")
            }
            Self::Setting(it) => write!(f, "{}, not {}", it.written(), it.running()),
            Self::Weight { to, from } => write!(f, "weight {to}, not {from}"),
            Self::Down => f.write_str("up, not down"),
            Self::Admin { to, from } => write!(f, "{to}, not {from}"),
        }
    }
}

impl States {
    /// Returns the values that were set at runtime since HAProxy read this configuration.
    pub fn set_at_runtime(seen: &LoadBalancerState, configuration: &Configuration) -> Self {
        let states = seen.servers.iter().filter_map(|now| {
            let state = State::of(now, find(configuration, &now.id)?);
            (state != State::default()).then(|| (now.id.clone(), state))
        });
        Self(states.collect())
    }

    /// Returns the differences of a server, in the order in which they are corrected.
    fn mismatches_of(&self, now: &ServerState, line: &Server, since: ChangeSource<'_>) -> Vec<Mismatch> {
        let set = self.0.get(&now.id).copied().unwrap_or_default();
        let has_agent = now.asks_agent();
        let mut all = Vec::new();
        if set.is_agent_off && has_agent {
            all.push(Mismatch::Agent);
        }
        let is_read = since.has_read(&now.id);
        if is_read {
            all.extend(settings(now, line, set.address.filter(|_| line.disabled)));
        }
        // An agent may set weight and state at any time.
        let is_written = (is_read || since == ChangeSource::Edit) && (!has_agent || set.is_agent_off);
        let weight = set.weight.or(is_written.then_some(line.weight));
        all.extend(weight.filter(|to| *to != now.weight).map(|to| Mismatch::Weight { to, from: now.weight }));
        if is_read && !set.is_down && is_down_without_a_check(now, line) {
            all.push(Mismatch::Down);
        }
        let (admin, from) =
            (set.admin.or(is_written.then(|| admin_of_line(line.disabled))), now.admin.state());
        // A state inherited from a tracked server, or from a name without an address, is not this server's own.
        let admin = admin.filter(|to| !now.admin.is_inherited() && *to != from);
        all.extend(admin.map(|to| Mismatch::Admin { to, from }));
        all
    }

    /// Returns every difference, with its server.
    pub fn mismatches(
        &self,
        seen: &LoadBalancerState,
        configuration: &Configuration,
        since: ChangeSource<'_>,
    ) -> Mismatches {
        let known = seen.servers.iter().filter_map(|now| Some((now, find(configuration, &now.id)?)));
        known
            .flat_map(|(now, line)| {
                self.mismatches_of(now, line, since).into_iter().map(|it| (now.id.clone(), it))
            })
            .collect()
    }

    /// Restores the values that a reload has lost or has not taken from haproxy.cfg.
    ///
    /// # Errors
    /// If HAProxy does not answer, or exits in the middle.
    pub async fn reapply(
        &self,
        socket: &HaproxySocket,
        configuration: &Configuration,
        since: ChangeSource<'_>,
    ) -> Result<ReapplyReport, Error> {
        let found = self.mismatches(&socket.full_state(&[]).await?, configuration, since);
        if found.is_empty() {
            return Ok(ReapplyReport::default());
        }
        let servers: Vec<ServerId> = found.iter().map(|(server, _)| server.clone()).collect();
        let set = self.set(found, socket, configuration, since).await;
        set.map_err(|error| error.after_a_move(&servers))
    }

    async fn set(
        &self,
        found: Mismatches,
        socket: &HaproxySocket,
        configuration: &Configuration,
        since: ChangeSource<'_>,
    ) -> Result<ReapplyReport, Error> {
        let (mut set, mut found): (Mismatches, Mismatches) =
            found.into_iter().partition(|(_, mismatch)| *mismatch == Mismatch::Agent);
        for (server, _) in &set {
            unless_refused(socket.set_checking(server, Checker::Agent, false).await)?;
        }
        if !set.is_empty() {
            wait_for_agents(socket).await?;
            // Includes changes by the agents' last answers.
            found = self.mismatches(&socket.full_state(&[]).await?, configuration, since);
        }
        set_all(socket, &found).await?;
        let left = self.mismatches(&socket.full_state(&[]).await?, configuration, since);
        set.extend(found);
        set.retain(|it| !left.contains(it));
        Ok(ReapplyReport { set: describe(&set), refused: describe(&left) })
    }
}

/// Corrects the differences of each server, its state last.
async fn set_all(
    socket: &HaproxySocket,
    mismatches: &[(ServerId, Mismatch)],
) -> Result<(), LoadBalancerError> {
    let mut states = Vec::new();
    for (server, mismatch) in mismatches {
        let set = match mismatch {
            // This agent could not be turned off.
            Mismatch::Agent => Ok(()),
            Mismatch::Admin { to, .. } => {
                states.push((server.clone(), *to));
                Ok(())
            }
            Mismatch::Weight { to, .. } => socket.set_weight(server, Weight::Absolute(*to)).await,
            Mismatch::Down => socket.set_healthy(server).await,
            Mismatch::Setting(difference) => correct(socket, server, difference).await,
        };
        unless_refused(set)?;
    }
    unless_refused(socket.set_admin_states(&states).await)
}

/// Formats the differences for operators.
pub(super) fn describe(mismatches: &[(ServerId, Mismatch)]) -> Vec<String> {
    mismatches.iter().map(|(server, mismatch)| format!("{server}: {mismatch}")).collect()
}

/// Returns the settings that differ from the line. A slot that is in use keeps its address.
fn settings(now: &ServerState, line: &Server, in_use: Option<SocketAddr>) -> Vec<Mismatch> {
    let mut all = settings_that_differ(line, now);
    if let Some((written, running)) = in_use.zip(now.address) {
        all.retain(|it| !matches!(it, Difference::Address { .. }));
        all.extend((written != running).then_some(Difference::Address { written, running }));
    }
    all.into_iter().map(Mismatch::Setting).collect()
}

/// Sets the value of the line. The new worker hardly has any connections yet that the old value would affect.
async fn correct(
    socket: &HaproxySocket,
    server: &ServerId,
    difference: &Difference,
) -> Result<(), LoadBalancerError> {
    match difference {
        Difference::Address { written, .. } => socket.set_address(server, *written).await,
        Difference::Ssl { written } => socket.set_ssl(server, *written).await,
        Difference::CheckPort { written, .. } => socket.set_check_port(server, *written).await,
        Difference::CheckAddress { written: Some(written), .. } => {
            socket.set_check_address(server, *written).await
        }
        // No command removes a check address. Weight and `disabled` have their own kinds of difference.
        Difference::CheckAddress { written: None, .. }
        | Difference::Weight { .. }
        | Difference::Disabled { .. } => Ok(()),
    }
}

/// Waits for the answer of an agent that was asked before it was turned off: HAProxy still applies that answer.
async fn wait_for_agents(socket: &HaproxySocket) -> Result<(), Error> {
    let never = CancellationToken::new();
    let silent = until(LOOK_EVERY, AGENT_ANSWERS_WITHIN, &never, async || {
        let seen = socket.full_state(&[]).await?;
        let is_asked = |now: &ServerState| now.checks.agent == Checking::Off && now.checks.asks_agent;
        Ok::<_, Error>((!seen.servers.iter().any(is_asked)).then_some(()))
    });
    // The last look finds the changes of a slower agent.
    silent.await.map(|_| ())
}

/// Ignores a refusal of HAProxy: a later look shows which values differ.
fn unless_refused(set: Result<(), LoadBalancerError>) -> Result<(), LoadBalancerError> {
    use LoadBalancerError::{AddressNotApplied, Refused, StateNotApplied};
    if matches!(set, Err(Refused { .. } | StateNotApplied { .. } | AddressNotApplied { .. })) {
        Ok(())
    } else {
        set
    }
}

#[cfg(test)]
mod tests;
