//! The words of a file, packed, because a large file has millions of them.

use std::ops::Range;

use super::Word;

/// A word's place in the file.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Packed {
    start: u32,
    /// In bytes, with [`RESOLVED`] set if the word means something other than its written form.
    length: u32,
}

/// The highest bit, which no length needs: much shorter lines are refused.
const RESOLVED: u32 = 1 << 31;

impl Packed {
    fn is_as_written(self) -> bool {
        self.length & RESOLVED == 0
    }

    fn span(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + (self.length & !RESOLVED) as usize
    }
}

/// The words of a file, in order. Their offsets are less than 4 GiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cfg) struct PackedWords {
    packed: Vec<Packed>,
    /// The meanings of the words that differ from their written form, in order, each with the word's index.
    resolved: Vec<(u32, Box<[u8]>)>,
}

/// Narrows an offset. The reader has refused larger files before.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

impl PackedWords {
    /// Reserves room for the words of a file of this length. Unused memory is never touched, and is given back.
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
        self.push(span, 0);
    }

    pub fn push_resolved(&mut self, span: Range<usize>, bytes: Vec<u8>) {
        self.resolved.push((narrow(self.packed.len()), bytes.into()));
        self.push(span, RESOLVED);
    }

    fn push(&mut self, span: Range<usize>, flag: u32) {
        let length = narrow(span.len()).min(!RESOLVED);
        self.packed.push(Packed { start: narrow(span.start), length: length | flag });
    }

    /// Returns the position in [`PackedWords::resolved`] of the first entry for this word or a later one.
    fn resolved_since(&self, first: usize) -> usize {
        self.resolved.partition_point(|(index, _)| (*index as usize) < first)
    }

    pub fn truncate(&mut self, length: usize) {
        self.packed.truncate(length);
        self.resolved.truncate(self.resolved_since(length));
    }

    /// Returns whether this word or a later one is empty. Only a resolved word can be.
    pub fn has_empty_since(&self, first: usize) -> bool {
        self.resolved[self.resolved_since(first)..].iter().any(|(_, bytes)| bytes.is_empty())
    }

    /// Returns whether these words mean what is written.
    pub fn are_as_written(&self, words: Range<usize>) -> bool {
        self.packed[words].iter().all(|word| word.is_as_written())
    }

    /// Returns a word, given the bytes of the file.
    pub fn get<'d>(&'d self, index: usize, file: &'d [u8]) -> Option<Word<'d>> {
        let word = *self.packed.get(index)?;
        let span = word.span();
        let bytes = if word.is_as_written() {
            file.get(span.clone())?
        } else {
            &self.resolved.get(self.resolved_since(index))?.1
        };
        Some(Word { span, bytes })
    }
}
