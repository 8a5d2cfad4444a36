//! What can be typed after `drainswap config`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;

use super::help;
use crate::settings::Span;

/// What can be done with haproxy.cfg itself.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show what is wrong in haproxy.cfg, each problem with its line and a caret
    #[command(after_help = help::CONFIG_CHECK)]
    Check {
        /// Ask HAProxy too, with the arguments of the service that runs
        #[arg(long)]
        with_haproxy: bool,
    },
    /// Show what haproxy.cfg says, inherited settings included; secrets stay hidden
    #[command(after_help = help::CONFIG_SHOW)]
    Show {
        /// Only these frontends, backends and listen sections
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Print the backends of the services that drainswap.toml describes
    #[command(after_help = help::CONFIG_RENDER)]
    Render {
        /// Only these services
        #[arg(value_name = "SERVICE")]
        services: Vec<String>,
        /// Where the templates are.
        #[command(flatten)]
        templates: Templates,
    },
    /// Show what apply would change in haproxy.cfg
    #[command(after_help = help::CONFIG_DIFF)]
    Diff {
        /// What is wanted.
        #[command(flatten)]
        wanted: WantedConfig,
        /// Exit with 20 when there is something to change
        #[arg(long)]
        exit_code: bool,
    },
    /// Install haproxy.cfg and bring HAProxy to it, or leave everything as it was
    ///
    /// The new file is checked by HAProxy itself, takes the old one's place in one step, and is taken back if
    /// HAProxy does not come to run it. What was set at runtime (drain, maint, weights) is set again.
    #[command(after_help = help::CONFIG_APPLY)]
    Apply {
        /// What is wanted.
        #[command(flatten)]
        wanted: WantedConfig,
        /// How HAProxy comes to the new file.
        #[command(flatten)]
        reload: ReloadFlags,
    },
}

/// Where the templates are.
#[derive(Args, Debug, Default)]
pub struct Templates {
    /// A folder with templates of your own, such as backend.cfg.tera
    #[arg(long, value_name = "DIR", env = "DRAINSWAP_TEMPLATES")]
    pub templates: Option<PathBuf>,
}

/// What haproxy.cfg is to become.
#[derive(Args, Debug)]
pub struct WantedConfig {
    /// The services whose backends are rendered into it [default: all of drainswap.toml]
    #[arg(value_name = "SERVICE", conflicts_with = "from")]
    pub services: Vec<String>,
    /// A file that you wrote, to be installed as it is
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Which file of the configuration changes, where there are several [default: the only one]
    #[arg(long, value_name = "FILE")]
    pub target: Option<PathBuf>,
    /// Where the templates are.
    #[command(flatten)]
    pub templates: Templates,
}

/// How HAProxy comes to a new file.
#[derive(Args, Clone, Debug, Default)]
pub struct ReloadFlags {
    /// When HAProxy is reloaded [default: auto]
    #[arg(long, value_enum, value_name = "WHEN", env = "DRAINSWAP_RELOAD")]
    pub reload: Option<ReloadWhen>,
    /// Who reloads it: `master` (its master socket), `systemd`, or a command [default: what is there]
    #[arg(long, value_name = "WHO", env = "DRAINSWAP_RELOAD_BY")]
    pub reload_by: Option<String>,
    /// How long HAProxy may take to run the new file [default: 30s]
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_RELOAD_TIMEOUT")]
    pub reload_timeout: Option<Span>,
    /// How long the sessions of a server that goes may take to end [default: 5m]
    #[arg(long, value_name = "TIME", env = "DRAINSWAP_DRAIN_TIMEOUT")]
    pub drain_timeout: Option<Span>,
}

/// When HAProxy is reloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadWhen {
    /// Where servers only come or go, and HAProxy can do that while it runs, not at all.
    #[default]
    Auto,
    /// Whenever the file says something else than before.
    Always,
    /// Never: what needs it is refused.
    Never,
}
