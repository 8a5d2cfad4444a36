//! Builds a plan from the topology and a goal, or lists every reason against it.
//!
//! Servers that do not serve come first, because fixing them only adds capacity. Then, as in the process that
//! drainswap replaces, come the primaries, one at a time, and then the backups.

mod health;
mod lane_draft;
mod refusals;
mod rehearsal;
mod start;
mod successor;
mod surge;
mod warnings;

use std::collections::BTreeSet;

use crate::model::ids::{RunId, ServerId};
use crate::model::image::Image;
use crate::observation::Observation;
use crate::plan::refusal::Refusal;
use crate::plan::rest::{LeftReason, LeftServer, OutOfService, Rest};
use crate::plan::scope::Scope;
use crate::plan::surge::{Surge, SurgeSetting, in_balances, joined};
use crate::plan::wave;
use crate::plan::{Draft, Goal, Lane, Plan, Target, Worker, other_runs};
use crate::topology::traffic::Balance;
use crate::topology::{Server, Topology};
use lane_draft::{LaneDraft, admin, lane_draft, runs};
use refusals::{
    ambiguous, mixed_states, no_address, no_container_refusal, persistence_keeps_clients, refuse_container,
    shared_namespaces, start_refusal, unlisted, unmatched,
};
use rehearsal::Simulation;
use successor::{may_come_back, outdated, own_address, own_name, pinned, returning};

/// Drafts the plan of a goal.
///
/// # Errors
/// Returns every reason against the goal, not only the first. Nothing has been changed.
///
/// # Panics
/// If the topology does not have the goal's backend. Callers look the backend up first.
pub fn build(topology: &Topology, observation: &Observation, goal: &Goal) -> Result<Draft, Vec<Refusal>> {
    let Sorted { drafts, unchanged, left, notes, refusals } = Sorted::new(topology, observation, goal);
    if !refusals.is_empty() {
        let more = order_with(topology, observation, goal, (&drafts, Vec::new())).err();
        return Err(refusals.into_iter().chain(more.into_iter().flatten()).collect());
    }
    let Ordered { surge, balances, lanes, waves } = order(topology, observation, goal, &drafts)?;
    let refusals = other_runs::refusals(&lanes, observation);
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let rest = rest(topology, &left, (&lanes, &unchanged), observation, goal);
    let warnings = warnings::all(topology, observation, &balances, (&lanes, &unchanged, &rest), goal);
    let run = RunId::opened_at(observation.at);
    Ok(Draft(Plan {
        run: observation.known_runs.iter().fold(run, RunId::after),
        at: observation.at,
        // Its notes are among the plan's warnings.
        goal: Goal { notes: Vec::new(), ..goal.clone() },
        workers: observation.load_balancers.iter().map(Worker::of).collect(),
        images: images(&lanes, &surge, &goal.target),
        probes: probes(topology, &balances, &goal.policy.scope),
        warnings: surge::note(&surge)
            .into_iter()
            .chain(notes)
            .chain(warnings)
            .chain(goal.notes.iter().cloned())
            .collect(),
        balances,
        surge,
        lanes,
        waves,
        unchanged,
        rest,
    }))
}

/// The lanes in their order, and the surge servers that make it possible.
struct Ordered {
    surge: Vec<Surge>,
    balances: Vec<Balance>,
    lanes: Vec<Lane>,
    waves: Vec<usize>,
}

/// Orders the lanes so that floor and headroom hold, with surge servers if they are asked for or needed.
fn order(
    topology: &Topology,
    observation: &Observation,
    goal: &Goal,
    drafts: &[LaneDraft],
) -> Result<Ordered, Vec<Refusal>> {
    let choose = |number, why: &str| {
        surge::choose(topology, observation, goal, drafts, (number, why)).map_err(Refusal::NoSurge)
    };
    let with = |surge: Vec<Surge>| order_with(topology, observation, goal, (drafts, surge));
    match goal.policy.surge {
        SurgeSetting::Servers(number) => {
            with(choose(number.get(), "it was asked for (--surge)").map_err(|refusal| vec![refusal])?)
        }
        SurgeSetting::Auto if goal.policy.floor > 0 => {
            let refusals = match with(Vec::new()) {
                Ok(ordered) => return Ok(ordered),
                Err(refusals) => refusals,
            };
            let shortages: Option<Vec<String>> = refusals.iter().map(Refusal::shortage).collect();
            let Some(shortage) = shortages.and_then(|all| all.into_iter().next()) else {
                return Err(refusals);
            };
            match choose(1, &shortage) {
                Ok(surge) if surge.is_empty() => Err(refusals),
                Ok(surge) => with(surge).map_err(|_| refusals),
                Err(why) => Err(refusals.into_iter().chain([why]).collect()),
            }
        }
        SurgeSetting::Auto | SurgeSetting::Never => with(Vec::new()),
    }
}

