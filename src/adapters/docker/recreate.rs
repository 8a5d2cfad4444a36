//! Recreates a container. Settings that the user chose are carried over. Settings that came from the old image are
//! left out, so that the new image's defaults apply. Pure.

pub(super) mod beside;
pub(super) mod changes;
mod defaults;
pub(super) mod healthcheck;
mod network;
pub(super) mod pins;
mod podman;
pub(super) mod raw_settings;
#[cfg(test)]
mod tests;
pub(super) mod volumes;

use std::collections::HashMap;

use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HostConfig,
    ImageConfig, ImageInspect, NetworkingConfig, PortBinding,
};

pub use self::raw_settings::RawSettings;
use super::call::CallContext;
use super::inspect::{self, CLAIM_LABEL, COMPOSE_LABELS};
use crate::observation::Published;
use crate::ports::EngineError;
use crate::service::create_spec::CreateSpec;

pub(super) use network::ALL_AT_ONCE;
pub(super) use podman::ulimit_name;

/// The version of an API: major, minor.
pub type ApiVersion = (usize, usize);

/// The properties of an engine that decide how it creates a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The version of Docker's API that both sides speak.
    pub api: ApiVersion,
    /// Whether it is Podman, which speaks that API but interprets a few things differently.
    pub is_podman: bool,
}

/// The container to create.
#[derive(Clone, Debug, PartialEq)]
pub struct Blueprint {
    pub body: ContainerCreateBody,
    /// Settings that the type of the body does not have.
    pub raw: RawSettings,
    /// The networks to connect before the start: an API before 1.44 takes only one at creation.
    pub connect: Vec<(String, EndpointSettings)>,
}

/// The source container, in the form that every part of this module needs.
struct SourceContainer<'a> {
    inspect: &'a ContainerInspectResponse,
    /// The MAC address that the user chose for its main network.
    mac_address: Option<String>,
    host: HostConfig,
    /// Whether it is the container of another server, whose identity is not copied.
    is_sibling: bool,
    /// Whether its anonymous volumes stay with it, and the new container gets new ones.
    renews_volumes: bool,
    dialect: Dialect,
}

impl SourceContainer<'_> {
    /// Returns `host`, `none`, `bridge`, `default`, `container:…` or the name of a network.
    fn network_mode(&self) -> &str {
        self.host.network_mode.as_deref().unwrap_or("default")
    }

    /// Returns whether it uses another container's network, which then determines names and ports.
    fn shares_network(&self) -> bool {
        self.network_mode().starts_with("container:")
    }
}

/// Returns the name that Docker derives from a container's identifier, used as a hostname and as an alias.
pub(super) fn short_id(inspect: &ContainerInspectResponse) -> &str {
    inspect.id.as_deref().unwrap_or_default().get(..12).unwrap_or("?")
}

/// Computes the new container. If the old image was removed, its defaults cannot be told apart from the user's
/// settings, so the whole configuration is carried over.
pub fn blueprint(
    old: &ContainerInspectResponse,
    mut raw: RawSettings,
    old_image: Option<&ImageInspect>,
    dialect: Dialect,
    recipe: &CreateSpec,
) -> Result<Blueprint, EngineError> {
    let config = old.config.clone().unwrap_or_default();
    let host = old.host_config.clone().unwrap_or_default();
    let is_sibling = recipe.publish.is_some() || recipe.beside.is_some();
    let renews_volumes = is_sibling || recipe.renew_volumes;
    if is_sibling {
        raw.mac_address = None;
    }
    let mac_address = raw.mac_address.clone();
    let source = SourceContainer { inspect: old, mac_address, host, is_sibling, renews_volumes, dialect };
    refuse(&source, &config, recipe)?;

    let mut config = match old_image.and_then(|image| image.config.as_ref()) {
        Some(defaults) if dialect.is_podman => {
            let shown = config.healthcheck.clone().unwrap_or_default();
            let defaults = podman::defaults(defaults, &config, short_id(old));
            let config = defaults::subtract(config, &defaults);
            ContainerConfig {
                healthcheck: config.healthcheck.map(|own| podman::complete_healthcheck(own, &shown)),
                ..config
            }
        }
        Some(defaults) => defaults::subtract(config, defaults),
        None => config,
    };
    // A sibling has its own name.
    config.hostname = hostname(old).filter(|_| !is_sibling);
    if is_sibling && let Some(labels) = &mut config.labels {
        // Otherwise `docker compose up` would remove it as a surplus container of the sibling's service.
        labels.retain(|name, _| name != CLAIM_LABEL && !name.starts_with(COMPOSE_LABELS));
    }
    let mut host = host_config(&source, recipe.publish);
    if dialect.is_podman {
        podman::allow(&mut host, old.config.as_ref().and_then(|it| it.user.as_deref()), &raw.capabilities);
    }
    config.exposed_ports = exposed_ports(&source, config.exposed_ports, &host);
    let networks = network::networks(&source);
    let mut blueprint = Blueprint {
        body: body(config, host, networks.at_create, &recipe.image.pinned()),
        raw,
        connect: networks.afterwards,
    };
    if let Some(beside) = &recipe.beside {
        beside::separate(&mut blueprint, beside);
    } else if !source.shares_network() {
        pins::pin(&mut blueprint, &recipe.pinned);
    }
    Ok(blueprint)
}

/// Returns a container's configuration and an image's defaults in one form, so that they can be compared. Podman adds its
/// own defaults to each container and does not show there which volumes come from the image.
pub(super) fn comparable(
    old: &ContainerInspectResponse,
    image: ImageConfig,
    is_podman: bool,
) -> (ContainerConfig, ImageConfig) {
    let config = old.config.clone().unwrap_or_default();
    if !is_podman {
        return (config, image);
    }
    let image = podman::defaults(&image, &config, short_id(old));
    (podman::with_volumes(config, old, &image), image)
}

