//! Substitution of variables by the rules of the Compose specification: `$NAME`, `${NAME}`, `${NAME:-other}` and
//! similar.
//!
//! Compose replaces an unset variable by an empty text and warns. Here it is an error, because a container with an
//! incomplete value would replace one that works.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::container::{Secret, env_file};

/// The maximum nesting depth of `${A:-${B:-…}}`.
const DEEPEST: usize = 16;

/// The maximum length of a text after substitution, and of all values of an env file together, in bytes.
pub(super) const LONGEST: usize = 1 << 20;

/// Variables by name. Their values are hidden, because they may be passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, Secret>);

impl Variables {
    /// Combines the variables of the process with those of the file `.env`; the process takes precedence.
    ///
    /// # Errors
    /// Reports the first invalid entry of the file by its number.
    pub fn new(process: impl IntoIterator<Item = (String, String)>, dotenv: &str) -> Result<Self, String> {
        let secret = |(name, value)| (name, Secret::from(value));
        let process = Self(process.into_iter().map(secret).collect());
        let mut all = env_file::read(dotenv, Some(&process))?;
        all.extend(process.0);
        Ok(Self(all))
    }

    /// Returns the value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::reveal)
    }

    /// Sets a variable.
    pub(super) fn set(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), Secret::from(value));
    }
}

/// An error of substitution. Messages contain names and the text of the file, but no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterpolationError {
    /// A variable is not set, and the text has no default.
    #[error("the variable {0} is not set: set it, for example in .env, or write ${{{0}:-DEFAULT}}")]
    Unset(String),
    /// The text requires the variable with `${NAME:?message}`.
    #[error("the variable {name} is required: {}", .message.escape_debug())]
    Needed { name: String, message: String },
    /// A variable without braces is not set. Its name may be part of a secret.
    #[error(
        "a variable in this value is not set: write $$ for a dollar sign, or ${{NAME}} to see the name here"
    )]
    UnsetUnnamed,
    #[error("unclosed `${{`: add `}}`, or write $$ for a dollar sign")]
    Unclosed,
    #[error("`$` without a variable name: write $$ for a dollar sign")]
    NoName,
    /// The text after the name is not `:-`, `-`, `:?`, `?`, `:+` or `+`.
    #[error("invalid text after the variable name {0}: expected :- - :? ? :+ + or `}}`")]
    NoOperator(String),
    #[error("variables are nested more than {DEEPEST} levels deep: simplify them")]
    TooDeep,
    #[error("the text exceeds {LONGEST} bytes after substitution: shorten its variables")]
    TooLong,
}

/// Substitutes the variables in a text. Calls `lookup` for every name whose value matters.
///
/// # Errors
/// Reports the first problem.
pub fn interpolate<'v>(
    text: &str,
    lookup: &mut dyn FnMut(&str) -> Option<&'v str>,
) -> Result<String, InterpolationError> {
    let mut result = String::new();
    expand(text, lookup, 0, &mut result)?;
    Ok(result)
}

fn expand<'v>(
    text: &str,
    lookup: &mut dyn FnMut(&str) -> Option<&'v str>,
    depth: usize,
    result: &mut String,
) -> Result<(), InterpolationError> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        append(result, before)?;
        rest = if let Some(after) = after.strip_prefix('$') {
            append(result, "$")?;
            after
        } else if let Some(after) = after.strip_prefix('{') {
            let (inside, after) = braced(after)?;
            substitute(inside, lookup, depth, result)?;
            after
        } else {
            let (name, after) = name(after)?;
            // A name without braces may be part of a secret that contains a dollar sign.
            let value = lookup(name).ok_or(InterpolationError::UnsetUnnamed)?;
            append(result, value)?;
            after
        };
    }
    append(result, rest)
}

/// Substitutes the text between braces: a name and an operation on its value.
fn substitute<'v>(
    inside: &str,
    lookup: &mut dyn FnMut(&str) -> Option<&'v str>,
    depth: usize,
    result: &mut String,
) -> Result<(), InterpolationError> {
    if depth == DEEPEST {
        return Err(InterpolationError::TooDeep);
    }
    let (name, operation) = name(inside)?;
    let value = lookup(name);
    // With a colon, an empty value counts as unset.
    let (operator, value_or_none) = match operation.strip_prefix(':') {
        Some(operator) => (operator, value.filter(|value| !value.is_empty())),
        None => (operation, value),
    };
    let Some(kind) = operator.chars().next() else {
        return match value {
            Some(value) if operation.is_empty() => append(result, value),
            None if operation.is_empty() => Err(InterpolationError::Unset(name.to_owned())),
            _ => Err(InterpolationError::NoOperator(name.to_owned())),
        };
    };
    let word = &operator[kind.len_utf8()..];
    match (kind, value_or_none) {
        ('-' | '?', Some(value)) => append(result, value),
        ('-', None) | ('+', Some(_)) => expand(word, lookup, depth + 1, result),
        ('+', None) => Ok(()),
        ('?', None) if word.is_empty() => Err(InterpolationError::Unset(name.to_owned())),
        ('?', None) => Err(InterpolationError::Needed { name: name.to_owned(), message: word.to_owned() }),
        _ => Err(InterpolationError::NoOperator(name.to_owned())),
    }
}

/// Splits at the closing brace.
fn braced(text: &str) -> Result<(&str, &str), InterpolationError> {
    let bytes = text.as_bytes();
    let (mut at, mut open) = (0, 1);
    while let Some(byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b'$', Some(b'{')) => {
                open += 1;
                at += 1;
            }
            (b'$', Some(b'$')) => at += 1,
            (b'}', _) => open -= 1,
            (_, _) => {}
        }
        if open == 0 {
            return Ok((&text[..at], &text[at + 1..]));
        }
        at += 1;
    }
    Err(InterpolationError::Unclosed)
}

/// Splits after the name at the start of the text.
fn name(text: &str) -> Result<(&str, &str), InterpolationError> {
    let end = text.bytes().position(|it| !it.is_ascii_alphanumeric() && it != b'_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|it: char| it.is_ascii_digit()) {
        return Err(InterpolationError::NoName);
    }
    Ok((name, rest))
}

fn append(result: &mut String, text: &str) -> Result<(), InterpolationError> {
    if result.len() + text.len() > LONGEST {
        return Err(InterpolationError::TooLong);
    }
    result.push_str(text);
    Ok(())
}
