//! The lines that a description adds to its backend in HAProxy's own words.

use super::names::legal_name;
use super::option::source;
use super::words::{MOST, Value, words};
use crate::cfg::Version;
use crate::cfg::keywords::proxy::CHECK_OPTIONS;
use crate::cfg::keywords::{nearest, section};

/// What the rest of the description says.
#[derive(Copy, Clone)]
pub(super) struct Around {
    /// `mode = "http"`.
    pub is_http: bool,
    /// The check is an HTTP request.
    pub has_http_check: bool,
    pub version: Version,
}

/// What may stand after a keyword.
enum Rest {
    /// Another key says it.
    Key(&'static str),
    /// One value.
    One(Value),
    /// Each word is one of these.
    Each(&'static [&'static str]),
    /// One of these words, and what only HAProxy can judge.
    First(&'static [&'static str]),
    /// At least one word. Only HAProxy can judge such a line, and does when it is installed.
    Any,
    /// The same, and only mode http has it.
    AnyInHttp,
    Acl,
    HashType,
    HttpCheck,
    Log,
    Option,
    Source,
    Timeout,
}

/// A line of the backend, which neither ends the section nor adds servers.
///
/// # Errors
/// Why it cannot stand there.
pub(super) fn extra_line(text: &str, around: Around) -> Result<Vec<String>, String> {
    // Quotes do not help a first word that begins like this.
    if text.trim_start().trim_start_matches(['\'', '"']).starts_with(['.', '[']) {
        let shown = text.escape_debug();
        return Err(format!("`{shown}` is a directive or a scope; only lines of the backend stand here"));
    }
    let words = words(text, around.version)?;
    let (negated, line) = match words.as_slice() {
        [no, line @ ..] if no == "no" => (true, line),
        line => (false, line),
    };
    let [first, rest @ ..] = line else { return Err("`no` stands alone".to_owned()) };
    let shown = first.escape_debug();
    if section::naming(first.as_bytes(), Version::new(u16::MAX, 0)).is_some()
        || section::words().any(|section| section == first)
    {
        return Err(format!("`{shown}` starts a section; only lines of the backend stand here"));
    }
    match KEYWORDS.iter().find(|(keyword, _)| keyword == first) {
        Some((_, Rest::Option)) => option(rest, negated, around)?,
        _ if negated => return Err("`no` stands before `option` only".to_owned()),
        Some((_, expected)) => expected.accept(first, rest, around)?,
        None => {
            let near = nearest(first, KEYWORDS.iter().map(|(keyword, _)| *keyword));
            let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!("`{shown}` is no line that a backend is given here{hint}"));
        }
    }
    Ok(words)
}

/// The lines that a backend may be given, of those that every version from 2.2 on knows.
const KEYWORDS: &[(&str, Rest)] = &[
    ("server", Rest::Key("hosts")),
    ("server-template", Rest::Key("hosts")),
    ("default-server", Rest::Key("server_options")),
    ("mode", Rest::Key("mode")),
    ("balance", Rest::Key("balance")),
    ("cookie", Rest::Key("cookie")),
    ("option", Rest::Option),
    ("timeout", Rest::Timeout),
    ("retries", Rest::One(Value::Number(0..=MOST))),
    ("fullconn", Rest::One(Value::Number(1..=MOST))),
    ("max-keep-alive-queue", Rest::One(Value::Number(-1..=MOST))),
    ("hash-balance-factor", Rest::One(Value::Number(101..=65535))),
    ("id", Rest::One(Value::Number(1..=MOST))),
    ("http-reuse", Rest::One(Value::OneOf(&["never", "safe", "aggressive", "always"]))),
    ("load-server-state-from-file", Rest::One(Value::OneOf(&["global", "local", "none"]))),
    ("http-send-name-header", Rest::One(Value::Text)),
    ("dynamic-cookie-key", Rest::One(Value::Text)),
    ("log-tag", Rest::One(Value::Text)),
    ("server-state-file-name", Rest::One(Value::Text)),
    ("retry-on", Rest::Each(RETRIES)),
    ("hash-type", Rest::HashType),
    ("http-check", Rest::HttpCheck),
    ("log", Rest::Log),
    ("source", Rest::Source),
    ("description", Rest::Any),
    ("acl", Rest::Acl),
    ("compression", Rest::Any),
    ("email-alert", Rest::Any),
    ("errorfile", Rest::Any),
    ("errorfiles", Rest::Any),
    ("errorloc", Rest::Any),
    ("errorloc302", Rest::Any),
    ("errorloc303", Rest::Any),
    ("external-check", Rest::Any),
    ("filter", Rest::Any),
    ("force-persist", Rest::Any),
    ("ignore-persist", Rest::Any),
    ("persist", Rest::Any),
    ("stick", Rest::First(&["on", "match", "store-request", "store-response"])),
    ("stick-table", Rest::Any),
    ("tcp-check", Rest::Any),
    ("tcp-request", Rest::First(&["content", "inspect-delay"])),
    ("tcp-response", Rest::First(&["content", "inspect-delay"])),
    ("use-server", Rest::Any),
    ("http-after-response", Rest::AnyInHttp),
    ("http-error", Rest::AnyInHttp),
    ("http-request", Rest::AnyInHttp),
    ("http-response", Rest::AnyInHttp),
    ("redirect", Rest::AnyInHttp),
    ("stats", Rest::AnyInHttp),
    ("use-fcgi-app", Rest::AnyInHttp),
];

