//! The step from lines to a typed [`Configuration`].

mod references;
mod section;

use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::code;
use super::diagnostic::{Diagnostic, LineLocation, Problem};
use super::document::{Document, File, Line};
use super::environment::Environment;
use super::global::{self, StateFiles};
use super::keywords;
use super::model::{Configuration, Place, Proxy, StatsSocket};
use super::proxy::{Defaults, Modifier, SectionDraft};
use super::server::KnownSettings;
use super::version::Version;

/// An active line, as texts.
pub(super) struct Statement<'d> {
    spot: LineLocation<'d>,
    line: Line<'d>,
    /// The words up to the first empty one, where `HAProxy` stops reading.
    words: Vec<Cow<'d, str>>,
    /// How many words were removed from the start: a `no` or `default`.
    skipped: usize,
}

impl<'d> Statement<'d> {
    /// Creates a statement. `room` is an empty list that receives the words.
    fn new(spot: LineLocation<'d>, line: Line<'d>, mut room: Vec<Cow<'d, str>>) -> Self {
        match line.plain_text() {
            // One check of the whole line is cheaper than one for each word.
            Some(text) => {
                let start = line.span().start;
                let word = |span: Range<usize>| text.get(span.start - start..span.end - start);
                room.extend(line.words().filter_map(|found| word(found.span)).map(Cow::Borrowed));
            }
            None => room.extend(line.read_words().map(|word| word.text())),
        }
        Self { spot, line, words: room, skipped: 0 }
    }

    pub fn words(&self) -> &[Cow<'d, str>] {
        &self.words
    }

    /// Returns the line from this word on, if its words mean what is written.
    pub fn plain_from(&self, word: usize) -> Option<&'d [u8]> {
        if !self.line.is_as_written() {
            return None;
        }
        let start = self.line.word(word + self.skipped)?.span.start;
        self.line.bytes().get(start - self.line.span().start..)
    }

    pub fn place(&self) -> Place {
        Place { path: Arc::clone(self.spot.path), line: self.spot.line }
    }

    /// Creates a problem at one of the words, or after the last one.
    pub fn problem(&self, word: usize, finding: Diagnostic) -> Problem {
        let span = match self.line.word(word + self.skipped) {
            Some(word) => word.span,
            None => {
                self.line.words().next_back().map_or(self.line.span(), |last| last.span.end..last.span.end)
            }
        };
        self.spot.problem(span, finding)
    }
}

/// The section that the current lines belong to.
enum Section<'d> {
    /// No section of this file is open yet.
    None,
    Global,
    /// A proxy section, or `defaults`.
    Proxy(Box<SectionDraft<'d>>),
    Defaults(Option<String>, Box<SectionDraft<'d>>),
    /// Any other section, whose lines are skipped.
    Other,
}

/// Interprets a document as a configuration. The result has the problems of both the document and the
/// interpreter.
#[must_use]
pub fn interpret(document: &Document) -> Configuration {
    let mut interpreter = Interpreter {
        document,
        environment: document.environment.at_start(),
        proxies: Vec::new(),
        named: FxHashMap::default(),
        stats_sockets: Vec::new(),
        stats_timeout: None,
        state_files: StateFiles::default(),
        max_reloads: None,
        problems: document.problems.clone(),
        defaults: Defaults::of(document.environment.version),
        named_defaults: Vec::new(),
        section: Section::None,
        known_settings: KnownSettings::default(),
    };
    for (index, file) in document.files.iter().enumerate() {
        interpreter.file(index, file);
    }
    references::check(document, &interpreter.proxies, &mut interpreter.problems);
    let Interpreter {
        mut proxies, stats_sockets, stats_timeout, state_files, max_reloads, mut problems, ..
    } = interpreter;
    proxies.shrink_to_fit();
    problems.sort_by_key(|problem| (problem.file, problem.span.start));
    let server_state_file = state_files.global();
    for file in proxies.iter_mut().filter_map(|proxy| proxy.own_state_file.as_mut()) {
        *file = state_files.below_base(file);
    }
    Configuration { proxies, stats_sockets, stats_timeout, server_state_file, max_reloads, problems }
}

struct Interpreter<'d> {
    document: &'d Document,
    /// The environment at the current line.
    environment: Environment,
    proxies: Vec<Proxy>,
    /// The index of the first proxy of each name.
    named: FxHashMap<Cow<'d, str>, usize>,
    stats_sockets: Vec<StatsSocket>,
    stats_timeout: Option<Duration>,
    state_files: StateFiles,
    max_reloads: Option<u32>,
    problems: Vec<Problem>,
    /// The last `defaults` section.
    defaults: Defaults,
    named_defaults: Vec<(String, Defaults)>,
    section: Section<'d>,
    known_settings: KnownSettings<'d>,
}

impl<'d> Interpreter<'d> {
    fn file(&mut self, index: usize, file: &'d File) {
        let mut room = Vec::new();
        for line in file.lines() {
            let Some(keyword) = line.word(0) else { continue };
            let directive =
                self.environment.version >= Version::new(2, 4) && keyword.bytes.first() == Some(&b'.');
            if line.is_active() && !directive {
                let spot = LineLocation {
                    file: index,
                    path: &file.path,
                    line: line.number(),
                    start: line.span().start,
                };
                room = self.statement(Statement::new(spot, line, room));
                room.clear();
            }
        }
        self.end_section();
    }

