//! When and how HAProxy is reloaded with a new haproxy.cfg.

use std::time::Duration;

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyFlags;
use super::knob::{Knobs, insert_defaults, show_default};
use crate::model::duration::DurationArg;
use crate::plan::Policy;

/// The options for reloading HAProxy.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(mut_args(show_default::<Self>), mut_args(show_default::<PolicyFlags>))]
#[serde(default)]
#[schemars(transform = insert_defaults::<Self>)]
pub struct ReloadFlags {
    /// When to reload HAProxy with a new haproxy.cfg.
    #[arg(long, value_enum, value_name = "WHEN", env = "DRAINSWAP_RELOAD")]
    pub reload: Option<ReloadWhen>,
    /// How to reload HAProxy: `master` (its master socket), `systemd`, or a command; without it, whichever is
    /// available.
    #[arg(long, value_name = "HOW", env = "DRAINSWAP_RELOAD_BY")]
    #[schemars(extend("examples" = ["systemd"]))]
    pub reload_by: Option<String>,
    /// How long HAProxy may take to run the new file.
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_RELOAD_TIMEOUT")]
    pub reload_timeout: Option<DurationArg>,
    /// How long the sessions of a removed server may take to end.
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_DRAIN_TIMEOUT")]
    #[serde(skip)]
    pub drain_timeout: Option<DurationArg>,
}

impl ReloadFlags {
    /// Returns settings in which these values override the given ones.
    #[must_use]
    pub fn over(&self, settings: Reloading) -> Reloading {
        let time = |time: Option<DurationArg>, or| time.map_or(or, |time| time.0);
        Reloading {
            when: self.reload.unwrap_or(settings.when),
            by: self.reload_by.clone().or(settings.by),
            timeout: time(self.reload_timeout, settings.timeout),
            drain_timeout: time(self.drain_timeout, settings.drain_timeout),
        }
    }
}

impl Knobs for ReloadFlags {
    fn defaults() -> Self {
        let Reloading { when, by, timeout, drain_timeout } = Reloading::default();
        Self {
            reload: Some(when),
            reload_by: by,
            reload_timeout: Some(DurationArg(timeout)),
            drain_timeout: Some(DurationArg(drain_timeout)),
        }
    }
}

/// The settings for reloading HAProxy with a new file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloading {
    pub when: ReloadWhen,
    /// The way to reload: `master`, `systemd` or a command; `None` means the first one that is available.
    pub by: Option<String>,
    /// The maximum time until HAProxy runs the new file.
    pub timeout: Duration,
    /// The maximum time for the sessions of a removed server to end.
    pub drain_timeout: Duration,
}

impl Default for Reloading {
    fn default() -> Self {
        Self {
            when: ReloadWhen::Auto,
            by: None,
            timeout: Duration::from_secs(30),
            drain_timeout: Policy::default().drain_timeout,
        }
    }
}

/// The occasions on which HAProxy is reloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadWhen {
    /// Reload only if HAProxy cannot take over the change at runtime, as it can if servers are only added or removed.
    Auto,
    /// Reload whenever the file has changed.
    Always,
    /// Never reload, and refuse changes that need it.
    Never,
}
