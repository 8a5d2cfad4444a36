//! What the engine has: every container, with its image and its networks.

use std::collections::{BTreeSet, HashMap};

use bollard::models::{ContainerInspectResponse, ContainerSummary, Network};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptions};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::call::{CallContext, CallFailure};
use super::inspect::SeenImage;
use super::{CALL_LIMIT, DockerEngine, Endpoint, inspect, open_files, recreate, watchtower};
use crate::observation::Container;
use crate::ports::EngineError;

/// The number of containers that are inspected concurrently.
const INSPECTIONS: usize = 8;

impl DockerEngine {
    /// Returns every container of the engine, running or not.
    pub(super) async fn list(&self) -> Result<Vec<Container>, EngineError> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let purpose = CallContext { action: "list", subject: "its containers" };
        let listed = self.within(CALL_LIMIT, purpose, self.client.list_containers(Some(options))).await?;
        let found: Vec<Option<ContainerInspectResponse>> = stream::iter(listed)
            .map(async |container| self.seen(container).await)
            .buffered(INSPECTIONS)
            .try_collect()
            .await?;
        let found: Vec<ContainerInspectResponse> = found.into_iter().flatten().collect();
        let images =
            self.images(found.iter().filter_map(|container| container.image.clone()).collect()).await?;
        let image_of = |container: &ContainerInspectResponse| {
            container.image.as_ref().and_then(|image| images.get(image)).unwrap_or(&SeenImage::Gone)
        };
        let networks = self.networks(&found).await?;
        // Podman reports every limit as if the user had set it.
        let is_here = matches!(self.endpoint, Endpoint::Unix(_)) && !self.is_podman;
        let shown = |it: &ContainerInspectResponse| {
            let mut container = self.to_container(it, image_of(it));
            container.watchtower = watchtower::watchtower(it).map(Box::new);
            container.open_files = is_here.then(|| open_files::of(it)).flatten();
            if let Some(networks) = networks.as_ref().filter(|_| container.state.is_idle()) {
                for attachment in &mut container.networks {
                    attachment.is_gone = inspect::is_gone(it, &attachment.network, networks);
                    attachment.is_missing =
                        attachment.is_gone && inspect::is_missing(&attachment.network, networks);
                }
            }
            container
        };
        Ok(found.iter().map(shown).collect())
    }

    /// Returns the inspection of a listed container; `None` if it has vanished since. A container that cannot be
    /// inspected keeps its list entry, so that the others can still be replaced. It cannot be replaced itself, since
    /// that needs an inspection.
    async fn seen(&self, listed: ContainerSummary) -> Result<Option<ContainerInspectResponse>, EngineError> {
        let Some(id) = listed.id.clone() else { return Ok(None) };
        match self.inspect("inspect", &id).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_absent() => Ok(None),
            Err(CallFailure { error: error @ EngineError::Unreachable { .. }, .. }) => Err(error),
            Err(CallFailure { error, .. }) => {
                tracing::debug!("{error}: using its entry in the list");
                Ok(Some(inspect::listed(listed)))
            }
        }
    }

    /// Returns the engine's information about each of these images, by identifier. An image that the engine cannot
    /// show does not prevent its containers from being shown.
    async fn images(&self, images: BTreeSet<String>) -> Result<HashMap<String, SeenImage>, EngineError> {
        let images = stream::iter(images).map(async |image| {
            let seen = match self.inspect_image(&image).await {
                Ok(found) => SeenImage::Known(Box::new(found)),
                Err(failure) if failure.is_absent() => SeenImage::Gone,
                Err(CallFailure { error: error @ EngineError::Unreachable { .. }, .. }) => return Err(error),
                Err(CallFailure { error, .. }) => {
                    tracing::debug!("{error}: its configuration is unknown");
                    SeenImage::Unreadable
                }
            };
            Ok((image, seen))
        });
        images.buffered(INSPECTIONS).try_collect().await
    }

    /// Converts an inspection to drainswap's own type.
    pub(super) fn to_container(&self, found: &ContainerInspectResponse, image: &SeenImage) -> Container {
        let healthcheck = recreate::healthcheck::healthcheck(found, image, self.dialect());
        Container { healthcheck, ..inspect::container(found, image) }
    }

    /// Returns the engine's networks if one of these containers is idle and may have lost its own. `None` if none is
    /// idle, or if the networks are unknown.
    async fn networks(&self, of: &[ContainerInspectResponse]) -> Result<Option<Vec<Network>>, EngineError> {
        // Podman lists its default network under a different name than its containers show.
        if self.is_podman || !of.iter().any(|it| inspect::state(it).is_idle()) {
            return Ok(None);
        }
        let purpose = CallContext { action: "list", subject: "its networks" };
        match self.within(CALL_LIMIT, purpose, self.client.list_networks(None::<ListNetworksOptions>)).await {
            // A Swarm worker lists the Swarm's networks only while one of its own containers is attached to them.
            Ok(networks) if networks.iter().any(|it| it.scope.as_deref() == Some("swarm")) => Ok(None),
            Ok(networks) => Ok(Some(networks)),
            Err(CallFailure { error: error @ EngineError::Unreachable { .. }, .. }) => Err(error),
            Err(CallFailure { error, .. }) => {
                tracing::debug!("{error}: cannot check that each network exists");
                Ok(None)
            }
        }
    }

    /// Returns the engine's information about a container's image.
    pub(super) async fn image_of(
        &self,
        container: &ContainerInspectResponse,
    ) -> Result<SeenImage, EngineError> {
        let seen = self.images(container.image.iter().cloned().collect()).await?;
        Ok(seen.into_values().next().unwrap_or(SeenImage::Gone))
    }
}
