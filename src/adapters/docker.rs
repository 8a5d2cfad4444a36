//! A Docker engine, accessed through its HTTP API.
//!
//! [`Endpoint`] is the address of the engine; `tunnel.rs` reaches it over ssh. `look.rs` reads the engine's state,
//! `recreate.rs` recreates a container, and `registry.rs` resolves an image reference. No call waits forever: each
//! deadline is a constant next to its call.

mod alone;
mod call;
mod connect;
mod context;
mod create;
mod credentials;
mod describe;
mod disk_space;
mod drift;
mod endpoint;
mod host_access;
mod hosts;
pub mod inspect;
pub mod layers;
mod list;
pub mod log;
mod open_files;
mod password;
mod platform;
mod raw;
pub mod recreate;
mod registry;
mod removal;
mod running_container;
mod tls;
mod transport;
mod tunnel;
mod watchtower;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::{
    ContainerInspectResponse, ContainerUpdateBody, HealthcheckResult, RestartPolicy as DockerRestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    LogsOptionsBuilder, RemoveImageOptions, RenameContainerOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::TryStreamExt;

use crate::model::ids::{ContainerId, ImageId};
use crate::model::image::{Image, ImageReference, Platform, previous};
use crate::model::registries::Registries;
use crate::model::sanitize;
use crate::observation::{Container, ContainerChange, ContainerState, Host, RestartPolicy};
use crate::ports::{ContainerEngine, ContainerStatus, EngineError, PullProgress};
use crate::service::create_spec::CreateSpec;
pub use endpoint::Endpoint;
pub use running_container::{HostMount, RunningContainer};

use self::call::{CallContext, CallFailure};

/// The time limit for the engine's identifier. Without it, drainswap recognises a site by other marks.
const ID_LIMIT: Duration = Duration::from_secs(5);
/// The time limit for a query or a small change.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// How long the engine can still read a call from a socket of this host after the connection has ended.
const LATE_HERE: Duration = Duration::from_secs(5);
/// The same for an engine on another host: the network may retransmit lost data for a while.
const LATE_THERE: Duration = Duration::from_secs(60);
/// The time limit for removing an image.
const IMAGE_LIMIT: Duration = Duration::from_secs(120);
/// How long drainswap waits for the answer to a change of a container. A change that timed out may still take effect,
/// so this is much longer than a working engine needs.
const ANSWER_LIMIT: Duration = Duration::from_secs(600);
/// Time added to a container's stop timeout for the kill and the cleanup that follow it.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// The time limit for a container with a negative stop timeout, which means that Docker waits forever.
const STOP_FOREVER: Duration = Duration::from_secs(3600);
/// The maximum number of characters kept of a healthcheck's output.
const HEALTH_OUTPUT: usize = 200;

/// A connection to a Docker engine that has answered.
pub struct DockerEngine {
    client: Docker,
    /// The transport for calls that the client does not support.
    raw: raw::Raw,
    endpoint: Endpoint,
    /// The ssh connection to a remote engine, open as long as this value lives.
    tunnel: Option<tunnel::Tunnel>,
    /// Whether it is Podman, which speaks Docker's API but interprets a few things differently.
    is_podman: bool,
    registries: Registries,
    /// Whether registry passwords may be sent to it over TCP without TLS.
    allow_plain_password: bool,
}

impl fmt::Debug for DockerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerEngine").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl DockerEngine {
    /// Adds logins that take precedence over Docker's own, and sets whether registry passwords may be sent to the
    /// engine over TCP without TLS.
    #[must_use]
    pub fn with_logins(self, registries: Registries, allow_plain_password: bool) -> Self {
        Self { registries, allow_plain_password, ..self }
    }

    async fn within<T>(
        &self,
        limit: Duration,
        purpose: CallContext<'_>,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, CallFailure> {
        purpose.within(limit, &self.endpoint, call).await
    }

