//! Which container engine is behind the address of a server line.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use toml::Value;

use crate::cfg::{Address, Host};
use crate::secret::shown;

/// `[engines]` of drainswap.toml: engines by the host of a server line. What is not named there is on the default
/// engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "BTreeMap<String, Value>")]
#[schemars(with = "BTreeMap<String, Entry>")]
pub struct EngineMap(Vec<(Hosts, Engine)>);

/// The forms of an entry, for those who ask: [`Engine::read`] reads it.
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "its form is all that is wanted")]
enum Entry {
    /// The endpoint.
    Endpoint(String),
    /// The endpoint, and what it may be told.
    Table {
        /// The endpoint.
        endpoint: String,
        /// Whether registry passwords may go to it over TCP without TLS.
        #[serde(default)]
        allow_plain_password: bool,
    },
}

/// An engine as the settings name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Engine {
    /// Its endpoint; empty for the default one.
    pub endpoint: String,
    /// Whether registry passwords may go to it over TCP without TLS.
    pub allow_plain_password: bool,
}

impl Engine {
    /// Reads an entry by hand: an endpoint that was written in the wrong place may hold a password.
    fn read(value: Value) -> Result<Self, &'static str> {
        const FORM: &str = "is neither an endpoint nor { endpoint = \"…\", allow_plain_password = true }";
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

/// The hosts that a key means; the more exact come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hosts {
    /// One address.
    Address(IpAddr),
    /// One name.
    Name(String),
    /// `10.0.1.0/24`: its first bits, and how many there are; those with more come first.
    Net { free_bits: u8, net: IpAddr },
    /// A name with `*` in it, which stands for anything.
    Pattern(String),
}

/// Stands for the host in an endpoint.
const HOST: &str = "{address}";

impl TryFrom<BTreeMap<String, Value>> for EngineMap {
    type Error = String;

    fn try_from(map: BTreeMap<String, Value>) -> Result<Self, Self::Error> {
        let mut rules = Vec::new();
        for (hosts, value) in map {
            let engine = Engine::read(value).map_err(|what| bad(&hosts, what))?;
            rules.push((Hosts::read(&hosts)?, engine));
        }
        rules.sort();
        Ok(Self(rules))
    }
}

impl EngineMap {
    /// The engine behind an address; `None` for the default one.
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

    /// The engines that are named whatever the address is.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, engine)| engine.endpoint.as_str()).filter(|endpoint| !endpoint.contains(HOST))
    }
}

impl Hosts {
    fn read(text: &str) -> Result<Self, String> {
        let bad = |what: &str| bad(text, what);
        if let Some((net, bits)) = text.split_once('/') {
            let net: IpAddr = net.parse().map_err(|_| bad("is no network: write 10.0.1.0/24"))?;
            let most: u8 = if net.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most);
            let bits: u8 =
                bits.ok_or_else(|| bad(&format!("has no number of bits up to {most} after the /")))?;
            return Ok(Self::Net { free_bits: most - bits, net });
        }
        if text.is_empty() || text.contains(char::is_whitespace) {
            return Err(bad("is neither an address, a network, a name nor a pattern"));
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
    format!("engines: `{}` {what}", shown(key))
}

/// Whether a text is the pattern, in which each `*` stands for anything.
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
                error.contains("`10.0.0.5` is neither an endpoint") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_key_that_means_nothing_is_refused() {
        for key in ["10.0.0.0/33", "ten/8", "", "two words"] {
            assert!(map(&[(key, "x")]).unwrap_err().contains(&format!("`{key}`")), "{key}");
        }
        let error = map(&[("tcp://u:hunter2@host:2376", "x")]).unwrap_err();
        assert!(error.contains("`tcp://u:********@host:2376`"), "{error}");
        assert!(fits("a*b*c", "axxbyyc") && !fits("a*b*c", "axxbyy") && fits("*", ""));
    }
}
