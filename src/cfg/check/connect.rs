//! `http-check connect`.

use std::borrow::Cow;

use super::CheckConnect;

/// Reads the words after `connect`. Skips those that affect neither the target nor the way to connect.
pub(super) fn connect(words: &[Cow<'_, str>]) -> CheckConnect {
    let mut connect = CheckConnect::default();
    let mut rest = words;
    while let [word, tail @ ..] = rest {
        let value = tail.first();
        let owned = || value.map(|value| value.clone().into_owned());
        match &**word {
            "addr" => connect.address = owned(),
            "port" => connect.port = value.and_then(|port| port.parse().ok()),
            "sni" => connect.sni = owned(),
            "alpn" => connect.alpn = owned(),
            "ssl" => connect.ssl = true,
            "send-proxy" => connect.send_proxy = true,
            _ => {}
        }
        let takes_value = ["addr", "port", "sni", "alpn", "proto", "comment"].contains(&&**word);
        rest = if takes_value { tail.get(1..).unwrap_or_default() } else { tail };
    }
    connect
}
