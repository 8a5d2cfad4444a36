//! The networks, host names and ports of a container.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Deserializer};
use toml::Value;

use super::form::{MapOrList, Scalar};
use crate::service::by_type::by_type;

/// The `networks` key: networks by their names on the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(from = "Forms")]
pub struct Networks(pub BTreeMap<String, Endpoint>);

/// A container's endpoint in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoint {
    /// Additional names of the container in the network.
    pub aliases: Vec<String>,
    /// A static IPv4 address.
    pub ipv4_address: Option<Ipv4Addr>,
    /// A static IPv6 address.
    pub ipv6_address: Option<Ipv6Addr>,
}

#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
enum Forms {
    List(Vec<String>),
    Map(BTreeMap<String, Endpoint>),
}

impl Forms {
    fn of(value: Value) -> Option<Self> {
        if value.is_table() {
            value.try_into().ok().map(Self::Map)
        } else {
            value.try_into().ok().map(Self::List)
        }
    }
}

impl<'de> Deserialize<'de> for Forms {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected =
            "a list of networks, or a table of networks with aliases, ipv4_address and ipv6_address";
        by_type(from, expected, Self::of)
    }
}

impl From<Forms> for Networks {
    fn from(written: Forms) -> Self {
        match written {
            Forms::List(names) => Self(names.into_iter().map(|name| (name, Endpoint::default())).collect()),
            Forms::Map(networks) => Self(networks),
        }
    }
}

/// The `extra_hosts` key: additional host names, each with an address or `host-gateway`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "MapOrList")]
pub struct ExtraHosts(pub Vec<(String, String)>);

impl TryFrom<MapOrList> for ExtraHosts {
    type Error = String;

    fn try_from(written: MapOrList) -> Result<Self, String> {
        let mut hosts = Vec::new();
        for (name, address) in written.pairs(&['=', ':'])? {
            let plain = address.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(&address);
            if plain != "host-gateway" && plain.parse::<IpAddr>().is_err() {
                let shown = plain.escape_debug();
                return Err(format!("invalid address `{shown}`: expected \"NAME=10.0.0.1\" or host-gateway"));
            }
            hosts.push((name, plain.to_owned()));
        }
        Ok(Self(hosts))
    }
}

/// A port or a range of ports with its protocol, in the engine's form: `8080/tcp`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Scalar")]
pub struct Exposed {
    /// The first port of the range.
    pub first: u16,
    /// The last port of the range.
    pub last: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

impl TryFrom<Scalar> for Exposed {
    type Error = String;

    fn try_from(written: Scalar) -> Result<Self, String> {
        let text = written.text();
        let bad = || format!("invalid port `{}`: expected 8080, 8080/udp or 8080-8090", text.escape_debug());
        let (ports, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
        let (first, last) = port(first).zip(port(last)).ok_or_else(bad)?;
        if first > last || !["tcp", "udp", "sctp"].contains(&protocol) {
            return Err(bad());
        }
        Ok(Self { first, last, protocol: protocol.to_owned() })
    }
}
