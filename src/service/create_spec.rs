//! How a container is created.

use crate::model::ids::{ContainerId, RunId};
use crate::model::image::{Image, Platform};
use crate::observation::{Pinned, Published};

/// The instructions for creating a new container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateSpec {
    pub model: SpecSource,
    pub image: Image,
    pub name: String,
    /// The platform that the image must be built for, if it is not the platform of the engine's host.
    pub platform: Option<Platform>,
    /// The port to publish. With [`SpecSource::CopyOf`] it is set if the model is a sibling's container; it then replaces
    /// the host ports that the sibling publishes.
    pub publish: Option<Published>,
    /// The ports and addresses that the engine chose for the replaced container.
    pub pinned: Pinned,
    /// Whether new volumes replace the anonymous volumes of the other container.
    pub renew_volumes: bool,
    /// Set if the new container is to run at the same time as its model.
    pub beside: Option<Beside>,
}

/// How a container differs from its model, so that both can run at the same time.
///
/// The new container has no name, address, port, anonymous volume or label by which the model is found, and the engine
/// never starts it by itself. `publish`, `pinned` and `renew_volumes` of its [`CreateSpec`] do not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The run that it belongs to, the value of its label `drainswap.surge`.
    pub run: RunId,
    /// The TCP ports that it publishes instead of its model's. The engine chooses a host port that is 0. Here `0.0.0.0` is
    /// every IPv4 address and `::` every IPv6 address: Docker may choose a port for each.
    pub publish: Vec<Published>,
}

/// The source of a new container's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecSource {
    /// Another container: the settings that its user gave it are copied.
    CopyOf(ContainerId),
    /// A description in drainswap.toml or in a Compose file.
    Described {
        wanted: Box<super::Container>,
        /// The replaced container. The new one inherits what belongs to its place: its anonymous volumes and the
        /// label `drainswap.server`.
        instead_of: Option<ContainerId>,
    },
}
