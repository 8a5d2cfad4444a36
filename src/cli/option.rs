//! The options of a command as data, for callers that have no shell.

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, CommandFactory};

use super::Cli;

/// An option or an argument of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOption {
    /// The name, with underscores: `drain_timeout`.
    pub name: String,
    /// `--drain-timeout`; `None` if the value alone is typed.
    pub flag: Option<String>,
    pub value: OptionValue,
}

/// The value that an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// None: the flag alone is typed.
    Switch,
    /// `true` or `false`.
    Truth,
    /// One text or number.
    One,
    /// Texts or numbers, each with the flag before it.
    Many,
}

impl CommandOption {
    fn of(arg: &Arg) -> Self {
        let values = arg.get_possible_values();
        let is_truth = values.iter().map(PossibleValue::get_name).eq(["true", "false"]);
        let value = if matches!(arg.get_action(), ArgAction::SetTrue) {
            OptionValue::Switch
        } else if is_truth {
            OptionValue::Truth
        } else if matches!(arg.get_action(), ArgAction::Append) {
            OptionValue::Many
        } else {
            OptionValue::One
        };
        let flag = arg.get_long().map(|long| format!("--{long}"));
        let name = arg.get_long().unwrap_or(arg.get_id().as_str()).replace('-', "_");
        Self { name, flag, value }
    }
}

/// Returns the options of a command (such as `config apply`), the global ones first.
#[must_use]
pub fn of_command(path: &[&str]) -> Vec<CommandOption> {
    let program = Cli::command();
    let mut command = &program;
    for name in path {
        command = command.find_subcommand(name).unwrap_or(command);
    }
    let global = program.get_arguments().filter(|arg| arg.is_global_set());
    let own = command.get_arguments().filter(|arg| !arg.is_global_set());
    global.chain(own).map(CommandOption::of).collect()
}
