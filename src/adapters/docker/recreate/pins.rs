//! Ports and addresses that the engine chose for the old container. The new container requests them explicitly.

use bollard::models::{
    ContainerInspectResponse, EndpointIpamConfig, EndpointSettings, HostConfig, PortBinding,
};

use super::Blueprint;
use crate::observation::{Pinned, PinnedAddress, Published};

/// Writes them into the blueprint wherever the user did not set a number.
pub(in crate::adapters::docker) fn pin(blueprint: &mut Blueprint, pinned: &Pinned) {
    if let Some(host) = &mut blueprint.body.host_config {
        pin_ports(host, pinned);
    }
    let exposed = blueprint.body.exposed_ports.get_or_insert_default();
    let keys = blueprint.body.host_config.iter().flat_map(|host| host.port_bindings.iter().flatten());
    exposed.extend(keys.map(|(key, _)| key.clone()));
    exposed.sort();
    exposed.dedup();
    if exposed.is_empty() {
        blueprint.body.exposed_ports = None;
    }
    for PinnedAddress { network, address } in &pinned.addresses {
        if let Some(endpoint) = endpoint(blueprint, network) {
            let ipam = endpoint.ipam_config.get_or_insert_with(EndpointIpamConfig::default);
            let given = if address.is_ipv4() { &mut ipam.ipv4_address } else { &mut ipam.ipv6_address };
            given.get_or_insert_with(|| address.to_string());
        }
    }
}

fn endpoint<'a>(blueprint: &'a mut Blueprint, network: &str) -> Option<&'a mut EndpointSettings> {
    let at_create = blueprint.body.networking_config.iter_mut().flat_map(|it| &mut it.endpoints_config);
    let mut at_create = at_create.flatten();
    let mut afterwards = blueprint.connect.iter_mut().map(|(name, endpoint)| (&*name, endpoint));
    let found = at_create
        .find(|(name, _)| *name == network)
        .or_else(|| afterwards.find(|(name, _)| *name == network));
    found.map(|(_, endpoint)| endpoint)
}

/// Pins the ports. A port that the user left open is `""` or `"0"`, and one of a range is `"8000-8010"`; `-P`
/// publishes the exposed ports without any binding.
fn pin_ports(host: &mut HostConfig, pinned: &Pinned) {
    let keyed = |protocol: &'static str| {
        move |port: &Published| (format!("{}/{protocol}", port.container_port), *port)
    };
    let (tcp, udp) = (pinned.ports.iter().map(keyed("tcp")), pinned.udp_ports.iter().map(keyed("udp")));
    let mut left: Vec<(String, Published)> = tcp.chain(udp).collect();
    let mut open: Vec<(&String, &mut PortBinding)> = Vec::new();
    for (container_port, bindings) in host.port_bindings.iter_mut().flatten() {
        for binding in bindings.iter_mut().flatten() {
            match written(binding) {
                Some(port) => left.retain(|(key, it)| key != container_port || it.port != port),
                None => open.push((container_port, binding)),
            }
        }
    }
    for (container_port, binding) in open {
        let fits = |(key, it): &(String, Published)| key == container_port && is_at(binding, it);
        if let Some(at) = left.iter().position(fits) {
            binding.host_port = Some(left.remove(at).1.port.to_string());
        }
    }
    if host.publish_all_ports == Some(true) {
        for (key, port) in left {
            let ip = if port.ip.is_unspecified() { String::new() } else { port.ip.to_string() };
            let binding = PortBinding { host_ip: Some(ip), host_port: Some(port.port.to_string()) };
            let bindings = host.port_bindings.get_or_insert_default().entry(key).or_default();
            bindings.get_or_insert_default().push(binding);
        }
    }
}

/// Returns the host's port if it is a single number.
fn written(binding: &PortBinding) -> Option<u16> {
    binding.host_port.as_deref()?.parse().ok().filter(|port| *port > 0)
}

/// Returns whether a port is published at the address that a binding requests.
fn is_at(binding: &PortBinding, port: &Published) -> bool {
    match binding.host_ip.as_deref().unwrap_or_default() {
        "" => port.ip.is_unspecified(),
        ip => ip.parse() == Ok(port.ip),
    }
}

