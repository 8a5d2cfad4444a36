//! Builds a plan from the topology and a goal, or lists every reason against it.
//!
//! Servers that do not serve come first, because fixing them only adds capacity. Then, as in the process that
//! drainswap replaces, come the primaries, one at a time, and then the backups.

mod health;
mod start;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::{RunId, ServerId};
use crate::model::image::Image;
use crate::model::probe::ProbeUrl;
use crate::observation::{
    AdminState, Checking, Container, ContainerState, LoadBalancerState, Observation, Pinned, PinnedAddress,
    ServerState,
};
use crate::plan::before::{Before, is_dead};
use crate::plan::kept;
use crate::plan::refusal::Refusal;
use crate::plan::rest::{LeftReason, LeftServer, OutOfService, Rest};
use crate::plan::scope::Scope;
use crate::plan::wave;
use crate::plan::{
    Cause, Goal, Lane, LaneServer, Plan, Policy, Replacement, RunKind, Step, Target, Worker, floor,
};
use crate::topology::matching::{ContainerRole, MatchResult, MatchRule, NoMatch};
use crate::topology::own_check::OwnCheck;
use crate::topology::reach::reach;
use crate::topology::traffic::{Balance, Forecast};
use crate::topology::{Role, Server, Topology};

/// Plans a goal.
///
/// # Errors
/// Returns every reason against the goal, not only the first. Nothing has been changed.
///
/// # Panics
/// If the topology does not have the goal's backend. Callers look the backend up first.
pub fn build(topology: &Topology, observation: &Observation, goal: &Goal) -> Result<Plan, Vec<Refusal>> {
    let backend = topology.backend(&goal.backend).expect("a goal names a backend that exists");
    let mut refusals = Vec::new();
    let mut unchanged: Vec<ServerId> = Vec::new();
    let mut left: Vec<(&Server, LeftReason)> = Vec::new();
    let mut drafts: Vec<LaneDraft> = Vec::new();
    let mut drafted: BTreeSet<&ServerId> = BTreeSet::new();
    let mut notes: Vec<String> = Vec::new();
    for server in &backend.servers {
        if drafted.contains(&server.id) {
            continue;
        }
        if let Some(why) = goal.policy.scope.left(server, observation) {
            left.push((server, why));
            continue;
        }
        match draft(topology, server, goal, observation) {
            Ok(Some(mut draft)) => {
                refusals.extend(shared_namespaces(&draft, &observation.containers));
                let servers = draft.servers.clone();
                if let Some(replacement) = &mut draft.replacement {
                    let old = replacement.old.as_ref();
                    let kept = returning(&server.id, goal, &observation.containers)
                        .filter(|kept| servers.iter().all(|server| may_come_back(kept, server)));
                    let obstacle = kept.as_ref().and_then(|kept| start::of_kept(kept, old, observation));
                    notes.extend(obstacle.as_ref().zip(kept.as_ref()).map(|(obstacle, kept)| {
                        format!(
                            "{} cannot be started again ({obstacle}): a new one is created in its place",
                            kept.name
                        )
                    }));
                    replacement.returning = kept.filter(|_| obstacle.is_none());
                    replacement.pinned = pinned(replacement.old.as_ref(), &servers);
                    replacement.name = own_name(replacement, &observation.containers);
                    replacement.renew_volumes = goal.policy.renew_anon_volumes && replacement.is_created();
                    let keep = replacement.kept(goal.policy.keep);
                    replacement.outdated = outdated(replacement, keep, &observation.containers);
                    refusals.extend(start_refusal(replacement, &servers, goal, observation));
                }
                drafted.extend(draft.servers.iter().map(|server| &server.id));
                drafts.push(draft);
            }
            Ok(None) => unchanged.push(server.id.clone()),
            // Lines that share a container share their reasons.
            Err(refusal) if refusals.contains(&refusal) => {}
            Err(refusal) => refusals.push(refusal),
        }
    }
    // A line that shares its container with one in a lane is part of that lane.
    left.retain(|(server, _)| !drafted.contains(&server.id));
    if drafts.is_empty() && unchanged.is_empty() && refusals.is_empty() {
        refusals.extend(left.iter().filter_map(|(server, why)| no_container_refusal(server, *why)));
    }
    drafts.sort_by_key(|draft| (draft.serves(), draft.role()));

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

/// Returns why a run cannot work on a line, for a backend in which nothing has a container; `None` if the line is
/// left on request.
fn no_container_refusal(server: &Server, why: LeftReason) -> Option<Refusal> {
    match (why, &server.behind) {
        (LeftReason::Leave | LeftReason::NotAsked | LeftReason::NotCreated, _) => None,
        (
            LeftReason::NoContainer | LeftReason::NoAddress | LeftReason::Spare,
            MatchResult::Unmatched { why, candidates },
        ) => Some(unmatched(server, why, candidates)),
        (LeftReason::NoContainer | LeftReason::NoAddress | LeftReason::Spare, _) => Some(no_address(server)),
    }
}

fn unmatched(server: &Server, why: &NoMatch, candidates: &[String]) -> Refusal {
    let Some(address) = server.address() else { return no_address(server) };
    Refusal::Unmatched {
        server: server.id.clone(),
        place: server.place.to_string(),
        address: address.to_string(),
        why: why.clone(),
        candidates: candidates.to_vec(),
    }
}

/// The work on one replica, before its place in the order and its forecast are known.
struct LaneDraft<'a> {
    servers: Vec<&'a Server>,
    cause: Cause,
    replacement: Option<Replacement>,
}

