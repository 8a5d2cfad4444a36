//! The files as they are: every byte kept, every line split into words.

mod directive;

use std::ops::Range;
use std::path::PathBuf;

use super::branch::Blocks;
use super::code;
use super::diagnostic::{Finding, Problem, Spot};
use super::environment::Environment;
use super::keywords::section;
use super::syntax::{self, Fault, MAX_WORDS, Split, Surroundings, Word, is_blank};
use super::version::Version;

/// One configuration file, in the order in which `HAProxy` reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path, as `HAProxy` was given it: `$.FILE` and the problems show it.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// How a line ends.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A line feed.
    Lf,
    /// A carriage return and a line feed.
    CrLf,
    /// The file ends.
    None,
}

impl Ending {
    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
            Self::None => b"",
        }
    }
}

/// One physical line. `HAProxy` knows no continuation, so it is a logical one too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its bytes in the file, without the ending.
    pub span: Range<usize>,
    /// Its words: none on a blank line, a scope (`[name]`) and a line that cannot be split.
    pub words: Vec<Word>,
    /// From `#` to the end of the line.
    pub comment: Option<Range<usize>>,
    /// How it ends.
    pub ending: Ending,
    /// Whether it counts: it does not stand in a branch that an `.if` dropped.
    pub active: bool,
}

/// A file with its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Its lines, in order; together they are all bytes.
    pub lines: Vec<Line>,
}

/// All files of one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The files, in `HAProxy`'s order.
    pub files: Vec<File>,
    /// What is wrong with the words and the directives; [`super::interpret`] finds more.
    pub problems: Vec<Problem>,
    /// What the files were read with.
    pub environment: Environment,
}

impl Document {
    /// A file's bytes, put together again from its lines; nothing for an index that no file has.
    #[must_use]
    pub fn bytes(&self, file_index: usize) -> Vec<u8> {
        let Some(file) = self.files.get(file_index) else { return Vec::new() };
        let mut bytes = Vec::with_capacity(file.bytes.len());
        for line in &file.lines {
            bytes.extend_from_slice(&file.bytes[line.span.clone()]);
            bytes.extend_from_slice(line.ending.bytes());
        }
        bytes
    }
}

/// Reads the files of one configuration.
#[must_use]
pub fn read(files: Vec<SourceFile>, environment: &Environment) -> Document {
    let mut reader = Reader { environment: environment.at_start(), problems: Vec::new() };
    let files = files.into_iter().enumerate().map(|(index, file)| reader.file(index, file)).collect();
    Document { files, problems: reader.problems, environment: environment.clone() }
}

/// What goes on from file to file.
struct Reader {
    environment: Environment,
    problems: Vec<Problem>,
}

/// What goes on from line to line of one file.
struct Position<'f> {
    file: &'f str,
    blocks: Blocks,
    in_global: bool,
    /// The section's name, or its keyword if it has none.
    section: String,
}

impl Reader {
    fn file(&mut self, index: usize, source: SourceFile) -> File {
        let SourceFile { path, bytes } = source;
        let name = path.display().to_string();
        let mut position =
            Position { file: &name, blocks: Blocks::default(), in_global: false, section: String::new() };
        let mut lines = Vec::new();
        let mut start = 0;
        for (number, raw) in (1u32..).zip(bytes.split_inclusive(|b| *b == b'\n')) {
            let spot = Spot { file: index, path: &path, line: number, start };
            lines.push(self.line(&spot, raw, &mut position));
            start += raw.len();
        }
        for (line, span) in position.blocks.left_open() {
            let start = bytes[..span.start].iter().rposition(|b| *b == b'\n').map_or(0, |lf| lf + 1);
            let spot = Spot { file: index, path: &path, line, start };
            let finding = Finding::error(code::OPEN_BLOCK, "this `.if` is not closed before the file ends");
            self.problems.push(spot.problem(span, finding.help("write `.endif` after its last line")));
        }
        File { path, bytes, lines }
    }

    fn line(&mut self, spot: &Spot<'_>, raw: &[u8], position: &mut Position<'_>) -> Line {
        let ending = match raw {
            [.., b'\r', b'\n'] => Ending::CrLf,
            [.., b'\n'] => Ending::Lf,
            _ => Ending::None,
        };
        let text = &raw[..raw.len() - ending.bytes().len()];
        let span = spot.start..spot.start + text.len();
        let mut line =
            Line { span, words: Vec::new(), comment: None, ending, active: position.blocks.active() };
        self.check_bytes(spot, &line, text);
        match text.iter().position(|b| !is_blank(*b)) {
            Some(first) if text[first] == b'[' => self.scope(spot, &text[first..], first),
            _ if text.contains(&0) && self.environment.version >= Version::new(2, 3) => {}
            _ => {
                let split = self.split(spot, text, position);
                (line.words, line.comment) = (split.words, split.comment);
            }
        }
        if line.words.first().is_some_and(|word| !word.bytes.is_empty()) {
            line.active = self.obey(spot, &line, position);
        }
        line
    }

