//! The options of every command.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ci::CiFlags;
use crate::cfg::Version;
use crate::model::duration::DurationArg;

/// The options of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
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
    /// The container engine: unix, tcp, https or ssh://, or context:NAME [default: the endpoint of the docker command]
    #[arg(long, global = true, value_name = "ENDPOINT", env = "DRAINSWAP_DOCKER", hide_env_values = true)]
    pub docker: Option<String>,
    /// The settings file to read [default: /etc/drainswap/drainswap.toml if it exists]
    #[arg(long, global = true, value_name = "FILE", env = "DRAINSWAP_SETTINGS")]
    pub settings: Option<PathBuf>,
    /// Read haproxy.cfg as this version of HAProxy does, such as 2.6 [default: the version of the installed binary]
    #[arg(long = "as", global = true, value_name = "VERSION", env = "DRAINSWAP_AS")]
    pub read_as: Option<Version>,
    /// HAProxy's binary, to check files with
    /// [default: the binary of its unit, then haproxy in $PATH, then /usr/sbin/haproxy]
    #[arg(long, global = true, value_name = "PATH", env = "DRAINSWAP_HAPROXY")]
    pub haproxy: Option<PathBuf>,
    /// The directory for locks and journals [default: /var/lib/drainswap]
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
    /// The format of the result on stdout; messages go to stderr
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
