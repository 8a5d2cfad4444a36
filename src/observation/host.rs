//! What the host of an engine lacks, and what it gives to new containers.

use std::collections::BTreeSet;

use serde::Serialize;

/// What is certain of the host of an engine. Nothing is of a host that cannot be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Of the paths that containers need, those that are not there.
    pub missing: BTreeSet<String>,
    /// How many files a container may open that is created now without a limit of its own.
    pub open_files: Option<u64>,
}
