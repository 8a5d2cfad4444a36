//! Commands of one's own at some moments of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{RunId, ServerId};
use crate::plan::Purpose;

/// The version of the facts that a hook is given.
pub const VERSION: u32 = 1;

/// The exit code by which a hook says: leave this out. It is `EX_TEMPFAIL` of sysexits.h.
pub const SKIP: i32 = 75;

/// When a hook is run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before anything is pulled or created.
    BeforeRun,
    /// Before a container's servers leave rotation.
    BeforeDrain,
    /// When their last session has ended, and nothing is stopped yet.
    AfterDrain,
    /// When the new container answers, and nobody is sent to it yet.
    BeforeEnable,
    /// When they are in service again.
    AfterEnable,
    /// When the run has ended, however it did.
    AfterRun,
}

impl Moment {
    /// Whether what comes then can still be left out.
    #[must_use]
    pub fn may_skip(self) -> bool {
        matches!(self, Self::BeforeRun | Self::BeforeDrain)
    }
}

impl fmt::Display for Moment {
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

/// What a hook is told: as JSON on its standard input, and in its environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookFacts {
    /// The form's version.
    pub version: u32,
    /// Which hook it is.
    pub hook: Moment,
    /// The run.
    pub run: RunId,
    /// The backend that the run is for.
    pub backend: String,
    /// Forward or back.
    pub purpose: Purpose,
    /// The server lines that it is about.
    pub servers: Vec<ServerId>,
    /// The container's name, where it is about one.
    pub container: Option<String>,
    /// What that runs afterwards.
    pub image: Option<String>,
    /// How the run ended, in a word: `deployed`, `rolled_back` …
    pub outcome: Option<String>,
}

impl HookFacts {
    /// The same as environment variables; what is not known has none.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let purpose = match self.purpose {
            Purpose::Deploy => "deploy",
            Purpose::Rollback => "rollback",
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

/// How a hook ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None` where it was killed, because its time was over or by a signal.
    pub code: Option<i32>,
    /// What it printed, line by line: the last of it where that was much.
    pub output: Vec<String>,
}
