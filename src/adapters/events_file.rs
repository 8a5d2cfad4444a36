//! The events of a run, kept in a file beside its journal for later reports.
//!
//! An error here never fails a run: an event that cannot be written is only missing in the report.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::regular_file;
use crate::model::sanitize;
use crate::run::event::{Event, Reporter, name_lanes};

/// Runs per backend whose events are kept.
const KEPT: usize = 100;

/// The suffix of an events file's name.
pub(super) const ENDING: &str = ".events.jsonl";

/// The events file of one run.
#[derive(Debug)]
pub struct EventsFile {
    file: Option<File>,
}

impl EventsFile {
    /// Opens the file to append to it, or creates it. Before creating one, removes the oldest files beside it if there
    /// are too many.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        if !path.exists() {
            remove_oldest(path);
        }
        let opened = regular_file::open(OpenOptions::new().create(true).append(true).mode(0o600), path);
        Self { file: opened.ok() }
    }

    /// Returns the events of a file, in the order in which they happened. A file that cannot be read has none.
    #[must_use]
    pub fn read(path: &Path) -> Vec<Event> {
        events_in(&regular_file::read(path).unwrap_or_default())
    }
}

/// Returns the events in the content of such a file. Skips torn lines.
#[must_use]
pub fn events_in(bytes: &[u8]) -> Vec<Event> {
    let text = String::from_utf8_lossy(bytes);
    let mut events: Vec<Event> = text.lines().filter_map(|line| Event::from_json(line).ok()).collect();
    events.sort_by_key(|event| event.at);
    name_lanes(&mut events);
    events
}

impl Reporter for EventsFile {
    fn report(&mut self, event: &Event) {
        let Some(file) = &mut self.file else { return };
        let written = event
            .to_json()
            .map_err(std::io::Error::other)
            .and_then(|line| file.write_all((sanitize::json(&line) + "\n").as_bytes()));
        if written.is_err() {
            self.file = None;
        }
    }
}

fn remove_oldest(new: &Path) {
    let Some(folder) = new.parent() else { return };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut kept: Vec<_> = entries.filter(|path| is_events(path)).collect();
    // A run's file name starts with its start time.
    kept.sort();
    for old in kept.iter().rev().skip(KEPT - 1) {
        let _still_there = std::fs::remove_file(old);
    }
}

/// Returns whether this is an events file rather than a journal.
pub(super) fn is_events(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ENDING))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts::recorded;

    #[test]
    fn events_are_kept_of_the_latest_runs_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = |run: usize| dir.path().join(format!("run-{run:03}{ENDING}"));
        std::fs::write(dir.path().join("run-000.jsonl"), "").unwrap();
        for run in 0..KEPT + 3 {
            EventsFile::open(&path(run)).report(&recorded()[0]);
        }
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!((left, path(2).exists(), path(3).exists()), (KEPT + 1, false, true));
    }

    #[test]
    fn torn_lines_are_skipped_and_write_errors_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("run{ENDING}"));
        let events = recorded();
        for event in &events {
            EventsFile::open(&path).report(event);
        }
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"version\":1,").unwrap();
        assert_eq!(EventsFile::read(&path), events);
        EventsFile::open(Path::new("/nonexistent/run")).report(&events[0]);
        assert_eq!(EventsFile::read(Path::new("/nonexistent/run")), []);
    }
}
