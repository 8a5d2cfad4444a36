//! Decides which surge servers join, and what prevents that.

use std::net::SocketAddr;

use super::LaneDraft;
use crate::model::ids::ServerId;
use crate::observation::{AloneBecause, Checking, Container, Observation, ServerState, SurgeLabel};
use crate::plan::refusal::NoSurge;
use crate::plan::surge::{Surge, SurgePlace, SurgeServer, Way};
use crate::plan::{Goal, Replacement};
use crate::topology::matching::MatchRule;
use crate::topology::{Role, Server, Topology};

/// Returns at most `number` surge servers, which stand in for the first servers under replacement.
pub(super) fn choose(
    topology: &Topology,
    observation: &Observation,
    goal: &Goal,
    drafts: &[LaneDraft],
    (number, why): (usize, &str),
) -> Result<Vec<Surge>, NoSurge> {
    let mut surge: Vec<Surge> = Vec::new();
    let mut refused = None;
    for draft in drafts.iter().filter(|draft| draft.role() == Role::Primary && draft.serves()) {
        if surge.len() == number {
            break;
        }
        let Some(replacement) = &draft.replacement else { continue };
        match of_draft(topology, observation, goal, (draft, replacement), &surge) {
            Ok(servers) => surge.push(Surge {
                servers,
                like: replacement.like.clone(),
                image: replacement.image.clone(),
                described: replacement.described,
                why: why.to_owned(),
            }),
            Err(why) => {
                refused = refused.or(Some(NoSurge { server: draft.servers[0].id.clone(), why }));
            }
        }
    }
    match refused {
        Some(refused) if surge.is_empty() => Err(refused),
        _ => Ok(surge),
    }
}

/// Returns the servers that stand in for those of a lane. `others` have been chosen already.
fn of_draft(
    topology: &Topology,
    observation: &Observation,
    goal: &Goal,
    (draft, replacement): (&LaneDraft, &Replacement),
    others: &[Surge],
) -> Result<Vec<SurgeServer>, String> {
    let like = &replacement.like;
    refuse_container(like, observation, goal)?;
    let mut servers = Vec::new();
    for server in &draft.servers {
        let backend = topology.backend(&server.id.backend).ok_or("its backend is not in haproxy.cfg")?;
        let state = server.state.as_ref().ok_or("HAProxy does not know it")?;
        let probe = server.probe.clone().ok_or("its address is unknown")?;
        let place = place(server, like)?;
        let cookie = match (&server.cookie, backend.servers.len()) {
            (None, _) => None,
            (Some(cookie), 1) => Some(cookie),
            // Clients of the other servers would move to it, or its clients to them.
            (Some(_), _) => return Err("its clients are held by a cookie, and it has siblings".to_owned()),
        };
        let slot = slot(&backend.servers, others);
        let is_checked = state.checks.health != Checking::Absent;
        let way = match (&server.dynamic, slot) {
            (Ok(words), _) => Way::Added { words: with_values(words, state, cookie) },
            (Err(_), Some((_, address))) => Way::Slot { address },
            (Err(why), None) => {
                return Err(format!(
                    "{why}, and the backend has no placeholder line for it (a `disabled` server at port 1 of 127.0.0.1)"
                ));
            }
        };
        let id = match (&way, slot) {
            (Way::Slot { .. }, Some((slot, _))) => slot.id.clone(),
            _ => free_name(&server.id, observation),
        };
        let is_checked = match &way {
            Way::Added { words } => words.iter().any(|word| word == "check"),
            Way::Slot { .. } => slot.is_some_and(|(slot, _)| checks(slot)) && is_checked,
        };
        servers.push(SurgeServer {
            id,
            stands_in_for: server.id.clone(),
            way,
            place,
            probe,
            weight: state.weight,
            is_checked,
        });
    }
    Ok(servers)
}

/// Returns the note that more instances of the application run at once than usual.
pub(super) fn note(surge: &[Surge]) -> Option<String> {
    let first = surge.first()?;
    let more = if surge.len() == 1 {
        "one more instance".to_owned()
    } else {
        format!("{} more instances", surge.len())
    };
    Some(format!(
        "{more} of the application than usual will run while {} is replaced. Use --surge never if it must run only once",
        first.servers[0].stands_in_for
    ))
}

