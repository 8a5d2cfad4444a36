//! The outcomes of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::ids::ServerId;
use crate::model::words::{list, named};
pub use crate::plan::rest::{LeftReason, LeftServer, OutOfService, Rest};

/// The outcome of a run. Every variant describes the state at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// Every server already ran the wanted image.
    Unchanged {
        /// Server lines that were not worked on, and servers that stay out of service.
        #[serde(default, skip_serializing_if = "Rest::is_empty")]
        rest: Rest,
    },
    /// Every server that was worked on runs the wanted image and is in service.
    Deployed {
        /// The number of containers that were replaced.
        replaced: usize,
        /// The number of containers that ran the wanted image already and were only put back in service.
        put_back: usize,
        /// Servers that a hook skipped.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        skipped: Vec<ServerId>,
        /// Server lines that were not worked on, and servers that stay out of service.
        #[serde(default, skip_serializing_if = "Rest::is_empty")]
        rest: Rest,
    },
    /// A hook skipped the run; nothing was changed.
    Skipped,
    /// Something failed, and the failed lanes were undone.
    RolledBack {
        /// What failed.
        reason: String,
        /// Servers that keep the new container, because of `--on-failure stop` or because undoing them would lose
        /// sessions.
        kept: Vec<ServerId>,
        /// Servers that did not serve before the run either, and stay in maint.
        left_out: Vec<ServerId>,
        /// Servers that serve with their old container again.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        restored: Vec<ServerId>,
        /// Whether the rollback was requested rather than caused by a failure.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        asked: bool,
    },
    /// The run ended before any server left rotation; nothing was changed.
    Refused {
        /// The reason.
        reason: String,
    },
    /// The run was asked to stop and stopped at a safe point: every server is in service, except those that were not
    /// before.
    Cancelled {
        /// Servers that run the new container.
        replaced: Vec<ServerId>,
        /// Servers that still run the old one.
        remaining: Vec<ServerId>,
        /// Those of them that did not serve before the run either, and stay in maint.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left_out: Vec<ServerId>,
        /// Other servers that stay out of service.
        #[serde(default, skip_serializing_if = "Rest::is_empty")]
        rest: Rest,
    },
    /// Undoing a lane failed too, and needs manual recovery.
    Stuck {
        /// What failed first.
        reason: String,
        /// The state of each server that could not be put back, and what to do about it.
        servers: Vec<StuckServer>,
        /// Servers that already had the new container, and keep serving with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept: Vec<ServerId>,
        /// The path of the run's journal.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        journal: String,
        /// The command that resumes the run.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        resume: String,
    },
}

/// A server that could not be put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Stranded")]
pub struct StuckServer {
    /// The server.
    pub server: ServerId,
    /// The current state of the server.
    #[serde(rename = "truth")]
    pub status: String,
    /// The exact commands that bring it back, in order.
    pub commands: Vec<String>,
}

impl Outcome {
    /// Returns whether a server was left with a new container, if the plan had one for it.
    #[must_use]
    pub fn keeps_new_container(&self, server: &ServerId) -> bool {
        match self {
            Self::Deployed { replaced, skipped, .. } => *replaced > 0 && !skipped.contains(server),
            Self::RolledBack { kept, .. } | Self::Stuck { kept, .. } => kept.contains(server),
            Self::Cancelled { replaced, .. } => replaced.contains(server),
            Self::Unchanged { .. } | Self::Skipped | Self::Refused { .. } => false,
        }
    }

    /// Returns whether the run did what was requested.
    #[must_use]
    pub fn is_success(&self) -> bool {
        match self {
            Self::Unchanged { .. } | Self::Deployed { .. } | Self::Skipped => true,
            Self::RolledBack { asked, kept, .. } => *asked && kept.is_empty(),
            Self::Refused { .. } | Self::Cancelled { .. } | Self::Stuck { .. } => false,
        }
    }

