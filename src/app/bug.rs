//! The report of a bug in drainswap.

use super::typed;
use crate::cli::{Cli, Command, Globals};

/// Returns the report for a panic at this place.
#[must_use]
pub fn report(place: &str) -> String {
    format!(
        "error: a bug in drainswap, at {place}. Report it to the project with the output of `drainswap --version`"
    )
}

/// Returns the report for a panic during a command.
///
/// A run's journal is durable before each effect, so `resume` continues from there, as after `kill -9`.
pub fn report_during(cli: &Cli) -> impl Fn(&str) -> String + Send + Sync + use<> {
    let resume = resume(cli);
    move |place| {
        let next = resume.as_ref().map(|resume| {
            format!("\nThe run stays as it is. To finish it: {resume}\nTo undo it: {resume} --undo")
        });
        report(place) + &next.unwrap_or_default()
    }
}

/// Returns the command that resumes a run that this command may have started, in the same place.
fn resume(cli: &Cli) -> Option<String> {
    let here = |backend: Option<&String>, globals: &Globals| {
        let words: Vec<&str> = ["resume"].into_iter().chain(backend.map(String::as_str)).collect();
        Some(typed::command_line(globals).command(&words))
    };
    match &cli.command {
        Command::Deploy { dry_run: false, goal, .. } => here(goal.backend.as_ref(), &cli.globals),
        Command::Resume { dry_run: false, backend, .. } => here(backend.as_ref(), &cli.globals),
        Command::Rollback { dry_run: false, backend, .. } => here(Some(backend), &cli.globals),
        Command::Promote { dry_run: false, backend, to, .. } => {
            let there = Globals { settings: Some(to.clone()), ..Globals::default() };
            here(Some(backend), &there)
        }
        Command::Deploy { .. }
        | Command::Resume { .. }
        | Command::Rollback { .. }
        | Command::Promote { .. }
        | Command::Status { .. }
        | Command::Plan { .. }
        | Command::History { .. }
        | Command::Report { .. }
        | Command::Stop { .. }
        | Command::Prune { .. }
        | Command::Drain(_)
        | Command::Maint { .. }
        | Command::Ready(_)
        | Command::Doctor { .. }
        | Command::Config(_)
        | Command::Init(_)
        | Command::Schema { .. }
        | Command::Completions { .. }
        | Command::Man { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_resumed_where_it_was_started() {
        let said = |words: &[&str]| {
            report_during(&Cli::read([&["drainswap"], words].concat()).unwrap())("src/x.rs:1:2")
        };
        assert_eq!(
            said(&["status"]),
            "error: a bug in drainswap, at src/x.rs:1:2. Report it to the project with the output of `drainswap --version`"
        );
        let deploy = ["deploy", "mobile", "--image", "m:v2", "-f", "/srv/h.cfg", "--state-dir", "/state"];
        let resume = "drainswap resume mobile -f /srv/h.cfg --state-dir /state";
        assert_eq!(
            said(&deploy),
            format!(
                "error: a bug in drainswap, at src/x.rs:1:2. Report it to the project with the output of `drainswap \
                 --version`\nThe run stays as it is. \
                 To finish it: {resume}\nTo undo it: {resume} --undo"
            )
        );
        assert!(!said(&[&deploy[..], &["--dry-run"]].concat()).contains("resume"));
        let promote = ["promote", "mobile", "--from", "/staging.toml", "--to", "/production.toml"];
        assert!(said(&promote).contains("drainswap resume mobile --settings /production.toml\n"));
    }
}
