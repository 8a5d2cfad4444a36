//! The create call for a container that has only a description. It matches what Compose requests for such a service,
//! without Compose's own labels. Pure.

#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, DeviceMapping, EndpointIpamConfig, EndpointSettings,
    HealthConfig, HostConfig, HostConfigLogConfig, ImageConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType, MountVolumeOptions, NetworkingConfig,
    PortBinding, PortMap, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};

use super::inspect::{CLAIM_LABEL, SeenImage, label_source};
use super::recreate::raw_settings::RawSettings;
use super::recreate::{ALL_AT_ONCE, ApiVersion, Blueprint, volumes};
use crate::observation::{LabelSource, Published};
use crate::service::Container;
use crate::service::container::{
    Endpoint, Environment, Healthcheck, Networks, Restart, Span, Text, Volume, VolumeKind, clean,
};

/// Computes the container. `environment` is the complete one, including the variables from files.
pub(super) fn blueprint(
    wanted: &Container,
    environment: &Environment,
    image: &str,
    publish: Option<Published>,
    api: ApiVersion,
) -> Blueprint {
    let mut endpoints = endpoints(&wanted.networks);
    let connect = if api < ALL_AT_ONCE && endpoints.len() > 1 { endpoints.split_off(1) } else { Vec::new() };
    let body = ContainerCreateBody {
        networking_config: (!endpoints.is_empty())
            .then(|| NetworkingConfig { endpoints_config: Some(endpoints.into_iter().collect()) }),
        ..body(wanted, environment, image, publish)
    };
    Blueprint { body, raw: RawSettings::default(), connect }
}

fn body(
    wanted: &Container,
    environment: &Environment,
    image: &str,
    publish: Option<Published>,
) -> ContainerCreateBody {
    let variables = environment.0.iter().map(|(name, value)| format!("{name}={}", value.reveal()));
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: wanted.command.as_ref().map(|words| words.0.clone()),
        entrypoint: wanted.entrypoint.as_ref().map(|words| words.0.clone()),
        env: some(variables.collect()),
        exposed_ports: some(exposed(wanted, publish)),
        healthcheck: wanted.healthcheck.as_ref().map(healthcheck),
        hostname: wanted.hostname.clone(),
        labels: some_map(&wanted.labels.0),
        open_stdin: wanted.stdin_open,
        stop_signal: wanted.stop_signal.clone(),
        stop_timeout: wanted.stop_grace_period.map(|span| whole_seconds(span.nanoseconds())),
        tty: wanted.tty,
        user: wanted.user.as_ref().map(|user| user.0.clone()),
        working_dir: wanted.working_dir.clone(),
        host_config: Some(host_config(wanted, publish)),
        ..ContainerCreateBody::default()
    }
}

/// Rounds up to whole seconds, the engine's unit. A fraction must not become zero, which means an immediate kill.
fn whole_seconds(nanoseconds: i64) -> i64 {
    nanoseconds / 1_000_000_000 + i64::from(nanoseconds % 1_000_000_000 > 0)
}

/// Carries over what belongs to the old container's place and not to a description: the data in its anonymous
/// volumes, wherever the new container would get such a volume too; its assigned addresses in its networks; and the
/// server lines that it claims.
pub(super) fn succeed(
    blueprint: &mut Blueprint,
    old: &ContainerInspectResponse,
    old_image: &SeenImage,
    image: &ImageConfig,
    renew_volumes: bool,
) {
    let Blueprint { body, connect, .. } = blueprint;
    let networks = old.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let at_create = body.networking_config.iter_mut().filter_map(|config| config.endpoints_config.as_mut());
    let endpoints = at_create.flatten().chain(connect.iter_mut().map(|(name, endpoint)| (&*name, endpoint)));
    for (name, endpoint) in endpoints.filter(|(_, endpoint)| endpoint.ipam_config.is_none()) {
        let given = networks.and_then(|all| all.get(name)?.ipam_config.clone());
        endpoint.ipam_config = given.filter(|it| *it != EndpointIpamConfig::default());
    }
    let host = body.host_config.get_or_insert_default();
    let binds = host.binds.iter().flatten().filter_map(|bind| bind.split(':').nth(1));
    let tmpfs = host.tmpfs.iter().flatten().map(|(target, _)| target.as_str());
    let taken: Vec<String> = binds.chain(tmpfs).map(str::to_owned).collect();
    for point in old.mounts.iter().flatten().filter(|_| !renew_volumes) {
        let (Some(target), Some(name)) = (&point.destination, &point.name) else { continue };
        if !volumes::is_unnamed(name) || taken.iter().any(|it| volumes::is_same(it, target)) {
            continue;
        }
        let mounts = host.mounts.get_or_insert_default();
        match mounts
            .iter_mut()
            .find(|mount| mount.target.as_ref().is_some_and(|it| volumes::is_same(it, target)))
        {
            Some(mount) if mount.typ == Some(MountType::VOLUME) && mount.source.is_none() => {
                mount.source = Some(name.clone());
            }
            None if image.volumes.iter().flatten().any(|it| clean(it) == *target) => {
                mounts.push(volumes::by_name(point));
            }
            Some(_) | None => {}
        }
    }
    let labels = old.config.as_ref().and_then(|config| config.labels.as_ref());
    // A label that only the old image has must not become a label of the new container.
    let given = labels.filter(|labels| label_source(labels, old_image) != LabelSource::Image);
    if let Some(claim) = given.and_then(|labels| labels.get(CLAIM_LABEL)).cloned() {
        body.labels.get_or_insert_default().entry(CLAIM_LABEL.to_owned()).or_insert(claim);
    }
}

