//! The differences between a container to be created from its description and the one that it replaces. Pure.
//!
//! Settings have the names that `docker inspect` uses. Values that may be secret are not shown.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HostConfig,
    ImageConfig, Mount, MountPoint, MountType, SystemInfo,
};
use serde_json::{Map, Value};

use super::inspect::COMPOSE_LABELS;
use super::recreate::changes::{changes, entries};
use super::recreate::{Blueprint, hostname, short_id, ulimit_name, volumes};
use crate::observation::ContainerChange;
use crate::service::container::clean;

/// Settings that are compared elsewhere, or that mean nothing for the container.
const ELSEWHERE: [&str; 10] = [
    "AutoRemove",
    "Binds",
    "ConsoleSize",
    "ContainerIDFile",
    "MaskedPaths",
    "Mounts",
    "NetworkMode",
    "ReadonlyPaths",
    "Tmpfs",
    "VolumeDriver",
];
/// The size of shared memory that the engine gives a container which does not request one.
const SHM_SIZE: u64 = 64 << 20;

/// The engine's defaults for settings that a container leaves open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EngineDefaults {
    log_driver: String,
    runtime: String,
    cgroup_namespace: &'static str,
}

impl From<SystemInfo> for EngineDefaults {
    fn from(info: SystemInfo) -> Self {
        let is_second = info.cgroup_version.is_some_and(|version| version.to_string() == "2");
        Self {
            log_driver: info.logging_driver.unwrap_or_default(),
            runtime: info.default_runtime.unwrap_or_default(),
            cgroup_namespace: if is_second { "private" } else { "host" },
        }
    }
}

/// Compares the container with the one to be created, whose image has these defaults.
pub(super) fn drift(
    old: &ContainerInspectResponse,
    new: &Blueprint,
    image: &ImageConfig,
    defaults: &EngineDefaults,
) -> Vec<ContainerChange> {
    let config = old.config.clone().unwrap_or_default();
    let mut drift = redacted(changes(&config, &new.body, image));
    drift.extend(log_options(old, new));
    let was = ContainerSettings::of_container(old, &config, defaults);
    let is = ContainerSettings::of_blueprint(new, image, defaults);
    drift.extend(was.values_to(&is));
    let none = BTreeMap::new();
    for field in was.lists.keys().chain(is.lists.keys().filter(|field| !was.lists.contains_key(*field))) {
        let list = |settings: &ContainerSettings| settings.lists.get(field).unwrap_or(&none).clone();
        drift.extend(entries(field.clone(), &list(&was), &list(&is)));
    }
    drift
}

/// Returns the requested log options that differ. The engine does not report which of the old options are its own
/// defaults.
fn log_options(old: &ContainerInspectResponse, new: &Blueprint) -> Vec<ContainerChange> {
    let options = |host: &Option<HostConfig>| {
        host.clone().and_then(|host| host.log_config).and_then(|log| log.config).unwrap_or_default()
    };
    let was = options(&old.host_config);
    let mut is: Vec<_> = options(&new.body.host_config).into_iter().collect();
    is.sort();
    let other = is.into_iter().filter(|(name, value)| was.get(name) != Some(value));
    other.map(|(name, _)| ContainerChange::Changed { field: "log option".into(), name }).collect()
}

/// Removes the changes that are better compared elsewhere, and the words of a command, which may hold a secret.
fn redacted(changes: Vec<ContainerChange>) -> Vec<ContainerChange> {
    let is_compose_s = |change: &ContainerChange| matches!(change, ContainerChange::Gone { field, name } if field == "label" && name.starts_with(COMPOSE_LABELS));
    let was_compose_s = changes.iter().any(is_compose_s);
    let of_volume = |change: &ContainerChange| matches!(change, ContainerChange::Added { field, .. } | ContainerChange::Gone { field, .. } if field == "volume");
    let mut left = Vec::new();
    // An anonymous volume is compared as a mount.
    for change in changes.into_iter().filter(|change| !is_compose_s(change) && !of_volume(change)) {
        left.push(match change {
            ContainerChange::Value { field, .. }
                if ["entrypoint", "command", "healthcheck"].contains(&&*field) =>
            {
                ContainerChange::Hidden { field }
            }
            ContainerChange::Value { .. }
            | ContainerChange::Hidden { .. }
            | ContainerChange::Added { .. }
            | ContainerChange::Gone { .. }
            | ContainerChange::Changed { .. } => change,
        });
    }
    let compose =
        ContainerChange::Gone { field: "what makes it a container of".into(), name: "Compose".to_owned() };
    left.extend(was_compose_s.then_some(compose));
    left
}

