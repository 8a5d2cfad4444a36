//! Servers for which `HAProxy`'s own check decides whether they serve, because drainswap cannot send the same
//! request.
//!
//! In that case a container that accepts connections may not be ready yet, and one that does not answer `GET /` may
//! be. The server goes into service as down, and `HAProxy` sends it requests once its check has passed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cfg::{self, Configuration, Expected, HealthCheck, HttpCheck, Proxy};
use crate::model::ids::ServerId;
use crate::model::probe::{Question, is_readable};
use crate::observation::{AdminState, Answer, Checking, ServerState};
use crate::topology::readiness::{as_traffic, check_is_encrypted, check_sends_proxy, is_diverted};

/// `HAProxy`'s own check of a server, where that decides whether the server serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OwnCheck {
    /// What the check does that drainswap cannot do.
    pub why: String,
    /// The time that it may take until the server is up: `rise` times the longest interval between two checks.
    #[serde(rename = "within_ms", with = "crate::model::millis")]
    #[schemars(with = "u64")]
    pub within: Duration,
    /// The server that has the check, if the line tracks another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracks: Option<ServerId>,
}

/// The interval of `HAProxy`'s checks without `inter`.
const INTER: Duration = Duration::from_secs(2);

/// The number of checks that must pass without `rise`.
const RISE: u32 = 2;

/// The longest chain of lines that track each other. `HAProxy` refuses a cycle.
const LONGEST_CHAIN: usize = 16;

/// Returns the check of a server line if it decides; `None` if drainswap can check as well, or `HAProxy` does not
/// check.
#[must_use]
pub fn own_check(configuration: &Configuration, proxy: &Proxy, server: &cfg::Server) -> Option<OwnCheck> {
    let (mut owner, mut checked) = (proxy, server);
    for _ in 0..LONGEST_CHAIN {
        let Some(tracked) = &checked.track else { break };
        let (backend, name) = tracked.split_once('/').unwrap_or((&owner.name, tracked));
        owner = configuration.backend(backend)?;
        checked = owner.servers.iter().find(|server| server.name == name)?;
    }
    if !checked.check || checked.track.is_some() {
        return None;
    }
    let longest = [checked.fastinter, checked.downinter].into_iter().flatten();
    let inter = longest.fold(checked.inter.unwrap_or(INTER), Duration::max);
    Some(OwnCheck {
        why: unsupported_by_probe(owner, checked)?,
        within: inter.saturating_mul(checked.rise.unwrap_or(RISE)),
        tracks: server.track.is_some().then(|| ServerId::new(&owner.name, &checked.name)),
    })
}

/// Returns what a check does that a probe cannot do.
fn unsupported_by_probe(proxy: &Proxy, server: &cfg::Server) -> Option<String> {
    if let Some(section) = &server.healthcheck {
        return Some(format!("healthcheck {section}"));
    }
    let why = match &proxy.check {
        HealthCheck::Other(option) => return Some(format!("option {option}")),
        HealthCheck::TcpCheck { has_rules: true } => "tcp-check rules",
        HealthCheck::Http(_) if check_sends_proxy(server) => "httpchk behind a PROXY line",
        HealthCheck::Http(check) => {
            return unsupported_http(check).or_else(|| unsupported_tls(server)).map(str::to_owned);
        }
        // A request proves more than a connection.
        HealthCheck::None | HealthCheck::TcpCheck { has_rules: false }
            if as_traffic(proxy, server) != Question::Tcp =>
        {
            return None;
        }
        HealthCheck::None | HealthCheck::TcpCheck { has_rules: false } if check_is_encrypted(server) => {
            "a TLS handshake"
        }
        HealthCheck::None | HealthCheck::TcpCheck { has_rules: false } if is_diverted(server) => {
            "an address that differs from the traffic's"
        }
        HealthCheck::None | HealthCheck::TcpCheck { has_rules: false } => return None,
    };
    Some(why.to_owned())
}

fn unsupported_http(check: &HttpCheck) -> Option<&'static str> {
    let is_beyond = |expect: &cfg::Expect| match &expect.what {
        Expected::Status(_) | Expected::String(_) => false,
        Expected::StatusRegex(pattern) | Expected::StringRegex(pattern) => !is_readable(pattern),
        Expected::Other(_) => true,
    };
    if check.is_computed {
        Some("a request that HAProxy computes")
    } else if !check.uri.starts_with('/') {
        Some("a URI that is not a path")
    } else if !check.sequence.is_empty() {
        Some("http-check connect")
    } else if check.expect.iter().any(is_beyond) {
        Some("an http-check expect rule that only HAProxy can judge")
    } else {
        None
    }
}

/// Returns what the connection of an HTTP check has that drainswap's own does not.
fn unsupported_tls(server: &cfg::Server) -> Option<&'static str> {
    let is_encrypted = check_is_encrypted(server);
    let proto = server.check_proto.as_ref().or(server.proto.as_ref());
    let offered = server.check_alpn.as_ref().or(server.alpn.as_ref()).filter(|_| is_encrypted);
    if proto.is_some_and(|proto| proto == "h2")
        || offered.is_some_and(|all| all.split(',').any(|it| it == "h2"))
    {
        Some("HTTP/2")
    } else if !is_encrypted {
        None
    } else if server.has_client_certificate {
        Some("a client certificate")
    } else if server.check_sni.is_some() {
        Some("check-sni")
    } else if server.verify != Some(false) {
        Some("a certificate that is verified")
    } else {
        None
    }
}

/// Returns the result of a server's own check, if that decides and is on, or else its answer to the probe.
#[must_use]
pub fn answer(
    own_check: Option<&OwnCheck>,
    state: Option<&ServerState>,
    probed: Option<&Answer>,
) -> Option<Answer> {
    let said = own_check.zip(state).and_then(|(_, state)| verdict(state));
    said.or_else(|| probed.cloned())
}

/// Returns the result of a server's own check. In maint, and before the first check, there is none.
fn verdict(state: &ServerState) -> Option<Answer> {
    if state.checks.health != Checking::On || state.admin.state() == AdminState::Maint {
        return None;
    }
    if !state.operational.is_up() {
        return Some(Answer::NotReady(format!(
            "HAProxy's own check reports it {} ({})",
            state.status, state.check
        )));
    }
    state
        .has_passed_a_check()
        .then(|| Answer::Ready(format!("HAProxy's own check reports it up ({})", state.check)))
}

#[cfg(test)]
mod tests;
