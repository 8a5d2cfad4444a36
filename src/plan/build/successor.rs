//! What the new container of a lane takes over.

use super::runs;
use crate::model::ids::ServerId;
use crate::observation::Container;
use crate::observation::Pinned;
use crate::observation::PinnedAddress;
use crate::plan::Goal;
use crate::plan::Replacement;
use crate::plan::kept;
use crate::topology::Server;
use crate::topology::matching::ContainerRole;
use crate::topology::matching::MatchRule;
use crate::topology::reach::reach;

/// Returns the container that the server ran before, if it is still kept.
pub(super) fn returning(server: &ServerId, goal: &Goal, containers: &[Container]) -> Option<Container> {
    let returned = goal.target.rollback_target(server)?;
    let as_it_was = returned.container.as_ref()?;
    let found = returned.kept_among(containers)?;
    // A kept container has no restart policy.
    Some(Container { restart: as_it_was.restart.clone(), ..found.clone() })
}

/// Returns what the engine chose for the container to replace: its published ports, and those of its addresses that
/// server lines name by number.
pub(super) fn pinned(old: Option<&Container>, servers: &[&Server]) -> Pinned {
    let Some(old) = old.filter(|old| runs(old)) else { return Pinned::default() };
    let mut addresses: Vec<PinnedAddress> = servers.iter().filter_map(|server| own_address(server)).collect();
    addresses.dedup();
    Pinned { ports: old.published.clone(), udp_ports: old.published_udp.clone(), addresses }
}

/// Returns the address of the server's container in one of its networks, if the server line names it by number.
pub(super) fn own_address(server: &Server) -> Option<PinnedAddress> {
    let address = server.address()?.ip();
    if server.rule() != Some(MatchRule::OwnAddress) || server.host_name.is_some() {
        return None;
    }
    let network = server.container()?.networks.iter().find(|network| network.addresses.contains(&address))?;
    Some(PinnedAddress { network: network.network.clone(), address })
}

/// Returns whether a kept container publishes the server's address again when it starts. If its engine would choose
/// the port, a new container is created instead.
pub(super) fn may_come_back(kept: &Container, server: &Server) -> bool {
    match (server.rule(), server.address()) {
        (Some(MatchRule::Published | MatchRule::PublishedEverywhere), Some(address)) => {
            reach(kept, address, true).is_some()
        }
        _ => true,
    }
}

/// Returns the name of the new container. If another tool started a container that was put aside, that is its
/// original name.
pub(super) fn own_name(replacement: &Replacement, containers: &[Container]) -> String {
    let given = &replacement.name;
    let is_taken =
        |name: &str| containers.iter().any(|it| it.engine == replacement.like.engine && it.name == name);
    let own = ContainerRole::Previous.read(given).map(|(own, _)| own).filter(|own| !is_taken(own));
    own.unwrap_or(given).to_owned()
}

/// Returns the oldest kept containers of the same place that exceed `keep` once this one's predecessor is kept too. A
/// container with an anonymous volume that no other has stays: only `drainswap prune` removes data.
pub(super) fn outdated(replacement: &Replacement, keep: usize, containers: &[Container]) -> Vec<Container> {
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
