//! Whether a second container of the same settings can run beside a container.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::ids::RunId;

/// The meaning of a container's label `drainswap.surge`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SurgeLabel {
    /// It has no such label, or one with a value that means nothing.
    #[default]
    None,
    /// `never`: no container may run beside it.
    Never,
    /// The identifier of the run that created it beside another one, and removes it at its end.
    Of(RunId),
}

impl SurgeLabel {
    /// Reads the label's value.
    #[must_use]
    pub fn read(value: Option<&str>) -> Self {
        match value {
            Some("never") => Self::Never,
            Some(run) => RunId::read(run).map_or(Self::None, Self::Of),
            None => Self::None,
        }
    }

    /// Returns whether it means nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Returns the run that created the container beside another one.
    #[must_use]
    pub fn run(&self) -> Option<&RunId> {
        match self {
            Self::Of(run) => Some(run),
            Self::None | Self::Never => None,
        }
    }
}

/// A reason why a second container of the same settings cannot run beside a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", content = "detail")]
pub enum AloneBecause {
    /// It listens on the host's own ports.
    HostNetwork,
    /// It listens on the ports of this other container, whose network it uses.
    ContainerNetwork(String),
    /// It has this device of the host, which may serve only one process at a time.
    Device(String),
    /// It can write to this volume (its name) or to this path of the host. Other servers' containers may share it, which
    /// shows that a second writer is fine.
    WritableVolume(String),
}

impl fmt::Display for AloneBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostNetwork => f.write_str("it uses the host's network, so both would need the same port"),
            Self::ContainerNetwork(of) => {
                write!(f, "it uses the network of container {of}, so both would need the same port")
            }
            Self::Device(device) => {
                write!(f, "it uses the device {device}, which may serve only one container at a time")
            }
            Self::WritableVolume(volume) => write!(f, "both would write to {volume}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_identifier_of_a_run_marks_a_surge_container() {
        let run = "20261126T221500.000000Z";
        assert_eq!(SurgeLabel::read(Some(run)).run(), Some(&RunId(run.to_owned())));
        assert_eq!(SurgeLabel::read(Some("never")), SurgeLabel::Never);
        for value in
            [None, Some(""), Some("yes"), Some("Never"), Some("20261126"), Some("20261126T221500.0Zx")]
        {
            assert!(SurgeLabel::read(value).is_none(), "{value:?}");
        }
    }
}
