//! The volumes of a container.

use serde::{Deserialize, Serialize};

/// An anonymous volume, whose only name is one that the engine made up. Its data belongs to the containers that have
/// it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct UnnamedVolume {
    /// The name that the engine made up, by which other containers can use the volume too.
    pub name: String,
    /// The path in the container.
    pub target: String,
    /// Whether the container's image declares a volume there (`VOLUME`).
    pub by_image: bool,
}