/// Orders the lanes, given the surge servers that have joined by then.
fn order_with(
    topology: &Topology,
    observation: &Observation,
    goal: &Goal,
    (drafts, surge): (&[LaneDraft], Vec<Surge>),
) -> Result<Ordered, Vec<Refusal>> {
    let balances = in_balances(balances(topology, drafts), &surge);
    let seen = joined(observation.load_balancers.clone(), &surge);
    let before = Simulation::new(topology, &balances, (&seen, observation), goal);
    let mut world = Simulation::new(topology, &balances, (&seen, observation), goal);
    let (mut lanes, mut refusals) = (Vec::new(), Vec::new());
    for draft in drafts {
        match world.lane(draft.clone()) {
            Ok(lane) => lanes.push(lane),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let waves = wave::group(&lanes, goal.parallel, |out| before.spares(out));
    Ok(Ordered { surge, balances, lanes, waves })
}

/// The servers of the backend, by what the plan does with them.
struct Sorted<'a> {
    /// The work, in the order in which it is done.
    drafts: Vec<LaneDraft<'a>>,
    unchanged: Vec<ServerId>,
    left: Vec<(&'a Server, LeftReason)>,
    notes: Vec<String>,
    refusals: Vec<Refusal>,
}

impl<'a> Sorted<'a> {
    fn new(topology: &'a Topology, observation: &'a Observation, goal: &'a Goal) -> Self {
        let backend = topology.backend(&goal.backend).expect("a goal names a backend that exists");
        let mut sorted = Self {
            drafts: Vec::new(),
            unchanged: Vec::new(),
            left: Vec::new(),
            notes: Vec::new(),
            refusals: Vec::new(),
        };
        let mut drafted: BTreeSet<&ServerId> = BTreeSet::new();
        for server in &backend.servers {
            if drafted.contains(&server.id) {
                continue;
            }
            if let Some(why) = goal.policy.scope.left(server, observation) {
                sorted.left.push((server, why));
                continue;
            }
            match lane_draft(topology, server, goal, observation) {
                Ok(Some(draft)) => {
                    drafted.extend(draft.servers.iter().map(|server| &server.id));
                    sorted.add(draft, observation, goal);
                }
                Ok(None) => sorted.unchanged.push(server.id.clone()),
                // Lines that share a container share their reasons.
                Err(refusal) if sorted.refusals.contains(&refusal) => {}
                Err(refusal) => sorted.refusals.push(refusal),
            }
        }
        // A line that shares its container with one in a lane is part of that lane.
        sorted.left.retain(|(server, _)| !drafted.contains(&server.id));
        if sorted.drafts.is_empty() && sorted.unchanged.is_empty() && sorted.refusals.is_empty() {
            let refusals = sorted.left.iter().filter_map(|(server, why)| no_container_refusal(server, *why));
            sorted.refusals.extend(refusals);
        }
        sorted.drafts.sort_by_key(|draft| (draft.serves(), draft.role()));
        sorted
    }

    /// Adds a lane, and decides which container takes the old one's place.
    fn add(&mut self, mut draft: LaneDraft<'a>, observation: &Observation, goal: &Goal) {
        self.refusals.extend(shared_namespaces(&draft, &observation.containers));
        let LaneDraft { servers, replacement, .. } = &mut draft;
        if let Some(replacement) = replacement {
            let old = replacement.old.as_ref();
            let kept = returning(&servers[0].id, goal, &observation.containers)
                .filter(|kept| servers.iter().all(|server| may_come_back(kept, server)));
            let obstacle = kept.as_ref().and_then(|kept| start::of_kept(kept, old, observation));
            self.notes.extend(obstacle.as_ref().zip(kept.as_ref()).map(|(obstacle, kept)| {
                format!(
                    "{} cannot be started again ({obstacle}): a new one is created in its place",
                    kept.name
                )
            }));
            replacement.returning = kept.filter(|_| obstacle.is_none());
            replacement.pinned = pinned(replacement.old.as_ref(), servers);
            replacement.name = own_name(replacement, &observation.containers);
            replacement.renew_volumes = goal.policy.renew_anon_volumes && replacement.is_created();
            let keep = replacement.kept(goal.policy.keep);
            replacement.outdated = outdated(replacement, keep, &observation.containers);
            self.refusals.extend(start_refusal(replacement, servers, goal, observation));
        }
        self.drafts.push(draft);
    }
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
fn images(lanes: &[Lane], surge: &[Surge], target: &Target) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    if let (Target::Everywhere(image), []) = (target, lanes) {
        images.push(image.clone());
    }
    let replacements = lanes.iter().filter_map(|lane| lane.replacement.as_ref());
    let created = replacements.filter(|it| it.is_created()).map(|it| &it.image);
    for image in created.chain(surge.iter().map(|it| &it.image)) {
        if !images.contains(image) {
            images.push(image.clone());
        }
    }
    images
}

#[cfg(test)]
mod tests;
