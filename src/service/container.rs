//! The container of a service, described with the keys and value forms of the Compose specification.
//!
//! Values are literal: a `$` is a `$`. Networks and volumes have their names on the engine. [`super::compose`] resolves
//! the variables and names of a Compose file beforehand.

pub(super) mod env_file;
mod environment;
mod form;
mod healthcheck;
mod limits;
mod network;
mod quantity;
#[cfg(test)]
mod tests;
mod volume;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::model::image::{ImageReference, Platform};
use crate::observation::watchtower::UpdateLabels;
use crate::observation::{Described, PinnedAddress, RestartPolicy};

pub use environment::{EnvFile, EnvFiles, Environment, Secret};
pub use form::{Pairs, Text, Texts, Words};
pub use healthcheck::{Healthcheck, Test};
pub use limits::{Device, Logging, Restart, SecurityOption, Ulimit};
pub use network::{Endpoint, Exposed, ExtraHosts, Networks};
pub use quantity::{Bytes, Cpus, Span};
pub use volume::{Volume, VolumeKind, clean};

/// The container keys of a `[services.NAME]` table. The image or the engine determines everything that is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Container {
    /// The image; a deploy can override it.
    #[serde(deserialize_with = "image")]
    #[schemars(with = "Option<ImageReference>")]
    pub image: Option<ImageReference>,
    /// The platform of the image, if it differs from the platform of the engine's host.
    pub platform: Option<Platform>,
    /// The container's name, with `{server}` for the server's name; the default is BACKEND-SERVER.
    pub container_name: Option<String>,
    /// The command, or the arguments of the entrypoint.
    pub command: Option<Words>,
    /// The entrypoint, which runs with the command as its arguments.
    pub entrypoint: Option<Words>,
    /// Environment variables.
    pub environment: Environment,
    /// Files with environment variables, which `environment` overrides.
    pub env_file: EnvFiles,
    /// Bind mounts, volumes and tmpfs mounts.
    pub volumes: Vec<Volume>,
    /// Paths of tmpfs mounts: `PATH` or `PATH:OPTIONS`.
    pub tmpfs: Texts,
    /// The port inside the container that is published at `primary_port` and `backup_port`.
    pub container_port: Option<u16>,
    /// Ports that are declared but not published.
    pub expose: Vec<Exposed>,
    /// The restart policy.
    pub restart: Option<Restart>,
    /// The engine's health check.
    pub healthcheck: Option<Healthcheck>,
    /// Labels of the container.
    pub labels: Pairs,
    /// Networks of the engine.
    pub networks: Networks,
    /// `host`, `none`, `bridge` or `container:NAME`, instead of networks.
    pub network_mode: Option<String>,
    /// Additional host names with their addresses.
    pub extra_hosts: ExtraHosts,
    /// Resource limits of the kernel.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// The logging driver.
    pub logging: Option<Logging>,
    /// The user of the process: `USER[:GROUP]`.
    pub user: Option<Text>,
    /// Additional capabilities.
    pub cap_add: Vec<String>,
    /// Removed capabilities.
    pub cap_drop: Vec<String>,
    /// The time that a stopping container has to exit before the engine kills it.
    pub stop_grace_period: Option<Span>,
    /// The signal that stops the container.
    pub stop_signal: Option<String>,
    /// Whether an init process of the engine reaps the container's child processes.
    pub init: Option<bool>,
    /// The host name inside the container.
    pub hostname: Option<String>,
    /// The working directory of the command.
    pub working_dir: Option<String>,
    /// Whether the container's root file system is read-only.
    pub read_only: Option<bool>,
    /// Whether the container has a terminal.
    pub tty: Option<bool>,
    /// Whether standard input stays open.
    pub stdin_open: Option<bool>,
    /// Whether the container is privileged.
    pub privileged: Option<bool>,
    /// Security options in the engine's syntax.
    pub security_opt: Vec<SecurityOption>,
    /// Devices of the engine's host.
    pub devices: Vec<Device>,
    /// Addresses of DNS servers.
    pub dns: Texts,
    /// DNS search domains.
    pub dns_search: Texts,
    /// Kernel parameters.
    pub sysctls: Pairs,
    /// The size of `/dev/shm`.
    pub shm_size: Option<Bytes>,
    /// The maximum amount of memory.
    pub mem_limit: Option<Bytes>,
    /// The maximum number of CPUs.
    pub cpus: Option<Cpus>,
    /// The maximum number of processes; -1 means unlimited.
    pub pids_limit: Option<i64>,
}

