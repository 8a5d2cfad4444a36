//! How a backend's servers are checked: what an HTTP check sends and what it wants back.

mod connect;
mod expect;
mod rules;
mod send;

pub use expect::{Expect, Expected};
pub(super) use rules::CheckRules;

/// The health check of a section, for its servers that have `check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// A connection is all: neither `option httpchk` nor another `option …chk`.
    None,
    /// `option tcp-check`; its rules are not read.
    TcpCheck {
        /// Whether there are any: without them it only connects.
        has_rules: bool,
    },
    /// `option httpchk`, with its `http-check` lines.
    Http(HttpCheck),
    /// Another one, by its option: `mysql-check`, `ssl-hello-chk`, …
    Other(String),
}

/// An HTTP check: one request and what is expected back.
///
/// The option line and the first `http-check send` are merged, the later words winning. With a sequence the
/// request is that of its first `send`. Where `HAProxy` would send nothing (a problem says so), it is `OPTIONS /`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// The method.
    pub method: String,
    /// The path and query; a log-format expression if it was given with `uri-lf`.
    pub uri: String,
    /// Whether a part of it is a log-format expression, which only `HAProxy` can compute.
    pub is_computed: bool,
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`.
    pub version: String,
    /// The headers, in order; values are log-format expressions. There is no `Host` unless it stands here.
    pub headers: Vec<(String, String)>,
    /// The body; a log-format expression if it was given with `body-lf`.
    pub body: Option<String>,
    /// What is expected, in order: all must match. Empty means a status of 2xx or 3xx.
    pub expect: Vec<Expect>,
    /// `http-check send-state`: an `x-haproxy-server-state` header is added.
    pub send_state: bool,
    /// `http-check disable-on-404`: a 404 takes the server out of rotation without calling it down.
    pub disable_on_404: bool,
    /// The explicit sequence, empty without `http-check connect`.
    pub sequence: Vec<CheckStep>,
}

/// One step of an explicit sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckStep {
    /// `http-check connect`: opens a (new) connection.
    Connect(CheckConnect),
    /// `http-check send`.
    Send(CheckRequest),
    /// `http-check expect`.
    Expect(Expect),
}

/// `http-check connect`, as far as it says where to connect to and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckConnect {
    /// Another address than the server's, as written.
    pub address: Option<String>,
    /// Another port; `None` too if it is an expression.
    pub port: Option<u16>,
    /// Over TLS.
    pub ssl: bool,
    /// The name that TLS asks for.
    pub sni: Option<String>,
    /// The protocols that TLS offers.
    pub alpn: Option<String>,
    /// Starts with a PROXY line.
    pub send_proxy: bool,
}

/// The request of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRequest {
    /// The method.
    pub method: String,
    /// The path and query.
    pub uri: String,
    /// Whether a part of it is a log-format expression.
    pub is_computed: bool,
    /// The protocol.
    pub version: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<String>,
}

impl Default for CheckRequest {
    /// What `option httpchk` alone sends.
    fn default() -> Self {
        let (method, uri, version) = ("OPTIONS".to_owned(), "/".to_owned(), "HTTP/1.0".to_owned());
        Self { method, uri, is_computed: false, version, headers: Vec::new(), body: None }
    }
}

/// What a reply says about a server.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `HAProxy` would call the check passed.
    Pass,
    /// It would call it failed.
    Fail,
    /// It depends on a regular expression, a header, or another rule that is kept as data only.
    Undecided,
}

impl HttpCheck {
    /// Judges a reply by the status and the body, as far as that decides it.
    ///
    /// With several expectations all must match, so one that fails decides.
    #[must_use]
    pub fn accepts(&self, status: u16, body: &[u8]) -> Verdict {
        if self.expect.is_empty() {
            return if (200..=399).contains(&status) { Verdict::Pass } else { Verdict::Fail };
        }
        let verdicts = || self.expect.iter().map(|expect| expect.accepts(status, body));
        if verdicts().any(|verdict| verdict == Verdict::Fail) {
            Verdict::Fail
        } else if verdicts().any(|verdict| verdict == Verdict::Undecided) {
            Verdict::Undecided
        } else {
            Verdict::Pass
        }
    }
}

#[cfg(test)]
mod tests;
