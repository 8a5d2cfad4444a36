//! The limits and choices of a run.

use clap::{ArgAction, Args};

use super::choice::choice;
use crate::model::duration::DurationArg;
use crate::model::probe::ProbeUrl;
use crate::plan::{LbQuorum, OnDrainTimeout, OnFailure};

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
    #[arg(long, value_parser = choice::<OnDrainTimeout>(), value_name = "WHAT", env = "DRAINSWAP_ON_DRAIN_TIMEOUT")]
    pub on_drain_timeout: Option<OnDrainTimeout>,
    /// Time over which --on-drain-timeout shutdown ends the sessions [default: 10s]
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_SHUTDOWN_OVER")]
    pub shutdown_over: Option<DurationArg>,
    /// Which of several load balancers must answer [default: all]
    #[arg(long, value_parser = choice::<LbQuorum>(), value_name = "WHICH", env = "DRAINSWAP_LB_QUORUM")]
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
    #[arg(long, value_parser = choice::<OnFailure>(), value_name = "WHAT", env = "DRAINSWAP_ON_FAILURE")]
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
