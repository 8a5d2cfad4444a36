//! How a run ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::ServerId;

/// How a run ended. Every variant says what is true now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// Everything was as wanted already.
    Unchanged,
    /// Every server that was worked on runs the wanted image and is in service.
    Deployed {
        /// How many containers were replaced.
        replaced: usize,
        /// How many containers were as wanted, and only put back in service.
        put_back: usize,
        /// Servers that a hook has left out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        skipped: Vec<ServerId>,
    },
    /// A hook did not want it to begin; nothing was touched.
    Skipped,
    /// Something failed; what had failed was put back.
    RolledBack {
        /// What failed.
        reason: String,
        /// Servers that keep the new container, by `--on-failure stop`.
        kept: Vec<ServerId>,
        /// Servers that did not serve before the run either, and are left in maint.
        left_out: Vec<ServerId>,
        /// Whether nothing failed: a run that was not finished was to be taken back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        asked: bool,
    },
    /// It ended before any server left rotation; nothing was touched.
    Refused {
        /// Why.
        reason: String,
    },
    /// It was asked to stop, and stopped at a safe point: every server is in service, but for those that were not before.
    Cancelled {
        /// Servers that run the new container.
        replaced: Vec<ServerId>,
        /// Servers that still run the old one.
        remaining: Vec<ServerId>,
        /// Of those the ones that did not serve before the run either, and are left in maint.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left_out: Vec<ServerId>,
    },
    /// Putting back failed too: a person is needed.
    Stuck {
        /// What failed first.
        reason: String,
        /// What is true of each server that could not be put back, and what to do about it.
        servers: Vec<Stranded>,
        /// Servers that had the new container before, and serve with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept: Vec<ServerId>,
        /// Where the run's journal is.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        journal: String,
        /// The command that takes the run up again.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        resume: String,
    },
}

/// A server that could not be put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Stranded {
    /// Which server.
    pub server: ServerId,
    /// What is true of it now.
    pub truth: String,
    /// The literal commands that bring it back, in order.
    pub commands: Vec<String>,
}

impl Outcome {
    /// Whether a server was left with a new container, if one was planned for it.
    #[must_use]
    pub fn left_new(&self, server: &ServerId) -> bool {
        match self {
            Self::Deployed { replaced, skipped, .. } => *replaced > 0 && !skipped.contains(server),
            Self::RolledBack { kept, .. } | Self::Stuck { kept, .. } => kept.contains(server),
            Self::Cancelled { replaced, .. } => replaced.contains(server),
            Self::Unchanged | Self::Skipped | Self::Refused { .. } => false,
        }
    }

    /// Whether what was asked for came about.
    #[must_use]
    pub fn is_good(&self) -> bool {
        match self {
            Self::Unchanged | Self::Deployed { .. } | Self::Skipped => true,
            Self::RolledBack { asked, kept, .. } => *asked && kept.is_empty(),
            Self::Refused { .. } | Self::Cancelled { .. } | Self::Stuck { .. } => false,
        }
    }

    /// The same in a word, as records and events have it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
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
            Self::Unchanged => f.write_str("nothing to do: every server runs the wanted image"),
            Self::Skipped => {
                f.write_str("nothing was touched: the hook before_run wants the run to be left out")
            }
            Self::Deployed { replaced, put_back, skipped } => {
                match (replaced, put_back) {
                    (0, 0) => f.write_str("done: nothing was replaced")?,
                    (_, 0) => {
                        write!(f, "done: {}, every one is in service", containers(*replaced, "replaced"))?;
                    }
                    (0, _) => write!(f, "done: {} in service", containers(*put_back, "put back"))?,
                    (_, _) => {
                        let (replaced, put_back) =
                            (containers(*replaced, "replaced"), containers(*put_back, "put back"));
                        write!(f, "done: {replaced} and {put_back}, every one is in service")?;
                    }
                }
                if !skipped.is_empty() {
                    write!(f, "; {} left out by a hook", list(skipped))?;
                }
                Ok(())
            }
            Self::RolledBack { reason, kept, left_out, asked } => {
                let keep = if kept.len() == 1 { "keeps" } else { "keep" };
                let kept = list(kept);
                match (asked, kept.is_empty()) {
                    (true, true) => {
                        write!(f, "taken back, the old containers serve as before: {reason}")?;
                    }
                    (true, false) => {
                        write!(f, "taken back, but {kept} {keep} the new container: {reason}")?;
                    }
                    (false, true) => {
                        write!(f, "failed and rolled back, the old containers serve as before: {reason}")?;
                    }
                    (false, false) => write!(
                        f,
                        "failed; what failed is put back, {kept} {keep} the new container: {reason}"
                    )?,
                }
                f.write_str(&stays_out(left_out))
            }
            Self::Refused { reason } => write!(f, "refused, nothing was touched: {reason}"),
            Self::Cancelled { replaced, remaining, left_out } => {
                let every = if left_out.is_empty() { "every" } else { "every other" };
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
                f.write_str(&stays_out(left_out))
            }
            Self::Stuck { servers, kept, journal, resume, .. } => {
                f.write_str("STUCK, a person is needed")?;
                for stranded in servers {
                    write!(f, "\n  {}: {}", stranded.server, stranded.truth)?;
                    for command in &stranded.commands {
                        write!(f, "\n      {command}")?;
                    }
                }
                if !kept.is_empty() {
                    let keep = if kept.len() == 1 { "keeps" } else { "keep" };
                    write!(f, "\n  {} {keep} the new container, in service", list(kept))?;
                }
                if !journal.is_empty() {
                    write!(f, "\n  the journal of this run is {journal}")?;
                }
                if !resume.is_empty() {
                    write!(f, "\n  `{resume}` takes the run up again, with or without these commands")?;
                }
                Ok(())
            }
        }
    }
}

/// What is said of servers that an undo has left in maint.
fn stays_out(left_out: &[ServerId]) -> String {
    let stay = if left_out.len() == 1 { "stays" } else { "stay" };
    let told = || format!(". {} did not serve before either and {stay} in maint", list(left_out));
    if left_out.is_empty() { String::new() } else { told() }
}

/// `1 container replaced`, `4 containers replaced`.
fn containers(count: usize, done: &str) -> String {
    if count == 1 { format!("1 container {done}") } else { format!("{count} containers {done}") }
}

/// `1 session`, `2 sessions`.
#[must_use]
pub fn sessions(count: u64) -> String {
    if count == 1 { "1 session".to_owned() } else { format!("{count} sessions") }
}

/// `mobile/app1, mobile/app2`.
#[must_use]
pub fn list(servers: &[ServerId]) -> String {
    servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
