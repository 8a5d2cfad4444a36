//! What is said when drainswap itself is wrong.

use super::typed;
use crate::cli::{Cli, Command, Globals};

/// What to say when the program panics at this place.
#[must_use]
pub fn report(place: &str) -> String {
    format!("error: a bug in drainswap, at {place}")
}

/// The same in the middle of that command.
///
/// A run's journal is durable before each effect: what the run had begun is taken up from there, as after `kill -9`.
pub fn report_during(cli: &Cli) -> impl Fn(&str) -> String + Send + Sync + use<> {
    let resume = resume(cli);
    move |place| {
        let next = resume.as_ref().map(|resume| {
            format!("\nWhat was begun stays as it is. To bring it to its end: {resume}\nTo take it back: {resume} --undo")
        });
        report(place) + &next.unwrap_or_default()
    }
}

/// The command that takes up a run which this command may have begun, in the same place.
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
    fn a_run_is_resumed_where_it_was_begun() {
        let said = |words: &[&str]| {
            report_during(&Cli::read([&["drainswap"], words].concat()).unwrap())("src/x.rs:1:2")
        };
        assert_eq!(said(&["status"]), "error: a bug in drainswap, at src/x.rs:1:2");
        let deploy = ["deploy", "mobile", "--image", "m:v2", "-f", "/srv/h.cfg", "--state-dir", "/state"];
        let resume = "drainswap resume mobile -f /srv/h.cfg --state-dir /state";
        assert_eq!(
            said(&deploy),
            format!(
                "error: a bug in drainswap, at src/x.rs:1:2\nWhat was begun stays as it is. \
                 To bring it to its end: {resume}\nTo take it back: {resume} --undo"
            )
        );
        assert!(!said(&[&deploy[..], &["--dry-run"]].concat()).contains("resume"));
        let promote = ["promote", "mobile", "--from", "/staging.toml", "--to", "/production.toml"];
        assert!(said(&promote).contains("drainswap resume mobile --settings /production.toml\n"));
    }
}
