//! The options of a command as data, for callers that have no shell.

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, Args, Command, CommandFactory};

use super::Cli;

/// An option or an argument of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOption {
    /// The name, with underscores: `drain_timeout`.
    pub name: String,
    /// `--drain-timeout`; `None` if the value alone is typed.
    pub flag: Option<String>,
    pub value: OptionValue,
    /// The placeholder of the value: `N`, `TIME`.
    pub placeholder: String,
    pub help: String,
    /// The values that it may have, each with its meaning, if there is a fixed list.
    pub choices: Vec<(String, String)>,
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
        let choice = |it: &PossibleValue| {
            (it.get_name().to_owned(), it.get_help().map(ToString::to_string).unwrap_or_default())
        };
        Self {
            name,
            flag,
            value,
            placeholder: arg
                .get_value_names()
                .and_then(|names| names.first())
                .map_or_else(String::new, ToString::to_string),
            help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
            choices: if is_truth { Vec::new() } else { values.iter().map(choice).collect() },
        }
    }
}

/// Returns the options that are declared together.
#[must_use]
pub fn of_flags<T: Args>() -> Vec<CommandOption> {
    T::augment_args(Command::new("drainswap")).get_arguments().map(CommandOption::of).collect()
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
