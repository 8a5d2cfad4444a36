//! Hooks: the operator's commands that run at certain points of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::ids::{RunId, ServerId};
use crate::model::run_kind::RunKind;

/// The version of the facts that a hook gets.
pub const VERSION: u32 = 1;

/// The exit code with which a hook skips a run or a lane. It is `EX_TEMPFAIL` of sysexits.h.
pub const SKIP: i32 = 75;

/// The point of a run at which a hook runs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Moment")]
pub enum HookPoint {
    /// Before anything is pulled or created.
    BeforeRun,
    /// Before a container's servers leave rotation.
    BeforeDrain,
    /// When the last session has ended, and nothing is stopped yet.
    AfterDrain,
    /// When the new container answers, but gets no requests yet.
    BeforeEnable,
    /// When the servers are in service again.
    AfterEnable,
    /// When the run has ended, with any outcome.
    AfterRun,
}

impl HookPoint {
    /// Returns whether the hook runs once for each lane.
    #[must_use]
    pub fn is_of_lane(self) -> bool {
        !matches!(self, Self::BeforeRun | Self::AfterRun)
    }

    /// Returns whether the hook may skip what follows.
    #[must_use]
    pub fn may_skip(self) -> bool {
        matches!(self, Self::BeforeRun | Self::BeforeDrain)
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::BeforeRun => "before_run",
            Self::BeforeDrain => "before_drain",
            Self::AfterDrain => "after_drain",
            Self::BeforeEnable => "before_enable",
            Self::AfterEnable => "after_enable",
            Self::AfterRun => "after_run",
        })
    }
}

/// The facts that a hook gets: as JSON on its standard input, and in its environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookContext {
    /// The version of this format.
    pub version: u32,
    pub hook: HookPoint,
    pub run: RunId,
    /// The backend that the run is for.
    pub backend: String,
    /// Whether the run deploys or rolls back.
    pub purpose: RunKind,
    /// The server lines that the hook is run for.
    pub servers: Vec<ServerId>,
    /// The container's name, if the hook is run for one container.
    pub container: Option<String>,
    /// The image that the container runs afterwards.
    pub image: Option<String>,
    /// The run's outcome: `deployed`, `rolled_back` …
    pub outcome: Option<String>,
}

impl HookContext {
    /// Returns the facts as environment variables; an unknown fact has none.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let purpose = match self.purpose {
            RunKind::Deploy => "deploy",
            RunKind::Rollback => "rollback",
        };
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        let known = [
            ("DRAINSWAP_HOOK", Some(self.hook.to_string())),
            ("DRAINSWAP_RUN", Some(self.run.to_string())),
            ("DRAINSWAP_BACKEND", Some(self.backend.clone())),
            ("DRAINSWAP_PURPOSE", Some(purpose.to_owned())),
            ("DRAINSWAP_SERVERS", Some(servers.join(" "))),
            ("DRAINSWAP_CONTAINER", self.container.clone()),
            ("DRAINSWAP_NEW_IMAGE", self.image.clone()),
            ("DRAINSWAP_OUTCOME", self.outcome.clone()),
        ];
        known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// The result of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookResult {
    /// Its exit code; `None` if it timed out or a signal killed it.
    pub code: Option<i32>,
    /// The lines that it printed; if there are many, the last ones.
    pub output: Vec<String>,
}
