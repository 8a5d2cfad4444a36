//! The probe that proves that a server serves: the backend's own check, without `HAProxy`'s timing.

mod url;

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};

pub use url::ProbeUrl;

/// A probe of one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Probe {
    /// The address to connect to.
    pub address: SocketAddr,
    /// Whether to use TLS; certificates are not verified, as in a check with `verify none`.
    pub tls: bool,
    /// The request and the expected response.
    pub question: Question,
    /// The maximum time to answer.
    #[serde(rename = "timeout_ms", with = "crate::model::millis")]
    #[schemars(with = "u64")]
    pub timeout: Duration,
}

/// The maximum time until a connection is accepted and has stayed open.
const CONNECTS: Duration = Duration::from_secs(1);

impl Probe {
    /// Returns a probe that tests whether any process accepts connections at an address and keeps them open.
    #[must_use]
    pub fn connects(address: SocketAddr) -> Self {
        Self { address, tls: false, question: Question::Tcp, timeout: CONNECTS }
    }
}

/// The request of a probe, and the response that proves that the server serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Question {
    /// The backend's `option httpchk` and `http-check` lines.
    Http {
        /// The request's method.
        method: String,
        /// The request's URI.
        uri: String,
        /// The header fields, in order.
        headers: Vec<(String, String)>,
        /// The request's body.
        body: Option<String>,
        /// The rules that the response must all satisfy; without rules, any 2xx or 3xx status is accepted.
        expect: Vec<Expect>,
    },
    /// HTTP mode without an HTTP check: any HTTP response to `GET /` except 503, with which an application or a proxy
    /// in front of it reports that it does not serve.
    AnyHttp,
    /// TCP mode: the connection is accepted and not closed at once. docker-proxy accepts connections for an
    /// application that does not listen and then closes them, so an open port alone proves nothing.
    Tcp,
}

/// An `http-check expect` rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Expect {
    /// Whether the rule has a `!` and must not match.
    pub negated: bool,
    /// The condition on the response.
    pub matches: Match,
}

/// The condition of an `http-check expect` rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", content = "value")]
pub enum Match {
    /// The status is in one of these inclusive ranges.
    Status(Vec<(u16, u16)>),
    /// The status, as three digits, matches this regular expression.
    StatusPattern(String),
    /// The body contains this text.
    Text(String),
    /// The body matches this regular expression.
    Pattern(String),
}

/// Returns whether drainswap can read a pattern of an `http-check expect` rule, which is PCRE for `HAProxy`.
#[must_use]
pub fn is_readable(pattern: &str) -> bool {
    Regex::new(pattern).is_ok()
}

/// Removes duplicate probes, which occur when several server lines share a container.
pub fn distinct<'p>(probes: impl IntoIterator<Item = &'p Probe>) -> impl Iterator<Item = &'p Probe> {
    let mut asked = HashSet::new();
    probes.into_iter().filter(move |probe| asked.insert(*probe))
}

impl Question {
    /// Hides possible secrets: the values of headers, and the body.
    pub fn hide(&mut self) {
        if let Self::Http { headers, body, .. } = self {
            for hidden in headers.iter_mut().map(|(_, value)| value).chain(body) {
                "***".clone_into(hidden);
            }
        }
    }

    /// Returns what is wrong with a response, or `None` if the response proves that the server serves.
    #[must_use]
    pub fn objection(&self, status: u16, body: &[u8]) -> Option<String> {
        match self {
            Self::AnyHttp => {
                (status == 503).then(|| "the application reports that it does not serve".to_owned())
            }
            Self::Tcp => None,
            Self::Http { expect, .. } if expect.is_empty() => {
                (!(200..400).contains(&status)).then(|| "expected 2xx or 3xx".to_owned())
            }
            Self::Http { expect, .. } => expect.iter().find_map(|rule| match rule.holds(status, body) {
                Ok(true) => None,
                Ok(false) => Some(format!("expected {rule}")),
                Err(error) => Some(format!("cannot check for {rule}: {error}")),
            }),
        }
    }
}

impl Expect {
    /// Returns whether a response satisfies the rule. `HAProxy` reads patterns as PCRE; a pattern that the `regex`
    /// crate cannot read (look-around, back-references) is an error and never a match.
    fn holds(&self, status: u16, body: &[u8]) -> Result<bool, regex::Error> {
        let found = match &self.matches {
            Match::Status(ranges) => ranges.iter().any(|(low, high)| (*low..=*high).contains(&status)),
            Match::StatusPattern(pattern) => Regex::new(pattern)?.is_match(status.to_string().as_bytes()),
            Match::Pattern(pattern) => Regex::new(pattern)?.is_match(body),
            Match::Text(text) => {
                text.is_empty() || body.windows(text.len()).any(|window| window == text.as_bytes())
            }
        };
        Ok(found != self.negated)
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negated {
            f.write_str("not ")?;
        }
        match &self.matches {
            Match::Status(ranges) => {
                f.write_str("status ")?;
                for (index, (low, high)) in ranges.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    if low == high {
                        write!(f, "{comma}{low}")?;
                    } else {
                        write!(f, "{comma}{low}-{high}")?;
                    }
                }
                Ok(())
            }
            Match::StatusPattern(pattern) => write!(f, "a status matching {pattern}"),
            Match::Text(text) => write!(f, "a body with {text:?}"),
            Match::Pattern(pattern) => write!(f, "a body matching {pattern}"),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match &self.question {
            Question::Http { method, uri, .. } => write!(f, "{method} {scheme}://{}{uri}", self.address),
            Question::AnyHttp => write!(f, "GET {scheme}://{}/", self.address),
            Question::Tcp => write!(f, "connect to {}", self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(expect: Vec<Expect>) -> Question {
        Question::Http { method: "GET".into(), uri: "/health".into(), headers: vec![], body: None, expect }
    }

    #[test]
    fn without_rules_2xx_and_3xx_are_accepted() {
        assert_eq!(http(vec![]).objection(204, b""), None);
        assert_eq!(http(vec![]).objection(302, b""), None);
        assert_eq!(http(vec![]).objection(404, b"").as_deref(), Some("expected 2xx or 3xx"));
    }

    #[test]
    fn every_rule_must_hold() {
        let status = Expect { negated: false, matches: Match::Status(vec![(200, 200), (300, 310)]) };
        let no_error = Expect { negated: true, matches: Match::Text("error".into()) };
        let question = http(vec![status, no_error]);
        assert_eq!(question.objection(305, b"fine"), None);
        assert_eq!(question.objection(500, b"fine").as_deref(), Some("expected status 200,300-310"));
        assert_eq!(
            question.objection(200, b"an error!").as_deref(),
            Some("expected not a body with \"error\"")
        );
    }

    #[test]
    fn a_pattern_that_cannot_be_read_never_matches() {
        let pattern =
            |text: &str| http(vec![Expect { negated: true, matches: Match::StatusPattern(text.into()) }]);
        assert_eq!(pattern("^5").objection(200, b""), None);
        assert!(pattern("^5").objection(503, b"").is_some());
        assert!(pattern("(?=2)").objection(200, b"").is_some_and(|why| why.starts_with("cannot check for")));
    }

    #[test]
    fn any_http_answer_except_503_is_accepted() {
        assert_eq!(Question::AnyHttp.objection(404, b""), None);
        assert_eq!(Question::AnyHttp.objection(500, b""), None);
        assert!(Question::AnyHttp.objection(503, b"").is_some());
    }
}
