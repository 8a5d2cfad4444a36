//! What can be typed.

mod ci;
mod config;
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
use crate::foreign;
use crate::ids::ServerName;
use crate::image::ImageReference;
use crate::plan::{LbQuorum, OnDrainTimeout, OnFailure};
use crate::probe::ProbeUrl;
use crate::schema::Form;
use crate::secret::shown;
use crate::settings::Span;
use crate::weight::Weight;

pub use ci::CiFlags;
pub use config::{ConfigCommand, ReloadFlags, ReloadWhen, Templates, WantedConfig};

/// Replaces Docker containers behind HAProxy without losing a request.
///
/// drainswap reads haproxy.cfg, finds the container behind every server line, and one server at a time: drains
/// it, waits until its last session has ended, replaces the container, proves that the new one answers, and puts
/// the server back.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = help::DRAINSWAP)]
pub struct Cli {
    /// What goes with every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads a command line. What is refused is told without the passwords that may stand in it.
    ///
    /// # Errors
    /// What is wrong with it, or what was asked for with `--help` and `--version`.
    pub fn read(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        Self::try_parse_from(words).map_err(|mut error| {
            let told: Vec<_> = error.context().map(|(kind, value)| (kind, value.clone())).collect();
            for (kind, value) in told {
                if let ContextValue::String(text) = value {
                    error.insert(kind, ContextValue::String(foreign::line(&shown(&text))));
                }
            }
            error
        })
    }
}

/// What goes with every command.
#[derive(Args, Clone, Debug, Default)]
pub struct Globals {
    /// haproxy.cfg, or a directory of .cfg files; again for more, in HAProxy's order
    /// [default: /etc/haproxy/haproxy.cfg, or those of a HAProxy in a container]
    #[arg(
        short = 'f',
        long,
        global = true,
        value_name = "PATH",
        env = "DRAINSWAP_HAPROXY_CONFIG",
        value_delimiter = ','
    )]
    pub haproxy_config: Vec<PathBuf>,
    /// HAProxy's runtime socket: a path or host:port; again for more load balancers with the same haproxy.cfg
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
    /// The socket of HAProxy's master process; again for more, in the order of --socket [default: the -S of the
    /// running HAProxy]
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        env = "DRAINSWAP_MASTER_SOCKET",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub master_socket: Vec<String>,
    /// The container engine: unix, tcp, https or ssh://, or context:NAME [default: as the docker command]
    #[arg(long, global = true, value_name = "ENDPOINT", env = "DRAINSWAP_DOCKER", hide_env_values = true)]
    pub docker: Option<String>,
    /// The settings file [default: /etc/drainswap/drainswap.toml if it exists]
    #[arg(long, global = true, value_name = "FILE", env = "DRAINSWAP_SETTINGS")]
    pub settings: Option<PathBuf>,
    /// The branch of HAProxy that haproxy.cfg is read as, such as 2.6 [default: the installed binary's]
    #[arg(long = "as", global = true, value_name = "VERSION", env = "DRAINSWAP_AS")]
    pub read_as: Option<Version>,
    /// HAProxy's binary [default: the one of its unit, then haproxy in $PATH, then /usr/sbin/haproxy]
    #[arg(long, global = true, value_name = "PATH", env = "DRAINSWAP_HAPROXY")]
    pub haproxy: Option<PathBuf>,
    /// Where locks and journals are kept [default: /var/lib/drainswap]
    #[arg(long, global = true, value_name = "DIR", env = "DRAINSWAP_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Accept this user, too, as the owner of the settings file and the state directory; again for more
    #[arg(long, global = true, value_name = "USER")]
    pub trust_owner: Vec<String>,
    /// How long to wait where another drainswap works on the backend [default: 0s]
    #[arg(long, global = true, value_name = "TIME", env = "DRAINSWAP_LOCK_WAIT")]
    pub lock_wait: Option<Span>,
    /// Where else to tell what happens in a run: one JSON object a line, at the end of this file
    #[arg(long, global = true, value_name = "FILE", env = "DRAINSWAP_EVENTS")]
    pub events: Option<PathBuf>,
    /// What goes to stdout; everything for people goes to stderr
    #[arg(short, long, global = true, value_enum, default_value_t, env = "DRAINSWAP_OUTPUT")]
    pub output: Output,
    /// Say only what went wrong
    #[arg(short, long, global = true, env = "DRAINSWAP_QUIET", value_parser = clap::builder::FalseyValueParser::new())]
    pub quiet: bool,
    /// Say also what HAProxy and the engine are asked
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// How a run is told to a CI system.
    #[command(flatten)]
    pub ci: CiFlags,
}

