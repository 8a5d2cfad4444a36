//! One line of the file: its words, with quotes, escapes and variables resolved as in `HAProxy`.
//!
//! The rules are those of `HAProxy`'s `parse_line()`: a blank ends a word, quotes may start and stop inside a word,
//! `\` escapes only a few bytes, variables expand only inside `"…"`, and `#` starts a comment even in the middle of
//! a word.

mod packed;
mod piece;
mod plain;

use std::borrow::Cow;
use std::ops::Range;

use nom::IResult;
use nom::error::{ErrorKind, ParseError};

use super::environment::Environment;
use super::variable::Variable;
use super::version::Version;
pub(super) use packed::PackedWords;
use piece::{Piece, quoted, unquoted};

/// `HAProxy`'s `MAX_LINE_ARGS`: `HAProxy` refuses a line with more words.
pub const MAX_WORDS: usize = 64;

/// The most bytes that variables may expand to on one line. `HAProxy` has no limit: thirty lines of
/// `setenv A "$A$A"` use up all its memory. No meaningful line comes near this limit.
pub const MAX_EXPANSION: usize = 1 << 20;

/// One word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<'d> {
    /// The position as written, quotes included, as offsets in the file. The words of one `"${NAME[*]}"` share a
    /// span.
    pub span: Range<usize>,
    /// The meaning: quotes and escapes resolved, variables expanded.
    pub bytes: &'d [u8],
}

impl<'d> Word<'d> {
    /// Returns the word as text. Bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn text(&self) -> Cow<'d, str> {
        match std::str::from_utf8(self.bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(self.bytes),
        }
    }

    /// Returns whether the word is exactly this one. `HAProxy` compares keywords case-sensitively.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        self.bytes == word.as_bytes()
    }
}

/// The reason why a line cannot be split into words.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SplitError {
    /// A quote is not closed on its line.
    UnmatchedQuote,
    /// `${` without its `}`.
    UnmatchedBrace,
    /// A variable's name starts with an invalid byte.
    VariableName,
    /// `\x` without two hexadecimal digits.
    Hexadecimal,
    /// `${NAME[` without `*]}`.
    WordExpansion,
    /// More than [`MAX_WORDS`] words.
    TooManyWords,
    /// The variables expand to more bytes than allowed.
    TooLong,
}

/// The parts of a line that are not words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// The comment, from `#` to the end of the line.
    pub comment: Option<Range<usize>>,
    /// The text after a carriage return in the middle of the line, which `HAProxy` ignores.
    pub unread: Option<Range<usize>>,
    /// The number of bytes that the variables expanded to.
    pub expanded: usize,
}

/// The values that variables in a line can have.
pub(super) struct ParseContext<'a> {
    /// The version, and the variables as they are at this line.
    pub environment: &'a Environment,
    /// `$.FILE`.
    pub file: &'a str,
    /// `$.LINE`, counted from 1.
    pub line: u32,
    /// `$.SECTION`: the section's name, or its keyword if it has no name.
    pub section: &'a str,
    /// The number of bytes that the variables of the line may expand to.
    pub room: usize,
}

/// The parsers' error: its position, and a fault if it is fatal. Without a fault, the parser tries another
/// alternative.
#[derive(Debug)]
pub(super) struct SyntaxError<'a> {
    pub rest: &'a [u8],
    pub fault: Option<SplitError>,
}

impl<'a> ParseError<&'a [u8]> for SyntaxError<'a> {
    fn from_error_kind(rest: &'a [u8], _: ErrorKind) -> Self {
        Self { rest, fault: None }
    }

    fn append(_: &'a [u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

pub(super) type Parsed<'a, T> = IResult<&'a [u8], T, SyntaxError<'a>>;

/// Stops parsing the line with a fault at `rest`.
pub(super) fn fatal<T>(rest: &[u8], fault: SplitError) -> Parsed<'_, T> {
    Err(nom::Err::Failure(SyntaxError { rest, fault: Some(fault) }))
}

/// Returns whether a byte is a blank, like C's `isspace()`.
#[must_use]
pub fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

struct Lexer<'a, 'w> {
    line: &'a [u8],
    /// The offset of the line in the file.
    offset: usize,
    rest: &'a [u8],
    around: &'a ParseContext<'a>,
    words: &'w mut PackedWords,
    /// The number of words before the first one of this line.
    before: usize,
    word: Option<Started>,
    /// The rest of the line from the open `"` on.
    quote: Option<&'a [u8]>,
    /// The number of bytes that the variables expanded to so far.
    expanded: usize,
}

/// A word that has started.
struct Started {
    at: usize,
    bytes: Vec<u8>,
    /// Whether it contains a `${NAME[*]}` of an unset variable: from 3.3 on, that alone gives no word.
    vanishes: bool,
}

/// Splits a line, without its line feed, into words, and appends them to `words`. `offset` is the start of the line
/// in its file.
///
/// # Errors
/// Returns the fault and the span of the bytes that cause it, as offsets in the file. Then `words` has no word of
/// the line.
pub(super) fn split(
    line: &[u8],
    offset: usize,
    around: &ParseContext<'_>,
    words: &mut PackedWords,
) -> Result<Split, (SplitError, Range<usize>)> {
    let before = words.len();
    let at = plain::split(line, offset, words);
    if at == line.len() {
        return Ok(Split::default());
    }
    if line[at] == b'#' {
        return Ok(Split { comment: Some(offset + at..offset + line.len()), ..Split::default() });
    }
    let rest = &line[at..];
    Lexer { line, offset, rest, around, words, before, word: None, quote: None, expanded: 0 }.split()
}

