//! Volumes as a container has them.

use serde::{Deserialize, Serialize};

/// A volume that has no name but the one that the engine made up: the data in it belongs to the containers that have it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct UnnamedVolume {
    /// The name that the engine made up, by which other containers can have it too.
    pub name: String,
    /// Where it is in the container.
    pub target: String,
    /// Whether the container's image declares a volume there (`VOLUME`).
    pub by_image: bool,
}