/// Returns the addresses that the engine chose for the old container, without those that the user chose.
pub(in crate::adapters::docker) fn chosen<'a>(
    old: &ContainerInspectResponse,
    pinned: &'a Pinned,
) -> Vec<&'a PinnedAddress> {
    let networks = old.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let is_given = |it: &&PinnedAddress| {
        let ipam = networks.and_then(|all| all.get(&it.network)?.ipam_config.as_ref());
        ipam.is_some_and(|ipam| ipam.ipv4_address.is_some() || ipam.ipv6_address.is_some())
    };
    pinned.addresses.iter().filter(|it| !is_given(it)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn published(text: &str, container_port: u16) -> Published {
        let address: std::net::SocketAddr = text.parse().unwrap();
        Published { ip: address.ip(), port: address.port(), container_port }
    }

    /// Returns the host ports of 8080 after the engine's choices were pinned.
    fn pinned(bindings: &[(&str, &str)], publish_all: bool, ports: &[Published]) -> Vec<String> {
        let binding = |(ip, port): &(&str, &str)| PortBinding {
            host_ip: Some((*ip).to_owned()),
            host_port: Some((*port).to_owned()),
        };
        let mut host = HostConfig {
            port_bindings: Some(HashMap::from([(
                "8080/tcp".to_owned(),
                Some(bindings.iter().map(binding).collect()),
            )])),
            publish_all_ports: Some(publish_all),
            ..HostConfig::default()
        };
        pin_ports(&mut host, &Pinned { ports: ports.to_vec(), ..Pinned::default() });
        let bound = host.port_bindings.unwrap().remove("8080/tcp").unwrap().unwrap();
        bound.into_iter().map(|it| format!("{}:{}", it.host_ip.unwrap(), it.host_port.unwrap())).collect()
    }

    #[test]
    fn an_open_port_is_requested_by_number() {
        let local = [published("127.0.0.1:32768", 8080)];
        assert_eq!(pinned(&[("127.0.0.1", "")], false, &local), ["127.0.0.1:32768"]);
        assert_eq!(pinned(&[("127.0.0.1", "0")], false, &local), ["127.0.0.1:32768"]);
        let everywhere = [published("0.0.0.0:8003", 8080)];
        assert_eq!(pinned(&[("", "8000-8010")], false, &everywhere), [":8003"]);
        assert_eq!(pinned(&[], true, &everywhere), [":8003"]);
    }

    #[test]
    fn a_udp_port_is_requested_like_a_tcp_port_of_the_same_number() {
        let pinned = Pinned {
            ports: vec![published("0.0.0.0:32768", 53)],
            udp_ports: vec![published("0.0.0.0:32769", 53), published("127.0.0.1:32770", 5353)],
            addresses: Vec::new(),
        };
        let open = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(String::new()) };
        let mut host = HostConfig {
            port_bindings: Some(HashMap::from([("5353/udp".to_owned(), Some(vec![open]))])),
            publish_all_ports: Some(true),
            ..HostConfig::default()
        };
        pin_ports(&mut host, &pinned);
        let bound = host.port_bindings.unwrap();
        let port = |key: &str| bound[key].as_ref().unwrap()[0].host_port.clone().unwrap();
        assert_eq!((bound.len(), port("53/tcp"), port("53/udp")), (3, "32768".into(), "32769".into()));
        assert_eq!(port("5353/udp"), "32770");
    }

    #[test]
    fn an_explicit_port_stays() {
        let two = [published("127.0.0.1:8001", 8080), published("127.0.0.1:32768", 8080)];
        assert_eq!(
            pinned(&[("127.0.0.1", "8001"), ("127.0.0.1", "")], false, &two),
            ["127.0.0.1:8001", "127.0.0.1:32768"]
        );
        assert_eq!(pinned(&[("127.0.0.1", "8001")], true, &two[..1]), ["127.0.0.1:8001"]);
        // A port of another container, or at another address, is not used.
        assert_eq!(pinned(&[("127.0.0.2", "")], false, &two), ["127.0.0.2:"]);
    }
}
