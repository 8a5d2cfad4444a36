//! A server that is added at runtime.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::ids::ServerId;

/// A server that is not in haproxy.cfg, for `add server` of the runtime API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewServer {
    pub id: ServerId,
    pub address: SocketAddr,
    /// The words that follow the address, without quotes: `check`, `inter`, `2s`.
    pub words: Vec<String>,
}