const RETRIES: &[&str] = &[
    "conn-failure",
    "empty-response",
    "junk-response",
    "response-timeout",
    "0rtt-rejected",
    "all-retryable-errors",
    "404",
    "408",
    "425",
    "500",
    "501",
    "502",
    "503",
    "504",
];

impl Rest {
    fn accept(&self, keyword: &str, rest: &[String], around: Around) -> Result<(), String> {
        let wants =
            |what: &str| Err(format!("`{keyword}` takes {what}, not `{}`", rest.join(" ").escape_debug()));
        match self {
            Self::Key(key) => return Err(format!("`{keyword}`: the key {key} says that")),
            Self::AnyInHttp if !around.is_http => {
                return Err(format!("`{keyword}` needs HTTP: write mode = \"http\" too"));
            }
            Self::One(value) => match rest {
                [only] => value.accept(keyword, only)?,
                _ => return wants("one value"),
            },
            Self::Each(known) => {
                if rest.is_empty() || !rest.iter().all(|word| known.contains(&word.as_str())) {
                    return wants(&known.join(", "));
                }
            }
            Self::Any | Self::AnyInHttp | Self::Option if rest.is_empty() => return wants("something more"),
            Self::Any | Self::AnyInHttp | Self::Option => {}
            Self::First(known) => {
                if !rest.first().is_some_and(|word| known.contains(&word.as_str())) {
                    return wants(&known.join(" or "));
                }
            }
            Self::Acl => match rest {
                [name, _, ..] => legal_name(name)?,
                _ => return wants("a name and what is matched"),
            },
            Self::HashType => hash_type(rest)?,
            Self::HttpCheck => http_check(rest, around)?,
            Self::Log => match rest {
                [only] if only == "global" => {}
                [address, _, ..] if !address.contains('$') => {}
                _ => return wants("`global`, or an address without variables and a facility"),
            },
            Self::Source => match rest {
                [address, rest @ ..] => source(keyword, address, rest)?,
                [] => return wants("an address"),
            },
            Self::Timeout => match rest {
                [which, time] if TIMEOUTS.contains(&which.as_str()) => Value::Time.accept(which, time)?,
                _ => return wants(&format!("one of {} and a time", TIMEOUTS.join(", "))),
            },
        }
        Ok(())
    }
}

/// The timeouts that a backend has; those of clients are the frontend's.
const TIMEOUTS: &[&str] = &[
    "connect",
    "server",
    "check",
    "queue",
    "tunnel",
    "http-request",
    "http-keep-alive",
    "server-fin",
    "tarpit",
];

