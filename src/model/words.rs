//! Lists and counts in sentences.

use std::fmt;

use crate::model::ids::ServerId;

/// The number of names that are listed; further ones are counted.
const NAMED: usize = 4;

/// Returns a count such as `1 session` or `2 sessions`.
#[must_use]
pub fn sessions(count: u64) -> String {
    if count == 1 { "1 session".to_owned() } else { format!("{count} sessions") }
}

/// Returns the servers as a list: `mobile/app1, mobile/app2`.
#[must_use]
pub fn list(servers: &[ServerId]) -> String {
    servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns the names as a list: `web/a, web/b`; of many, the first ones and how many more.
#[must_use]
pub fn named(all: &[impl fmt::Display]) -> String {
    let names: Vec<String> = all.iter().take(NAMED).map(ToString::to_string).collect();
    let more = all.len().saturating_sub(NAMED);
    if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) }
}
