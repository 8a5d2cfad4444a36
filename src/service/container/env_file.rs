//! Parsing of `env_file` files and `.env` by Compose's rules.
//!
//! Each line has one entry, `NAME=VALUE` or `NAME: VALUE`. A `#` starts a comment at the start of a line or after a
//! space. In double quotes, escapes such as `\n`, `\t`, `\"`, `\\` and `\$` are one character. In single quotes, every
//! character except `\'` is literal. Quoted values may span several lines. Compose substitutes variables outside of
//! single quotes.

use std::collections::BTreeMap;

use super::environment::Secret;
use crate::service::interpolate::{InterpolationError, LONGEST, Variables, interpolate};

/// Parses a file. Without `variables`, a `$` has no defined meaning and is refused.
///
/// # Errors
/// Reports the first invalid entry by its number, because its text may be a secret.
pub(in crate::service) fn read(
    text: &str,
    variables: Option<&Variables>,
) -> Result<BTreeMap<String, Secret>, String> {
    let mut found = BTreeMap::new();
    let mut length = 0;
    let mut rest = start(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let (entry, after) =
            entry(rest).ok_or_else(|| format!("invalid entry {number}: expected NAME=VALUE"))?;
        let value =
            value(&entry, variables, &found).map_err(|why| format!("invalid entry {number}: {why}"))?;
        length += value.len();
        if length > LONGEST {
            return Err(format!("its values exceed {LONGEST} bytes after substitution: shorten them"));
        }
        found.insert(entry.name.to_owned(), Secret::from(value));
        rest = start(after);
    }
    Ok(found)
}

struct Entry<'t> {
    name: &'t str,
    written: EnvValue,
}

enum EnvValue {
    /// The name alone: the value comes from the environment.
    Nothing,
    Literal(String),
    /// A text that may contain variables.
    Template(String),
}

fn value(
    entry: &Entry<'_>,
    variables: Option<&Variables>,
    found: &BTreeMap<String, Secret>,
) -> Result<String, String> {
    let mut lookup = |name: &str| {
        let outside = variables.and_then(|variables| variables.get(name));
        outside.or_else(|| found.get(name).map(Secret::reveal))
    };
    match (&entry.written, variables) {
        (EnvValue::Nothing, None) => Err("expected NAME=VALUE".to_owned()),
        (EnvValue::Nothing, Some(_)) => {
            let value = lookup(entry.name).map(str::to_owned);
            value.ok_or_else(|| InterpolationError::Unset(entry.name.to_owned()).to_string())
        }
        (EnvValue::Template(text), None) if text.contains('$') => {
            Err("Compose would substitute a variable for `$`, but drainswap.toml has no variables: \
                 put the value in single quotes"
                .to_owned())
        }
        (EnvValue::Literal(text), _) | (EnvValue::Template(text), None) => Ok(text.clone()),
        (EnvValue::Template(text), Some(_)) => {
            interpolate(text, &mut lookup).map_err(|error| error.to_string())
        }
    }
}

/// Skips empty lines and comments.
fn start(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        if !text.starts_with('#') {
            return text;
        }
        text = text.split_once('\n').map_or("", |(_, rest)| rest);
    }
}

/// Splits off the first entry of the text.
fn entry(text: &str) -> Option<(Entry<'_>, &str)> {
    let exported = text.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    let text = exported.map_or(text, |rest| rest.trim_start_matches([' ', '\t']));
    let is_name = |it: char| it.is_alphanumeric() || "_.-[]".contains(it);
    let end = text.find(|it| !is_name(it)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    let behind = rest.trim_start_matches([' ', '\t']);
    let Some(behind) = behind.strip_prefix(['=', ':']) else {
        let after = end_of_line(rest)?;
        return Some((Entry { name, written: EnvValue::Nothing }, after));
    };
    let (written, after) = match behind.trim_start_matches([' ', '\t']) {
        text if text.starts_with('\'') => {
            let (text, after) = quoted(&text[1..], '\'', in_single_quotes)?;
            (EnvValue::Literal(text), end_of_line(after)?)
        }
        text if text.starts_with('"') => {
            let (text, after) = quoted(&text[1..], '"', in_double_quotes)?;
            (EnvValue::Template(text), end_of_line(after)?)
        }
        _ => {
            let (line, after) = behind.split_once('\n').unwrap_or((behind, ""));
            let comment = [" #", "\t#"].iter().filter_map(|mark| line.find(mark)).min();
            let line = comment.map_or(line, |at| &line[..at]);
            (EnvValue::Template(line.trim().to_owned()), after)
        }
    };
    Some((Entry { name, written }, after))
}

/// Returns the text after the line, the rest of which may only contain a comment.
fn end_of_line(text: &str) -> Option<&str> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let line = line.trim();
    (line.is_empty() || line.starts_with('#')).then_some(after)
}

/// Splits at the closing quote. `escaped` handles the character after a backslash.
fn quoted(text: &str, quote: char, escaped: impl Fn(char, &mut String)) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            _ if character == quote => return Some((value, &text[at + quote.len_utf8()..])),
            '\\' => escaped(characters.next()?.1, &mut value),
            _ => value.push(character),
        }
    }
    None
}

fn in_single_quotes(escaped: char, value: &mut String) {
    match escaped {
        '\'' => value.push('\''),
        other => value.extend(['\\', other]),
    }
}

fn in_double_quotes(escaped: char, value: &mut String) {
    match escaped {
        'a' => value.push('\u{7}'),
        'b' => value.push('\u{8}'),
        'f' => value.push('\u{c}'),
        'n' => value.push('\n'),
        'r' => value.push('\r'),
        't' => value.push('\t'),
        'v' => value.push('\u{b}'),
        same @ ('"' | '\\') => value.push(same),
        // Interpolation reads `$$` as a literal dollar sign.
        '$' => value.push_str("$$"),
        other => value.extend(['\\', other]),
    }
}
