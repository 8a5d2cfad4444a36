//! Every knob is the same wherever a person meets it.

use std::fmt::Debug;

use clap::{CommandFactory, Parser};

use super::*;
use crate::ansible::Module;
use crate::cli::form::Form;
use crate::cli::{Cli, Globals, PolicyFlags, ReloadFlags};
use crate::settings::{File, initial};
use crate::testing::markdown::read;

/// Returns a value that is not the default.
fn another(knob: &Knob) -> Value {
    let choice = knob.choices.iter().find(|choice| knob.default != ***choice);
    match (&knob.default, choice) {
        (_, Some(choice)) => choice.as_str().into(),
        (Value::Bool(truth), None) => Value::Bool(!truth),
        (Value::Number(number), None) => (number.as_u64().unwrap() + 7).into(),
        (Value::String(_), None) if knob.name == "surge" => "never".into(),
        (Value::String(_), None) => "7s".into(),
        (Value::Null | Value::Array(_) | Value::Object(_), None) => knob.example.clone(),
    }
}

/// Returns a value as it is typed.
fn typed(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Flags alone, as a command line.
#[derive(Parser)]
struct Alone<T: Knobs> {
    #[command(flatten)]
    flags: T,
}

/// Checks the knobs among some flags, which a command and an Ansible module have, and which decide something.
fn check<T, D>(path: &[&str], module: Module, of_file: fn(&File) -> &T, over: fn(&T, D) -> D)
where
    T: Knobs + Debug + PartialEq,
    D: Default + Debug + PartialEq,
{
    let program = Cli::command();
    let command = path.iter().fold(&program, |it, name| it.find_subcommand(name).expect("a command"));
    let template = initial(&Globals::default(), None).unwrap();
    let (commands, settings) = (read("docs/reference/command-line.md"), read("docs/reference/settings.md"));
    let options = module.options();
    for knob in knobs::<T>() {
        let name = knob.name.as_str();
        let flag = format!("--{}", name.replace('_', "-"));
        let variable = format!("DRAINSWAP_{}", name.to_uppercase());
        let default = if knob.default.is_null() { None } else { Some(typed(&knob.default)) };

        let arg = command.get_arguments().find(|arg| arg.get_id() == name).expect(name);
        assert_eq!(arg.get_long(), Some(&flag[2..]), "{name}");
        assert_eq!(arg.get_env().and_then(|it| it.to_str()), Some(variable.as_str()), "{name}");
        let shown = default.as_ref().map_or_else(String::new, |default| format!(" [default: {default}]"));
        let help = format!("{}{shown}", knob.meaning.trim_end_matches('.'));
        assert_eq!(arg.get_help().map(ToString::to_string), Some(help.clone()), "{name}");

        let value = another(&knob);
        let file: File =
            format!("{name} = {value}").parse().unwrap_or_else(|error| panic!("{error}: {name}"));
        let words = ["drainswap".to_owned(), format!("{flag}={}", typed(&value))];
        let flags = Alone::<T>::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).flags;
        assert_eq!(of_file(&file), &flags, "{name} is one thing as a flag, and another as a key");
        assert_ne!(over(&flags, D::default()), D::default(), "{name} has no effect");
        if default.is_some() {
            let again = over(&T::defaults(), over(&flags, D::default()));
            assert_eq!(again, D::default(), "the default of {name} differs from its help");
        }

        let mark = if default.is_some() { "#" } else { "# " };
        let line = format!("\n{mark}{name} = {}\n", knob.example);
        assert!(template.contains(&line), "the settings template lacks {line}");
        let row = settings.lines().find(|line| line.starts_with(&format!("| `{name}` | {}", knob.meaning)));
        let row = row.unwrap_or_else(|| panic!("docs/reference/settings.md lacks {name}"));
        assert_eq!(row.contains("The default is"), default.is_some(), "{row}");
        let row =
            commands.lines().find(|line| line.starts_with(&format!("| `{flag} ")) && line.contains(&help));
        assert!(
            row.is_some_and(|row| row.contains(&variable)),
            "docs/reference/command-line.md lacks {flag}"
        );

        let option = options.iter().find(|option| option.name == name).expect(name);
        assert_eq!(option.words(&value), Ok(vec![format!("{flag}={}", typed(&value))]), "{name}");
    }
}

#[test]
fn every_knob_is_the_same_everywhere() {
    check(&["deploy"], Module::Deploy, |file| &file.policy, PolicyFlags::over);
    check(&["config", "apply"], Module::Config, |file| &file.reloading, ReloadFlags::over);
}

#[test]
fn flags_that_several_commands_have_share_a_variable_and_a_default() {
    fn walk(command: &Command, known: &[(String, String, String)], found: &mut usize) {
        for arg in command.get_arguments() {
            for (name, variable, default) in known.iter().filter(|(name, ..)| arg.get_id() == name.as_str()) {
                let help = arg.get_help().unwrap().to_string();
                assert!(help.ends_with(default), "{} --{name}: {help}", command.get_name());
                if command.get_name() != "resume" {
                    assert_eq!(arg.get_env().and_then(|it| it.to_str()), Some(variable.as_str()), "{name}");
                }
                *found += 1;
            }
        }
        command.get_subcommands().for_each(|inner| walk(inner, known, found));
    }
    let known: Vec<_> = knobs::<PolicyFlags>()
        .into_iter()
        .filter(|knob| !knob.default.is_null())
        .map(|knob| {
            let variable = format!("DRAINSWAP_{}", knob.name.to_uppercase());
            (knob.name, variable, format!(" [default: {}]", typed(&knob.default)))
        })
        .collect();
    let mut found = 0;
    walk(&Cli::command(), &known, &mut found);
    // Five commands have all of them; prune, doctor, drain, maint, ready and config apply have twelve more.
    assert_eq!(found, 5 * known.len() + 12);
}

/// The other flags that drainswap.toml has as keys.
#[test]
fn every_flag_that_is_a_key_has_a_variable_of_that_name() {
    let keys = Form::Settings.schema().to_value()["properties"].clone();
    let program = Cli::command();
    let apply = program.find_subcommand("config").and_then(|it| it.find_subcommand("apply")).unwrap();
    let mut found = Vec::new();
    for arg in program.get_arguments().chain(apply.get_arguments()) {
        let Some(name) = arg.get_long().map(|long| long.replace('-', "_")) else { continue };
        if keys.get(&name).is_some() {
            let variable = format!("DRAINSWAP_{}", name.to_uppercase());
            assert_eq!(arg.get_env().and_then(|it| it.to_str()), Some(variable.as_str()), "{name}");
            found.push(name);
        }
    }
    for name in ["as", "docker", "events", "haproxy", "haproxy_config", "lock_wait", "socket", "templates"] {
        assert!(found.iter().any(|it| it == name), "--{name} is no flag any more, but a key");
    }
}

/// What a site that sets nothing gets. A change here changes every site.
#[test]
fn the_defaults_are_these() {
    let all = knobs::<PolicyFlags>().into_iter().chain(knobs::<ReloadFlags>());
    let lines: Vec<String> = all.map(|knob| format!("{} = {}", knob.name, knob.default)).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    floor = 1
    drain_timeout = "5m"
    on_drain_timeout = "fail"
    shutdown_over = "10s"
    lb_quorum = "all"
    headroom = 0
    ready_timeout = "1m"
    rise = 1
    probe = null
    on_failure = "rollback"
    keep = 1
    silence_check = true
    surge = "auto"
    reload = "auto"
    reload_by = null
    reload_timeout = "30s"
    "#);
}
