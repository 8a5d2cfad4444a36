//! The environment of this process.

use std::collections::BTreeMap;

/// Its variables. One that is not UTF-8 cannot be meant by a text that is.
#[must_use]
pub fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
