//! The limits and choices of a run: the knobs of its policy, and the flags for a single run.

use std::num::NonZeroU32;

use clap::builder::{BoolValueParser, TypedValueParser};
use clap::{ArgAction, Args, value_parser};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choice::choice;
use super::knob::{Knobs, insert_defaults, show_default};
use crate::model::duration::DurationArg;
use crate::model::probe::ProbeUrl;
use crate::plan::scope::Scope;
use crate::plan::silence_check::SilenceCheck;
use crate::plan::surge::SurgeSetting;
use crate::plan::{LbQuorum, OnDrainTimeout, OnFailure, Policy};

/// The limits and choices of a run. Flags that the file skips are for a single run.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(mut_args(show_default::<Self>))]
#[serde(default)]
#[schemars(transform = insert_defaults::<Self>)]
#[expect(clippy::struct_excessive_bools, reason = "each is one flag, given or not")]
pub struct PolicyFlags {
    /// The minimum number of servers per backend that must be serving at any moment.
    #[arg(long, value_name = "N", env = "DRAINSWAP_FLOOR")]
    pub floor: Option<usize>,
    /// How long the sessions of a server may take to end.
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_DRAIN_TIMEOUT")]
    pub drain_timeout: Option<DurationArg>,
    /// What to do if the sessions of a server exceed the drain timeout.
    #[arg(long, value_name = "WHAT", env = "DRAINSWAP_ON_DRAIN_TIMEOUT", value_parser = choice::<OnDrainTimeout>())]
    pub on_drain_timeout: Option<OnDrainTimeout>,
    /// The time over which `shutdown` ends the sessions that exceed the drain timeout.
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_SHUTDOWN_OVER")]
    pub shutdown_over: Option<DurationArg>,
    /// Which of several load balancers must answer.
    #[arg(long, value_name = "WHICH", env = "DRAINSWAP_LB_QUORUM", value_parser = choice::<LbQuorum>())]
    pub lb_quorum: Option<LbQuorum>,
    /// The extra capacity, in percent of the current load, that the remaining servers must have, if all of them have a
    /// maxconn.
    #[arg(long, value_name = "PERCENT", env = "DRAINSWAP_HEADROOM")]
    pub headroom: Option<u32>,
    /// How long a new container may take to answer.
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_READY_TIMEOUT")]
    pub ready_timeout: Option<DurationArg>,
    /// How many times in a row a new container must answer before it gets traffic.
    #[arg(
        long,
        value_name = "N",
        env = "DRAINSWAP_RISE",
        value_parser = value_parser!(u32).range(1..).try_map(NonZeroU32::try_from)
    )]
    pub rise: Option<NonZeroU32>,
    /// A probe for new containers, in addition to the backend's own check: /PATH, or http://{address}:{port}/PATH.
    #[arg(long, value_name = "URL", env = "DRAINSWAP_PROBE")]
    #[schemars(extend("examples" = ["/ready"]))]
    pub probe: Option<ProbeUrl>,
    /// What to do with the servers already replaced if a later one fails.
    #[arg(long, value_name = "WHAT", env = "DRAINSWAP_ON_FAILURE", value_parser = choice::<OnFailure>())]
    pub on_failure: Option<OnFailure>,
    /// The number of replaced containers to keep per server, stopped, for a rollback that needs no image.
    #[arg(long, value_name = "N", env = "DRAINSWAP_KEEP")]
    pub keep: Option<usize>,
    /// Whether a server's address must stop answering when its container stops; use false if a relay keeps answering
    /// there, in drainswap.toml also for single backends: `{ pay = false }`.
    #[arg(
        long,
        value_name = "BOOL",
        env = "DRAINSWAP_SILENCE_CHECK",
        value_parser = BoolValueParser::new().map(SilenceCheck::Everywhere)
    )]
    pub silence_check: Option<SilenceCheck>,
    /// Additional servers for the length of a run, with containers of the new version beside the others: a number, never,
    /// or auto for one where floor or headroom would not hold otherwise.
    #[arg(long, value_name = "N|auto|never", env = "DRAINSWAP_SURGE")]
    pub surge: Option<SurgeSetting>,
    /// Let the container of an additional server write to a volume that only one container writes to otherwise.
    #[arg(long)]
    #[serde(skip)]
    pub surge_shares_volumes: bool,
    /// Give new containers new anonymous volumes, like the Compose flag of this name; the old volumes stay with the old
    /// container until `drainswap prune`.
    #[arg(long)]
    #[serde(skip)]
    pub renew_anon_volumes: bool,
    /// Work only on these servers of the backend, and on servers that share a container with them.
    #[arg(long, value_name = "SERVER", value_delimiter = ',', action = ArgAction::Append)]
    #[serde(skip)]
    pub only: Vec<String>,
    /// Do not create a container for a server whose container is gone; leave the server as it is.
    #[arg(long)]
    #[serde(skip)]
    pub no_create: bool,
    /// Also put servers in service that an operator, or `disabled` in haproxy.cfg, has taken out.
    #[arg(long)]
    #[serde(skip)]
    pub enable: bool,
}

