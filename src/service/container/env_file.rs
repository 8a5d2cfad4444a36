//! The files that `env_file` names, and `.env`, by Compose's rules.
//!
//! `NAME=VALUE` or `NAME: VALUE`, an entry a line. `#` begins a comment at the start of a line and behind a blank. In
//! double quotes `\n`, `\t`, `\"`, `\\`, `\$` and so on are one character; between single quotes everything is what it
//! is, but `\'`. Both may go over several lines. Outside of single quotes Compose puts variables in.

use std::collections::BTreeMap;

use super::environment::Secret;
use crate::service::interpolate::{InterpolationError, LONGEST, Variables, interpolate};

/// Reads a file. Without `variables` there is nobody to say what a `$` means.
///
/// # Errors
/// The first entry that is not understood, by its number: its text may be a secret.
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
        let (entry, after) = entry(rest).ok_or_else(|| format!("its variable {number} is no NAME=VALUE"))?;
        let value =
            value(&entry, variables, &found).map_err(|why| format!("its variable {number}: {why}"))?;
        length += value.len();
        if length > LONGEST {
            return Err(format!("its variables become more than {LONGEST} bytes long: shorten them"));
        }
        found.insert(entry.name.to_owned(), Secret::from(value));
        rest = start(after);
    }
    Ok(found)
}

struct Entry<'t> {
    name: &'t str,
    written: Written,
}

enum Written {
    /// The name alone: the value is that of the surroundings.
    Nothing,
    /// What is taken as it stands.
    Literal(String),
    /// What may hold variables.
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
        (Written::Nothing, None) => Err("it has no value: write NAME=VALUE".to_owned()),
        (Written::Nothing, Some(_)) => {
            let value = lookup(entry.name).map(str::to_owned);
            value.ok_or_else(|| InterpolationError::Unset(entry.name.to_owned()).to_string())
        }
        (Written::Template(text), None) if text.contains('$') => Err(
            "Compose would put a variable where its `$` stands, and here there are none: write the value \
                 between single quotes"
                .to_owned(),
        ),
        (Written::Literal(text), _) | (Written::Template(text), None) => Ok(text.clone()),
        (Written::Template(text), Some(_)) => {
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

/// The entry that the text begins with, and what follows it.
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
        return Some((Entry { name, written: Written::Nothing }, after));
    };
    let (written, after) = match behind.trim_start_matches([' ', '\t']) {
        text if text.starts_with('\'') => {
            let (text, after) = quoted(&text[1..], '\'', in_single_quotes)?;
            (Written::Literal(text), end_of_line(after)?)
        }
        text if text.starts_with('"') => {
            let (text, after) = quoted(&text[1..], '"', in_double_quotes)?;
            (Written::Template(text), end_of_line(after)?)
        }
        _ => {
            let (line, after) = behind.split_once('\n').unwrap_or((behind, ""));
            let comment = [" #", "\t#"].iter().filter_map(|mark| line.find(mark)).min();
            let line = comment.map_or(line, |at| &line[..at]);
            (Written::Template(line.trim().to_owned()), after)
        }
    };
    Some((Entry { name, written }, after))
}

/// What follows the line, on which nothing but a comment may be left.
fn end_of_line(text: &str) -> Option<&str> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let line = line.trim();
    (line.is_empty() || line.starts_with('#')).then_some(after)
}

/// What stands before the quote that ends it, and what follows that. What is behind a backslash is another's to read.
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
        // A dollar that begins no variable, in the words of those who put variables in.
        '$' => value.push_str("$$"),
        other => value.extend(['\\', other]),
    }
}
