//! The warnings of a plan: facts for the operator that do not stop the run.

mod carried;

use std::collections::BTreeMap;

use super::health;
use crate::model::ids::ServerId;
use crate::model::words::{list, sessions};
use crate::observation::watchtower::is_movable;
use crate::observation::{AdminState, Checking, Container, Described, LoadBalancerState, Observation, Owner};
use crate::plan::before::{Before, is_dead};
use crate::plan::refusal::no_match_reason;
use crate::plan::rest::{LeftReason, Rest};
use crate::plan::text::seconds;
use crate::plan::{Goal, Lane, LaneServer, OnDrainTimeout, Replacement};
use crate::topology::matching::{ContainerRole, MatchResult};
use crate::topology::traffic::{Balance, Forecast};
use crate::topology::updaters::{UpdateSubject, updaters};
use crate::topology::{Server, Topology};

/// Returns all warnings, beginning with those about the whole run.
pub(super) fn all(
    topology: &Topology,
    observation: &Observation,
    balances: &[Balance],
    (lanes, unchanged, rest): (&[Lane], &[ServerId], &Rest),
    goal: &Goal,
) -> Vec<String> {
    let mut warnings = of_the_run(topology, &observation.containers, balances, lanes, goal);
    warnings.extend(carried::all(observation, lanes));
    warnings.extend(observation.load_balancers.iter().flat_map(|seen| old_workers(seen, lanes)));
    warnings.extend(balances.iter().filter_map(|balance| balance.unpublished(&observation.load_balancers)));
    warnings.extend(lanes.iter().flat_map(|lane| silent(topology, lane)));
    warnings.extend(lanes.iter().flat_map(|lane| of_health(observation, lane, goal)));
    warnings.extend(lanes.iter().flat_map(|lane| carried_by_unmanaged_servers(topology, lane)));
    warnings.extend(topology.backends.iter().flat_map(|it| &it.servers).filter_map(|it| left(it, rest)));
    let servers = || topology.backend(&goal.backend).into_iter().flat_map(|backend| &backend.servers);
    let subjects = watched(observation, lanes, servers());
    let updaters = updaters(subjects, &observation.containers);
    warnings.extend(updaters.iter().map(|it| format!("{}: {}", it.what(), it.remedy())));
    for server in servers().filter(|server| unchanged.contains(&server.id)) {
        let beside: Vec<&Server> = std::iter::once(server).chain(topology.aliases_of(server)).collect();
        let dead: Vec<String> = beside.iter().filter(|it| is_dead(it, &beside)).map(|it| dead(it)).collect();
        let is_reported = is_dead(server, &beside);
        warnings.extend(left_down(server).filter(|_| !is_reported));
        warnings.extend(dead.into_iter().filter(|it| !warnings.contains(it)).collect::<Vec<_>>());
    }
    warnings
}

/// Returns the containers of the backend as they will be after the run.
fn watched<'a>(
    observation: &'a Observation,
    lanes: &'a [Lane],
    servers: impl Iterator<Item = &'a Server>,
) -> impl Iterator<Item = UpdateSubject<'a>> {
    let replaced = lanes.iter().filter_map(|lane| Some((lane, lane.replacement.as_ref()?)));
    let is_replaced = |it: &Server| replaced.clone().any(|(lane, _)| lane.id_set().contains(&it.id));
    let stay: Vec<&Container> =
        servers.filter(|server| !is_replaced(server)).filter_map(Server::container).collect();
    let new = replaced.map(|(lane, it)| coming(it, observation.described.get(&lane.name().backend)));
    new.chain(stay.into_iter().filter_map(UpdateSubject::now))
}

/// Returns the container that will run. New ones are created under the requested image name.
fn coming<'a>(replacement: &'a Replacement, described: Option<&'a Described>) -> UpdateSubject<'a> {
    let name = &replacement.name;
    if let Some(kept) = &replacement.returning {
        return UpdateSubject { name, ..UpdateSubject::running(kept) };
    }
    let described = described.filter(|_| replacement.described);
    UpdateSubject {
        engine: &replacement.like.engine,
        name,
        is_movable: replacement.image.asked_for().is_some_and(|name| is_movable(&name)),
        labels: described.map_or(&replacement.like.update_labels, |it| &it.update_labels),
    }
}