impl LaneDraft<'_> {
    fn role(&self) -> Role {
        self.servers.iter().map(|server| server.role).min().unwrap_or(Role::Backup)
    }

    /// Returns whether any of its lines gets requests and answers.
    fn serves(&self) -> bool {
        self.servers.iter().any(|server| server.is_usable() && server.answers())
    }

    fn steps(&self, keep: usize) -> Vec<Step> {
        use Step::{
            AwaitIdle, Confirm, Create, Drain, Maint, Prove, Ready, Remove, Settle, Start, Stop, Verify,
        };
        let Some(replacement) = &self.replacement else { return vec![Prove, Ready, Confirm] };
        let in_rotation = self.servers.iter().any(|server| admin(server) != AdminState::Maint);
        let mut steps = match &replacement.old {
            None => vec![Create, Maint, Start, Prove, Ready, Confirm, Remove],
            Some(old) if !runs(old) => vec![Create, Maint, Stop, Start, Prove, Ready, Confirm, Remove],
            Some(_) if !in_rotation => {
                vec![Create, AwaitIdle, Maint, Settle, Stop, Start, Prove, Ready, Confirm, Remove]
            }
            Some(_) => {
                vec![
                    Create, Verify, Drain, AwaitIdle, Maint, Settle, Stop, Start, Prove, Ready, Confirm,
                    Remove,
                ]
            }
        };
        steps.retain(|step| {
            !(*step == Create && replacement.returning.is_some()
                || *step == Remove && replacement.keeps_all(keep))
        });
        steps
    }
}

fn admin(server: &Server) -> AdminState {
    server.state.as_ref().map_or(AdminState::Ready, |state| state.admin.state())
}

fn runs(container: &Container) -> bool {
    container.state == ContainerState::Running
}

/// Returns the work for the replica behind a server, or `None` if there is none.
fn draft<'a>(
    topology: &'a Topology,
    server: &'a Server,
    goal: &Goal,
    observation: &Observation,
) -> Result<Option<LaneDraft<'a>>, Refusal> {
    let place = server.place.to_string();
    server.state.as_ref().ok_or_else(|| Refusal::UnknownToHaproxy { server: server.id.clone(), place })?;
    let image = goal.target.image(&server.id);
    let draft = match (&server.behind, image) {
        (MatchResult::Ambiguous { .. }, _) => return ambiguous(server).map_or(Ok(None), Err),
        (MatchResult::Unmatched { why, candidates }, _) => return Err(unmatched(server, why, candidates)),
        (MatchResult::Container(_) | MatchResult::Gone { .. } | MatchResult::Described { .. }, None) => None,
        (MatchResult::Described { like, publish, name }, Some(image)) => {
            let replacement = Replacement {
                publish: Some(*publish),
                name: name.clone(),
                described: true,
                ..Replacement::like(like, image)
            };
            let servers = lines_in_order(topology, server);
            Some(LaneDraft { servers, cause: Cause::NotYetThere, replacement: Some(replacement) })
        }
        (MatchResult::Gone { like, publish, name }, Some(image)) => {
            let replacement =
                Replacement { publish: Some(*publish), name: name.clone(), ..Replacement::like(like, image) };
            let (servers, cause) =
                (lines_in_order(topology, server), Cause::ContainerGone { like: like.name.clone() });
            Some(LaneDraft { servers, cause, replacement: Some(replacement) })
        }
        (MatchResult::Container(found), Some(image)) => {
            let servers: Vec<&Server> = lines_in_order(topology, server);
            container_draft(servers, (&found.container, image), goal, observation)
        }
    };
    match &draft {
        Some(draft) => refuse_container(draft)
            .or_else(|| mixed_states(draft, goal, observation))
            .or_else(|| unlisted(topology, draft))
            .or_else(|| persistence_keeps_clients(topology, draft))
            .map_or(Ok(()), Err)?,
        None => return Ok(None),
    }
    Ok(draft)
}

