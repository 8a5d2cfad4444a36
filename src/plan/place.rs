//! Whether a container has the place behind a server line that another one had.

use std::net::SocketAddr;

use crate::observation::Container;
use crate::plan::LaneServer;
use crate::topology::HostName;
use crate::topology::matching::MatchRule;
use crate::topology::reach::reach;

/// Where a container is, seen from a server line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where the server's traffic goes.
    There,
    /// At this address, which the line's host name means now.
    Named(SocketAddr),
    /// Somewhere else.
    Elsewhere,
}

impl LaneServer {
    /// Where this container is, that stands where `old` stood when the plan was made. It must have the server's address
    /// in as good a way. Where a label or the settings alone say that `old` was behind the server, it must have all
    /// that `old` had.
    #[must_use]
    pub fn place_of(&self, container: &Container, old: Option<&Container>) -> Place {
        let Some(address) = self.address else { return Place::There };
        let rule = match (self.rule, old) {
            (Some(rule), _) => rule,
            // The plan was made before it said so.
            (None, Some(_)) => return Place::There,
            (None, None) => MatchRule::Published,
        };
        let named = self.host_name.as_ref().zip(old);
        match (rule, named, old) {
            (MatchRule::OwnAddress | MatchRule::Name, Some((name, old)), _) => {
                by_name(container, old, address, name).map_or(Place::Elsewhere, Place::Named)
            }
            // That one itself has no better place to be than the one that it came back to.
            (MatchRule::Settings | MatchRule::Label | MatchRule::ImageLabel, _, Some(old))
                if old.id != container.id && !has_all_of(old, container) =>
            {
                Place::Elsewhere
            }
            (MatchRule::Settings | MatchRule::Label | MatchRule::ImageLabel | MatchRule::Name, ..) => {
                Place::There
            }
            (rule, ..) => {
                let is_host = rule != MatchRule::OwnAddress;
                let is_as_good = |found: MatchRule| found <= rule || found == MatchRule::PublishedEverywhere;
                if reach(container, address, is_host).is_some_and(is_as_good) {
                    Place::There
                } else {
                    Place::Elsewhere
                }
            }
        }
    }
}

/// The container's address in the network in which `old` had the server's address, else in one that knows the name.
fn by_name(
    container: &Container,
    old: &Container,
    address: SocketAddr,
    name: &HostName,
) -> Option<SocketAddr> {
    let had = old.networks.iter().find(|network| network.addresses.contains(&address.ip()));
    let known = || {
        let mut networks = container.networks.iter();
        networks.find(|it| it.aliases.contains(&name.name)).map(|it| &it.network)
    };
    let network = had.map(|network| &network.network).or_else(known)?;
    let there = container.networks.iter().find(|it| it.network == *network)?;
    let mut alike = there.addresses.iter().filter(|it| it.is_ipv4() == address.is_ipv4());
    alike.next().map(|ip| SocketAddr::new(*ip, address.port()))
}

/// Whether a container publishes all that `old` published; where that was nothing, whether it has its addresses.
fn has_all_of(old: &Container, container: &Container) -> bool {
    if !old.published.is_empty() {
        return old.published.iter().all(|port| container.published.contains(port));
    }
    old.networks.iter().all(|network| {
        let there = container.networks.iter().find(|it| it.network == network.network);
        network.addresses.is_empty() || there.is_some_and(|it| it.addresses == network.addresses)
    })
}

#[cfg(test)]
mod tests;