/// Returns a name that no server of the backend has. An earlier run that got stuck may have left one.
fn free_name(like: &ServerId, observation: &Observation) -> ServerId {
    let is_free = |id: &ServerId| observation.load_balancers.iter().all(|seen| seen.server(id).is_none());
    let name = |suffix: String| ServerId::new(&like.backend, format!("{}-surge{suffix}", like.server));
    let more = (2_u32..).map(|number| name(number.to_string()));
    std::iter::once(name(String::new())).chain(more).find(is_free).unwrap_or_else(|| name(String::new()))
}

fn checks(server: &Server) -> bool {
    server.state.as_ref().is_some_and(|state| state.checks.health != Checking::Absent)
}

/// Refuses a container beside which no second one can run.
fn refuse_container(like: &Container, observation: &Observation, goal: &Goal) -> Result<(), String> {
    if like.surge == SurgeLabel::Never {
        return Err(format!("container {} has the label drainswap.surge=never", like.name));
    }
    for reason in &like.alone {
        if let AloneBecause::WritableVolume(_) = reason {
            let siblings =
                observation.containers.iter().filter(|it| it.id != like.id && it.engine == like.engine);
            let is_shared = siblings.filter(|it| !it.state.is_idle()).any(|it| it.alone.contains(reason));
            if is_shared || goal.policy.surge_shares_volumes {
                continue;
            }
            return Err(format!(
                "container {} {reason}. If two of them may write there at once, use --surge-shares-volumes",
                like.name
            ));
        }
        return Err(format!("container {} {reason}", like.name));
    }
    Ok(())
}

/// Returns where the traffic of a second container goes.
fn place(server: &Server, like: &Container) -> Result<SurgePlace, String> {
    let address: SocketAddr = server.address().ok_or("its address is unknown")?;
    let published = like.published.iter().filter(|it| it.port == address.port());
    let exact = published.clone().find(|it| it.ip == address.ip());
    let everywhere = published.clone().find(|it| it.ip.is_unspecified());
    if let Some(published) = exact.or(everywhere) {
        return Ok(SurgePlace::Published {
            ip: address.ip(),
            // Never wider than the line's own address.
            on: address.ip(),
            container_port: published.container_port,
        });
    }
    let own = like.networks.iter().find(|it| it.addresses.contains(&address.ip()));
    match (own, server.rule()) {
        (Some(network), _) => Ok(SurgePlace::Own {
            network: network.network.clone(),
            is_v6: address.is_ipv6(),
            port: address.port(),
        }),
        (None, Some(MatchRule::HostNetwork)) => Err("its container uses the host's network".to_owned()),
        (None, _) => Err(format!("container {} does not publish {address} itself", like.name)),
    }
}

/// Adds what the running server has.
fn with_values(words: &[String], state: &ServerState, cookie: Option<&String>) -> Vec<String> {
    let mut words = words.to_vec();
    words.extend(["weight".to_owned(), state.weight.to_string()]);
    if let Some(limit) = state.limit {
        words.extend(["maxconn".to_owned(), limit.to_string()]);
    }
    if let Some(cookie) = cookie {
        words.extend(["cookie".to_owned(), cookie.clone()]);
    }
    words
}

/// Returns a placeholder line that no other surge server has: a `disabled` line without sessions, at port 1 of a loopback
/// address or at port 0.
fn slot<'a>(servers: &'a [Server], others: &[Surge]) -> Option<(&'a Server, SocketAddr)> {
    let is_taken = |id: &ServerId| others.iter().any(|it| it.ids().contains(id));
    servers.iter().filter(|server| server.disabled && server.is_spare() && !is_taken(&server.id)).find_map(
        |server| {
            let state = server.state.as_ref().filter(|state| state.sessions == 0)?;
            let address = state.address?;
            let is_placeholder = address.port() == 0 || address.port() == 1 && address.ip().is_loopback();
            is_placeholder.then_some((server, address))
        },
    )
}
