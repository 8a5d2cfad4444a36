//! The container of a lane, and the one that takes its place.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::Deserialize;
use serde::Serialize;

use crate::model::ids::ContainerId;
use crate::model::ids::ImageId;
use crate::model::ids::RunId;
use crate::model::image::Image;
use crate::observation::Container;
use crate::observation::ContainerChange;
use crate::observation::Described;
use crate::observation::Pinned;
use crate::observation::Published;
use crate::observation::RestartPolicy;
use crate::service::create_spec::CreateSpec;
use crate::service::create_spec::SpecSource;
use crate::topology::matching::ContainerRole;

/// The replacement of one container by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Replacement {
    /// The container that is replaced; `None` if it is gone.
    pub old: Option<Container>,
    /// The container whose settings the new one gets: the old one or a sibling.
    pub like: Container,
    /// The port that the new one publishes, if `like` is a sibling or drainswap.toml describes the new one.
    pub publish: Option<Published>,
    /// The name of the old container, which the new one takes over.
    pub name: String,
    /// The image of the new container.
    pub image: Image,
    /// Whether the new one is created as drainswap.toml describes it, rather than like another container.
    #[serde(default)]
    pub described: bool,
    /// The container, kept by an earlier run, that is started again instead of creating a new one.
    #[serde(default)]
    pub returning: Option<Container>,
    /// What changes in the new container through its image's defaults; `None` if the engine does not have the image
    /// yet.
    #[serde(default)]
    pub changes: Option<Vec<ContainerChange>>,
    /// Containers kept by earlier runs that exceed the number to keep.
    #[serde(default)]
    pub outdated: Vec<Container>,
    /// What the engine chose for the old container and its replacement must have.
    #[serde(default, skip_serializing_if = "Pinned::is_empty")]
    pub pinned: Pinned,
    /// Whether the new one gets new anonymous volumes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew_volumes: bool,
}

impl Replacement {
    /// Returns whether the new container is created, rather than a kept one started again.
    #[must_use]
    pub fn is_created(&self) -> bool {
        self.returning.is_none()
    }

    /// Returns the restart policy that the new container has once it serves.
    #[must_use]
    pub fn restart_of_new(&self) -> &RestartPolicy {
        &self.returning.as_ref().unwrap_or(&self.like).restart
    }

    /// Creates a replacement like this container, with its name, that takes no other container's place yet.
    #[must_use]
    pub fn like(like: &Container, image: &Image) -> Self {
        Self {
            old: None,
            like: like.clone(),
            publish: None,
            name: like.name.clone(),
            image: image.clone(),
            described: false,
            returning: None,
            changes: None,
            outdated: Vec::new(),
            pinned: Pinned::default(),
            renew_volumes: false,
        }
    }

    /// Creates a replacement for this container as drainswap.toml describes it, behind a server with this address.
    #[must_use]
    pub fn described(
        old: &Container,
        described: &Described,
        address: Option<SocketAddr>,
        image: &Image,
    ) -> Self {
        // The server line decides the published address, which stays. The description decides the port inside.
        let of_port = |it: &&Published| address.is_some_and(|address| it.port == address.port());
        let exactly = |it: &&Published| address.is_some_and(|address| it.ip == address.ip());
        let everywhere = |it: &&Published| it.ip.is_unspecified();
        let all = || old.published.iter().filter(of_port);
        let publish = all().find(exactly).or_else(|| all().find(everywhere)).or_else(|| all().next());
        let like = Container { restart: described.restart.clone(), ..old.clone() };
        Self {
            old: Some(old.clone()),
            publish: publish.map(|it| Published { container_port: described.port, ..*it }),
            described: true,
            ..Self::like(&like, image)
        }
    }

    /// Returns the old container's name while it is kept.
    #[must_use]
    pub fn kept_name(&self, run: &RunId) -> String {
        ContainerRole::Previous.name(&self.name, run)
    }

