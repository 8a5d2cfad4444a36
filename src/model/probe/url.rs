//! The additional probe of every new container at its own address: `--probe`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Probe, Question};

/// A probe's URL: `/ready`, or `http://{address}:{port}/ready` with placeholders for the server's address and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = r"^(/|https?://\{address\})\S*$"))]
pub struct ProbeUrl {
    text: String,
    /// Whether to use TLS; `None` means as for the server's traffic.
    tls: Option<bool>,
    /// The port; `None` means the server's port.
    port: Option<u16>,
    /// The path and query.
    uri: String,
}

impl ProbeUrl {
    /// Returns the probe for a server with the given address, TLS setting and timeout. Any 2xx or 3xx status is
    /// accepted.
    #[must_use]
    pub fn of(&self, traffic: SocketAddr, tls: bool, timeout: Duration) -> Probe {
        Probe {
            address: SocketAddr::new(traffic.ip(), self.port.unwrap_or(traffic.port())),
            tls: self.tls.unwrap_or(tls),
            question: Question::Http {
                method: "GET".to_owned(),
                uri: self.uri.clone(),
                headers: Vec::new(),
                body: None,
                expect: Vec::new(),
            },
            timeout,
        }
    }
}

impl FromStr for ProbeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (Some(false), rest),
            (None, Some(rest)) => (Some(true), rest),
            (None, None) if text.starts_with('/') => (None, text),
            (None, None) => return Err(wrong(text)),
        };
        let (place, uri) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let port = match (tls, place.strip_prefix("{address}")) {
            (None, _) | (Some(_), Some(":{port}")) => None,
            (Some(false), Some("")) => Some(80),
            (Some(true), Some("")) => Some(443),
            (Some(_), Some(port)) => {
                let port = port.strip_prefix(':').and_then(|port| port.parse().ok()).filter(|port| *port > 0);
                Some(port.ok_or_else(|| wrong(text))?)
            }
            (Some(_), None) => return Err(wrong(text)),
        };
        if uri.chars().any(|it| it.is_whitespace() || it.is_control()) {
            return Err(wrong(text));
        }
        let uri = if uri.is_empty() { "/" } else { uri };
        Ok(Self { text: text.to_owned(), tls, port, uri: uri.to_owned() })
    }
}

fn wrong(text: &str) -> String {
    format!(
        "invalid probe `{}`: use /PATH, or http://{{address}}:{{port}}/PATH to reach another port",
        crate::model::secret::redact(text).escape_debug()
    )
}

impl TryFrom<String> for ProbeUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ProbeUrl> for String {
    fn from(url: ProbeUrl) -> Self {
        url.text
    }
}

impl fmt::Display for ProbeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_probed_at_its_own_address() {
        let asked = |text: &str, tls| {
            let traffic: SocketAddr = "10.0.0.1:50000".parse().unwrap();
            text.parse::<ProbeUrl>().unwrap().of(traffic, tls, Duration::from_secs(1)).to_string()
        };
        for (text, tls, question) in [
            ("/ready?deep=1", false, "GET http://10.0.0.1:50000/ready?deep=1"),
            ("/ready", true, "GET https://10.0.0.1:50000/ready"),
            ("http://{address}:{port}/ready", true, "GET http://10.0.0.1:50000/ready"),
            ("https://{address}:{port}", false, "GET https://10.0.0.1:50000/"),
            ("http://{address}:9000/ready", false, "GET http://10.0.0.1:9000/ready"),
            ("https://{address}/ready", false, "GET https://10.0.0.1:443/ready"),
        ] {
            assert_eq!(asked(text, tls), question);
        }
    }

    #[test]
    fn urls_that_reach_another_host_are_refused() {
        for text in [
            "",
            "ready",
            "http://app.example.org/ready",
            "http://{address}:0/",
            "http://{address}:port/",
            "http://{address}x/",
            "ftp://{address}/",
            "/a b",
            "/a\r\nX: y",
        ] {
            assert!(text.parse::<ProbeUrl>().is_err(), "{text}");
        }
    }
}
