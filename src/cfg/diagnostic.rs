//! Problems in a configuration, and their places.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use miette::{LabeledSpan, MietteDiagnostic, NamedSource, Report};
use serde::Serialize;

use super::document::Document;
use super::mask;

/// The severity of a problem.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// `HAProxy` starts with it, but probably does not do what was intended.
    Warning,
    /// `HAProxy` refuses the configuration.
    Error,
}

/// A problem without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Diagnostic {
    code: &'static str,
    severity: Severity,
    message: String,
    label: String,
    help: Option<String>,
}

impl Diagnostic {
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            label: "here".to_owned(),
            help: None,
        }
    }

    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Sets the words under the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets the help: what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Suggests the nearest known word, if there is one.
    pub fn suggest(self, nearest: Option<&str>) -> Self {
        match nearest {
            Some(word) => self.help(format!("did you mean `{word}`?")),
            None => self,
        }
    }
}

/// A line of one file, as needed to turn a span into a line and a column.
#[derive(Copy, Clone, Debug)]
pub(super) struct LineLocation<'d> {
    /// Index into [`Document::files`].
    pub file: usize,
    pub path: &'d Arc<Path>,
    /// Counted from 1.
    pub line: u32,
    /// The offset of the line's first byte in the file.
    pub start: usize,
}

impl LineLocation<'_> {
    /// Places a finding on this line.
    pub fn problem(&self, span: Range<usize>, finding: Diagnostic) -> Problem {
        let column = u32::try_from(span.start.saturating_sub(self.start) + 1).unwrap_or(u32::MAX);
        let Diagnostic { code, severity, message, label, help } = finding;
        let (file, path, line) = (self.file, Arc::clone(self.path), self.line);
        Problem { code, severity, file, path, span, line, column, message, label, help }
    }
}

/// A problem in a configuration.
///
/// Prints as `path:line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A stable code: one of [`super::code::ALL`].
    pub code: &'static str,
    /// Whether `HAProxy` would still start.
    pub severity: Severity,
    /// Index into [`Document::files`].
    #[serde(skip)]
    pub file: usize,
    /// The path of the file.
    pub path: Arc<Path>,
    /// The bytes of the file that the problem is about.
    pub span: Range<usize>,
    /// The line, counted from 1.
    pub line: u32,
    /// The first byte of the span, in bytes, counted from 1; `HAProxy` calls it "position".
    pub column: u32,
    /// The description of the problem.
    pub message: String,
    /// The words under the caret.
    pub label: String,
    /// The help: what to do about it.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path.display(), self.line, self.column, self.message)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// Returns the problem with its line of the file and a caret under the place.
    #[must_use]
    pub fn report(&self, document: &Document) -> Report {
        let severity = match self.severity {
            Severity::Warning => miette::Severity::Warning,
            Severity::Error => miette::Severity::Error,
        };
        let label = LabeledSpan::new(Some(self.label.clone()), self.span.start, self.span.len());
        let mut shown = MietteDiagnostic::new(self.message.clone())
            .with_code(self.code)
            .with_severity(severity)
            .with_label(label);
        if let Some(help) = &self.help {
            shown = shown.with_help(help.clone());
        }
        // The report shows the surrounding lines too, which may contain secrets.
        let shown_bytes = document.files.get(self.file).map(mask::same_length).unwrap_or_default();
        let text = printable(&shown_bytes);
        Report::new(shown).with_source_code(NamedSource::new(self.path.display().to_string(), text))
    }
}

/// The most problems to show with their lines. A file that is not a configuration at all has a problem on each
/// line, and a longer list would not help.
const SHOWN: usize = 50;

/// Returns the first problems, each with its line and a caret, and the number of further ones.
#[must_use]
pub fn reports(problems: &[Problem], document: &Document) -> Vec<String> {
    let shown = problems.iter().take(SHOWN).map(|problem| format!("{:?}", problem.report(document)));
    let more = problems.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("… and {more} more: fix these first, or list all with -o json"));
    shown.chain(more).collect()
}

/// Returns the bytes as text of the same length, so that the spans still fit: a byte that is not UTF-8 becomes `?`.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Environment, SourceFile, Version, read};
    use super::*;

    #[test]
    fn a_file_of_nothing_but_problems_shows_the_first_ones() {
        let bytes = b"\"\n".repeat(60);
        let environment = Environment::new(BTreeMap::new(), Version::new(2, 6));
        let document = read(vec![SourceFile { path: "h.cfg".into(), bytes }], &environment);
        let shown = reports(&document.problems, &document);
        assert_eq!(shown.len(), SHOWN + 1);
        assert_eq!(shown[SHOWN], "… and 10 more: fix these first, or list all with -o json");
    }

    #[test]
    fn a_report_shows_the_line_and_a_caret_even_among_odd_bytes() {
        let bytes = b"# caf\xe9 \xff\nbackend b\n  server a \"1.2.3.4:80 check\n".to_vec();
        let environment = Environment::new(BTreeMap::new(), Version::new(2, 6));
        let document = read(vec![SourceFile { path: "h.cfg".into(), bytes }], &environment);
        let [problem] = document.problems.as_slice() else { panic!("{:?}", document.problems) };
        assert_eq!(problem.to_string(), "h.cfg:3:12: a quote is opened and never closed");
        let mut shown = String::new();
        let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none());
        handler.render_report(&mut shown, problem.report(&document).as_ref()).unwrap();
        assert!(shown.contains("cfg::unmatched-quote") && shown.contains("server a \"1.2.3.4:80"), "{shown}");
        assert!(shown.contains("h.cfg:3:12"), "{shown}");
    }
}
