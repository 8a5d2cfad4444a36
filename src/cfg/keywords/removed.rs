//! The lines of `global` and of proxies that a version of `HAProxy` no longer has.

use std::borrow::Cow;

use super::super::code;
use super::super::diagnostic::Finding;
use super::super::version::Version;

/// The words that such a line begins with, or consists of.
enum Words {
    Begins(&'static [&'static str]),
    Is(&'static [&'static str]),
}

/// Each with the first branch that lacks it, and with what takes its place.
const REMOVED: &[(Words, Version, &str)] = &[
    (
        Words::Is(&["master-worker"]),
        Version::new(3, 5),
        "start HAProxy with `-W`, or with `-Ws` below systemd, and remove the line",
    ),
    (
        Words::Begins(&["dispatch"]),
        Version::new(3, 5),
        "a `server` line with the same address does the same, since 2.2",
    ),
    (
        Words::Begins(&["option", "transparent"]),
        Version::new(3, 5),
        "`server NAME 0.0.0.0` does the same, since 2.2",
    ),
    (Words::Begins(&["filter", "opentracing"]), Version::new(3, 5), "remove the line"),
];

/// What is wrong with a line that this version no longer has.
pub fn removed(words: &[Cow<'_, str>], version: Version) -> Option<Finding> {
    let is_it = |line: &Words| match line {
        Words::Begins(start) => words.len() >= start.len() && words.iter().zip(*start).all(|(a, b)| a == b),
        Words::Is(whole) => words == *whole,
    };
    let (line, since, help) = REMOVED.iter().find(|(line, since, _)| version >= *since && is_it(line))?;
    let (Words::Begins(named) | Words::Is(named)) = line;
    let message = format!("HAProxy has no `{}` from {since} on", named.join(" "));
    Some(Finding::error(code::REMOVED_KEYWORD, message).label("removed").help(*help))
}
