//! The command line. Doc comments here are the help texts.

mod ci;
mod config;
pub mod form;
mod help;
#[cfg(test)]
mod reference;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::ContextValue;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::cfg::Version;
use crate::model::duration::DurationArg;
use crate::model::ids::ServerName;
use crate::model::image::ImageReference;
use crate::model::probe::ProbeUrl;
use crate::model::sanitize;
use crate::model::secret::redact;
use crate::model::weight::Weight;
use crate::plan::{LbQuorum, OnDrainTimeout, OnFailure};
use form::Form;

pub use ci::CiFlags;
pub use config::{ConfigCommand, DesiredConfigArgs, ReloadFlags, ReloadWhen, Templates};

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

/// The options of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct Globals {
    /// haproxy.cfg, or a directory of .cfg files; repeat for more, in HAProxy's order
    /// [default: /etc/haproxy/haproxy.cfg, or the files of a HAProxy in a container]
    #[arg(
        short = 'f',
        long,
        global = true,
        value_name = "PATH",
        env = "DRAINSWAP_HAPROXY_CONFIG",
        value_delimiter = ','
    )]
    pub haproxy_config: Vec<PathBuf>,
    /// HAProxy's runtime socket: a path or host:port; repeat for more load balancers with the same haproxy.cfg
    /// [default: the `stats socket … level admin` of haproxy.cfg]
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        env = "DRAINSWAP_SOCKET",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub socket: Vec<String>,
    /// HAProxy's master socket; repeat for more, in the order of --socket [default: the -S of the running HAProxy]
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        env = "DRAINSWAP_MASTER_SOCKET",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub master_socket: Vec<String>,
    /// The container engine: unix, tcp, https or ssh://, or context:NAME [default: that of the docker command]
    #[arg(long, global = true, value_name = "ENDPOINT", env = "DRAINSWAP_DOCKER", hide_env_values = true)]
    pub docker: Option<String>,
    /// The settings file [default: /etc/drainswap/drainswap.toml if it exists]
    #[arg(long, global = true, value_name = "FILE", env = "DRAINSWAP_SETTINGS")]
    pub settings: Option<PathBuf>,
    /// Read haproxy.cfg as this branch of HAProxy does, such as 2.6 [default: that of the installed binary]
    #[arg(long = "as", global = true, value_name = "VERSION", env = "DRAINSWAP_AS")]
    pub read_as: Option<Version>,
    /// HAProxy's binary [default: that of its unit, then haproxy in $PATH, then /usr/sbin/haproxy]
    #[arg(long, global = true, value_name = "PATH", env = "DRAINSWAP_HAPROXY")]
    pub haproxy: Option<PathBuf>,
    /// Directory for locks and journals [default: /var/lib/drainswap]
    #[arg(long, global = true, value_name = "DIR", env = "DRAINSWAP_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Also accept this user as the owner of the settings file and the state directory; repeat for more
    #[arg(long, global = true, value_name = "USER")]
    pub trust_owner: Vec<String>,
    /// How long to wait for another drainswap that works on the backend [default: 0s]
    #[arg(long, global = true, value_name = "TIME", env = "DRAINSWAP_LOCK_WAIT")]
    pub lock_wait: Option<DurationArg>,
    /// Also append events to FILE, one JSON object per line
    #[arg(long, global = true, value_name = "FILE", env = "DRAINSWAP_EVENTS")]
    pub events: Option<PathBuf>,
    /// Format of the result on stdout; messages go to stderr
    #[arg(short, long, global = true, value_enum, default_value_t, env = "DRAINSWAP_OUTPUT")]
    pub output: Output,
    /// Print only what went wrong
    #[arg(short, long, global = true, env = "DRAINSWAP_QUIET", value_parser = clap::builder::FalseyValueParser::new())]
    pub quiet: bool,
    /// Also print the requests to HAProxy and the engine
    #[arg(short, long, global = true)]
    pub verbose: bool,
    #[command(flatten)]
    pub ci: CiFlags,
}

