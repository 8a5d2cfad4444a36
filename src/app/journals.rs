//! The journals of earlier runs, with a word about what is missing in them, and by the site that they belong to.

use std::sync::PoisonError;

use super::App;
use crate::adapters::journal_file::{BackendDir, Journals, StoredRun};
use crate::error::Error;
use crate::journal::Site;

/// The runs on a backend, each part with the oldest first. Two sites may share a state directory.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Those of this site. Only they are history.
    pub(super) own: Vec<StoredRun>,
    /// Those of other sites.
    pub(super) foreign: Vec<StoredRun>,
}

impl Runs {
    /// This site's run that was not finished, if there is one: only the last can be.
    pub(super) fn unfinished(&self) -> Option<&StoredRun> {
        self.own.last().filter(|stored| stored.run.is_unfinished())
    }

    /// The runs of other sites that were not finished.
    pub(super) fn unfinished_elsewhere(&self) -> impl Iterator<Item = &StoredRun> {
        let is_last = |at: usize, stored: &StoredRun| {
            let site = stored.run.site.as_ref();
            let is_of_it = |later: &StoredRun| {
                let backend = &stored.run.plan.backend;
                later.run.site.as_ref().zip(site).is_some_and(|(later, site)| later.owns(site, backend))
            };
            !self.foreign[at + 1..].iter().any(is_of_it)
        };
        let unfinished = self.foreign.iter().enumerate().filter(|(_, stored)| stored.run.is_unfinished());
        // A run that follows one that ended stuck has taken its servers over.
        let open =
            unfinished.filter(move |(at, stored)| stored.run.outcome.is_none() || is_last(*at, stored));
        open.map(|(_, stored)| stored)
    }
}

impl App {
    /// Every run of a backend, the oldest first. A file whose end is missing is told once, however often it is read.
    pub(super) fn runs_in(&self, dir: &BackendDir) -> Result<Vec<StoredRun>, Error> {
        let Journals { runs, torn } = dir.journals()?;
        for path in torn {
            let has_run = runs.iter().any(|stored| stored.path == path);
            let path = path.display();
            self.say_once(&if has_run {
                format!("note: the last record of {path} was not written whole, and is left out")
            } else {
                format!("note: the first record of {path} was not written whole: that run had not begun, and the file can be removed")
            });
        }
        Ok(runs)
    }

    /// The runs on a backend, by the site that they belong to.
    pub(super) fn runs_at(&self, site: &Site, dir: &BackendDir) -> Result<Runs, Error> {
        let (own, foreign) = self.runs_in(dir)?.into_iter().partition(|stored| stored.run.is_of(site));
        Ok(Runs { own, foreign })
    }

    /// The same, and says where the last one does not name its site.
    pub(super) fn runs_on(&self, site: &Site, backend: &str) -> Result<Runs, Error> {
        let runs = self.runs_at(site, &BackendDir::new(&self.settings.state_dir, backend))?;
        if let Some(last) = runs.own.last().filter(|last| last.run.site.is_none()) {
            self.say_once(&format!("note: run {} on {backend} is of an older drainswap, and its journal names no site: it is taken for a run of this one", last.run.plan.run));
        }
        Ok(runs)
    }

    /// Says which runs are left out of what is shown or chosen from.
    pub(super) fn note_foreign(&self, backend: &str, foreign: &[StoredRun]) {
        let Some(last) = foreign.last().map(|stored| stored.run.plan.run.to_string()) else { return };
        let adopt = self.typed.command(&["resume", "--adopt", &last]);
        let (runs, belong) = if foreign.len() == 1 {
            ("1 run".to_owned(), "belongs")
        } else {
            (format!("{} runs", foreign.len()), "belong")
        };
        self.say_once(&format!("note: {runs} on {backend} in this state directory {belong} to another site and {} left out; `{adopt}` takes the last one as one of this site", if foreign.len() == 1 { "is" } else { "are" }));
    }

    /// Says something that is the same each time it is found.
    pub(super) fn say_once(&self, text: &str) {
        let is_news = self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned());
        if is_news {
            self.say(text);
        }
    }
}
