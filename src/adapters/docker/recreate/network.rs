//! The networks of the new container.

use std::collections::HashMap;

use bollard::models::{EndpointIpamConfig, EndpointSettings};

use super::{ApiVersion, Source, hostname, short_id};
use crate::adapters::docker::call::Purpose;
use crate::adapters::docker::look;
use crate::ports::EngineError;

/// From here on a container can be created in several networks, with a MAC address in each.
pub(in crate::adapters::docker) const ALL_AT_ONCE: ApiVersion = (1, 44);

/// Where the new container is to be, and when it gets there.
pub(super) struct Networks {
    /// Given to the create call.
    pub at_create: HashMap<String, EndpointSettings>,
    /// Connected afterwards, before the start, by name.
    pub afterwards: Vec<(String, EndpointSettings)>,
}

/// The old container's networks, without what the engine made up for it.
pub(super) fn networks(source: &Source<'_>, name: &str) -> Result<Networks, EngineError> {
    let (mode, api) = (source.network_mode(), source.dialect.api);
    let found = source.inspect.network_settings.as_ref().and_then(|settings| settings.networks.clone());
    let mut found: Vec<(String, EndpointSettings)> = found.unwrap_or_default().into_iter().collect();
    if matches!(mode, "host" | "none") || source.shares_network() {
        found.clear();
    }
    // Podman makes all of them up at random, and does not tell which one was chosen.
    let can_tell = api < ALL_AT_ONCE && !source.dialect.is_podman;
    if can_tell && !source.is_sibling && found.iter().any(|(_, endpoint)| is_chosen(endpoint)) {
        return Err(Purpose { action: "create", subject: name }.refused(format!(
            "the container that it is to be like has a MAC address of its own (--mac-address), which this \
             engine's API {}.{} cannot carry over; create it again without one, or use Docker 25 or newer",
            api.0, api.1
        )));
    }
    // The network that the mode names comes first: before API 1.44 it is the one that the create call takes.
    found.sort_by_cached_key(|(name, endpoint)| (!is_main(mode, name, endpoint), name.clone()));
    let mut endpoints: Vec<(String, EndpointSettings)> =
        found.into_iter().map(|(name, endpoint)| (name, wanted(source, endpoint, api))).collect();
    let afterwards =
        if api < ALL_AT_ONCE && endpoints.len() > 1 { endpoints.split_off(1) } else { Vec::new() };
    Ok(Networks { at_create: endpoints.into_iter().collect(), afterwards })
}

fn is_main(mode: &str, name: &str, endpoint: &EndpointSettings) -> bool {
    let is_default = matches!(mode, "default" | "") && name == "bridge";
    is_default || mode == name || endpoint.network_id.as_deref() == Some(mode)
}

/// What a person chose of an endpoint.
fn wanted(source: &Source<'_>, endpoint: EndpointSettings, api: ApiVersion) -> EndpointSettings {
    let keeps_mac = api >= ALL_AT_ONCE && !source.is_sibling && is_chosen(&endpoint);
    let (own_name, hostname) = (look::name(source.inspect), hostname(source.inspect));
    let is_own = |alias: &String| *alias == own_name || Some(alias) == hostname.as_ref();
    let mut aliases = endpoint.aliases.unwrap_or_default();
    // Compose gives every container its own name as an alias; a sibling must not answer to it.
    aliases.retain(|alias| alias != short_id(source.inspect) && !(source.is_sibling && is_own(alias)));
    EndpointSettings {
        ipam_config: endpoint
            .ipam_config
            .filter(|ipam| !source.is_sibling && *ipam != EndpointIpamConfig::default()),
        links: endpoint.links,
        mac_address: endpoint.mac_address.filter(|_| keeps_mac),
        aliases: (!aliases.is_empty()).then_some(aliases),
        driver_opts: endpoint.driver_opts,
        gw_priority: endpoint.gw_priority,
        ..EndpointSettings::default()
    }
}

/// Whether a person chose the MAC address, as far as can be told: engines before 28 make it of `02:42` and the
/// IPv4 address, later ones at random. A stopped container shows none.
fn is_chosen(endpoint: &EndpointSettings) -> bool {
    let mac = endpoint.mac_address.as_deref().unwrap_or_default();
    let ip = endpoint.ip_address.as_deref().unwrap_or_default().parse::<std::net::Ipv4Addr>();
    let Ok(ip) = ip else { return false };
    let [a, b, c, d] = ip.octets();
    !mac.is_empty() && !mac.eq_ignore_ascii_case(&format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}"))
}