/// The format of the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text for people.
    #[default]
    Text,
    /// JSON: `status` and `plan` print one object; a run prints one event per line, the last one with its outcome.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every server: its state, sessions, container and image, and whether it answers
    #[command(after_help = help::STATUS)]
    Status {
        /// Only these backends
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
        /// The backend [default: every backend with an unfinished run]
        backend: Option<String>,
        /// Undo what the run started
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
    /// Return to what ran before the last deploy, with the same care
    ///
    /// If the last run was killed before it finished, rollback undoes what it started.
    #[command(after_help = help::ROLLBACK)]
    Rollback {
        /// The backend
        backend: String,
        /// Return to what this run deployed, or to the image with this digest (see drainswap history)
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
        /// The backend, which has the same name at both sites
        backend: String,
        /// Settings file of the site that runs the image
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Settings file of the site that gets the image
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        policy: PolicyFlags,
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Show what a backend ran before, and whether a rollback can return to it
    #[command(after_help = help::HISTORY)]
    History {
        /// The backend
        backend: String,
    },
    /// Write a run as one HTML page: every server over time, drains, requests, probes, and the plan with its reasons
    #[command(after_help = help::REPORT)]
    Report {
        /// The run (see drainswap history) [default: the last one]
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
        /// The backend
        backend: String,
    },
    /// Remove containers, with their renewed volumes, and images that no rollback needs any more
    #[command(after_help = help::PRUNE)]
    Prune {
        /// Only these backends
        #[arg(value_name = "BACKEND")]
        backends: Vec<String>,
        /// Replaced containers to keep per server [default: 1]
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
    #[command(after_help = help::DOCTOR)]
    Doctor {
        /// Make the safe fixes: remove stopped containers that a run has put aside
        #[arg(long)]
        fix: bool,
        /// Replaced containers to keep per server; these are not reported [default: 1]
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
        /// The format
        #[arg(value_enum)]
        form: Form,
    },
    /// Print a completion script for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page of drainswap, or write the pages of all commands
    #[command(after_help = help::MAN)]
    Man {
        /// Directory for the pages of all commands, created if missing [default: print one page]
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

/// The backend and the image to deploy.
#[derive(Args, Debug)]
pub struct DeployGoal {
    /// The backend
    pub backend: String,
    /// The image, by tag or digest [default: the one in the service's description in drainswap.toml]
    #[arg(long, value_name = "REF", env = "DRAINSWAP_IMAGE")]
    pub image: Option<ImageReference>,
}

/// The backend and the image to deploy, or a saved plan.
#[derive(Args, Debug)]
pub struct DeployOrPlan {
    /// The backend
    #[arg(required_unless_present = "plan")]
    pub backend: Option<String>,
    /// The image, by tag or digest [default: the one in the service's description in drainswap.toml]
    #[arg(long, value_name = "REF", env = "DRAINSWAP_IMAGE")]
    pub image: Option<ImageReference>,
    /// Apply the plan that `plan --save` wrote to FILE (- for stdin), or refuse and list everything that has changed
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Refuse a plan file with another SHA-256 than this one, which `plan --save` printed
    #[arg(long, value_name = "SHA256", requires = "plan", value_parser = digest)]
    pub approved: Option<String>,
}

/// Parses 64 hexadecimal digits, as `sha256sum` prints them, with or without `sha256:` in front.
fn digest(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() == 64 && digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_lowercase());
    }
    Err("expected the 64 hexadecimal digits of a SHA-256".to_owned())
}

/// The limits and choices of a run.
#[derive(Args, Clone, Debug, Default)]
pub struct PolicyFlags {
    /// Minimum number of servers per backend that must be serving at any moment [default: 1]
    #[arg(long, value_name = "N", env = "DRAINSWAP_FLOOR")]
    pub floor: Option<usize>,
    /// How long the sessions of a server may take to end [default: 5m]
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_DRAIN_TIMEOUT")]
    pub drain_timeout: Option<DurationArg>,
    /// What to do if they take longer [default: fail]
    #[arg(long, value_enum, value_name = "WHAT", env = "DRAINSWAP_ON_DRAIN_TIMEOUT")]
    pub on_drain_timeout: Option<OnDrainTimeout>,
    /// Time over which --on-drain-timeout shutdown ends the sessions [default: 10s]
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_SHUTDOWN_OVER")]
    pub shutdown_over: Option<DurationArg>,
    /// Which of several load balancers must answer [default: all]
    #[arg(long, value_enum, value_name = "WHICH", env = "DRAINSWAP_LB_QUORUM")]
    pub lb_quorum: Option<LbQuorum>,
    /// Extra capacity, in percent of the current load, that the remaining servers must have, if all of them have a
    /// maxconn [default: 0]
    #[arg(long, value_name = "PERCENT", env = "DRAINSWAP_HEADROOM")]
    pub headroom: Option<u32>,
    /// How long a new container may take to answer [default: 60s]
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_READY_TIMEOUT")]
    pub ready_timeout: Option<DurationArg>,
    /// How many times in a row it must then answer [default: 1]
    #[arg(long, value_name = "N", env = "DRAINSWAP_RISE", value_parser = clap::value_parser!(u32).range(1..))]
    pub rise: Option<u32>,
    /// Probe for new containers, in addition to the backend's own check: /PATH, or http://{address}:{port}/PATH
    #[arg(long, value_name = "URL", env = "DRAINSWAP_PROBE")]
    pub probe: Option<ProbeUrl>,
    /// What to do with the servers already replaced if a later one fails [default: rollback]
    #[arg(long, value_enum, value_name = "WHAT", env = "DRAINSWAP_ON_FAILURE")]
    pub on_failure: Option<OnFailure>,
    /// Replaced containers to keep per server, stopped, for a rollback that needs no image [default: 1]
    #[arg(long, value_name = "N", env = "DRAINSWAP_KEEP")]
    pub keep: Option<usize>,
    /// Whether a server's address must stop answering when its container stops; use false if a relay keeps answering
    /// there [default: true]
    #[arg(long, value_name = "BOOL", env = "DRAINSWAP_SILENCE_CHECK")]
    pub silence_check: Option<bool>,
    /// Give new containers new anonymous volumes, like the Compose flag of this name; the old volumes stay with the old
    /// container until `drainswap prune`
    #[arg(long)]
    pub renew_anon_volumes: bool,
    /// Work only on these servers of the backend, and on servers that share a container with them
    #[arg(long, value_name = "SERVER", value_delimiter = ',', action = ArgAction::Append)]
    pub only: Vec<String>,
    /// Do not create a container for a server whose container is gone; leave the server as it is
    #[arg(long)]
    pub no_create: bool,
    /// Also put servers in service that an operator, or `disabled` in haproxy.cfg, has taken out
    #[arg(long)]
    pub enable: bool,
}

/// A change of a single server by hand.
#[derive(Args, Debug)]
pub struct Move {
    /// The server, as BACKEND/SERVER; SERVER alone means the server of that name in every backend
    #[arg(value_name = "BACKEND/SERVER")]
    pub server: ServerName,
    /// Wait until its last session has ended, or, for ready, until it answers and HAProxy has it up
    #[arg(long)]
    pub wait: bool,
    /// Refuse to leave fewer than N servers serving; 0 also overrides an unfinished run [default: 1]
    #[arg(long, value_name = "N", env = "DRAINSWAP_FLOOR")]
    pub floor: Option<usize>,
    /// How long --wait may take [default: 5m]
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_DRAIN_TIMEOUT")]
    pub drain_timeout: Option<DurationArg>,
    /// Also set its weight: 0 to 256, or a percentage of the weight in haproxy.cfg, such as 50%
    #[arg(long, value_name = "WEIGHT")]
    pub weight: Option<Weight>,
    /// Also turn its health checks on or off
    #[arg(long, value_enum, value_name = "ON|OFF")]
    pub health: Option<OnOff>,
    /// Also turn its agent (agent-check) on or off
    #[arg(long, value_enum, value_name = "ON|OFF")]
    pub agent: Option<OnOff>,
    /// Do nothing if the server does not exist, instead of failing
    #[arg(long)]
    pub if_exists: bool,
    /// Only show what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// The options of `drainswap maint` alone.
#[derive(Args, Debug, Default)]
pub struct MaintFlags {
    /// Drain it first, and wait up to --drain-timeout for its last session to end
    #[arg(long)]
    pub drain_first: bool,
    /// End the remaining sessions
    #[arg(long)]
    pub shutdown_sessions: bool,
}

/// Whether a check is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// The check runs.
    On,
    /// The check is paused.
    Off,
}

#[cfg(test)]
mod tests;
