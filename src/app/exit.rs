//! The exit codes of drainswap.

use std::process::ExitCode;

use crate::run::outcome::Outcome;

/// The exit code of the process. For the codes 2 to 9, nothing was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// A bug in drainswap.
    Bug = 1,
    /// The command line names something that does not exist.
    Usage = 2,
    /// The configuration is wrong.
    Configuration = 3,
    /// A guard refused.
    Refused = 4,
    /// A socket, an engine or a registry cannot be reached, or refuses.
    Unreachable = 5,
    /// Another run holds the backend, or one is unfinished.
    Busy = 6,
    /// The site has changed since the plan was made.
    Drifted = 7,
    /// The run failed and was rolled back.
    RolledBack = 10,
    /// The run needs manual recovery.
    Stuck = 11,
    /// The run was asked to stop, and stopped at a safe point.
    Cancelled = 12,
    /// Changes are pending (`plan --exit-code`).
    Pending = 20,
}

impl Exit {
    /// Every code and its meaning, in the order of docs/reference/exit-codes.md.
    pub const TABLE: &[(Self, &str)] = &[
        (Self::Done, "done, or nothing to do"),
        (Self::Bug, "a bug in drainswap"),
        (Self::Usage, "the command line is wrong, or names a backend or a server that does not exist"),
        (Self::Configuration, "haproxy.cfg, drainswap.toml or the rights on them are wrong"),
        (
            Self::Refused,
            "refused by a guard: the floor, a container that is not certain, a server that does not answer",
        ),
        (Self::Unreachable, "HAProxy's socket, the engine or the registry cannot be reached, or refuses"),
        (Self::Busy, "another run holds the backend, or one was not finished"),
        (
            Self::Drifted,
            "what was planned for is not there any more, or another plan was approved; plan again",
        ),
        (Self::RolledBack, "failed, and rolled back"),
        (Self::Stuck, "stuck: a person is needed; what is true and what to do was printed"),
        (Self::Cancelled, "cancelled at a safe point"),
        (Self::Pending, "changes are pending, or something is left (`--exit-code`)"),
    ];

    /// Returns the number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<&Outcome> for Exit {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Unchanged { .. } | Outcome::Skipped | Outcome::Deployed { .. } => Self::Done,
            Outcome::RolledBack { .. } if outcome.is_success() => Self::Done,
            Outcome::RolledBack { .. } => Self::RolledBack,
            Outcome::Refused { .. } => Self::Refused,
            Outcome::Cancelled { .. } => Self::Cancelled,
            Outcome::Stuck { .. } => Self::Stuck,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::markdown::assert_generated;

    #[test]
    fn every_exit_code_is_on_its_page() {
        let rows = Exit::TABLE.iter().map(|(exit, meaning)| format!("| {} | {meaning} |", exit.code()));
        let table = format!("| exit code | meaning |\n|---|---|\n{}", rows.collect::<Vec<_>>().join("\n"));
        assert_generated("docs/reference/exit-codes.md", "cargo test --lib exit", &table);
    }
}
