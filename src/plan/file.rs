//! A plan that is kept until somebody has approved it, with what it rests on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::foreign;
use crate::hook::Moment;
use crate::ids::ServerId;
use crate::image::Image;
use crate::observation::{AdminState, LoadBalancerState};
use crate::plan::{Plan, Policy};

/// The version of [`PlanFile`]'s form.
pub const VERSION: u32 = 1;

/// A plan file: what was planned, and what it was planned for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlanFile {
    /// The form's version. It grows when a field changes its meaning or goes away.
    #[schemars(extend("const" = VERSION))]
    pub version: u32,
    /// What the plan rests on.
    pub basis: Basis,
    /// The plan. What may be secret in its probes is hidden: they are made anew.
    pub plan: Plan,
}

/// What a plan rests on, beside what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Basis {
    /// The image that was asked for, and what that meant.
    pub image: Image,
    /// The files of haproxy.cfg, in `HAProxy`'s order.
    pub configuration: Vec<ReadFile>,
    /// Every server of the backends that the plan touches, as each load balancer has it.
    pub servers: Vec<SeenServer>,
    /// The limits and choices that the settings make where no flag does.
    pub settings: Policy,
    /// The SHA-256 of what drainswap.toml describes the container with, the values of its environment left out; nothing
    /// where it does not.
    pub description: Option<String>,
    /// The SHA-256 of the command of each hook.
    pub hooks: BTreeMap<Moment, String>,
}

/// A file of haproxy.cfg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ReadFile {
    /// Its path.
    pub file: String,
    /// The SHA-256 of the words that `HAProxy` reads in it: comments and blanks do not count.
    pub sha256: String,
}

/// A server as a load balancer has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SeenServer {
    /// The load balancer.
    pub load_balancer: String,
    /// The server.
    pub server: ServerId,
    /// Where its traffic goes, if that is an address.
    pub address: Option<SocketAddr>,
    /// Its administrative state.
    pub state: AdminState,
    /// Whether it is up, be it in its slow start.
    pub up: bool,
    /// Its weight.
    pub weight: u32,
}

impl fmt::Display for SeenServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up = if self.up { "up" } else { "down" };
        let address = self.address.map_or_else(|| "no address".to_owned(), |address| address.to_string());
        write!(f, "{}, {up}, weight {}, {address}", self.state, self.weight)
    }
}

/// Why something is no plan file that this drainswap applies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPlanFile {
    /// It is not understood.
    #[error(
        "it is no plan file, or a damaged one: {reason}. Save the plan again with `drainswap plan … --save`"
    )]
    Garbled {
        /// What is wrong, and where.
        reason: String,
    },
    /// A later drainswap has saved it.
    #[error(
        "it has version {version}, and this drainswap reads version {VERSION}: apply it with the drainswap that saved it, or save the plan again with this one"
    )]
    OtherVersion {
        /// Its version.
        version: u32,
    },
}

impl PlanFile {
    /// The file for a plan. Nothing in it is secret.
    #[must_use]
    pub fn new(basis: Basis, plan: &Plan) -> Self {
        Self { version: VERSION, basis, plan: plan.without_secrets() }
    }

    /// Reads a plan file.
    pub fn read(bytes: &[u8]) -> Result<Self, NotAPlanFile> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let garbled = |error: serde_json::Error| NotAPlanFile::Garbled { reason: error.to_string() };
        // What another version holds beside that nobody knows.
        let Versioned { version } = serde_json::from_slice(bytes).map_err(garbled)?;
        if version != VERSION {
            return Err(NotAPlanFile::OtherVersion { version });
        }
        let file: Self = serde_json::from_slice(bytes).map_err(garbled)?;
        match file.plan.named_twice() {
            Some(server) => {
                Err(NotAPlanFile::Garbled { reason: format!("{server} is in two lanes, or twice in one") })
            }
            None => Ok(file),
        }
    }

    /// The file's text: an object that people can read and compare.
    ///
    /// # Panics
    /// Never: a plan holds nothing but what JSON can.
    #[must_use]
    pub fn text(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        foreign::json(&text.expect("a plan holds nothing but what JSON can")) + "\n"
    }
}

/// The servers of the backends that a plan touches, as each load balancer has them.
#[must_use]
pub fn seen_servers(load_balancers: &[LoadBalancerState], plan: &Plan) -> Vec<SeenServer> {
    let mut backends: BTreeSet<String> = plan.backends().into_iter().collect();
    backends.insert(plan.backend.clone());
    let of_plan = |id: &ServerId| backends.contains(&id.backend);
    let mut servers = Vec::new();
    for seen in load_balancers {
        servers.extend(seen.servers.iter().filter(|it| of_plan(&it.id)).map(|it| SeenServer {
            load_balancer: seen.name.clone(),
            server: it.id.clone(),
            address: it.address,
            state: it.admin.state(),
            up: it.operational.is_up(),
            weight: it.weight,
        }));
    }
    servers
}

impl Plan {
    /// A server that has more than one place in the lanes, each of which is spoken of by its servers.
    fn named_twice(&self) -> Option<&ServerId> {
        let mut named = BTreeSet::new();
        let servers = self.lanes.iter().flat_map(|lane| &lane.servers);
        servers.map(|server| &server.id).find(|id| !named.insert(*id))
    }

    /// The same with what may be secret hidden: the headers and bodies of its probes, which haproxy.cfg gives them.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut plan = self.clone();
        let servers = plan.lanes.iter_mut().flat_map(|lane| &mut lane.servers);
        let of_lanes = servers.flat_map(|server| {
            std::iter::once(&mut server.probe).chain(&mut server.also).chain(&mut server.silence)
        });
        for probe in plan.probes.iter_mut().map(|(_, probe)| probe).chain(of_lanes) {
            probe.question.hide();
        }
        plan
    }
}

#[cfg(test)]
mod tests;
