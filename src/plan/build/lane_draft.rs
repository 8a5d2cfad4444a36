//! The lanes before their order and capacity are checked.

use super::ambiguous;
use super::mixed_states;
use super::persistence_keeps_clients;
use super::refuse_container;
use super::returning;
use super::unlisted;
use super::unmatched;
use crate::model::image::Image;
use crate::observation::AdminState;
use crate::observation::Container;
use crate::observation::ContainerState;
use crate::observation::Observation;
use crate::plan::Cause;
use crate::plan::Goal;
use crate::plan::Replacement;
use crate::plan::RunKind;
use crate::plan::Step;
use crate::plan::before::is_dead;
use crate::plan::refusal::Refusal;
use crate::topology::Role;
use crate::topology::Server;
use crate::topology::Topology;
use crate::topology::matching::MatchResult;

/// The work on one replica, before its place in the order and its forecast are known.
#[derive(Clone)]
pub(super) struct LaneDraft<'a> {
    pub(super) servers: Vec<&'a Server>,
    pub(super) cause: Cause,
    pub(super) replacement: Option<Replacement>,
}

impl LaneDraft<'_> {
    pub(super) fn role(&self) -> Role {
        self.servers.iter().map(|server| server.role).min().unwrap_or(Role::Backup)
    }

    /// Returns whether any of its lines gets requests and answers.
    pub(super) fn serves(&self) -> bool {
        self.servers.iter().any(|server| server.is_usable() && server.answers())
    }

    pub(super) fn steps(&self, keep: usize) -> Vec<Step> {
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

pub(super) fn admin(server: &Server) -> AdminState {
    server.state.as_ref().map_or(AdminState::Ready, |state| state.admin.state())
}

pub(super) fn runs(container: &Container) -> bool {
    container.state == ContainerState::Running
}

/// Returns the work for the replica behind a server, or `None` if there is none.
pub(super) fn lane_draft<'a>(
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
pub(super) fn lines_in_order<'a>(topology: &'a Topology, server: &'a Server) -> Vec<&'a Server> {
    std::iter::once(server).chain(topology.aliases_of(server)).collect()
}

pub(super) fn container_draft<'a>(
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
