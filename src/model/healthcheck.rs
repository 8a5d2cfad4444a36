//! Docker's own healthcheck of a container.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Docker's default interval of healthchecks within a start period.
pub const START_INTERVAL: Duration = Duration::from_secs(5);

/// The result of Docker's own healthcheck of a container.
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

/// The parts of a healthcheck that matter to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Healthcheck {
    /// The time from a start to the first check. No container is healthy sooner.
    #[serde(rename = "first_check_ms", with = "crate::model::millis")]
    #[schemars(with = "u64")]
    pub first_check: Duration,
    /// Whether a container with the same settings has it too, whatever its image, because its test and its times were
    /// given with the container.
    pub is_given: bool,
}
