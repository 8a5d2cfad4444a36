//! Finds whole sections, replaces them line by line, and adds new ones.

use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::super::document::{Document, Ending, File, Line};
use super::super::keywords::section;
use super::{Edit, EditError, full_span, indentation, line_end};

/// A section in a file.
pub(super) struct FoundSection<'d> {
    pub index: usize,
    pub file: &'d File,
    pub name: String,
    /// The lines from the section's first to its last with words. Comments after that belong to the next
    /// section.
    pub lines: Vec<Line<'d>>,
}

/// Returns the first active section with this keyword and name.
pub(super) fn find<'d>(
    document: &'d Document,
    keyword: &str,
    name: &str,
) -> Result<FoundSection<'d>, EditError> {
    let version = document.environment.version;
    let starts = |line: &Line<'_>| {
        line.is_active() && line.word(0).is_some_and(|word| section::naming(word.bytes, version).is_some())
    };
    for (index, file) in document.files.iter().enumerate() {
        let mut lines = file.lines().skip_while(|line| {
            let named = line.word(0).is_some_and(|word| word.is(keyword))
                && line.word(1).is_some_and(|word| word.is(name));
            !(starts(line) && named)
        });
        let Some(first) = lines.next() else { continue };
        let mut lines: Vec<Line<'d>> =
            std::iter::once(first).chain(lines.take_while(|line| !starts(line))).collect();
        while lines.last().is_some_and(|line| line.word(0).is_none()) {
            lines.pop();
        }
        return Ok(FoundSection { index, file, name: name.to_owned(), lines });
    }
    Err(EditError::NoSection { keyword: keyword.to_owned(), name: name.to_owned() })
}

impl<'d> FoundSection<'d> {
    /// Returns the lines with words, and refuses directives: drainswap does not edit lines that only one
    /// branch contains.
    fn plain_lines(&self) -> Result<Vec<Line<'d>>, EditError> {
        let with_words: Vec<Line<'d>> =
            self.lines.iter().copied().filter(|line| line.word(0).is_some()).collect();
        match with_words.iter().find(|line| line.word(0).is_some_and(|word| word.bytes.starts_with(b"."))) {
            Some(directive) => {
                Err(EditError::Conditional { name: self.name.clone(), line: directive.number() })
            }
            None => Ok(with_words),
        }
    }

    /// Returns the indentation of the section's lines: that of another section if it has none yet, or four
    /// blanks.
    pub fn indentation(&self) -> &'d [u8] {
        let own = self.lines.iter().skip(1).copied();
        let indented = |line: &Line<'d>| line.word(0).is_some() && !indentation(*line).is_empty();
        own.chain(self.file.lines()).find(indented).map_or(b"    ", indentation)
    }
}

fn words(line: Line<'_>) -> Vec<Vec<u8>> {
    line.words().map(|word| word.bytes.to_vec()).collect()
}

impl Document {
    /// Replaces a section by another text. Lines that mean the same stay as written.
    ///
    /// # Errors
    /// Fails if there is no such section, or if it contains an `.if`.
    pub fn replace_section(
        &self,
        keyword: &str,
        name: &str,
        text: &Document,
    ) -> Result<Vec<Edit>, EditError> {
        let found = find(self, keyword, name)?;
        let old = found.plain_lines()?;
        let new: Vec<Line<'_>> =
            text.files.iter().flat_map(File::lines).filter(|line| line.word(0).is_some()).collect();
        let (old_words, new_words): (Vec<_>, Vec<_>) =
            (old.iter().map(|line| words(*line)).collect(), new.iter().map(|line| words(*line)).collect());
        let end = line_end(found.file);
        let indented = |range: Range<usize>| {
            let lines = new[range].iter().flat_map(|line| {
                let body = line.bytes().trim_ascii_start();
                let blanks = if body.len() == line.bytes().len() { b"" } else { found.indentation() };
                [blanks, body, end].concat()
            });
            lines.collect::<Vec<u8>>()
        };
        let after = |index: usize| {
            index.checked_sub(1).map_or(full_span(old[0]).start, |before| full_span(old[before]).end)
        };
        let mut edits = Vec::new();
        for change in capture_diff_slices(Algorithm::Myers, &old_words, &new_words) {
            let file = found.index;
            match change {
                DiffOp::Equal { .. } => {}
                DiffOp::Insert { old_index, new_index, new_len } => {
                    let at = after(old_index);
                    edits.push(Edit { file, span: at..at, text: indented(new_index..new_index + new_len) });
                }
                DiffOp::Delete { old_index, old_len, .. } => {
                    let gone = old[old_index..old_index + old_len].iter();
                    edits.extend(gone.map(|line| Edit { file, span: full_span(*line), text: Vec::new() }));
                }
                DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                    let mut gone = old[old_index..old_index + old_len].iter();
                    let first =
                        gone.next().map_or(after(old_index)..after(old_index), |line| full_span(*line));
                    edits.push(Edit { file, span: first, text: indented(new_index..new_index + new_len) });
                    edits.extend(gone.map(|line| Edit { file, span: full_span(*line), text: Vec::new() }));
                }
            }
        }
        Ok(edits)
    }

    /// Adds a section at the end of a file, with a blank line before it.
    #[must_use]
    pub fn add_section(&self, file: usize, text: &[u8]) -> Option<Edit> {
        let into = self.files.get(file)?;
        let end = line_end(into);
        let mut added = Vec::new();
        if let Some(last) = into.lines().last() {
            if last.ending() == Ending::None {
                added.extend_from_slice(end);
            }
            if !last.bytes().trim_ascii().is_empty() {
                added.extend_from_slice(end);
            }
        }
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            added.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
            added.extend_from_slice(end);
        }
        let at = into.bytes.len();
        Some(Edit { file, span: at..at, text: added })
    }
}