    fn check_bytes(&mut self, spot: &Spot<'_>, line: &Line, text: &[u8]) {
        let fatal = self.environment.version >= Version::new(2, 3);
        let finding = |code, message: &str| {
            if fatal { Finding::error(code, message) } else { Finding::warning(code, message) }
        };
        if let Some(nul) = text.iter().position(|b| *b == 0) {
            let at = spot.start + nul;
            let finding =
                finding(code::STRAY_NUL, "the line holds a NUL byte").help("was the file saved as UTF-16?");
            self.problems.push(spot.problem(at..at + 1, finding));
        } else if line.ending == Ending::None {
            let end = line.span.end;
            let finding = finding(code::MISSING_LINE_FEED, "the last line does not end with a line feed")
                .label("the file ends here")
                .help("the file may have been cut off; if it is complete, add the line feed");
            self.problems.push(spot.problem(end..end, finding));
        }
    }

    /// `[name]`, which SPOE files use; any file may hold it.
    fn scope(&mut self, spot: &Spot<'_>, text: &[u8], indent: usize) {
        let name = text[1..].iter().take_while(|b| b.is_ascii_alphanumeric() || b".:_-".contains(b)).count();
        let after = &text[1 + name..];
        let tail = after.get(1..).unwrap_or_default().iter().find(|b| !is_blank(**b));
        if name > 0 && after.first() == Some(&b']') && matches!(tail, None | Some(b'#')) {
            return;
        }
        let at = spot.start + indent;
        let finding = Finding::error(code::SCOPE, "this is no scope: `[NAME]` and nothing after it");
        self.problems.push(spot.problem(at..at + 1, finding));
    }

    fn split(&mut self, spot: &Spot<'_>, text: &[u8], position: &Position<'_>) -> Split {
        let around = Surroundings {
            environment: &self.environment,
            file: position.file,
            line: spot.line,
            section: &position.section,
        };
        let split = match syntax::split(text, spot.start, &around) {
            Ok(split) => split,
            Err((fault, span)) => {
                self.problems.push(spot.problem(span, explain(fault)));
                return Split::default();
            }
        };
        if let Some(unread) = &split.unread {
            let finding =
                Finding::warning(code::STRAY_CARRIAGE_RETURN, "a carriage return ends the line here")
                    .label("not read");
            self.problems.push(spot.problem(unread.clone(), finding));
        }
        if position.blocks.active() {
            self.check_empty_word(spot, &split.words);
        }
        split
    }

    fn check_empty_word(&mut self, spot: &Spot<'_>, words: &[Word]) {
        let Some(empty) = words.iter().position(|word| word.bytes.is_empty()) else { return };
        let refused = self.environment.version >= Version::new(3, 3);
        if !refused && empty + 1 == words.len() {
            return;
        }
        let message = "an empty word ends the line: HAProxy does not read what follows";
        let finding = if refused {
            Finding::error(code::EMPTY_WORD, "an empty word: HAProxy refuses the line from 3.3 on")
        } else {
            Finding::warning(code::EMPTY_WORD, message)
        };
        let finding = finding.help("is a variable unset? give it a default: \"${NAME-default}\"");
        self.problems.push(spot.problem(words[empty].span.clone(), finding));
    }

    /// Does what the line says about the reading itself. Returns whether the line counts.
    fn obey(&mut self, spot: &Spot<'_>, line: &Line, position: &mut Position<'_>) -> bool {
        let first = &line.words[0];
        if first.bytes.first() == Some(&b'.') && self.environment.version >= Version::new(2, 4) {
            return self.directive(spot, &line.words, &mut position.blocks);
        }
        let active = position.blocks.active();
        if active && section::is_section(&first.text(), self.environment.version) {
            position.in_global = first.is("global");
            let name = line.words.get(1).filter(|word| !word.bytes.is_empty()).unwrap_or(first);
            position.section = name.text().into_owned();
        } else if active && position.in_global {
            self.environment.obey(&line.words);
        }
        active
    }
}

fn explain(fault: Fault) -> Finding {
    match fault {
        Fault::UnmatchedQuote => {
            Finding::error(code::UNMATCHED_QUOTE, "a quote is opened and never closed").label("opened here")
        }
        Fault::UnmatchedBrace => {
            Finding::error(code::UNMATCHED_BRACE, "`${` is not closed").label("opened here").help(
                "`${NAME}` since 2.2, `${NAME[*]}` since 2.3, `${NAME-default}` since 2.5; nothing else may stand in it",
            )
        }
        Fault::VariableName => Finding::error(code::VARIABLE_NAME, "this byte starts no variable's name")
            .help("write `\\$` for a dollar sign in double quotes, or use single quotes"),
        Fault::Hexadecimal => {
            Finding::error(code::HEXADECIMAL, "`\\x` is not followed by two hexadecimal digits")
        }
        Fault::WordExpansion => Finding::error(code::WORD_EXPANSION, "only `[*]` may follow a variable's name"),
        Fault::TooManyWords => {
            Finding::error(code::TOO_MANY_WORDS, format!("the line has more than {MAX_WORDS} words"))
        }
    }
}

#[cfg(test)]
mod tests;
