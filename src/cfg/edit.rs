//! Edits of a file that change only the bytes in question: everything else stays as written.
//!
//! Added lines follow the indentation and the line ends of the file.

mod section;
mod server;

use std::ops::Range;

use super::document::{Ending, File, Line};
use super::quote::{self, Unquotable};

/// An edit: replaces these bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Index into [`super::Document::files`].
    pub file: usize,
    /// The bytes to remove; empty if the edit only adds text.
    pub span: Range<usize>,
    /// The bytes to write instead.
    pub text: Vec<u8>,
}

/// The reason why an edit cannot be made automatically.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EditError {
    #[error("cannot change `{keyword} {name}`: it is not in the file. Check the name")]
    NoSection {
        /// The keyword that starts the section.
        keyword: String,
        name: String,
    },
    /// No line defines the server alone.
    #[error(
        "cannot change `server {server}`: `{backend}` has no such line. Check the name; a server of a template changes with its `server-template`"
    )]
    NoServer { backend: String, server: String },
    #[error("cannot add `server {server}`: `{backend}` already has it. Use another name")]
    ServerExists { backend: String, server: String },
    /// An `.if` block crosses the lines to change.
    #[error("cannot change `{name}`: an `.if` block crosses it at line {line}. Change it by hand")]
    Conditional { name: String, line: u32 },
    /// One variable expands to several words.
    #[error("cannot change line {line}: its words come from one variable. Change the variable")]
    Shared { line: u32 },
    /// There is no server setting with this name.
    #[error("unknown server setting `{0}`. Use one that HAProxy knows")]
    NoSetting(String),
    /// A word cannot be written in any form of quoting.
    #[error("cannot write `{word}`: {why}. Use another value")]
    Unquotable { word: String, why: Unquotable },
}

/// Applies edits, which must not overlap. They may come in any order.
#[must_use]
pub fn apply(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut sorted: Vec<&Edit> = edits.iter().collect();
    sorted.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut out = Vec::with_capacity(bytes.len());
    let mut done = 0;
    for edit in sorted {
        out.extend_from_slice(&bytes[done..edit.span.start]);
        out.extend_from_slice(&edit.text);
        done = edit.span.end;
    }
    out.extend_from_slice(&bytes[done..]);
    out
}

/// Returns the words as they must be written, separated by blanks.
fn written(words: &[&str]) -> Result<String, EditError> {
    let mut line = Vec::with_capacity(words.len());
    for word in words {
        let why = |why| EditError::Unquotable { word: (*word).to_owned(), why };
        line.push(quote::word(word).map_err(why)?);
    }
    Ok(line.join(" "))
}

/// Returns the line ending of a file, which is that of its first line.
fn line_end(file: &File) -> &'static [u8] {
    match file.line(1).map(Line::ending) {
        Some(Ending::CrLf) => Ending::CrLf.bytes(),
        Some(Ending::Lf | Ending::None) | None => Ending::Lf.bytes(),
    }
}

/// Returns the blanks before the first word.
fn indentation(line: Line<'_>) -> &[u8] {
    let blanks = line.bytes().iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &line.bytes()[..blanks]
}

/// Returns the span of the whole line, with its ending.
fn full_span(line: Line<'_>) -> Range<usize> {
    line.span().start..line.span().end + line.ending().bytes().len()
}

#[cfg(test)]
mod tests;
