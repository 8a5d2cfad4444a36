//! config: haproxy.cfg itself, read, shown and installed.

mod check;
mod show;

use super::App;
use crate::cli::ConfigCommand;
use crate::error::Error;
use crate::exit::Exit;

impl App {
    pub(super) fn config(&self, command: ConfigCommand) -> Result<Exit, Error> {
        match command {
            ConfigCommand::Check => self.config_check(),
            ConfigCommand::Show { names } => self.config_show(&names),
        }
    }
}