fn image<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ImageReference>, D::Error> {
    String::deserialize(from)?.parse().map(Some).map_err(D::Error::custom)
}

impl Container {
    /// Returns the properties that a plan needs before the container exists, or `None` without a `container_port`.
    #[must_use]
    pub fn described(&self) -> Option<Described> {
        let policy = |name: &str, maximum_retries| RestartPolicy { name: name.to_owned(), maximum_retries };
        let restart = match self.restart {
            None | Some(Restart::No) => RestartPolicy::never(),
            Some(Restart::Always) => policy("always", 0),
            Some(Restart::UnlessStopped) => policy("unless-stopped", 0),
            Some(Restart::OnFailure(times)) => policy("on-failure", i64::from(times)),
        };
        let addresses = self.networks.0.iter().flat_map(|(network, endpoint)| {
            let v4 = endpoint.ipv4_address.map(IpAddr::V4);
            let given = v4.into_iter().chain(endpoint.ipv6_address.map(IpAddr::V6));
            given.map(|address| PinnedAddress { network: network.clone(), address })
        });
        let is_unnamed = |kind: &VolumeKind| matches!(kind, VolumeKind::Volume { name: None, .. });
        let mounts = self.volumes.iter().filter(|volume| !is_unnamed(&volume.kind));
        Some(Described {
            name: self.container_name.clone(),
            port: self.container_port?,
            restart,
            healthcheck: self.healthcheck.as_ref().and_then(Healthcheck::observed),
            addresses: addresses.collect(),
            mounts: mounts.map(|volume| volume.target.clone()).chain(self.in_memory()).collect(),
            update_labels: UpdateLabels::of_map(&self.labels.0),
            needs_paths: self.needs_paths(),
        })
    }

    /// Returns the names of the named volumes.
    pub fn named_volumes(&self) -> impl Iterator<Item = &str> {
        self.volumes.iter().filter_map(|volume| match &volume.kind {
            VolumeKind::Volume { name, .. } => name.as_deref(),
            VolumeKind::Bind { .. } | VolumeKind::Tmpfs { .. } => None,
        })
    }

    /// Returns the paths that must exist on the engine's host.
    fn needs_paths(&self) -> Vec<String> {
        let devices = self.devices.iter().map(|device| &device.host);
        let binds = self.volumes.iter().filter_map(|volume| match &volume.kind {
            VolumeKind::Bind { source, create_host_path: false, .. } => Some(source),
            VolumeKind::Bind { .. } | VolumeKind::Volume { .. } | VolumeKind::Tmpfs { .. } => None,
        });
        devices.chain(binds).filter(|path| path.starts_with('/')).cloned().collect()
    }

    /// Returns the paths of the tmpfs mounts inside the container.
    fn in_memory(&self) -> impl Iterator<Item = String> {
        self.tmpfs.0.iter().map(|path| clean(path.split(':').next().unwrap_or(path)))
    }

    /// Returns the first conflict between keys: the key and its fix.
    pub(super) fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let shares = self.network_mode.as_deref().is_some_and(|mode| mode.starts_with("container:"));
        let mut targets: Vec<String> = self.volumes.iter().map(|volume| volume.target.clone()).collect();
        targets.extend(self.in_memory());
        targets.sort_unstable();
        let is_twice = targets.windows(2).any(|pair| pair[0] == pair[1]);
        if self.container_name.as_ref().is_some_and(|name| !name.contains("{server}")) {
            Some(("container_name", "every server needs its own container: include {server} in the name"))
        } else if self.container_port == Some(0) {
            Some(("container_port", "invalid port 0: expected 1–65535"))
        } else if self.network_mode.is_some() && !self.networks.0.is_empty() {
            Some(("network_mode", "network_mode and networks cannot both be set: remove one"))
        } else if (shares || self.network_mode.as_deref() == Some("none")) && self.container_port.is_some() {
            Some((
                "network_mode",
                "HAProxy cannot reach a container in this mode: use networks, or remove container_port",
            ))
        } else if shares && self.hostname.is_some() {
            Some(("hostname", "the container has the host name of the container in network_mode: remove it"))
        } else if self.network_mode.as_deref().is_some_and(|mode| mode.starts_with("service:")) {
            Some(("network_mode", "drainswap cannot resolve service:NAME: use container:NAME"))
        } else if is_twice {
            Some(("volumes", "two mounts have the same target: remove one"))
        } else if self.healthcheck.as_ref().is_some_and(|it| it.disable && it.test.is_some()) {
            Some(("healthcheck.disable", "disable and test cannot both be set: remove one"))
        } else {
            None
        }
    }
}
