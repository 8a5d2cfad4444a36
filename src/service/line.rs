//! The `extra_lines` of a description: lines of the backend in HAProxy's syntax.

use super::names::legal_name;
use super::option::source;
use super::words::{MOST, Value, words};
use crate::cfg::Version;
use crate::cfg::keywords::proxy::CHECK_OPTIONS;
use crate::cfg::keywords::{nearest, section};

/// The parts of a description that decide whether a line is valid.
#[derive(Copy, Clone)]
pub(super) struct BackendContext {
    /// Whether the description sets `mode = "http"`.
    pub is_http: bool,
    /// Whether the check is an HTTP request.
    pub has_http_check: bool,
    pub version: Version,
}

/// The syntax after a keyword.
enum ArgumentRule {
    /// Nothing: another key of the description replaces the keyword.
    Key(&'static str),
    /// One value.
    One(Value),
    /// One or more of these words.
    Each(&'static [&'static str]),
    /// One of these words, and then words that only HAProxy can validate.
    First(&'static [&'static str]),
    /// One or more words that only HAProxy can validate, which it does when the file is installed.
    Any,
    /// Like `Any`, but in HTTP mode only.
    AnyInHttp,
    Acl,
    HashType,
    HttpCheck,
    Log,
    Option,
    Source,
    Timeout,
}

/// Returns the words of an additional line, which must neither end the section nor add servers.
///
/// # Errors
/// Reports why the line is not allowed.
pub(super) fn extra_line(text: &str, around: BackendContext) -> Result<Vec<String>, String> {
    // HAProxy reads such a first word as a directive or a scope even in quotes.
    if text.trim_start().trim_start_matches(['\'', '"']).starts_with(['.', '[']) {
        let shown = text.escape_debug();
        return Err(format!("invalid line `{shown}`: directives and scopes are not allowed in a backend"));
    }
    let words = words(text, around.version)?;
    let (negated, line) = match words.as_slice() {
        [no, line @ ..] if no == "no" => (true, line),
        line => (false, line),
    };
    let [first, rest @ ..] = line else {
        return Err("incomplete line `no`: expected `no option NAME`".to_owned());
    };
    let shown = first.escape_debug();
    if section::naming(first.as_bytes(), Version::new(u16::MAX, 0)).is_some()
        || section::words().any(|section| section == first)
    {
        return Err(format!("invalid line: `{shown}` starts a section, expected a line of the backend"));
    }
    match KEYWORDS.iter().find(|(keyword, _)| keyword == first) {
        Some((_, ArgumentRule::Option)) => option(rest, negated, around)?,
        _ if negated => return Err("`no` is only allowed before `option`".to_owned()),
        Some((_, expected)) => expected.accept(first, rest, around)?,
        None => {
            let near = nearest(first, KEYWORDS.iter().map(|(keyword, _)| *keyword));
            let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!("unsupported keyword `{shown}`{hint}"));
        }
    }
    Ok(words)
}

