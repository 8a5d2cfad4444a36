//! From lines to a typed [`Configuration`].

mod references;
mod section;

use super::code;
use super::diagnostic::{Finding, Problem, Spot};
use super::document::{Document, File, Line};
use super::environment::Environment;
use super::global;
use super::keywords;
use super::model::{Configuration, Place, Proxy, StatsSocket};
use super::proxy::{Defaults, Draft, Modifier};
use super::version::Version;

/// A line that counts, as texts.
pub(super) struct Statement<'d> {
    spot: Spot<'d>,
    line: &'d Line,
    /// The words up to the first empty one; `HAProxy` sees no more.
    words: Vec<String>,
    /// How many words were cut off before: a `no` or `default`.
    skipped: usize,
}

impl<'d> Statement<'d> {
    fn new(spot: Spot<'d>, line: &'d Line) -> Self {
        let words = line.words.iter().take_while(|word| !word.bytes.is_empty());
        Self { spot, line, words: words.map(|word| word.text().into_owned()).collect(), skipped: 0 }
    }

    pub fn words(&self) -> &[String] {
        &self.words
    }

    pub fn place(&self) -> Place {
        Place { path: self.spot.path.to_path_buf(), line: self.spot.line }
    }

    /// A problem at one of the words, or behind the last one.
    pub fn problem(&self, word: usize, finding: Finding) -> Problem {
        let span = match self.line.words.get(word + self.skipped) {
            Some(word) => word.span.clone(),
            None => {
                self.line.words.last().map_or(self.line.span.clone(), |last| last.span.end..last.span.end)
            }
        };
        self.spot.problem(span, finding)
    }
}

/// The section that lines belong to.
enum Section {
    /// None was opened yet in this file.
    None,
    Global,
    /// A proxy section, or `defaults`.
    Proxy(Box<Draft>),
    Defaults(Option<String>, Box<Draft>),
    /// Another one, whose lines do not matter here.
    Other,
}

/// Reads a document as a configuration. Its problems are the document's and the interpreter's.
#[must_use]
pub fn interpret(document: &Document) -> Configuration {
    let mut interpreter = Interpreter {
        document,
        environment: document.environment.at_start(),
        proxies: Vec::new(),
        stats_sockets: Vec::new(),
        problems: document.problems.clone(),
        defaults: Defaults::default(),
        named_defaults: Vec::new(),
        section: Section::None,
    };
    for (index, file) in document.files.iter().enumerate() {
        interpreter.file(index, file);
    }
    references::check(document, &interpreter.proxies, &mut interpreter.problems);
    let Interpreter { proxies, stats_sockets, mut problems, .. } = interpreter;
    problems.sort_by_key(|problem| (problem.file, problem.span.start));
    Configuration { proxies, stats_sockets, problems }
}

struct Interpreter<'d> {
    document: &'d Document,
    /// As it is at the current line.
    environment: Environment,
    proxies: Vec<Proxy>,
    stats_sockets: Vec<StatsSocket>,
    problems: Vec<Problem>,
    /// The last `defaults` section.
    defaults: Defaults,
    named_defaults: Vec<(String, Defaults)>,
    section: Section,
}

impl Interpreter<'_> {
    fn file(&mut self, index: usize, file: &File) {
        for (number, line) in (1u32..).zip(&file.lines) {
            let directive = self.environment.version >= Version::new(2, 4)
                && line.words.first().is_some_and(|word| word.bytes.first() == Some(&b'.'));
            if line.active && !directive {
                let spot = Spot { file: index, path: &file.path, line: number, start: line.span.start };
                self.statement(Statement::new(spot, line));
            }
        }
        self.end_section();
    }

    fn end_section(&mut self) {
        match std::mem::replace(&mut self.section, Section::None) {
            Section::Proxy(draft) => {
                if let Some((place, name, finding)) = draft.oddity() {
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

    fn statement(&mut self, mut line: Statement<'_>) {
        let Some(modifier) = self.modifier(&mut line) else { return };
        let Some(keyword) = line.words.first() else { return };
        if let Some(naming) = keywords::section::naming(keyword, self.environment.version) {
            self.end_section();
            self.open_section(&line, naming);
            return;
        }
        match &mut self.section {
            Section::None => {
                let finding = out_of_section(keyword);
                self.problems.push(line.problem(0, finding));
            }
            Section::Global => {
                self.environment.obey(&line.line.words);
                if ["setenv", "presetenv"].contains(&keyword.as_str()) && line.words.len() < 3 {
                    let message = format!("`{keyword}` takes a name and a value");
                    self.problems.push(line.problem(0, Finding::error(code::ENVIRONMENT, message)));
                }
                match global::stats_socket(&line, &self.environment) {
                    Some(Ok(socket)) => self.stats_sockets.push(socket),
                    Some(Err((word, finding))) => self.problems.push(line.problem(word, finding)),
                    None => {}
                }
            }
            Section::Proxy(draft) | Section::Defaults(_, draft) => {
                draft.read(&line, modifier, &self.environment, &mut self.problems);
            }
            Section::Other => {}
        }
    }

    /// Takes a leading `no` or `default` off; `None` if it stands where none may.
    fn modifier(&mut self, line: &mut Statement<'_>) -> Option<Modifier> {
        let modifier = match line.words.first().map(String::as_str) {
            Some("no") => Modifier::No,
            Some("default") => Modifier::Default,
            _ => return Some(Modifier::None),
        };
        if !line.words.get(1).is_some_and(|word| MODIFIABLE.contains(&word.as_str())) {
            let message = format!("`{}` stands only before `option`, `log` and a few more", line.words[0]);
            self.problems.push(line.problem(0, Finding::error(code::MODIFIER, message)));
            return None;
        }
        line.words.remove(0);
        line.skipped = 1;
        Some(modifier)
    }
}

/// What `no` and `default` may stand before.
const MODIFIABLE: &[&str] = &[
    "option",
    "log",
    "busy-polling",
    "set-dumpable",
    "strict-limits",
    "insecure-fork-wanted",
    "numa-cpu-mapping",
];

fn out_of_section(keyword: &str) -> Finding {
    let finding =
        Finding::error(code::OUT_OF_SECTION, format!("`{keyword}` stands before the first section"));
    if keyword.starts_with('\u{feff}') {
        return finding.help("the file starts with a byte order mark: save it without one");
    }
    match keywords::nearest(keyword, keywords::section::words()) {
        Some(section) => finding.suggest(Some(section)),
        None => {
            finding.help("every file starts a section of its own: `global`, `defaults`, `backend NAME`, …")
        }
    }
}

/// A problem at the last word of this line that reads so, or at the whole line if none does.
fn problem_at(document: &Document, place: &Place, word: &str, finding: Finding) -> Option<Problem> {
    let (index, file) = document.files.iter().enumerate().find(|(_, file)| file.path == place.path)?;
    let line = file.lines.get(usize::try_from(place.line).ok()?.checked_sub(1)?)?;
    let named = line.words.iter().rev().find(|candidate| candidate.is(word));
    let span = named.map_or(line.span.clone(), |word| word.span.clone());
    let spot = Spot { file: index, path: &file.path, line: place.line, start: line.span.start };
    Some(spot.problem(span, finding))
}

#[cfg(test)]
mod tests;
