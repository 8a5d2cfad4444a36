//! One physical line of a file.

use std::ops::Range;

use super::super::syntax::Word;
use super::File;

/// The end of a line.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Lf,
    CrLf,
    /// The file ends without a line feed.
    None,
}

impl Ending {
    /// Returns the ending of these bytes, in which a line feed can only come last.
    pub(super) fn of(raw: &[u8]) -> Self {
        match raw {
            [.., b'\r', b'\n'] => Self::CrLf,
            [.., b'\n'] => Self::Lf,
            _ => Self::None,
        }
    }

    /// Returns the bytes of the ending.
    #[must_use]
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
            Self::None => b"",
        }
    }
}

/// The value of [`Entry::comment`] for a line without a comment.
const NONE: u32 = u32::MAX;

/// A line as a file stores it: where its parts begin. It ends where the next line begins.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    start: u32,
    first_word: u32,
    comment: u32,
    ending: Ending,
    active: bool,
}

impl Entry {
    /// Creates an entry. The reader rejects files whose offsets do not fit.
    pub fn new(
        start: usize,
        first_word: usize,
        comment: Option<usize>,
        ending: Ending,
        active: bool,
    ) -> Self {
        let narrow = |offset| u32::try_from(offset).unwrap_or(NONE);
        let comment = comment.map_or(NONE, narrow);
        Self { start: narrow(start), first_word: narrow(first_word), comment, ending, active }
    }
}

/// One physical line. `HAProxy` has no line continuation, so it is a logical line too.
#[derive(Copy, Clone, Debug)]
pub struct Line<'d> {
    file: &'d File,
    index: usize,
}

impl<'d> Line<'d> {
    pub(super) fn at(file: &'d File, index: usize) -> Self {
        Self { file, index }
    }

    fn entry(self) -> &'d Entry {
        &self.file.entries[self.index]
    }

    fn next(self) -> Option<&'d Entry> {
        self.file.entries.get(self.index + 1)
    }

    /// Returns the number of the line in its file, counted from 1.
    #[must_use]
    pub fn number(self) -> u32 {
        u32::try_from(self.index + 1).unwrap_or(u32::MAX)
    }

    /// Returns the line's position in the file, without the ending.
    #[must_use]
    pub fn span(self) -> Range<usize> {
        let end = self.next().map_or(self.file.bytes.len(), |next| next.start as usize);
        self.entry().start as usize..end - self.ending().bytes().len()
    }

    /// Returns the bytes, without the ending.
    #[must_use]
    pub fn bytes(self) -> &'d [u8] {
        &self.file.bytes[self.span()]
    }

    /// Returns how the line ends.
    #[must_use]
    pub fn ending(self) -> Ending {
        self.entry().ending
    }

    /// Returns whether the line is active: it is not in a branch that an `.if` dropped.
    #[must_use]
    pub fn is_active(self) -> bool {
        self.entry().active
    }

    /// Returns the position of the comment, from `#` to the end of the line.
    #[must_use]
    pub fn comment(self) -> Option<Range<usize>> {
        let start = self.entry().comment;
        (start != NONE).then(|| start as usize..self.span().end)
    }

    fn word_indices(self) -> Range<usize> {
        let end = self.next().map_or(self.file.words.len(), |next| next.first_word as usize);
        self.entry().first_word as usize..end
    }

    /// Returns the words. A blank line, a scope (`[name]`) and a line that cannot be split have none.
    #[must_use]
    pub fn words(self) -> impl DoubleEndedIterator<Item = Word<'d>> + Clone {
        self.word_indices().filter_map(move |index| self.file.words.get(index, &self.file.bytes))
    }

    /// Returns the word with this index, counted from 0.
    #[must_use]
    pub fn word(self, index: usize) -> Option<Word<'d>> {
        let index = self.word_indices().start + index;
        if index < self.word_indices().end { self.file.words.get(index, &self.file.bytes) } else { None }
    }

    /// Returns whether every word means what is written: no quotes, escapes or variables.
    pub(in crate::cfg) fn is_as_written(self) -> bool {
        self.file.words.are_as_written(self.word_indices())
    }

    /// Returns the whole line as text, if every word means what is written.
    pub(in crate::cfg) fn plain_text(self) -> Option<&'d str> {
        if self.is_as_written() { std::str::from_utf8(self.bytes()).ok() } else { None }
    }

    /// Returns the words up to the first empty one: `HAProxy` reads no further.
    pub fn read_words(self) -> impl Iterator<Item = Word<'d>> + Clone {
        self.words().take_while(|word| !word.bytes.is_empty())
    }
}