fn hash_type(words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["consistent" | "map-based"]
        | ["consistent" | "map-based", "sdbm" | "djb2" | "crc32" | "wt6"]
        | ["consistent" | "map-based", "sdbm" | "djb2" | "crc32" | "wt6", "avalanche"] => Ok(()),
        _ => Err("`hash-type` takes consistent or map-based, then sdbm, djb2, crc32 or wt6, then avalanche"
            .to_owned()),
    }
}

/// What the key `check` has no word for. A `send` or a `connect` would make another check of it.
fn http_check(words: &[String], around: Around) -> Result<(), String> {
    if !around.has_http_check {
        return Err("`http-check` does nothing here: describe the request with check".to_owned());
    }
    let verb = words.first().map_or("", String::as_str);
    match (verb, words.len()) {
        ("expect", 3..) | ("disable-on-404" | "send-state", 1) => Ok(()),
        _ => Err("of `http-check` only `expect`, `disable-on-404` and `send-state` stand here; check says the rest"
            .to_owned()),
    }
}

/// The options that every version from 2.2 to 3.2 takes in a backend, without arguments.
const OPTIONS: &[&str] = &[
    "abortonclose",
    "allbackups",
    "http-keep-alive",
    "http-server-close",
    "httpclose",
    "independent-streams",
    "log-health-checks",
    "nolinger",
    "persist",
    "redispatch",
    "splice-auto",
    "splice-request",
    "splice-response",
    "srvtcpka",
    "tcp-smart-connect",
    "transparent",
];

/// The same, in mode http.
const HTTP_OPTIONS: &[&str] = &[
    "checkcache",
    "h1-case-adjust-bogus-server",
    "http-buffer-request",
    "http-no-delay",
    "http-pretend-keepalive",
    "prefer-last-server",
];

/// The options with arguments, which cannot be negated either.
const WITH_ARGUMENTS: &[&str] = &["forwardfor", "originalto"];

fn option(words: &[String], negated: bool, around: Around) -> Result<(), String> {
    let [option, arguments @ ..] = words else { return Err("`option` lacks its name".to_owned()) };
    let name = option.as_str();
    let shown = option.escape_debug();
    let needs_http = HTTP_OPTIONS.contains(&name) || WITH_ARGUMENTS.contains(&name);
    if needs_http && !around.is_http {
        return Err(format!("`option {shown}` needs HTTP: write mode = \"http\" too"));
    }
    if OPTIONS.contains(&name) || HTTP_OPTIONS.contains(&name) {
        let all_read = arguments.is_empty() || name == "redispatch" && !negated && arguments.len() == 1;
        if !all_read {
            return Err(format!("`option {shown}` takes nothing more"));
        }
        return arguments
            .first()
            .map_or(Ok(()), |interval| Value::Number(-MOST..=MOST).accept(name, interval));
    }
    if WITH_ARGUMENTS.contains(&name) && !negated {
        return forwarded(name, arguments);
    }
    if CHECK_OPTIONS.contains(&name) && name != "httpchk" && !negated && !around.has_http_check {
        // Their arguments are a protocol's each: HAProxy judges them.
        return Ok(());
    }
    if CHECK_OPTIONS.contains(&name) {
        return Err(format!("`option {shown}`: the key check says how servers are checked"));
    }
    let near = nearest(name, OPTIONS.iter().chain(HTTP_OPTIONS).chain(WITH_ARGUMENTS).copied());
    let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    Err(format!("`option {shown}` is no option that a backend is given here{hint}"))
}

/// `[except NETWORK] [header NAME] [if-none]`; `if-none` is `forwardfor`'s alone.
fn forwarded(option: &str, mut words: &[String]) -> Result<(), String> {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    loop {
        words = match words {
            [] => return Ok(()),
            [word, rest @ ..] if word == "if-none" && option == "forwardfor" => rest,
            [word, name, rest @ ..] if word == "header" && is_name(name) => rest,
            [word, network, rest @ ..]
                if word == "except" && Value::Networks.accept(word, network).is_ok() =>
            {
                rest
            }
            [word, ..] => {
                let word = word.escape_debug();
                return Err(format!(
                    "`option {option}` takes `except NETWORK` and `header NAME`; see `{word}`"
                ));
            }
        };
    }
}

#[cfg(test)]
mod tests;
