//! The state directory: one directory per backend, with a lock and one journal file per run.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::events_file::{ENDING, EventsFile, is_events};
use super::lock_file::{self, Lock, LockAttempt, LockState};
use super::regular_file;
use crate::model::ids::RunId;
use crate::ports::{Journal, JournalError};
use crate::run::journal::{Record, Run, complete_records, line};

/// A backend's directory in the state directory.
#[derive(Clone, Debug)]
pub struct BackendDir {
    path: PathBuf,
}

/// A past run, read from its journal.
#[derive(Clone, Debug)]
pub struct StoredRun {
    /// The path of the journal.
    pub path: PathBuf,
    pub run: Run,
}

/// The journals of a backend's runs.
#[derive(Clone, Debug, Default)]
pub struct Journals {
    /// The runs, oldest first.
    pub runs: Vec<StoredRun>,
    /// The journals with an incomplete last record, which is ignored.
    pub torn: Vec<PathBuf>,
}

/// The reasons why a backend cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "another drainswap is working on {backend}{}{holder}. Try again when it has exited, or wait for it with --lock-wait TIME",
        if .holder.is_empty() { "" } else { ": " }
    )]
    Busy {
        /// The backend, or the configuration.
        backend: String,
        /// The description that the holder wrote into the lock file.
        holder: String,
    },
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The reasons why a backend's runs cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot read the journal {path}: {corrupt}")]
    Corrupt { path: String, corrupt: crate::run::journal::Corrupt },
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> JournalError {
    let path = path.display().to_string();
    move |error| JournalError { path, action, reason: format!("{error}{}", hint(error.kind())) }
}

/// Returns the advice for an error.
fn hint(kind: ErrorKind) -> &'static str {
    if matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        ". Free some space there, or choose another directory with --state-dir"
    } else if matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) {
        ". Run as root, or choose a directory that this user can write with --state-dir"
    } else {
        ". Check that directory, then try again"
    }
}

impl BackendDir {
    /// Returns the directory of a backend in the state directory.
    #[must_use]
    pub fn new(state_dir: &Path, backend: &str) -> Self {
        // A backend may be named `..`, but a directory may not.
        let name = backend.strip_prefix('.').map_or_else(|| backend.to_owned(), |rest| format!("%2e{rest}"));
        Self { path: state_dir.join(name) }
    }

    /// Returns the directories of all backends in the state directory.
    pub fn all(state_dir: &Path) -> Result<Vec<Self>, HistoryError> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(state_dir).map_err(failed(state_dir, "read"))? {
            all.push(Self { path: entry.map_err(failed(state_dir, "read"))?.path() });
        }
        all.retain(Self::exists);
        Ok(all)
    }

    /// Returns the backend's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns whether the backend has a directory.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok_and(|it| it.is_dir())
    }

    /// Creates the directory if it is missing. Refuses a symbolic link in its place, which could lead anywhere.
    fn create_dir(&self) -> Result<(), JournalError> {
        create_dirs(&self.path)?;
        if self.exists() { Ok(()) } else { Err(failed(&self.path, "use")(link())) }
    }

    /// Locks the backend for this process.
    pub fn lock(&self, backend: &str, since: &str) -> Result<Lock, LockError> {
        self.create_dir()?;
        let path = self.path.join("lock");
        let user = std::env::var("SUDO_USER")
            .or_else(|_| std::env::var("USER"))
            .unwrap_or_else(|_| "unknown".to_owned());
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let holder = format!(
            "process {} of user {user} on {}, since {since}{}\n",
            std::process::id(),
            host.trim(),
            job().map(|job| format!(", for {job}")).unwrap_or_default()
        );
        match lock_file::try_lock(&path, &holder).map_err(failed(&path, "lock"))? {
            LockAttempt::Acquired(lock) => Ok(lock),
            LockAttempt::Busy(holder) => Err(LockError::Busy { backend: backend.to_owned(), holder }),
        }
    }

    /// Returns the process that holds the lock of the backend.
    pub fn holder(&self) -> Result<LockState, JournalError> {
        let path = self.path.join("lock");
        lock_file::holder(&path).map_err(failed(&path, "open"))
    }

    /// Opens the events file of a run to append to it.
    #[must_use]
    pub fn events(&self, run: &RunId) -> EventsFile {
        // Without the directory no events are kept; creating the journal reports the error.
        let _told_by_the_journal = self.create_dir();
        EventsFile::open(&self.path.join(format!("{run}{ENDING}")))
    }

    /// Reads all journals of the backend. A backend without a directory has none.
    pub fn journals(&self) -> Result<Journals, HistoryError> {
        let mut journals = Journals::default();
        for path in self.paths()? {
            let bytes = regular_file::read(&path).map_err(failed(&path, "read"))?;
            let read = Run::read(&bytes);
            let run =
                read.map_err(|corrupt| HistoryError::Corrupt { path: path.display().to_string(), corrupt })?;
            if complete_records(&bytes).len() < bytes.len() {
                journals.torn.push(path.clone());
            }
            journals.runs.extend(run.map(|run| StoredRun { path, run }));
        }
        Ok(journals)
    }

    /// Returns the IDs of the runs from the file names alone; none if the directory cannot be read.
    #[must_use]
    pub fn run_ids(&self) -> Vec<RunId> {
        let journals = self.paths().unwrap_or_default().into_iter();
        journals.filter_map(|path| Some(RunId(path.file_stem()?.to_str()?.to_owned()))).collect()
    }

    /// Returns the journal files, oldest first.
    fn paths(&self) -> Result<Vec<PathBuf>, JournalError> {
        if self.path.is_symlink() {
            return Err(failed(&self.path, "read")(link()));
        }
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&self.path, "read")(error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed(&self.path, "read"))?.path();
            if path.extension().is_some_and(|extension| extension == "jsonl") && !is_events(&path) {
                paths.push(path);
            }
        }
        // A run's file name starts with its start time.
        paths.sort();
        Ok(paths)
    }

    /// Creates the journal of a new run.
    pub fn create(&self, run: &RunId) -> Result<JournalFile, JournalError> {
        self.create_dir()?;
        let path = self.path.join(format!("{run}.jsonl"));
        let mut options = OpenOptions::new();
        let opened = regular_file::open(options.create_new(true).append(true).mode(0o600), &path);
        let journal = JournalFile { file: opened.map_err(failed(&path, "create"))?, path };
        if let Err(error) = journal.reserve() {
            // A run without even a first record never existed.
            let _left_empty = std::fs::remove_file(&journal.path);
            return Err(error);
        }
        // The file's name must survive a crash as its records do.
        sync_dir(&self.path)?;
        Ok(journal)
    }
}

