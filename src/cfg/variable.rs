//! `$NAME`, `${NAME}`, `${NAME-default}`, `${NAME[*]}`, `$.LINE` inside `"…"`.

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::{tag, take_while};
use nom::combinator::opt;

use super::syntax::{ParseContext, Parsed, SplitError, SyntaxError, fatal};
use super::version::Version;

/// A variable as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable<'a> {
    /// The name: letters, digits and `_`; a leading `.` marks one of `HAProxy`'s pseudo-variables.
    pub name: &'a str,
    /// The default, as raw bytes. It applies if the variable is unset, but not if it is empty.
    pub default: Option<&'a [u8]>,
    /// Whether the value is split into words at its blanks.
    pub splits: bool,
}

impl Variable<'_> {
    /// Returns the bytes that replace the variable, or `None` if it is unset and has no default.
    pub fn value<'v>(&'v self, around: &'v ParseContext<'_>) -> Option<Cow<'v, [u8]>> {
        let known = match self.name {
            ".LINE" => Some(Cow::Owned(around.line.to_string().into_bytes())),
            ".FILE" => Some(Cow::Borrowed(around.file.as_bytes())),
            ".SECTION" => Some(Cow::Borrowed(around.section.as_bytes())),
            name => around.environment.variables.get(name).map(|value| Cow::Borrowed(value.as_bytes())),
        };
        known.or(self.default.map(Cow::Borrowed))
    }
}

/// Reads a variable, starting at its `$`.
pub(super) fn variable(version: Version, input: &[u8]) -> Parsed<'_, Variable<'_>> {
    let (at_brace, _) = tag("$")(input)?;
    let (at_name, brace) = opt(tag("{")).parse(at_brace)?;
    let (rest, name) = name(version, at_name)?;
    if brace.is_none() {
        return Ok((rest, Variable { name, default: None, splits: false }));
    }
    let (rest, splits) = word_expansion(version, rest)?;
    let (rest, default) = default(version, rest);
    match rest {
        [b'}', rest @ ..] => Ok((rest, Variable { name, default, splits })),
        _ => fatal(at_brace, SplitError::UnmatchedBrace),
    }
}

fn name(version: Version, input: &[u8]) -> Parsed<'_, &str> {
    let pseudo = input.first() == Some(&b'.');
    let letters = &input[usize::from(pseudo)..];
    let (rest, tail) =
        take_while::<_, _, SyntaxError>(|b: u8| b.is_ascii_alphanumeric() || b == b'_').parse(letters)?;
    let name = std::str::from_utf8(&input[..usize::from(pseudo) + tail.len()]).unwrap_or_default();
    let legal = if pseudo {
        version >= Version::new(2, 4) && [".LINE", ".FILE", ".SECTION"].contains(&name)
    } else {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    };
    if legal { Ok((rest, name)) } else { fatal(input, SplitError::VariableName) }
}

fn word_expansion(version: Version, input: &[u8]) -> Parsed<'_, bool> {
    match input {
        [b'[', b'*', b']', rest @ ..] if version >= Version::new(2, 3) => Ok((rest, true)),
        [b'[', ..] if version >= Version::new(2, 3) => fatal(input, SplitError::WordExpansion),
        _ => Ok((input, false)),
    }
}

/// Reads a default up to the first `}`: quotes, `#` and blanks in it are plain bytes.
fn default(version: Version, input: &[u8]) -> (&[u8], Option<&[u8]>) {
    match input {
        [b'-', rest @ ..] if version >= Version::new(2, 5) => {
            let end = rest.iter().position(|b| *b == b'}').unwrap_or(rest.len());
            (&rest[end..], Some(&rest[..end]))
        }
        _ => (input, None),
    }
}
