//! Tests whether a container has an address, according to its engine. Used to match containers before a run, and to
//! verify new ones during it.

use std::net::SocketAddr;

use super::matching::MatchRule;
use crate::observation::{Container, Published};

/// Returns the strongest rule by which a container has an address, if any. `is_host` tells whether the address
/// belongs to the engine's host. Labels and names do not count.
#[must_use]
pub fn reach(container: &Container, address: SocketAddr, is_host: bool) -> Option<MatchRule> {
    let publishes = |fits: &dyn Fn(&Published) -> bool| {
        container.published.iter().any(|it| it.port == address.port() && fits(it))
    };
    if publishes(&|it| it.ip == address.ip() && (is_host || !address.ip().is_loopback())) {
        Some(MatchRule::Published)
    } else if is_host && publishes(&|it| it.ip.is_unspecified()) {
        Some(MatchRule::PublishedEverywhere)
    } else if container.networks.iter().any(|network| network.addresses.contains(&address.ip())) {
        Some(MatchRule::OwnAddress)
    } else {
        let declares = container.host_network && is_host && container.exposed.contains(&address.port());
        declares.then_some(MatchRule::HostNetwork)
    }
}
