//! Words in HAProxy's syntax within a description, and the values in them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use crate::cfg::{Environment, SourceFile, Version, read, time};

/// Splits a text into words as HAProxy does, with quotes and escapes; refuses variables.
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
        return Err(format!("`{shown}` contains a comment: quote a literal `#`"));
    };
    let words: Vec<String> = line.words().map(|word| word.text().into_owned()).collect();
    // Each variable consumes a `$`. Only the running HAProxy knows its value.
    let dollars = |text: &str| text.matches('$').count();
    if words.iter().map(|word| dollars(word)).sum::<usize>() != dollars(text) + text.matches("\\x24").count()
    {
        return Err(format!("`{shown}` contains a variable: put a literal `$` in single quotes"));
    }
    if words.is_empty() || words.iter().any(String::is_empty) {
        return Err(format!("`{shown}` is empty or contains an empty word"));
    }
    Ok(words)
}

/// The kind of value that an option takes.
pub(super) enum Value {
    /// A number. HAProxy itself would read `12abc` as 12.
    Number(RangeInclusive<i64>),
    /// A time longer than 0.
    Time,
    OneOf(&'static [&'static str]),
    /// Some of these words, separated by commas.
    SomeOf(&'static [&'static str]),
    /// An IP address. HAProxy expands variables in it even in single quotes.
    Ip,
    /// An IP address with or without a port.
    IpPort,
    /// An IP address with a port.
    Socket,
    /// IPv4 networks separated by commas: `10.0.0.0/8`.
    Networks,
    /// A text, a file or an expression that only HAProxy can validate.
    Text,
}

/// The largest number that HAProxy accepts for every option.
pub(super) const MOST: i64 = i32::MAX as i64;

impl Value {
    /// Checks a value.
    ///
    /// # Errors
    /// Names the expected value.
    pub(super) fn accept(&self, word: &str, value: &str) -> Result<(), String> {
        let shown = value.escape_debug();
        let invalid = |what: &str| Err(format!("invalid `{word} {shown}`: expected {what}"));
        match self {
            Self::Number(range) => {
                let plain =
                    value.strip_prefix('-').unwrap_or(value).bytes().all(|byte| byte.is_ascii_digit());
                match value.parse::<i64>() {
                    Ok(number) if plain && range.contains(&number) => Ok(()),
                    _ => invalid(&format!("a number from {} to {}", range.start(), range.end())),
                }
            }
            Self::Time => match time::parse(value) {
                Ok(time) if time.is_zero() => invalid("a time longer than 0"),
                Ok(_) => Ok(()),
                Err(error) => Err(format!("invalid `{word} {shown}`: {error}")),
            },
            Self::OneOf(known) if known.contains(&value) => Ok(()),
            Self::OneOf(known) => invalid(&known.join(" or ")),
            Self::SomeOf(known) if value.split(',').all(|part| known.contains(&part)) => Ok(()),
            Self::SomeOf(known) => invalid(&format!("{} separated by commas", known.join(", "))),
            Self::Ip if is_ip(value) => Ok(()),
            Self::IpPort if is_ip(value) || is_socket(value) => Ok(()),
            Self::Socket if is_socket(value) => Ok(()),
            Self::Networks if value.split(',').all(is_network) => Ok(()),
            Self::Networks => invalid("a network such as 10.0.0.0/8"),
            Self::Ip | Self::IpPort => invalid("an address such as 10.0.0.1 or [2001:db8::1]"),
            Self::Socket => invalid("an address with a port such as 10.0.0.1:1080 or [2001:db8::1]:1080"),
            Self::Text => Ok(()),
        }
    }
}

/// Returns whether a text is an IP address. HAProxy reads the last group of an IPv6 address without brackets as a port.
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
    fn texts_are_split_as_in_haproxy_and_contain_no_variables() {
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
    fn values_are_validated_as_in_haproxy() {
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
