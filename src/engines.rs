//! Which container engine is behind the address of a server line.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use crate::cfg::{Address, Host};
use crate::secret::shown;

/// `[engines]` of drainswap.toml: endpoints by the host of a server line. What is not named there is on the default
/// engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "BTreeMap<String, String>")]
#[schemars(with = "BTreeMap<String, String>")]
pub struct EngineMap(Vec<(Hosts, String)>);

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

impl TryFrom<BTreeMap<String, String>> for EngineMap {
    type Error = String;

    fn try_from(map: BTreeMap<String, String>) -> Result<Self, Self::Error> {
        let mut rules = Vec::new();
        for (hosts, endpoint) in map {
            rules.push((Hosts::read(&hosts)?, endpoint));
        }
        rules.sort();
        Ok(Self(rules))
    }
}

impl EngineMap {
    /// The endpoint of the engine behind an address; `None` for the default one.
    #[must_use]
    pub fn endpoint(&self, address: &Address) -> Option<String> {
        let Address::Inet { host, .. } = address else { return None };
        let (_, endpoint) = self.0.iter().find(|(hosts, _)| hosts.has(host))?;
        let written = match host {
            Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        };
        Some(endpoint.replace(HOST, &written))
    }
}

impl Hosts {
    fn read(text: &str) -> Result<Self, String> {
        let bad = |what: &str| format!("engines: `{}` {what}", shown(text));
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
            .map(|(hosts, to)| ((*hosts).to_owned(), (*to).to_owned()))
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
        let found = |host: Host| map.endpoint(&Address::Inet { host, port: Port::Fixed(80) });
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
    fn a_key_that_means_nothing_is_refused() {
        for key in ["10.0.0.0/33", "ten/8", "", "two words"] {
            assert!(map(&[(key, "x")]).unwrap_err().contains(&format!("`{key}`")), "{key}");
        }
        let error = map(&[("tcp://u:hunter2@host:2376", "x")]).unwrap_err();
        assert!(error.contains("`tcp://u:********@host:2376`"), "{error}");
        assert!(fits("a*b*c", "axxbyyc") && !fits("a*b*c", "axxbyy") && fits("*", ""));
    }
}