/// Returns every line to the same replica, beginning with `server`.
fn lines_in_order<'a>(topology: &'a Topology, server: &'a Server) -> Vec<&'a Server> {
    std::iter::once(server).chain(topology.aliases_of(server)).collect()
}

fn container_draft<'a>(
    servers: Vec<&'a Server>,
    (container, image): (&Container, &Image),
    goal: &Goal,
    observation: &Observation,
) -> Option<LaneDraft<'a>> {
    let replace = |servers: Vec<&'a Server>, cause| {
        // A rollback returns to what ran before, whatever drainswap.toml describes now.
        let described = observation.described.get(&servers[0].id.backend);
        let replacement = match described.filter(|_| goal.purpose == RunKind::Deploy) {
            Some(described) => Replacement::described(container, described, servers[0].address(), image),
            None => Replacement { old: Some(container.clone()), ..Replacement::like(container, image) },
        };
        Some(LaneDraft { servers, cause, replacement: Some(replacement) })
    };
    if !image.is_run_by(&container.image, &container.repo_digests) {
        return replace(servers, Cause::OtherImage { runs: container.running_image() });
    }
    let kept_state = |server: &Server| goal.policy.scope.kept_state(server, &observation.left_out);
    // If all of its lines were taken out of service by hand, there is a reason to leave it as it is.
    let is_kept_out = servers.iter().all(|server| kept_state(server).is_some());
    if !runs(container) && !is_kept_out {
        return replace(servers, Cause::NotServing { why: "its container does not run".to_owned() });
    }
    let alive = || servers.iter().filter(|server| !is_dead(server, &servers));
    if let Some(silent) = alive().find(|server| !server.answers() && kept_state(server).is_none()) {
        let why = silent.answer_detail().to_owned();
        return replace(servers, Cause::NotServing { why });
    }
    let kept = returning(&servers[0].id, goal, &observation.containers);
    if kept.is_some_and(|kept| kept.id != container.id) {
        return replace(servers, Cause::Superseded);
    }
    let has_drifted = observation.drift.get(&container.id).is_some_and(|drift| !drift.is_empty());
    if has_drifted && goal.purpose == RunKind::Deploy {
        return replace(servers, Cause::Drifted);
    }
    let states = alive().filter(|server| kept_state(server).is_none()).map(|server| admin(server));
    let left_in = states.max().filter(|state| *state != AdminState::Ready)?;
    Some(LaneDraft { servers, cause: Cause::OutOfService { left_in }, replacement: None })
}

/// Returns why the new container would not start, or would not be healthy in time.
fn start_refusal(
    replacement: &Replacement,
    servers: &[&Server],
    goal: &Goal,
    observation: &Observation,
) -> Option<Refusal> {
    let described = observation.described.get(&servers[0].id.backend);
    let new = Some(replacement).filter(|it| it.is_created());
    new.and_then(|it| start::of_new(it, servers, described, observation))
        .or_else(|| health::refusal(replacement, servers, described, goal.policy.ready_timeout))
}

/// Returns a refusal if running containers use a namespace of the container to stop.
fn shared_namespaces(draft: &LaneDraft, containers: &[Container]) -> Option<Refusal> {
    let old = draft.replacement.as_ref()?.old.as_ref()?;
    let lives_there = |it: &&Container| it.engine == old.engine && runs(it) && it.lives_in.contains(&old.id);
    let dependents: Vec<String> = containers.iter().filter(lives_there).map(|it| it.name.clone()).collect();
    let (server, container) = (draft.servers[0].id.clone(), old.name.clone());
    (!dependents.is_empty()).then_some(Refusal::SharedNamespaces { server, container, dependents })
}