/// The settings of a container that an image cannot provide, by name, without the engine's own choices.
#[derive(Default)]
struct ContainerSettings {
    /// Settings with a single value.
    values: BTreeMap<String, String>,
    /// Settings with several entries: the name of each, and its value if it has one.
    lists: BTreeMap<String, BTreeMap<String, String>>,
}

impl ContainerSettings {
    fn of_container(
        inspect: &ContainerInspectResponse,
        config: &ContainerConfig,
        defaults: &EngineDefaults,
    ) -> Self {
        let mut settings = Self::default();
        let host = inspect.host_config.clone().unwrap_or_default();
        // With the host's network, the engine stores the host's own name there.
        let is_host_s = host.network_mode.as_deref() == Some("host");
        settings.value("Hostname", hostname(inspect).filter(|_| !is_host_s));
        settings.value("Domainname", config.domainname.clone());
        settings.value("Tty", config.tty);
        settings.value("OpenStdin", config.open_stdin);
        settings.value("StopTimeout", config.stop_timeout);
        for point in inspect.mounts.iter().flatten() {
            let target = point.destination.as_deref().unwrap_or_default();
            if point.typ.as_deref() != Some("tmpfs") {
                settings.value(mount_at(target), Some(mounted(point)));
            }
        }
        settings.in_memory(&host);
        let networks = inspect.network_settings.as_ref().and_then(|it| it.networks.clone());
        let own = [short_id(inspect), config.hostname.as_deref().unwrap_or_default()];
        settings.networks(&host, networks.unwrap_or_default().iter(), &own);
        settings.host(host, defaults);
        settings
    }

    fn of_blueprint(blueprint: &Blueprint, image: &ImageConfig, defaults: &EngineDefaults) -> Self {
        let mut settings = Self::default();
        let ContainerCreateBody { host_config, networking_config, .. } = &blueprint.body;
        let host = host_config.clone().unwrap_or_default();
        settings.value("Hostname", blueprint.body.hostname.clone());
        settings.value("Domainname", blueprint.body.domainname.clone());
        settings.value("Tty", blueprint.body.tty);
        settings.value("OpenStdin", blueprint.body.open_stdin);
        settings.value("StopTimeout", blueprint.body.stop_timeout);
        // A mount at the same path takes precedence over the image's own volume.
        for target in image.volumes.iter().flatten() {
            settings.value(mount_at(target), Some(UNNAMED.to_owned()));
        }
        for bind in host.binds.iter().flatten() {
            let mut parts = bind.split(':');
            let (source, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            settings.value(mount_at(target), Some(with_options(source, parts.next().unwrap_or_default())));
        }
        for mount in host.mounts.iter().flatten().filter(|mount| mount.typ != Some(MountType::TMPFS)) {
            let target = mount.target.as_deref().unwrap_or_default();
            settings.value(mount_at(target), Some(asked(mount)));
        }
        settings.in_memory(&host);
        let at_create =
            networking_config.iter().filter_map(|config| config.endpoints_config.as_ref()).flatten();
        let afterwards = blueprint.connect.iter().map(|(name, endpoint)| (name, endpoint));
        let own = blueprint.body.hostname.as_deref().unwrap_or_default();
        settings.networks(&host, at_create.chain(afterwards), &[own]);
        settings.host(host, defaults);
        settings
    }

    fn value(&mut self, name: impl Into<String>, value: Option<impl ToString>) {
        let value = value.map(|value| value.to_string()).unwrap_or_default();
        // False and empty values are the engine's own choice.
        if !value.is_empty() && value != "false" {
            self.values.insert(name.into(), value);
        }
    }

    fn entry(&mut self, list: impl Into<String>, name: impl Into<String>, value: String) {
        self.lists.entry(list.into()).or_default().insert(name.into(), value);
    }

    /// Adds the tmpfs mounts, which can be declared in two ways.
    fn in_memory(&mut self, host: &HostConfig) {
        for (target, options) in host.tmpfs.iter().flatten() {
            self.value(mount_at(target), Some(format!("tmpfs {options}").trim_end()));
        }
        for mount in host.mounts.iter().flatten().filter(|mount| mount.typ == Some(MountType::TMPFS)) {
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            let size = options.size_bytes.filter(|size| *size > 0).map(|size| format!(" size={size}"));
            let mode = options.mode.filter(|mode| *mode > 0).map(|mode| format!(" mode={mode:o}"));
            let target = mount.target.as_deref().unwrap_or_default();
            let (size, mode) = (size.unwrap_or_default(), mode.unwrap_or_default());
            self.value(mount_at(target), Some(format!("tmpfs{size}{mode}")));
        }
    }

    /// Adds the networks that the user named, with the container's settings there. The container's own names are left
    /// out: the engine adds them to each network.
    fn networks<'a>(
        &mut self,
        host: &HostConfig,
        endpoints: impl Iterator<Item = (&'a String, &'a EndpointSettings)>,
        own_names: &[&str],
    ) {
        let mode = host.network_mode.as_deref().unwrap_or("default");
        let is_own = matches!(mode, "host" | "none") || mode.starts_with("container:");
        if is_own {
            // The engine stores the other container's identifier even if the user gave its name.
            self.value("NetworkMode", Some(mode.split(':').next().unwrap_or(mode)));
            return;
        }
        let is_user_s = |name: &str| !matches!(name, "default" | "bridge" | "");
        let mut seen = false;
        for (name, endpoint) in endpoints.filter(|(name, _)| is_user_s(name)) {
            seen = true;
            self.entry("network", name.clone(), String::new());
            for alias in
                endpoint.aliases.iter().flatten().filter(|alias| !own_names.contains(&alias.as_str()))
            {
                self.entry(format!("alias in network {name},"), alias.clone(), String::new());
            }
            let ipam = endpoint.ipam_config.clone().unwrap_or_default();
            self.value(format!("address in network {name}"), ipam.ipv4_address);
            self.value(format!("IPv6 address in network {name}"), ipam.ipv6_address);
        }
        if !seen && is_user_s(mode) {
            self.entry("network", mode, String::new());
        }
    }

