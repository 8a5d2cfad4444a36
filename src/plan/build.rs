//! Builds a plan from the topology and a goal, or lists every reason against it.
//!
//! Servers that do not serve come first, because fixing them only adds capacity. Then, as in the process that
//! drainswap replaces, come the primaries, one at a time, and then the backups.

mod draft;
mod health;
mod refusals;
mod rehearsal;
mod start;
mod successor;
mod warnings;

use std::collections::BTreeSet;

use crate::model::ids::{RunId, ServerId};
use crate::model::image::Image;
use crate::observation::Observation;
use crate::plan::refusal::Refusal;
use crate::plan::rest::{LeftReason, LeftServer, OutOfService, Rest};
use crate::plan::scope::Scope;
use crate::plan::wave;
use crate::plan::{Goal, Lane, Plan, Replacement, Target, Worker};
use crate::topology::traffic::Balance;
use crate::topology::{Server, Topology};
use draft::{LaneDraft, admin, draft, runs};
use refusals::{
    ambiguous, mixed_states, no_address, no_container_refusal, persistence_keeps_clients, refuse_container,
    shared_namespaces, start_refusal, unlisted, unmatched,
};
use rehearsal::Simulation;
use successor::{may_come_back, outdated, own_address, own_name, pinned, returning};

/// Plans a goal.
///
/// # Errors
/// Returns every reason against the goal, not only the first. Nothing has been changed.
///
/// # Panics
/// If the topology does not have the goal's backend. Callers look the backend up first.
pub fn build(topology: &Topology, observation: &Observation, goal: &Goal) -> Result<Plan, Vec<Refusal>> {
    let Drafted { drafts, unchanged, left, notes, mut refusals } = draft_all(topology, observation, goal);
    let balances = balances(topology, &drafts);
    let before = Simulation::new(topology, &balances, observation, goal);
    let mut world = Simulation::new(topology, &balances, observation, goal);
    let mut lanes = Vec::new();
    for draft in drafts {
        match world.lane(draft) {
            Ok(lane) => lanes.push(lane),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let waves = wave::group(&lanes, goal.parallel, |out| before.spares(out));
    let rest = rest(topology, &left, (&lanes, &unchanged), observation, goal);
    Ok(Plan {
        run: RunId::opened_at(observation.at),
        at: observation.at,
        backend: goal.backend.clone(),
        purpose: goal.purpose,
        takes_back: goal.takes_back.clone(),
        continues: None,
        approved: None,
        workers: observation.load_balancers.iter().map(Worker::of).collect(),
        policy: goal.policy.clone(),
        images: images(&lanes, &goal.target),
        probes: probes(topology, &balances, &goal.policy.scope),
        warnings: notes
            .into_iter()
            .chain(warnings::all(topology, observation, &balances, (&lanes, &unchanged, &rest), goal))
            .collect(),
        balances,
        lanes,
        waves,
        unchanged,
        rest,
        hooks: goal.hooks.clone(),
    })
}

/// The servers of the goal's backend, sorted by what happens to them.
#[derive(Default)]
struct Drafted<'a> {
    /// In the order in which the lanes run.
    drafts: Vec<LaneDraft<'a>>,
    unchanged: Vec<ServerId>,
    left: Vec<(&'a Server, LeftReason)>,
    notes: Vec<String>,
    refusals: Vec<Refusal>,
}

/// Drafts the lanes of a goal, and lists the servers that need none.
fn draft_all<'a>(topology: &'a Topology, observation: &'a Observation, goal: &'a Goal) -> Drafted<'a> {
    let backend = topology.backend(&goal.backend).expect("a goal names a backend that exists");
    let mut all = Drafted::default();
    let mut drafted: BTreeSet<&ServerId> = BTreeSet::new();
    for server in &backend.servers {
        if drafted.contains(&server.id) {
            continue;
        }
        if let Some(why) = goal.policy.scope.left(server, observation) {
            all.left.push((server, why));
            continue;
        }
        match draft(topology, server, goal, observation) {
            Ok(Some(mut draft)) => {
                all.refusals.extend(shared_namespaces(&draft, &observation.containers));
                if let Some(replacement) = &mut draft.replacement {
                    all.notes.extend(complete(replacement, &server.id, &draft.servers, observation, goal));
                    all.refusals.extend(start_refusal(replacement, &draft.servers, goal, observation));
                }
                drafted.extend(draft.servers.iter().map(|server| &server.id));
                all.drafts.push(draft);
            }
            Ok(None) => all.unchanged.push(server.id.clone()),
            // Lines that share a container share their reasons.
            Err(refusal) if all.refusals.contains(&refusal) => {}
            Err(refusal) => all.refusals.push(refusal),
        }
    }
    // A line that shares its container with one in a lane is part of that lane.
    all.left.retain(|(server, _)| !drafted.contains(&server.id));
    if all.drafts.is_empty() && all.unchanged.is_empty() && all.refusals.is_empty() {
        all.refusals =
            all.left.iter().filter_map(|(server, why)| no_container_refusal(server, *why)).collect();
    }
    all.drafts.sort_by_key(|draft| (draft.serves(), draft.role()));
    all
}