/// Returns the container that the server ran before, if it is still kept.
fn returning(server: &ServerId, goal: &Goal, containers: &[Container]) -> Option<Container> {
    let returned = goal.target.rollback_target(server)?;
    let as_it_was = returned.container.as_ref()?;
    let found = returned.kept_among(containers)?;
    // A kept container has no restart policy.
    Some(Container { restart: as_it_was.restart.clone(), ..found.clone() })
}

/// Returns what the engine chose for the container to replace: its published ports, and those of its addresses that
/// server lines name by number.
fn pinned(old: Option<&Container>, servers: &[&Server]) -> Pinned {
    let Some(old) = old.filter(|old| runs(old)) else { return Pinned::default() };
    let mut addresses: Vec<PinnedAddress> = servers.iter().filter_map(|server| own_address(server)).collect();
    addresses.dedup();
    Pinned { ports: old.published.clone(), udp_ports: old.published_udp.clone(), addresses }
}

/// Returns the address of the server's container in one of its networks, if the server line names it by number.
fn own_address(server: &Server) -> Option<PinnedAddress> {
    let address = server.address()?.ip();
    if server.rule() != Some(MatchRule::OwnAddress) || server.host_name.is_some() {
        return None;
    }
    let network = server.container()?.networks.iter().find(|network| network.addresses.contains(&address))?;
    Some(PinnedAddress { network: network.network.clone(), address })
}

/// Returns whether a kept container publishes the server's address again when it starts. If its engine would choose
/// the port, a new container is created instead.
fn may_come_back(kept: &Container, server: &Server) -> bool {
    match (server.rule(), server.address()) {
        (Some(MatchRule::Published | MatchRule::PublishedEverywhere), Some(address)) => {
            reach(kept, address, true).is_some()
        }
        _ => true,
    }
}

/// Returns the name of the new container. If another tool started a container that was put aside, that is its
/// original name.
fn own_name(replacement: &Replacement, containers: &[Container]) -> String {
    let given = &replacement.name;
    let is_taken =
        |name: &str| containers.iter().any(|it| it.engine == replacement.like.engine && it.name == name);
    let own = ContainerRole::Previous.read(given).map(|(own, _)| own).filter(|own| !is_taken(own));
    own.unwrap_or(given).to_owned()
}

/// Returns the oldest kept containers of the same place that exceed `keep` once this one's predecessor is kept too. A
/// container with an anonymous volume that no other has stays: only `drainswap prune` removes data.
fn outdated(replacement: &Replacement, keep: usize, containers: &[Container]) -> Vec<Container> {
    let mut found = kept::kept(containers, &replacement.name);
    let ports = replacement.publish.map_or_else(|| replacement.like.published.clone(), |port| vec![port]);
    found.retain(|it| it.engine == replacement.like.engine && kept::may_share_place(it, &ports));
    found.retain(|it| replacement.returning.as_ref().is_none_or(|returning| returning.id != it.id));
    let room = keep.saturating_sub(usize::from(replacement.old.is_some()));
    let outdated: Vec<&Container> = found.into_iter().skip(room).collect();
    let others = || containers.iter().filter(|it| outdated.iter().all(|outdated| outdated.id != it.id));
    let may_go = |it: &&&Container| it.is_of_compose() || it.own_volumes(others()).is_empty();
    outdated.iter().filter(may_go).map(|it| (*it).clone()).collect()
}

/// Returns a refusal if requests reach the container to stop through a server that is not in haproxy.cfg. Such a
/// server cannot be drained like the others, because it is unknown where it is defined and what a reload does to it.
fn unlisted(topology: &Topology, draft: &LaneDraft) -> Option<Refusal> {
    let old = draft.replacement.as_ref()?.old.as_ref()?;
    let found = topology.unlisted_aliases_of(&draft.servers).next()?;
    Some(Refusal::Unlisted {
        server: draft.servers[0].id.clone(),
        container: old.name.clone(),
        unlisted: found.state.id.clone(),
        status: found.state.status.clone(),
        sessions: found.state.sessions,
        load_balancer: found.load_balancer.clone(),
    })
}

/// Returns a refusal if a server's own check decides and its backend sends clients to servers that are down. Such a
/// server goes into service as down, so clients would reach a container that is not ready.
fn persistence_keeps_clients(topology: &Topology, draft: &LaneDraft) -> Option<Refusal> {
    draft.replacement.as_ref()?;
    let persists = |server: &&&Server| topology.backend(&server.id.backend).is_some_and(|it| it.persists);
    draft.servers.iter().filter(persists).find_map(|server| {
        let OwnCheck { why, .. } = server.own_check.clone()?;
        Some(Refusal::PersistentClients { server: server.id.clone(), place: server.place.to_string(), why })
    })
}

