//! Docker's own healthcheck of a container.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often Docker asks within a start period, where nothing is said.
pub const START_INTERVAL: Duration = Duration::from_secs(5);

/// What Docker's own healthcheck says of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// In its start period, or before its first result.
    Starting,
    /// The last check passed.
    Healthy,
    /// `Retries` checks in a row failed.
    Unhealthy,
}

/// The healthcheck itself, as far as a run depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Healthcheck {
    /// How long after a start the engine runs it first: no container is healthy sooner.
    #[serde(rename = "first_check_ms", with = "crate::millis")]
    #[schemars(with = "u64")]
    pub first_check: Duration,
    /// Whether a container with the same settings has it too, whatever its image: its test and its times were given
    /// with the container.
    pub is_given: bool,
}
