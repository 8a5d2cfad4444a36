//! Durations in stored and printed forms: whole milliseconds, as their fields' names say.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// Nobody waits longer, and the clocks' arithmetic need not.
pub const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// For `#[serde(with = "crate::millis")]`.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// For `#[serde(with = "crate::millis")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let length = Duration::from_millis(u64::deserialize(deserializer)?);
    // What is waited for is added to a clock, and whoever writes such a length never writes more.
    if length > YEAR { Err(D::Error::custom("a length of time is a year at most")) } else { Ok(length) }
}
