//! A mistake in drainswap.toml with its position. Messages do not repeat the line, which may contain a secret.

use toml::de::{DeTable, Error};

use crate::cfg::keywords::nearest;

/// A mistake with its line and column, both from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {reason}")]
pub struct ConfigError {
    line: usize,
    column: usize,
    reason: String,
}

impl ConfigError {
    /// Creates a mistake at a byte offset of the text.
    pub(super) fn at(text: &str, byte: usize, reason: String) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let begun = before.rsplit('\n').next().unwrap_or_default();
        Self { line: before.matches('\n').count() + 1, column: begun.chars().count() + 1, reason }
    }

    /// Creates a mistake from an error of the TOML parser. If the message starts with the path of a key, as in
    /// `services`, the position of the key is more precise than that of the error.
    pub(super) fn new(text: &str, table: &DeTable<'_>, error: &Error) -> Self {
        let reason = error.message().to_owned();
        let named = reason.split_once(": ").and_then(|(path, _)| deepest(table, path));
        let byte = named.or_else(|| Some(error.span()?.start)).unwrap_or(0);
        Self::at(text, byte, reason)
    }
}

/// Refuses keys that are not known.
pub(super) fn refuse_unknown(
    text: &str,
    within: &str,
    table: &DeTable<'_>,
    known: &[&str],
) -> Result<(), ConfigError> {
    let Some(key) = table.keys().find(|key| !known.contains(&key.get_ref().as_ref())) else { return Ok(()) };
    let name = key.get_ref();
    let hint = match nearest(name, known.iter().copied()) {
        Some(meant) => format!("; did you mean `{within}{meant}`?"),
        None => ": remove it, or see `drainswap schema settings` for all keys".to_owned(),
    };
    let reason = format!("unknown key `{within}{}`{hint}", name.escape_debug());
    Err(ConfigError::at(text, key.span().start, reason))
}

/// Returns the start of the key with a path such as `services.mobile.hosts`, or of its deepest ancestor in the file.
fn deepest(table: &DeTable<'_>, path: &str) -> Option<usize> {
    let dotted = format!("{}=0", path.split('[').next()?);
    let path = DeTable::parse(&dotted).ok()?;
    let (mut path, mut table, mut at) = (Some(path.get_ref()), Some(table), None);
    while let Some((name, below)) = path.and_then(|path| path.iter().next()) {
        let found = table.and_then(|table| table.get_key_value(name.get_ref().as_ref()));
        let Some((key, value)) = found else { break };
        at = Some(key.span().start);
        (path, table) = (below.get_ref().as_table(), value.get_ref().as_table());
    }
    at
}
