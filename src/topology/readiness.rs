//! The probe of a server, derived from its backend's own check.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cfg::{self, Address, Expected, HealthCheck, Host, HttpCheck, Port, Proxy, Server};
use crate::observation::ServerState;
use crate::probe::{Expect, Match, Probe, Question};
use crate::topology::{is_http, socket_address};

/// How long an answer may take where the configuration has no `timeout check`. `HAProxy` itself
/// would wait for `inter`, which is a rhythm and no limit.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How to prove that a server serves, or `None` where its address is not known (a unix socket, a
/// name that is not resolved).
#[must_use]
pub fn probe(proxy: &Proxy, server: &Server, state: Option<&ServerState>) -> Option<Probe> {
    let traffic = socket_address(&server.address, state)?;
    let question = question(proxy, server);
    // Without a check of its own HAProxy's overrides mean nothing: the server is asked as its traffic comes.
    let (address, tls) = match question {
        Question::Http { .. } => (check_address(server, traffic), check_is_encrypted(server)),
        Question::AnyHttp | Question::Tcp => (traffic, server.ssl),
    };
    Some(Probe { address, tls, question, timeout: proxy.timeout_check.unwrap_or(TIMEOUT) })
}

/// How soon an address that is not silent answers.
const AT_ONCE: Duration = Duration::from_millis(100);

/// The same for a connection that must stay open for [`AT_ONCE`] to count as an answer.
const AT_ONCE_TCP: Duration = Duration::from_millis(250);

/// What must fail as soon as the server's container has stopped: the server's probe, asked where its traffic goes.
/// A check that `addr` or `port` moves elsewhere says nothing of that address, which is asked as its traffic comes.
#[must_use]
pub fn silence(proxy: &Proxy, server: &Server, state: Option<&ServerState>) -> Option<Probe> {
    let traffic = socket_address(&server.address, state)?;
    let probe = probe(proxy, server, state)?;
    let (question, tls) = match probe.question {
        Question::Http { .. } if is_diverted(server) => (as_traffic(proxy, server), server.ssl),
        question @ (Question::Http { .. } | Question::AnyHttp | Question::Tcp) => (question, probe.tls),
    };
    let timeout = if question == Question::Tcp { AT_ONCE_TCP } else { AT_ONCE };
    Some(Probe { address: traffic, tls, question, timeout })
}

fn question(proxy: &Proxy, server: &Server) -> Question {
    match &proxy.check {
        // Who wants the PROXY protocol first would take an HTTP request for garbage.
        HealthCheck::Http(check) if !check_sends_proxy(server) => http(check),
        HealthCheck::Http(_) | HealthCheck::None | HealthCheck::TcpCheck | HealthCheck::Other(_) => {
            as_traffic(proxy, server)
        }
    }
}

/// The question that needs no check: as the server's traffic comes.
fn as_traffic(proxy: &Proxy, server: &Server) -> Question {
    if is_http(proxy) && !server.send_proxy { Question::AnyHttp } else { Question::Tcp }
}

/// Whether `addr` or `port` on a server line moves its checks elsewhere. What holds for the traffic, `ssl`
/// and `send-proxy`, does not hold for them then.
fn is_diverted(server: &Server) -> bool {
    server.check_address.is_some() || server.check_port.is_some()
}

fn check_sends_proxy(server: &Server) -> bool {
    server.check_send_proxy || server.send_proxy && !is_diverted(server)
}

fn check_is_encrypted(server: &Server) -> bool {
    server.check_ssl.unwrap_or(server.ssl && !is_diverted(server))
}

fn check_address(server: &Server, traffic: SocketAddr) -> SocketAddr {
    if !is_diverted(server) {
        return traffic;
    }
    let Address::Inet { host, port } = server.checked_address() else { return traffic };
    let ip = match host {
        Host::Ip(ip) => ip,
        // A name is HAProxy's to resolve; the traffic's own address serves as well.
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

/// Rules on headers are `HAProxy`'s alone: the others still decide.
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
