//! The location of the container behind a server line: its engine and, if the settings give one, its name.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cfg::Address;
use crate::model::ids::ServerId;
use crate::model::secret::redact;
use crate::topology::engine_map::{Engine, EngineMap};

/// The `[engines]` and `[servers]` tables of drainswap.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    pub engines: EngineMap,
    pub servers: ServerMap,
}

/// The `[servers]` table of drainswap.toml: the container behind each server line. An entry takes precedence over
/// everything
/// that the engine reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "BTreeMap<String, NamedContainer>")]
#[schemars(with = "BTreeMap<String, NamedContainer>")]
pub struct ServerMap(BTreeMap<ServerId, NamedContainer>);

/// A container identified by its name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedContainer {
    /// The container's name.
    #[schemars(length(min = 1))]
    container: String,
    /// The endpoint of the container's engine. The default is the engine that `engines` and `docker` give for the
    /// server's
    /// address.
    engine: Option<String>,
}

impl TryFrom<BTreeMap<String, NamedContainer>> for ServerMap {
    type Error = String;

    fn try_from(written: BTreeMap<String, NamedContainer>) -> Result<Self, Self::Error> {
        let read = |(server, named): (String, NamedContainer)| {
            if named.container.is_empty() {
                return Err(format!("servers.\"{}\": `container` must not be empty", redact(&server)));
            }
            let id: ServerId = server.parse().map_err(|error| format!("servers: {error}"))?;
            Ok((id, named))
        };
        written.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl ServerMap {
    /// Returns the names of the containers, by server.
    #[must_use]
    pub fn names(&self) -> BTreeMap<ServerId, String> {
        self.0.iter().map(|(server, named)| (server.clone(), named.container.clone())).collect()
    }
}

impl Places {
    /// Returns the engine behind a server, or `None` for the default engine. An engine from `[servers]` does not
    /// accept a
    /// registry's password over TCP without TLS; only `[engines]` can allow that.
    #[must_use]
    pub fn engine(&self, server: &ServerId, address: &Address) -> Option<Engine> {
        let named = self.servers.0.get(server).and_then(|named| named.engine.clone());
        let named = named.map(|endpoint| Engine { endpoint, allow_plain_password: false });
        named.or_else(|| self.engines.engine(address))
    }

    /// Returns the endpoints that do not depend on a server's address.
    pub fn named_engines(&self) -> impl Iterator<Item = &str> {
        let of_servers = self.servers.0.values().filter_map(|named| named.engine.as_deref());
        self.engines.named().chain(of_servers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cfg::{Host, Port};

    fn read(text: &str) -> Result<ServerMap, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn an_entry_names_the_container_and_may_name_the_engine() {
        let servers = read(
            "\"pay/app1\" = { container = \"pay-1\" }\n\
             \"pay/app2\" = { container = \"pay-2\", engine = \"context:two\" }",
        )
        .unwrap();
        let names: Vec<String> =
            servers.names().into_iter().map(|(server, name)| format!("{server} {name}")).collect();
        assert_eq!(names, ["pay/app1 pay-1", "pay/app2 pay-2"]);
        let places = Places { servers, engines: toml::from_str("\"10.0.0.0/8\" = \"context:net\"").unwrap() };
        let engine = |server: &str| {
            let host = Host::Ip("10.0.0.7".parse().unwrap());
            let address = Address::Inet { host, port: Port::Fixed(80) };
            places.engine(&server.parse().unwrap(), &address).map(|engine| engine.endpoint)
        };
        assert_eq!(engine("pay/app1").as_deref(), Some("context:net"));
        assert_eq!(engine("pay/app2").as_deref(), Some("context:two"));
    }

    #[test]
    fn an_incomplete_or_unknown_entry_is_refused() {
        for (entry, says) in [
            ("\"app1\" = { container = \"x\" }", "`app1`"),
            ("\"pay/app1\" = { container = \"\" }", "must not be empty"),
            ("\"pay/app1\" = { engine = \"context:two\" }", "missing field `container`"),
            ("\"pay/app1\" = { container = \"x\", port = 1 }", "unknown field `port`"),
            ("\"pay/app1\" = \"x\"", "invalid type"),
        ] {
            let error = read(entry).unwrap_err();
            assert!(error.contains(says), "{entry}: {error}");
        }
    }
}
