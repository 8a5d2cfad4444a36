//! GitHub Actions: a group for each wave of lanes, annotations, the step's summary and its outputs.
//!
//! The runner takes commands from any line, on stderr too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::super::template::Template;
use super::super::text::{is_bad, line, outage_began, seconds};
use super::{Fold, Lines, append, not_written, plain};
use crate::model::words::list;
use crate::plan::RunKind;
use crate::run::event::{Event, EventKind, Reporter};
use crate::run::outcome::Outcome;
use crate::run::story::{LaneState, LaneStory, Story};

/// The files through which a step reports to its workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GithubFiles {
    /// The step summary: Markdown, shown on the run's page.
    pub summary: Option<PathBuf>,
    /// The outputs of the step.
    pub output: Option<PathBuf>,
}

impl GithubFiles {
    /// Returns the files that these variables name.
    #[must_use]
    pub fn of(variables: &BTreeMap<String, String>) -> Self {
        let path = |name: &str| variables.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        Self { summary: path("GITHUB_STEP_SUMMARY"), output: path("GITHUB_OUTPUT") }
    }
}

/// The severity of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationLevel {
    /// For information.
    Notice,
    /// A warning that a person should know about.
    Warning,
    /// A failure.
    Error,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationLocation {
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1, if it is known.
    pub column: Option<u32>,
}

/// Returns the command that annotates a run, with a title and optionally a place in a file.
#[must_use]
pub fn annotation(
    severity: AnnotationLevel,
    title: &str,
    place: Option<&AnnotationLocation>,
    message: &str,
) -> String {
    let name = match severity {
        AnnotationLevel::Notice => "notice",
        AnnotationLevel::Warning => "warning",
        AnnotationLevel::Error => "error",
    };
    let place = place.map_or_else(String::new, |place| {
        let column = place.column.map_or_else(String::new, |column| format!("col={column},"));
        format!("file={},line={},{column}", property(&place.file), place.line)
    });
    format!("::{name} {place}title={}::{}", property(title), data(message))
}

/// Escapes a command's text, so that a line feed in it does not end the command.
fn data(text: &str) -> String {
    plain(text).replace('%', "%25").replace('\n', "%0A")
}

/// Escapes the value of a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A reporter for GitHub Actions.
#[derive(Debug)]
pub struct Github {
    lines: Lines,
    files: GithubFiles,
    quiet: bool,
    story: Story,
    in_group: bool,
    token: fn() -> String,
}

impl Github {
    /// Creates a reporter; a quiet one reports only failures and warnings.
    #[must_use]
    pub fn new(out: impl Write + Send + 'static, files: GithubFiles, quiet: bool) -> Self {
        let story = Story::default();
        Self { lines: Lines::new(out), files, quiet, story, in_group: false, token }
    }

    /// Sets a token that is not secret.
    #[cfg(test)]
    pub(in super::super) fn with_token(self, token: fn() -> String) -> Self {
        Self { token, ..self }
    }

    fn write_event(&mut self, event: &Event) {
        match Fold::at(event, &self.story) {
            Some(Fold::Begin(title)) => self.group(&title),
            Some(Fold::End) => self.end_group(),
            None => {}
        }
        let annotation = self.annotation(event);
        // After a failed step, the container's log follows the annotation. Every other annotation is complete.
        let says_all = annotation.is_some() && !matches!(event.kind, EventKind::StepFailed { .. });
        if let Some(annotation) = annotation {
            self.lines.command(&annotation);
        }
        if let Some(text) = line(event, &self.story).filter(|_| !says_all) {
            let is_quoting = matches!(event.kind, EventKind::StepFailed { .. } | EventKind::HookEnded { .. });
            self.text(&text, is_quoting);
        }
    }

    fn annotation(&self, event: &Event) -> Option<String> {
        let kind = &event.kind;
        if let EventKind::Warned { message } = kind {
            let lane = self.story.name_beside_others(event.lane);
            let title = lane.map_or_else(|| "drainswap".to_owned(), |lane| format!("drainswap: {lane}"));
            return Some(annotation(AnnotationLevel::Warning, &title, None, message));
        }
        if let EventKind::OutageBegan { load_balancer, backend, after_ms } = kind {
            let message = outage_began(load_balancer, backend, *after_ms);
            return Some(annotation(AnnotationLevel::Error, "drainswap: outage", None, &message));
        }
        if let EventKind::StepFailed { servers, step, reason, .. } = kind {
            let title = format!("{} failed at {step}", list(servers));
            return Some(annotation(AnnotationLevel::Error, &title, None, reason));
        }
        if let EventKind::RunEnded { outcome, took_ms, .. } = kind {
            let severity =
                if outcome.is_success() { AnnotationLevel::Notice } else { AnnotationLevel::Error };
            let title = format!("drainswap: {} ({})", self.story.backend, seconds(*took_ms));
            return Some(annotation(severity, &title, None, &outcome.to_string()));
        }
        None
    }

