//! A Docker engine, by its HTTP API.

mod call;
mod credentials;
mod endpoint;
mod hosts;
mod log;
mod look;
mod recreate;
mod registry;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::models::{
    ContainerInspectResponse, ContainerUpdateBody, NetworkConnectRequest,
    RestartPolicy as DockerRestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use futures_util::{StreamExt, TryStreamExt, stream};

pub use endpoint::Endpoint;

use self::call::{Failure, Purpose};
use crate::ids::ContainerId;
use crate::image::{Image, ImageReference};
use crate::observation::{Container, ContainerState, RestartPolicy};
use crate::ports::{ContainerEngine, EngineError, PullProgress, Pulse, Recipe};

/// How long the engine may take to say hello.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to answer a question or to make a small change.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to create, start or remove a container: it may have to prepare storage and networks.
const CHANGE_LIMIT: Duration = Duration::from_secs(120);
/// Docker's stop timeout for a container that has none of its own.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// What is added to a container's stop timeout: the kill and the clean-up come after it.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// The limit for a container whose own stop timeout is negative, which means for ever.
const STOP_FOREVER: Duration = Duration::from_secs(3600);
/// The client's own limit, longer than any of ours: it would cut off a long stop.
const CLIENT_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many containers are inspected at once.
const INSPECTIONS: usize = 8;
/// What every candidate's name holds, [`Recipe::name`]; nothing else is ever removed to make room.
const CANDIDATE_MARK: &str = ".new-";
/// The most characters of a healthcheck's output that are kept.
const HEALTH_OUTPUT: usize = 200;

/// A Docker engine that answered.
pub struct DockerEngine {
    client: Docker,
    endpoint: Endpoint,
}

impl fmt::Debug for DockerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerEngine").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl DockerEngine {
    /// Connects, and agrees on the API's version, within ten seconds.
    pub async fn connect(endpoint: Endpoint) -> Result<Self, EngineError> {
        let limit = CLIENT_LIMIT.as_secs();
        let client = match &endpoint {
            Endpoint::Unix(path) => {
                Docker::connect_with_unix(&path.to_string_lossy(), limit, API_DEFAULT_VERSION)
            }
            Endpoint::Tcp { certificates: None, .. } => {
                Docker::connect_with_http(&endpoint.to_string(), limit, API_DEFAULT_VERSION)
            }
            Endpoint::Tcp { certificates: Some(directory), .. } => Docker::connect_with_ssl(
                &endpoint.to_string(),
                &directory.join("key.pem"),
                &directory.join("cert.pem"),
                &directory.join("ca.pem"),
                limit,
                API_DEFAULT_VERSION,
            ),
        };
        let unreachable = |reason| EngineError::Unreachable { endpoint: endpoint.to_string(), reason };
        let client = client.map_err(|error| unreachable(call::unreachable(&endpoint, &error)))?;
        let client = client.with_request_modifier(with_url_safe_login);
        let greeting = async { client.negotiate_version().await };
        match tokio::time::timeout(CONNECT_LIMIT, greeting).await {
            Ok(Ok(client)) => Ok(Self { client, endpoint }),
            Ok(Err(error)) => Err(unreachable(call::unreachable(&endpoint, &error))),
            Err(_) => Err(unreachable(format!("no answer within {} s", CONNECT_LIMIT.as_secs()))),
        }
    }

    /// The API version that both sides speak.
    fn api(&self) -> recreate::ApiVersion {
        let version = self.client.client_version();
        (version.major_version, version.minor_version)
    }

    async fn within<T>(
        &self,
        limit: Duration,
        purpose: Purpose<'_>,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, Failure> {
        purpose.within(limit, &self.endpoint, call).await
    }

    /// Inspects a container, on behalf of the action that needs it.
    async fn inspect(&self, action: &'static str, name: &str) -> Result<ContainerInspectResponse, Failure> {
        self.within(CALL_LIMIT, Purpose { action, subject: name }, self.client.inspect_container(name, None))
            .await
    }

