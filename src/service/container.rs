//! The container of a service, described with the key names and value forms of the Compose specification.
//!
//! Nothing is interpolated: a `$` is a `$`. Networks and volumes are the engine's own, by their own names. What a
//! Compose file has of both is resolved before it comes here, by [`super::compose`].

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

use crate::image::{ImageReference, Platform};
use crate::observation::watchtower::UpdateLabels;
use crate::observation::{Described, PinnedAddress, RestartPolicy};

pub use environment::{EnvFile, EnvFiles, Environment, Secret};
pub use form::{Pairs, Text, Texts, Words};
pub use healthcheck::{Healthcheck, Test};
pub use limits::{Device, Logging, Restart, SecurityOption, Ulimit};
pub use network::{Endpoint, Exposed, ExtraHosts, Networks};
pub use quantity::{Bytes, Cpus, Span};
pub use volume::{Volume, VolumeKind, clean};

/// What `[services.NAME]` says of its container. What it leaves open is the image's or the engine's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Container {
    /// The image; a deploy may name another one.
    #[serde(deserialize_with = "image")]
    #[schemars(with = "Option<ImageReference>")]
    pub image: Option<ImageReference>,
    /// What the image is to be made for, where that is not what the engine's host is.
    pub platform: Option<Platform>,
    /// Its name, with `{server}` for the server's; BACKEND-SERVER where it is left out.
    pub container_name: Option<String>,
    /// What is run, or the arguments of the entrypoint.
    pub command: Option<Words>,
    /// What is run before the command's words.
    pub entrypoint: Option<Words>,
    /// Variables.
    pub environment: Environment,
    /// Files of variables, under `environment`.
    pub env_file: EnvFiles,
    /// What is mounted.
    pub volumes: Vec<Volume>,
    /// Paths in memory: `PATH` or `PATH:OPTIONS`.
    pub tmpfs: Texts,
    /// The port inside, behind `primary_port` and `backup_port`.
    pub container_port: Option<u16>,
    /// Ports that are declared and not published.
    pub expose: Vec<Exposed>,
    /// What the engine does when it ends.
    pub restart: Option<Restart>,
    /// The engine's own check.
    pub healthcheck: Option<Healthcheck>,
    /// Labels.
    pub labels: Pairs,
    /// Networks of the engine.
    pub networks: Networks,
    /// `host`, `none`, `bridge` or `container:NAME`, in the place of networks.
    pub network_mode: Option<String>,
    /// Names that it resolves itself.
    pub extra_hosts: ExtraHosts,
    /// Limits of the kernel.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Where its output goes.
    pub logging: Option<Logging>,
    /// Who it runs as: `USER[:GROUP]`.
    pub user: Option<Text>,
    /// Capabilities that it has more.
    pub cap_add: Vec<String>,
    /// Capabilities that it lacks.
    pub cap_drop: Vec<String>,
    /// How long it may take to end before it is killed.
    pub stop_grace_period: Option<Span>,
    /// The signal that asks it to end.
    pub stop_signal: Option<String>,
    /// Whether the engine's own first process reaps its children.
    pub init: Option<bool>,
    /// Its name for itself.
    pub hostname: Option<String>,
    /// Where its command starts.
    pub working_dir: Option<String>,
    /// Whether its own file system may not be written.
    pub read_only: Option<bool>,
    /// Whether it has a terminal.
    pub tty: Option<bool>,
    /// Whether its input stays open.
    pub stdin_open: Option<bool>,
    /// Whether it may do everything.
    pub privileged: Option<bool>,
    /// Security options, as the engine takes them.
    pub security_opt: Vec<SecurityOption>,
    /// Devices of the engine's host.
    pub devices: Vec<Device>,
    /// Name servers.
    pub dns: Texts,
    /// Domains in which names are looked up.
    pub dns_search: Texts,
    /// Settings of the kernel.
    pub sysctls: Pairs,
    /// The size of `/dev/shm`.
    pub shm_size: Option<Bytes>,
    /// The most memory that it gets.
    pub mem_limit: Option<Bytes>,
    /// The most processors that it gets.
    pub cpus: Option<Cpus>,
    /// The most processes that it may have; -1 is no limit.
    pub pids_limit: Option<i64>,
}

fn image<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ImageReference>, D::Error> {
    String::deserialize(from)?.parse().map(Some).map_err(D::Error::custom)
}

impl Container {
    /// What must be known of it before there is one; `None` where its port inside is not told.
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

    /// The volumes that it names.
    pub fn named_volumes(&self) -> impl Iterator<Item = &str> {
        self.volumes.iter().filter_map(|volume| match &volume.kind {
            VolumeKind::Volume { name, .. } => name.as_deref(),
            VolumeKind::Bind { .. } | VolumeKind::Tmpfs { .. } => None,
        })
    }

    /// The paths of the engine's host that must be there.
    fn needs_paths(&self) -> Vec<String> {
        let devices = self.devices.iter().map(|device| &device.host);
        let binds = self.volumes.iter().filter_map(|volume| match &volume.kind {
            VolumeKind::Bind { source, create_host_path: false, .. } => Some(source),
            VolumeKind::Bind { .. } | VolumeKind::Volume { .. } | VolumeKind::Tmpfs { .. } => None,
        });
        devices.chain(binds).filter(|path| path.starts_with('/')).cloned().collect()
    }

    /// The paths inside at which memory is mounted.
    fn in_memory(&self) -> impl Iterator<Item = String> {
        self.tmpfs.0.iter().map(|path| clean(path.split(':').next().unwrap_or(path)))
    }

    /// What is wrong between its keys: the key, and what to write.
    pub(super) fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let shares = self.network_mode.as_deref().is_some_and(|mode| mode.starts_with("container:"));
        let mut targets: Vec<String> = self.volumes.iter().map(|volume| volume.target.clone()).collect();
        targets.extend(self.in_memory());
        targets.sort_unstable();
        let is_twice = targets.windows(2).any(|pair| pair[0] == pair[1]);
        if self.container_name.as_ref().is_some_and(|name| !name.contains("{server}")) {
            Some(("container_name", "every server has a container of its own: write {server} in it"))
        } else if self.container_port == Some(0) {
            Some(("container_port", "0 is no port: write 1 to 65535"))
        } else if self.network_mode.is_some() && !self.networks.0.is_empty() {
            Some(("network_mode", "networks stand beside it: write one of the two"))
        } else if (shares || self.network_mode.as_deref() == Some("none")) && self.container_port.is_some() {
            Some((
                "network_mode",
                "HAProxy cannot reach a container there: write networks, or leave container_port out",
            ))
        } else if shares && self.hostname.is_some() {
            Some(("hostname", "it is that of the container whose network is used: leave it out"))
        } else if self.network_mode.as_deref().is_some_and(|mode| mode.starts_with("service:")) {
            Some(("network_mode", "services are no containers here: write container:NAME"))
        } else if is_twice {
            Some(("volumes", "two are mounted at one target: leave one out"))
        } else if self.healthcheck.as_ref().is_some_and(|it| it.disable && it.test.is_some()) {
            Some(("healthcheck.disable", "a test stands beside it: write one of the two"))
        } else {
            None
        }
    }
}