    /// Adds all other settings that the engine reports.
    fn host(&mut self, host: HostConfig, defaults: &EngineDefaults) {
        let memory = host.memory.unwrap_or(0);
        let is_privileged = host.privileged == Some(true);
        let publishes = host.network_mode.as_deref() != Some("host");
        let Ok(Value::Object(all)) = serde_json::to_value(host) else { return };
        for (name, value) in all.into_iter().filter(|(name, _)| !ELSEWHERE.contains(&name.as_str())) {
            match (name.as_str(), value) {
                ("LogConfig", Value::Object(log)) => {
                    let driver = log.get("Type").and_then(Value::as_str).unwrap_or_default();
                    self.value("LogConfig", Some(driver).filter(|driver| *driver != defaults.log_driver));
                }
                ("RestartPolicy", Value::Object(policy)) => self.restart_policy(&policy),
                // In the host's network no port is published, even if one is requested.
                ("PortBindings", Value::Object(ports)) => {
                    self.ports(if publishes { ports } else { Map::new() });
                }
                ("CapAdd" | "CapDrop", Value::Array(names)) => self.capabilities(&name, &names),
                ("Runtime", Value::String(runtime)) => {
                    self.value(name, Some(runtime).filter(|it| *it != defaults.runtime));
                }
                ("CgroupnsMode", Value::String(mode)) => {
                    self.value(name, Some(mode).filter(|it| it != defaults.cgroup_namespace));
                }
                ("IpcMode", Value::String(mode)) => self.value(name, Some(mode).filter(|it| it != "private")),
                ("ShmSize", Value::Number(size)) => {
                    self.value(name, size.as_u64().filter(|size| ![0, SHM_SIZE].contains(size)));
                }
                // Without an explicit limit it is twice the memory, or none if the kernel does not account for swap.
                ("MemorySwap", Value::Number(swap)) => {
                    let usual = [0, -1, memory.saturating_mul(2)];
                    self.value(name, swap.as_i64().filter(|swap| !usual.contains(swap)));
                }
                (_, value) => self.other(name, value, is_privileged),
            }
        }
    }

    /// Adds a setting without a special meaning.
    fn other(&mut self, name: String, value: Value, is_privileged: bool) {
        match value {
            Value::Number(number) => {
                self.value(name, number.as_i64().filter(|number| *number > 0 || *number < -1));
            }
            Value::Bool(is_on) => self.value(name, Some(is_on)),
            Value::String(text) => self.value(name, Some(text)),
            Value::Array(list) => {
                // The engine adds this option by itself.
                let is_added = |entry: &str| is_privileged && entry == "label=disable";
                for entry in list.iter().map(of_list).filter(|entry| !is_added(entry)) {
                    self.entry(&name, entry, String::new());
                }
            }
            Value::Object(map) => {
                for (key, value) in map {
                    self.entry(&name, key, value.to_string());
                }
            }
            Value::Null => {}
        }
    }

