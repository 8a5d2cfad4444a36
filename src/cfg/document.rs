//! Configuration files as they are: every byte kept, every line split into words.

mod directive;
mod line;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::branch::{Blocks, Conditional};
use super::code;
use super::diagnostic::{Diagnostic, LineLocation, Problem};
use super::environment::Environment;
use super::keywords::section;
use super::syntax::{
    self, MAX_EXPANSION, MAX_WORDS, PackedWords, ParseContext, Split, SplitError, Word, is_blank,
};
use super::version::Version;
use line::Entry;
pub use line::{Ending, Line};

/// One configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as `HAProxy` was given it; `$.FILE` and the problems show it.
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// A file with its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: Arc<Path>,
    pub bytes: Vec<u8>,
    /// The `.if` blocks of the file.
    pub conditionals: Vec<Conditional>,
    /// The lines; together they cover all bytes.
    entries: Vec<Entry>,
    words: PackedWords,
}

impl File {
    /// Returns the lines, in order.
    #[must_use]
    pub fn lines(&self) -> impl ExactSizeIterator<Item = Line<'_>> {
        (0..self.entries.len()).map(|index| Line::at(self, index))
    }

    /// Returns the line with this number, counted from 1.
    #[must_use]
    pub fn line(&self, number: u32) -> Option<Line<'_>> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        (index < self.entries.len()).then(|| Line::at(self, index))
    }
}

/// All files of one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The files, in the order in which `HAProxy` reads them.
    pub files: Vec<File>,
    /// Problems with the words and the directives; [`super::interpret`] finds more.
    pub problems: Vec<Problem>,
    /// The parts of conditions that only the binary can decide, in the form that `haproxy -cc` accepts.
    pub questions: BTreeSet<String>,
    /// The environment that the files were read with.
    pub environment: Environment,
}

impl Document {
    /// Reassembles a file's bytes from its lines. Returns nothing if there is no file with this index.
    #[must_use]
    pub fn bytes(&self, file_index: usize) -> Vec<u8> {
        let Some(file) = self.files.get(file_index) else { return Vec::new() };
        let mut bytes = Vec::with_capacity(file.bytes.len());
        for line in file.lines() {
            bytes.extend_from_slice(line.bytes());
            bytes.extend_from_slice(line.ending().bytes());
        }
        bytes
    }
}

/// Reads the files of one configuration.
#[must_use]
pub fn read(files: Vec<SourceFile>, environment: &Environment) -> Document {
    let mut reader = Reader {
        environment: environment.at_start(),
        problems: Vec::new(),
        questions: BTreeSet::new(),
        room: MAX_EXPANSIONS,
    };
    let files = files.into_iter().enumerate().map(|(index, file)| reader.file(index, file)).collect();
    let Reader { problems, questions, .. } = reader;
    Document { files, problems, questions, environment: environment.clone() }
}

/// The most bytes that the variables of all lines may expand to: many short lines can name one long value.
const MAX_EXPANSIONS: usize = 64 << 20;

/// The state of the reader that carries over from file to file.
struct Reader {
    environment: Environment,
    problems: Vec<Problem>,
    questions: BTreeSet<String>,
    /// How many bytes the variables of the remaining lines may expand to.
    room: usize,
}

/// The state of the reader that carries over from line to line of one file.
struct Position<'f> {
    file: &'f str,
    bytes: &'f [u8],
    words: PackedWords,
    blocks: Blocks,
    in_global: bool,
    /// The section's name, or its keyword if it has no name.
    section: String,
}

impl<'f> Position<'f> {
    fn at_start(file: &'f str, bytes: &'f [u8]) -> Self {
        let words = PackedWords::for_file(bytes.len());
        Self { file, bytes, words, blocks: Blocks::default(), in_global: false, section: String::new() }
    }

    /// Returns the words of the line whose first word has this index.
    fn line_words(&self, first: usize) -> Vec<Word<'_>> {
        (first..self.words.len()).filter_map(|index| self.words.get(index, self.bytes)).collect()
    }
}

