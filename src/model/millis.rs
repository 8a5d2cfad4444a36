//! Durations as whole milliseconds in stored and printed forms; the names of such fields end in `_ms`.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// The longest accepted duration: one year. The limit keeps clock arithmetic from overflowing.
pub const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Serializes a duration, for `#[serde(with = "crate::model::millis")]`.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Deserializes a duration of at most a [`YEAR`], for `#[serde(with = "crate::model::millis")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let length = Duration::from_millis(u64::deserialize(deserializer)?);
    // Durations are added to clock times, which can overflow. drainswap itself never writes a longer duration.
    if length > YEAR {
        Err(D::Error::custom("invalid duration: expected at most one year"))
    } else {
        Ok(length)
    }
}