    /// Waits for the answer to a change of a container.
    async fn change<T>(
        &self,
        purpose: CallContext<'_>,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, CallFailure> {
        purpose.change(ANSWER_LIMIT, &self.endpoint, call).await
    }

    /// Inspects a container on behalf of an action, which error messages name.
    async fn inspect(
        &self,
        action: &'static str,
        name: &str,
    ) -> Result<ContainerInspectResponse, CallFailure> {
        self.within(
            CALL_LIMIT,
            CallContext { action, subject: name },
            self.client.inspect_container(name, None),
        )
        .await
    }

    /// Inspects a container that may not exist.
    async fn find(
        &self,
        action: &'static str,
        name: &str,
    ) -> Result<Option<ContainerInspectResponse>, EngineError> {
        match self.inspect(action, name).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_absent() => Ok(None),
            Err(failure) => Err(failure.error),
        }
    }
}

impl ContainerEngine for DockerEngine {
    async fn id(&self) -> Result<Option<String>, EngineError> {
        let purpose = CallContext { action: "report", subject: "its identifier" };
        let info = self.within(ID_LIMIT, purpose, self.client.info()).await?;
        Ok(info.id.filter(|id| !id.is_empty()))
    }

    fn late_effect_window(&self) -> Duration {
        match self.endpoint {
            Endpoint::Unix(_) => LATE_HERE,
            Endpoint::Tcp { .. } | Endpoint::Ssh(_) => LATE_THERE,
        }
    }

    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.list().await
    }

    async fn container(&self, container: &ContainerId) -> Result<Container, EngineError> {
        let found = self.inspect("inspect", &container.0).await?;
        Ok(self.to_container(&found, &self.image_of(&found).await?))
    }

    async fn host_addresses(&self, addresses: BTreeSet<IpAddr>) -> Result<BTreeSet<IpAddr>, EngineError> {
        let unreachable = |reason| EngineError::Unreachable { endpoint: self.endpoint.to_string(), reason };
        if let Some(tunnel::Tunnel { remote, .. }) = &self.tunnel {
            return if remote.is_known() {
                Ok(addresses.into_iter().filter(|address| remote.has(*address)).collect())
            } else {
                Err(unreachable(
                    "cannot read the addresses of its host; `hostname -I` must work there".to_owned(),
                ))
            };
        }
        let Endpoint::Tcp { host, port, .. } = &self.endpoint else {
            return Ok(addresses.into_iter().filter(|address| hosts::is_own(*address)).collect());
        };
        let lookup = tokio::net::lookup_host((host.as_str(), *port));
        let found = tokio::time::timeout(CALL_LIMIT, lookup).await.map_err(|_| {
            unreachable(format!("its host name did not resolve within {} s", CALL_LIMIT.as_secs()))
        })?;
        let found = found.map_err(|error| unreachable(error.to_string()))?;
        let engine: BTreeSet<IpAddr> = found.map(|address| address.ip()).collect();
        let is_here = engine.iter().any(IpAddr::is_loopback);
        let is_engine_s = |address: &IpAddr| engine.contains(address) || (is_here && address.is_loopback());
        Ok(addresses.into_iter().filter(is_engine_s).collect())
    }

    async fn host(&self, paths: BTreeSet<String>) -> Host {
        match &self.endpoint {
            Endpoint::Unix(socket) => host_access::host_from_here(socket.as_ref(), paths).await,
            Endpoint::Tcp { .. } | Endpoint::Ssh(_) => Host::default(),
        }
    }

    async fn resolve(&self, reference: &ImageReference) -> Result<Image, EngineError> {
        self.resolve_reference(reference).await
    }

    async fn pull(
        &self,
        image: &Image,
        platform: Option<&Platform>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        self.pull_image(image, platform, progress).await
    }

    async fn has(&self, image: &Image) -> Result<bool, EngineError> {
        Ok(self.find_exactly(image).await?.is_some())
    }

    async fn only_copy(&self, image: &Image) -> Result<Option<String>, EngineError> {
        let Some(mut found) = self.find_exactly(image).await? else { return Ok(None) };
        let mut tags = found.repo_tags.take().into_iter().flatten().filter(|tag| !previous::is_name(tag));
        let Some(tag) = tags.next() else { return Ok(None) };
        // Podman also gives a digest to images that were built here, under a name that no registry has.
        if let Some(digests) = &mut found.repo_digests {
            digests.retain(|digest| !digest.starts_with("localhost/"));
        }
        // If this is unknown, the image is kept.
        let is_known = matches!(Box::pin(self.origin(&found, None)).await?, registry::ImageOrigin::Registry);
        Ok((!is_known).then(|| sanitize::name(&tag)))
    }

    async fn tag(&self, image: &ImageId, name: &str) -> Result<(), EngineError> {
        let purpose = CallContext { action: "tag", subject: name };
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let options = TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
        let call = self.client.tag_image(&image.0, Some(options));
        Ok(self.within(CALL_LIMIT, purpose, call).await?)
    }

    async fn named(&self, name: &str) -> Result<Option<(ImageId, Vec<String>)>, EngineError> {
        let Some(found) = self.find_image(name).await? else { return Ok(None) };
        // An image that no registry is known to have is identified by its identifier alone.
        let digests = match Box::pin(self.origin(&found, None)).await? {
            registry::ImageOrigin::Registry => {
                found.repo_digests.iter().flatten().map(|it| sanitize::name(it)).collect()
            }
            registry::ImageOrigin::Local(_) | registry::ImageOrigin::Unknown(_) => Vec::new(),
        };
        Ok(Some((ImageId(sanitize::name(found.id.as_deref().unwrap_or_default())), digests)))
    }

    async fn untag(&self, name: &str) -> Result<bool, EngineError> {
        let purpose = CallContext { action: "remove", subject: name };
        let call = self.client.remove_image(name, None::<RemoveImageOptions>, None);
        match self.within(IMAGE_LIMIT, purpose, call).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_conflict() || failure.is_absent() => Ok(false),
            Err(failure) => Err(failure.error),
        }
    }

    async fn remove_image(&self, image: &Image) -> Result<bool, EngineError> {
        // The name that containers were created with also keeps the image.
        let is_unnamed = match self.by_name(image).await? {
            Some(name) => self.untag(&name).await?,
            None => false,
        };
        let is_removed = match self.local_name(image).await? {
            Some(name) => self.untag(&name).await?,
            None => false,
        };
        Ok(is_removed || is_unnamed)
    }

    async fn create(&self, recipe: &CreateSpec) -> Result<ContainerId, EngineError> {
        // Boxed because of its size: it holds two inspections and the new container's complete configuration.
        Box::pin(self.create_candidate(recipe)).await
    }

    async fn changes(&self, recipe: &CreateSpec) -> Result<Option<Vec<ContainerChange>>, EngineError> {
        Box::pin(self.changes_by(recipe)).await
    }

    async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        let purpose = CallContext { action: "start", subject: container.short() };
        Ok(self.change(purpose, self.client.start_container(&container.0, None)).await?)
    }

    async fn stop(&self, container: &ContainerId) -> Result<(), EngineError> {
        let own = self.inspect("stop", &container.0).await?.config.and_then(|config| config.stop_timeout);
        let limit = match own.map(u64::try_from) {
            None => ANSWER_LIMIT,
            Some(Ok(seconds)) => ANSWER_LIMIT.max(Duration::from_secs(seconds).saturating_add(STOP_MARGIN)),
            Some(Err(_)) => STOP_FOREVER,
        };
        let purpose = CallContext { action: "stop", subject: container.short() };
        Ok(purpose.change(limit, &self.endpoint, self.client.stop_container(&container.0, None)).await?)
    }

    async fn rename(&self, container: &ContainerId, name: &str) -> Result<(), EngineError> {
        if inspect::name(&self.inspect("rename", &container.0).await?) == name {
            return Ok(());
        }
        let purpose = CallContext { action: "rename", subject: container.short() };
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        Ok(self.change(purpose, self.client.rename_container(&container.0, options)).await?)
    }

    async fn set_restart(&self, container: &ContainerId, policy: &RestartPolicy) -> Result<(), EngineError> {
        let purpose = CallContext { action: "set the restart policy of", subject: container.short() };
        let name: RestartPolicyNameEnum = match policy.name.as_str() {
            // An empty name would leave the policy unchanged.
            "" => RestartPolicyNameEnum::NO,
            name => name.parse().map_err(|_| purpose.refused(format!("unknown restart policy `{name}`")))?,
        };
        let policy =
            DockerRestartPolicy { name: Some(name), maximum_retry_count: Some(policy.maximum_retries) };
        let update = ContainerUpdateBody { restart_policy: Some(policy), ..ContainerUpdateBody::default() };
        match self.change(purpose, self.client.update_container(&container.0, update)).await {
            // Podman 4 does not have this call. A container that it stopped stays stopped, at least until the host
            // restarts.
            Err(failure) if self.is_podman && failure.is_absent() => Ok(()),
            result => Ok(result?),
        }
    }

    async fn remove(&self, container: &ContainerId) -> Result<(), EngineError> {
        match self.find("remove", &container.0).await? {
            Some(found) => self.remove_found(container, &found, false).await,
            None => Ok(()),
        }
    }

    async fn remove_with_volumes(
        &self,
        container: &ContainerId,
        but: &BTreeSet<String>,
    ) -> Result<(), EngineError> {
        self.remove_with_own_volumes(container, but).await
    }

    async fn status(&self, container: &ContainerId) -> Result<ContainerStatus, EngineError> {
        let found = self.inspect("inspect", &container.0).await?;
        let state = found.state.clone().unwrap_or_default();
        let runs = state.health.and_then(|health| health.log).unwrap_or_default();
        let output = |run: &HealthcheckResult| {
            sanitize::short_line(run.output.as_deref().unwrap_or_default(), HEALTH_OUTPUT)
        };
        let last = runs.last().map(output).unwrap_or_default();
        let told =
            |run: &HealthcheckResult| format!("exit code {}: {}", run.exit_code.unwrap_or(0), output(run));
        Ok(ContainerStatus {
            running: inspect::state(&found) == ContainerState::Running,
            exit_code: state.exit_code.unwrap_or(0),
            out_of_memory: state.oom_killed.unwrap_or(false),
            health: inspect::health(&found).map(|health| (health, last)),
            health_log: runs.iter().map(told).collect(),
        })
    }

    async fn log_tail(&self, container: &ContainerId, lines: usize) -> Result<Vec<String>, EngineError> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let purpose = CallContext { action: "read the log of", subject: container.short() };
        let pieces = self.client.logs(&container.0, Some(options)).try_fold(
            log::Lines::default(),
            async |mut found, piece| {
                let stream = match &piece {
                    LogOutput::StdErr { .. } => log::LogStream::Error,
                    LogOutput::StdOut { .. } | LogOutput::StdIn { .. } | LogOutput::Console { .. } => {
                        log::LogStream::Output
                    }
                };
                found.add(stream, piece.as_ref());
                Ok(found)
            },
        );
        Ok(self.within(CALL_LIMIT, purpose, pieces).await?.last(lines))
    }
}

#[cfg(test)]
mod fixture {
    use std::path::Path;

    use serde::de::DeserializeOwned;

    /// The answer of a real engine (20.10) to an inspection, as recorded in `fixtures/docker`.
    pub fn inspect<T: DeserializeOwned>(file: &str) -> T {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/docker").join(file);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

#[cfg(test)]
mod tests;