    /// Writes the text of an event. Output that it quotes from programs follows the first line, inside
    /// `stop-commands`, which makes the runner ignore commands in it.
    fn text(&mut self, text: &str, is_quoting: bool) {
        let (head, rest) = text.split_once('\n').unwrap_or((text, ""));
        self.lines.text(head);
        if is_quoting && !rest.is_empty() {
            let token = (self.token)();
            self.lines.command(&format!("::stop-commands::{token}"));
            self.lines.text(rest);
            self.lines.command(&format!("::{token}::"));
        } else {
            self.lines.text(rest);
        }
    }

    fn group(&mut self, title: &str) {
        self.end_group();
        if !self.quiet {
            self.lines.command(&format!("::group::{}", data(title)));
            self.in_group = true;
        }
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.in_group) {
            self.lines.command("::endgroup::");
        }
    }

    fn write_files(&mut self) {
        let Some(outcome) = self.story.outcome.clone() else { return };
        if let Some(path) = &self.files.summary {
            let summary = Template::StepSummary.fill(&Summary::of(&self.story, &outcome));
            let written = summary
                .map_err(|error| error.to_string())
                .and_then(|text| append(path, &text).map_err(|error| error.to_string()));
            if let Err(error) = written {
                self.lines.text(&not_written(path, &error));
            }
        }
        if let Some(path) = &self.files.output
            && let Err(error) = append(path, &outputs(&self.story, &outcome, self.token))
        {
            self.lines.text(&not_written(path, &error));
        }
    }
}

impl Reporter for Github {
    fn report(&mut self, event: &Event) {
        self.story.record(event);
        if !self.quiet || is_bad(&event.kind) {
            self.write_event(event);
        }
        if matches!(event.kind, EventKind::RunEnded { .. }) {
            self.write_files();
        }
    }
}

/// Returns the step's outputs. A value may contain anything except its delimiter, which cannot be guessed.
fn outputs(story: &Story, outcome: &Outcome, token: fn() -> String) -> String {
    let images: Vec<String> = story.images.iter().map(crate::model::image::Image::pinned).collect();
    let run = story.run.as_ref().map(ToString::to_string).unwrap_or_default();
    let values = [
        ("outcome", outcome.word().to_owned()),
        ("message", outcome.to_string()),
        ("run", run),
        ("backend", story.backend.clone()),
        ("image", images.join("\n")),
    ];
    values.into_iter().fold(String::new(), |mut text, (name, value)| {
        let end = token();
        // Writing to a string never fails.
        let _written = write!(text, "{name}<<{end}\n{}\n{end}\n", plain(&value));
        text
    })
}

/// Returns a token that programs cannot guess before they print their output.
fn token() -> String {
    let mut bytes = [0; 16];
    // If the system has no random numbers, the token can be guessed, but it still works as a delimiter.
    let _filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().fold("drainswap-".to_owned(), |mut text, byte| {
        let _written = write!(text, "{byte:02x}");
        text
    })
}

/// The values of the step summary.
#[derive(Serialize)]
struct Summary {
    title: String,
    is_good: bool,
    message: String,
    took: String,
    run: String,
    images: Vec<String>,
    lanes: Vec<LaneRow>,
    notes: Vec<String>,
}

/// A lane in the step summary.
#[derive(Serialize)]
struct LaneRow {
    servers: String,
    state: &'static str,
    is_bad: bool,
    cause: String,
    /// The time out of rotation, then its parts: drain, stop and start, boot.
    times: Vec<String>,
    failure: Option<String>,
    log: Vec<String>,
}

impl Summary {
    fn of(story: &Story, outcome: &Outcome) -> Self {
        let what = if story.purpose == Some(RunKind::Rollback) { "rollback of" } else { "deploy of" };
        let row = |lane: &LaneStory| LaneRow {
            servers: list(&lane.servers),
            state: lane.state.word(),
            is_bad: lane.failure.is_some() || lane.state == LaneState::PutBack,
            cause: lane.cause.clone(),
            times: lane.timing.as_ref().map_or_else(Vec::new, |timing| {
                let times = [timing.out_of_rotation_ms, timing.drain_ms, timing.engine_ms, timing.boot_ms];
                times.into_iter().map(seconds).collect()
            }),
            failure: lane.failure.as_ref().map(|it| format!("{} failed: {}", it.step, it.reason)),
            log: lane.failure.as_ref().map_or_else(Vec::new, |it| it.log.clone()),
        };
        Self {
            title: format!("{what} {}", story.backend),
            is_good: outcome.is_success(),
            message: outcome.to_string(),
            took: seconds(story.took_ms),
            run: story.run.as_ref().map(ToString::to_string).unwrap_or_default(),
            images: story.images.iter().map(ToString::to_string).collect(),
            lanes: story.lanes.values().map(row).collect(),
            notes: story.notes.clone(),
        }
    }
}
