//! A task: a module, its options, and Ansible's modes.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::module::Module;
use super::moves;
use super::option::{Kind, Opt, Typed, of_command, text, truth};
use crate::app::error::{nearest, some_of};
use crate::cli::Cli;

/// An Ansible task.
#[derive(Debug)]
pub struct Task {
    pub module: Module,
    /// The options that have a value.
    pub options: Map<String, Value>,
    /// Check mode: nothing may be touched.
    pub check: bool,
    /// Diff mode: differences are shown.
    pub diff: bool,
}

/// The command lines behind a task.
#[derive(Debug, PartialEq, Eq)]
pub struct Steps {
    /// The command that only shows what would be done; `None` if the task itself does no more than that.
    pub look: Option<Vec<String>>,
    /// The command that does the task.
    pub act: Vec<String>,
}

impl Module {
    /// Returns the default of `state`, if any, and its values with the command of each.
    fn states(self) -> (Option<&'static str>, &'static [(&'static str, &'static [&'static str])]) {
        match self {
            Self::Deploy => (
                Some("deployed"),
                &[("deployed", &["deploy"]), ("rolled_back", &["rollback"]), ("promoted", &["promote"])],
            ),
            Self::Server => (None, moves::STATES),
            Self::Info => (Some("present"), &[("present", &["status"])]),
            Self::Config => (
                Some("applied"),
                &[
                    ("applied", &["config", "apply"]),
                    ("compared", &["config", "diff"]),
                    ("checked", &["config", "check"]),
                ],
            ),
        }
    }

    /// Returns the options of a task in one of its states.
    fn options_in(self, command: &[&str]) -> Vec<Opt> {
        let mut options = of_command(command);
        if self == Self::Server {
            options.retain(|option| !moves::REPLACED.contains(&option.name.as_str()));
            options.extend(moves::own());
        }
        if self != Self::Info {
            options.push(Opt::own("state", Kind::Text));
        }
        options
    }

    /// Returns every option that a task may have, sorted by name.
    #[must_use]
    pub fn options(self) -> Vec<Opt> {
        let mut all: Vec<Opt> = Vec::new();
        for option in self.states().1.iter().flat_map(|(_, command)| self.options_in(command)) {
            if all.iter().all(|known| known.name != option.name) {
                all.push(option);
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Returns the values of `state`.
    #[must_use]
    pub fn state_names(self) -> Vec<&'static str> {
        self.states().1.iter().map(|(name, _)| *name).collect()
    }
}

impl Task {
    /// Reads the arguments of Ansible.
    pub fn read(module: Module, arguments: Map<String, Value>) -> Result<Self, String> {
        let wants = |key: &str| arguments.get(key).is_some_and(|value| truth(key, value) == Ok(true));
        let (check, diff) = (wants("_ansible_check_mode"), wants("_ansible_diff"));
        let is_option = |(key, value): &(String, Value)| !key.starts_with("_ansible_") && !value.is_null();
        let task = Self { module, check, diff, options: arguments.into_iter().filter(is_option).collect() };
        task.refuse_unknown()?;
        Ok(task)
    }

    fn refuse_unknown(&self) -> Result<(), String> {
        let (state, command) = self.command()?;
        let here: BTreeSet<String> = names(self.module.options_in(command));
        let anywhere = names(self.module.options());
        let Some(name) = self.options.keys().find(|name| !here.contains(*name)) else { return Ok(()) };
        if anywhere.contains(name) {
            return Err(format!("{name} does not go with state {state}: leave it out"));
        }
        let known: Vec<String> = anywhere.into_iter().collect();
        let hint = nearest(name, &known).map_or_else(
            || format!("known options: {}", some_of(name, &known)),
            |nearest| format!("did you mean {nearest}?"),
        );
        Err(format!("{} has no option {name}; {hint}", self.module.name()))
    }

    /// Returns an option's value as a text.
    pub fn text(&self, name: &str) -> Result<Option<String>, String> {
        self.options.get(name).map(|value| text(name, value)).transpose()
    }

    /// Returns whether an option is set to yes.
    pub fn is(&self, name: &str) -> Result<bool, String> {
        self.options.get(name).map_or(Ok(false), |value| truth(name, value))
    }

    /// Returns the state that the task asks for, and the command for it.
    pub fn command(&self) -> Result<(String, &'static [&'static str]), String> {
        let (default, states) = self.module.states();
        let names = || self.module.state_names().join(", ");
        let state = self.text("state")?.or_else(|| default.map(str::to_owned));
        let state = state.ok_or_else(|| format!("missing state: expected one of {}", names()))?;
        let found = states.iter().find(|(name, _)| *name == state);
        let (_, command) =
            found.ok_or_else(|| format!("invalid state `{state}`: expected one of {}", names()))?;
        Ok((state, command))
    }

    /// Returns the command lines of the task.
    pub fn steps(&self) -> Result<Steps, String> {
        let (state, command) = self.command()?;
        let act =
            if self.module == Module::Server { moves::words(self, command)? } else { self.words(command)? };
        let look = match self.module {
            Module::Info => None,
            Module::Config if state != "applied" => None,
            Module::Config => Some(self.words(&["config", "diff"])?),
            Module::Deploy | Module::Server => {
                let mut words = act.clone();
                words.insert(command.len(), "--dry-run".to_owned());
                Some(words)
            }
        };
        look.iter().chain([&act]).try_for_each(|words| parsed(words))?;
        Ok(Steps { look, act })
    }

    /// Returns a command with those of the task's options that it has.
    fn words(&self, command: &[&str]) -> Result<Vec<String>, String> {
        let mut words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let mut places = Vec::new();
        for option in of_command(command) {
            let Some(value) = self.options.get(&option.name) else { continue };
            let said = option.words(value)?;
            if option.typed == Typed::Positional { places.extend(said) } else { words.extend(said) }
        }
        if !places.is_empty() {
            words.push("--".to_owned());
            words.extend(places);
        }
        Ok(words)
    }
}

fn names(options: Vec<Opt>) -> BTreeSet<String> {
    options.into_iter().map(|option| option.name).collect()
}

/// Checks a command line. The error names the options as a task does.
fn parsed(words: &[String]) -> Result<(), String> {
    let program = std::iter::once("drainswap".to_owned());
    let Err(error) = Cli::read(program.chain(words.iter().cloned())) else { return Ok(()) };
    let whole = error.to_string();
    let paragraph = whole.split("\n\n").next().unwrap_or_default();
    let lines: Vec<&str> = paragraph.lines().map(str::trim).collect();
    Err(as_options(lines.join(" ").trim_start_matches("error: ")))
}

/// Translates flags into a task's options: `--on-drain-timeout <WHAT>` becomes `on_drain_timeout`.
fn as_options(text: &str) -> String {
    let word = |word: &str| match word.trim_start_matches(['\'', '`', '<']).strip_prefix("--") {
        Some(flag) => {
            let name: String = flag.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            name.replace('-', "_")
        }
        None if word.starts_with('<') => {
            word.trim_matches(['<', '>', '\'', ':', '.', ',']).to_lowercase().replace('-', "_")
        }
        None => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the command that does a task, and the one that only looks.
    fn task(module: Module, options: &Value) -> Result<(String, Option<String>), String> {
        let Value::Object(options) = options.clone() else { panic!("no object") };
        let Steps { look, act } = Task::read(module, options)?.steps()?;
        Ok((act.join(" "), look.map(|words| words.join(" "))))
    }

    #[test]
    fn a_deploy_becomes_a_command_line() {
        let options = json!({
            "backend": "mobile", "image": "registry.example.org/mobile:v2", "floor": 2, "resume_first": "yes",
            "probe": null, "_ansible_check_mode": false, "_ansible_whatever": [1],
        });
        let deploy = "--floor=2 --resume-first -- mobile";
        let line = format!("deploy --image=registry.example.org/mobile:v2 {deploy}");
        let dry = line.replacen("deploy", "deploy --dry-run", 1);
        assert_eq!(task(Module::Deploy, &options), Ok((line, Some(dry))));
        let back = json!({"state": "rolled_back", "backend": "mobile", "to": "20261123T221500.000Z"});
        assert_eq!(
            task(Module::Deploy, &back),
            Ok((
                "rollback --to=20261123T221500.000Z -- mobile".to_owned(),
                Some("rollback --dry-run --to=20261123T221500.000Z -- mobile".to_owned())
            ))
        );
    }

    #[test]
    fn errors_name_the_options_as_the_task_does() {
        let wrong = |options| task(Module::Deploy, &options).unwrap_err();
        assert_eq!(
            wrong(json!({"backend": "mobile", "imge": "x"})),
            "drainswap_deploy has no option imge; did you mean image?"
        );
        assert_eq!(
            wrong(json!({"backend": "mobile", "state": "gone"})),
            "invalid state `gone`: expected one of deployed, rolled_back, promoted"
        );
        assert_eq!(
            wrong(json!({"backend": "mobile", "state": "rolled_back", "image": "x"})),
            "image does not go with state rolled_back: leave it out"
        );
        let floor = wrong(json!({"backend": "mobile", "floor": "few"}));
        assert!(floor.starts_with("invalid value 'few' for floor"), "{floor}");
        let missing = wrong(json!({}));
        assert!(missing.contains("backend"), "{missing}");
        assert_eq!(
            wrong(json!({"backend": "mobile", "resume_first": "maybe"})),
            "invalid resume_first: expected yes or no, got `maybe`"
        );
    }

    #[test]
    fn a_look_at_haproxy_cfg_reloads_nothing() {
        let options = json!({"services": ["mobile"], "reload": "never"});
        let (act, look) = ("config apply --reload=never -- mobile", "config diff -- mobile");
        assert_eq!(task(Module::Config, &options), Ok((act.to_owned(), Some(look.to_owned()))));
        assert_eq!(
            task(Module::Config, &json!({"state": "checked", "with_haproxy": 1})),
            Ok(("config check --with-haproxy".to_owned(), None))
        );
        assert_eq!(task(Module::Info, &json!({"backends": "a,b"})), Ok(("status -- a b".to_owned(), None)));
    }
}
