//! The reasons why a lane cannot run.

use super::LaneDraft;
use super::admin;
use super::health;
use super::own_address;
use super::runs;
use super::start;
use crate::observation::AdminState;
use crate::observation::Container;
use crate::observation::Observation;
use crate::plan::Goal;
use crate::plan::Replacement;
use crate::plan::refusal::Refusal;
use crate::plan::rest::LeftReason;
use crate::topology::Server;
use crate::topology::Topology;
use crate::topology::matching::MatchResult;
use crate::topology::matching::MatchRule;
use crate::topology::matching::NoMatch;
use crate::topology::own_check::OwnCheck;

/// Returns why a run cannot work on a line, for a backend in which nothing has a container; `None` if the line is
/// left on request.
pub(super) fn no_container_refusal(server: &Server, why: LeftReason) -> Option<Refusal> {
    match (why, &server.behind) {
        (LeftReason::Leave | LeftReason::NotAsked | LeftReason::NotCreated, _) => None,
        (
            LeftReason::NoContainer | LeftReason::NoAddress | LeftReason::Spare,
            MatchResult::Unmatched { why, candidates },
        ) => Some(unmatched(server, why, candidates)),
        (LeftReason::NoContainer | LeftReason::NoAddress | LeftReason::Spare, _) => Some(no_address(server)),
    }
}

pub(super) fn unmatched(server: &Server, why: &NoMatch, candidates: &[String]) -> Refusal {
    let Some(address) = server.address() else { return no_address(server) };
    Refusal::Unmatched {
        server: server.id.clone(),
        place: server.place.to_string(),
        address: address.to_string(),
        why: why.clone(),
        candidates: candidates.to_vec(),
    }
}

/// Returns why the new container would not start, or would not be healthy in time.
pub(super) fn start_refusal(
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
pub(super) fn shared_namespaces(draft: &LaneDraft, containers: &[Container]) -> Option<Refusal> {
    let old = draft.replacement.as_ref()?.old.as_ref()?;
    let lives_there = |it: &&Container| it.engine == old.engine && runs(it) && it.lives_in.contains(&old.id);
    let dependents: Vec<String> = containers.iter().filter(lives_there).map(|it| it.name.clone()).collect();
    let (server, container) = (draft.servers[0].id.clone(), old.name.clone());
    (!dependents.is_empty()).then_some(Refusal::SharedNamespaces { server, container, dependents })
}

/// Returns a refusal if requests reach the container to stop through a server that is not in haproxy.cfg. Such a
/// server cannot be drained like the others, because it is unknown where it is defined and what a reload does to it.
pub(super) fn unlisted(topology: &Topology, draft: &LaneDraft) -> Option<Refusal> {
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
pub(super) fn persistence_keeps_clients(topology: &Topology, draft: &LaneDraft) -> Option<Refusal> {
    draft.replacement.as_ref()?;
    let persists = |server: &&&Server| topology.backend(&server.id.backend).is_some_and(|it| it.persists);
    draft.servers.iter().filter(persists).find_map(|server| {
        let OwnCheck { why, .. } = server.own_check.clone()?;
        Some(Refusal::PersistentClients { server: server.id.clone(), place: server.place.to_string(), why })
    })
}

pub(super) fn ambiguous(server: &Server) -> Option<Refusal> {
    let MatchResult::Ambiguous { candidates } = &server.behind else { return None };
    let (place, candidates) = (server.place.to_string(), candidates.clone());
    Some(Refusal::Ambiguous { server: server.id.clone(), place, candidates })
}

/// Returns a refusal if labels put different containers behind lines of the same address. Only one of them can have
/// the address, unless the settings decide otherwise.
pub(super) fn contradiction(servers: &[&Server]) -> Option<Refusal> {
    let (first, id) = (servers[0], |server: &Server| server.container().map(|it| it.id.clone()));
    let is_decided = |server: &Server| server.rule() == Some(MatchRule::Settings);
    let other =
        servers.iter().find(|it| it.container().is_some() && id(it) != id(first) && !is_decided(it))?;
    let named = |it: &Server| it.container().map(|behind| format!("{} (behind {})", behind.name, it.id));
    let candidates = [first, *other].into_iter().filter_map(named).collect();
    Some(Refusal::Ambiguous { server: first.id.clone(), place: first.place.to_string(), candidates })
}

/// The network in which Docker assigns any free address and does not accept requests for one.
pub(super) const DEFAULT_NETWORK: &str = "bridge";

/// Returns a refusal if a server is in service at one load balancer and out of service at another.
pub(super) fn mixed_states(draft: &LaneDraft, goal: &Goal, observation: &Observation) -> Option<Refusal> {
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
pub(super) fn refuse_container(draft: &LaneDraft) -> Option<Refusal> {
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

pub(super) fn no_address(server: &Server) -> Refusal {
    Refusal::NoAddress { server: server.id.clone(), place: server.place.to_string() }
}
