//! Words that a description gives in HAProxy's own writing, and the values that stand in them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use crate::cfg::{Environment, SourceFile, Version, read, time};

/// The words of a text that `HAProxy` would split; quotes and escapes count, variables are refused.
pub(super) fn words(text: &str, version: Version) -> Result<Vec<String>, String> {
    let shown = text.escape_debug();
    if text.contains(['\n', '\r', '\0']) {
        return Err(format!("`{shown}` is more than one line"));
    }
    let file = SourceFile { path: "line".into(), bytes: format!("{text}\n").into_bytes() };
    let document = read(vec![file], &Environment::new(BTreeMap::new(), version));
    if let Some(problem) = document.problems.first() {
        return Err(format!("`{shown}`: {}", problem.message));
    }
    let line = document.files.first().and_then(|file| file.line(1));
    let Some(line) = line.filter(|line| line.comment().is_none()) else {
        return Err(format!("`{shown}` holds a comment; quote `#` if it is meant"));
    };
    let words: Vec<String> = line.words().map(|word| word.text().into_owned()).collect();
    // Each variable takes a `$` with it. What it stands for is known to the HAProxy that runs, and not here.
    let dollars = |text: &str| text.matches('$').count();
    if words.iter().map(|word| dollars(word)).sum::<usize>() != dollars(text) + text.matches("\\x24").count()
    {
        return Err(format!("`{shown}` holds a variable; in single quotes `$` is only a letter"));
    }
    if words.is_empty() || words.iter().any(String::is_empty) {
        return Err(format!("`{shown}` is empty, or holds an empty word"));
    }
    Ok(words)
}

/// What a setting takes as its value.
pub(super) enum Value {
    /// A number; HAProxy itself takes `12abc` for 12.
    Number(RangeInclusive<i64>),
    /// A time longer than nothing.
    Time,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Some of these words, with commas between.
    SomeOf(&'static [&'static str]),
    /// An address; HAProxy expands variables in it however they are quoted.
    Ip,
    /// The same, with a port or without.
    IpPort,
    /// The same, with a port.
    Socket,
    /// Networks of version 4, with commas between: `10.0.0.0/8`.
    Networks,
    /// A text, a file or an expression, of which only HAProxy knows whether it is one.
    Text,
}

/// The largest number that HAProxy counts with everywhere.
pub(super) const MOST: i64 = i32::MAX as i64;

impl Value {
    /// # Errors
    /// What would be taken instead.
    pub(super) fn accept(&self, word: &str, value: &str) -> Result<(), String> {
        let shown = value.escape_debug();
        let takes = |what: &str| Err(format!("`{word}` takes {what}, not `{shown}`"));
        match self {
            Self::Number(range) => {
                let plain =
                    value.strip_prefix('-').unwrap_or(value).bytes().all(|byte| byte.is_ascii_digit());
                match value.parse::<i64>() {
                    Ok(number) if plain && range.contains(&number) => Ok(()),
                    _ => takes(&format!("a number from {} to {}", range.start(), range.end())),
                }
            }
            Self::Time => match time::parse(value) {
                Ok(time) if time.is_zero() => takes("a time longer than 0"),
                Ok(_) => Ok(()),
                Err(error) => Err(format!("`{word} {shown}`: {error}")),
            },
            Self::OneOf(known) if known.contains(&value) => Ok(()),
            Self::OneOf(known) => takes(&known.join(" or ")),
            Self::SomeOf(known) if value.split(',').all(|part| known.contains(&part)) => Ok(()),
            Self::SomeOf(known) => takes(&format!("{} with commas between", known.join(", "))),
            Self::Ip if is_ip(value) => Ok(()),
            Self::IpPort if is_ip(value) || is_socket(value) => Ok(()),
            Self::Socket if is_socket(value) => Ok(()),
            Self::Networks if value.split(',').all(is_network) => Ok(()),
            Self::Networks => takes("a network such as 10.0.0.0/8"),
            Self::Ip | Self::IpPort => takes("an address such as 10.0.0.1 or [2001:db8::1]"),
            Self::Socket => takes("an address with a port such as 10.0.0.1:1080 or [2001:db8::1]:1080"),
            Self::Text => Ok(()),
        }
    }
}

/// HAProxy takes the last group of a version 6 address for a port, unless brackets keep it from that.
fn is_ip(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => inside.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()),
        None => text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()),
    }
}

fn is_socket(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok_and(|socket| socket.port() > 0) && !text.contains('%')
}

fn is_network(text: &str) -> bool {
    let (ip, bits) = text.split_once('/').unwrap_or((text, "32"));
    ip.parse::<Ipv4Addr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_split_as_haproxy_does_and_hold_no_variables() {
        let split = |text: &str| words(text, Version::new(2, 6));
        assert_eq!(split(r#"a 'b c' "d\"e" f\ g"#).unwrap(), ["a", "b c", "d\"e", "f g"]);
        assert_eq!(split(r#"path_reg '^/a$' "it's""#).unwrap(), ["path_reg", "^/a$", "it's"]);
        for (text, reason) in [
            ("\"$HOME\"", "a variable"),
            ("a \"${X-$}\"", "a variable"),
            ("\"\\x24$HOME\"", "a variable"),
            ("a # b", "a comment"),
            ("a#b", "a comment"),
            ("a \"\" b", "an empty word"),
            ("  ", "is empty"),
            ("a\nserver b 1.2.3.4:5", "more than one line"),
            ("'a", "quote"),
        ] {
            let error = split(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn values_are_what_haproxy_takes_them_for() {
        for (value, well, badly) in [
            (
                Value::Number(-1..=256),
                vec!["0", "-1", "256"],
                vec!["", "-2", "257", "+1", "1x", " 1", "99999999999999999999"],
            ),
            (Value::Time, vec!["1", "2s", "24d"], vec!["0", "", "x", "-1", "25d", "1.5s"]),
            (Value::OneOf(&["a", "b"]), vec!["a"], vec!["", "A", "a,b"]),
            (Value::SomeOf(&["a", "b"]), vec!["a", "b,a"], vec!["", "a,", "c"]),
            (Value::Ip, vec!["10.0.0.1", "[::1]"], vec!["", "::1", "[10.0.0.1]", "10.0.0.1:5", "$X", "x"]),
            (Value::IpPort, vec!["10.0.0.1", "[::1]:5"], vec!["10.0.0.1:0", "::1", "$X:5"]),
            (Value::Socket, vec!["10.0.0.1:5"], vec!["10.0.0.1", "x:5", "[fe80::1%1]:5"]),
            (
                Value::Networks,
                vec!["10.0.0.0/8", "10.0.0.1,10.0.0.2/32"],
                vec!["", "x", "10.0.0.0/33", "10.0.0.1,"],
            ),
        ] {
            for text in well {
                assert_eq!(value.accept("word", text), Ok(()), "{text}");
            }
            for text in badly {
                assert!(value.accept("word", text).is_err(), "{text}");
            }
        }
    }
}