/// Returns `None` for an empty list: like a missing list, it leaves the choice to the engine.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn some_map(map: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| map.clone().into_iter().collect())
}

fn host_config(wanted: &Container, publish: Option<Published>) -> HostConfig {
    let (binds, mounts) = volumes(&wanted.volumes);
    let main_network = wanted.networks.0.keys().next().cloned();
    let tmpfs = wanted.tmpfs.0.iter().map(|entry| {
        let (path, options) = entry.split_once(':').unwrap_or((entry, ""));
        (clean(path), options.to_owned())
    });
    let tmpfs: BTreeMap<_, _> = tmpfs.collect();
    let ulimits = wanted.ulimits.iter().map(|(name, limit)| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    });
    let devices = wanted.devices.iter().map(|device| DeviceMapping {
        path_on_host: Some(device.host.clone()),
        path_in_container: Some(device.container.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    });
    let hosts = wanted.extra_hosts.0.iter().map(|(name, address)| format!("{name}:{address}"));
    let security = wanted.security_opt.iter().map(|option| option.0.clone());
    HostConfig {
        binds: some(binds),
        mounts: some(mounts),
        tmpfs: some_map(&tmpfs),
        network_mode: wanted.network_mode.clone().or(main_network),
        port_bindings: publish.map(port_bindings),
        restart_policy: wanted.restart.map(restart),
        log_config: wanted.logging.as_ref().map(|logging| HostConfigLogConfig {
            typ: Some(logging.driver.clone()),
            config: Some(
                logging.options.iter().map(|(name, Text(value))| (name.clone(), value.clone())).collect(),
            ),
        }),
        extra_hosts: some(hosts.collect()),
        ulimits: some(ulimits.collect()),
        devices: some(devices.collect()),
        security_opt: some(security.collect()),
        cap_add: some(wanted.cap_add.clone()),
        cap_drop: some(wanted.cap_drop.clone()),
        dns: some(wanted.dns.0.clone()),
        dns_search: some(wanted.dns_search.0.clone()),
        sysctls: some_map(&wanted.sysctls.0),
        init: wanted.init,
        readonly_rootfs: wanted.read_only,
        privileged: wanted.privileged,
        shm_size: wanted.shm_size.map(|bytes| bytes.0),
        memory: wanted.mem_limit.map(|bytes| bytes.0),
        nano_cpus: wanted.cpus.map(|cpus| cpus.0),
        pids_limit: wanted.pids_limit,
        ..HostConfig::default()
    }
}

/// Returns the ports to expose. The engine publishes only exposed ports.
fn exposed(wanted: &Container, publish: Option<Published>) -> Vec<String> {
    let inside = publish.map(|port| port.container_port).or(wanted.container_port);
    let mut ports: Vec<String> = inside.map(|port| format!("{port}/tcp")).into_iter().collect();
    for range in &wanted.expose {
        ports.extend((range.first..=range.last).map(|port| format!("{port}/{}", range.protocol)));
    }
    ports.sort();
    ports.dedup();
    ports
}

