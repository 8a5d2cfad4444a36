//! What the host of an engine has and lacks.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::Serialize;

/// What is certain of the host of an engine. Nothing is of a host that cannot be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The addresses at which something listens, by TCP.
    pub listening: BTreeSet<SocketAddr>,
    /// Of the paths that containers need, those that are not there.
    pub missing: BTreeSet<String>,
}
