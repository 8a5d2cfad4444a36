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
                write!(f, "nothing to do: every server runs the wanted image{}", then(rest))
            }
            Self::Unchanged { rest } => {
                write!(f, "nothing to do: every other server runs the wanted image, {rest}")
            }
            Self::Skipped => f.write_str("nothing was touched: the hook before_run skipped the run"),
            Self::Deployed { replaced, put_back, skipped, rest } => {
                let done = done(*replaced, *put_back, rest);
                write!(
                    f,
                    "{done}{}",
                    unless_empty(skipped, || format!("; {} skipped by a hook", list(skipped)))
                )
            }
            Self::RolledBack { reason, kept, left_out, restored, asked } => {
                write!(f, "{}: {reason}{}", rolled_back(*asked, kept, restored), stays_out(left_out))
            }
            Self::Refused { reason } => write!(f, "refused, nothing was touched: {reason}"),
            Self::Cancelled { replaced, remaining, left_out, rest } => {
                let every = if left_out.is_empty() && rest.is_empty() { "every" } else { "every other" };
                let remaining = list(remaining);
                let done = if replaced.is_empty() {
                    format!(", {remaining} unchanged")
                } else {
                    format!(
                        "; {} replaced, {remaining} not. Deploy again to finish, or roll back",
                        list(replaced)
                    )
                };
                let (out, rest) = (stays_out(left_out), then(rest));
                write!(f, "cancelled: {every} server is in service{done}{out}{rest}")
            }
            Self::Stuck { servers, kept, journal, resume, .. } => {
                let servers: Vec<String> = servers.iter().map(|server| format!("\n  {server}")).collect();
                let kept = unless_empty(kept, || format!("\n  {} the new container, in service", keep(kept)));
                let journal =
                    unless_empty(journal.as_bytes(), || format!("\n  the journal of this run is {journal}"));
                let resume = unless_empty(resume.as_bytes(), || {
                    format!("\n  `{resume}` resumes the run, whether or not these commands were run")
                });
                write!(f, "STUCK, manual recovery is needed{}{kept}{journal}{resume}", servers.concat())
            }
        }
    }
}

/// Returns a clause about these things, if there are any.
fn unless_empty<T>(things: &[T], clause: impl FnOnce() -> String) -> String {
    if things.is_empty() { String::new() } else { clause() }
}

impl fmt::Display for StuckServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands: Vec<String> =
            self.commands.iter().map(|command| format!("\n      {command}")).collect();
        write!(f, "{}: {}{}", self.server, self.status, commands.concat())
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
    unless_empty(left_out, || format!(". {} did not serve before either and {stay} in maint", list(left_out)))
}

/// Returns a count such as `1 container replaced` or `4 containers replaced`.
fn containers(count: usize, done: &str) -> String {
    if count == 1 { format!("1 container {done}") } else { format!("{count} containers {done}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::AdminState;

    fn ids(servers: &[&str]) -> Vec<ServerId> {
        servers.iter().map(|server| server.parse().unwrap()).collect()
    }

    fn sorry() -> Rest {
        let left = vec![LeftServer { server: "web/sorry".parse().unwrap(), why: LeftReason::NoContainer }];
        Rest { left, ..Rest::default() }
    }

    fn deployed(replaced: usize, put_back: usize, skipped: &[&str], rest: Rest) -> String {
        Outcome::Deployed { replaced, put_back, skipped: ids(skipped), rest }.to_string()
    }

    #[test]
    fn a_deploy_names_what_it_did_and_what_it_left() {
        assert_eq!(
            deployed(1, 2, &["web/app3"], Rest::default()),
            "done: 1 container replaced and 2 containers put back, every one is in service; web/app3 skipped by a hook"
        );
        assert_eq!(deployed(2, 0, &[], sorry()), "done: 2 replaced, 1 left: web/sorry has no container");
        assert_eq!(
            deployed(0, 0, &[], sorry()),
            "done: nothing was replaced, 1 left: web/sorry has no container"
        );
        let unchanged = |rest| Outcome::Unchanged { rest }.to_string();
        assert_eq!(unchanged(Rest::default()), "nothing to do: every server runs the wanted image");
        assert_eq!(
            unchanged(sorry()),
            "nothing to do: every other server runs the wanted image, 1 left: web/sorry has no container"
        );
    }

    #[test]
    fn a_cancelled_run_does_not_claim_servers_that_are_out_of_service() {
        let cancelled = |replaced: &[&str], left_out: &[&str], rest: Rest| {
            let (replaced, left_out) = (ids(replaced), ids(left_out));
            Outcome::Cancelled { replaced, remaining: ids(&["web/app2"]), left_out, rest }.to_string()
        };
        assert_eq!(
            cancelled(&[], &[], Rest::default()),
            "cancelled: every server is in service, web/app2 unchanged"
        );
        assert_eq!(
            cancelled(&["web/app1"], &["web/app2"], Rest::default()),
            "cancelled: every other server is in service; web/app1 replaced, web/app2 not. Deploy again to finish, or roll back. web/app2 did not serve before either and stays in maint"
        );
        let (server, state) = ("web/app3".parse().unwrap(), AdminState::Drain);
        let out_of_service = vec![OutOfService { server, state, has_agent: false }];
        assert_eq!(
            cancelled(&[], &[], Rest { out_of_service, ..Rest::default() }),
            "cancelled: every other server is in service, web/app2 unchanged; web/app3 stays in drain"
        );
    }

    #[test]
    fn a_stuck_run_names_its_journal_and_what_resumes_it_if_they_are_known() {
        let servers = vec![StuckServer {
            server: "web/app1".parse().unwrap(),
            status: "in maint".to_owned(),
            commands: vec!["docker start app1".to_owned(), "drainswap ready web/app1".to_owned()],
        }];
        let stuck = |kept: &[&str], journal: &str, resume: &str| {
            let (reason, servers) = ("no".to_owned(), servers.clone());
            let (journal, resume) = (journal.to_owned(), resume.to_owned());
            Outcome::Stuck { reason, servers, kept: ids(kept), journal, resume }.to_string()
        };
        let commands = "STUCK, manual recovery is needed\n  web/app1: in maint\n      docker start app1\n      drainswap ready web/app1";
        assert_eq!(stuck(&[], "", ""), commands);
        assert_eq!(
            stuck(&["web/app2"], "/var/run.jsonl", "drainswap resume"),
            format!(
                "{commands}\n  web/app2 keeps the new container, in service\n  the journal of this run is /var/run.jsonl\n  `drainswap resume` resumes the run, whether or not these commands were run"
            )
        );
    }

    #[test]
    fn only_servers_that_were_kept_have_the_new_container_after_a_failure() {
        let (app1, app2): (ServerId, ServerId) = ("web/app1".parse().unwrap(), "web/app2".parse().unwrap());
        let (reason, kept) = (String::new(), vec![app1.clone()]);
        let (journal, resume) = (String::new(), String::new());
        let stuck = Outcome::Stuck { reason, servers: Vec::new(), kept, journal, resume };
        assert!(stuck.keeps_new_container(&app1) && !stuck.keeps_new_container(&app2));
        let cancelled = Outcome::Cancelled {
            replaced: vec![app2.clone()],
            remaining: vec![app1.clone()],
            left_out: Vec::new(),
            rest: Rest::default(),
        };
        assert!(cancelled.keeps_new_container(&app2) && !cancelled.keeps_new_container(&app1));
    }
}