/// Decides what a replacement of a lane is: a container that comes back or a new one, its name, and what is removed
/// afterwards. Returns a note if a kept container cannot come back.
fn complete(
    replacement: &mut Replacement,
    named: &ServerId,
    servers: &[&Server],
    observation: &Observation,
    goal: &Goal,
) -> Option<String> {
    let kept = returning(named, goal, &observation.containers)
        .filter(|kept| servers.iter().all(|server| may_come_back(kept, server)));
    let old = replacement.old.as_ref();
    let obstacle = kept.as_ref().and_then(|kept| start::of_kept(kept, old, observation));
    let note = obstacle.as_ref().zip(kept.as_ref()).map(|(obstacle, kept)| {
        format!("{} cannot be started again ({obstacle}): a new one is created in its place", kept.name)
    });
    replacement.returning = kept.filter(|_| obstacle.is_none());
    replacement.pinned = pinned(old, servers);
    replacement.name = own_name(replacement, &observation.containers);
    replacement.renew_volumes = goal.policy.renew_anon_volumes && replacement.is_created();
    let keep = replacement.kept(goal.policy.keep);
    replacement.outdated = outdated(replacement, keep, &observation.containers);
    note
}

/// Returns what the plan does not work on, and what it leaves out of service.
fn rest(
    topology: &Topology,
    left: &[(&Server, LeftReason)],
    (lanes, unchanged): (&[Lane], &[ServerId]),
    observation: &Observation,
    goal: &Goal,
) -> Rest {
    let left = left.iter().map(|(server, why)| LeftServer { server: server.id.clone(), why: *why });
    let replaced = lanes.iter().flat_map(|lane| &lane.servers);
    let replaced = replaced.filter_map(|it| {
        Some(OutOfService { server: it.id.clone(), state: it.stays?, has_agent: !it.agents.is_empty() })
    });
    let all = topology.backends.iter().flat_map(|backend| &backend.servers);
    let as_they_are = all.filter(|server| unchanged.contains(&server.id)).filter_map(|server| {
        let state = goal.policy.scope.kept_state(server, &observation.left_out)?;
        Some(OutOfService { server: server.id.clone(), state, has_agent: server.has_agent() })
    });
    Rest { left: left.collect(), out_of_service: replaced.chain(as_they_are).collect() }
}

/// Returns the balances of every backend that a draft affects.
fn balances(topology: &Topology, drafts: &[LaneDraft]) -> Vec<Balance> {
    let touched: BTreeSet<&str> =
        drafts.iter().flat_map(|draft| &draft.servers).map(|server| server.id.backend.as_str()).collect();
    let backends = topology.backends.iter().filter(|backend| touched.contains(backend.name.as_str()));
    backends.map(Balance::of).collect()
}

fn probes(
    topology: &Topology,
    balances: &[Balance],
    scope: &Scope,
) -> Vec<(ServerId, crate::model::probe::Probe)> {
    let servers = touched(topology, balances).filter(|server| !scope.is_haproxys(server));
    servers.filter_map(|server| Some((server.id.clone(), server.probe.clone()?))).collect()
}

/// Returns every server of these balances' backends.
fn touched<'a>(topology: &'a Topology, balances: &[Balance]) -> impl Iterator<Item = &'a Server> {
    let names: BTreeSet<String> = balances.iter().map(|balance| balance.backend.clone()).collect();
    topology.backends.iter().filter(move |it| names.contains(&it.name)).flat_map(|it| &it.servers)
}

/// Returns the images to pull. A plan without work lists the image that all servers already run.
fn images(lanes: &[Lane], target: &Target) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    if let (Target::Everywhere(image), []) = (target, lanes) {
        images.push(image.clone());
    }
    let replacements = lanes.iter().filter_map(|lane| lane.replacement.as_ref());
    for replacement in replacements.filter(|it| it.is_created()) {
        if !images.contains(&replacement.image) {
            images.push(replacement.image.clone());
        }
    }
    images
}

#[cfg(test)]
mod tests;