fn ambiguous(server: &Server) -> Option<Refusal> {
    let MatchResult::Ambiguous { candidates } = &server.behind else { return None };
    let (place, candidates) = (server.place.to_string(), candidates.clone());
    Some(Refusal::Ambiguous { server: server.id.clone(), place, candidates })
}

/// Returns a refusal if labels put different containers behind lines of the same address. Only one of them can have
/// the address, unless the settings decide otherwise.
fn contradiction(servers: &[&Server]) -> Option<Refusal> {
    let (first, id) = (servers[0], |server: &Server| server.container().map(|it| it.id.clone()));
    let is_decided = |server: &Server| server.rule() == Some(MatchRule::Settings);
    let other =
        servers.iter().find(|it| it.container().is_some() && id(it) != id(first) && !is_decided(it))?;
    let named = |it: &Server| it.container().map(|behind| format!("{} (behind {})", behind.name, it.id));
    let candidates = [first, *other].into_iter().filter_map(named).collect();
    Some(Refusal::Ambiguous { server: first.id.clone(), place: first.place.to_string(), candidates })
}

/// The network in which Docker assigns any free address and does not accept requests for one.
const DEFAULT_NETWORK: &str = "bridge";

/// Returns a refusal if a server is in service at one load balancer and out of service at another.
fn mixed_states(draft: &LaneDraft, goal: &Goal, observation: &Observation) -> Option<Refusal> {
    let torn = draft.servers.iter().find(|server| goal.policy.scope.has_mixed_states(server, observation))?;
    let (server, state) = (torn.id.clone(), admin(torn));
    let out = observation
        .load_balancers
        .iter()
        .find(|seen| seen.server(&torn.id).is_some_and(|state| state.admin.state() != AdminState::Ready));
    Some(Refusal::MixedStates {
        server,
        state,
        out_at: out.map_or_else(String::new, |seen| seen.name.clone()),
    })
}

/// Returns what prevents the work on a replica, regardless of the traffic.
fn refuse_container(draft: &LaneDraft) -> Option<Refusal> {
    let server = draft.servers[0].id.clone();
    if let Some(unknown) = draft.servers.iter().find(|server| server.state.is_none()) {
        let place = unknown.place.to_string();
        return Some(Refusal::UnknownToHaproxy { server: unknown.id.clone(), place });
    }
    if let Some(state) = draft
        .servers
        .iter()
        .filter_map(|server| server.state.as_ref())
        .find(|state| state.admin.is_inherited())
    {
        return Some(Refusal::StateInherited { server: state.id.clone(), status: state.status.clone() });
    }
    if let Some(refusal) =
        draft.servers.iter().find_map(|it| ambiguous(it)).or_else(|| contradiction(&draft.servers))
    {
        return Some(refusal);
    }
    let replacement = draft.replacement.as_ref()?;
    if let Some(old) = replacement.old.as_ref().filter(|old| old.state.is_idle())
        && draft.servers.iter().any(|server| server.answers())
    {
        return Some(Refusal::UnknownListener { server, container: old.name.clone() });
    }
    let like = &replacement.like;
    let container = like.name.clone();
    if let Some((lost, pinned)) = draft.servers.iter().find_map(|server| {
        let pinned = own_address(server).filter(|pinned| pinned.network == DEFAULT_NETWORK)?;
        Some((server, pinned))
    }) {
        let (server, place, address) = (lost.id.clone(), lost.place.to_string(), pinned.address);
        return Some(Refusal::AddressNotKept { server, place, container, address });
    }
    if let (true, Some(publish)) = (replacement.described, replacement.publish)
        && let Some(other) =
            draft.servers.iter().find(|it| it.address().is_some_and(|it| it.port() != publish.port))
    {
        return Some(Refusal::OtherPort { server, container, other: other.id.clone() });
    }
    // Quadlet starts its containers with --rm, so the owner is the better advice.
    if let Some((owner, own_way)) =
        like.owner.as_ref().and_then(|owner| Some((owner, owner.update_method()?)))
    {
        return Some(Refusal::ManagedByOther { server, container, owner: owner.clone(), own_way });
    }
    like.auto_remove.then_some(Refusal::AutoRemove { server, container })
}

