//! The command line. Doc comments here are the help texts.

mod choice;
mod ci;
mod config;
pub mod form;
mod globals;
mod goal;
mod help;
pub mod knob;
pub mod manual;
pub mod option;
mod policy;
#[cfg(test)]
mod reference;
mod reload;
mod server_move;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::ContextValue;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::model::duration::DurationArg;
use crate::model::sanitize;
use crate::model::secret::redact;
use form::Form;
use knob::show_default;

pub use ci::CiFlags;
pub use config::{ConfigCommand, DesiredConfigArgs, Templates};
pub use globals::{Globals, Output};
pub use goal::{DeployGoal, DeployOrPlan};
pub use policy::PolicyFlags;
pub use reload::{ReloadFlags, ReloadWhen, Reloading};
pub use server_move::{MaintFlags, Move, OnOff};

/// Replaces Docker containers behind HAProxy without losing a request.
///
/// drainswap reads haproxy.cfg and finds the container behind every server line. Then, one server at a time, it drains
/// the server, waits until its last session has ended, replaces the container, checks that the new one answers, and
/// puts the server back.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = help::DRAINSWAP)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Parses a command line. Errors hide the passwords in its words.
    ///
    /// # Errors
    /// The error in the command line, or the text of `--help` or `--version`.
    pub fn read(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        Self::try_parse_from(words).map_err(|mut error| {
            let told: Vec<_> = error.context().map(|(kind, value)| (kind, value.clone())).collect();
            for (kind, value) in told {
                if let ContextValue::String(text) = value {
                    error.insert(kind, ContextValue::String(sanitize::line(&redact(&text))));
                }
            }
            error
        })
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every server: its state, sessions, container and image, and whether it answers
    #[command(after_help = help::STATUS)]
    Status {
        /// The backends to show [default: all]
        #[arg(value_name = "BACKEND")]
        backends: Vec<String>,
        /// Repeat until Ctrl-C [default: every 2s]
        #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "2s")]
        watch: Option<DurationArg>,
    },
    /// Show what deploy would do: every step with its reason, and where traffic goes
    #[command(after_help = help::PLAN)]
    Plan {
        #[command(flatten)]
        goal: DeployGoal,
        #[command(flatten)]
        policy: PolicyFlags,
        /// Exit with 20 if there is something to do
        #[arg(long)]
        exit_code: bool,
        /// Save the plan in FILE (- for stdout); `deploy --plan` applies exactly this plan
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
    },
    /// Replace the containers of a backend, one server at a time
    #[command(after_help = help::DEPLOY)]
    Deploy {
        #[command(flatten)]
        goal: DeployOrPlan,
        #[command(flatten)]
        policy: PolicyFlags,
        /// If the last run was killed before it finished, resume it first
        #[arg(long, conflicts_with = "plan")]
        resume_first: bool,
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Finish a run that was killed or got stuck, or undo it with --undo
    ///
    /// The server that the run was working on is finished or put back, and the rest is planned again with the limits of
    /// the run. Flags here override these limits; environment variables and settings do not count.
    #[command(after_help = help::RESUME, mut_args(|arg| arg.env(Resettable::Reset)))]
    Resume {
        /// The backend whose run to finish [default: every backend with an unfinished run]
        backend: Option<String>,
        /// Undo the run
        #[arg(long)]
        undo: bool,
        /// Make a run that another site left in the state directory a run of this site
        #[arg(long, value_name = "RUN", conflicts_with = "backend")]
        adopt: Option<String>,
        #[command(flatten)]
        policy: PolicyFlags,
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Roll a backend back to the images that it ran before the last deploy, one server at a time
    ///
    /// If the last run was killed before it finished, rollback undoes that run instead.
    #[command(after_help = help::ROLLBACK)]
    Rollback {
        /// The backend to roll back
        backend: String,
        /// Return to the image that this run deployed, or to the image with this digest (see drainswap history)
        #[arg(long, value_name = "RUN|DIGEST")]
        to: Option<String>,
        #[command(flatten)]
        policy: PolicyFlags,
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Deploy the image that another site runs, by digest: from staging to production
    ///
    /// Only the two settings files describe the sites. drainswap refuses if the servers of the first site run different
    /// images or do not serve, or if its last run did not succeed.
    #[command(after_help = help::PROMOTE)]
    Promote {
        /// The backend to promote, which has the same name at both sites
        backend: String,
        /// The settings file of the site that runs the image
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// The settings file of the site that gets the image
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        policy: PolicyFlags,
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// List the deploys of a backend, and whether a rollback can return to each
    #[command(after_help = help::HISTORY)]
    History {
        /// The backend whose runs to list
        backend: String,
    },
    /// Write a run as one HTML page: every server over time, drains, requests, probes, and the plan with its reasons
    #[command(after_help = help::REPORT)]
    Report {
        /// The run to write (see drainswap history) [default: the last one]
        run: Option<String>,
        /// Write the page to FILE [default: stdout]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Ask the run on a backend to stop at its next safe point, like Ctrl-C in its terminal
    ///
    /// A drain is aborted and the server put back; if the old container is already stopped, the run waits for the new
    /// one to come up. --lock-wait is how long to wait for the end of the run. A second `stop` rolls the server back at
    /// once; a Ctrl-C in the run's terminal does not count as the first.
    #[command(after_help = help::STOP)]
    Stop {
        /// The backend whose run to stop
        backend: String,
    },
    /// Remove containers, with their renewed volumes, and images that no rollback needs any more
    #[command(after_help = help::PRUNE, mut_args(show_default::<PolicyFlags>))]
    Prune {
        /// The backends to clean up [default: all]
        #[arg(value_name = "BACKEND")]
        backends: Vec<String>,
        /// The number of replaced containers to keep per server
        #[arg(long, value_name = "N", env = "DRAINSWAP_KEEP")]
        keep: Option<usize>,
        /// Only show what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a server out of load balancing; persistent clients still reach it
    #[command(after_help = help::DRAIN)]
    Drain(Move),
    /// Take a server out of service completely; its health checks stop
    #[command(after_help = help::MAINT)]
    Maint {
        #[command(flatten)]
        server: Move,
        #[command(flatten)]
        leave: MaintFlags,
    },
    /// Put a server back in service
    #[command(after_help = help::READY)]
    Ready(Move),
    /// Show leftovers, such as servers out of service, containers put aside or old workers, and how to fix each
    #[command(after_help = help::DOCTOR, mut_args(show_default::<PolicyFlags>))]
    Doctor {
        /// Make the safe fixes: remove stopped containers that a run has put aside
        #[arg(long)]
        fix: bool,
        /// The number of replaced containers to keep per server; these are not reported
        #[arg(long, value_name = "N", env = "DRAINSWAP_KEEP")]
        keep: Option<usize>,
        /// Exit with 20 if something is left
        #[arg(long)]
        exit_code: bool,
    },
    /// Write a drainswap.toml with every key, based on what this machine runs
    #[command(after_help = help::INIT)]
    Init(Init),
    /// Print the JSON Schema of a format that drainswap reads or writes
    #[command(after_help = help::SCHEMA)]
    Schema {
        /// The format to describe
        #[arg(value_enum, value_name = "FORMAT")]
        form: Form,
    },
    /// Print a completion script for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell that loads the script
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page of drainswap, or write the pages of all commands
    #[command(after_help = help::MAN)]
    Man {
        /// The directory for the pages of all commands, created if missing [default: print one page]
        dir: Option<PathBuf>,
    },
    /// Check, show, render and install haproxy.cfg
    #[command(subcommand, after_help = help::CONFIG)]
    Config(ConfigCommand),
}

/// The arguments of `drainswap init`.
#[derive(Args, Debug)]
pub struct Init {
    /// The file to write, - for stdout [default: the file of --settings, or /etc/drainswap/drainswap.toml]
    pub file: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
    /// Inspect nothing, and leave every key at its default
    #[arg(long)]
    pub defaults: bool,
}

#[cfg(test)]
mod tests;
