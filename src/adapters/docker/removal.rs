//! Removes containers, and the volumes that the engine created for them.

use std::collections::BTreeSet;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, Volume};
use bollard::query_parameters::{RemoveContainerOptionsBuilder, RemoveVolumeOptions};

use super::call::CallContext;
use super::{CALL_LIMIT, DockerEngine, inspect, recreate};
use crate::model::ids::ContainerId;
use crate::observation::ContainerState;
use crate::ports::EngineError;

/// The first API version in which the engine labels anonymous volumes. Earlier engines only give them a generated name.
const MARKS_VOLUMES: recreate::ApiVersion = (1, 42);
/// The label that the engine puts on an anonymous volume.
const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

impl DockerEngine {
    /// Removes a container with its own anonymous volumes, except for these.
    pub(super) async fn remove_with_own_volumes(
        &self,
        container: &ContainerId,
        but: &BTreeSet<String>,
    ) -> Result<(), EngineError> {
        let Some(found) = self.find("remove", &container.0).await? else { return Ok(()) };
        let (unnamed, own) = (recreate::volumes::unnamed(&found), recreate::volumes::own(&found));
        // In one call, so that nothing is left over if this process exits in between. But the engine does not know that
        // a volume from `--volumes-from`, or with Podman any volume, existed before.
        let at_once = unnamed == own && own.is_disjoint(but);
        self.remove_found(container, &found, at_once).await?;
        for volume in own.difference(but) {
            self.remove_volume(volume).await;
        }
        Ok(())
    }

    /// Removes a container, optionally together with the volumes that the engine created for it.
    pub(super) async fn remove_found(
        &self,
        container: &ContainerId,
        found: &ContainerInspectResponse,
        with_volumes: bool,
    ) -> Result<(), EngineError> {
        let runs = !matches!(inspect::state(found), ContainerState::Created | ContainerState::Stopped);
        let options = RemoveContainerOptionsBuilder::new().force(runs).v(with_volumes).build();
        let purpose = CallContext { action: "remove", subject: container.short() };
        let call = self.client.remove_container(&container.0, Some(options));
        match self.change(purpose, call).await {
            // Two removals conflict with each other; a removal that is already under way is good enough.
            Err(failure) if failure.is_conflict() => match self.find("remove", &container.0).await? {
                Some(found) if !is_leaving(&found) => Err(failure.error),
                _ => Ok(()),
            },
            Err(failure) if !failure.is_absent() => Err(failure.error),
            _ => Ok(()),
        }
    }

    /// Removes an anonymous volume that no container uses any more; the engine refuses if one does. A volume that
    /// stays costs disk space, but must not end a run.
    async fn remove_volume(&self, name: &str) {
        let purpose = CallContext { action: "remove", subject: name };
        let looked = self.within(CALL_LIMIT, purpose, self.client.inspect_volume(name)).await;
        let is_made_up = |volume: &Volume| {
            self.is_podman
                || self.dialect().api < MARKS_VOLUMES
                || volume.labels.contains_key(ANONYMOUS_LABEL)
        };
        let result = match looked {
            Ok(volume) if !is_made_up(&volume) => return,
            Ok(_) => {
                let call = self.client.remove_volume(name, None::<RemoveVolumeOptions>);
                self.within(CALL_LIMIT, purpose, call).await
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = result
            && !failure.is_absent()
        {
            tracing::debug!("{}: keeping the volume", failure.error);
        }
    }
}

/// Returns whether a container is being removed.
fn is_leaving(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().and_then(|state| state.status) == Some(ContainerStateStatusEnum::REMOVING)
}
