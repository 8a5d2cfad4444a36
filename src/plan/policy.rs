//! The limits of a run, and what it does when one is reached.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use super::scope::Scope;
use super::silence_check::SilenceCheck;
use super::surge::SurgeSetting;
use crate::model::probe::ProbeUrl;

/// The limits and choices of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Policy {
    /// The minimum number of servers per backend that must be serving at any moment.
    pub floor: usize,
    /// The time limit of a drain.
    #[serde(rename = "drain_timeout_ms", with = "crate::model::millis")]
    #[schemars(with = "u64")]
    pub drain_timeout: Duration,
    /// What to do when a drain exceeds its limit.
    pub on_drain_timeout: OnDrainTimeout,
    /// The period over which remaining sessions are shut down, with `shutdown`.
    #[serde(rename = "shutdown_over_ms", with = "crate::model::millis")]
    #[schemars(with = "u64")]
    pub shutdown_over: Duration,
    /// How to treat a load balancer that does not answer.
    pub lb_quorum: LbQuorum,
    /// The spare capacity that the remaining servers must have above the current load, in percent of that load.
    pub headroom: u32,
    /// The time limit for a new container to answer.
    #[serde(rename = "ready_timeout_ms", with = "crate::model::millis")]
    #[schemars(with = "u64")]
    pub ready_timeout: Duration,
    /// The number of successful probes in a row that a new container needs (HAProxy's `rise`).
    #[serde(default = "once")]
    pub rise: u32,
    /// A probe for new containers in addition to the backend's own check.
    #[serde(default)]
    pub probe: Option<ProbeUrl>,
    /// What happens to the servers already replaced when a later one fails.
    pub on_failure: OnFailure,
    /// The number of replaced containers to keep per server, stopped, so that a rollback only has to start one.
    #[serde(default)]
    pub keep: usize,
    /// Whether new containers get new anonymous volumes (Compose's `--renew-anon-volumes`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew_anon_volumes: bool,
    /// Whether a server's address must stop answering when its container stops.
    #[serde(default, skip_serializing_if = "SilenceCheck::is_default")]
    pub silence_check: SilenceCheck,
    /// Whether additional servers join for the length of a run.
    #[serde(default, skip_serializing_if = "SurgeSetting::is_default")]
    pub surge: SurgeSetting,
    /// Whether a surge server's container may write to a volume that only one container writes to otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub surge_shares_volumes: bool,
    /// The server lines that a run works on, and what it may do to servers that are out of service.
    #[serde(default, skip_serializing_if = "Scope::is_default")]
    pub scope: Scope,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            floor: 1,
            drain_timeout: Duration::from_secs(300),
            on_drain_timeout: OnDrainTimeout::Fail,
            shutdown_over: Duration::from_secs(10),
            lb_quorum: LbQuorum::All,
            headroom: 0,
            ready_timeout: Duration::from_secs(60),
            rise: 1,
            probe: None,
            on_failure: OnFailure::Rollback,
            keep: 1,
            renew_anon_volumes: false,
            silence_check: SilenceCheck::default(),
            surge: SurgeSetting::default(),
            surge_shares_volumes: false,
            scope: Scope::default(),
        }
    }
}

/// The default for plans of earlier versions, which required one successful probe.
pub(super) fn once() -> u32 {
    1
}

/// What happens when sessions do not end within the drain limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDrainTimeout {
    /// Fail the drain: put the server back and roll the run back.
    Fail,
    /// Set the server to maint, which also ends what cookies and stick tables bring, and wait the same time again.
    Maint,
    /// Set the server to maint, then shut down the remaining sessions one by one over a period of time.
    Shutdown,
    /// Stop the container, which cuts the remaining sessions.
    Force,
}

/// What happens to the servers already replaced when a later one fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Give every replaced server its old container back, one server at a time.
    Rollback,
    /// Keep the new containers and put back only the failed server.
    Stop,
}

/// How to treat a load balancer that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LbQuorum {
    /// Require all: do not start a run without one, and roll it back if one stops answering.
    All,
    /// Continue with those that answer, and bring one that returns up to date.
    Reachable,
}
