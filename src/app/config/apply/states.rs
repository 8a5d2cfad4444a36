//! What HAProxy is to run after a reload: what haproxy.cfg says, and what was set at runtime, which a reload forgets.
//!
//! A `server-state-file` gives the new worker also what haproxy.cfg says otherwise by now: the port of a checked server, the
//! state and the weight of an earlier time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use crate::adapters::haproxy::HaproxySocket;
use crate::cfg::{Configuration, Server};
use crate::error::Error;
use crate::ids::ServerId;
use crate::observation::{AdminState, Checking, LoadBalancerState, ServerState};
use crate::ports::{LoadBalancer, LoadBalancerError};
use crate::topology::divergence::diverges;
use crate::weight::Weight;

/// What HAProxy has done since the states were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// It has read its files.
    Reload,
    /// Nothing but what it was told: an address that was set is a person's.
    Told,
}

/// The servers whose state or weight is not what the configuration says.
pub(super) struct States(BTreeMap<ServerId, State>);

#[derive(Clone, Copy, Default)]
struct State {
    admin: Option<AdminState>,
    weight: Option<u32>,
}

fn configured(server: &Server) -> AdminState {
    if server.disabled { AdminState::Maint } else { AdminState::Ready }
}

fn find<'c>(configuration: &'c Configuration, id: &ServerId) -> Option<&'c Server> {
    configuration.backend(&id.backend)?.servers.iter().find(|server| server.name == id.server)
}

/// The servers of which a new configuration says something else that a `server-state-file` has.
pub(super) fn changed(old: &Configuration, new: &Configuration) -> BTreeSet<ServerId> {
    let says = |server: &Server| {
        let check = (server.check_port, server.check_address.clone());
        (server.address.clone(), check, server.ssl, server.weight, server.disabled)
    };
    let all = new.proxies.iter().flat_map(|proxy| proxy.servers.iter().map(move |server| (proxy, server)));
    let all = all.map(|(proxy, server)| (ServerId::new(&proxy.name, &server.name), server));
    let is_changed =
        |id: &ServerId, server: &Server| find(old, id).is_none_or(|before| says(before) != says(server));
    all.filter(|(id, server)| is_changed(id, server)).map(|(id, _)| id).collect()
}

/// What a server is to be, of what it is not.
#[derive(Debug, PartialEq, Eq)]
enum Otherwise {
    Admin(AdminState),
    Weight(u32),
    Address(SocketAddr),
}

impl fmt::Display for Otherwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin(state) => write!(f, "is in {state}"),
            Self::Weight(weight) => write!(f, "has weight {weight}"),
            Self::Address(address) => write!(f, "has the address {address}"),
        }
    }
}

impl States {
    /// What somebody set since HAProxy read this configuration.
    pub fn set_at_runtime(seen: &LoadBalancerState, configuration: &Configuration) -> Self {
        let states = seen.servers.iter().filter_map(|now| {
            let server = find(configuration, &now.id)?;
            let is_own = !now.admin.is_inherited() && now.admin.state() != configured(server);
            let admin = is_own.then(|| now.admin.state());
            let weight = Some(now.weight).filter(|weight| *weight != server.weight);
            (admin.is_some() || weight.is_some()).then(|| (now.id.clone(), State { admin, weight }))
        });
        Self(states.collect())
    }

    /// What a server is otherwise than it should be.
    fn otherwise(&self, now: &ServerState, server: &Server, since: Since) -> Vec<Otherwise> {
        let set = self.0.get(&now.id).copied().unwrap_or_default();
        // Without a reload, whatever else differs was set by another hand since; an agent sets both at any time.
        let is_written = since == Since::Reload && now.checks.agent != Checking::On;
        let admin = set.admin.or(is_written.then(|| configured(server)));
        let weight = set.weight.or(is_written.then_some(server.weight));
        let address = diverges(server, now).filter(|_| since == Since::Reload).map(|(written, _)| written);
        // What comes from elsewhere, a tracked server or a name without an address, is not this server's own.
        let admin = admin.filter(|it| !now.admin.is_inherited() && now.admin.state() != *it);
        let weight = weight.filter(|it| now.weight != *it);
        let all =
            [admin.map(Otherwise::Admin), weight.map(Otherwise::Weight), address.map(Otherwise::Address)];
        all.into_iter().flatten().collect()
    }

    fn all_otherwise(
        &self,
        seen: &LoadBalancerState,
        configuration: &Configuration,
        since: Since,
    ) -> Vec<(ServerId, Otherwise)> {
        let known = seen.servers.iter().filter_map(|now| Some((now, find(configuration, &now.id)?)));
        known
            .flat_map(|(now, server)| {
                self.otherwise(now, server, since).into_iter().map(|it| (now.id.clone(), it))
            })
            .collect()
    }

    /// Sets what a reload has forgotten, or taken from elsewhere than haproxy.cfg, and tells what was set.
    ///
    /// # Errors
    /// What HAProxy still runs otherwise.
    pub async fn set_again(
        &self,
        socket: &HaproxySocket,
        configuration: &Configuration,
        since: Since,
    ) -> Result<Vec<String>, Error> {
        let found = self.all_otherwise(&socket.look(&[]).await?, configuration, since);
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let mut states = Vec::new();
        for (server, otherwise) in &found {
            match otherwise {
                Otherwise::Admin(state) => states.push((server.clone(), *state)),
                Otherwise::Weight(weight) => {
                    unless_refused(socket.set_weight(server, Weight::Absolute(*weight)).await)?;
                }
                // The new worker has hardly a connection to the other address that it could go on with.
                Otherwise::Address(address) => unless_refused(socket.set_address(server, *address).await)?,
            }
        }
        unless_refused(socket.set_admin_states(&states).await)?;
        let left = self.all_otherwise(&socket.look(&[]).await?, configuration, since);
        if !left.is_empty() {
            let left = left.iter().map(|(server, otherwise)| format!("{server} {otherwise}"));
            return Err(Error::RunsOtherwise { not_so: left.collect() });
        }
        Ok(found.iter().map(|(server, otherwise)| format!("{server} {otherwise}")).collect())
    }
}

/// What HAProxy does not take is no failure yet: a look afterwards tells what is not so.
fn unless_refused(set: Result<(), LoadBalancerError>) -> Result<(), LoadBalancerError> {
    use LoadBalancerError::{AddressNotTaken, NotTaken, Refused};
    if matches!(set, Err(Refused { .. } | NotTaken { .. } | AddressNotTaken { .. })) { Ok(()) } else { set }
}
