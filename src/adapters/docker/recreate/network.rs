//! The networks of the new container.

use std::collections::HashMap;

use bollard::models::{EndpointIpamConfig, EndpointSettings};

use super::{ApiVersion, Dialect, SourceContainer, hostname, short_id};
use crate::adapters::docker::inspect;

/// The first API version in which a container can be created in several networks, with a MAC address in each.
pub(in crate::adapters::docker) const ALL_AT_ONCE: ApiVersion = (1, 44);
/// The API version of Docker 28, which generates random MAC addresses.
const MAKES_UP_AT_RANDOM: ApiVersion = (1, 48);

/// The networks of the new container, and when it joins them.
pub(super) struct Networks {
    /// The networks for the create call.
    pub at_create: HashMap<String, EndpointSettings>,
    /// The networks to connect after the creation and before the start, by name.
    pub afterwards: Vec<(String, EndpointSettings)>,
}

/// Returns the old container's networks, without what the engine generated for it.
pub(super) fn networks(source: &SourceContainer<'_>) -> Networks {
    let (mode, api) = (source.network_mode(), source.dialect.api);
    let found = source.inspect.network_settings.as_ref().and_then(|settings| settings.networks.clone());
    let mut found: Vec<(String, EndpointSettings)> = found.unwrap_or_default().into_iter().collect();
    if matches!(mode, "host" | "none") || source.shares_network() {
        found.clear();
    }
    // The network that the mode names comes first: before API 1.44, it is the only one that the create call accepts.
    found.sort_by_cached_key(|(name, endpoint)| (!is_main(mode, name, endpoint), name.clone()));
    let mut endpoints: Vec<(String, EndpointSettings)> = found
        .into_iter()
        .map(|(name, endpoint)| (name.clone(), requested_endpoint(source, &name, endpoint)))
        .collect();
    let afterwards =
        if api < ALL_AT_ONCE && endpoints.len() > 1 { endpoints.split_off(1) } else { Vec::new() };
    Networks { at_create: endpoints.into_iter().collect(), afterwards }
}

fn is_main(mode: &str, name: &str, endpoint: &EndpointSettings) -> bool {
    let is_default = matches!(mode, "default" | "") && name == "bridge";
    is_default || mode == name || endpoint.network_id.as_deref() == Some(mode)
}

/// Returns the settings of an endpoint that the user chose.
fn requested_endpoint(
    source: &SourceContainer<'_>,
    network: &str,
    endpoint: EndpointSettings,
) -> EndpointSettings {
    let mac_address = chosen_mac(source, network, &endpoint);
    let (own_name, hostname) = (inspect::name(source.inspect), hostname(source.inspect));
    let is_own = |alias: &String| *alias == own_name || Some(alias) == hostname.as_ref();
    let mut aliases = endpoint.aliases.unwrap_or_default();
    // Compose gives each container its own name as an alias; a sibling must not answer to it.
    aliases.retain(|alias| alias != short_id(source.inspect) && !(source.is_sibling && is_own(alias)));
    EndpointSettings {
        ipam_config: endpoint
            .ipam_config
            .filter(|ipam| !source.is_sibling && *ipam != EndpointIpamConfig::default()),
        links: endpoint.links,
        mac_address,
        aliases: (!aliases.is_empty()).then_some(aliases),
        driver_opts: endpoint.driver_opts,
        gw_priority: endpoint.gw_priority,
        ..EndpointSettings::default()
    }
}

/// Returns the MAC address that the user chose for a network. For the main network the engine reports it. For other
/// networks it reports only the current address. Engines before 28 derive a generated address from `02:42` and the
/// IPv4 address, so a chosen one can be recognised; later engines generate it at random. An engine that accepts one
/// network at creation accepts no address for the others.
fn chosen_mac(source: &SourceContainer<'_>, network: &str, endpoint: &EndpointSettings) -> Option<String> {
    let Dialect { api, is_podman } = source.dialect;
    if api < ALL_AT_ONCE || is_podman || source.is_sibling {
        return None;
    }
    if is_main(source.network_mode(), network, endpoint) && source.mac_address.is_some() {
        return source.mac_address.clone();
    }
    let shown = endpoint.mac_address.as_deref().filter(|it| !it.is_empty() && api < MAKES_UP_AT_RANDOM)?;
    let [a, b, c, d] = endpoint.ip_address.as_deref()?.parse::<std::net::Ipv4Addr>().ok()?.octets();
    let made_up = format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
    (!shown.eq_ignore_ascii_case(&made_up)).then(|| shown.to_owned())
}
