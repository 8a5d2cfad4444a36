//! Servers that HAProxy runs but the configuration lacks.

use std::collections::BTreeSet;

use super::{reached, with_servers};
use crate::cfg::Configuration;
use crate::model::ids::{ContainerId, ServerId};
use crate::observation::{AdminState, Observation, ServerState};

/// A server that `HAProxy` runs but the configuration lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlisted {
    pub load_balancer: String,
    pub state: ServerState,
    /// The container that its address leads to.
    pub reaches: Option<ContainerId>,
}

impl Unlisted {
    /// Returns whether it has no sessions and gets no new ones.
    #[must_use]
    pub fn is_out_of_use(&self) -> bool {
        self.state.admin.state() == AdminState::Maint && self.state.sessions == 0
    }
}

/// Returns the servers of the running `HAProxy` that the configuration lacks.
pub(super) fn unlisted(configuration: &Configuration, observation: &Observation) -> Vec<Unlisted> {
    let listed = server_ids(configuration);
    let everywhere = observation.load_balancers.iter();
    let servers = everywhere.flat_map(|seen| seen.servers.iter().map(move |server| (seen, server)));
    let unlisted = servers.filter(|(_, server)| !listed.contains(&server.id));
    let found = unlisted.map(|(seen, server)| Unlisted {
        load_balancer: seen.name.clone(),
        reaches: server.address.and_then(|address| {
            reached(observation, observation.engine(&server.id), address).map(|it| it.id.clone())
        }),
        state: server.clone(),
    });
    found.collect()
}

fn server_ids(configuration: &Configuration) -> BTreeSet<ServerId> {
    let servers = with_servers(configuration)
        .flat_map(|proxy| proxy.servers.iter().map(|server| ServerId::new(&proxy.name, &server.name)));
    servers.collect()
}
