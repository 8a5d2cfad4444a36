//! The words with which `add server` adds a server like one of a configuration.
//!
//! A server that is added at runtime inherits nothing, neither from `default-server` nor from `defaults`. The lists come
//! from `haproxy -dKcfg` and from what `add server` of 2.6 to 3.4 accepts and refuses.

use super::address::{Address, Port};
use super::keywords::{self, Arity};
use super::model::{Proxy, Server};
use super::version::Version;

/// The first version that has `add server` with checks, cookies aside.
const FIRST: Version = Version::new(2, 6);

/// Settings of the server's own place or identity, and tuning that `add server` does not accept and that decides
/// nothing while other servers are replaced. Weight, limit and cookie are taken from the running process.
const LEFT_OUT: &[&str] = &[
    "agent-addr",
    "agent-check",
    "agent-inter",
    "agent-port",
    "agent-send",
    "backup",
    "cc",
    "check-sni-auto",
    "cookie",
    "disabled",
    "enabled",
    "from",
    "guid",
    "id",
    "init-addr",
    "init-state",
    "log-bufsize",
    "max-reuse",
    "maxconn",
    "name",
    "no-agent-check",
    "no-backup",
    // Both cut sessions when a server changes its state, which a surge server does on purpose.
    "on-marked-down",
    "on-marked-up",
    "resolve-net",
    "resolve-opts",
    "resolve-prefer",
    "resolvers",
    // With it, the server would take its share only after a while.
    "slowstart",
    "sni-auto",
    "ssl-reuse",
    "stick",
    "tcp-ut",
    "track",
    "weight",
];

/// Settings that decide where requests go or how they are written, and that `add server` accepts in no version.
const REFUSED: &[&str] =
    &["log-proto", "namespace", "non-stick", "quic-cc-algo", "redir", "socks4", "tcp-md5sig"];

/// Settings that `add server` accepts since 3.0 only.
const SINCE_3_0: &[&str] =
    &["client-sigalgs", "curves", "hash-key", "pool-conn-name", "set-proxy-v2-tlv-fmt", "sigalgs"];

/// `no-…` settings that `add server` accepts. All others are left out, because nothing is on that they could turn off.
const ACCEPTED_NO: &[&str] = &[
    "no-check-sni-auto",
    "no-renegotiate",
    "no-sni-auto",
    "no-ssl-reuse",
    "no-sslv3",
    "no-tls-tickets",
    "no-tlsv10",
    "no-tlsv11",
    "no-tlsv12",
    "no-tlsv13",
];

/// The reason why no server like another can be added at runtime.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDynamic {
    #[error("HAProxy {version} cannot add servers at runtime (2.6 and later can)")]
    Version { version: Version },
    #[error("`balance {0}` does not allow servers that are added at runtime")]
    Balance(String),
    #[error("`{0}` cannot be given to a server that is added at runtime")]
    Setting(String),
    #[error("its check goes to another place than its traffic (`addr` or `port`)")]
    CheckElsewhere,
}

impl Proxy {
    /// Returns the words that follow the address in an `add server` command, for a server with the settings of this
    /// one. Weight, `maxconn` and cookie are not among them.
    ///
    /// # Errors
    /// `HAProxy` of this version would not accept such a server, or it would not be the same.
    pub fn dynamic_words(&self, server: &Server, version: Version) -> Result<Vec<String>, NotDynamic> {
        if version < FIRST {
            return Err(NotDynamic::Version { version });
        }
        if !self.balances_dynamically() {
            return Err(NotDynamic::Balance(self.balance.clone()));
        }
        let checked_port = |address: &Address| match address {
            Address::Inet { port: Port::Fixed(port), .. } => Some(*port),
            Address::Inet { .. }
            | Address::Datagram { .. }
            | Address::Quic { .. }
            | Address::Unix(_)
            | Address::Other(_) => None,
        };
        let is_elsewhere = checked_port(&server.checked_address()) != checked_port(&server.address);
        if server.check && (server.check_address.is_some() || is_elsewhere) {
            return Err(NotDynamic::CheckElsewhere);
        }
        if server.cookie.is_some() && version < Version::new(3, 0) {
            return Err(NotDynamic::Setting("cookie".to_owned()));
        }
        let mut settings: Vec<Vec<&str>> = Vec::new();
        for setting in settings_of(&server.written.0) {
            let keyword = setting[0];
            let name = keyword.split('(').next().unwrap_or(keyword);
            let opposite = keyword.strip_prefix("no-").map_or_else(|| format!("no-{keyword}"), str::to_owned);
            settings.retain(|earlier| earlier[0] != keyword && earlier[0] != opposite);
            let turns_off = keyword.starts_with("no-") && !ACCEPTED_NO.contains(&keyword);
            if turns_off || LEFT_OUT.contains(&name) || ["addr", "port"].contains(&name) {
                continue;
            }
            let is_plain = setting.iter().all(|word| word.bytes().all(is_plain));
            if !is_plain
                || REFUSED.contains(&name)
                || SINCE_3_0.contains(&name) && version < Version::new(3, 0)
            {
                return Err(NotDynamic::Setting(keyword.to_owned()));
            }
            settings.push(setting);
        }
        if server.track.is_some() {
            // It has no check of its own.
            settings.retain(|setting| setting[0] != "check");
        }
        Ok(settings.into_iter().flatten().map(str::to_owned).collect())
    }