/// Returns notes on the lines of a lane that do not answer: dead lines, and lines on which the new container must do
/// something that drainswap cannot see the old one do.
fn silent(topology: &Topology, lane: &Lane) -> Vec<String> {
    let ids = lane.id_set();
    let all = topology.backends.iter().flat_map(|backend| &backend.servers);
    let lines: Vec<&Server> = all.filter(|server| ids.contains(&server.id)).collect();
    let note = |line: &&Server| {
        let Before { up, answered } = Before::of(line);
        if let Some(note) = unchecked(line).filter(|_| lane.replacement.is_some()) {
            return Some(note);
        }
        if is_dead(line, &lines) {
            return Some(dead(line));
        }
        (up && !answered && lane.replacement.is_some()).then(|| {
            format!(
                "{} does not answer drainswap's own probe ({}), although HAProxy's check reports it up: the new container must answer it",
                line.id,
                line.answer_detail()
            )
        })
    };
    lines.iter().filter_map(note).collect()
}

/// Returns what Docker's healthcheck means for the lane's new container.
fn of_health(observation: &Observation, lane: &Lane, goal: &Goal) -> Vec<String> {
    let Some(replacement) = &lane.replacement else { return Vec::new() };
    let described = observation.described.get(&lane.name().backend);
    let answers = lane.servers.iter().any(LaneServer::answered);
    health::warnings(replacement, answers, described, goal.policy.ready_timeout)
}

/// Returns a note if a line's own check decides but is turned off.
fn unchecked(line: &Server) -> Option<String> {
    let own_check = line.own_check.as_ref()?;
    let is_off = line.state.as_ref().is_some_and(|state| state.checks.health == Checking::Off);
    is_off.then(|| {
        format!(
            "the health check of {} is turned off, but only that check can tell whether a container serves ({}): the new one goes into service as soon as it accepts connections",
            line.id, own_check.why
        )
    })
}

/// Returns how a line without a container is left, and what to do if it should have one.
fn left(server: &Server, rest: &Rest) -> Option<String> {
    let is_left = rest.left.iter().any(|it| it.server == server.id && it.why == LeftReason::NoContainer);
    let state = server.state.as_ref().filter(|_| is_left)?;
    let address = state.address.map_or_else(|| "no address".to_owned(), |address| address.to_string());
    let why = match &server.behind {
        MatchResult::Unmatched { why, .. } => no_match_reason(why, &address),
        MatchResult::Container(_)
        | MatchResult::Gone { .. }
        | MatchResult::Described { .. }
        | MatchResult::Ambiguous { .. } => String::new(),
    };
    let (id, place, status) = (&server.id, &server.place, &state.status);
    Some(format!(
        "no container is behind {id} ({place}, {address}){why}. The server is left as it is and counts as HAProxy reports it ({status}). If it does have a container, give that the label drainswap.server={id}"
    ))
}

/// Returns a note for each backend that only servers without a container serve while a lane is out.
fn carried_by_unmanaged_servers(topology: &Topology, lane: &Lane) -> Vec<String> {
    let all = || topology.backends.iter().flat_map(|backend| &backend.servers);
    let is_foreign = |id: &ServerId| all().any(|server| server.id == *id && server.is_foreign());
    let carried = lane.forecasts.iter().filter(|forecast| {
        !forecast.shares.is_empty() && forecast.shares.iter().all(|share| is_foreign(&share.server))
    });
    let servers =
        |forecast: &Forecast| forecast.shares.iter().map(|share| share.server.clone()).collect::<Vec<_>>();
    let notes = carried.map(|forecast| {
        let (only, backend) = (list(&servers(forecast)), &forecast.backend);
        format!(
            "only {only}, which drainswap does not replace, serves {backend} while {} is out",
            list(&lane.ids())
        )
    });
    notes.collect()
}

fn dead(line: &Server) -> String {
    format!(
        "{} ({}) does not answer ({}), and no check reports it up: drainswap does not probe it and leaves it as it is. Remove the line if it is not used",
        line.id,
        line.place,
        line.answer_detail()
    )
}