fn without_leading_blanks(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|b| is_blank(**b)).count();
    &bytes[blanks..]
}

impl<'a> Lexer<'a, '_> {
    fn split(mut self) -> Result<Split, (SplitError, Range<usize>)> {
        self.run().map_err(|broken| {
            let at = self.offset_of(broken.rest);
            let end = if broken.rest.is_empty() { at } else { at + 1 };
            self.words.truncate(self.before);
            (broken.fault.unwrap_or(SplitError::UnmatchedQuote), at..end)
        })
    }

    fn run(&mut self) -> Result<Split, SyntaxError<'a>> {
        while !self.rest.is_empty() {
            let at = self.rest;
            let parsed = match self.quote {
                Some(_) => quoted(self.around.environment.version, at),
                None => unquoted(at),
            };
            let (rest, piece) = parsed.map_err(|error| match error {
                nom::Err::Error(broken) | nom::Err::Failure(broken) => broken,
                nom::Err::Incomplete(_) => SyntaxError { rest: at, fault: None },
            })?;
            self.rest = rest;
            match piece {
                Piece::Blanks => self.end_word(at)?,
                Piece::Comment => {
                    let comment = Some(self.from(at));
                    return self.finish(at, Split { comment, ..Split::default() });
                }
                Piece::End => {
                    let unread = (!rest.is_empty()).then(|| self.from(at));
                    return self.finish(at, Split { unread, ..Split::default() });
                }
                Piece::Bytes(bytes) => self.word(at).bytes.extend_from_slice(bytes),
                Piece::Byte(byte) => self.word(at).bytes.push(byte),
                Piece::DoubleQuote => {
                    self.word(at);
                    self.quote = if self.quote.is_some() { None } else { Some(at) };
                }
                Piece::Variable(variable) => self.expand(&variable, at)?,
            }
        }
        let end = self.rest;
        self.finish(end, Split::default())
    }

    fn finish(&mut self, at: &'a [u8], split: Split) -> Result<Split, SyntaxError<'a>> {
        if let Some(rest) = self.quote {
            return Err(SyntaxError { rest, fault: Some(SplitError::UnmatchedQuote) });
        }
        self.end_word(at)?;
        Ok(Split { expanded: self.expanded, ..split })
    }

    /// Returns the span from here to the end of the line.
    fn from(&self, at: &[u8]) -> Range<usize> {
        self.offset_of(at)..self.offset + self.line.len()
    }

    fn offset_of(&self, at: &[u8]) -> usize {
        self.offset + self.line.len() - at.len()
    }

    /// Returns the current word, or starts one at `at`.
    fn word(&mut self, at: &[u8]) -> &mut Started {
        let at = self.offset_of(at);
        self.word.get_or_insert(Started { at, bytes: Vec::new(), vanishes: false })
    }

    fn end_word(&mut self, at: &'a [u8]) -> Result<(), SyntaxError<'a>> {
        let Some(Started { at: start, mut bytes, vanishes }) = self.word.take() else { return Ok(()) };
        if vanishes && bytes.is_empty() {
            return Ok(());
        }
        // HAProxy passes words on as C strings, so a word ends at `\x00`.
        if let Some(nul) = bytes.iter().position(|b| *b == 0) {
            bytes.truncate(nul);
        }
        if self.words.len() - self.before == MAX_WORDS {
            let rest = &self.line[start - self.offset..];
            return Err(SyntaxError { rest, fault: Some(SplitError::TooManyWords) });
        }
        let end = self.offset_of(at);
        let written = &self.line[start - self.offset..end - self.offset];
        if bytes == written {
            self.words.push_plain(start..end);
        } else {
            self.words.push_resolved(start..end, bytes);
        }
        Ok(())
    }

    fn expand(&mut self, variable: &Variable<'a>, at: &'a [u8]) -> Result<(), SyntaxError<'a>> {
        self.word(at);
        let Some(text) = variable.value(self.around) else {
            self.unset(variable, at);
            return Ok(());
        };
        self.expanded += text.len();
        if self.expanded > self.around.room {
            return Err(SyntaxError { rest: at, fault: Some(SplitError::TooLong) });
        }
        if !variable.splits {
            self.word(at).bytes.extend_from_slice(&text);
            return Ok(());
        }
        // Each run of blanks in the value ends a word, so a leading run gives an empty word, as in HAProxy.
        let mut text: &[u8] = &text;
        while let Some(blank) = text.iter().position(|b| is_blank(*b)) {
            let start = self.word(at).at;
            self.word(at).bytes.extend_from_slice(&text[..blank]);
            let quote_end = self.rest;
            self.end_word(quote_end)?;
            self.word = Some(Started { at: start, bytes: Vec::new(), vanishes: false });
            text = without_leading_blanks(&text[blank..]);
        }
        self.word(at).bytes.extend_from_slice(text);
        Ok(())
    }

    /// Expands an unset variable to an empty text. Versions 2.9 to 3.2 also drop the closing quote and the blanks
    /// after it.
    fn unset(&mut self, variable: &Variable<'_>, at: &'a [u8]) {
        let version = self.around.environment.version;
        if version >= Version::new(3, 3) {
            self.word(at).vanishes |= variable.splits;
        } else if version >= Version::new(2, 9)
            && let [b'"', rest @ ..] = self.rest
        {
            self.rest = without_leading_blanks(rest);
            self.quote = None;
        }
    }
}

#[cfg(test)]
mod tests;
