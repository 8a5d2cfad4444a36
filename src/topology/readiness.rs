//! Derives the probe of a server from its backend's own check.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cfg::{self, Address, Expected, HealthCheck, Host, HttpCheck, Port, Proxy, Server};
use crate::model::probe::{Expect, Match, Probe, Question};
use crate::observation::ServerState;
use crate::topology::own_check::OwnCheck;
use crate::topology::{is_http, socket_address};

/// The minimum time for an answer without `timeout check`. In that case `HAProxy` waits until the next check is due,
/// which is `inter`. With a shorter `inter`, one late answer is one of several checks for `HAProxy`, but would be the
/// only one for drainswap.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the probe that proves that a server serves, or `None` if its address is unknown (a unix socket, an
/// unresolved name). If the server's own check decides, the probe only tests whether it accepts a connection.
#[must_use]
pub fn probe(
    proxy: &Proxy,
    server: &Server,
    state: Option<&ServerState>,
    own_check: Option<&OwnCheck>,
) -> Option<Probe> {
    let traffic = socket_address(&server.address, state)?;
    let question = if own_check.is_some() { Question::Tcp } else { question(proxy, server) };
    // Without a check HAProxy's overrides for checks mean nothing, so the probe follows the traffic.
    let (address, tls) = match question {
        Question::Http { .. } => (check_address(server, traffic), check_is_encrypted(server)),
        Question::AnyHttp | Question::Tcp => (traffic, server.ssl),
    };
    let inter = server.inter.filter(|_| server.check).unwrap_or_default();
    let timeout = proxy.timeout_check.unwrap_or(inter.max(TIMEOUT));
    Some(Probe { address, tls, question, timeout })
}

/// The time within which an address that is not silent answers.
const AT_ONCE: Duration = Duration::from_millis(100);

/// The same for a connection, which must stay open for [`AT_ONCE`] to count as an answer.
const AT_ONCE_TCP: Duration = Duration::from_millis(250);

/// Returns the probe that must fail once the server's container has stopped: the server's probe, sent where its
/// traffic goes. A check that `addr` or `port` sends elsewhere says nothing about that address, so the probe then
/// follows the traffic.
#[must_use]
pub fn silence(
    proxy: &Proxy,
    server: &Server,
    state: Option<&ServerState>,
    own_check: Option<&OwnCheck>,
) -> Option<Probe> {
    let traffic = socket_address(&server.address, state)?;
    let probe = probe(proxy, server, state, own_check)?;
    let (question, tls) = match probe.question {
        Question::Http { .. } if is_diverted(server) => (as_traffic(proxy, server), server.ssl),
        question @ (Question::Http { .. } | Question::AnyHttp | Question::Tcp) => (question, probe.tls),
    };
    let timeout = if question == Question::Tcp { AT_ONCE_TCP } else { AT_ONCE };
    Some(Probe { address: traffic, tls, question, timeout })
}

fn question(proxy: &Proxy, server: &Server) -> Question {
    match &proxy.check {
        // A server that expects the PROXY protocol would reject a plain HTTP request.
        HealthCheck::Http(check) if !check_sends_proxy(server) => http(check),
        HealthCheck::Http(_) | HealthCheck::None | HealthCheck::TcpCheck { .. } | HealthCheck::Other(_) => {
            as_traffic(proxy, server)
        }
    }
}

/// Returns the question that works without a check: it follows the server's traffic.
pub(super) fn as_traffic(proxy: &Proxy, server: &Server) -> Question {
    let speaks_http_1 = server.proto.as_ref().is_none_or(|proto| proto != "h2");
    if is_http(proxy) && !server.send_proxy && speaks_http_1 { Question::AnyHttp } else { Question::Tcp }
}

/// Returns whether `addr` or `port` on a server line sends its checks elsewhere. The traffic's `ssl` and `send-proxy`
/// do not apply to such checks.
pub(super) fn is_diverted(server: &Server) -> bool {
    server.check_address.is_some() || server.check_port.is_some()
}

pub(super) fn check_sends_proxy(server: &Server) -> bool {
    server.check_send_proxy || server.send_proxy && !is_diverted(server)
}

pub(super) fn check_is_encrypted(server: &Server) -> bool {
    server.check_ssl.unwrap_or(server.ssl && !is_diverted(server))
}

fn check_address(server: &Server, traffic: SocketAddr) -> SocketAddr {
    if !is_diverted(server) {
        return traffic;
    }
    let Address::Inet { host, port } = server.checked_address() else { return traffic };
    let ip = match host {
        Host::Ip(ip) => ip,
        // Only HAProxy resolves the name; the traffic's own address is good enough.
        Host::Name(_) => traffic.ip(),
    };
    let port = match port {
        Port::Fixed(port) => port,
        Port::Client | Port::ClientOffset(_) => traffic.port(),
    };
    SocketAddr::new(ip, port)
}

fn http(check: &HttpCheck) -> Question {
    Question::Http {
        method: check.method.clone(),
        uri: check.uri.clone(),
        headers: check.headers.clone(),
        body: check.body.clone(),
        expect: check.expect.iter().filter_map(expect).collect(),
    }
}

/// Converts a rule. Only `HAProxy` judges rules on headers: its own check then decides, and for a server without a
/// check the other rules do.
fn expect(rule: &cfg::Expect) -> Option<Expect> {
    let matches = match &rule.what {
        Expected::Status(ranges) => {
            Match::Status(ranges.iter().map(|range| (*range.start(), *range.end())).collect())
        }
        Expected::StatusRegex(pattern) => Match::StatusPattern(pattern.clone()),
        Expected::String(text) => Match::Text(text.clone()),
        Expected::StringRegex(pattern) => Match::Pattern(pattern.clone()),
        Expected::Other(_) => return None,
    };
    Some(Expect { negated: rule.negated, matches })
}

#[cfg(test)]
mod tests;
