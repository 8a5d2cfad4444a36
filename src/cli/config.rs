//! What can be typed after `drainswap config`.

use clap::Subcommand;

/// What can be done with haproxy.cfg itself.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show what is wrong in haproxy.cfg, each problem with its line and a caret
    Check,
    /// Show what haproxy.cfg says, inherited settings included; secrets stay hidden
    Show {
        /// Only these frontends, backends and listen sections
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
}