    /// Inspects a container that may be gone.
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

    /// The repository digests of each of these images; an image that is gone has none.
    async fn repo_digests(
        &self,
        images: BTreeSet<String>,
    ) -> Result<HashMap<String, Vec<String>>, EngineError> {
        let digests = stream::iter(images).map(async |image| {
            let found = self.find_image(&image).await?.and_then(|image| image.repo_digests);
            Ok((image, found.unwrap_or_default()))
        });
        digests.buffered(INSPECTIONS).try_collect().await
    }

    /// Makes room for a candidate: what an earlier, interrupted try left under its name goes away.
    async fn remove_leftover(&self, recipe: &Recipe) -> Result<(), EngineError> {
        let Some(leftover) = self.find("create", &recipe.name).await? else { return Ok(()) };
        let purpose = Purpose { action: "create", subject: &recipe.name };
        let id = ContainerId(leftover.id.clone().unwrap_or_default());
        let is_idle = matches!(look::state(&leftover), ContainerState::Created | ContainerState::Stopped);
        if !recipe.name.contains(CANDIDATE_MARK) || id == recipe.like || look::name(&leftover) != recipe.name
        {
            return Err(purpose.refused("a container has that name already"));
        }
        if !is_idle {
            return Err(
                purpose.refused("an earlier try left a container of that name, and it runs; stop it first")
            );
        }
        self.remove(&id).await
    }

    /// Looks whether the containers whose namespaces are to be shared still exist: the engine would find out at
    /// the start only, when the old container is down.
    async fn check_namespaces(&self, old: &ContainerInspectResponse, name: &str) -> Result<(), EngineError> {
        for (what, owner) in recreate::namespace_owners(old) {
            if self.find("create", &owner).await?.is_none() {
                let owner = owner.get(..12).unwrap_or(&owner);
                return Err(Purpose { action: "create", subject: name }.refused(format!(
                    "the container that it is to be like uses the {what} of container {owner}, which is gone; create it \
                     again with one that exists"
                )));
            }
        }
        Ok(())
    }
}

/// The engine reads the login as URL-safe base64, the client writes the other alphabet: a password with `~`, `>` or
/// `?` in it would be dropped without a word.
fn with_url_safe_login(mut request: BollardRequest) -> BollardRequest {
    if let Some(login) = request.headers_mut().get_mut("X-Registry-Auth") {
        let text = login.to_str().unwrap_or_default().replace('+', "-").replace('/', "_");
        if let Ok(value) = text.parse() {
            *login = value;
        }
    }
    request
}

