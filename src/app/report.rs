//! `drainswap report`: a run as one HTML page.

use std::path::Path;

use super::{App, print};
use crate::adapters::events_file::EventsFile;
use crate::adapters::journal_file::{BackendDir, StoredRun};
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::output_file;
use crate::report::html;

impl App {
    /// Writes the page of a run, or of the last one, to stdout or to a file.
    pub(super) fn report(&self, run: Option<&str>, file: Option<&Path>) -> Result<Exit, Error> {
        let stored = self.stored(run)?;
        let events = EventsFile::read(&stored.events());
        let page = html(&stored.run, &events).map_err(|error| Error::Page { reason: error.to_string() })?;
        match file {
            None => print(&page)?,
            Some(path) => {
                output_file::write(path, page.as_bytes()).map_err(|error| Error::NotWritten {
                    path: path.display().to_string(),
                    reason: error.to_string(),
                })?;
                self.note(&format!("{} is the page of run {}", path.display(), stored.run.plan.run));
            }
        }
        Ok(Exit::Done)
    }

    pub(super) fn stored(&self, wanted: Option<&str>) -> Result<StoredRun, Error> {
        let mut runs = Vec::new();
        if self.settings.state_dir.is_dir() {
            for backend in BackendDir::all(&self.settings.state_dir)? {
                runs.extend(self.runs_in(&backend)?);
            }
        }
        runs.sort_by(|a, b| a.run.plan.run.cmp(&b.run.plan.run));
        let known = runs.iter().rev().take(5).map(|stored| stored.run.plan.run.to_string()).collect();
        let found = match wanted {
            Some(wanted) => runs.into_iter().find(|stored| stored.run.plan.run.0 == wanted),
            None => runs.pop(),
        };
        found.ok_or_else(|| Error::RunNotFound {
            wanted: wanted.map(str::to_owned),
            known,
            state_dir: self.settings.state_dir.display().to_string(),
        })
    }
}