/// The form of the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// `status` and `plan` print one object; a run prints one event a line and ends with its outcome.
    Json,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every server: its state, its sessions, its container and image, whether it answers
    #[command(after_help = help::STATUS)]
    Status {
        /// Only these backends
        #[arg(value_name = "BACKEND")]
        backends: Vec<String>,
        /// Look again and again, until Ctrl-C [default: every 2s]
        #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "2s")]
        watch: Option<Span>,
    },
    /// Show what deploy would do, step by step, each with its cause and where traffic goes meanwhile
    #[command(after_help = help::PLAN)]
    Plan {
        /// What to deploy.
        #[command(flatten)]
        goal: DeployGoal,
        /// The limits and choices.
        #[command(flatten)]
        policy: PolicyFlags,
        /// Exit with 20 when there is something to do
        #[arg(long)]
        exit_code: bool,
        /// Save the plan in this file (- for stdout), until `deploy --plan` applies exactly that
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
    },
    /// Replace the containers of a backend, one server at a time
    #[command(after_help = help::DEPLOY)]
    Deploy {
        /// What to deploy.
        #[command(flatten)]
        goal: DeployOrPlan,
        /// The limits and choices.
        #[command(flatten)]
        policy: PolicyFlags,
        /// Where the last run was not finished (it was killed), resume it first
        #[arg(long, conflicts_with = "plan")]
        resume_first: bool,
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Bring a run that was killed or got stuck to its end: forward, or back with --undo
    ///
    /// What it had in its hands is seen through or put back, and the rest is planned anew, with the limits that the run had.
    /// Those that are typed here take their place; variables and settings do not count.
    #[command(after_help = help::RESUME, mut_args(|arg| arg.env(Resettable::Reset)))]
    Resume {
        /// The backend [default: every one with a run that was not finished]
        backend: Option<String>,
        /// Take back what the run had begun
        #[arg(long)]
        undo: bool,
        /// Take a run that another site has left in the state directory as one of this site
        #[arg(long, value_name = "RUN", conflicts_with = "backend")]
        adopt: Option<String>,
        /// The limits and choices that are others than the run's.
        #[command(flatten)]
        policy: PolicyFlags,
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Go back to what ran before the last deploy, the same careful way
    ///
    /// Where the last run was not finished (it was killed), what it had begun is taken back.
    #[command(after_help = help::ROLLBACK)]
    Rollback {
        /// The backend
        backend: String,
        /// Further back: to what this run had deployed, or to the image with this digest (drainswap history)
        #[arg(long, value_name = "RUN|DIGEST")]
        to: Option<String>,
        /// The limits and choices.
        #[command(flatten)]
        policy: PolicyFlags,
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Deploy what another place runs, by digest: from staging to production
    ///
    /// Both places are described by their settings files alone; it is refused where the first is mixed, does not serve,
    /// or its last run did not succeed.
    #[command(after_help = help::PROMOTE)]
    Promote {
        /// The backend, of that name in both places
        backend: String,
        /// The settings of the place that runs it
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// The settings of the place that gets it
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// The limits and choices.
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
    /// Write a run as one page of HTML: every server over time, drains, requests, probes, the plan and its causes
    #[command(after_help = help::REPORT)]
    Report {
        /// The run (drainswap history) [default: the last one]
        run: Option<String>,
        /// Where to [default: stdout]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Ask the run on a backend to stop at its next safe point, as Ctrl-C does where it runs
    ///
    /// A drain is given up and the server put back; a container that has been stopped is seen through to its successor.
    /// --lock-wait says how long its end is waited for. Asked twice, it takes back at once what is under way; a Ctrl-C
    /// where the run is does not count as the first time.
    #[command(after_help = help::STOP)]
    Stop {
        /// The backend
        backend: String,
    },
    /// Remove containers, with their volumes that were renewed, and images that no rollback needs any more
    #[command(after_help = help::PRUNE)]
    Prune {
        /// Only these backends
        #[arg(value_name = "BACKEND")]
        backends: Vec<String>,
        /// How many replaced containers of each server stay [default: 1]
        #[arg(long, value_name = "N", env = "DRAINSWAP_KEEP")]
        keep: Option<usize>,
        /// Only show what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a server out of the balance; persistent clients still reach it
    #[command(after_help = help::DRAIN)]
    Drain(Move),
    /// Take a server out altogether; its health checks stop
    #[command(after_help = help::MAINT)]
    Maint {
        /// Which server, and how.
        #[command(flatten)]
        server: Move,
        /// How it leaves.
        #[command(flatten)]
        leave: Leave,
    },
    /// Put a server back in service
    #[command(after_help = help::READY)]
    Ready(Move),
    /// Show what was left behind: servers out of service, containers put aside, old workers, and what mends each
    #[command(after_help = help::DOCTOR)]
    Doctor {
        /// Do what cannot harm: remove containers that a run has put aside, which do not run
        #[arg(long)]
        fix: bool,
        /// How many replaced containers of each server are kept, and so are none of this [default: 1]
        #[arg(long, value_name = "N", env = "DRAINSWAP_KEEP")]
        keep: Option<usize>,
        /// Exit with 20 when something is left
        #[arg(long)]
        exit_code: bool,
    },
    /// Write a drainswap.toml with every key, from what is found on this machine
    #[command(after_help = help::INIT)]
    Init(Init),
    /// Print the form of what drainswap writes and reads, as a JSON Schema
    #[command(after_help = help::SCHEMA)]
    Schema {
        /// Which form
        #[arg(value_enum)]
        form: Form,
    },
    /// Print what completes commands and options in a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page of drainswap, or write the pages of all commands
    #[command(after_help = help::MAN)]
    Man {
        /// Where to write all pages; it is made where it is missing [default: one page to stdout]
        dir: Option<PathBuf>,
    },
    /// Read, render and install haproxy.cfg
    #[command(subcommand, after_help = help::CONFIG)]
    Config(ConfigCommand),
}

/// Which drainswap.toml is written.
#[derive(Args, Debug)]
pub struct Init {
    /// Where to, - for stdout [default: the file of --settings, or /etc/drainswap/drainswap.toml]
    pub file: Option<PathBuf>,
    /// Write it anew where it is there already
    #[arg(long)]
    pub force: bool,
    /// Look at nothing, and leave every key at its default
    #[arg(long)]
    pub defaults: bool,
}

/// What to deploy.
#[derive(Args, Debug)]
pub struct DeployGoal {
    /// The backend
    pub backend: String,
    /// The image, by tag or digest; the one that drainswap.toml describes the service with, if it is left out
    #[arg(long, value_name = "REF", env = "DRAINSWAP_IMAGE")]
    pub image: Option<ImageReference>,
}

/// What to deploy, or the plan that says so.
#[derive(Args, Debug)]
pub struct DeployOrPlan {
    /// The backend
    #[arg(required_unless_present = "plan")]
    pub backend: Option<String>,
    /// The image, by tag or digest; the one that drainswap.toml describes the service with, if it is left out
    #[arg(long, value_name = "REF", env = "DRAINSWAP_IMAGE")]
    pub image: Option<ImageReference>,
    /// Apply the plan that `plan --save` has put into this file (- for stdin), or refuse with all that is not as it was
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Refuse a plan file whose SHA-256 is another one than `plan --save` has told
    #[arg(long, value_name = "SHA256", requires = "plan", value_parser = digest)]
    pub approved: Option<String>,
}

/// 64 hexadecimal digits, as `sha256sum` prints them, or with `sha256:` before them.
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
    /// The least number of servers, per backend, that must be serving at any moment [default: 1]
    #[arg(long, value_name = "N", env = "DRAINSWAP_FLOOR")]
    pub floor: Option<usize>,
    /// How long the sessions of a server may take to end [default: 5m]
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_DRAIN_TIMEOUT")]
    pub drain_timeout: Option<Span>,
    /// What happens when they take longer [default: fail]
    #[arg(long, value_enum, value_name = "WHAT", env = "DRAINSWAP_ON_DRAIN_TIMEOUT")]
    pub on_drain_timeout: Option<OnDrainTimeout>,
    /// Over how long --on-drain-timeout shutdown ends sessions [default: 10s]
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_SHUTDOWN_OVER")]
    pub shutdown_over: Option<Span>,
    /// What a load balancer that does not answer means, where there are several [default: all]
    #[arg(long, value_enum, value_name = "WHO", env = "DRAINSWAP_LB_QUORUM")]
    pub lb_quorum: Option<LbQuorum>,
    /// How many per cent more than what runs now the servers that stay must have room for, where all of them have a
    /// maxconn [default: 0]
    #[arg(long, value_name = "PERCENT", env = "DRAINSWAP_HEADROOM")]
    pub headroom: Option<u32>,
    /// How long a new container may take until it answers [default: 60s]
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_READY_TIMEOUT")]
    pub ready_timeout: Option<Span>,
    /// How many times in a row it must answer then [default: 1]
    #[arg(long, value_name = "N", env = "DRAINSWAP_RISE", value_parser = clap::value_parser!(u32).range(1..))]
    pub rise: Option<u32>,
    /// What a new container is asked beside the backend's own check: /PATH, or http://{address}:{port}/PATH
    #[arg(long, value_name = "URL", env = "DRAINSWAP_PROBE")]
    pub probe: Option<ProbeUrl>,
    /// What happens to the servers already replaced when a later one fails [default: rollback]
    #[arg(long, value_enum, value_name = "WHAT", env = "DRAINSWAP_ON_FAILURE")]
    pub on_failure: Option<OnFailure>,
    /// How many replaced containers of each server are kept, stopped, for a rollback that needs no image [default: 1]
    #[arg(long, value_name = "N", env = "DRAINSWAP_KEEP")]
    pub keep: Option<usize>,
    /// Whether a server's address must stop answering when its container stops; false where a relay keeps answering
    /// there [default: true]
    #[arg(long, value_name = "BOOL", env = "DRAINSWAP_SILENCE_CHECK")]
    pub silence_check: Option<bool>,
    /// Give new containers new volumes in the place of those without a name, as Compose does; the old ones stay with the
    /// old container until `drainswap prune`
    #[arg(long)]
    pub renew_anon_volumes: bool,
    /// Work only on these servers of the backend, and on whatever shares a container with them
    #[arg(long, value_name = "SERVER", value_delimiter = ',', action = ArgAction::Append)]
    pub only: Vec<String>,
    /// Create no container for a server whose container is gone: leave the server as it is
    #[arg(long)]
    pub no_create: bool,
    /// Also put servers in service that a person, or `disabled` in haproxy.cfg, has taken out
    #[arg(long)]
    pub enable: bool,
}

/// A single move of a single server, for a person.
#[derive(Args, Debug)]
pub struct Move {
    /// The server, as BACKEND/SERVER; SERVER alone means it in every backend that has one of that name
    #[arg(value_name = "BACKEND/SERVER")]
    pub server: ServerName,
    /// Wait: until its last session has ended, or, for ready, until it answers and HAProxy has it up
    #[arg(long)]
    pub wait: bool,
    /// Refuse when fewer servers of the backend would be serving; 0 lets the last one go, and one of a run that was not
    /// finished [default: 1]
    #[arg(long, value_name = "N", env = "DRAINSWAP_FLOOR")]
    pub floor: Option<usize>,
    /// How long --wait waits [default: 5m]
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_DRAIN_TIMEOUT")]
    pub drain_timeout: Option<Span>,
    /// Set its weight, too: 0 to 256, or a share of what haproxy.cfg says, such as 50%
    #[arg(long, value_name = "WEIGHT")]
    pub weight: Option<Weight>,
    /// Turn its health checks on or off, too
    #[arg(long, value_enum, value_name = "TURN")]
    pub health: Option<Turn>,
    /// Turn its agent (agent-check) on or off, too
    #[arg(long, value_enum, value_name = "TURN")]
    pub agent: Option<Turn>,
    /// Do nothing where there is no such server, instead of failing
    #[arg(long)]
    pub if_exists: bool,
    /// Only show what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// How a server leaves altogether.
#[derive(Args, Debug, Default)]
pub struct Leave {
    /// Drain it first, and wait until its last session has ended, --drain-timeout at most
    #[arg(long)]
    pub drain_first: bool,
    /// End the sessions that are left
    #[arg(long)]
    pub shutdown_sessions: bool,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Turn {
    /// At work.
    On,
    /// Not at work.
    Off,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn help_shows_no_address_of_the_environment() {
        let command = Cli::command();
        for name in ["socket", "master_socket", "docker"] {
            let arg = command.get_arguments().find(|arg| arg.get_id() == name).expect(name);
            assert!(arg.is_hide_env_values_set(), "{name}");
        }
    }

    #[test]
    fn what_is_refused_is_told_without_passwords() {
        for words in [
            &["deploy", "mobile", "--image", "https://deployer:hunter2@r.io/mobile:v1"][..],
            &["deploy", "mobile", "--probe", "http://admin:hunter2@{address}/"],
            &["status", "mobile", "--colour=deployer:hunter2@r.io"],
            &["stop", "mobile", "tcp://admin:hunter2@lb1:9999"],
        ] {
            let told = Cli::read([&["drainswap"][..], words].concat()).unwrap_err().to_string();
            assert!(!told.contains("hunter2") && told.contains("error: "), "{told}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
