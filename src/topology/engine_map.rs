//! The mapping from the address of a server line to the container engine behind it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use toml::Value;

use crate::cfg::{Address, Host};
use crate::model::secret::redact;

/// The `[engines]` table of drainswap.toml: container engines by the host of a server line. Hosts that the table does
/// not
/// name use the default engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "BTreeMap<String, Value>")]
#[schemars(with = "BTreeMap<String, Entry>")]
pub struct EngineMap(Vec<(HostPattern, Engine)>);

/// A container engine: its endpoint, or a table with its endpoint and permissions.
// Only for the JSON Schema: `Engine::read` parses entries.
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its JSON Schema is used")]
enum Entry {
    /// The engine's endpoint.
    Endpoint(String),
    /// The engine's endpoint with its permissions.
    Table {
        /// The engine's endpoint.
        endpoint: String,
        /// Whether drainswap may send registry passwords to the engine over TCP without TLS.
        #[serde(default)]
        allow_plain_password: bool,
    },
}

/// A container engine as named in the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Engine {
    /// Empty for the default engine.
    pub endpoint: String,
    /// Whether drainswap may send registry passwords to the engine over TCP without TLS.
    pub allow_plain_password: bool,
}

impl Engine {
    /// Parses an entry by hand: serde's messages would repeat a misplaced endpoint, which may contain a password.
    fn read(value: Value) -> Result<Self, &'static str> {
        const FORM: &str = "expected an endpoint or { endpoint = \"…\", allow_plain_password = true }";
        let mut table = match value {
            Value::String(endpoint) => return Ok(Self { endpoint, allow_plain_password: false }),
            Value::Table(table) => table,
            Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => {
                return Err(FORM);
            }
        };
        let endpoint = table.remove("endpoint").and_then(|it| it.as_str().map(str::to_owned)).ok_or(FORM)?;
        let allow_plain_password = match table.remove("allow_plain_password") {
            None => false,
            Some(value) => value.as_bool().ok_or(FORM)?,
        };
        if table.is_empty() { Ok(Self { endpoint, allow_plain_password }) } else { Err(FORM) }
    }
}

/// The hosts that a key matches, ordered from the most to the least specific.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostPattern {
    Address(IpAddr),
    Name(String),
    /// `10.0.1.0/24`. The number of host bits comes first, so that longer prefixes sort first.
    Net {
        free_bits: u8,
        net: IpAddr,
    },
    /// A name in which `*` matches any text.
    Pattern(String),
}

/// The placeholder for the host in an endpoint.
const HOST: &str = "{address}";

impl TryFrom<BTreeMap<String, Value>> for EngineMap {
    type Error = String;

    fn try_from(map: BTreeMap<String, Value>) -> Result<Self, Self::Error> {
        let mut rules = Vec::new();
        for (hosts, value) in map {
            let engine = Engine::read(value).map_err(|what| bad(&hosts, what))?;
            rules.push((HostPattern::read(&hosts)?, engine));
        }
        rules.sort();
        Ok(Self(rules))
    }
}

impl EngineMap {
    /// Returns the engine behind an address, or `None` for the default engine.
    #[must_use]
    pub fn engine(&self, address: &Address) -> Option<Engine> {
        let Address::Inet { host, .. } = address else { return None };
        let (_, engine) = self.0.iter().find(|(hosts, _)| hosts.has(host))?;
        let written = match host {
            Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        };
        Some(Engine { endpoint: engine.endpoint.replace(HOST, &written), ..engine.clone() })
    }

    /// Returns the endpoints that do not depend on a server's address.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, engine)| engine.endpoint.as_str()).filter(|endpoint| !endpoint.contains(HOST))
    }
}

impl HostPattern {
    fn read(text: &str) -> Result<Self, String> {
        let bad = |what: &str| bad(text, what);
        if let Some((net, bits)) = text.split_once('/') {
            let net: IpAddr = net.parse().map_err(|_| bad("expected a network such as 10.0.1.0/24"))?;
            let most: u8 = if net.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most);
            let bits: u8 = bits.ok_or_else(|| bad(&format!("expected 0–{most} bits after the /")))?;
            return Ok(Self::Net { free_bits: most - bits, net });
        }
        if text.is_empty() || text.contains(char::is_whitespace) {
            return Err(bad("expected an address, a network, a host name or a pattern"));
        }
        Ok(match text.parse() {
            Ok(ip) => Self::Address(ip),
            Err(_) if text.contains('*') => Self::Pattern(text.to_owned()),
            Err(_) => Self::Name(text.to_owned()),
        })
    }

    fn has(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Address(one), Host::Ip(ip)) => one == ip,
            (Self::Net { free_bits, net }, Host::Ip(ip)) => match (net, ip) {
                (IpAddr::V4(net), IpAddr::V4(ip)) => {
                    u32::from(*net).checked_shr(u32::from(*free_bits))
                        == u32::from(*ip).checked_shr(u32::from(*free_bits))
                }
                (IpAddr::V6(net), IpAddr::V6(ip)) => {
                    u128::from(*net).checked_shr(u32::from(*free_bits))
                        == u128::from(*ip).checked_shr(u32::from(*free_bits))
                }
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
            },
            (Self::Name(one), Host::Name(name)) => one.eq_ignore_ascii_case(name),
            (Self::Pattern(pattern), Host::Name(name)) => fits(pattern, name),
            (Self::Pattern(pattern), Host::Ip(ip)) => fits(pattern, &ip.to_string()),
            (Self::Address(_) | Self::Net { .. }, Host::Name(_)) | (Self::Name(_), Host::Ip(_)) => false,
        }
    }
}