impl Reader {
    fn file(&mut self, index: usize, source: SourceFile) -> File {
        let SourceFile { path, bytes } = source;
        let path: Arc<Path> = path.into();
        let name = path.display().to_string();
        let mut position = Position::at_start(&name, &bytes);
        let mut entries = Vec::with_capacity(memchr::memchr_iter(b'\n', &bytes).count() + 1);
        let mut start = 0;
        for line in 1.. {
            if start == bytes.len() {
                break;
            }
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |feed| start + feed + 1);
            let spot = LineLocation { file: index, path: &path, line, start };
            entries.push(self.line(&spot, &bytes[start..end], &mut position));
            start = end;
        }
        let Position { blocks, mut words, .. } = position;
        words.give_back_room();
        let (conditionals, left_open) = blocks.finish();
        for (line, span) in left_open {
            let start = memchr::memrchr(b'\n', &bytes[..span.start]).map_or(0, |feed| feed + 1);
            let spot = LineLocation { file: index, path: &path, line, start };
            let finding =
                Diagnostic::error(code::OPEN_BLOCK, "this `.if` is not closed before the file ends");
            self.problems.push(spot.problem(span, finding.help("write `.endif` after its last line")));
        }
        File { path, bytes, conditionals, entries, words }
    }

    fn line(&mut self, spot: &LineLocation<'_>, raw: &[u8], position: &mut Position<'_>) -> Entry {
        let ending = Ending::of(raw);
        let text = &raw[..raw.len() - ending.bytes().len()];
        let nul = memchr::memchr(0, text);
        self.check_bytes(spot, text, nul, ending);
        let active = position.blocks.active();
        let first_word = position.words.len();
        let mut comment = None;
        match text.iter().position(|b| !is_blank(*b)) {
            Some(first) if text[first] == b'[' => self.scope(spot, &text[first..], first),
            _ if nul.is_some() && self.environment.version >= Version::new(2, 3) => {}
            _ => comment = self.split(spot, text, position).comment,
        }
        let comment = comment.map(|span| span.start);
        let active = self.obey(spot, first_word, position).unwrap_or(active);
        Entry::new(spot.start, first_word, comment, ending, active)
    }

    fn check_bytes(&mut self, spot: &LineLocation<'_>, text: &[u8], nul: Option<usize>, ending: Ending) {
        if nul.is_none() && ending != Ending::None {
            return;
        }
        let fatal = self.environment.version >= Version::new(2, 3);
        let finding = |code, message: &str| {
            if fatal { Diagnostic::error(code, message) } else { Diagnostic::warning(code, message) }
        };
        if let Some(nul) = nul {
            let at = spot.start + nul;
            let finding = finding(code::STRAY_NUL, "the line contains a NUL byte")
                .help("was the file saved as UTF-16?");
            self.problems.push(spot.problem(at..at + 1, finding));
        } else {
            let end = spot.start + text.len();
            let finding = finding(code::MISSING_LINE_FEED, "the last line does not end with a line feed")
                .label("the file ends here")
                .help("the file may have been cut off; if it is complete, add the line feed");
            self.problems.push(spot.problem(end..end, finding));
        }
    }

    /// Checks a `[name]` line. SPOE files use these, but any file may contain them.
    fn scope(&mut self, spot: &LineLocation<'_>, text: &[u8], indent: usize) {
        let name = text[1..].iter().take_while(|b| b.is_ascii_alphanumeric() || b".:_-".contains(b)).count();
        let after = &text[1 + name..];
        let tail = after.get(1..).unwrap_or_default().iter().find(|b| !is_blank(**b));
        if name > 0 && after.first() == Some(&b']') && matches!(tail, None | Some(b'#')) {
            return;
        }
        let at = spot.start + indent;
        let finding = Diagnostic::error(code::SCOPE, "invalid scope: expected `[NAME]` and nothing after it");
        self.problems.push(spot.problem(at..at + 1, finding));
    }

    fn split(&mut self, spot: &LineLocation<'_>, text: &[u8], position: &mut Position<'_>) -> Split {
        let around = ParseContext {
            environment: &self.environment,
            file: position.file,
            line: spot.line,
            section: &position.section,
            room: self.room.min(MAX_EXPANSION),
        };
        let first_word = position.words.len();
        let split = match syntax::split(text, spot.start, &around, &mut position.words) {
            Ok(split) => split,
            Err((fault, span)) => {
                self.problems.push(spot.problem(span, explain(fault)));
                return Split::default();
            }
        };
        self.room -= split.expanded;
        if let Some(unread) = &split.unread {
            let finding =
                Diagnostic::warning(code::STRAY_CARRIAGE_RETURN, "a carriage return ends the line here")
                    .label("ignored");
            self.problems.push(spot.problem(unread.clone(), finding));
        }
        if position.words.has_empty_since(first_word) && position.blocks.active() {
            self.check_empty_word(spot, &position.line_words(first_word));
        }
        split
    }

    fn check_empty_word(&mut self, spot: &LineLocation<'_>, words: &[Word<'_>]) {
        let Some(empty) = words.iter().position(|word| word.bytes.is_empty()) else { return };
        let refused = self.environment.version >= Version::new(3, 3);
        if !refused && empty + 1 == words.len() {
            return;
        }
        let message = "an empty word ends the line: HAProxy ignores the rest";
        let finding = if refused {
            Diagnostic::error(code::EMPTY_WORD, "empty word: HAProxy rejects the line from 3.3 on")
        } else {
            Diagnostic::warning(code::EMPTY_WORD, message)
        };
        let finding = finding.help("is a variable unset? give it a default: \"${NAME-default}\"");
        self.problems.push(spot.problem(words[empty].span.clone(), finding));
    }

    /// Applies a line that controls the reading itself. Returns whether the line is active, if it decides
    /// that.
    fn obey(&mut self, spot: &LineLocation<'_>, first: usize, position: &mut Position<'_>) -> Option<bool> {
        let version = self.environment.version;
        let keyword = position.words.get(first, position.bytes).filter(|word| !word.bytes.is_empty())?;
        if keyword.bytes[0] == b'.' && version >= Version::new(2, 4) {
            let mut blocks = std::mem::take(&mut position.blocks);
            let counts = self.directive(spot, &position.line_words(first), &mut blocks);
            position.blocks = blocks;
            return Some(counts);
        }
        let is_section = section::naming(keyword.bytes, version).is_some();
        if (is_section || position.in_global) && position.blocks.active() {
            let words = position.line_words(first);
            if is_section {
                let name = words.get(1).filter(|word| !word.bytes.is_empty()).unwrap_or(&words[0]);
                (position.in_global, position.section) = (keyword.is("global"), name.text().into_owned());
            } else {
                self.environment.obey(&words);
            }
        }
        None
    }
}

