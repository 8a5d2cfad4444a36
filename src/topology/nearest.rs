//! The containers that a person may have meant for a server line.

use std::net::SocketAddr;

use crate::model::ids::ServerId;
use crate::observation::{Attachment, Container, ContainerState, LabelSource};

/// Returns the containers that a person may have meant: those that publish the port, have the address, or have a
/// label or name like the server's, or else those named like its backend. Unrelated containers would only mislead.
pub(super) fn nearest<'a>(
    containers: impl Iterator<Item = &'a Container>,
    id: &ServerId,
    target: Option<SocketAddr>,
) -> Vec<String> {
    /// More names than this are no help.
    const MOST: usize = 5;
    let has_word = |container: &Container, wanted: &str| {
        container.name.split(|c: char| !c.is_alphanumeric()).any(|word| word == wanted)
    };
    let comes_near = |container: &&Container| {
        let is_addressed = target.is_some_and(|target| {
            let has_it = |network: &Attachment| network.addresses.contains(&target.ip());
            container.published.iter().any(|it| it.port == target.port())
                || container.networks.iter().any(has_it)
        });
        let is_claimed = container
            .claims
            .iter()
            .filter_map(|claim| claim.split_once('/'))
            .any(|(backend, server)| backend == id.backend || server == id.server);
        is_addressed || is_claimed || has_word(container, &id.server)
    };
    let running = containers.filter(|container| container.state == ContainerState::Running);
    let (near, others): (Vec<_>, Vec<_>) = running.partition(comes_near);
    let of_backend = || others.into_iter().filter(|it| has_word(it, &id.backend)).collect();
    let chosen = if near.is_empty() { of_backend() } else { near };
    chosen.into_iter().take(MOST).map(describe).collect()
}

pub(super) fn describe(container: &Container) -> String {
    let ports: Vec<String> =
        container.published.iter().map(|p| SocketAddr::new(p.ip, p.port).to_string()).collect();
    let ports = if ports.is_empty() { "nothing".to_owned() } else { ports.join(", ") };
    let claims = container.claims.join(",");
    let label = match container.claimed_by {
        _ if claims.is_empty() => String::new(),
        LabelSource::Container => format!(", labelled drainswap.server={claims}"),
        LabelSource::Image => format!(", its image labelled drainswap.server={claims}"),
        LabelSource::Unknown => {
            format!(", labelled drainswap.server={claims}, perhaps by its image, which cannot be read")
        }
    };
    format!("{} (publishes {ports}{label})", container.name)
}
