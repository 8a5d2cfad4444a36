//! A change of a single server by hand.

use clap::{Args, ValueEnum};

use super::PolicyFlags;
use super::knob::show_default;
use crate::model::duration::DurationArg;
use crate::model::ids::ServerName;
use crate::model::weight::Weight;

/// A change of a single server by hand.
#[derive(Args, Debug)]
#[command(mut_args(show_default::<PolicyFlags>))]
pub struct Move {
    /// The server, as BACKEND/SERVER; SERVER alone means the server of that name in every backend
    #[arg(value_name = "BACKEND/SERVER")]
    pub server: ServerName,
    /// Wait until the last session of the server has ended, or, for ready, until the server answers and HAProxy reports
    /// it up
    #[arg(long)]
    pub wait: bool,
    /// Refuse to leave fewer than N servers serving; 0 also overrides --headroom and an unfinished run
    #[arg(long, value_name = "N", env = "DRAINSWAP_FLOOR")]
    pub floor: Option<usize>,
    /// The extra capacity, in percent of the current load, that the remaining servers must have, if all of them have a
    /// maxconn
    #[arg(long, value_name = "PERCENT", env = "DRAINSWAP_HEADROOM")]
    pub headroom: Option<u32>,
    /// How long --wait may take
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_DRAIN_TIMEOUT")]
    pub drain_timeout: Option<DurationArg>,
    /// Also set the weight of the server: 0 to 256, or a percentage of the weight in haproxy.cfg, such as 50%
    #[arg(long, value_name = "WEIGHT")]
    pub weight: Option<Weight>,
    /// Also turn the health checks of the server on or off
    #[arg(long, value_enum, value_name = "ON|OFF")]
    pub health: Option<OnOff>,
    /// Also turn the agent (agent-check) of the server on or off
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
    /// End the sessions that remain on the server
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
