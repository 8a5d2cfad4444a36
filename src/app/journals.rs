//! Reads the journals of earlier runs, separates them by site, and notes incomplete records.

use std::sync::PoisonError;

use super::App;
use crate::adapters::journal_file::{BackendDir, Journals, StoredRun};
use crate::app::error::Error;
use crate::run::history;
use crate::run::journal::SiteIdentity;
use crate::site::observe::PastRuns;

/// The runs on a backend, oldest first, separated by site: two sites may share a state directory.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// The runs of this site, which alone count as its history.
    pub(super) own: Vec<StoredRun>,
    /// The runs of other sites.
    pub(super) foreign: Vec<StoredRun>,
}

impl Runs {
    /// Returns this site's unfinished run, if any: only the last run can be unfinished.
    pub(super) fn unfinished(&self) -> Option<&StoredRun> {
        self.own.last().filter(|stored| stored.run.is_unfinished())
    }

    /// Returns the unfinished runs of other sites.
    pub(super) fn unfinished_elsewhere(&self) -> impl Iterator<Item = &StoredRun> {
        let is_last = |at: usize, stored: &StoredRun| {
            let identity = stored.run.site.as_ref();
            let is_of_it = |later: &StoredRun| {
                let backend = &stored.run.plan.goal.backend;
                later
                    .run
                    .site
                    .as_ref()
                    .zip(identity)
                    .is_some_and(|(later, identity)| later.owns(identity, backend))
            };
            !self.foreign[at + 1..].iter().any(is_of_it)
        };
        let unfinished = self.foreign.iter().enumerate().filter(|(_, stored)| stored.run.is_unfinished());
        // A run that follows a stuck one has taken over its servers.
        let open = unfinished
            .filter(move |(at, stored)| stored.run.progress.outcome.is_none() || is_last(*at, stored));
        open.map(|(_, stored)| stored)
    }
}

impl App {
    /// Returns every run of a backend, oldest first. A file with an incomplete record is noted once, however often it
    /// is read.
    pub(super) fn runs_in(&self, dir: &BackendDir) -> Result<Vec<StoredRun>, Error> {
        let Journals { runs, torn } = dir.journals()?;
        for path in torn {
            let has_run = runs.iter().any(|stored| stored.path == path);
            let path = path.display();
            self.note_once(&if has_run {
                format!("note: the last record of {path} is incomplete and is ignored")
            } else {
                format!("note: the first record of {path} is incomplete: that run had not started, and the file can be removed")
            });
        }
        Ok(runs)
    }

    /// Returns the runs on a backend, separated by site.
    pub(super) fn runs_at(&self, identity: &SiteIdentity, dir: &BackendDir) -> Result<Runs, Error> {
        let (own, foreign) = self.runs_in(dir)?.into_iter().partition(|stored| stored.run.is_of(identity));
        Ok(Runs { own, foreign })
    }

    /// Returns the runs on a backend, separated by site, and notes a last run whose journal does not name its site.
    pub(super) fn runs_on(&self, identity: &SiteIdentity, backend: &str) -> Result<Runs, Error> {
        let runs = self.runs_at(identity, &BackendDir::new(&self.settings.state_dir, backend))?;
        if let Some(last) = runs.own.last().filter(|last| last.run.site.is_none()) {
            self.note_once(&format!("note: run {} on {backend} comes from an older drainswap, and its journal does not name its site: it counts as a run of this one", last.run.plan.run));
        }
        Ok(runs)
    }

    /// Returns what the journals tell of earlier runs.
    pub(super) fn past_runs(&self, identity: &SiteIdentity) -> Result<PastRuns, Error> {
        let mut runs: Vec<_> = self.every_run(identity)?.into_iter().flat_map(|runs| runs.own).collect();
        runs.sort_by_key(|stored| stored.run.plan.at);
        let left_out = history::left_out(runs.iter().map(|stored| &stored.run));
        Ok(PastRuns { left_out, known: self.known_runs() })
    }

    /// Notes the runs of other sites, which are left out.
    pub(super) fn note_foreign(&self, backend: &str, foreign: &[StoredRun]) {
        let Some(last) = foreign.last().map(|stored| stored.run.plan.run.to_string()) else { return };
        let adopt = self.typed.command(&["resume", "--adopt", &last]);
        let (runs, belong) = if foreign.len() == 1 {
            ("1 run".to_owned(), "belongs")
        } else {
            (format!("{} runs", foreign.len()), "belong")
        };
        self.note_once(&format!("note: {runs} on {backend} in this state directory {belong} to another site and {} left out; `{adopt}` adopts the last one", if foreign.len() == 1 { "is" } else { "are" }));
    }

    /// Prints a text once, however often the command finds it.
    pub(super) fn note_once(&self, text: &str) {
        let is_news = self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned());
        if is_news {
            self.note(text);
        }
    }
}
