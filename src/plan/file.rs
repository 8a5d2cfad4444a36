//! Plan files: a plan saved for approval, together with the facts that it is based on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::hook::HookPoint;
use crate::model::ids::ServerId;
use crate::model::image::Image;
use crate::model::sanitize;
use crate::observation::{AdminState, LoadBalancerState};
use crate::plan::{Plan, Policy};

/// The version of the format of [`PlanFile`].
pub const VERSION: u32 = 1;

/// A plan file: a plan and the facts that it is based on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlanFile {
    /// The version of the format. It increases when a field changes its meaning or is removed.
    #[schemars(extend("const" = VERSION))]
    pub version: u32,
    /// The facts that the plan is based on.
    pub basis: PlanBasis,
    /// The plan. Possible secrets in its probes are hidden; the probes are derived again when the plan is applied.
    pub plan: Plan,
}

/// The facts that a plan is based on, apart from those in the plan itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Basis")]
pub struct PlanBasis {
    /// The requested image, resolved to a digest or an image ID.
    pub image: Image,
    /// The files of haproxy.cfg, in `HAProxy`'s order.
    pub configuration: Vec<ReadFile>,
    /// Every server of the backends that the plan affects, as each load balancer reports it.
    pub servers: Vec<SeenServer>,
    /// The limits and choices from the settings, which apply where no flag is given.
    pub settings: Policy,
    /// The SHA-256 of the container's description in drainswap.toml, without the values of its environment; `None` if
    /// there is no description.
    pub description: Option<String>,
    /// The SHA-256 of each hook's command.
    pub hooks: BTreeMap<HookPoint, String>,
}

/// A file of haproxy.cfg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ReadFile {
    /// The path of the file.
    pub file: String,
    /// The SHA-256 of the words that `HAProxy` reads in the file. Comments and whitespace do not count.
    pub sha256: String,
}

/// A server as a load balancer reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SeenServer {
    /// The load balancer.
    pub load_balancer: String,
    /// The server.
    pub server: ServerId,
    /// The address that its traffic goes to, if known.
    pub address: Option<SocketAddr>,
    /// Its administrative state.
    pub state: AdminState,
    /// Whether it is up, including in its slow start.
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

/// The reason why a file cannot be applied as a plan file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPlanFile {
    /// The file cannot be parsed.
    #[error(
        "not a plan file, or a damaged one: {reason}. Save the plan again with `drainswap plan … --save`"
    )]
    Garbled {
        /// What is wrong, and where.
        reason: String,
    },
    /// A drainswap with another format saved the file.
    #[error(
        "unsupported plan version {version}: this drainswap reads version {VERSION}. Apply it with the drainswap that saved it, or save the plan again with this one"
    )]
    OtherVersion { version: u32 },
}

impl PlanFile {
    /// Creates the file for a plan, without secrets.
    #[must_use]
    pub fn new(basis: PlanBasis, plan: &Plan) -> Self {
        Self { version: VERSION, basis, plan: plan.without_secrets() }
    }

    /// Reads a plan file.
    pub fn read(bytes: &[u8]) -> Result<Self, NotAPlanFile> {
        /// The part that every version has.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let garbled = |error: serde_json::Error| NotAPlanFile::Garbled { reason: error.to_string() };
        // The other fields of another version are unknown.
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

    /// Returns the text of the file, a JSON object that people can read and compare.
    ///
    /// # Panics
    /// Never: everything in a plan can be written as JSON.
    #[must_use]
    pub fn text(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        sanitize::json(&text.expect("everything in a plan can be written as JSON")) + "\n"
    }
}

/// Returns the servers of the backends that a plan affects, as each load balancer reports them.
#[must_use]
pub fn seen_servers(load_balancers: &[LoadBalancerState], plan: &Plan) -> Vec<SeenServer> {
    let mut backends: BTreeSet<String> = plan.backends().into_iter().collect();
    backends.insert(plan.goal.backend.clone());
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
    /// Returns a server that appears more than once in the lanes, which are identified by their servers.
    fn named_twice(&self) -> Option<&ServerId> {
        let mut named = BTreeSet::new();
        let servers = self.lanes.iter().flat_map(|lane| &lane.servers);
        servers.map(|server| &server.id).find(|id| !named.insert(*id))
    }

    /// Returns the plan with possible secrets hidden: the headers and bodies of its probes, which come from
    /// haproxy.cfg.
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
