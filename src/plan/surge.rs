//! Surge servers: additional servers with a container of the version that is being deployed, for the length of a run.
//!
//! A surge server has the settings of a server under replacement and stands in for it. It is never a backup: a backup
//! that is added at runtime comes last, and one without `maxconn` beside servers with it never takes from the queue of
//! its backend (seen on 3.0 and later).

mod setting;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::model::ids::{RunId, ServerId};
use crate::model::image::Image;
use crate::model::new_server::NewServer;
use crate::model::probe::Probe;
use crate::observation::{
    AdminBits, Container, LoadBalancerState, Operational, Pinned, Published, ServerState,
};
use crate::service::create_spec::{Beside, CreateSpec, SpecSource};
use crate::topology::Role;
use crate::topology::matching::ContainerRole;
use crate::topology::traffic::Balance;
pub use setting::SurgeSetting;

/// One container, and the servers that lead to it for the length of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Surge {
    /// The servers, one for each line that leads to the container whose settings it gets. The first gives it its name.
    #[serde(deserialize_with = "super::lane::at_least_one")]
    pub servers: Vec<SurgeServer>,
    /// The container whose settings it gets.
    pub like: Container,
    /// Its image.
    pub image: Image,
    /// Whether it is created as drainswap.toml describes it, rather than like another container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub described: bool,
    /// Why it is needed.
    pub why: String,
}

/// A server that joins a backend at runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SurgeServer {
    /// Its name in HAProxy: a new one, or that of the slot.
    pub id: ServerId,
    /// The server whose settings it has.
    pub stands_in_for: ServerId,
    /// How it joins.
    pub way: Way,
    /// Where its traffic goes.
    pub place: SurgePlace,
    /// The probe of the server that it stands in for, which proves it at its own address.
    pub probe: Probe,
    /// Its weight.
    pub weight: u32,
    /// Whether HAProxy checks it.
    pub is_checked: bool,
}

/// How a surge server joins its backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Way {
    /// It is added with these words (`add server`, since HAProxy 2.6), and deleted when it leaves.
    Added {
        /// The words that follow the address.
        words: Vec<String>,
    },
    /// A placeholder line of haproxy.cfg gets its address, and this one again when it leaves.
    Slot {
        /// The placeholder's own address.
        address: SocketAddr,
    },
}

/// Where a surge server's traffic goes. The port or the address is known once the container has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum SurgePlace {
    /// To a port that the engine chooses on the host.
    Published {
        /// The address to which HAProxy connects.
        ip: IpAddr,
        /// The address on which the port is published, as of the container that it stands in for.
        on: IpAddr,
        /// The container's port.
        container_port: u16,
    },
    /// To the container's own address in a network.
    Own {
        /// The network's name.
        network: String,
        /// Whether the address is an IPv6 address.
        is_v6: bool,
        /// The container's port.
        port: u16,
    },
}

impl SurgePlace {
    /// Returns the address of a running container, if it has one there.
    #[must_use]
    pub fn address_of(&self, container: &Container) -> Option<SocketAddr> {
        match self {
            Self::Published { ip, on, container_port } => {
                let is_it =
                    |it: &&Published| it.container_port == *container_port && it.ip == *on && it.port > 0;
                container.published.iter().find(is_it).map(|it| SocketAddr::new(*ip, it.port))
            }
            Self::Own { network, is_v6, port } => {
                let attachment = container.networks.iter().find(|it| it.network == *network)?;
                let ip = attachment.addresses.iter().find(|ip| ip.is_ipv6() == *is_v6)?;
                Some(SocketAddr::new(*ip, *port))
            }
        }
    }
}

impl Surge {
    /// Returns its first server, whose name is the surge server's name.
    #[must_use]
    pub fn name(&self) -> &ServerId {
        &self.servers[0].id
    }

    /// Returns its servers.
    #[must_use]
    pub fn ids(&self) -> Vec<ServerId> {
        self.servers.iter().map(|server| server.id.clone()).collect()
    }

    /// Returns the backends of its servers, each once.
    #[must_use]
    pub fn backends(&self) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> =
            self.servers.iter().map(|server| &server.id.backend).collect();
        names.into_iter().cloned().collect()
    }

    /// Returns the name of its container.
    #[must_use]
    pub fn container_name(&self, run: &RunId) -> String {
        ContainerRole::Candidate.name(&format!("{}-surge", self.like.name), run)
    }

    /// Returns how to create its container.
    #[must_use]
    pub fn create_spec(&self, run: &RunId, description: Option<&crate::service::Container>) -> CreateSpec {
        let places = self.servers.iter().map(|server| &server.place);
        let published = places.filter_map(|place| match place {
            SurgePlace::Published { on, container_port, .. } => {
                Some(Published { ip: *on, port: 0, container_port: *container_port })
            }
            SurgePlace::Own { .. } => None,
        });
        let mut publish: Vec<Published> = published.collect();
        publish.dedup();
        CreateSpec {
            model: match description.filter(|_| self.described) {
                Some(it) => SpecSource::Described { wanted: Box::new(it.clone()), instead_of: None },
                None => SpecSource::CopyOf(self.like.id.clone()),
            },
            image: self.image.clone(),
            name: self.container_name(run),
            platform: description.and_then(|it| it.platform.clone()),
            publish: None,
            pinned: Pinned::default(),
            renew_volumes: true,
            beside: Some(Beside { run: run.clone(), publish }),
        }
    }
}

impl SurgeServer {
    /// Returns the server as it is added at runtime; `None` for a slot, which is there already.
    #[must_use]
    pub fn new_server(&self, address: SocketAddr) -> Option<NewServer> {
        match &self.way {
            Way::Added { words } => Some(NewServer { id: self.id.clone(), address, words: words.clone() }),
            Way::Slot { .. } => None,
        }
    }

    /// Returns the probe that proves it at this address.
    #[must_use]
    pub fn probe_at(&self, address: SocketAddr) -> Probe {
        Probe { address, ..self.probe.clone() }
    }
}

/// Returns balances in which these surge servers take part.
#[must_use]
pub fn in_balances(mut balances: Vec<Balance>, surge: &[Surge]) -> Vec<Balance> {
    for server in surge.iter().flat_map(|it| &it.servers) {
        for balance in balances.iter_mut().filter(|it| it.backend == server.id.backend) {
            // A slot is one of the backend's servers already.
            balance.servers.retain(|(id, _)| *id != server.id);
            balance.servers.push((server.id.clone(), Role::Primary));
        }
    }
    balances
}

/// Returns the load balancers' states as they will be once these surge servers have joined.
#[must_use]
pub fn joined(mut load_balancers: Vec<LoadBalancerState>, surge: &[Surge]) -> Vec<LoadBalancerState> {
    for seen in &mut load_balancers {
        for server in surge.iter().flat_map(|it| &it.servers) {
            let Some(like) = seen.server(&server.stands_in_for).cloned() else { continue };
            let joined = ServerState {
                id: server.id.clone(),
                admin: AdminBits(0),
                operational: Operational::Running,
                weight: server.weight,
                sessions: 0,
                ..like
            };
            let others = seen.servers.iter().filter(|it| it.id != server.id).cloned();
            seen.servers = others.chain([joined]).collect::<Vec<_>>().into();
        }
    }
    load_balancers
}
