//! Changes of a file that move only the bytes that they are about: everything else stays as somebody wrote it.
//!
//! What is added looks like its surroundings: the indentation and the line ends of the file are followed.

mod section;
mod server;

use std::ops::Range;

use super::document::{Ending, File, Line};
use super::quote::{self, Unquotable};

/// A change: these bytes of a file become others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Index into [`super::Document::files`].
    pub file: usize,
    /// The bytes that go; none where something is only added.
    pub span: Range<usize>,
    /// What stands there instead.
    pub text: Vec<u8>,
}

/// Why a change cannot be made by a program.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EditError {
    /// There is no such section.
    #[error("there is no `{keyword} {name}` to change")]
    NoSection {
        /// What starts the section.
        keyword: String,
        /// Its name.
        name: String,
    },
    /// There is no such server.
    #[error(
        "`{backend}` has no line `server {server}` of its own; a server of a template changes with its template"
    )]
    NoServer {
        /// The backend.
        backend: String,
        /// The server.
        server: String,
    },
    /// There is such a server already.
    #[error("`{backend}` already has a server `{server}`")]
    ServerExists {
        /// The backend.
        backend: String,
        /// The server.
        server: String,
    },
    /// An `.if` block crosses the lines in question.
    #[error("cannot change `{name}`: an `.if` block crosses it at line {line}. Change it by hand")]
    Conditional {
        /// The section.
        name: String,
        /// The directive's line.
        line: u32,
    },
    /// One variable makes several words.
    #[error("cannot change line {line}: its words come from one variable. Change the variable")]
    Shared {
        /// The line.
        line: u32,
    },
    /// No setting of a server is called so.
    #[error("unknown server setting `{0}`")]
    NoSetting(String),
    /// A word cannot be written.
    #[error("cannot write `{word}`: {why}")]
    Unquotable {
        /// The word.
        word: String,
        /// Why.
        why: Unquotable,
    },
}

/// Makes changes, which must not overlap. They may come in any order.
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

/// The words as they must be written, with a blank between.
fn written(words: &[&str]) -> Result<String, EditError> {
    let mut line = Vec::with_capacity(words.len());
    for word in words {
        let why = |why| EditError::Unquotable { word: (*word).to_owned(), why };
        line.push(quote::word(word).map_err(why)?);
    }
    Ok(line.join(" "))
}

/// How a file ends its lines: as its first line does.
fn line_end(file: &File) -> &'static [u8] {
    match file.line(1).map(Line::ending) {
        Some(Ending::CrLf) => Ending::CrLf.bytes(),
        Some(Ending::Lf | Ending::None) | None => Ending::Lf.bytes(),
    }
}

/// The blanks before the first word.
fn indentation(line: Line<'_>) -> &[u8] {
    let blanks = line.bytes().iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &line.bytes()[..blanks]
}

/// The whole line, with its ending.
fn whole(line: Line<'_>) -> Range<usize> {
    line.span().start..line.span().end + line.ending().bytes().len()
}

#[cfg(test)]
mod tests;
