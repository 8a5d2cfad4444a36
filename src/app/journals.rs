//! The journals of earlier runs, with a word about what is missing in them.

use std::path::PathBuf;
use std::sync::PoisonError;

use super::App;
use crate::adapters::journal_file::{BackendDir, Journals, StoredRun};
use crate::error::Error;

impl App {
    /// Every run of a backend, the oldest first. A file whose end is missing is told once, however often it is read.
    pub(super) fn runs_in(&self, dir: &BackendDir) -> Result<Vec<StoredRun>, Error> {
        let Journals { runs, torn } = dir.journals()?;
        for path in torn {
            if self.is_news(path.clone()) {
                let has_run = runs.iter().any(|stored| stored.path == path);
                let path = path.display();
                self.say(&if has_run {
                    format!("note: the last record of {path} was not written whole, and is left out")
                } else {
                    format!("note: the first record of {path} was not written whole: that run had not begun, and the file can be removed")
                });
            }
        }
        Ok(runs)
    }

    fn is_news(&self, torn: PathBuf) -> bool {
        self.torn.lock().unwrap_or_else(PoisonError::into_inner).insert(torn)
    }
}
