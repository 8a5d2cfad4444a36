//! Lines of `global` and of proxies that a version of `HAProxy` has removed.

use std::borrow::Cow;

use super::super::code;
use super::super::diagnostic::Diagnostic;
use super::super::version::Version;

/// The words that a removed line begins with, or consists of.
enum Words {
    Begins(&'static [&'static str]),
    Is(&'static [&'static str]),
}

/// The removed lines, each with the first branch that lacks it and with the replacement.
const REMOVED: &[(Words, Version, &str)] = &[
    (
        Words::Is(&["master-worker"]),
        Version::new(3, 5),
        "start HAProxy with `-W`, or with `-Ws` under systemd, and remove the line",
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

/// The old names of QUIC settings, which 3.5 removed, and the new names, as the warnings of `HAProxy` 3.4
/// give them.
const RENAMED: &[(&str, &str)] = &[
    ("tune.quic.cc-hystart", "tune.quic.fe.cc.hystart"),
    ("tune.quic.cc.cubic.min-losses", "tune.quic.fe.cc.cubic-min-losses"),
    ("tune.quic.disable-tx-pacing", "tune.quic.fe.tx.pacing"),
    ("tune.quic.disable-udp-gso", "tune.quic.fe.tx.udp-gso"),
    ("tune.quic.frontend.default-max-window-size", "tune.quic.fe.cc.max-win-size"),
    ("tune.quic.frontend.glitches-threshold", "tune.quic.fe.sec.glitches-threshold"),
    ("tune.quic.frontend.max-data-size", "tune.quic.fe.stream.rxbuf"),
    ("tune.quic.frontend.max-idle-timeout", "tune.quic.fe.max-idle-timeout"),
    ("tune.quic.frontend.max-streams-bidi", "tune.quic.fe.stream.max-concurrent"),
    ("tune.quic.frontend.max-tx-mem", "tune.quic.mem.tx-max"),
    ("tune.quic.frontend.stream-data-ratio", "tune.quic.fe.stream.data-ratio"),
    ("tune.quic.max-frame-loss", "tune.quic.fe.cc.max-frame-loss"),
    ("tune.quic.reorder-ratio", "tune.quic.fe.cc.reorder-ratio"),
    ("tune.quic.retry-threshold", "tune.quic.fe.sec.retry-threshold"),
    ("tune.quic.socket-owner", "tune.quic.fe.sock-per-conn"),
];
const RENAMED_IN: Version = Version::new(3, 5);

/// Returns the finding for a line that this version has removed.
pub fn removed(words: &[Cow<'_, str>], version: Version) -> Option<Diagnostic> {
    let is_it = |line: &Words| match line {
        Words::Begins(start) => words.len() >= start.len() && words.iter().zip(*start).all(|(a, b)| a == b),
        Words::Is(whole) => words == *whole,
    };
    let finding = |named: &str, since: Version, help: &str| {
        let message = format!("HAProxy {since} removed `{named}`");
        Diagnostic::error(code::REMOVED_KEYWORD, message).label("removed").help(help)
    };
    if let Some((old, new)) = RENAMED.iter().find(|(old, _)| version >= RENAMED_IN && words[0] == *old) {
        return Some(finding(old, RENAMED_IN, &format!("use `{new}` instead, which exists since 3.3")));
    }
    let (line, since, help) = REMOVED.iter().find(|(line, since, _)| version >= *since && is_it(line))?;
    let (Words::Begins(named) | Words::Is(named)) = line;
    Some(finding(&named.join(" "), *since, help))
}
