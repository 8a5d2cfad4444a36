//! The log format of each CI system, and the files that it reads.

mod files;
mod github;
mod gitlab;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;

use super::text::position;
use crate::model::sanitize;
use crate::model::words::list;
use crate::output_file;
use crate::run::event::{Event, EventKind};
use crate::run::story::{LaneState, Story};

pub use files::Files;
pub use github::{AnnotationLevel, AnnotationLocation, Github, GithubFiles, annotation};
pub use gitlab::Gitlab;

/// The CI system that a run reports to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ci {
    /// GitHub Actions: groups, annotations, a step summary, outputs.
    Github,
    /// GitLab: collapsible sections.
    Gitlab,
    /// Plain lines.
    None,
}

impl Ci {
    /// Returns the CI system that sets these variables.
    #[must_use]
    pub fn of(variables: &BTreeMap<String, String>) -> Self {
        let is_set = |name: &str| variables.get(name).is_some_and(|value| value == "true");
        if is_set("GITHUB_ACTIONS") {
            Self::Github
        } else if is_set("GITLAB_CI") {
            Self::Gitlab
        } else {
            Self::None
        }
    }
}

/// Whether GitHub reads the output of this process.
static GITHUB_READS: AtomicBool = AtomicBool::new(false);

/// Selects the CI system that reads the output. From now on [`printable`] returns no text that this system takes for a
/// command.
pub fn read_by(ci: Ci) {
    if ci == Ci::Github {
        GITHUB_READS.store(true, Ordering::Relaxed);
    }
}

/// Returns a text that is safe to print: it keeps line ends and colours but no other control characters, and no
/// line is a command to the CI system that reads it.
#[must_use]
pub fn printable(text: &str) -> String {
    let text = sanitize::printable(text);
    if GITHUB_READS.load(Ordering::Relaxed) { inert(&text) } else { text.into_owned() }
}

/// Returns the text without lines that GitHub takes for a command: `::name::` at the start of a line, `##[name]`
/// anywhere in it. Colours before the `::` make no difference.
fn inert(text: &str) -> String {
    let text = text.replace("##[", "## [");
    let lines = text.split_inclusive('\n').map(|line| {
        let is_command = anstream::adapter::strip_str(line).to_string().trim_start().starts_with("::");
        if is_command { format!("| {line}") } else { line.to_owned() }
    });
    lines.collect()
}

/// The only writer to a CI system's log. Texts cannot end a command early, and no line of a text is a command.
/// After the reader has gone, nothing more is written and the run continues.
struct Lines {
    out: Box<dyn Write + Send>,
    muted: bool,
}

impl Lines {
    fn new(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), muted: false }
    }

    /// Writes a command, which is one line.
    fn command(&mut self, line: &str) {
        self.put(line);
    }

    /// Writes a text for people.
    fn text(&mut self, text: &str) {
        inert(&plain(text)).lines().for_each(|line| self.put(line));
    }

    fn put(&mut self, line: &str) {
        if !self.muted {
            self.muted = writeln!(self.out, "{line}").and_then(|()| self.out.flush()).is_err();
        }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("muted", &self.muted).finish_non_exhaustive()
    }
}

/// Returns the text without colours and control characters, with the same lines.
fn plain(text: &str) -> String {
    sanitize::lines(anstream::adapter::strip_str(text).to_string().as_bytes())
}

/// How an event folds the log.
enum Fold {
    /// Folds the following lines under this title.
    Begin(String),
    /// Leaves the following lines visible.
    End,
}

impl Fold {
    /// Returns how an event folds the log. `story` is the run up to this event. A CI system cannot fold lanes that run
    /// side by side one by one, so a wave is folded as a whole.
    fn at(event: &Event, story: &Story) -> Option<Self> {
        let is_other_under_way = || {
            let wave = event.lane.map(|lane| story.wave_of(lane)).unwrap_or_default();
            let others = wave.iter().filter(|lane| Some(**lane) != event.lane);
            others.filter_map(|lane| story.lanes.get(lane)).any(|lane| lane.state == LaneState::UnderWay)
        };
        if let EventKind::RunStarted { backend, .. } = &event.kind {
            return Some(Self::Begin(format!("{backend}: before any server leaves rotation")));
        }
        if let EventKind::LaneStarted { of, servers, role, .. } = &event.kind {
            if story.name_beside_others(event.lane).is_some() {
                return (!is_other_under_way()).then(|| Self::Begin(wave_title(event, story, *of)));
            }
            let position = position(event.lane, *of);
            return Some(Self::Begin(format!("{position} {} ({role})", list(servers))));
        }
        if let EventKind::LaneFinished { .. } | EventKind::LaneSkipped { .. } = &event.kind {
            return (!is_other_under_way()).then_some(Self::End);
        }
        let ends = matches!(
            event.kind,
            EventKind::StepFailed { .. } | EventKind::UndoStarted { .. } | EventKind::RunEnded { .. }
        );
        ends.then_some(Self::End)
    }
}

/// Returns the title of the wave that a lane belongs to.
fn wave_title(event: &Event, story: &Story, of: usize) -> String {
    let wave = event.lane.map(|lane| story.wave_of(lane)).unwrap_or_default();
    let lanes = wave.iter().filter_map(|lane| story.lanes.get(lane));
    let titles = lanes.map(|lane| format!("{} {}", position(Some(lane.id), of), list(&lane.servers)));
    titles.collect::<Vec<_>>().join("; ")
}

/// Appends to a file, and creates it if it does not exist.
fn append(path: &Path, text: &str) -> std::io::Result<()> {
    let file = output_file::append(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
}

/// Returns the note about a file that could not be written.
fn not_written(path: &Path, error: &dyn fmt::Display) -> String {
    format!("note     cannot write {}: {error}", path.display())
}

#[cfg(test)]
mod tests;