/// The supported keywords, all of which HAProxy has known since version 2.2.
const KEYWORDS: &[(&str, ArgumentRule)] = &[
    ("server", ArgumentRule::Key("hosts")),
    ("server-template", ArgumentRule::Key("hosts")),
    ("default-server", ArgumentRule::Key("server_options")),
    ("mode", ArgumentRule::Key("mode")),
    ("balance", ArgumentRule::Key("balance")),
    ("cookie", ArgumentRule::Key("cookie")),
    ("option", ArgumentRule::Option),
    ("timeout", ArgumentRule::Timeout),
    ("retries", ArgumentRule::One(Value::Number(0..=MOST))),
    ("fullconn", ArgumentRule::One(Value::Number(1..=MOST))),
    ("max-keep-alive-queue", ArgumentRule::One(Value::Number(-1..=MOST))),
    ("hash-balance-factor", ArgumentRule::One(Value::Number(101..=65535))),
    ("id", ArgumentRule::One(Value::Number(1..=MOST))),
    ("http-reuse", ArgumentRule::One(Value::OneOf(&["never", "safe", "aggressive", "always"]))),
    ("load-server-state-from-file", ArgumentRule::One(Value::OneOf(&["global", "local", "none"]))),
    ("http-send-name-header", ArgumentRule::One(Value::Text)),
    ("dynamic-cookie-key", ArgumentRule::One(Value::Text)),
    ("log-tag", ArgumentRule::One(Value::Text)),
    ("server-state-file-name", ArgumentRule::One(Value::Text)),
    ("retry-on", ArgumentRule::Each(RETRIES)),
    ("hash-type", ArgumentRule::HashType),
    ("http-check", ArgumentRule::HttpCheck),
    ("log", ArgumentRule::Log),
    ("source", ArgumentRule::Source),
    ("description", ArgumentRule::Any),
    ("acl", ArgumentRule::Acl),
    ("compression", ArgumentRule::Any),
    ("email-alert", ArgumentRule::Any),
    ("errorfile", ArgumentRule::Any),
    ("errorfiles", ArgumentRule::Any),
    ("errorloc", ArgumentRule::Any),
    ("errorloc302", ArgumentRule::Any),
    ("errorloc303", ArgumentRule::Any),
    ("external-check", ArgumentRule::Any),
    ("filter", ArgumentRule::Any),
    ("force-persist", ArgumentRule::Any),
    ("ignore-persist", ArgumentRule::Any),
    ("persist", ArgumentRule::Any),
    ("stick", ArgumentRule::First(&["on", "match", "store-request", "store-response"])),
    ("stick-table", ArgumentRule::Any),
    ("tcp-check", ArgumentRule::Any),
    ("tcp-request", ArgumentRule::First(&["content", "inspect-delay"])),
    ("tcp-response", ArgumentRule::First(&["content", "inspect-delay"])),
    ("use-server", ArgumentRule::Any),
    ("http-after-response", ArgumentRule::AnyInHttp),
    ("http-error", ArgumentRule::AnyInHttp),
    ("http-request", ArgumentRule::AnyInHttp),
    ("http-response", ArgumentRule::AnyInHttp),
    ("redirect", ArgumentRule::AnyInHttp),
    ("stats", ArgumentRule::AnyInHttp),
    ("use-fcgi-app", ArgumentRule::AnyInHttp),
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

impl ArgumentRule {
    fn accept(&self, keyword: &str, rest: &[String], around: BackendContext) -> Result<(), String> {
        let wants = |what: &str| {
            let line = format!("{keyword} {}", rest.join(" ").escape_debug());
            Err(format!("invalid `{}`: expected {what}", line.trim_end()))
        };
        match self {
            Self::Key(key) => return Err(format!("`{keyword}` is not allowed here: use the key {key}")),
            Self::AnyInHttp if !around.is_http => {
                return Err(format!("`{keyword}` needs HTTP: also set mode = \"http\""));
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
            Self::Any | Self::AnyInHttp | Self::Option if rest.is_empty() => {
                return wants("at least one argument");
            }
            Self::Any | Self::AnyInHttp | Self::Option => {}
            Self::First(known) => {
                if !rest.first().is_some_and(|word| known.contains(&word.as_str())) {
                    return wants(&known.join(" or "));
                }
            }
            Self::Acl => match rest {
                [name, _, ..] => legal_name(name)?,
                _ => return wants("a name and a criterion"),
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

/// The timeouts of a backend; client timeouts belong to a frontend.
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

/// Accepts the `http-check` rules that the key `check` cannot express. A `send` or a `connect` would change the check.
fn http_check(words: &[String], around: BackendContext) -> Result<(), String> {
    if !around.has_http_check {
        return Err(
            "`http-check` has no effect without an HTTP check: describe the request with the key check"
                .to_owned(),
        );
    }
    let verb = words.first().map_or("", String::as_str);
    match (verb, words.len()) {
        ("expect", 3..) | ("disable-on-404" | "send-state", 1) => Ok(()),
        _ => Err("only `http-check expect`, `disable-on-404` and `send-state` are allowed here: \
                  use the key check for the request"
            .to_owned()),
    }
}

/// The options without arguments that every version from 2.2 to 3.2 accepts in a backend.
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

/// Further options without arguments, for HTTP mode only.
const HTTP_OPTIONS: &[&str] = &[
    "checkcache",
    "h1-case-adjust-bogus-server",
    "http-buffer-request",
    "http-no-delay",
    "http-pretend-keepalive",
    "prefer-last-server",
];

/// The options with arguments, which cannot be negated.
const WITH_ARGUMENTS: &[&str] = &["forwardfor", "originalto"];

fn option(words: &[String], negated: bool, around: BackendContext) -> Result<(), String> {
    let [option, arguments @ ..] = words else { return Err("`option` needs a name".to_owned()) };
    let name = option.as_str();
    let shown = option.escape_debug();
    let needs_http = HTTP_OPTIONS.contains(&name) || WITH_ARGUMENTS.contains(&name);
    if needs_http && !around.is_http {
        return Err(format!("`option {shown}` needs HTTP: also set mode = \"http\""));
    }
    if OPTIONS.contains(&name) || HTTP_OPTIONS.contains(&name) {
        let all_read = arguments.is_empty() || name == "redispatch" && !negated && arguments.len() == 1;
        if !all_read {
            return Err(format!("`option {shown}` takes no further arguments"));
        }
        return arguments
            .first()
            .map_or(Ok(()), |interval| Value::Number(-MOST..=MOST).accept(name, interval));
    }
    if WITH_ARGUMENTS.contains(&name) && !negated {
        return forwarded(name, arguments);
    }
    if CHECK_OPTIONS.contains(&name) && name != "httpchk" && !negated && !around.has_http_check {
        // The arguments depend on the protocol: HAProxy validates them.
        return Ok(());
    }
    if CHECK_OPTIONS.contains(&name) {
        return Err(format!("`option {shown}` is not allowed here: use the key check"));
    }
    let near = nearest(name, OPTIONS.iter().chain(HTTP_OPTIONS).chain(WITH_ARGUMENTS).copied());
    let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    Err(format!("unsupported option `{shown}`{hint}"))
}

/// Checks `[except NETWORK] [header NAME] [if-none]`; only `forwardfor` has `if-none`.
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
                    "invalid `{word}` after `option {option}`: expected `except NETWORK` or `header NAME`"
                ));
            }
        };
    }
}

#[cfg(test)]
mod tests;