impl ContainerEngine for DockerEngine {
    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let purpose = Purpose { action: "list", subject: "its containers" };
        let listed = self.within(CALL_LIMIT, purpose, self.client.list_containers(Some(options))).await?;
        // A container that vanishes between the list and its inspection is none.
        let found: Vec<Option<ContainerInspectResponse>> =
            stream::iter(listed.into_iter().filter_map(|container| container.id))
                .map(async |id| self.find("inspect", &id).await)
                .buffered(INSPECTIONS)
                .try_collect()
                .await?;
        let found: Vec<ContainerInspectResponse> = found.into_iter().flatten().collect();
        let digests =
            self.repo_digests(found.iter().filter_map(|container| container.image.clone()).collect()).await?;
        let digests_of = |container: &ContainerInspectResponse| {
            container.image.as_ref().and_then(|image| digests.get(image)).cloned().unwrap_or_default()
        };
        Ok(found.iter().map(|container| look::container(container, digests_of(container))).collect())
    }

    async fn host_addresses(&self, addresses: BTreeSet<IpAddr>) -> Result<BTreeSet<IpAddr>, EngineError> {
        let Endpoint::Tcp { host, port, .. } = &self.endpoint else {
            return Ok(addresses.into_iter().filter(|address| hosts::is_own(*address)).collect());
        };
        let unreachable = |reason| EngineError::Unreachable { endpoint: self.endpoint.to_string(), reason };
        let engine: BTreeSet<IpAddr> =
            match tokio::time::timeout(CALL_LIMIT, tokio::net::lookup_host((host.as_str(), *port))).await {
                Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
                Ok(Err(error)) => return Err(unreachable(error.to_string())),
                Err(_) => {
                    return Err(unreachable(format!(
                        "its name was not resolved within {} s",
                        CALL_LIMIT.as_secs()
                    )));
                }
            };
        let is_here = engine.iter().any(IpAddr::is_loopback);
        let is_engine_s = |address: &IpAddr| engine.contains(address) || (is_here && hosts::is_own(*address));
        Ok(addresses.into_iter().filter(is_engine_s).collect())
    }

    async fn resolve(&self, reference: &ImageReference) -> Result<Image, EngineError> {
        self.resolve_reference(reference).await
    }

    async fn pull(
        &self,
        image: &Image,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        self.pull_image(image, progress).await
    }

    async fn create(&self, recipe: &Recipe) -> Result<ContainerId, EngineError> {
        let name = recipe.name.as_str();
        let purpose = Purpose { action: "create", subject: name };
        let Some(old) = self.find("create", &recipe.like.0).await? else {
            let like = recipe.like.short();
            return Err(purpose.refused(format!("the container that it is to be like, {like}, is gone")));
        };
        self.check_namespaces(&old, name).await?;
        let old_image = match &old.image {
            Some(image) => self.find_image(image).await?,
            None => None,
        };
        let blueprint = recreate::blueprint(&old, old_image.as_ref(), self.api(), recipe)?;
        self.remove_leftover(recipe).await?;

        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let call = self.client.create_container(Some(options), blueprint.body);
        let id = ContainerId(self.within(CHANGE_LIMIT, purpose, call).await?.id);
        for (network, endpoint) in blueprint.connect {
            let request = NetworkConnectRequest { container: id.0.clone(), endpoint_config: Some(endpoint) };
            let call = self.client.connect_network(&network, request);
            if let Err(failure) = self.within(CHANGE_LIMIT, purpose, call).await {
                // What is left if this fails too is a leftover of that name, which the next try removes.
                let _ = self.remove(&id).await;
                return Err(failure.error);
            }
        }
        Ok(id)
    }

    async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        let purpose = Purpose { action: "start", subject: container.short() };
        Ok(self.within(CHANGE_LIMIT, purpose, self.client.start_container(&container.0, None)).await?)
    }

    async fn stop(&self, container: &ContainerId) -> Result<(), EngineError> {
        let own = self.inspect("stop", &container.0).await?.config.and_then(|config| config.stop_timeout);
        let limit = match own.map(u64::try_from) {
            None => STOP_TIMEOUT + STOP_MARGIN,
            Some(Ok(seconds)) => Duration::from_secs(seconds).saturating_add(STOP_MARGIN),
            Some(Err(_)) => STOP_FOREVER,
        };
        let purpose = Purpose { action: "stop", subject: container.short() };
        Ok(self.within(limit, purpose, self.client.stop_container(&container.0, None)).await?)
    }

    async fn rename(&self, container: &ContainerId, name: &str) -> Result<(), EngineError> {
        if look::name(&self.inspect("rename", &container.0).await?) == name {
            return Ok(());
        }
        let purpose = Purpose { action: "rename", subject: container.short() };
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        Ok(self.within(CALL_LIMIT, purpose, self.client.rename_container(&container.0, options)).await?)
    }

    async fn set_restart(&self, container: &ContainerId, policy: &RestartPolicy) -> Result<(), EngineError> {
        let purpose = Purpose { action: "set the restart policy of", subject: container.short() };
        let name: RestartPolicyNameEnum = match policy.name.as_str() {
            // An empty name would leave the policy as it is.
            "" => RestartPolicyNameEnum::NO,
            name => {
                name.parse().map_err(|_| purpose.refused(format!("there is no restart policy `{name}`")))?
            }
        };
        let policy =
            DockerRestartPolicy { name: Some(name), maximum_retry_count: Some(policy.maximum_retries) };
        let update = ContainerUpdateBody { restart_policy: Some(policy), ..ContainerUpdateBody::default() };
        Ok(self.within(CALL_LIMIT, purpose, self.client.update_container(&container.0, update)).await?)
    }

    async fn remove(&self, container: &ContainerId) -> Result<(), EngineError> {
        let Some(found) = self.find("remove", &container.0).await? else { return Ok(()) };
        let runs = !matches!(look::state(&found), ContainerState::Created | ContainerState::Stopped);
        let options = RemoveContainerOptionsBuilder::new().force(runs).v(false).build();
        let purpose = Purpose { action: "remove", subject: container.short() };
        let call = self.client.remove_container(&container.0, Some(options));
        match self.within(CHANGE_LIMIT, purpose, call).await {
            // In conflict with itself: a removal that goes on already.
            Err(failure) if !failure.is_absent() && !failure.is_conflict() => Err(failure.error),
            Err(failure)
                if failure.is_conflict()
                    && self.find("remove", &container.0).await?.is_some_and(|found| !is_leaving(&found)) =>
            {
                Err(failure.error)
            }
            _ => Ok(()),
        }
    }

    async fn pulse(&self, container: &ContainerId) -> Result<Pulse, EngineError> {
        let found = self.inspect("inspect", &container.0).await?;
        let state = found.state.clone().unwrap_or_default();
        let output = state
            .health
            .and_then(|health| health.log)
            .and_then(|mut log| log.pop())
            .and_then(|last| last.output);
        let output = log::plain(output.unwrap_or_default().as_bytes(), HEALTH_OUTPUT);
        Ok(Pulse {
            running: look::state(&found) == ContainerState::Running,
            restarts: found.restart_count.unwrap_or(0),
            exit_code: state.exit_code.unwrap_or(0),
            out_of_memory: state.oom_killed.unwrap_or(false),
            health: look::health(&found).map(|health| (health, output)),
        })
    }

    async fn log_tail(&self, container: &ContainerId, lines: usize) -> Result<Vec<String>, EngineError> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let purpose = Purpose { action: "read the log of", subject: container.short() };
        let pieces = self.client.logs(&container.0, Some(options)).try_fold(
            log::Lines::default(),
            async |mut found, piece| {
                let stream = match &piece {
                    LogOutput::StdErr { .. } => log::Stream::Error,
                    LogOutput::StdOut { .. } | LogOutput::StdIn { .. } | LogOutput::Console { .. } => {
                        log::Stream::Output
                    }
                };
                found.add(stream, piece.as_ref());
                Ok(found)
            },
        );
        Ok(self.within(CALL_LIMIT, purpose, pieces).await?.last(lines))
    }
}

/// Whether a container is being removed.
fn is_leaving(found: &ContainerInspectResponse) -> bool {
    use bollard::models::ContainerStateStatusEnum::{DEAD, REMOVING};
    matches!(found.state.as_ref().and_then(|state| state.status), Some(REMOVING | DEAD))
}

#[cfg(test)]
mod fixture {
    use std::path::Path;

    use serde::de::DeserializeOwned;

    /// What a real engine (20.10) answered to an inspection, as recorded in `fixtures/docker`.
    pub fn inspect<T: DeserializeOwned>(file: &str) -> T {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/docker").join(file);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_sent_in_the_alphabet_that_the_engine_reads() {
        let mut request = BollardRequest::new(bollard::body_full(Vec::new().into()));
        request.headers_mut().insert("X-Registry-Auth", "a+b/c==".parse().unwrap());
        assert_eq!(with_url_safe_login(request).headers()["X-Registry-Auth"], "a-b_c==");
    }
}
