//! The stored form of a plan, in journals, plan files and JSON: one object, with the keys of the goal beside the others.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Approved, Goal, Lane, Plan, Policy, RunKind, Target, Worker};
use crate::model::hook::HookPoint;
use crate::model::ids::{RunId, ServerId};
use crate::model::image::Image;
use crate::model::probe::Probe;
use crate::plan::rest::Rest;
use crate::plan::surge::Surge;
use crate::topology::traffic::Balance;

/// Everything that a run will do.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Plan")]
pub(super) struct StoredPlan {
    /// The run's identifier, derived from the time of the observation.
    run: RunId,
    /// The time of the observation.
    at: Timestamp,
    /// The backend.
    backend: String,
    /// Whether the run deploys or rolls back.
    purpose: RunKind,
    /// The image that each server gets; missing in plans of earlier versions, and where a run is undone.
    #[serde(default, skip_serializing_if = "Target::is_unknown")]
    target: Target,
    /// The deploys that this run rolls back, newest first.
    #[serde(default)]
    takes_back: Vec<RunId>,
    /// The unfinished run that this one continues; the first of them if there are several.
    #[serde(default)]
    continues: Option<RunId>,
    /// The approved plan file that this run applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approved: Option<Approved>,
    /// The processes that the plan was made for. A different process means that HAProxy was reloaded.
    workers: Vec<Worker>,
    /// The limits and choices.
    policy: Policy,
    /// How many lanes may run at the same time.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    parallel: usize,
    /// The images that must be present before anything is created, each once.
    images: Vec<Image>,
    /// How each affected backend distributes its traffic.
    balances: Vec<Balance>,
    /// The probes of the servers that will carry the traffic.
    probes: Vec<(ServerId, Probe)>,
    /// The servers that join for the length of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    surge: Vec<Surge>,
    /// One lane per replica, in the order in which they run.
    lanes: Vec<Lane>,
    /// The number of lanes of each wave, in order. The lanes of a wave run at the same time; without waves, each lane
    /// runs alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waves: Vec<usize>,
    /// The servers that already run the wanted image.
    unchanged: Vec<ServerId>,
    /// Server lines that the run does not work on, and servers that stay out of service.
    #[serde(default, skip_serializing_if = "Rest::is_empty")]
    rest: Rest,
    /// Notes for the operator that do not stop the run.
    warnings: Vec<String>,
    /// The points of the run at which a hook command is configured.
    #[serde(default)]
    hooks: Vec<HookPoint>,
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(number: &usize) -> bool {
    *number == 1
}

impl From<Plan> for StoredPlan {
    fn from(plan: Plan) -> Self {
        let Plan {
            run,
            at,
            goal,
            workers,
            images,
            balances,
            probes,
            surge,
            lanes,
            waves,
            unchanged,
            rest,
            warnings,
        } = plan;
        // The notes of a goal are among the plan's warnings.
        let Goal {
            backend,
            purpose,
            target,
            takes_back,
            policy,
            parallel,
            hooks,
            continues,
            approved,
            notes: _,
        } = goal;
        Self {
            run,
            at,
            backend,
            purpose,
            target,
            takes_back,
            continues,
            approved,
            workers,
            policy,
            parallel,
            images,
            balances,
            probes,
            surge,
            lanes,
            waves,
            unchanged,
            rest,
            warnings,
            hooks,
        }
    }
}

impl From<StoredPlan> for Plan {
    fn from(stored: StoredPlan) -> Self {
        let StoredPlan { backend, purpose, target, policy, .. } = stored;
        let goal = Goal {
            takes_back: stored.takes_back,
            parallel: stored.parallel,
            hooks: stored.hooks,
            continues: stored.continues,
            approved: stored.approved,
            ..Goal::new(&backend, purpose, target, policy)
        };
        Self {
            run: stored.run,
            at: stored.at,
            goal,
            workers: stored.workers,
            images: stored.images,
            balances: stored.balances,
            probes: stored.probes,
            surge: stored.surge,
            lanes: stored.lanes,
            waves: stored.waves,
            unchanged: stored.unchanged,
            rest: stored.rest,
            warnings: stored.warnings,
        }
    }
}