    /// Returns whether the backend's algorithm takes servers that are added at runtime.
    fn balances_dynamically(&self) -> bool {
        match self.balance.split('(').next().unwrap_or_default() {
            "static-rr" | "rdp-cookie" => false,
            "source" | "uri" | "url_param" | "hdr" | "hash" => self.hashes_consistently,
            _ => true,
        }
    }
}

/// Returns whether the runtime API takes the byte literally.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.:/@,+=*%[]-".contains(&byte)
}

/// Splits the words of a server line, one a line, into settings with their values.
fn settings_of(words: &str) -> Vec<Vec<&str>> {
    let mut settings = Vec::new();
    let words: Vec<&str> = words.lines().collect();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let rest = &words[at + 1..];
        let arity = keywords::server(word).map_or(Arity::None, |keyword| keyword.arity);
        let values = arity.values(rest, |word, keyword| *word == keyword);
        settings.push(words[at..=at + values].to_vec());
        at += 1 + values;
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::configuration;

    /// Returns the words for the first server of a backend with these lines.
    fn words(version: (u16, u16), lines: &str) -> Result<String, String> {
        let configuration = configuration(&format!("backend mobile\n{lines}\n"));
        let proxy = &configuration.proxies[0];
        let words = proxy.dynamic_words(&proxy.servers[0], Version::new(version.0, version.1));
        words.map(|words| words.join(" ")).map_err(|reason| reason.to_string())
    }

    #[test]
    fn nothing_is_inherited_so_everything_is_said() {
        let lines = "default-server check inter 2s fall 3 maxconn 50 ssl verify none\n\
                     server app1 127.0.0.1:50000 weight 20 inter 1s send-proxy-v2 id 7 backup track app2\n\
                     server app2 127.0.0.1:50001 check";
        assert_eq!(words((2, 6), lines).unwrap(), "fall 3 ssl verify none inter 1s send-proxy-v2");
        let lines = lines.replace(" track app2", "");
        assert_eq!(words((3, 2), &lines).unwrap(), "check fall 3 ssl verify none inter 1s send-proxy-v2");
    }

    #[test]
    fn what_a_line_turns_off_is_left_out() {
        let lines = "default-server check ssl verify none tls-tickets\n\
                     server app1 127.0.0.1:50000 no-ssl no-check no-tls-tickets";
        assert_eq!(words((2, 6), lines).unwrap(), "verify none no-tls-tickets");
        let lines = "default-server no-check no-send-proxy\nserver app1 127.0.0.1:50000 check send-proxy";
        assert_eq!(words((2, 6), lines).unwrap(), "check send-proxy");
    }

    #[test]
    fn values_stay_with_their_settings() {
        let lines = "server app1 127.0.0.1:50000 source 127.0.0.9 usesrc clientip sni ssl_fc_sni ws h1";
        assert_eq!(words((2, 6), lines).unwrap(), "source 127.0.0.9 usesrc clientip sni ssl_fc_sni ws h1");
    }

    #[test]
    fn a_server_that_haproxy_would_not_add_is_refused() {
        let server = "server app1 127.0.0.1:50000 check";
        assert!(words((2, 4), server).unwrap_err().contains("HAProxy 2.4 cannot add"));
        for (balance, is_dynamic) in [
            ("balance roundrobin", true),
            ("balance leastconn", true),
            ("balance random(2)", true),
            ("balance static-rr", false),
            ("balance source", false),
            ("balance uri\nhash-type consistent", true),
            ("balance uri\nhash-type map-based", false),
        ] {
            assert_eq!(words((2, 6), &format!("{balance}\n{server}")).is_ok(), is_dynamic, "{balance}");
        }
        for (setting, is_dynamic) in [
            ("socks4 127.0.0.1:9", false),
            ("namespace blue", false),
            ("sni str(a)", false),
            ("cookie a1", false),
            ("port 50000", true),
            ("port 9000", false),
            ("addr 127.0.0.9", false),
        ] {
            assert_eq!(words((2, 6), &format!("{server} {setting}")).is_ok(), is_dynamic, "{setting}");
        }
    }
}
