//! Whether a container has an address, by what its engine says of it. Matching asks it before a run, and the proof of a
//! new container in it.

use std::net::SocketAddr;

use super::matching::MatchRule;
use crate::observation::{Container, Published};

/// How a container reaches an address, if it does; `is_host` says whether that is an address of the engine's host. The
/// strongest rule counts. Labels and names are no addresses.
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