fn of_the_run(
    topology: &Topology,
    containers: &[Container],
    balances: &[Balance],
    lanes: &[Lane],
    goal: &Goal,
) -> Vec<String> {
    let mut warnings = Vec::new();
    for balance in balances {
        warnings.extend(
            topology.backend(&balance.backend).into_iter().flat_map(|backend| backend.caveats.clone()),
        );
        let ties = topology.backend(&balance.backend).map_or(&[][..], |backend| &backend.persistence);
        if !ties.is_empty() {
            warnings.push(format!(
                "backend {} ties clients to servers by {}: in drain these clients still come, so a drain may last until they leave; in maint they are balanced over the other servers",
                balance.backend,
                ties.join(", ")
            ));
        }
    }
    for lane in lanes {
        let old = lane.replacement.as_ref().and_then(|replacement| replacement.old.as_ref());
        let lives_in = |it: &&Container, old: &Container| {
            it.engine == old.engine && it.lives_in.contains(&old.id) && !ContainerRole::is_name(&it.name)
        };
        // Running ones are a reason to refuse.
        for (old, lodger) in old
            .iter()
            .flat_map(|old| containers.iter().filter(|it| lives_in(it, old)).map(move |lodger| (old, lodger)))
        {
            warnings.push(format!(
                "container {} is stopped and uses a namespace of {}, which it will lose: recreate it after the deploy",
                lodger.name, old.name
            ));
        }
        for server in lane.enabled().filter(|server| server.was != AdminState::Ready) {
            warnings.push(format!("{} is in {}, and will be put back in service", server.id, server.was));
        }
        if let Some(like) = lane.replacement.as_ref().map(|it| &it.like).filter(|like| like.image_is_gone) {
            warnings.push(format!(
                "the image of {} is no longer on its engine, so image defaults cannot be told apart from given settings: all of them are carried over",
                like.name
            ));
        }
    }
    warnings.extend(of_compose(lanes));
    let limit = seconds(goal.policy.drain_timeout);
    match goal.policy.on_drain_timeout {
        OnDrainTimeout::Fail | OnDrainTimeout::Maint => {}
        OnDrainTimeout::Shutdown => warnings.push(format!(
            "sessions that have not ended after {limit} will be ended within {} (--on-drain-timeout shutdown)",
            seconds(goal.policy.shutdown_over)
        )),
        OnDrainTimeout::Force => warnings.push(format!(
            "sessions that have not ended after {limit} will be cut (--on-drain-timeout force)"
        )),
    }
    warnings
}

/// Returns what Compose's own commands do to the containers of its projects after a deploy (seen with 1.29 and 2.40).
fn of_compose(lanes: &[Lane]) -> Vec<String> {
    let mut projects: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let old = lanes.iter().filter_map(|lane| lane.replacement.as_ref()?.old.as_ref());
    for container in old {
        if let Some(Owner::Compose(project)) = &container.owner {
            projects.entry(project).or_default().push(&container.name);
        }
    }
    let note = |(project, containers): (&str, Vec<&str>)| {
        let (belong, them) = if containers.len() == 1 { ("belongs", "it") } else { ("belong", "them") };
        format!(
            "{} {belong} to the Compose project {project}: after the deploy `up` leaves {them} alone until the service changes in the file, and then replaces {them} without a drain. Put the new image into the file too, and use `up --no-recreate`. Do not run Compose during the run or while it is unfinished: `up` then removes the new containers",
            containers.join(", ")
        )
    };
    projects.into_iter().map(note).collect()
}

/// Returns a note if a server runs the wanted image and answers, but `HAProxy` does not use it.
fn left_down(server: &Server) -> Option<String> {
    let state = server.state.as_ref().filter(|state| !state.is_usable())?;
    Some(format!("{} runs the wanted image, but HAProxy reports it as {}", server.id, state.status))
}

/// Returns the sessions that old workers hold to the lanes' servers, or a note that they cannot be seen.
fn old_workers(seen: &LoadBalancerState, lanes: &[Lane]) -> Vec<String> {
    let replaces = lanes.iter().any(|lane| lane.replacement.is_some());
    let Some(workers) = &seen.old_workers else {
        let unseen = "cannot see the sessions of HAProxy's old workers after a reload: no master socket is known \
                      (haproxy -S, --master-socket). A reload during the run will abort it";
        return if replaces { vec![unseen.to_owned()] } else { Vec::new() };
    };
    let mut warnings = Vec::new();
    for lane in lanes {
        for worker in workers {
            let held = seen.sessions_of_old_worker(worker, &lane.ids());
            if held > 0 {
                warnings.push(format!(
                    "HAProxy's old worker {} still holds {} to {}, which the drain waits for",
                    worker.pid,
                    sessions(held),
                    lane.name()
                ));
            }
        }
    }
    warnings
}
