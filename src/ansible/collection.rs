//! Generates the part of the Ansible collection that has the limits and choices of a run.

use crate::cli::PolicyFlags;
use crate::cli::option::{CommandOption, OptionValue, of_flags};
use crate::testing::markdown::assert_generated;

const COMMAND: &str = "cargo test --lib collection";

/// Returns the type of an option's value, and that of its elements.
fn kinds(option: &CommandOption) -> (&'static str, Option<&'static str>) {
    match option.value {
        OptionValue::Switch | OptionValue::Truth => ("bool", None),
        OptionValue::One if matches!(option.placeholder.as_str(), "N" | "PERCENT") => ("int", None),
        OptionValue::One => ("str", None),
        OptionValue::Many => ("list", Some("str")),
    }
}

/// Returns a text with Ansible's mark for code, as a text in YAML.
fn marked(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let marked: String = parts
        .map(|(index, part)| if index % 2 == 1 { format!("C({part})") } else { part.to_owned() })
        .collect();
    format!("{marked:?}")
}

/// Returns the sentences about an option: its help, its choices, and its default.
fn description(option: &CommandOption) -> Vec<String> {
    let (meaning, default) =
        match option.help.strip_suffix(']').and_then(|help| help.rsplit_once(" [default: ")) {
            Some((meaning, default)) => (meaning, Some(default)),
            None => (option.help.as_str(), None),
        };
    let choices = option.choices.iter().map(|(choice, meaning)| format!("`{choice}`: {meaning}."));
    let default = default.map(|default| format!("The default is `{default}`."));
    [format!("{meaning}.")].into_iter().chain(choices).chain(default).collect()
}

fn documentation(options: &[CommandOption]) -> String {
    let mut lines = Vec::new();
    for option in options {
        lines.push(format!("  {}:", option.name));
        lines.push("    description:".to_owned());
        lines.extend(description(option).iter().map(|sentence| format!("      - {}", marked(sentence))));
        let (kind, elements) = kinds(option);
        lines.push(format!("    type: {kind}"));
        lines.extend(elements.map(|kind| format!("    elements: {kind}")));
        let choices: Vec<&str> = option.choices.iter().map(|(choice, _)| choice.as_str()).collect();
        if !choices.is_empty() {
            lines.push(format!("    choices: [{}]", choices.join(", ")));
        }
    }
    lines.join("\n")
}

fn argument_spec(options: &[CommandOption]) -> String {
    let line = |option: &CommandOption| {
        let (kind, elements) = kinds(option);
        let elements = elements.map_or_else(String::new, |kind| format!(", \"elements\": {kind:?}"));
        let choices: Vec<&str> = option.choices.iter().map(|(choice, _)| choice.as_str()).collect();
        let choices = if choices.is_empty() { String::new() } else { format!(", \"choices\": {choices:?}") };
        format!("    {:?}: {{\"type\": {kind:?}{elements}{choices}}},", option.name)
    };
    options.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_policy_flag_is_in_the_collection() {
    let options = of_flags::<PolicyFlags>();
    assert_generated("ansible/plugins/doc_fragments/common.py", COMMAND, &documentation(&options));
    assert_generated("ansible/plugins/module_utils/drainswap.py", COMMAND, &argument_spec(&options));
}
