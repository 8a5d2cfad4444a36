//! Who works on what: a backend is taken before anything of it is touched, and with it those that share its containers.

use std::collections::BTreeSet;
use std::time::Duration;

use super::App;
use super::look::SystemClock;
use crate::adapters::journal_file::{BackendDir, Lock, LockError, StoredRun};
use crate::deploy::wait::insist;
use crate::error::Error;
use crate::ids::RunId;
use crate::outcome::Outcome;
use crate::ports::WallClock;

/// How often another run's lock is tried.
pub(super) const LOCK_EVERY: Duration = Duration::from_secs(1);

/// A backend that this process works on.
pub(super) struct Held {
    backend: String,
    pub(super) dir: BackendDir,
    runs: Vec<StoredRun>,
    /// Every backend that is locked, itself among them.
    names: BTreeSet<String>,
    locks: Vec<Lock>,
}

impl Held {
    /// Its name.
    pub(super) fn backend(&self) -> &str {
        &self.backend
    }

    /// The runs that are known here, the oldest first.
    pub(super) fn runs(&self) -> impl Iterator<Item = &StoredRun> {
        self.runs.iter()
    }

    /// The names of the containers that runs have replaced here.
    pub(super) fn containers(&self) -> BTreeSet<&str> {
        let lanes = self.runs.iter().flat_map(|stored| &stored.run.plan.lanes);
        lanes.filter_map(|lane| Some(lane.replacement.as_ref()?.name.as_str())).collect()
    }

    pub(super) fn unfinished(&self) -> Option<&StoredRun> {
        self.runs.last().filter(|stored| stored.run.outcome.is_none())
    }
}

impl App {
    /// Takes a backend for this process, as soon as nobody else has it or the wait for that is over.
    pub(super) async fn hold(&self, backend: &str) -> Result<Held, Error> {
        self.hold_all(backend, BTreeSet::from([backend.to_owned()])).await
    }

    /// The same for who only tidies up; nothing where a run on it is not finished, or its containers are needed.
    pub(super) async fn hold_idle(&self, backend: &str) -> Result<Option<Held>, Error> {
        let held = self.hold(backend).await?;
        let is_stuck =
            held.runs.last().is_some_and(|it| matches!(it.run.outcome, Some(Outcome::Stuck { .. })));
        Ok(Some(held).filter(|held| held.unfinished().is_none() && !is_stuck))
    }

    /// Decides what is to be done, and takes every backend that it touches: a container behind two of them must not be
    /// replaced twice at once. Where that is more than is held, all are taken anew, and it is decided once more.
    pub(super) async fn hold_for<T>(
        &self,
        mut held: Held,
        decide: impl AsyncFn(&Held) -> Result<(T, Vec<String>), Error>,
    ) -> Result<(Held, T), Error> {
        loop {
            let (decided, touched) = decide(&held).await?;
            if touched.iter().all(|name| held.names.contains(name)) {
                self.refuse_others(&held, &touched)?;
                return Ok((held, decided));
            }
            let Held { backend, mut names, locks, .. } = held;
            names.extend(touched);
            drop(locks);
            held = self.hold_all(&backend, names).await?;
        }
    }

    /// Everybody takes them in the order of their names, so that nobody waits for who waits for him.
    async fn hold_all(&self, backend: &str, names: BTreeSet<String>) -> Result<Held, Error> {
        let locks = self.lock_all(&names).await?;
        let dir = BackendDir::new(&self.settings.state_dir, backend);
        let runs = self.runs_in(&dir)?;
        Ok(Held { backend: backend.to_owned(), dir, runs, names, locks })
    }

    /// The locks of these backends, as soon as they are free or the wait for that is over.
    pub(super) async fn lock_all(&self, names: &BTreeSet<String>) -> Result<Vec<Lock>, Error> {
        let since = now();
        let limit = self.settings.lock_wait;
        let (mut locks, mut is_told) = (Vec::new(), limit.is_zero());
        let is_busy = |error: &Error| matches!(error, Error::Lock(LockError::Busy { .. }));
        insist(LOCK_EVERY, limit, is_busy, async || {
            for name in names.iter().skip(locks.len()) {
                match BackendDir::new(&self.settings.state_dir, name).lock(name, &since) {
                    Ok(lock) => locks.push(lock),
                    Err(error) => {
                        if !std::mem::replace(&mut is_told, true) {
                            self.say(&format!("waiting {} s at most: {error}", limit.as_secs()));
                        }
                        return Err(error.into());
                    }
                }
            }
            Ok(())
        })
        .await?;
        Ok(locks)
    }

    /// That nobody begins anew over a run that was not finished.
    pub(super) fn refuse_unfinished(&self, held: &Held) -> Result<(), Error> {
        held.unfinished().map_or(Ok(()), |stored| Err(self.unfinished_run(stored)))
    }

    /// What is to be said of a run that was not finished.
    pub(super) fn unfinished_run(&self, stored: &StoredRun) -> Error {
        let backend = &stored.run.plan.backend;
        Error::Unfinished {
            run: stored.run.plan.run.to_string(),
            backend: backend.clone(),
            pid: stored.run.pid,
            path: stored.path.display().to_string(),
            resume: self.typed.command(&["resume", backend]),
            undo: self.typed.command(&["resume", backend, "--undo"]),
        }
    }

    /// A run on another backend that was killed may hold servers of this one.
    fn refuse_others(&self, held: &Held, touched: &[String]) -> Result<(), Error> {
        let left = self.unfinished_on(touched)?;
        let other = left.iter().find(|stored| stored.run.plan.backend != held.backend);
        other.map_or(Ok(()), |stored| Err(self.unfinished_run(stored)))
    }

    /// The runs that were not finished and touch any of these backends. One that is under way looks like them to who does
    /// not hold the lock.
    pub(super) fn unfinished_on(&self, backends: &[String]) -> Result<Vec<StoredRun>, Error> {
        let mut left = self.unfinished_runs()?;
        left.retain(|stored| stored.run.plan.backends().iter().any(|it| backends.contains(it)));
        Ok(left)
    }

    /// The same of every backend.
    pub(super) fn unfinished_runs(&self) -> Result<Vec<StoredRun>, Error> {
        let mut left = Vec::new();
        if !self.settings.state_dir.is_dir() {
            return Ok(left);
        }
        for dir in BackendDir::all(&self.settings.state_dir)? {
            left.extend(self.runs_in(&dir)?.pop().filter(|stored| stored.run.outcome.is_none()));
        }
        Ok(left)
    }

    /// Every run of this state directory. Who may not read it can still look at everything else.
    pub(super) fn known_runs(&self) -> BTreeSet<RunId> {
        let all = BackendDir::all(&self.settings.state_dir).unwrap_or_default();
        all.iter().flat_map(BackendDir::run_ids).collect()
    }
}

/// For the lock: since when it is held.
pub(super) fn now() -> String {
    SystemClock.now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
