//! A task's options, taken from the command line's definition, so that the two cannot differ.

use serde_json::Value;

use crate::cli::option::{self, CommandOption, OptionValue};

/// The options that a task cannot set: the module itself needs JSON, and Ansible shows its results to people.
const NOT_HERE: [&str; 12] = [
    "ci",
    "dotenv",
    "dry_run",
    "exit_code",
    "help",
    "junit",
    "output",
    "quiet",
    "save",
    "verbose",
    "version",
    "watch",
];

/// An option of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opt {
    /// The name, with underscores.
    pub name: String,
    pub kind: Kind,
    pub typed: Typed,
}

/// The type of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    /// One text or number.
    Text,
    /// Several texts or numbers.
    List,
}

/// The form of an option on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// `--name` if the value is yes.
    Switch(String),
    /// `--name=value`.
    Flag(String),
    /// An argument without a name.
    Positional,
    /// None: the module itself handles the option.
    Own,
}

impl Opt {
    /// Creates an option that only the module knows.
    #[must_use]
    pub fn own(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), kind, typed: Typed::Own }
    }

    fn of(option: CommandOption) -> Self {
        let (kind, typed): (_, fn(String) -> Typed) = match option.value {
            OptionValue::Switch => (Kind::Bool, Typed::Switch),
            OptionValue::Truth => (Kind::Bool, Typed::Flag),
            OptionValue::One => (Kind::Text, Typed::Flag),
            OptionValue::Many => (Kind::List, Typed::Flag),
        };
        Self { name: option.name, kind, typed: option.flag.map_or(Typed::Positional, typed) }
    }

    /// Returns the words for this value on a command line.
    ///
    /// # Errors
    /// If the value has another type.
    pub fn words(&self, value: &Value) -> Result<Vec<String>, String> {
        let flag = match &self.typed {
            Typed::Flag(flag) if self.kind == Kind::Bool => {
                return Ok(vec![format!("{flag}={}", truth(&self.name, value)?)]);
            }
            Typed::Flag(flag) => flag,
            Typed::Switch(flag) => {
                return Ok(if truth(&self.name, value)? { vec![flag.clone()] } else { Vec::new() });
            }
            Typed::Positional => return self.texts(value),
            Typed::Own => return Ok(Vec::new()),
        };
        Ok(self.texts(value)?.into_iter().map(|text| format!("{flag}={text}")).collect())
    }

    /// Returns the values as texts.
    fn texts(&self, value: &Value) -> Result<Vec<String>, String> {
        match (self.kind, value) {
            (Kind::List, Value::Array(values)) => {
                values.iter().map(|value| text(&self.name, value)).collect()
            }
            (Kind::List, Value::String(list)) => {
                Ok(list.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect())
            }
            _ => text(&self.name, value).map(|text| vec![text]),
        }
    }
}

/// Returns the options of a command (such as `config apply`), including the global ones.
#[must_use]
pub fn of_command(path: &[&str]) -> Vec<Opt> {
    let options = option::of_command(path).into_iter().map(Opt::of);
    options.filter(|option| !NOT_HERE.contains(&option.name.as_str())).collect()
}

/// Reads a yes or no, in any of Ansible's words.
pub fn truth(name: &str, value: &Value) -> Result<bool, String> {
    let word = match value {
        Value::Bool(truth) => return Ok(*truth),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.to_lowercase(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    };
    match word.as_str() {
        "yes" | "on" | "1" | "true" | "t" | "y" | "1.0" => Ok(true),
        "no" | "off" | "0" | "false" | "f" | "n" | "0.0" => Ok(false),
        _ => Err(format!("invalid {name}: expected yes or no, got {}", describe_value(value))),
    }
}

/// Reads a text or a number as a text.
pub fn text(name: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(format!("invalid {name}: expected one text or number, got {}", describe_value(value)))
        }
    }
}

/// Reads a whole number from 0 upwards.
pub fn number(name: &str, value: &Value) -> Result<u64, String> {
    let read = text(name, value)?.trim().parse();
    read.map_err(|_| format!("invalid {name}: expected a number, got {}", describe_value(value)))
}

/// Formats a value for an error; lists and dictionaries only by their type.
fn describe_value(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("`{text}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a dictionary".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ansibles_loose_types_are_read() {
        for yes in [json!(true), json!("yes"), json!("On"), json!(1), json!("1"), json!("TRUE")] {
            assert_eq!(truth("wait", &yes), Ok(true), "{yes}");
        }
        for no in [json!(false), json!("no"), json!("off"), json!(0), json!("False")] {
            assert_eq!(truth("wait", &no), Ok(false), "{no}");
        }
        let invalid = "invalid wait: expected yes or no, got `maybe`".to_owned();
        assert_eq!(truth("wait", &json!("maybe")), Err(invalid));
        assert_eq!(number("retries", &json!("5")), Ok(5));
        assert_eq!(number("retries", &json!(5)), Ok(5));
        assert!(number("retries", &json!(-5)).is_err() && number("retries", &json!([5])).is_err());
    }

    #[test]
    fn options_are_those_of_the_command_line() {
        let deploy = of_command(&["deploy"]);
        let words = |name: &str, value| {
            deploy.iter().find(|option| option.name == name).expect("an option").words(&value)
        };
        assert_eq!(words("floor", json!("2")), Ok(vec!["--floor=2".to_owned()]));
        assert_eq!(
            words("on_drain_timeout", json!("-force")),
            Ok(vec!["--on-drain-timeout=-force".to_owned()])
        );
        assert_eq!(words("resume_first", json!("yes")), Ok(vec!["--resume-first".to_owned()]));
        assert_eq!(words("resume_first", json!(0)), Ok(Vec::new()));
        assert_eq!(words("silence_check", json!("no")), Ok(vec!["--silence-check=false".to_owned()]));
        assert!(words("silence_check", json!("maybe")).is_err());
        let both = Ok(vec!["--socket=a".to_owned(), "--socket=b:1".to_owned()]);
        assert_eq!(
            (words("socket", json!("a, b:1")), words("socket", json!(["a", "b:1"]))),
            (both.clone(), both)
        );
        assert_eq!(words("backend", json!("mobile")), Ok(vec!["mobile".to_owned()]));
        assert!(words("floor", json!({"a": 1})).is_err());
        assert!(deploy.iter().all(|option| !NOT_HERE.contains(&option.name.as_str())));
    }
}