fn bad(key: &str, what: &str) -> String {
    format!("engines: invalid entry `{}`: {what}", redact(key))
}

/// Returns whether a text matches a pattern in which each `*` matches any text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern.eq_ignore_ascii_case(text) };
    let Some(text) =
        text.get(..start.len()).filter(|it| it.eq_ignore_ascii_case(start)).map(|_| &text[start.len()..])
    else {
        return false;
    };
    let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.any(|at| fits(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cfg::Port;

    fn map(rules: &[(&str, &str)]) -> Result<EngineMap, String> {
        rules
            .iter()
            .map(|(hosts, to)| ((*hosts).to_owned(), Value::from(*to)))
            .collect::<BTreeMap<_, _>>()
            .try_into()
    }

    #[test]
    fn the_most_exact_key_decides() {
        let map = map(&[
            ("10.0.0.0/8", "tcp://{address}:2376"),
            ("10.0.1.0/24", "ssh://deploy@{address}"),
            ("10.0.1.7", "context:seven"),
            ("fd00::/16", "tcp://{address}:1"),
            ("*.example.org", "ssh://{address}"),
            ("db.example.org", "unix:///db"),
        ])
        .unwrap();
        let found = |host: Host| {
            let engine = map.engine(&Address::Inet { host, port: Port::Fixed(80) });
            engine.map(|engine| engine.endpoint)
        };
        for (host, endpoint) in [
            ("10.0.1.7", Some("context:seven")),
            ("10.0.1.8", Some("ssh://deploy@10.0.1.8")),
            ("10.9.9.9", Some("tcp://10.9.9.9:2376")),
            ("fd00::5", Some("tcp://[fd00::5]:1")),
            ("127.0.0.1", None),
        ] {
            assert_eq!(found(Host::Ip(host.parse().unwrap())).as_deref(), endpoint, "{host}");
        }
        for (host, endpoint) in [
            ("App1.Example.org", Some("ssh://App1.Example.org")),
            ("db.example.org", Some("unix:///db")),
            ("example.org", None),
        ] {
            assert_eq!(found(Host::Name(host.to_owned())).as_deref(), endpoint, "{host}");
        }
    }

    #[test]
    fn an_engine_may_be_allowed_plain_passwords() {
        let read = |entry: &str| {
            let text = format!("\"10.0.0.5\" = {entry}");
            toml::from_str::<EngineMap>(&text).map_err(|error| error.message().to_owned())
        };
        let address = Address::Inet { host: Host::Ip("10.0.0.5".parse().unwrap()), port: Port::Fixed(80) };
        let allows = |entry: &str| read(entry).unwrap().engine(&address).unwrap();
        let engine =
            |allow_plain_password| Engine { endpoint: "tcp://10.0.0.5:1".to_owned(), allow_plain_password };
        assert_eq!(allows("\"tcp://{address}:1\""), engine(false));
        assert_eq!(allows("{ endpoint = \"tcp://{address}:1\" }"), engine(false));
        assert_eq!(allows("{ endpoint = \"tcp://{address}:1\", allow_plain_password = true }"), engine(true));
        for entry in [
            "{ endpoint = 7 }",
            "{ allow_plain_password = true }",
            "{ endpoint = \"x\", allow_plain_password = \"hunter2\" }",
            "{ endpoint = \"x\", \"tcp://u:hunter2@h\" = 1 }",
            "[\"tcp://u:hunter2@h\"]",
        ] {
            let error = read(entry).unwrap_err();
            assert!(
                error.contains("`10.0.0.5`: expected an endpoint") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_invalid_key_is_refused() {
        for key in ["10.0.0.0/33", "ten/8", "", "two words"] {
            assert!(map(&[(key, "x")]).unwrap_err().contains(&format!("`{key}`")), "{key}");
        }
        let error = map(&[("tcp://u:hunter2@host:2376", "x")]).unwrap_err();
        assert!(error.contains("`tcp://u:********@host:2376`"), "{error}");
        assert!(fits("a*b*c", "axxbyyc") && !fits("a*b*c", "axxbyy") && fits("*", ""));
    }
}
