//! Keywords of `HAProxy`: the settings of a server here, sections and proxy keywords in the submodules.

pub mod proxy;
mod removed;
pub mod section;

use super::version::Version;
use Arity::{InsideSource, None, One, Source};
pub(super) use removed::removed;

/// The number of words that a setting takes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Arity {
    None,
    One,
    /// `source`: an address, then any number of `usesrc X` and `interface X`.
    Source,
    /// `usesrc`, which is only allowed after `source`.
    InsideSource,
}

impl Arity {
    /// Returns how many of the following words are the setting's values: fewer than it takes if the line ends
    /// first.
    pub(super) fn values<W>(self, rest: &[W], is: impl Fn(&W, &str) -> bool) -> usize {
        let count = match self {
            None | InsideSource => 0,
            One => 1,
            Source => {
                let pairs = rest.get(1..).unwrap_or_default().chunks(2);
                1 + 2 * pairs.take_while(|pair| is(&pair[0], "usesrc") || is(&pair[0], "interface")).count()
            }
        };
        count.min(rest.len())
    }
}

/// A setting of a `server` line.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ServerKeyword {
    pub word: &'static str,
    pub arity: Arity,
    /// Whether `default-server` may contain it; otherwise `HAProxy` logs an alert and ignores it there.
    pub in_default_server: bool,
    /// The newest long-term branch known not to have it; `Option::None` if 2.2 has it.
    pub absent_in: Option<Version>,
}

const fn old(word: &'static str, arity: Arity, in_default_server: bool) -> ServerKeyword {
    ServerKeyword { word, arity, in_default_server, absent_in: Option::None }
}

const fn since(
    absent_in: (u16, u16),
    word: &'static str,
    arity: Arity,
    in_default_server: bool,
) -> ServerKeyword {
    let absent_in = Some(Version::new(absent_in.0, absent_in.1));
    ServerKeyword { word, arity, in_default_server, absent_in }
}

/// `set-proxy-v2-tlv-fmt(ID) FORMAT`, where the identifier is a part of the word.
const TLV: &str = "set-proxy-v2-tlv-fmt";

