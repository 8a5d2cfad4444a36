//! A container, as its engine reports it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use super::Attachment;
use super::Published;
use super::RestartPolicy;
use super::owner::Owner;
use super::surge::{AloneBecause, SurgeLabel};
use super::volumes::UnnamedVolume;
use super::watchtower::UpdateLabels;
use super::watchtower::Watchtower;
use crate::model::healthcheck::Health;
use crate::model::healthcheck::Healthcheck;
use crate::model::ids::ContainerId;
use crate::model::ids::ImageId;
use crate::model::image::Image;
use crate::model::image::ImageReference;

/// A container, from the engine's inspection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Container {
    /// The engine's identifier.
    pub id: ContainerId,
    /// The name, without the leading slash.
    pub name: String,
    /// The image reference that it was created from.
    pub image_reference: String,
    /// The image that it runs.
    pub image: ImageId,
    /// The repository digests (`repository@sha256:…`) that the engine knows for that image.
    pub repo_digests: Vec<String>,
    /// Whether it runs.
    pub state: ContainerState,
    /// The result of Docker's own healthcheck; `None` if the container has none.
    pub health: Option<Health>,
    /// That healthcheck; also `None` in journals and plans of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The TCP ports that it publishes, or would publish if it were running.
    pub published: Vec<Published>,
    /// The UDP ports that it publishes, or would publish if it were running.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published_udp: Vec<Published>,
    /// The networks that it is attached to.
    pub networks: Vec<Attachment>,
    /// Whether it uses the host's network, so that it listens on the host's own addresses.
    pub host_network: bool,
    /// The TCP ports that its image or its creator declared.
    pub exposed: Vec<u16>,
    /// The server lines in its label `drainswap.server`, which are separated by commas there.
    pub claims: Vec<String>,
    /// The source of that label.
    #[serde(default, skip_serializing_if = "LabelSource::is_container")]
    pub claimed_by: LabelSource,
    /// What the engine does when it exits.
    pub restart: RestartPolicy,
    /// Whether it was started with `--rm`: the engine deletes it when it stops, and nothing could bring it back.
    pub auto_remove: bool,
    /// The other tool that it belongs to.
    pub owner: Option<Owner>,
    /// Its settings, if it is a running Watchtower.
    #[serde(skip)]
    pub watchtower: Option<Box<Watchtower>>,
    /// The labels that Watchtower reads.
    #[serde(default, skip_serializing_if = "UpdateLabels::is_empty")]
    pub update_labels: UpdateLabels,
    /// The identifiers of the containers whose network, IPC or process namespace it shares.
    #[serde(default)]
    pub lives_in: Vec<ContainerId>,
    /// Whether its image is no longer on the engine.
    #[serde(default)]
    pub image_is_gone: bool,
    /// The hostname that a person gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The names of the containers that it links to in the default network (`--link`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// The volumes that it has under a name that a person chose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named_volumes: Vec<String>,
    /// Its anonymous volumes; `None` if they are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnamed_volumes: Option<Vec<UnnamedVolume>>,
    /// The paths that must exist on its engine's host whenever it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_paths: Vec<String>,
    /// Its label `drainswap.surge`.
    #[serde(default, skip_serializing_if = "SurgeLabel::is_none")]
    pub surge: SurgeLabel,
    /// Why a second container of the same settings cannot run beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alone: Vec<AloneBecause>,
    /// How many files its process may open, if it has no limit of its own and runs on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// The endpoint of its engine, as in `[engines]`; empty for the default one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub engine: String,
}

impl Container {
    /// Creates a container that does not exist yet.
    #[must_use]
    pub fn described(name: String, restart: RestartPolicy, engine: String) -> Self {
        Self {
            id: ContainerId(String::new()),
            name,
            image_reference: String::new(),
            image: ImageId(String::new()),
            repo_digests: Vec::new(),
            state: ContainerState::Created,
            health: None,
            healthcheck: None,
            published: Vec::new(),
            published_udp: Vec::new(),
            networks: Vec::new(),
            host_network: false,
            exposed: Vec::new(),
            claims: Vec::new(),
            claimed_by: LabelSource::Container,
            restart,
            auto_remove: false,
            owner: None,
            watchtower: None,
            update_labels: UpdateLabels::default(),
            lives_in: Vec::new(),
            image_is_gone: false,
            hostname: None,
            links: Vec::new(),
            named_volumes: Vec::new(),
            unnamed_volumes: None,
            needs_paths: Vec::new(),
            surge: SurgeLabel::None,
            alone: Vec::new(),
            open_files: None,
            engine,
        }
    }