    fn end_section(&mut self) {
        match std::mem::replace(&mut self.section, Section::None) {
            Section::Proxy(draft) => {
                if let Some((place, name, finding)) = draft.lint() {
                    self.problems.extend(problem_at(self.document, &place, &name, finding));
                }
                self.proxies.extend(draft.finish());
            }
            Section::Defaults(name, draft) => {
                self.defaults = draft.into_defaults();
                if let Some(name) = name {
                    self.named_defaults.push((name, self.defaults.clone()));
                }
            }
            Section::None | Section::Global | Section::Other => {}
        }
    }

    /// Processes a line. Returns its list of words for reuse.
    fn statement(&mut self, mut line: Statement<'d>) -> Vec<Cow<'d, str>> {
        if let Some(modifier) = self.modifier(&mut line) {
            self.modified(&line, modifier);
        }
        line.words
    }

    fn modified(&mut self, line: &Statement<'d>, modifier: Modifier) {
        let Some(keyword) = line.words.first() else { return };
        if let Some(naming) = keywords::section::naming(keyword.as_bytes(), self.environment.version) {
            self.end_section();
            self.open_section(line, naming);
            return;
        }
        match &mut self.section {
            Section::None => {
                let finding = out_of_section(keyword);
                self.problems.push(line.problem(0, finding));
            }
            Section::Global => self.global(line),
            Section::Proxy(draft) | Section::Defaults(_, draft) => {
                draft.read(line, modifier, &self.environment, &mut self.known_settings, &mut self.problems);
            }
            Section::Other => {}
        }
    }

    fn global(&mut self, line: &Statement<'d>) {
        self.environment.obey(&line.line.words().collect::<Vec<_>>());
        // Earlier settings may have been read with other variables.
        self.known_settings = KnownSettings::default();
        let keyword = &line.words[0];
        if ["setenv", "presetenv"].contains(&&**keyword) && line.words.len() < 3 {
            let message = format!("`{keyword}` takes a name and a value");
            self.problems.push(line.problem(0, Diagnostic::error(code::ENVIRONMENT, message)));
        }
        self.problems.extend(
            keywords::removed(line.words(), self.environment.version).map(|finding| line.problem(0, finding)),
        );
        self.state_files.read(line.words());
        self.max_reloads = global::max_reloads(line.words()).or(self.max_reloads);
        self.stats_timeout = global::stats_timeout(line.words()).or(self.stats_timeout);
        match global::stats_socket(line, &self.environment) {
            Some(Ok(socket)) => self.stats_sockets.push(socket),
            Some(Err((word, finding))) => self.problems.push(line.problem(word, finding)),
            None => {}
        }
    }

    /// Removes a leading `no` or `default`. Returns `None` if it is not allowed there.
    fn modifier(&mut self, line: &mut Statement<'_>) -> Option<Modifier> {
        let modifier = match line.words.first().map(|word| &**word) {
            Some("no") => Modifier::No,
            Some("default") => Modifier::Default,
            _ => return Some(Modifier::None),
        };
        if !line.words.get(1).is_some_and(|word| MODIFIABLE.contains(&&**word)) {
            let message = format!(
                "`{}` is only allowed before `option`, `log` and a few other keywords",
                line.words[0]
            );
            self.problems.push(line.problem(0, Diagnostic::error(code::MODIFIER, message)));
            return None;
        }
        line.words.remove(0);
        line.skipped = 1;
        Some(modifier)
    }
}

/// The keywords that may follow `no` and `default`.
const MODIFIABLE: &[&str] = &[
    "option",
    "log",
    "busy-polling",
    "set-dumpable",
    "strict-limits",
    "insecure-fork-wanted",
    "numa-cpu-mapping",
];

fn out_of_section(keyword: &str) -> Diagnostic {
    let finding =
        Diagnostic::error(code::OUT_OF_SECTION, format!("`{keyword}` comes before the first section"));
    if keyword.starts_with('\u{feff}') {
        return finding.help("the file starts with a byte order mark: save it without one");
    }
    match keywords::nearest(keyword, keywords::section::words()) {
        Some(section) => finding.suggest(Some(section)),
        None => finding.help("start every file with a section: `global`, `defaults`, `backend NAME`, …"),
    }
}

/// Returns a problem at the last occurrence of this word on the line, or at the whole line if there is none.
fn problem_at(document: &Document, place: &Place, word: &str, finding: Diagnostic) -> Option<Problem> {
    let (index, file) = document.files.iter().enumerate().find(|(_, file)| file.path == place.path)?;
    let line = file.line(place.line)?;
    let named = line.words().rev().find(|candidate| candidate.is(word));
    let span = named.map_or(line.span(), |word| word.span);
    let spot = LineLocation { file: index, path: &file.path, line: place.line, start: line.span().start };
    Some(spot.problem(span, finding))
}

#[cfg(test)]
mod tests;
