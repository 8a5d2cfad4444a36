//! Knobs: flags that are also variables, keys of drainswap.toml and options of an Ansible task.
//!
//! A field of [`PolicyFlags`](super::PolicyFlags) or [`ReloadFlags`](super::ReloadFlags) is the one place of a knob.
//! Its name is that of the flag and of the key, its doc comment is the help, its attributes have the variable and, for
//! the settings template, an example where there is no default. Everything that shows a knob asks for it here.

use clap::{Arg, Args, Command};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use serde_json::Value;

/// Flags that drainswap.toml has as keys, too.
pub trait Knobs: Args + Serialize + JsonSchema {
    /// Returns the values that apply where neither a flag nor a variable nor the file has one.
    fn defaults() -> Self;
}

/// A knob, as help, pages and templates show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Knob {
    /// The name of the key: `drain_timeout`.
    pub name: String,
    /// What it means, in one sentence with a full stop.
    pub meaning: String,
    /// The values that it may have, if there is a fixed list.
    pub choices: Vec<String>,
    /// The default, as in the file; `Null` if there is none.
    pub default: Value,
    /// A value as in the file.
    pub example: Value,
}

/// Returns the knobs among some flags, in the order of the help.
#[must_use]
pub fn knobs<T: Knobs>() -> Vec<Knob> {
    let schema = schema_for!(T).to_value();
    let command = T::augment_args(Command::new("drainswap"));
    let knob = |arg: &Arg| {
        let name = arg.get_id().to_string();
        let key = schema["properties"].get(&name)?;
        let default = key["default"].clone();
        Some(Knob {
            name,
            meaning: key["description"].as_str().unwrap_or_default().replace('\n', " "),
            choices: if default.is_boolean() { Vec::new() } else { choices(arg) },
            example: if default.is_null() { key["examples"][0].clone() } else { default.clone() },
            default,
        })
    };
    command.get_arguments().filter_map(knob).collect()
}

fn choices(arg: &Arg) -> Vec<String> {
    arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
}

/// Adds the default of a knob to the help of its flag, whichever command has the flag.
pub(super) fn show_default<T: Knobs>(arg: Arg) -> Arg {
    let default = default_of::<T>(arg.get_id().as_str());
    if default.is_null() {
        return arg;
    }
    let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(format!("{help} [default: {default}]"))
}

/// Adds the defaults to the JSON Schema of some flags.
pub(super) fn insert_defaults<T: Knobs>(schema: &mut Schema) {
    let Some(Value::Object(keys)) = schema.get_mut("properties") else { return };
    for (name, key) in keys {
        key["default"] = default_of::<T>(name);
    }
}

/// Returns the default of a knob, as in the file; `Null` if it has none, or if there is no such knob.
fn default_of<T: Knobs>(name: &str) -> Value {
    let defaults = serde_json::to_value(T::defaults()).unwrap_or_default();
    defaults.get(name).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests;
