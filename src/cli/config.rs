//! The commands of `drainswap config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ReloadFlags, help};

/// The commands of `drainswap config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show the problems in haproxy.cfg, each with its line and a caret
    #[command(after_help = help::CONFIG_CHECK)]
    Check {
        /// Also check with HAProxy itself, with the arguments of the running service
        #[arg(long)]
        with_haproxy: bool,
    },
    /// Show the settings of haproxy.cfg, including inherited ones; secrets stay hidden
    #[command(after_help = help::CONFIG_SHOW)]
    Show {
        /// The frontends, backends and listen sections to show [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Print the backends of the services that drainswap.toml describes
    #[command(after_help = help::CONFIG_RENDER)]
    Render {
        /// The services to print [default: all]
        #[arg(value_name = "SERVICE")]
        services: Vec<String>,
        #[command(flatten)]
        templates: Templates,
    },
    /// Show what apply would change in haproxy.cfg
    #[command(after_help = help::CONFIG_DIFF)]
    Diff {
        #[command(flatten)]
        wanted: DesiredConfigArgs,
        /// Exit with 20 if there is something to change
        #[arg(long)]
        exit_code: bool,
    },
    /// Install haproxy.cfg and make HAProxy run it, or leave everything as it was
    ///
    /// HAProxy itself checks the new file, which then replaces the old one in one step. If HAProxy does not run the new
    /// file, drainswap restores the old one. States that were set at runtime (drain, maint, weights) are set again.
    #[command(after_help = help::CONFIG_APPLY)]
    Apply {
        #[command(flatten)]
        wanted: DesiredConfigArgs,
        #[command(flatten)]
        reload: ReloadFlags,
    },
}

/// The directory of the templates.
#[derive(Args, Debug, Default)]
pub struct Templates {
    /// The directory of templates that replace the built-in ones, such as backend.cfg.tera
    #[arg(long, value_name = "DIR", env = "DRAINSWAP_TEMPLATES")]
    pub templates: Option<PathBuf>,
}

/// The source of the new haproxy.cfg.
#[derive(Args, Debug)]
pub struct DesiredConfigArgs {
    /// The services whose backends are rendered into haproxy.cfg [default: all in drainswap.toml]
    #[arg(value_name = "SERVICE", conflicts_with = "from")]
    pub services: Vec<String>,
    /// Install this file as it is, instead of rendering services
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// The file of the configuration to change, if there are several [default: the only one]
    #[arg(long, value_name = "FILE")]
    pub target: Option<PathBuf>,
    #[command(flatten)]
    pub templates: Templates,
}