    /// Returns the outcome's word in records and events.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unchanged { .. } => "unchanged",
            Self::Deployed { .. } => "deployed",
            Self::Skipped => "skipped",
            Self::RolledBack { .. } => "rolled_back",
            Self::Refused { .. } => "refused",
            Self::Cancelled { .. } => "cancelled",
            Self::Stuck { .. } => "stuck",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged { rest } if rest.left.is_empty() => {
                f.write_str("nothing to do: every server runs the wanted image")?;
                f.write_str(&then(rest))
            }
            Self::Unchanged { rest } => {
                write!(f, "nothing to do: every other server runs the wanted image, {rest}")
            }
            Self::Skipped => f.write_str("nothing was touched: the hook before_run skipped the run"),
            Self::Deployed { replaced, put_back, skipped, rest } => {
                f.write_str(&done(*replaced, *put_back, rest))?;
                if !skipped.is_empty() {
                    write!(f, "; {} skipped by a hook", list(skipped))?;
                }
                Ok(())
            }
            Self::RolledBack { reason, kept, left_out, restored, asked } => {
                f.write_str(&rolled_back(*asked, kept, restored))?;
                write!(f, ": {reason}{}", stays_out(left_out))
            }
            Self::Refused { reason } => write!(f, "refused, nothing was touched: {reason}"),
            Self::Cancelled { replaced, remaining, left_out, rest } => {
                let every = if left_out.is_empty() && rest.is_empty() { "every" } else { "every other" };
                write!(f, "cancelled: {every} server is in service")?;
                if replaced.is_empty() {
                    write!(f, ", {} unchanged", list(remaining))?;
                } else {
                    let (replaced, remaining) = (list(replaced), list(remaining));
                    write!(
                        f,
                        "; {replaced} replaced, {remaining} not. Deploy again to finish, or roll back"
                    )?;
                }
                f.write_str(&stays_out(left_out))?;
                f.write_str(&then(rest))
            }
            Self::Stuck { servers, kept, journal, resume, .. } => {
                f.write_str("STUCK, manual recovery is needed")?;
                servers.iter().try_for_each(|server| write!(f, "\n  {server}"))?;
                if !kept.is_empty() {
                    write!(f, "\n  {} the new container, in service", keep(kept))?;
                }
                if !journal.is_empty() {
                    write!(f, "\n  the journal of this run is {journal}")?;
                }
                if !resume.is_empty() {
                    write!(f, "\n  `{resume}` resumes the run, whether or not these commands were run")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for StuckServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.server, self.status)?;
        self.commands.iter().try_for_each(|command| write!(f, "\n      {command}"))
    }
}

/// Returns the servers that keep something, with the verb: `mobile/app1 keeps`, `mobile/app1, mobile/app2 keep`.
fn keep(servers: &[ServerId]) -> String {
    format!("{} {}", list(servers), if servers.len() == 1 { "keeps" } else { "keep" })
}

/// Returns how a run was rolled back: because that was requested, or because it failed.
fn rolled_back(asked: bool, kept: &[ServerId], restored: &[ServerId]) -> String {
    let back = back(restored);
    match (asked, kept.is_empty()) {
        (true, true) => format!("rolled back{back}"),
        (true, false) => format!("rolled back, but {} the new container", keep(kept)),
        (false, true) => format!("failed and rolled back{back}"),
        (false, false) => {
            format!("failed; the failed servers were put back, {} the new container", keep(kept))
        }
    }
}

/// Returns what was done and what was not: `done: 2 replaced, 1 left: web/sorry has no container`.
fn done(replaced: usize, put_back: usize, rest: &Rest) -> String {
    if !rest.left.is_empty() {
        let counts =
            [(replaced, "replaced"), (put_back, "put back")].into_iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
        let counts = if counts.is_empty() { "nothing was replaced".to_owned() } else { counts.join(", ") };
        return format!("done: {counts}, {rest}");
    }
    let in_service = if rest.is_empty() { ", every one is in service" } else { "" };
    let (of_new, of_back) = (containers(replaced, "replaced"), containers(put_back, "put back"));
    let done = match (replaced, put_back) {
        (0, 0) => "nothing was replaced".to_owned(),
        (_, 0) => format!("{of_new}{in_service}"),
        (0, _) => format!("{of_back} in service"),
        (_, _) => format!("{of_new} and {of_back}{in_service}"),
    };
    format!("done: {done}{}", then(rest))
}

/// Returns the rest as a further clause, if there is any.
fn then(rest: &Rest) -> String {
    if rest.is_empty() { String::new() } else { format!("; {rest}") }
}

/// Returns the clause about servers that serve with their old containers again. The others were not touched, or nothing
/// is known about them.
fn back(restored: &[ServerId]) -> String {
    match restored {
        [] => String::new(),
        [one] => format!(", the old container of {one} serves as before"),
        several => format!(", the old containers of {} serve as before", named(several)),
    }
}

/// Returns the sentence about servers that an undo left in maint.
fn stays_out(left_out: &[ServerId]) -> String {
    let stay = if left_out.len() == 1 { "stays" } else { "stay" };
    let told = || format!(". {} did not serve before either and {stay} in maint", list(left_out));
    if left_out.is_empty() { String::new() } else { told() }
}

/// Returns a count such as `1 container replaced` or `4 containers replaced`.
fn containers(count: usize, done: &str) -> String {
    if count == 1 { format!("1 container {done}") } else { format!("{count} containers {done}") }
}
