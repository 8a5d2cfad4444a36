//! Health checks of a backend's servers: the request of an HTTP check and the reply that it expects.

mod connect;
mod expect;
mod rules;
mod send;

pub use expect::{Expect, Expected};
pub(super) use rules::CheckRules;

/// The health check of a section, for its servers that have `check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// The check only connects: there is neither `option httpchk` nor another `option …chk`.
    None,
    /// `option tcp-check`. Its rules are not interpreted.
    TcpCheck {
        /// Whether there are any rules; without them the check only connects.
        has_rules: bool,
    },
    /// `option httpchk`, with its `http-check` lines.
    Http(HttpCheck),
    /// Another check, by its option: `mysql-check`, `ssl-hello-chk`, …
    Other(String),
}

/// An HTTP check: one request and the expected reply.
///
/// The option line and the first `http-check send` are merged, and the later words win. In a sequence the request
/// is that of its first `send`. Where `HAProxy` would send nothing, which is reported as a problem, the request is
/// `OPTIONS /`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    pub method: String,
    /// The path and query, or a log-format expression if `uri-lf` gave it.
    pub uri: String,
    /// Whether a part of the request is a log-format expression, which only `HAProxy` can compute.
    pub is_computed: bool,
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`.
    pub version: String,
    /// The headers, in order. Values are log-format expressions. There is no `Host` unless it is listed here.
    pub headers: Vec<(String, String)>,
    /// The body, or a log-format expression if `body-lf` gave it.
    pub body: Option<String>,
    /// The expectations, in order. All must match. Without any, a status of 2xx or 3xx passes.
    pub expect: Vec<Expect>,
    /// `http-check send-state`: `HAProxy` adds an `x-haproxy-server-state` header.
    pub send_state: bool,
    /// `http-check disable-on-404`: a 404 takes the server out of rotation without marking it down.
    pub disable_on_404: bool,
    /// The explicit sequence; empty without `http-check connect`.
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

/// The target of an `http-check connect`, and how to connect to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckConnect {
    /// An address other than the server's, as written.
    pub address: Option<String>,
    /// Another port; `None` also for an expression.
    pub port: Option<u16>,
    /// Whether the connection uses TLS.
    pub ssl: bool,
    /// The server name (SNI) that TLS sends.
    pub sni: Option<String>,
    /// The protocols that TLS offers.
    pub alpn: Option<String>,
    /// Whether the connection starts with a PROXY line.
    pub send_proxy: bool,
}

/// The request of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRequest {
    pub method: String,
    pub uri: String,
    /// Whether a part of the request is a log-format expression.
    pub is_computed: bool,
    /// The HTTP version.
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
}

impl Default for CheckRequest {
    /// Returns the request that `option httpchk` sends without arguments.
    fn default() -> Self {
        let (method, uri, version) = ("OPTIONS".to_owned(), "/".to_owned(), "HTTP/1.0".to_owned());
        Self { method, uri, is_computed: false, version, headers: Vec::new(), body: None }
    }
}

/// The verdict of a check on a reply.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `HAProxy` would pass the check.
    Pass,
    /// `HAProxy` would fail the check.
    Fail,
    /// The verdict depends on a regular expression, a header, or another rule that drainswap does not evaluate.
    Undecided,
}

impl HttpCheck {
    /// Judges a reply by its status and body, if these are enough to decide.
    ///
    /// All expectations must match, so a single failing one decides.
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