    fn restart_policy(&mut self, policy: &Map<String, Value>) {
        let name = policy.get("Name").and_then(Value::as_str).unwrap_or_default();
        let times = policy.get("MaximumRetryCount").and_then(Value::as_i64).unwrap_or(0);
        let times = if times > 0 { format!(":{times}") } else { String::new() };
        let name = Some(name).filter(|name| *name != "no");
        self.value("RestartPolicy", name.map(|name| name.to_owned() + &times));
    }

    fn capabilities(&mut self, field: &str, names: &[Value]) {
        for known in names.iter().filter_map(Value::as_str) {
            let known = known.to_uppercase();
            let known = known.strip_prefix("CAP_").unwrap_or(&known);
            self.entry(field, known, String::new());
        }
    }

    /// Adds the published ports, in the notation of the docker command.
    fn ports(&mut self, ports: Map<String, Value>) {
        for (inside, bindings) in ports {
            for binding in bindings.as_array().into_iter().flatten() {
                let text = |key| binding.get(key).and_then(Value::as_str).unwrap_or_default();
                let ip = Some(text("HostIp")).filter(|ip| !["", "0.0.0.0", "::"].contains(ip));
                let ip = ip.map(|ip| format!("{ip}:")).unwrap_or_default();
                self.entry("published port", format!("{ip}{}:{inside}", text("HostPort")), String::new());
            }
        }
    }

    fn values_to(&self, new: &Self) -> Vec<ContainerChange> {
        let empty = String::new();
        let names =
            self.values.keys().chain(new.values.keys().filter(|name| !self.values.contains_key(*name)));
        let pairs = names.map(|name| {
            (name, self.values.get(name).unwrap_or(&empty), new.values.get(name).unwrap_or(&empty))
        });
        let other = pairs.filter(|(_, from, to)| from != to);
        other
            .map(|(name, from, to)| ContainerChange::Value {
                field: name.clone().into(),
                from: from.clone(),
                to: to.clone(),
            })
            .collect()
    }
}

/// Returns the name of the setting for the mount at a path. The engine keeps some paths as they were typed.
fn mount_at(target: &str) -> String {
    format!("mount {}", clean(target))
}

/// The display text for an anonymous volume.
const UNNAMED: &str = "a volume without a name";

/// Returns the description of a running container's mount.
fn mounted(point: &MountPoint) -> String {
    let name = point.name.as_deref().filter(|_| point.typ.as_deref() == Some("volume"));
    let source = match name {
        Some(name) if volumes::is_unnamed(name) => UNNAMED,
        Some(name) => name,
        None => point.source.as_deref().unwrap_or_default(),
    };
    let access = if point.rw == Some(false) { "ro" } else { "rw" };
    // The engine marks every volume as shared (`z`) by itself.
    let mode = point.mode.as_deref().filter(|_| name.is_none()).unwrap_or_default();
    let propagation = point.propagation.as_deref().unwrap_or_default();
    with_options(source, &[access, mode, propagation].join(","))
}

/// Returns the description of a requested mount.
fn asked(mount: &Mount) -> String {
    let source = mount.source.as_deref().filter(|source| !source.is_empty() && !volumes::is_unnamed(source));
    let access = if mount.read_only == Some(true) { "ro" } else { "rw" };
    let propagation = mount.bind_options.as_ref().and_then(|options| options.propagation);
    let propagation = propagation.map(|it| it.to_string()).unwrap_or_default();
    with_options(source.unwrap_or(UNNAMED), &format!("{access},{propagation}"))
}

/// Returns the source and those of the options that are not defaults.
fn with_options(source: &str, options: &str) -> String {
    let mut options: Vec<&str> = options.split(',').collect();
    options.retain(|option| !["", "rw", "rprivate", "nocopy"].contains(option));
    options.sort_unstable();
    options.dedup();
    options.into_iter().fold(source.to_owned(), |text, option| text + " " + option)
}

/// Returns an entry of a list, in the notation of the docker command if that is short.
fn of_list(entry: &Value) -> String {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str| entry.get(key).and_then(Value::as_i64);
    if let (Some(name), Some(soft), Some(hard)) = (text("Name"), number("Soft"), number("Hard")) {
        return format!("{}={soft}:{hard}", ulimit_name(&name));
    }
    if let (Some(host), Some(inside)) = (text("PathOnHost"), text("PathInContainer")) {
        let permissions = text("CgroupPermissions").filter(|it| !it.is_empty());
        return format!("{host}:{inside}:{}", permissions.as_deref().unwrap_or("rwm"));
    }
    let whole = entry.as_str().map_or_else(|| entry.to_string(), str::to_owned);
    // A seccomp profile is a whole file.
    match whole.split_once('=') {
        Some((name, value)) if value.starts_with('{') => format!("{name}=(a profile)"),
        _ => whole,
    }
}
