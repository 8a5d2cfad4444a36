//! What a container has from its place: ports, addresses, networks, restarts.

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;
use serde::Serialize;

/// A published port: the host's address and port, and the container's port behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Published {
    /// The host's address. Unspecified (`0.0.0.0`, `::`) means every address of the host.
    pub ip: IpAddr,
    /// The host's port.
    pub port: u16,
    /// The container's port.
    pub container_port: u16,
}

/// The ports and addresses that the engine chose for a container, and that its successor requests explicitly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Pinned {
    /// The TCP ports that it publishes.
    pub ports: Vec<Published>,
    /// The UDP ports that it publishes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub udp_ports: Vec<Published>,
    /// Its own addresses that server lines name.
    pub addresses: Vec<PinnedAddress>,
}

impl Pinned {
    /// Returns whether the engine chose nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An address in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PinnedAddress {
    /// The network's name.
    pub network: String,
    /// The address.
    pub address: IpAddr,
}

/// A container's attachment to a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Attachment {
    /// The network's name.
    pub network: String,
    /// The container's own addresses there; empty while it is stopped.
    pub addresses: Vec<IpAddr>,
    /// The addresses that were requested (`--ip`), which it has again whenever it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<IpAddr>,
    /// Whether a stopped container has lost this network: it was removed, or another one has the name now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_gone: bool,
    /// Whether no network has that name any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_missing: bool,
    /// The names that reach the container there.
    pub aliases: Vec<String>,
}

/// A container's restart policy (`docker run --restart`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped` or `on-failure`; empty means `no`.
    pub name: String,
    /// The maximum number of restarts for `on-failure`; 0 means no limit.
    pub maximum_retries: i64,
}

impl RestartPolicy {
    /// Returns whether both are the same policy. An empty name means `no`.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let name = |it: &Self| if it.name.is_empty() { "no".to_owned() } else { it.name.clone() };
        name(self) == name(other) && self.maximum_retries == other.maximum_retries
    }

    /// Returns the policy of a container that is never restarted.
    #[must_use]
    pub fn never() -> Self {
        Self { name: "no".to_owned(), maximum_retries: 0 }
    }
}

impl fmt::Display for RestartPolicy {
    /// Writes the policy as `docker run --restart` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.as_str(), self.maximum_retries) {
            ("", _) => f.write_str("no"),
            (name, 0) => f.write_str(name),
            (name, retries) => write!(f, "{name}:{retries}"),
        }
    }
}