fn explain(fault: SplitError) -> Diagnostic {
    match fault {
        SplitError::UnmatchedQuote => {
            Diagnostic::error(code::UNMATCHED_QUOTE, "a quote is opened and never closed").label("opened here")
        }
        SplitError::UnmatchedBrace => {
            Diagnostic::error(code::UNMATCHED_BRACE, "`${` is not closed").label("opened here").help(
                "`${NAME}` since 2.2, `${NAME[*]}` since 2.3, `${NAME-default}` since 2.5; nothing else is allowed inside",
            )
        }
        SplitError::VariableName => Diagnostic::error(code::VARIABLE_NAME, "a variable name cannot start with this byte")
            .help("write `\\$` for a dollar sign in double quotes, or use single quotes"),
        SplitError::Hexadecimal => {
            Diagnostic::error(code::HEXADECIMAL, "`\\x` is not followed by two hexadecimal digits")
        }
        SplitError::WordExpansion => Diagnostic::error(code::WORD_EXPANSION, "only `[*]` may follow a variable's name"),
        SplitError::TooManyWords => {
            Diagnostic::error(code::TOO_MANY_WORDS, format!("the line has more than {MAX_WORDS} words"))
        }
        SplitError::TooLong => Diagnostic::error(
            code::TOO_LONG,
            format!(
                "the variables expand to more than {} kB on this line, or {} MB on all lines",
                MAX_EXPANSION >> 10,
                MAX_EXPANSIONS >> 20
            ),
        )
        .help("does a `setenv` above repeat its own variable?"),
    }
}

#[cfg(test)]
mod tests;
