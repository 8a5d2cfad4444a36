//! Finds servers whose container is gone, or does not exist yet and is described.

use std::net::SocketAddr;

use super::Server;
use super::matching::{MatchResult, NoMatch};
use crate::model::ids::ServerId;
use crate::observation::{Container, Described, LoadBalancerState, Observation, Published, ServerState};
use crate::topology::{Backend, has_no_port};

/// Turns an unmatched server into a gone one if that is certain. `HAProxy` does not use the server, its line is not
/// `disabled`, nothing accepts connections there, its address is the engine's host with a port above 1, a sibling
/// shows what its container was like, and no other container has the new one's name.
pub(super) fn find_missing(backend: &mut Backend, observation: &Observation) {
    let gone: Vec<(usize, MatchResult)> = backend
        .servers
        .iter()
        .enumerate()
        .filter(|(_, server)| {
            may_be_gone(server) && !server.answers() && !observation.occupied.contains(&server.id)
        })
        .filter_map(|(index, server)| {
            let address = server.state.as_ref()?.address?;
            let on_host = observation.host_addresses.contains(&address.ip());
            let engine = observation.engine(&server.id);
            if let Some(described) = observation.described.get(&server.id.backend).filter(|_| on_host) {
                return Some((index, not_yet(server, described, address, observation)?));
            }
            let is_used =
                |seen: &LoadBalancerState| seen.server(&server.id).is_some_and(ServerState::is_usable);
            if observation.load_balancers.iter().any(is_used) {
                return None;
            }
            let (sibling, port) = sibling(backend, server, engine)?;
            let named = observation.named.get(&server.id).cloned();
            let name = named.unwrap_or_else(|| name_like(&sibling.1, &sibling.0, &server.id));
            let taken = observation.containers.iter().any(|it| it.engine == engine && it.name == name);
            (on_host && !taken).then(|| {
                let publish = Published { ip: address.ip(), port: address.port(), container_port: port };
                (index, MatchResult::Gone { like: Box::new(sibling.1), publish, name })
            })
        })
        .collect();
    for (index, behind) in gone {
        backend.servers[index].behind = behind;
    }
}

/// Returns whether the server has no container but would match one that publishes its address.
fn may_be_gone(server: &Server) -> bool {
    if server.disabled || server.state.as_ref().is_some_and(has_no_port) {
        return false;
    }
    match &server.behind {
        MatchResult::Unmatched { why: NoMatch::NoneFits | NoMatch::NotThere { .. }, .. } => true,
        MatchResult::Unmatched {
            why: NoMatch::OtherNetwork { .. } | NoMatch::ResolvedElsewhere { .. },
            ..
        }
        | MatchResult::Container(_)
        | MatchResult::Gone { .. }
        | MatchResult::Described { .. }
        | MatchResult::Ambiguous { .. } => false,
    }
}

/// Returns the described container for a server, unless another container has its name.
fn not_yet(
    server: &Server,
    described: &Described,
    address: SocketAddr,
    observation: &Observation,
) -> Option<MatchResult> {
    let engine = observation.engine(&server.id);
    let pattern = described.name.clone().unwrap_or_else(|| format!("{}-{{server}}", server.id.backend));
    let described_name = || pattern.replace("{server}", &server.id.server).replace(':', "_");
    let name = observation.named.get(&server.id).cloned().unwrap_or_else(described_name);
    if observation.containers.iter().any(|it| it.engine == engine && it.name == name) {
        return None;
    }
    let publish = Published { ip: address.ip(), port: address.port(), container_port: described.port };
    let like = Container::described(name.clone(), described.restart.clone(), engine.to_owned());
    Some(MatchResult::Described { like: Box::new(like), publish, name })
}

/// Returns a sibling with a published port on the same engine, preferably of the same role.
fn sibling(backend: &Backend, server: &Server, engine: &str) -> Option<((ServerId, Container), u16)> {
    let is_here = |other: &&Server| other.container().is_some_and(|it| it.engine == engine);
    let mut siblings: Vec<&Server> = backend.servers.iter().filter(is_here).collect();
    siblings.sort_by_key(|other| other.role != server.role);
    siblings.into_iter().find_map(|other| {
        let container = other.container()?;
        let address = other.state.as_ref()?.address?;
        let published = container.published.iter().find(|p| p.port == address.port())?;
        Some(((other.id.clone(), container.clone()), published.container_port))
    })
}

/// Derives a name from the sibling's by replacing its server name, `mobile-app2` → `mobile-app1`, or else from the
/// backend's and the server's names.
fn name_like(sibling: &Container, sibling_id: &ServerId, id: &ServerId) -> String {
    let legal = |name: &str| name.replace(':', "_");
    match sibling.name.strip_suffix(&sibling_id.server) {
        Some(stem) => legal(&format!("{stem}{}", id.server)),
        None => legal(&format!("{}-{}", id.backend, id.server)),
    }
}
