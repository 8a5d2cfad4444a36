//! `drainswap config`: checks, shows, renders and installs haproxy.cfg.

mod apply;
mod check;
mod desired;
mod diff;
mod render;
mod show;

use super::App;
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::cli::ConfigCommand;

impl App {
    pub(super) async fn config(&self, command: ConfigCommand) -> Result<Exit, Error> {
        match command {
            ConfigCommand::Check { with_haproxy } => self.config_check(with_haproxy).await,
            ConfigCommand::Show { names } => self.config_show(&names).await,
            ConfigCommand::Render { services, templates } => self.config_render(&services, &templates).await,
            ConfigCommand::Diff { wanted, exit_code } => self.config_diff(&wanted, exit_code).await,
            ConfigCommand::Apply { wanted, reload } => self.config_apply(&wanted, &reload).await,
        }
    }
}