impl PolicyFlags {
    /// Returns a policy in which these values override the given ones.
    #[must_use]
    pub fn over(&self, policy: Policy) -> Policy {
        let time = |time: Option<DurationArg>, or| time.map_or(or, |time| time.0);
        let only = self.only.iter().cloned().collect();
        Policy {
            floor: self.floor.unwrap_or(policy.floor),
            drain_timeout: time(self.drain_timeout, policy.drain_timeout),
            on_drain_timeout: self.on_drain_timeout.unwrap_or(policy.on_drain_timeout),
            shutdown_over: time(self.shutdown_over, policy.shutdown_over),
            lb_quorum: self.lb_quorum.unwrap_or(policy.lb_quorum),
            headroom: self.headroom.unwrap_or(policy.headroom),
            ready_timeout: time(self.ready_timeout, policy.ready_timeout),
            rise: self.rise.map_or(policy.rise, NonZeroU32::get),
            probe: self.probe.clone().or(policy.probe),
            on_failure: self.on_failure.unwrap_or(policy.on_failure),
            keep: self.keep.unwrap_or(policy.keep),
            renew_anon_volumes: self.renew_anon_volumes || policy.renew_anon_volumes,
            surge: self.surge.unwrap_or(policy.surge),
            surge_shares_volumes: self.surge_shares_volumes || policy.surge_shares_volumes,
            silence_check: self.silence_check.clone().unwrap_or(policy.silence_check),
            scope: Scope {
                only: if self.only.is_empty() { policy.scope.only } else { only },
                leave: policy.scope.leave,
                no_create: self.no_create || policy.scope.no_create,
                enable: self.enable || policy.scope.enable,
            },
        }
    }
}

impl Knobs for PolicyFlags {
    fn defaults() -> Self {
        let policy = Policy::default();
        Self {
            floor: Some(policy.floor),
            drain_timeout: Some(DurationArg(policy.drain_timeout)),
            on_drain_timeout: Some(policy.on_drain_timeout),
            shutdown_over: Some(DurationArg(policy.shutdown_over)),
            lb_quorum: Some(policy.lb_quorum),
            headroom: Some(policy.headroom),
            ready_timeout: Some(DurationArg(policy.ready_timeout)),
            rise: NonZeroU32::new(policy.rise),
            probe: policy.probe,
            on_failure: Some(policy.on_failure),
            keep: Some(policy.keep),
            silence_check: Some(policy.silence_check),
            renew_anon_volumes: policy.renew_anon_volumes,
            surge: Some(policy.surge),
            surge_shares_volumes: policy.surge_shares_volumes,
            only: policy.scope.only.into_iter().collect(),
            no_create: policy.scope.no_create,
            enable: policy.scope.enable,
        }
    }
}
