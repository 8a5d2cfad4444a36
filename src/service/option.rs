//! The `server_options` of a description. Each must be complete, or it would swallow the word after it.

use super::words::{MOST, Value, words};
use crate::cfg::{Version, keywords};
use keywords::Arity;

/// The rule for an option of a server.
enum Setting {
    /// Not allowed, for the given reason: another key sets it, or it cannot be the same for every server.
    Elsewhere(&'static str),
    /// Takes a value of this kind.
    Takes(Value),
    /// Takes a value of this kind, in HTTP mode only.
    TakesInHttp(Value),
}

/// Returns the options of all servers, word by word.
///
/// # Errors
/// Reports the first option that HAProxy would refuse or misread.
pub(super) fn options(texts: &[String], is_http: bool, version: Version) -> Result<Vec<String>, String> {
    let mut all: Vec<Vec<String>> = Vec::new();
    for text in texts {
        all.push(option(text, is_http, version)?);
    }
    let has = |word: &str| all.iter().any(|option| option[0] == word);
    let is_verified = !all.iter().any(|option| option.iter().eq(["verify", "none"]));
    if (has("ssl") || has("check-ssl")) && is_verified && !has("ca-file") {
        return Err(
            "HAProxy refuses `ssl` without `ca-file FILE` or `verify none`: add one of them".to_owned()
        );
    }
    if has("agent-check") && !has("agent-port") {
        return Err("`agent-check` needs `agent-port PORT`".to_owned());
    }
    Ok(all.concat())
}

/// Returns the words of one option.
fn option(text: &str, is_http: bool, version: Version) -> Result<Vec<String>, String> {
    let words = words(text, version)?;
    let [word, values @ ..] = words.as_slice() else { return Err("an option is empty".to_owned()) };
    let Some(keyword) = keywords::server(word) else {
        let nearest = keywords::nearest(word, keywords::SERVER.iter().map(|keyword| keyword.word));
        let hint = nearest.map_or(String::new(), |nearest| format!("; did you mean `{nearest}`?"));
        return Err(format!("unknown server option `{}`{hint}", word.escape_debug()));
    };
    match (setting(keyword.word), keyword.arity, values) {
        (Setting::Elsewhere(why), ..) => return Err(format!("`{word}`: {why}")),
        (Setting::TakesInHttp(_), ..) if !is_http => {
            return Err(format!("`{word}` needs HTTP: also set mode = \"http\""));
        }
        (_, Arity::None, []) => {}
        (_, Arity::None, [extra, ..]) => {
            return Err(format!(
                "`{word}` takes no value: write `{}` as a separate option",
                extra.escape_debug()
            ));
        }
        (_, Arity::Source, [address, rest @ ..]) => source(word, address, rest)?,
        (Setting::Takes(takes) | Setting::TakesInHttp(takes), Arity::One, [value]) => {
            takes.accept(word, value)?;
        }
        (_, Arity::InsideSource, _) => {
            return Err(format!("`{word}` is only allowed after `source ADDRESS`"));
        }
        (_, Arity::One | Arity::Source, _) => return Err(format!("`{word}` takes one value")),
    }
    if word == "observe" && values == ["layer7"] && !is_http {
        return Err("`observe layer7` needs HTTP: also set mode = \"http\"".to_owned());
    }
    Ok(words)
}

/// Checks `source ADDRESS[:PORT] [interface NAME] [usesrc client|clientip]`.
pub(super) fn source(word: &str, address: &str, mut rest: &[String]) -> Result<(), String> {
    Value::IpPort.accept(word, address)?;
    while let [key, value, tail @ ..] = rest {
        match key.as_str() {
            "interface" => {}
            "usesrc" => Value::OneOf(&["client", "clientip"]).accept(key, value)?,
            _ => return Err(format!("`{word}` does not support `{}`", key.escape_debug())),
        }
        rest = tail;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(format!("`{word}`: `{}` needs a value", rest[0].escape_debug()))
    }
}

const TLS: &[&str] = &["SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// Returns the rule for an option.
fn setting(word: &str) -> Setting {
    use Setting::{Elsewhere, Takes, TakesInHttp};
    use Value::{Ip, IpPort, Networks, Number, OneOf, Socket, SomeOf, Text, Time};
    match word {
        "backup" | "no-backup" => Elsewhere("use the key backup_port"),
        "check" | "no-check" => Elsewhere("use the key check"),
        "cookie" => Elsewhere("the key cookie gives every server its own cookie"),
        "disabled" | "enabled" => Elsewhere("use `drainswap maint` and `drainswap ready` while HAProxy runs"),
        "id" | "guid" => Elsewhere("the value would be the same for every server"),
        "track" => Elsewhere("HAProxy does not check a server that tracks another one"),
        "check-proto" => Elsewhere("HAProxy derives it from the check and from proto"),
        "namespace" => Elsewhere("network namespaces differ between hosts"),
        "inter" | "fastinter" | "downinter" | "agent-inter" | "slowstart" | "tcp-ut" | "pool-purge-delay"
        | "idle-ping" => Takes(Time),
        "weight" => Takes(Number(0..=256)),
        "rise" | "fall" | "error-limit" => Takes(Number(1..=MOST)),
        "port" | "agent-port" => Takes(Number(1..=65535)),
        "maxconn" | "minconn" | "maxqueue" | "shard" => Takes(Number(0..=MOST)),
        "max-reuse" | "pool-max-conn" | "pool-low-conn" => Takes(Number(-1..=MOST)),
        "log-bufsize" => Takes(Number(1024..=MOST)),
        "observe" => Takes(OneOf(&["layer4", "layer7"])),
        "on-error" => Takes(OneOf(&["fastinter", "fail-check", "sudden-death", "mark-down"])),
        "on-marked-down" => Takes(OneOf(&["shutdown-sessions"])),
        "on-marked-up" => Takes(OneOf(&["shutdown-backup-sessions"])),
        "init-state" => Takes(OneOf(&["up", "down", "fully-up", "fully-down"])),
        "init-addr" => Takes(SomeOf(&["last", "libc", "none"])),
        "resolve-net" => Takes(Networks),
        "hash-key" => Takes(OneOf(&["id", "addr", "addr-port"])),
        "resolve-prefer" => Takes(OneOf(&["ipv4", "ipv6"])),
        "resolve-opts" => Takes(SomeOf(&["allow-dup-ip", "ignore-weight", "prevent-dup-ip"])),
        "verify" => Takes(OneOf(&["none", "required"])),
        "ssl-min-ver" | "ssl-max-ver" => Takes(OneOf(TLS)),
        "proto" => TakesInHttp(OneOf(&["h2"])),
        "redir" => TakesInHttp(Text),
        "ws" => Takes(OneOf(&["auto", "h1", "h2"])),
        "log-proto" => Takes(OneOf(&["legacy", "octet-count"])),
        "proxy-v2-options" => Takes(SomeOf(&[
            "ssl",
            "cert-cn",
            "ssl-cipher",
            "cert-sig",
            "cert-key",
            "authority",
            "crc32c",
            "unique-id",
        ])),
        "agent-addr" => Takes(Ip),
        "addr" => Takes(IpPort),
        "socks4" => Takes(Socket),
        _ => Takes(Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<String, String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        options(&texts, true, Version::new(3, 2)).map(|words| words.join(" "))
    }

    #[test]
    fn every_option_is_complete() {
        assert_eq!(read(&["inter 2s", "weight 7", "send-proxy"]).unwrap(), "inter 2s weight 7 send-proxy");
        assert_eq!(read(&["ssl", "verify none", "sni str(x)"]).unwrap(), "ssl verify none sni str(x)");
        assert_eq!(read(&["source 10.0.0.9 interface eth0"]).unwrap(), "source 10.0.0.9 interface eth0");
        for (text, reason) in [
            ("init-addr", "takes one value"),
            ("weight", "takes one value"),
            ("weight 1 2", "takes one value"),
            ("tfo backup", "takes no value"),
            ("inter 2s backup", "takes one value"),
            ("backup", "backup_port"),
            ("no-check", "the key check"),
            ("cookie x", "its own cookie"),
            ("source $HOME", "expected an address"),
            ("source '$HOME'", "expected an address"),
            ("source 10.0.0.9 interface", "needs a value"),
            ("source", "takes one value"),
            ("usesrc client", "after `source"),
            ("ssl", "`verify none`"),
            ("check-ssl", "`verify none`"),
            ("agent-check", "agent-port"),
            ("weight 12abc", "a number from 0 to 256"),
            ("wieght 1", "did you mean `weight`"),
        ] {
            let error = read(&[text]).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn options_that_need_http_are_refused_without_it() {
        for text in ["proto h2", "redir /x", "observe layer7"] {
            assert!(options(&[text.to_owned()], true, Version::new(2, 6)).is_ok(), "{text}");
            assert!(options(&[text.to_owned()], false, Version::new(2, 6)).is_err(), "{text}");
        }
    }
}
