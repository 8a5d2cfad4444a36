//! What to observe for a configuration: the probes, engines and addresses of its servers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::own_check::own_check;
use super::{readiness, with_servers};
use crate::cfg::{Address, Configuration, Host, Port};
use crate::model::ids::ServerId;
use crate::model::probe::Probe;
use crate::observation::LoadBalancerState;
use crate::topology::engine_map::Engine;
use crate::topology::places::Places;

/// Returns the probe of every server of a configuration, at the addresses that the running `HAProxy` uses.
#[must_use]
pub fn probes(configuration: &Configuration, load_balancer: &LoadBalancerState) -> Vec<(ServerId, Probe)> {
    let mut probes = Vec::new();
    for proxy in with_servers(configuration) {
        for server in &proxy.servers {
            let id = ServerId::new(&proxy.name, &server.name);
            let own_check = own_check(configuration, proxy, server);
            if let Some(probe) =
                readiness::probe(proxy, server, load_balancer.server(&id), own_check.as_ref())
            {
                probes.push((id, probe));
            }
        }
    }
    probes
}

/// Returns the engine of every server that is not on the default one, for [`Observation::engines`]. A server that the
/// configuration lacks is on the engine of its address, or of another server on that host.
#[must_use]
pub fn engines(
    configuration: &Configuration,
    load_balancers: &[LoadBalancerState],
    places: &Places,
) -> BTreeMap<ServerId, String> {
    let mut engines = BTreeMap::new();
    let mut by_host = BTreeMap::new();
    let mut listed = BTreeSet::new();
    for proxy in with_servers(configuration) {
        for server in &proxy.servers {
            let id = ServerId::new(&proxy.name, &server.name);
            listed.insert(id.clone());
            let Some(Engine { endpoint, .. }) = places.engine(&id, &server.address) else { continue };
            let running = load_balancers.iter().filter_map(|seen| seen.server(&id)?.address);
            by_host.extend(running.map(|address| (address.ip(), endpoint.clone())));
            engines.insert(id, endpoint);
        }
    }
    let running = load_balancers.iter().flat_map(|seen| &seen.servers);
    for server in running.filter(|server| !listed.contains(&server.id)) {
        let Some(address) = server.address else { continue };
        let (host, port) = (Host::Ip(address.ip()), Port::Fixed(address.port()));
        let written = places.engine(&server.id, &Address::Inet { host, port });
        let endpoint = written.map(|engine| engine.endpoint).or_else(|| by_host.get(&address.ip()).cloned());
        engines.extend(endpoint.map(|endpoint| (server.id.clone(), endpoint)));
    }
    engines
}

/// Returns the addresses of every server, for [`Observation::host_addresses`].
#[must_use]
pub fn addresses(configuration: &Configuration, load_balancer: &LoadBalancerState) -> BTreeSet<IpAddr> {
    let running = load_balancer.servers.iter().filter_map(|server| Some(server.address?.ip()));
    let written = with_servers(configuration).flat_map(|proxy| &proxy.servers).filter_map(|server| {
        match &server.address {
            Address::Inet { host: Host::Ip(ip), .. } => Some(ip.to_canonical()),
            Address::Inet { host: Host::Name(_), .. }
            | Address::Datagram { .. }
            | Address::Quic { .. }
            | Address::Unix(_)
            | Address::Other(_) => None,
        }
    });
    running.chain(written).collect()
}
