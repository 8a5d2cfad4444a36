//! Generates the page of commands and options from what can be typed.

use std::collections::BTreeSet;
use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use crate::cli::Cli;
use crate::testing::markdown::{assert_generated, pages, read};

/// Options of other programs that the pages name.
const OF_OTHERS: [&str; 8] =
    ["--ip", "--lib", "--locked", "--no-recreate", "--now", "--offline", "--port", "--test"];

/// An option, and the commands that have it with the same help text.
struct Row {
    option: String,
    text: String,
    variable: Option<String>,
    commands: Vec<String>,
}

fn is_option(arg: &Arg) -> bool {
    arg.get_long().is_some_and(|long| !matches!(long, "help" | "version")) && !arg.is_hide_set()
}

/// Formats an option: `-f, --haproxy-config PATH`.
fn form(arg: &Arg) -> String {
    let short = arg.get_short().map_or_else(String::new, |short| format!("-{short}, "));
    let mut form = format!("{short}--{}", arg.get_long().unwrap_or_default());
    let Some(value) = value(arg) else { return form };
    let written = if arg.get_num_args().is_some_and(|count| count.min_values() == 0) {
        write!(form, "[={value}]")
    } else {
        write!(form, " {value}")
    };
    written.expect("a String takes everything");
    form
}

fn value(arg: &Arg) -> Option<String> {
    let names = arg.get_value_names().filter(|_| arg.get_action().takes_values())?;
    Some(names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

/// Returns the help text of an argument, with its possible values.
fn text(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values = arg.get_possible_values();
    if !values.is_empty() && arg.get_action().takes_values() {
        let names: Vec<String> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        write!(text, ": {}", names.join(", ")).expect("a String takes everything");
    }
    text
}

fn variable(arg: &Arg) -> Option<String> {
    arg.get_env().map(|name| name.to_string_lossy().into_owned())
}

/// Adds one row per command to the table, and collects the options of all commands.
fn walk(command: &Command, path: &str, table: &mut String, rows: &mut Vec<Row>) {
    let mut typed = path.to_owned();
    let mut about = command.get_about().map(ToString::to_string).unwrap_or_default();
    for arg in command.get_positionals() {
        let name = value(arg).unwrap_or_default();
        let more = if arg.get_num_args().is_some_and(|count| count.max_values() > 1) { " …" } else { "" };
        let word = if arg.is_required_set() { format!(" {name}") } else { format!(" [{name}{more}]") };
        typed += &word;
        write!(about, " · {name}: {}", text(arg)).expect("a String takes everything");
    }
    if !command.has_subcommands() {
        writeln!(table, "| `{}` | {} |", cell(&typed), cell(&about)).expect("a String takes everything");
    }
    for arg in command.get_arguments().filter(|arg| is_option(arg)) {
        let (option, text) = (form(arg), text(arg));
        let command = path.trim_start_matches("drainswap").trim();
        let command = if command.is_empty() { "all" } else { command };
        match rows.iter_mut().find(|row| row.option == option && row.text == text) {
            Some(row) if row.variable == variable(arg) => row.commands.push(command.to_owned()),
            Some(row) => row.commands.push(format!("{command} (no variable)")),
            None => {
                let (variable, commands) = (variable(arg), vec![command.to_owned()]);
                rows.push(Row { option, text, variable, commands });
            }
        }
    }
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        walk(inner, &format!("{path} {}", inner.get_name()), table, rows);
    }
}

/// Both tables.
fn chapter() -> String {
    let (mut commands, mut rows) = (String::new(), Vec::new());
    walk(&Cli::command(), "drainswap", &mut commands, &mut rows);
    let mut chapter = format!("## Commands\n\n| command | |\n|---|---|\n{commands}");
    chapter += "\n## Options\n\n| option | commands | |\n|---|---|---|\n";
    for Row { option, mut text, variable, commands } in rows {
        let commands = commands.join(", ");
        if let Some(name) = variable {
            write!(text, " · `{name}`").expect("a String takes everything");
        }
        writeln!(chapter, "| `{}` | {commands} | {} |", cell(&option), cell(&text))
            .expect("a String takes everything");
    }
    chapter
}

/// Escapes bars, which would end a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn every_command_and_option_is_on_its_page() {
    assert_generated("docs/reference/command-line.md", "cargo test --lib reference", &chapter());
}

#[test]
fn no_page_names_an_unknown_option() {
    fn collect(command: &Command, all: &mut BTreeSet<String>) {
        all.extend(command.get_arguments().filter_map(|arg| Some(format!("--{}", arg.get_long()?))));
        command.get_subcommands().for_each(|inner| collect(inner, all));
    }
    let mut known: BTreeSet<String> = OF_OTHERS.map(str::to_owned).into();
    known.extend(["--help".to_owned(), "--version".to_owned()]);
    collect(&Cli::command(), &mut known);
    // The table of containers has the options of the docker command.
    for page in pages().iter().filter(|page| *page != "docs/reference/containers.md") {
        let text = read(page);
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
        let options =
            words.filter(|word| word.len() > 2 && word.starts_with("--") && !word.starts_with("---"));
        let unknown: BTreeSet<&str> = options.filter(|word| !known.contains(*word)).collect();
        assert!(unknown.is_empty(), "{page} names options that drainswap does not have: {unknown:?}");
    }
}
