//! The words of a file, packed: a large file has millions of them.

use std::ops::Range;

use super::Word;

/// A word means what is written.
const AS_WRITTEN: u32 = u32::MAX;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Packed {
    start: u32,
    end: u32,
    /// Index into [`PackedWords::resolved`], or [`AS_WRITTEN`].
    resolved: u32,
}

/// The words of a file, in order, whose bytes are offsets of less than 4 GiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cfg) struct PackedWords {
    packed: Vec<Packed>,
    /// What those words mean that are not written so.
    resolved: Vec<Box<[u8]>>,
}

/// The reader refuses larger files before.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

impl PackedWords {
    /// Room for the words of a file of this length. What is not needed is never touched, and given back.
    pub fn for_file(length: usize) -> Self {
        Self { packed: Vec::with_capacity(length / 4), resolved: Vec::new() }
    }

    pub fn give_back_room(&mut self) {
        self.packed.shrink_to_fit();
    }

    pub fn len(&self) -> usize {
        self.packed.len()
    }

    pub fn push_plain(&mut self, span: Range<usize>) {
        self.packed.push(Packed { start: narrow(span.start), end: narrow(span.end), resolved: AS_WRITTEN });
    }

    pub fn push_resolved(&mut self, span: Range<usize>, bytes: Vec<u8>) {
        let resolved = narrow(self.resolved.len());
        self.packed.push(Packed { start: narrow(span.start), end: narrow(span.end), resolved });
        self.resolved.push(bytes.into());
    }

    pub fn truncate(&mut self, length: usize) {
        // What a line that is given up had resolved is left behind; the line is an error anyway.
        self.packed.truncate(length);
    }

    /// Whether a word from this one on is empty; only what is resolved can be.
    pub fn has_empty_since(&self, first: usize) -> bool {
        let resolved = self.packed[first..].iter().filter(|word| word.resolved != AS_WRITTEN);
        resolved.map(|word| &self.resolved[word.resolved as usize]).any(|bytes| bytes.is_empty())
    }

    /// Whether these words mean what is written.
    pub fn are_as_written(&self, words: Range<usize>) -> bool {
        self.packed[words].iter().all(|word| word.resolved == AS_WRITTEN)
    }

    /// A word of the file that these bytes are.
    pub fn get<'d>(&'d self, index: usize, file: &'d [u8]) -> Option<Word<'d>> {
        let Packed { start, end, resolved } = *self.packed.get(index)?;
        let span = start as usize..end as usize;
        let bytes = match resolved {
            AS_WRITTEN => file.get(span.clone())?,
            index => self.resolved.get(index as usize)?,
        };
        Some(Word { span, bytes })
    }
}