/// The state of the servers while the lanes run one after the other.
struct Simulation<'a> {
    balances: &'a [Balance],
    load_balancers: &'a [LoadBalancerState],
    policy: &'a Policy,
    left_out: &'a BTreeSet<ServerId>,
    purpose: RunKind,
    /// The servers of those backends, by identifier.
    servers: BTreeMap<&'a ServerId, &'a Server>,
    /// The weight of every usable server, for each load balancer.
    usable: Vec<BTreeMap<ServerId, u32>>,
    /// The servers that an earlier lane has proved.
    proved: BTreeSet<ServerId>,
}

impl<'a> Simulation<'a> {
    fn new(
        topology: &'a Topology,
        balances: &'a [Balance],
        observation: &'a Observation,
        goal: &'a Goal,
    ) -> Self {
        let load_balancers = &observation.load_balancers;
        let servers = touched(topology, balances).map(|server| (&server.id, server)).collect();
        let usable = |seen: &LoadBalancerState| {
            let usable = seen.servers.iter().filter(|server| server.is_usable());
            usable.map(|server| (server.id.clone(), server.weight)).collect()
        };
        let usable = load_balancers.iter().map(usable).collect();
        Self {
            balances,
            load_balancers,
            policy: &goal.policy,
            left_out: &observation.left_out,
            purpose: goal.purpose,
            usable,
            servers,
            proved: BTreeSet::new(),
        }
    }

    /// Returns where each load balancer would send a backend's traffic.
    fn forecasts(&self, balance: &Balance, out: &BTreeSet<ServerId>) -> Vec<Forecast> {
        self.usable.iter().map(|usable| balance.share(|id| usable.get(id).copied(), out)).collect()
    }

    /// Returns whether floor and headroom hold without these servers.
    fn spares(&self, out: &BTreeSet<ServerId>) -> bool {
        self.balances.iter().filter(|balance| balance.has_any(out)).all(|balance| {
            let before = self.forecasts(balance, &BTreeSet::new());
            let after = self.forecasts(balance, out);
            self.load_balancers.iter().zip(before).zip(after).all(|((seen, before), after)| {
                floor::check(balance, &before, &after, out, self.policy.floor).is_ok()
                    && floor::check_room(balance, &before, &after, seen, self.policy).is_ok()
            })
        })
    }

    /// Takes the lane's servers out, checks the consequences, and puts the new ones in.
    fn lane(&mut self, draft: LaneDraft) -> Result<Lane, Refusal> {
        let out: BTreeSet<ServerId> = draft.servers.iter().map(|server| server.id.clone()).collect();
        let (dead, alive): (Vec<&Server>, Vec<&Server>) =
            draft.servers.iter().partition(|server| is_dead(server, &draft.servers));
        // Dead servers do not serve, so nothing depends on them.
        for usable in &mut self.usable {
            for server in &dead {
                usable.remove(&server.id);
            }
        }
        let mut forecasts = Vec::new();
        for balance in self.balances.iter().filter(|b| b.has_any(&out)) {
            let before = self.forecasts(balance, &BTreeSet::new());
            let after = self.forecasts(balance, &out);
            for ((seen, before), after) in self.load_balancers.iter().zip(before).zip(after) {
                floor::check(balance, &before, &after, &out, self.policy.floor)
                    .map_err(|refusal| self.with_out_of_service_servers(refusal))?;
                floor::check_room(balance, &before, &after, seen, self.policy)?;
                self.takeover_servers_answer(
                    &draft,
                    floor::takeover_servers(&before, &after, self.policy.floor),
                )?;
                if !forecasts.contains(&after) {
                    forecasts.push(after);
                }
            }
        }
        let kept_state = |server: &Server| self.policy.scope.kept_state(server, self.left_out);
        for server in alive.iter().filter(|server| kept_state(server).is_none()) {
            // A weight of 0 stays, and a new container may not change what an agent says.
            let is_down_by_agent = server.state.as_ref().is_some_and(ServerState::is_down_by_agent);
            if weight(server) > 0 && !is_down_by_agent {
                for usable in &mut self.usable {
                    usable.insert(server.id.clone(), weight(server));
                }
            }
        }
        self.proved.extend(alive.iter().map(|server| server.id.clone()));
        let is_published =
            |balance: &&Balance| self.load_balancers.iter().any(|seen| balance.is_published(seen));
        let published = self.balances.iter().filter(is_published);
        let everywhere = published.flat_map(|balance| self.forecasts(balance, &BTreeSet::new()));
        let takers: BTreeSet<ServerId> =
            everywhere.flat_map(|forecast| forecast.shares).map(|share| share.server).collect();
        // The previous version may not know this probe.
        let also = self.policy.probe.as_ref().filter(|_| self.purpose == RunKind::Deploy);
        let servers = draft.servers.iter().map(|server| {
            let silence = self.policy.silence_check.is_made_for(&server.id.backend);
            let line = lane_server(server, also, takers.contains(&server.id))?;
            // The check of another container says nothing about this one.
            let is_its_own =
                |check: &OwnCheck| check.tracks.as_ref().is_none_or(|tracked| out.contains(tracked));
            let own_check = line.own_check.filter(is_its_own);
            Ok(LaneServer {
                silence: line.silence.filter(|_| silence),
                own_check,
                agents: with_agent(self.load_balancers, &server.id, Checking::On),
                agents_off: if self.left_out.contains(&server.id) {
                    // The run that left it out turned the agent off.
                    Vec::new()
                } else {
                    with_agent(self.load_balancers, &server.id, Checking::Off)
                },
                stays: kept_state(server),
                ..line
            })
        });
        Ok(Lane {
            servers: servers.collect::<Result<_, _>>()?,
            role: draft.role(),
            steps: draft.steps(self.policy.keep),
            cause: draft.cause,
            replacement: draft.replacement,
            forecasts,
        })
    }

