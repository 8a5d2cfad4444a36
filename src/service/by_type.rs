//! Values that may have one of several types, such as a text or a list.

use serde::{Deserialize, Deserializer, de::Error};
use toml::Value;

/// Reads a value by its type. The error has only the expected forms, because the value may be a secret.
pub(super) fn by_type<'de, D: Deserializer<'de>, T>(
    from: D,
    expected: &str,
    read: fn(Value) -> Option<T>,
) -> Result<T, D::Error> {
    read(Value::deserialize(from)?).ok_or_else(|| D::Error::custom(format_args!("expected {expected}")))
}