/// Returns the binding of a port. No address at all means every IPv4 and IPv6 address; the engine takes `0.0.0.0` as
/// IPv4 only.
fn port_bindings(port: Published) -> PortMap {
    let ip = if port.ip.is_unspecified() { String::new() } else { port.ip.to_string() };
    let binding = PortBinding { host_ip: Some(ip), host_port: Some(port.port.to_string()) };
    HashMap::from([(format!("{}/tcp", port.container_port), Some(vec![binding]))])
}

fn restart(restart: Restart) -> RestartPolicy {
    let (name, times) = match restart {
        Restart::No => (RestartPolicyNameEnum::NO, None),
        Restart::Always => (RestartPolicyNameEnum::ALWAYS, None),
        Restart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        Restart::OnFailure(times) => (RestartPolicyNameEnum::ON_FAILURE, Some(i64::from(times))),
    };
    RestartPolicy { name: Some(name), maximum_retry_count: times }
}

fn healthcheck(check: &Healthcheck) -> HealthConfig {
    let test = check.test.as_ref().map(|test| test.0.clone());
    HealthConfig {
        test: if check.disable { Some(vec!["NONE".to_owned()]) } else { test },
        interval: check.interval.map(Span::nanoseconds),
        timeout: check.timeout.map(Span::nanoseconds),
        retries: check.retries.map(i64::from),
        start_period: check.start_period.map(Span::nanoseconds),
        start_interval: check.start_interval.map(Span::nanoseconds),
    }
}

/// Returns the networks, the main one first.
fn endpoints(networks: &Networks) -> Vec<(String, EndpointSettings)> {
    networks.0.iter().map(|(name, endpoint)| (name.clone(), endpoint_settings(endpoint))).collect()
}

fn endpoint_settings(endpoint: &Endpoint) -> EndpointSettings {
    let is_fixed = endpoint.ipv4_address.is_some() || endpoint.ipv6_address.is_some();
    EndpointSettings {
        aliases: some(endpoint.aliases.clone()),
        ipam_config: is_fixed.then(|| EndpointIpamConfig {
            ipv4_address: endpoint.ipv4_address.map(|address| address.to_string()),
            ipv6_address: endpoint.ipv6_address.map(|address| address.to_string()),
            link_local_ips: None,
        }),
        ..EndpointSettings::default()
    }
}

/// Returns the volumes in the form that Compose uses: the older text form wherever possible, because only that form
/// creates a missing directory on the host.
fn volumes(volumes: &[Volume]) -> (Vec<String>, Vec<Mount>) {
    let (mut binds, mut mounts) = (Vec::new(), Vec::new());
    for volume in volumes {
        let as_text = |source: &str, options: &[String]| {
            let access = if volume.read_only { "ro" } else { "rw" };
            let options: Vec<&str> =
                std::iter::once(access).chain(options.iter().map(String::as_str)).collect();
            format!("{source}:{}:{}", volume.target, options.join(","))
        };
        let mount = |kind| Mount {
            typ: Some(kind),
            target: Some(volume.target.clone()),
            read_only: volume.read_only.then_some(true),
            ..Mount::default()
        };
        match &volume.kind {
            VolumeKind::Bind { source, options, create_host_path: true } => {
                binds.push(as_text(source, options));
            }
            VolumeKind::Bind { source, options, create_host_path: false } => mounts.push(Mount {
                source: Some(source.clone()),
                bind_options: propagation(options),
                ..mount(MountType::BIND)
            }),
            VolumeKind::Volume { name: Some(name), nocopy } => {
                let nocopy = nocopy.then(|| "nocopy".to_owned());
                binds.push(as_text(name, nocopy.as_slice()));
            }
            VolumeKind::Volume { name: None, nocopy } => mounts.push(Mount {
                volume_options: nocopy
                    .then(|| MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
                ..mount(MountType::VOLUME)
            }),
            VolumeKind::Tmpfs { size, mode } => mounts.push(Mount {
                tmpfs_options: (size.is_some() || mode.is_some()).then(|| MountTmpfsOptions {
                    size_bytes: size.map(|bytes| bytes.0),
                    mode: mode.map(i64::from),
                    options: None,
                }),
                ..mount(MountType::TMPFS)
            }),
        }
    }
    (binds, mounts)
}

fn propagation(options: &[String]) -> Option<MountBindOptions> {
    let chosen = options.iter().find_map(|option| option.parse::<MountBindOptionsPropagationEnum>().ok());
    chosen
        .map(|propagation| MountBindOptions { propagation: Some(propagation), ..MountBindOptions::default() })
}