impl StoredRun {
    /// Returns the path of the run's events file.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.path.with_file_name(format!("{}{ENDING}", self.run.plan.run))
    }

    /// Returns whether only root or the user of this process can have written the journal.
    #[must_use]
    pub fn is_our_own(&self) -> bool {
        let is_ours = |file: Metadata| {
            /// The mode bits of the group and of others.
            const OTHERS: u32 = 0o077;
            let owns = file.uid() == 0 || file.uid() == rustix::process::geteuid().as_raw();
            file.is_file() && owns && file.mode() & OTHERS == 0
        };
        self.path.symlink_metadata().is_ok_and(is_ours)
    }

    /// Opens the run's journal to append to it.
    pub fn reopen(&self) -> Result<JournalFile, JournalError> {
        let bytes = regular_file::read(&self.path).map_err(failed(&self.path, "read"))?;
        let opened = regular_file::open(OpenOptions::new().append(true), &self.path);
        let file = opened.map_err(failed(&self.path, "open"))?;
        // The next record would be appended to an incomplete one and lost.
        file.set_len(complete_records(&bytes).len() as u64).map_err(failed(&self.path, "write"))?;
        let journal = JournalFile { path: self.path.clone(), file };
        journal.reserve()?;
        Ok(journal)
    }
}

/// The error for a backend directory that is not a real directory.
fn link() -> std::io::Error {
    std::io::Error::other(
        "it is a symbolic link or not a directory. Move it away, or choose another directory with --state-dir",
    )
}

/// Returns the CI job that this process runs in, from the variables that GitLab and GitHub set.
fn job() -> Option<String> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let github = || {
        let (server, repository) = (variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?);
        Some(format!("{server}/{repository}/actions/runs/{}", variable("GITHUB_RUN_ID")?))
    };
    variable("CI_JOB_URL").or_else(github)
}

fn create_dirs(path: &Path) -> Result<(), JournalError> {
    let missing: Vec<&Path> =
        path.ancestors().skip(1).take_while(|it| !it.as_os_str().is_empty() && !it.exists()).collect();
    // Not readable for others: a plan contains probes, and a probe's header may contain a token.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(failed(path, "create"))?;
    // The name of a directory is durable once its parent is synced, so every created directory needs this.
    for made in [path].into_iter().chain(missing) {
        made.parent().map_or(Ok(()), sync_dir)?;
    }
    Ok(())
}

fn sync_dir(path: &Path) -> Result<(), JournalError> {
    // The parent of a relative path is the current directory.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|dir| dir.sync_all()).map_err(failed(path, "sync"))
}

/// The journal file of a run.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    file: File,
}

impl JournalFile {
    /// Returns why `resume` would not find this file, if so: the file was removed during the run, or its directory was
    /// unmounted, mounted over or replaced.
    fn is_lost(&self, open: &Metadata) -> Option<&'static str> {
        if open.nlink() == 0 {
            return Some("it was removed during the run");
        }
        let there = self.path.symlink_metadata();
        let is_there = there.is_ok_and(|there| (there.dev(), there.ino()) == (open.dev(), open.ino()));
        (!is_there).then_some("its directory was unmounted or replaced during the run")
    }

    /// Reserves disk space for everything that a run may record, before the run changes anything.
    ///
    /// A disk that fills up later then does not stop the run halfway. On a file system without `fallocate`, each record
    /// needs free space when it is written.
    fn reserve(&self) -> Result<(), JournalError> {
        /// Two hundred bytes per record, forty records per server, for more servers than any backend has.
        const ROOM: u64 = 1 << 20;
        let length = self.file.metadata().map_err(failed(&self.path, "read"))?.len();
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, length, ROOM) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(failed(&self.path, "reserve space for")(error.into())),
        }
    }
}

impl Journal for JournalFile {
    /// Appends with one write and one `fdatasync`, on the runtime's own thread, because nothing may happen before the
    /// record is durable.
    async fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let line = line(record).map_err(|error| failed(&self.path, "write")(std::io::Error::other(error)))?;
        let before = self.file.metadata().map_err(failed(&self.path, "read"))?;
        if let Some(reason) = self.is_lost(&before) {
            return Err(failed(&self.path, "write")(std::io::Error::other(reason)));
        }
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // A record cut off by a full disk would swallow the next one. If this fails too, the reader detects it.
            let _unmendable = self.file.set_len(before.len());
        }
        if matches!(record, Record::Closed { .. }) {
            // Frees the unused space. A failure wastes little.
            let _still_reserved = self.file.set_len(before.len() + line.len() as u64);
        }
        written.map_err(failed(&self.path, "write"))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(test)]
mod tests;
