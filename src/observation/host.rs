//! The host of an engine: missing paths, and limits of new containers.

use std::collections::BTreeSet;

use serde::Serialize;

/// What is known of an engine's host. Nothing is known of a host that cannot be inspected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The paths that containers need and the host lacks.
    pub missing: BTreeSet<String>,
    /// How many files a container created now may open without a limit of its own.
    pub open_files: Option<u64>,
}