    /// Returns how many containers in its place are kept for a rollback, given the policy's `keep`.
    #[must_use]
    pub fn kept(&self, keep: usize) -> usize {
        self.old.as_ref().map_or(keep, |old| old.kept_of(keep))
    }

    /// Returns whether nothing is left to remove once the new container serves.
    #[must_use]
    pub fn keeps_all(&self, keep: usize) -> bool {
        self.outdated.is_empty() && self.old_to_remove(keep).is_none()
    }

    /// Returns the old container if it is removed once the new one serves. One whose data the new one does not have
    /// stays until `drainswap prune`; of a Compose project's only the volumes can stay.
    pub(super) fn old_to_remove(&self, keep: usize) -> Option<&Container> {
        let has_data =
            |old: &Container| old.unnamed_volumes.as_ref().is_none_or(|volumes| !volumes.is_empty());
        let holds_data = |old: &Container| self.renew_volumes && !old.is_of_compose() && has_data(old);
        self.old.as_ref().filter(|old| self.kept(keep) == 0 && !holds_data(old))
    }

    /// Returns the old container's image if only that is kept, under a separate name for a rollback.
    #[must_use]
    pub fn image_kept(&self, keep: usize) -> Option<&ImageId> {
        self.old.as_ref().filter(|_| keep > 0 && self.kept(keep) == 0).map(|old| &old.image)
    }

    /// Returns the volumes that existed before the new container, limited to those that it may have and whose names
    /// look like ones that the engine made up; `None` if that is not known. Its other volumes were created with it.
    #[must_use]
    pub fn volumes_before(
        &self,
        description: Option<&crate::service::Container>,
    ) -> Option<BTreeSet<String>> {
        let models = self.old.iter().chain((!self.described).then_some(&self.like));
        let volumes: Vec<_> = models.map(|it| it.unnamed_volumes.as_ref()).collect::<Option<_>>()?;
        let of_models = volumes.into_iter().flatten().map(|it| it.name.as_str());
        // A person may name a volume by a name that the engine once made up.
        let described = description.into_iter().flat_map(crate::service::Container::named_volumes);
        Some(of_models.chain(described).map(str::to_owned).collect())
    }

    /// Returns the containers that are removed once the new one serves, each with its name at that time.
    pub fn removed(&self, run: &RunId, keep: usize) -> impl Iterator<Item = (&ContainerId, String)> {
        let old = self.old_to_remove(keep).map(|old| (&old.id, self.kept_name(run)));
        old.into_iter().chain(self.outdated.iter().map(|kept| (&kept.id, kept.name.clone())))
    }

    /// Returns how to create the new container, with its description if it has one.
    #[must_use]
    pub fn create_spec(&self, run: &RunId, description: Option<&crate::service::Container>) -> CreateSpec {
        let platform = description.and_then(|it| it.platform.clone());
        let description = description.filter(|_| self.described);
        let instead_of = || self.old.as_ref().map(|old| old.id.clone());
        CreateSpec {
            model: match description {
                Some(it) => SpecSource::Described { wanted: Box::new(it.clone()), instead_of: instead_of() },
                None => SpecSource::CopyOf(self.like.id.clone()),
            },
            image: self.image.clone(),
            name: self.candidate_name(run),
            platform,
            publish: self.publish,
            pinned: self.pinned.clone(),
            renew_volumes: self.renew_volumes,
            beside: None,
        }
    }

    /// Returns how to create a copy of the old container, with the ports and addresses that the engine chose for it.
    #[must_use]
    pub fn copy_spec(&self, old: &Container, run: &RunId) -> CreateSpec {
        CreateSpec {
            model: SpecSource::CopyOf(old.id.clone()),
            image: old.running_image(),
            name: self.candidate_name(run),
            platform: None,
            publish: None,
            pinned: self.pinned.clone(),
            renew_volumes: false,
            beside: None,
        }
    }

    /// Returns the new container's name until it is started.
    #[must_use]
    pub fn candidate_name(&self, run: &RunId) -> String {
        ContainerRole::Candidate.name(&self.name, run)
    }
}
