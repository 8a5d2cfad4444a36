//! Converts the engine's inspections to drainswap's own types. Values of environment variables are dropped here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, EndpointSettings,
    HealthStatusEnum, HostConfig, ImageInspect, Mount, MountType, Network, NetworkSettings, PortBinding,
    PortMap, RestartPolicyNameEnum,
};

use super::recreate::volumes::{is_same, is_unnamed, points};
use super::{alone, recreate, watchtower};
use crate::model::ids::{ContainerId, ImageId};
use crate::model::sanitize;
use crate::observation::{
    Attachment, Container, ContainerState, Health, LabelSource, Owner, Published, RestartPolicy, SurgeLabel,
    UnnamedVolume,
};

/// The label that names the server lines that a container serves.
pub(super) const CLAIM_LABEL: &str = "drainswap.server";
/// The label of a container that a run created beside another one, and of one beside which none may run.
pub(super) const SURGE_LABEL: &str = "drainswap.surge";
/// The label of the containers of a Swarm service.
const SWARM_LABEL: &str = "com.docker.swarm.service.name";
/// The prefix of Compose's own labels, which name the owner of a container.
pub(super) const COMPOSE_LABELS: &str = "com.docker.compose.";
/// The label of the containers of a Compose project.
const COMPOSE_LABEL: &str = "com.docker.compose.project";
/// The label that Podman adds to a container created in a systemd unit that sets a variable of this name. Units from
/// Quadlet and `podman generate systemd` set it.
const SYSTEMD_LABEL: &str = "PODMAN_SYSTEMD_UNIT";
/// The labels of the containers of a Kubernetes pod.
const POD_LABEL: &str = "io.kubernetes.pod.name";
const NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
/// The label that Nomad's Docker driver adds to every container. It adds the job's name only if its client is
/// configured to.
const NOMAD_LABEL: &str = "com.hashicorp.nomad.alloc_id";

/// The engine's information about a container's image.
#[derive(Clone, Debug, PartialEq)]
pub enum SeenImage {
    /// The engine has the image.
    Known(Box<ImageInspect>),
    /// The engine no longer has the image.
    Gone,
    /// The engine answers with an error.
    Unreadable,
}

/// Converts a container, with the engine's information about its image.
#[must_use]
pub fn container(inspect: &ContainerInspectResponse, image: &SeenImage) -> Container {
    let config = inspect.config.clone().unwrap_or_default();
    let host = inspect.host_config.clone().unwrap_or_default();
    let labels = config.labels.clone().unwrap_or_default();
    let name = name(inspect);
    Container {
        id: ContainerId(sanitize::name(inspect.id.as_deref().unwrap_or_default())),
        networks: networks(inspect, &name),
        name,
        image_reference: sanitize::name(config.image.as_deref().unwrap_or_default()),
        image: ImageId(sanitize::name(inspect.image.as_deref().unwrap_or_default())),
        image_is_gone: *image == SeenImage::Gone,
        repo_digests: match image {
            SeenImage::Known(image) => {
                image.repo_digests.iter().flatten().map(|digest| sanitize::name(digest)).collect()
            }
            SeenImage::Gone | SeenImage::Unreadable => Vec::new(),
        },
        state: state(inspect),
        health: health(inspect),
        // The meaning of its times depends on the engine, which the caller knows.
        healthcheck: None,
        published: published(inspect, "tcp"),
        published_udp: published(inspect, "udp"),
        host_network: host.network_mode.as_deref() == Some("host"),
        exposed: exposed(&config),
        claims: claims(&labels),
        claimed_by: label_source(&labels, image),
        restart: restart(host.restart_policy.as_ref()),
        auto_remove: host.auto_remove.unwrap_or(false),
        owner: owner(&labels),
        // Only relevant when all containers are listed.
        watchtower: None,
        update_labels: watchtower::labels(inspect),
        lives_in: recreate::namespace_owners(inspect)
            .into_iter()
            .map(|(_, owner)| ContainerId(sanitize::name(&owner)))
            .collect(),
        hostname: recreate::hostname(inspect).as_deref().map(sanitize::name),
        links: links(&host),
        named_volumes: volumes(inspect).filter(|(name, _)| !is_unnamed(name)).map(|(name, _)| name).collect(),
        // A list entry does not contain them.
        unnamed_volumes: inspect.mounts.is_some().then(|| unnamed_volumes(inspect, image)),
        needs_paths: needs_paths(&host),
        surge: SurgeLabel::read(labels.get(SURGE_LABEL).map(String::as_str)),
        alone: alone::reasons(inspect),
        open_files: None,
        // The caller knows the engine.
        engine: String::new(),
    }
}

