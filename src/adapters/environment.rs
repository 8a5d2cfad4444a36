//! The environment of this process.

use std::collections::BTreeMap;

/// Returns the environment variables. Leaves out those that are not UTF-8: a UTF-8 configuration cannot refer to them.
#[must_use]
pub fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