/// Refuses what the plan refuses too: the container may have changed since.
fn refuse(
    source: &SourceContainer<'_>,
    config: &ContainerConfig,
    recipe: &CreateSpec,
) -> Result<(), EngineError> {
    let owner = config.labels.as_ref().and_then(inspect::owner);
    let reason = if let Some((way, owner)) = owner.and_then(|owner| Some((owner.update_method()?, owner))) {
        format!("the container that it copies belongs to {owner}. {way}")
    } else if source.host.auto_remove == Some(true) && recipe.beside.is_none() {
        "the container that it copies was started with --rm and vanishes when it stops, so the deploy could not be \
         rolled back; recreate it without --rm"
            .to_owned()
    } else {
        return Ok(());
    };
    Err(CallContext { action: "create", subject: &recipe.name }.refused(reason))
}

/// Returns the hostname that the user chose: not one that Docker generated or would reject.
pub(super) fn hostname(inspect: &ContainerInspectResponse) -> Option<String> {
    let host = inspect.host_config.as_ref();
    let mode = |mode: fn(&HostConfig) -> Option<&String>| host.and_then(mode).map_or("", String::as_str);
    let network = mode(|host| host.network_mode.as_ref());
    let is_another_s = network.starts_with("container:") || mode(|host| host.uts_mode.as_ref()) == "host";
    let hostname = inspect.config.as_ref()?.hostname.clone()?;
    (!hostname.is_empty() && !is_another_s && hostname != short_id(inspect)).then_some(hostname)
}

fn host_config(source: &SourceContainer<'_>, publish: Option<Published>) -> HostConfig {
    let mut host = source.host.clone();
    host.mounts = volumes::mounts(source);
    if source.dialect.is_podman {
        podman::host(&mut host);
    }
    host.links = host.links.map(|links| links.iter().map(|link| plain_link(link)).collect());
    if let Some(port) = publish {
        let key = format!("{}/tcp", port.container_port);
        let ip = published_ip(&host, &key, port);
        let binding = PortBinding { host_ip: Some(ip), host_port: Some(port.port.to_string()) };
        host.port_bindings = Some(HashMap::from([(key, Some(vec![binding]))]));
        host.publish_all_ports = Some(false);
    }
    host
}

/// Returns the address in the form that Docker expects. An empty address, which a sibling may have, means every IPv4
/// and IPv6 address. An observation shows that as `0.0.0.0`, which Docker treats as IPv4 only.
fn published_ip(host: &HostConfig, key: &str, port: Published) -> String {
    let bindings = host.port_bindings.as_ref().and_then(|map| map.get(key)).into_iter().flatten().flatten();
    let names_none =
        bindings.into_iter().any(|binding| binding.host_ip.as_deref().unwrap_or_default().is_empty());
    if names_none && port.ip.is_unspecified() { String::new() } else { port.ip.to_string() }
}

/// Converts a link: inspection shows `/target:/this/alias`, creation takes `target:alias`.
fn plain_link(link: &str) -> String {
    match link.split_once(':') {
        Some((target, alias)) => {
            let alias = alias.rsplit('/').next().unwrap_or(alias);
            format!("{}:{alias}", target.trim_start_matches('/'))
        }
        None => link.to_owned(),
    }
}

/// Returns the ports to expose. The engine publishes only exposed ports, so this includes each published one, whether
/// or not the image exposes it. A container in another container's network must not expose any.
fn exposed_ports(
    source: &SourceContainer<'_>,
    ports: Option<Vec<String>>,
    host: &HostConfig,
) -> Option<Vec<String>> {
    if source.shares_network() {
        return None;
    }
    let mut ports = ports.unwrap_or_default();
    ports.extend(host.port_bindings.iter().flatten().map(|(port, _)| port.clone()));
    ports.sort();
    ports.dedup();
    (!ports.is_empty()).then_some(ports)
}

fn body(
    config: ContainerConfig,
    host: HostConfig,
    endpoints: HashMap<String, EndpointSettings>,
    image: &str,
) -> ContainerCreateBody {
    ContainerCreateBody {
        hostname: config.hostname,
        domainname: config.domainname,
        user: config.user,
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: config.exposed_ports,
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: config.env,
        cmd: config.cmd,
        healthcheck: config.healthcheck,
        args_escaped: config.args_escaped,
        image: Some(image.to_owned()),
        volumes: config.volumes,
        working_dir: config.working_dir,
        entrypoint: config.entrypoint,
        network_disabled: config.network_disabled,
        on_build: config.on_build,
        labels: config.labels,
        stop_signal: config.stop_signal,
        stop_timeout: config.stop_timeout,
        shell: config.shell,
        host_config: Some(host),
        networking_config: (!endpoints.is_empty())
            .then_some(NetworkingConfig { endpoints_config: Some(endpoints) }),
    }
}

/// Returns the containers whose network, IPC or process namespace the container shares, with the kind of namespace.
pub(super) fn namespace_owners(old: &ContainerInspectResponse) -> Vec<(&'static str, String)> {
    let Some(host) = &old.host_config else { return Vec::new() };
    let modes = [
        ("network", &host.network_mode),
        ("IPC namespace", &host.ipc_mode),
        ("process namespace", &host.pid_mode),
    ];
    let owner = |mode: &Option<String>| mode.as_deref()?.strip_prefix("container:").map(str::to_owned);
    modes.into_iter().filter_map(|(what, mode)| owner(mode).map(|owner| (what, owner))).collect()
}
