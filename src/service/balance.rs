//! The `balance` key with its arguments.

use super::words::{MOST, Value, words};
use crate::cfg::{Version, keywords::nearest};

/// The algorithms that need no arguments.
const PLAIN: &[&str] = &["roundrobin", "static-rr", "leastconn", "first", "source", "random", "rdp-cookie"];

/// The algorithms that need arguments.
const WITH_ARGUMENTS: &[&str] = &["uri", "url_param", "hdr", "hash"];

/// The first branch of HAProxy with `balance hash`.
const HASH_SINCE: Version = Version::new(2, 6);

/// Returns the words after `balance`.
///
/// # Errors
/// Reports arguments that HAProxy would refuse or misread.
pub(super) fn balance(text: &str, is_http: bool, version: Version) -> Result<Vec<String>, String> {
    let words = words(text, version)?;
    let [way, rest @ ..] = words.as_slice() else { return Err("expected a balance algorithm".to_owned()) };
    let (name, argument) =
        match way.split_once('(') {
            Some((name, inside)) => {
                let closed = inside.strip_suffix(')').filter(|inside| !inside.is_empty());
                (
                    name,
                    Some(closed.ok_or_else(|| {
                        format!("`{}` has an empty or unclosed argument", way.escape_debug())
                    })?),
                )
            }
            None => (way.as_str(), None),
        };
    match (name, argument, rest) {
        (name, None, []) if PLAIN.contains(&name) => {}
        ("random", Some(draws), []) => Value::Number(1..=MOST).accept(name, draws)?,
        ("rdp-cookie", Some(cookie), []) => token(name, cookie)?,
        ("uri" | "url_param" | "hdr", ..) if !is_http => {
            return Err(format!("`{name}` needs HTTP: also set mode = \"http\""));
        }
        ("uri", None, arguments) => uri(arguments)?,
        ("url_param", None, [parameter]) => token(name, parameter)?,
        ("hdr", Some(header), []) => token(name, header)?,
        ("hdr", Some(header), [only]) if only == "use_domain_only" => token(name, header)?,
        // Only HAProxy can validate the expression to hash.
        ("hash", None, [_]) if version >= HASH_SINCE => {}
        (name, ..) => {
            let known = || PLAIN.iter().chain(WITH_ARGUMENTS).copied();
            if known().any(|known| known == name) {
                return Err(format!("HAProxy {version} does not support `balance {}`", text.escape_debug()));
            }
            let hint =
                nearest(name, known()).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!("unknown balance algorithm `{}`{hint}", name.escape_debug()));
        }
    }
    Ok(words)
}

fn uri(arguments: &[String]) -> Result<(), String> {
    let mut rest = arguments;
    loop {
        rest = match rest {
            [] => return Ok(()),
            [word, tail @ ..] if word == "whole" => tail,
            [word, number, tail @ ..] if word == "len" || word == "depth" => {
                Value::Number(1..=MOST).accept(word, number)?;
                tail
            }
            [word, ..] => {
                let word = word.escape_debug();
                return Err(format!(
                    "invalid `{word}` after `uri`: expected `len NUMBER`, `depth NUMBER` or `whole`"
                ));
            }
        };
    }
}

fn token(way: &str, text: &str) -> Result<(), String> {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        return Ok(());
    }
    Err(format!("invalid `{way} {}`: expected a name", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_algorithms_are_accepted() {
        let read = |text: &str| balance(text, true, Version::new(3, 0));
        for text in [
            "roundrobin",
            "random",
            "random(2)",
            "uri",
            "uri len 4 depth 2 whole",
            "url_param id",
            "hdr(X-User)",
            "hdr(host) use_domain_only",
            "rdp-cookie(x)",
            "hash src",
        ] {
            assert_eq!(read(text).unwrap().join(" "), text);
        }
        for text in [
            "",
            "rondrobin",
            "roundrobin x",
            "random(0)",
            "random(x)",
            "random(2",
            "uri len",
            "uri foo",
            "url_param",
            "url_param a b",
            "hdr",
            "hdr()",
            "hdr(x) y",
            "hash",
            "log-hash x",
            "sticky",
            "source $x",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(balance("hash src", true, Version::new(2, 2)).is_err());
        assert!(balance("hdr(x)", false, Version::new(3, 0)).unwrap_err().contains("mode = \"http\""));
    }
}
