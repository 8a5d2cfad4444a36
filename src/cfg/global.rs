//! Lines of `global` that drainswap reads: `stats socket` lines, and the files that keep states over a reload.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::address::SocketAddress;
use super::code;
use super::diagnostic::Diagnostic;
use super::environment::Environment;
use super::interpret::Statement;
use super::model::{Level, StatsSocket};
use super::time;

/// The parameters of a listening socket that take no value. All others take one, so that `user level` is not
/// mistaken for a level.
const FLAGS: &[&str] = &[
    "accept-proxy",
    "allow-0rtt",
    "defer-accept",
    "force-sslv3",
    "force-tlsv10",
    "force-tlsv11",
    "force-tlsv12",
    "force-tlsv13",
    "generate-certificates",
    "no-ca-names",
    "no-sslv3",
    "no-strict-sni",
    "no-tls-tickets",
    "no-tlsv10",
    "no-tlsv11",
    "no-tlsv12",
    "no-tlsv13",
    "prefer-client-ciphers",
    "quic-force-retry",
    "ssl",
    "strict-sni",
    "tfo",
    "tls-tickets",
    "transparent",
    "v4v6",
    "v6only",
];

/// The values of `server-state-base` and `server-state-file`.
#[derive(Debug, Default)]
pub(super) struct StateFiles {
    base: Option<PathBuf>,
    file: Option<PathBuf>,
}

impl StateFiles {
    pub fn read(&mut self, words: &[Cow<'_, str>]) {
        let [keyword, path, ..] = words else { return };
        match &**keyword {
            "server-state-base" => self.base = Some(PathBuf::from(&**path)),
            "server-state-file" => self.file = Some(PathBuf::from(&**path)),
            _ => {}
        }
    }

    /// Returns the state file of all backends.
    pub fn global(&self) -> Option<PathBuf> {
        self.file.as_deref().map(|file| self.below_base(file))
    }

    /// Returns the path of a state file: below the base, unless its path is absolute.
    pub fn below_base(&self, file: &Path) -> PathBuf {
        self.base.as_deref().unwrap_or(Path::new("")).join(file)
    }
}

/// Returns the time of a `stats timeout` line: how long a connection to a `stats socket` may be idle.
pub(super) fn stats_timeout(words: &[Cow<'_, str>]) -> Option<Duration> {
    match words {
        [stats, timeout, time, ..] if stats == "stats" && timeout == "timeout" => {
            Some(time::read(time).ok()?.length)
        }
        _ => None,
    }
}

/// Returns the number of a `mworker-max-reloads` line.
pub(super) fn max_reloads(words: &[Cow<'_, str>]) -> Option<u32> {
    match words {
        [keyword, number, ..] if keyword == "mworker-max-reloads" => number.parse().ok(),
        _ => None,
    }
}

/// Reads a line of `global`. Returns `None` if it is not a `stats socket` line.
pub(super) fn stats_socket(
    line: &Statement<'_>,
    environment: &Environment,
) -> Option<Result<StatsSocket, (usize, Diagnostic)>> {
    match line.words() {
        [stats, socket, rest @ ..] if stats == "stats" && socket == "socket" => {
            Some(read(line, rest, environment))
        }
        _ => None,
    }
}

fn read(
    line: &Statement<'_>,
    words: &[Cow<'_, str>],
    environment: &Environment,
) -> Result<StatsSocket, (usize, Diagnostic)> {
    let Some((address, parameters)) = words.split_first() else {
        let finding = Diagnostic::error(code::SOCKET_ADDRESS, "`stats socket` is missing its address");
        return Err((1, finding.help("stats socket /run/haproxy/admin.sock level admin")));
    };
    let address = SocketAddress::parse(address, environment)
        .map_err(|error| (2, Diagnostic::error(code::SOCKET_ADDRESS, error.to_string())))?;
    let mut level = Level::Operator;
    let mut at = 0;
    while let Some(parameter) = parameters.get(at) {
        if parameter == "level" {
            level = self::level(parameters.get(at + 1).map(|word| &**word))
                .map_err(|finding| (4 + at, finding))?;
        }
        at += if FLAGS.contains(&&**parameter) { 1 } else { 2 };
    }
    Ok(StatsSocket { address, level, place: line.place() })
}

fn level(word: Option<&str>) -> Result<Level, Diagnostic> {
    match word {
        Some("user") => Ok(Level::User),
        Some("operator") => Ok(Level::Operator),
        Some("admin") => Ok(Level::Admin),
        Some(other) => {
            let message = format!("invalid level `{other}`: expected user, operator or admin");
            Err(Diagnostic::error(code::SOCKET_LEVEL, message))
        }
        None => Err(Diagnostic::error(
            code::SOCKET_LEVEL,
            "`level` is missing its value: expected user, operator or admin",
        )),
    }
}
