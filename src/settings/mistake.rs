//! A mistake in drainswap.toml, with its place. The line itself is not repeated: it may hold a secret.

use toml::de::{DeTable, Error};

use crate::cfg::keywords::nearest;

/// A mistake, by its line and column, both from 1 on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {reason}")]
pub struct Mistake {
    line: usize,
    column: usize,
    reason: String,
}

impl Mistake {
    /// What is wrong at this byte of the text.
    pub(super) fn at(text: &str, byte: usize, reason: String) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let begun = before.rsplit('\n').next().unwrap_or_default();
        Self { line: before.matches('\n').count() + 1, column: begun.chars().count() + 1, reason }
    }

    /// What the reader of TOML says. Where its words begin with the path of a key, as those of `services` do, the key's
    /// place is better than its own.
    pub(super) fn new(text: &str, table: &DeTable<'_>, error: &Error) -> Self {
        let reason = error.message().to_owned();
        let named = reason.split_once(": ").and_then(|(path, _)| deepest(table, path));
        let byte = named.or_else(|| Some(error.span()?.start)).unwrap_or(0);
        Self::at(text, byte, reason)
    }
}

/// Refuses a key that is none of these.
pub(super) fn refuse_unknown(
    text: &str,
    within: &str,
    table: &DeTable<'_>,
    known: &[&str],
) -> Result<(), Mistake> {
    let Some(key) = table.keys().find(|key| !known.contains(&key.get_ref().as_ref())) else { return Ok(()) };
    let name = key.get_ref();
    let hint = match nearest(name, known.iter().copied()) {
        Some(meant) => format!("; did you mean `{within}{meant}`?"),
        None => ": leave it out, `drainswap schema settings` has all there are".to_owned(),
    };
    let reason = format!("there is no key `{within}{}`{hint}", name.escape_debug());
    Err(Mistake::at(text, key.span().start, reason))
}

/// Where the key of a path such as `services.mobile.hosts` starts, or the deepest one on the way that is written.
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
