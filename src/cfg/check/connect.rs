//! `http-check connect`.

use super::CheckConnect;

/// Reads the words after `connect`. What says neither where to nor how is passed over.
pub(super) fn connect(words: &[String]) -> CheckConnect {
    let mut connect = CheckConnect::default();
    let mut rest = words;
    while let [word, tail @ ..] = rest {
        let value = tail.first();
        match word.as_str() {
            "addr" => connect.address = value.cloned(),
            "port" => connect.port = value.and_then(|port| port.parse().ok()),
            "sni" => connect.sni = value.cloned(),
            "alpn" => connect.alpn = value.cloned(),
            "ssl" => connect.ssl = true,
            "send-proxy" => connect.send_proxy = true,
            _ => {}
        }
        let takes_value = ["addr", "port", "sni", "alpn", "proto", "comment"].contains(&word.as_str());
        rest = if takes_value { tail.get(1..).unwrap_or_default() } else { tail };
    }
    connect
}
