//! The files that a job passes on: results in the form of tests, and variables for later jobs.

use std::path::PathBuf;

use serde::Serialize;

use super::super::stderr::print_line;
use super::super::template::Template;
use super::{not_written, plain};
use crate::model::image::Image;
use crate::model::words::list;
use crate::output_file;
use crate::run::event::{Event, EventKind, Reporter};
use crate::run::outcome::Outcome;
use crate::run::story::{LaneState, LaneStory, Story};

/// A reporter that writes these files at the end of a run.
#[derive(Debug, Default)]
pub struct Files {
    junit: Option<PathBuf>,
    dotenv: Option<PathBuf>,
    story: Story,
}

impl Files {
    /// Creates a reporter for these files, or none if no file is named.
    #[must_use]
    pub fn new(junit: Option<PathBuf>, dotenv: Option<PathBuf>) -> Option<Self> {
        let wanted = junit.is_some() || dotenv.is_some();
        wanted.then(|| Self { junit, dotenv, story: Story::default() })
    }

    fn write(&self, outcome: &Outcome) {
        if let Some(path) = &self.junit {
            let text = Template::Junit.fill(&Suite::of(&self.story, outcome));
            let written = text.map_err(|error| error.to_string());
            warn_not_written(
                path,
                written.and_then(|text| {
                    output_file::write(path, text.as_bytes()).map_err(|error| error.to_string())
                }),
            );
        }
        if let Some(path) = &self.dotenv {
            let written = output_file::write(path, dotenv(&self.story, outcome).as_bytes());
            warn_not_written(path, written.map_err(|error| error.to_string()));
        }
    }
}

/// Reports a file that cannot be written, which does not stop the run.
fn warn_not_written(path: &std::path::Path, written: Result<(), String>) {
    if let Err(error) = written {
        print_line(&not_written(path, &error));
    }
}

impl Reporter for Files {
    fn report(&mut self, event: &Event) {
        self.story.record(event);
        if let EventKind::RunEnded { outcome, .. } = &event.kind {
            self.write(outcome);
        }
    }
}

/// Returns variables, one per line. None of these names is a variable that drainswap itself reads.
pub(in super::super) fn dotenv(story: &Story, outcome: &Outcome) -> String {
    let images: Vec<String> = story.images.iter().map(Image::pinned).collect();
    let run = story.run.as_ref().map(ToString::to_string).unwrap_or_default();
    let values = [
        ("DEPLOY_OUTCOME", outcome.word().to_owned()),
        ("DEPLOY_RUN", run),
        ("DEPLOY_BACKEND", story.backend.clone()),
        ("DEPLOY_IMAGE", images.join(" ")),
    ];
    let lines = values.map(|(name, value)| format!("{name}={}", plain(&value).replace('\n', " ")));
    lines.join("\n") + "\n"
}

/// A run as a test suite: a case for each pull, for each step of each lane, and for the run as a whole.
#[derive(Serialize)]
struct Suite {
    name: String,
    tests: usize,
    failures: usize,
    skipped: usize,
    time: String,
    cases: Vec<Case>,
}

#[derive(Serialize)]
struct Case {
    class: String,
    name: String,
    time: String,
    failure: Option<CaseFailure>,
    skipped: Option<&'static str>,
}

#[derive(Serialize)]
struct CaseFailure {
    message: String,
    kind: String,
    text: String,
}

/// Renders a run as JUnit XML.
#[cfg(test)]
pub(in super::super) fn junit(story: &Story, outcome: &Outcome) -> String {
    Template::Junit.fill(&Suite::of(story, outcome)).unwrap()
}

impl Suite {
    fn of(story: &Story, outcome: &Outcome) -> Self {
        let name = format!("drainswap.{}", story.backend);
        let pulls =
            story.pulls.iter().map(|(image, took)| Case::passed(&name, format!("pull {image}"), *took));
        let mut cases: Vec<Case> = pulls.collect();
        cases.extend(story.lanes.values().flat_map(|lane| of_lane(&name, lane)));
        let failure = (!outcome.is_success()).then(|| CaseFailure {
            message: outcome.to_string(),
            kind: outcome.word().to_owned(),
            text: story.notes.join("\n"),
        });
        cases.push(Case { failure, ..Case::passed(&name, "the run".to_owned(), story.took_ms) });
        Self {
            tests: cases.len(),
            failures: cases.iter().filter(|case| case.failure.is_some()).count(),
            skipped: cases.iter().filter(|case| case.skipped.is_some()).count(),
            time: in_seconds(story.took_ms),
            name,
            cases,
        }
    }
}

fn of_lane(suite: &str, lane: &LaneStory) -> Vec<Case> {
    let class = format!("{suite}.{}", list(&lane.servers));
    let steps = lane.steps.iter().map(|(step, took)| Case::passed(&class, step.to_string(), *took));
    let mut cases: Vec<Case> = steps.collect();
    if let Some(failure) = &lane.failure {
        let failure_of = CaseFailure {
            message: failure.reason.clone(),
            kind: failure.step.to_string(),
            text: failure.log.join("\n"),
        };
        cases.push(Case { failure: Some(failure_of), ..Case::passed(&class, failure.step.to_string(), 0) });
    }
    if matches!(lane.state, LaneState::Waiting | LaneState::LeftOut) {
        cases
            .push(Case { skipped: Some(lane.state.word()), ..Case::passed(&class, "replace".to_owned(), 0) });
    }
    cases
}

impl Case {
    fn passed(class: &str, name: String, took_ms: u64) -> Self {
        Self { class: class.to_owned(), name, time: in_seconds(took_ms), failure: None, skipped: None }
    }
}

/// Formats a time in seconds, the unit of JUnit: `12.345`.
fn in_seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}