/// All settings of all branches from 2.2 to 3.5, as `haproxy -dKcfg` lists them (for 2.2, from its source). No
/// setting was removed or changed its arity between these branches.
pub const SERVER: &[ServerKeyword] = &[
    old("addr", One, true),
    old("agent-addr", One, true),
    old("agent-check", None, true),
    old("agent-inter", One, true),
    old("agent-port", One, true),
    old("agent-send", One, true),
    old("allow-0rtt", None, true),
    old("alpn", One, true),
    old("backup", None, true),
    old("ca-file", One, true),
    since((3, 2), "cc", One, true),
    old("check", None, true),
    old("check-alpn", One, true),
    since((3, 0), "check-pool-conn-name", One, true),
    old("check-proto", One, true),
    since((3, 0), "check-reuse-pool", None, true),
    old("check-send-proxy", None, true),
    old("check-sni", One, true),
    since((3, 2), "check-sni-auto", None, true),
    old("check-ssl", None, true),
    old("check-via-socks4", None, true),
    old("ciphers", One, true),
    old("ciphersuites", One, true),
    since((2, 8), "client-sigalgs", One, true),
    old("cookie", One, true),
    old("crl-file", One, true),
    old("crt", One, true),
    since((2, 8), "curves", One, true),
    old("disabled", None, true),
    old("downinter", One, true),
    old("enabled", None, true),
    old("error-limit", One, true),
    old("fall", One, true),
    old("fastinter", One, true),
    old("force-sslv3", None, true),
    old("force-tlsv10", None, true),
    old("force-tlsv11", None, true),
    old("force-tlsv12", None, true),
    old("force-tlsv13", None, true),
    since((2, 8), "guid", One, false),
    since((2, 8), "hash-key", One, true),
    since((3, 2), "healthcheck", One, true),
    old("id", One, false),
    since((3, 0), "idle-ping", One, true),
    old("init-addr", One, true),
    since((3, 0), "init-state", One, true),
    old("inter", One, true),
    since((3, 2), "ktls", One, true),
    since((2, 8), "log-bufsize", One, true),
    old("log-proto", One, true),
    old("max-reuse", One, true),
    old("maxconn", One, true),
    old("maxqueue", One, true),
    old("minconn", One, true),
    old("namespace", One, true),
    old("no-agent-check", None, true),
    old("no-backup", None, true),
    old("no-check", None, true),
    since((3, 0), "no-check-reuse-pool", None, true),
    old("no-check-send-proxy", None, true),
    since((3, 2), "no-check-sni-auto", None, true),
    old("no-check-ssl", None, true),
    since((3, 2), "no-renegotiate", None, true),
    old("no-send-proxy", None, true),
    old("no-send-proxy-v2", None, true),
    old("no-send-proxy-v2-ssl", None, true),
    old("no-send-proxy-v2-ssl-cn", None, true),
    since((3, 2), "no-sni-auto", None, true),
    old("no-ssl", None, true),
    old("no-ssl-reuse", None, true),
    old("no-sslv3", None, false),
    old("no-tfo", None, true),
    old("no-tls-tickets", None, true),
    old("no-tlsv10", None, false),
    old("no-tlsv11", None, false),
    old("no-tlsv12", None, false),
    old("no-tlsv13", None, false),
    old("non-stick", None, true),
    old("npn", One, true),
    old("observe", One, true),
    old("on-error", One, true),
    old("on-marked-down", One, true),
    old("on-marked-up", One, true),
    since((2, 8), "pool-conn-name", One, true),
    old("pool-low-conn", One, true),
    old("pool-max-conn", One, true),
    old("pool-purge-delay", One, true),
    old("port", One, true),
    old("proto", One, true),
    old("proxy-v2-options", One, true),
    since((3, 2), "quic-cc-algo", One, false),
    old("redir", One, true),
    since((3, 2), "renegotiate", None, true),
    old("resolve-net", One, true),
    old("resolve-opts", One, true),
    old("resolve-prefer", One, true),
    old("resolvers", One, true),
    old("rise", One, true),
    old("send-proxy", None, true),
    old("send-proxy-v2", None, true),
    old("send-proxy-v2-ssl", None, true),
    old("send-proxy-v2-ssl-cn", None, true),
    since((2, 8), "set-proxy-v2-tlv-fmt", One, true),
    since((2, 6), "shard", One, true),
    since((2, 8), "sigalgs", One, true),
    old("slowstart", One, true),
    old("sni", One, true),
    since((3, 2), "sni-auto", None, true),
    old("socks4", One, true),
    old("source", Source, true),
    old("ssl", None, true),
    old("ssl-max-ver", One, true),
    old("ssl-min-ver", One, true),
    old("ssl-reuse", None, true),
    old("stick", None, true),
    since((3, 0), "strict-maxconn", None, true),
    since((3, 2), "tcp-md5sig", One, true),
    old("tcp-ut", One, true),
    old("tfo", None, true),
    old("tls-tickets", None, true),
    old("track", One, true),
    old("usesrc", InsideSource, true),
    old("verify", One, true),
    old("verifyhost", One, true),
    old("weight", One, true),
    since((2, 4), "ws", One, true),
];

/// Looks up a setting by its word.
#[must_use]
pub fn server(word: &str) -> Option<&'static ServerKeyword> {
    let name = if word.starts_with("set-proxy-v2-tlv-fmt(") { TLV } else { word };
    SERVER.iter().find(|keyword| keyword.word == name)
}

/// Returns the known word nearest to a misspelled one, within one edit for a short word and two for a longer one.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let limit = |candidate: &str| if candidate.len().min(word.len()) <= 4 { 1 } else { 2 };
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= limit(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_by_its_whole_word() {
        assert_eq!(server("backup").map(|k| k.arity), Some(None));
        assert_eq!(server("weight").map(|k| k.arity), Some(One));
        assert_eq!(server("set-proxy-v2-tlv-fmt(0x20)").map(|k| k.arity), Some(One));
        assert_eq!(server("backu"), Option::None);
        assert_eq!(server("ws").and_then(|k| k.absent_in), Some(Version::new(2, 4)));
    }

    #[test]
    fn no_setting_is_listed_twice() {
        let mut words: Vec<_> = SERVER.iter().map(|k| k.word).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), SERVER.len());
    }

    #[test]
    fn only_near_words_are_offered() {
        let words = || SERVER.iter().map(|k| k.word);
        assert_eq!(nearest("chek", words()), Some("check"));
        assert_eq!(nearest("wieght", words()), Some("weight"));
        assert_eq!(nearest("banana", words()), Option::None);
    }
}