    /// Returns whether it belongs to a Compose project.
    #[must_use]
    pub fn is_of_compose(&self) -> bool {
        matches!(self.owner, Some(Owner::Compose(_)))
    }

    /// Returns how many containers in its place are kept for a rollback, given the policy's `keep`. Containers of a
    /// Compose project are never kept: their labels would make the next `up` start them, and remove the one that
    /// serves (seen with 1.29 and 2.40).
    #[must_use]
    pub fn kept_of(&self, keep: usize) -> usize {
        if self.is_of_compose() { 0 } else { keep }
    }

    /// Returns whether Docker reports it as healthy, and can do so again within this time after a restart.
    #[must_use]
    pub fn is_healthy_again_within(&self, limit: Duration) -> bool {
        let is_in_time = self.healthcheck.is_none_or(|check| check.first_check < limit);
        self.health == Some(Health::Healthy) && is_in_time
    }

    /// Returns its anonymous volumes that no other of these containers on its engine has, whose data would be removed
    /// with it.
    #[must_use]
    pub fn own_volumes<'a>(&self, containers: impl Iterator<Item = &'a Self>) -> Vec<&UnnamedVolume> {
        let others = containers.filter(|it| it.engine == self.engine && it.id != self.id);
        let shared: BTreeSet<&str> = others.flat_map(Self::unnamed_volume_names).collect();
        let own = self.unnamed_volumes.iter().flatten().filter(|it| !shared.contains(it.name.as_str()));
        own.collect()
    }

    /// Returns the names that the engine made up for its volumes.
    pub fn unnamed_volume_names(&self) -> impl Iterator<Item = &str> {
        self.unnamed_volumes.iter().flatten().map(|it| it.name.as_str())
    }

    /// Returns the image that it runs, pinned by its registry's digest if the engine knows one for the repository
    /// that it was created from, or else by its ID on this engine.
    #[must_use]
    pub fn running_image(&self) -> Image {
        let reference = self.image_reference.parse::<ImageReference>().ok();
        let digest = reference.as_ref().and_then(|reference| {
            let known = self.repo_digests.iter().filter_map(|known| known.rsplit_once('@'));
            let mut same = known.filter(|(repository, _)| *repository == reference.repository);
            same.next().map(|(_, digest)| digest.to_owned())
        });
        match (reference, digest) {
            (Some(reference), Some(digest)) => {
                Image::Registry { reference: ImageReference { digest: None, ..reference }, digest }
            }
            (_, _) => Image::Local { reference: self.image_reference.clone(), id: self.image.clone() },
        }
    }
}

/// The source of a container's label. The engine shows the labels of a container and its image as one set, so only a
/// look at the image tells them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// The creator of the container, because its image lacks the label or has another value.
    #[default]
    Container,
    /// Perhaps the image, which has the same label.
    Image,
    /// Unknown, because the image cannot be read.
    Unknown,
}

impl LabelSource {
    /// Returns whether the container's creator set it.
    #[must_use]
    pub fn is_container(&self) -> bool {
        *self == Self::Container
    }
}

/// The run state of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Created and never started.
    Created,
    /// Running.
    Running,
    /// Running but frozen, so that it does not answer.
    Paused,
    /// Exited, and about to be restarted by its restart policy.
    Restarting,
    /// Exited, being removed, or dead.
    Stopped,
}

impl ContainerState {
    /// Returns whether nothing of it runs: it has exited or was never started.
    #[must_use]
    pub fn is_idle(self) -> bool {
        matches!(self, Self::Created | Self::Stopped)
    }
}