/// Returns the parts of a container's inspection that its entry in the list of containers has.
pub(super) fn listed(entry: ContainerSummary) -> ContainerInspectResponse {
    let mut ports = PortMap::new();
    for port in entry.ports.unwrap_or_default() {
        let kind = port.typ.map_or_else(|| "tcp".to_owned(), |kind| kind.to_string());
        let binding = port
            .public_port
            .map(|number| PortBinding { host_ip: port.ip, host_port: Some(number.to_string()) });
        let bindings = ports.entry(format!("{}/{kind}", port.private_port)).or_default();
        bindings.get_or_insert_default().extend(binding);
    }
    let status = entry.state.and_then(|state| state.to_string().parse().ok());
    let mode = entry.host_config.and_then(|host| host.network_mode);
    ContainerInspectResponse {
        id: entry.id,
        name: entry.names.and_then(|names| names.into_iter().next()),
        image: entry.image_id,
        state: Some(bollard::models::ContainerState { status, ..Default::default() }),
        config: Some(ContainerConfig { image: entry.image, labels: entry.labels, ..Default::default() }),
        host_config: Some(HostConfig { network_mode: mode, ..Default::default() }),
        network_settings: Some(NetworkSettings {
            ports: Some(ports),
            networks: entry.network_settings.and_then(|settings| settings.networks),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Returns a container's name, without the leading slash.
pub(super) fn name(inspect: &ContainerInspectResponse) -> String {
    sanitize::name(inspect.name.as_deref().unwrap_or_default().trim_start_matches('/'))
}

/// Returns the state of a container.
pub(super) fn state(inspect: &ContainerInspectResponse) -> ContainerState {
    use ContainerStateStatusEnum as Status;
    match inspect.state.as_ref().and_then(|state| state.status) {
        Some(Status::CREATED) => ContainerState::Created,
        // The word of newer engines for a container that got its stop signal and has not exited yet.
        Some(Status::RUNNING | Status::STOPPING) => ContainerState::Running,
        Some(Status::PAUSED) => ContainerState::Paused,
        Some(Status::RESTARTING) => ContainerState::Restarting,
        Some(Status::EXITED | Status::DEAD | Status::REMOVING | Status::EMPTY) | None => {
            ContainerState::Stopped
        }
    }
}

/// Returns the status of Docker's healthcheck; `None` without one.
pub(super) fn health(inspect: &ContainerInspectResponse) -> Option<Health> {
    match inspect.state.as_ref()?.health.as_ref()?.status? {
        HealthStatusEnum::STARTING => Some(Health::Starting),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy),
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
    }
}

fn restart(policy: Option<&bollard::models::RestartPolicy>) -> RestartPolicy {
    let name = policy.and_then(|policy| policy.name).unwrap_or(RestartPolicyNameEnum::EMPTY);
    RestartPolicy {
        name: name.to_string(),
        maximum_retries: policy.and_then(|policy| policy.maximum_retry_count).unwrap_or(0),
    }
}

/// Returns the owner of a container with these labels. A Compose project comes last: it leaves a replacement alone
/// for a while.
pub(super) fn owner(labels: &HashMap<String, String>) -> Option<Owner> {
    let label = |name| labels.get(name).map(|value| sanitize::name(value));
    let pod = || Some(format!("{}/{}", label(NAMESPACE_LABEL)?, label(POD_LABEL)?));
    label(SWARM_LABEL)
        .map(Owner::Swarm)
        .or_else(|| label(SYSTEMD_LABEL).map(Owner::Systemd))
        .or_else(|| pod().map(Owner::Kubernetes))
        .or_else(|| label(NOMAD_LABEL).map(Owner::Nomad))
        .or_else(|| label(COMPOSE_LABEL).map(Owner::Compose))
}

fn claims(labels: &HashMap<String, String>) -> Vec<String> {
    let claims = labels.get(CLAIM_LABEL).map_or("", String::as_str).split(',');
    claims.map(str::trim).filter(|claim| !claim.is_empty()).map(sanitize::name).collect()
}

/// Returns whether the container or its image has set the label `drainswap.server`. A container that was created with
/// the same value as its image looks the same as one that was created without a value.
pub(super) fn label_source(labels: &HashMap<String, String>, image: &SeenImage) -> LabelSource {
    let Some(label) = labels.get(CLAIM_LABEL) else { return LabelSource::Container };
    match image {
        SeenImage::Known(image) => {
            let built_in = image.config.as_ref().and_then(|config| config.labels.as_ref()?.get(CLAIM_LABEL));
            if built_in == Some(label) { LabelSource::Image } else { LabelSource::Container }
        }
        SeenImage::Gone | SeenImage::Unreadable => LabelSource::Unknown,
    }
}

fn exposed(config: &ContainerConfig) -> Vec<u16> {
    let ports = config.exposed_ports.as_deref().unwrap_or_default();
    let mut ports: Vec<u16> = ports.iter().filter_map(|key| port(key, "tcp")).collect();
    ports.sort_unstable();
    ports
}

/// Returns the number in a port's key if it has this protocol: `8080/tcp`, `8080`, `53/udp`.
fn port(key: &str, protocol: &str) -> Option<u16> {
    let (number, of) = key.split_once('/').unwrap_or((key, "tcp"));
    (of == protocol).then(|| number.parse().ok()).flatten()
}

/// Returns the paths that must exist on the host at every start: devices, and the sources of mounts with `type=bind`.
/// The engine creates the sources of `-v`.
fn needs_paths(host: &HostConfig) -> Vec<String> {
    let devices = host.devices.iter().flatten().filter_map(|device| device.path_on_host.as_deref());
    let is_made = |mount: &Mount| {
        mount.bind_options.as_ref().is_some_and(|options| options.create_mountpoint == Some(true))
    };
    let binds = host.mounts.iter().flatten().filter(|it| it.typ == Some(MountType::BIND) && !is_made(it));
    let binds = binds.filter_map(|mount| mount.source.as_deref());
    // A device may also have a name from its vendor.
    let mut paths: Vec<String> =
        devices.chain(binds).filter(|path| path.starts_with('/')).map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Returns the published ports of a protocol. A stopped container publishes none; then the ports that it would
/// publish count, if they are known before it starts (an automatic port is not).
fn published(inspect: &ContainerInspectResponse, protocol: &str) -> Vec<Published> {
    let live = inspect.network_settings.as_ref().and_then(|network| network.ports.as_ref());
    let wanted = inspect.host_config.as_ref().and_then(|host| host.port_bindings.as_ref());
    let runs = matches!(state(inspect), ContainerState::Running | ContainerState::Paused);
    let mut found = ports(if runs { live } else { wanted }, protocol);
    found.sort_unstable_by_key(|port| (port.container_port, port.port, port.ip));
    found.dedup();
    // Docker shows both `0.0.0.0` and `::` for the same "every address".
    let everywhere: Vec<Published> =
        found.iter().filter(|port| port.ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED)).copied().collect();
    found.retain(|port| {
        let twin = Published { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), ..*port };
        port.ip.is_ipv4() || !port.ip.is_unspecified() || !everywhere.contains(&twin)
    });
    found
}

fn ports(map: Option<&PortMap>, protocol: &str) -> Vec<Published> {
    let mut found = Vec::new();
    for (key, bindings) in map.into_iter().flatten() {
        let Some(container_port) = port(key, protocol) else { continue };
        for binding in bindings.iter().flatten() {
            let ip = binding.host_ip.as_deref().filter(|ip| !ip.is_empty()).unwrap_or("0.0.0.0").parse();
            let port = binding.host_port.as_deref().unwrap_or_default().parse();
            if let (Ok(ip), Ok(port @ 1..)) = (ip, port) {
                found.push(Published { ip, port, container_port });
            }
        }
    }
    found
}

/// Returns the networks, sorted by name. `host` and `none` are modes, not networks in which a container can be
/// reached.
fn networks(inspect: &ContainerInspectResponse, name: &str) -> Vec<Attachment> {
    let networks = inspect.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let networks =
        networks.into_iter().flatten().filter(|(network, _)| !matches!(network.as_str(), "host" | "none"));
    let mut found: Vec<Attachment> = networks
        .map(|(network, endpoint)| Attachment {
            network: sanitize::name(network),
            addresses: addresses(endpoint),
            given: given(endpoint),
            // Only the engine's list of networks shows this.
            is_gone: false,
            is_missing: false,
            aliases: aliases(endpoint, name),
        })
        .collect();
    found.sort_by(|a, b| a.network.cmp(&b.network));
    found
}

fn addresses(endpoint: &EndpointSettings) -> Vec<IpAddr> {
    let texts = [&endpoint.ip_address, &endpoint.global_ipv6_address];
    texts.into_iter().flatten().filter_map(|text| text.parse().ok()).collect()
}

/// Returns the addresses that the user or a run requested (`--ip`, `--ip6`).
fn given(endpoint: &EndpointSettings) -> Vec<IpAddr> {
    let ipam = endpoint.ipam_config.iter();
    let texts = ipam.flat_map(|ipam| [&ipam.ipv4_address, &ipam.ipv6_address]);
    texts.flatten().filter_map(|text| text.parse().ok()).collect()
}

/// Returns whether the engine has no network of that name.
pub(super) fn is_missing(network: &str, known: &[Network]) -> bool {
    !known.iter().any(|it| it.name.as_deref() == Some(network) || it.id.as_deref() == Some(network))
}

/// Returns whether a start could no longer attach the container to that network. Docker finds a user-defined network
/// by its identifier, so a network that was recreated under the same name is a different one (seen on 20.10).
pub(super) fn is_gone(inspect: &ContainerInspectResponse, network: &str, known: &[Network]) -> bool {
    let all = inspect.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let id = all.and_then(|all| all.get(network)?.network_id.as_deref()).unwrap_or_default();
    // The engine's own networks get a new identifier at each start of the engine, and Podman shows names.
    let is_it = |it: &Network| it.id.as_deref() == Some(id) || it.name.as_deref() == Some(id);
    !id.is_empty() && network != "bridge" && !known.iter().any(is_it)
}

fn volumes(inspect: &ContainerInspectResponse) -> impl Iterator<Item = (String, String)> {
    points(inspect).map(|(name, target)| (sanitize::name(name), sanitize::name(target)))
}

fn unnamed_volumes(inspect: &ContainerInspectResponse, image: &SeenImage) -> Vec<UnnamedVolume> {
    let declared = match image {
        SeenImage::Known(image) => image.config.as_ref().and_then(|config| config.volumes.as_deref()),
        SeenImage::Gone | SeenImage::Unreadable => None,
    };
    let declared = declared.unwrap_or_default();
    let mut found: Vec<UnnamedVolume> = volumes(inspect)
        .filter(|(name, _)| is_unnamed(name))
        .map(|(name, target)| {
            let by_image = declared.iter().any(|it| is_same(it, &target));
            UnnamedVolume { name, target, by_image }
        })
        .collect();
    found.sort();
    found
}

/// Returns the containers that it links to in the default network. Inspection shows `/target:/this/alias`, with the
/// target's current name. In other networks, a link is by name and finds any container that has the name.
fn links(host: &HostConfig) -> Vec<String> {
    let targets = host.links.iter().flatten().filter_map(|link| link.split(':').next());
    targets.map(|target| sanitize::name(target.trim_start_matches('/'))).collect()
}

/// Returns the user's aliases, Docker's own names (since API 1.44) and the container's name, without duplicates.
fn aliases(endpoint: &EndpointSettings, name: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let given = [&endpoint.aliases, &endpoint.dns_names].into_iter().flatten().flatten();
    for alias in given.map(String::as_str).chain([name]).map(sanitize::name) {
        if !found.contains(&alias) {
            found.push(alias);
        }
    }
    found
}

#[cfg(test)]
mod tests;
