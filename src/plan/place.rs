//! Checks whether a container takes the place of another one behind a server line.

use std::net::SocketAddr;

use crate::observation::Container;
use crate::plan::LaneServer;
use crate::topology::HostName;
use crate::topology::matching::MatchRule;
use crate::topology::reach::reach;

/// The position of a container as seen from a server line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerPlace {
    /// At the address that the server's traffic goes to.
    AtAddress,
    /// At this address, to which the line's host name now resolves.
    ByHostName(SocketAddr),
    Elsewhere,
}

impl LaneServer {
    /// Returns where `container` is, which replaces `old` from the time of the plan. It must be reachable at the
    /// server's address by an equally strong rule. If only a label or the settings put `old` behind the server, it
    /// must have all ports or addresses of `old`.
    #[must_use]
    pub fn place_of(&self, container: &Container, old: Option<&Container>) -> ContainerPlace {
        let Some(address) = self.address else { return ContainerPlace::AtAddress };
        let rule = match (self.rule, old) {
            (Some(rule), _) => rule,
            // Plans of earlier versions do not record the rule.
            (None, Some(_)) => return ContainerPlace::AtAddress,
            (None, None) => MatchRule::Published,
        };
        let named = self.host_name.as_ref().zip(old);
        match (rule, named, old) {
            (MatchRule::OwnAddress | MatchRule::Name, Some((name, old)), _) => {
                by_name(container, old, address, name)
                    .map_or(ContainerPlace::Elsewhere, ContainerPlace::ByHostName)
            }
            // The old container itself is right wherever it has come back to.
            (MatchRule::Settings | MatchRule::Label | MatchRule::ImageLabel, _, Some(old))
                if old.id != container.id && !has_all_of(old, container) =>
            {
                ContainerPlace::Elsewhere
            }
            (MatchRule::Settings | MatchRule::Label | MatchRule::ImageLabel | MatchRule::Name, ..) => {
                ContainerPlace::AtAddress
            }
            (rule, ..) => {
                let is_host = rule != MatchRule::OwnAddress;
                let is_as_good = |found: MatchRule| found <= rule || found == MatchRule::PublishedEverywhere;
                if reach(container, address, is_host).is_some_and(is_as_good) {
                    ContainerPlace::AtAddress
                } else {
                    ContainerPlace::Elsewhere
                }
            }
        }
    }
}

/// Returns the container's address in the network in which `old` had the server's address, or else in a network that
/// knows the name.
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

/// Returns whether a container publishes every port that `old` published, or has the same addresses if `old`
/// published none.
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
