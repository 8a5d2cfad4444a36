//! Variables in a text, by the rules of the Compose specification: `$NAME`, `${NAME}`, `${NAME:-other}` and its kin.
//!
//! Compose makes nothing of a variable that is not set, and warns; here it is an error, because a container with
//! half a text would replace one that works.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::container::{Secret, env_file};

/// So deep may `${A:-${B:-…}}` go.
const DEEPEST: usize = 16;

/// So long may a text become, and all values of a file of variables together.
pub(super) const LONGEST: usize = 1 << 20;

/// What names mean. Nobody needs to see the meanings: they may be passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, Secret>);

impl Variables {
    /// Those of the process, over those of the file `.env`.
    ///
    /// # Errors
    /// What is wrong with the file, by the number of its entry.
    pub fn new(process: impl IntoIterator<Item = (String, String)>, dotenv: &str) -> Result<Self, String> {
        let secret = |(name, value)| (name, Secret::from(value));
        let process = Self(process.into_iter().map(secret).collect());
        let mut all = env_file::read(dotenv, Some(&process))?;
        all.extend(process.0);
        Ok(Self(all))
    }

    /// What the name means.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::reveal)
    }

    /// Gives the name a meaning.
    pub(super) fn set(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), Secret::from(value));
    }
}

/// Why a text does not become another one. It holds names and what the file's author wrote, and no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterpolationError {
    /// A variable has no value, and the text has none for that case.
    #[error("the variable {0} is not set: set it, in .env too, or write ${{{0}:-DEFAULT}}")]
    Unset(String),
    /// The text says that the variable is needed.
    #[error("the variable {name} is needed: {}", .message.escape_debug())]
    Needed {
        /// Its name.
        name: String,
        /// What the author says of it, as it is written.
        message: String,
    },
    /// Nothing is known of a name that stands without braces.
    #[error("a variable in it is not set: write $$ for a dollar, or ${{NAME}} to have it named here")]
    UnsetUnnamed,
    /// A brace stays open.
    #[error("a `${{` has no `}}`: write it, or $$ for a dollar")]
    Unclosed,
    /// A dollar that begins nothing.
    #[error("a `$` stands before no name: write $$ for a dollar")]
    NoName,
    /// Something else than `:-`, `-`, `:?`, `?`, `:+` or `+` behind the name.
    #[error("behind the name {0} stands no :- - :? ? :+ or +: write one of them, or `}}`")]
    NoOperator(String),
    /// Braces in braces in braces.
    #[error("its braces are more than {DEEPEST} deep: write it more simply")]
    TooDeep,
    /// More text than anybody needs.
    #[error("it becomes more than {LONGEST} bytes long: shorten its variables")]
    TooLong,
}

/// Puts the variables in. `lookup` is asked for every name whose value takes part.
///
/// # Errors
/// The first thing that is wrong.
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
            // Without braces it may be a part of a secret that a dollar stands in.
            let value = lookup(name).ok_or(InterpolationError::UnsetUnnamed)?;
            append(result, value)?;
            after
        };
    }
    append(result, rest)
}

/// What stands between the braces: a name, and what to do with its value.
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
    // With a colon an empty value is as good as none.
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

/// Splits at the brace that closes the one which is open.
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

/// Splits behind the name that the text begins with.
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
