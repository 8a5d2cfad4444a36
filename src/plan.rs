//! The plan of a run: lanes of steps, each with its cause and a traffic forecast, fixed before anything changes.

pub mod before;
pub mod build;
mod draft;
pub mod drift;
pub mod file;
pub mod floor;
mod goal;
pub mod kept;
mod lane;
pub mod other_runs;
pub mod place;
mod policy;
pub mod recover;
pub mod refusal;
mod replacement;
pub mod rest;
pub mod scope;
pub mod server_change;
pub mod silence_check;
pub mod single_move;
pub mod step;
mod stored;
pub mod surge;
pub mod text;
pub mod undo;
mod wave;
pub mod weaker_limits;

use std::collections::BTreeSet;
use std::iter::repeat;
use std::ops::Range;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::ids::{RunId, ServerId};
use crate::model::image::Image;
use crate::model::probe::Probe;
pub use crate::model::run_kind::RunKind;
use crate::observation::LoadBalancerState;
use crate::plan::rest::Rest;
use crate::plan::surge::Surge;
use crate::topology::traffic::Balance;
pub use draft::Draft;
pub use goal::{Goal, RollbackTarget, Target};
pub use lane::{Cause, Lane, LaneServer};
pub use policy::{LbQuorum, OnDrainTimeout, OnFailure, Policy};
pub use replacement::Replacement;
pub use step::Step;
use stored::StoredPlan;

/// The `HAProxy` process that answers at a load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Worker {
    /// The load balancer.
    pub load_balancer: String,
    /// The process ID.
    pub pid: u32,
}

impl Worker {
    /// Returns the process that answered.
    #[must_use]
    pub fn of(seen: &LoadBalancerState) -> Self {
        Self { load_balancer: seen.name.clone(), pid: seen.pid }
    }
}

/// Everything that a run will do. It prints and serialises, and the executor takes nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(from = "StoredPlan", into = "StoredPlan")]
pub struct Plan {
    /// The run's identifier, derived from the time of the observation.
    pub run: RunId,
    /// The time of the observation.
    pub at: Timestamp,
    /// What the run is to reach, and within which limits.
    pub goal: Goal,
    /// The processes that the plan was made for. A different process means that HAProxy was reloaded.
    pub workers: Vec<Worker>,
    /// The images that must be present before anything is created, each once.
    pub images: Vec<Image>,
    /// How each affected backend distributes its traffic.
    pub balances: Vec<Balance>,
    /// The probes of the servers that will carry the traffic.
    pub probes: Vec<(ServerId, Probe)>,
    /// The servers that join for the length of the run.
    pub surge: Vec<Surge>,
    /// One lane per replica, in the order in which they run.
    pub lanes: Vec<Lane>,
    /// The number of lanes of each wave, in order. The lanes of a wave run at the same time; without waves, each lane
    /// runs alone.
    pub waves: Vec<usize>,
    /// The servers that already run the wanted image.
    pub unchanged: Vec<ServerId>,
    /// Server lines that the run does not work on, and servers that stay out of service.
    pub rest: Rest,
    /// Notes for the operator that do not stop the run.
    pub warnings: Vec<String>,
}

/// The plan from a plan file, as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Approved {
    /// The identifier that the run had in the plan file.
    pub run: RunId,
    /// The time of the observation behind the plan file.
    pub at: Timestamp,
}

impl Plan {
    /// Returns whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Returns the lanes of each wave, in order. Lanes that belong to no wave run alone, after the others.
    #[must_use]
    pub fn waves(&self) -> Vec<Range<usize>> {
        let mut waves = Vec::new();
        let sizes = self.waves.iter().copied().filter(|size| *size > 0).chain(repeat(1));
        let mut start = 0;
        for size in sizes {
            if start >= self.lanes.len() {
                break;
            }
            let end = start.saturating_add(size).min(self.lanes.len());
            waves.push(start..end);
            start = end;
        }
        waves
    }

    /// Returns the run that this one continues, or its own identifier.
    #[must_use]
    pub fn first_run(&self) -> &RunId {
        self.goal.continues.as_ref().unwrap_or(&self.run)
    }

    /// Returns every backend that the plan affects.
    #[must_use]
    pub fn backends(&self) -> Vec<String> {
        self.balances.iter().map(|balance| balance.backend.clone()).collect()
    }

    /// Returns the plan of an unfinished run for the HAProxy processes that answer now, and with these limits.
    #[must_use]
    pub fn resumed(&self, seen: &[LoadBalancerState], policy: Policy) -> Self {
        let workers = seen.iter().map(Worker::of).collect();
        Self { goal: Goal { policy, ..self.goal.clone() }, workers, ..self.clone() }
    }

    /// Returns the names of the engines that create containers from an image, each once.
    #[must_use]
    pub fn engines_for(&self, image: &Image) -> BTreeSet<&str> {
        let replacements = self.lanes.iter().filter_map(|lane| lane.replacement.as_ref());
        let created = replacements.filter(|it| it.is_created() && it.image == *image);
        created.map(|it| it.like.engine.as_str()).collect()
    }
}

#[cfg(test)]
mod tests;