    /// Adds the servers that `--enable` could put in service, if too few would serve.
    fn with_out_of_service_servers(&self, mut refusal: Refusal) -> Refusal {
        if let Refusal::Floor { backend, out, stays_out, .. } = &mut refusal {
            let others =
                self.servers.values().filter(|it| it.id.backend == *backend && !out.contains(&it.id));
            let kept = |it: &&&Server| self.policy.scope.kept_state(it, self.left_out).is_some();
            let with_container = others.filter(|it| it.container().is_some() && !it.has_agent()).filter(kept);
            stays_out.extend(with_container.map(|it| it.id.clone()));
        }
        refusal
    }

    fn takeover_servers_answer<'c>(
        &self,
        draft: &LaneDraft,
        carriers: impl Iterator<Item = &'c ServerId>,
    ) -> Result<(), Refusal> {
        for carrier in carriers.filter(|carrier| !self.proved.contains(*carrier)) {
            let carrier = self.servers[carrier];
            if self.policy.scope.is_haproxys(carrier) {
                continue;
            }
            if let (false, Some(answer)) = (carrier.answers(), &carrier.answer) {
                return Err(Refusal::TakeoverServerDown {
                    server: draft.servers[0].id.clone(),
                    carrier: carrier.id.clone(),
                    answer: answer.detail().to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// Returns the load balancers at which the server's agent has this status.
fn with_agent(load_balancers: &[LoadBalancerState], server: &ServerId, agent: Checking) -> Vec<String> {
    let has_it =
        |seen: &&LoadBalancerState| seen.server(server).is_some_and(|state| state.checks.agent == agent);
    load_balancers.iter().filter(has_it).map(|seen| seen.name.clone()).collect()
}

fn no_address(server: &Server) -> Refusal {
    Refusal::NoAddress { server: server.id.clone(), place: server.place.to_string() }
}

fn weight(server: &Server) -> u32 {
    server.state.as_ref().map_or(0, |state| state.weight)
}

fn lane_server(server: &Server, also: Option<&ProbeUrl>, takes_traffic: bool) -> Result<LaneServer, Refusal> {
    let probe = server.probe.clone().ok_or_else(|| no_address(server))?;
    Ok(LaneServer {
        id: server.id.clone(),
        also: also.zip(server.address()).map(|(url, address)| url.of(address, server.tls, probe.timeout)),
        probe,
        own_check: server.own_check.clone(),
        silence: server.silence.clone(),
        was: admin(server),
        stays: None,
        agents: Vec::new(),
        agents_off: Vec::new(),
        sessions: server.state.as_ref().map_or(0, |state| state.sessions),
        served: server.is_usable() && server.answers(),
        before: Some(Before::of(server)),
        takes_traffic,
        rule: server.rule(),
        address: server.address(),
        host_name: server.host_name.clone(),
    })
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
