//! Locks: a command locks a backend before it touches anything of it, together with the backends that share its
//! containers.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use super::App;
use super::doctor::open_run;
use super::journals::Runs;
use super::live_site::SystemClock;
use super::session::Session;
use crate::adapters::journal_file::{BackendDir, LockError, StoredRun};
use crate::adapters::lock_file::Lock;
use crate::app::error::{Error, Unfinished};
use crate::model::ids::RunId;
use crate::plan::{LbQuorum, Plan};
use crate::ports::{JournalError, WallClock};
use crate::run::journal::SiteIdentity;
use crate::run::outcome::Outcome;
use crate::site::wait::retry;

/// The interval between attempts to take another run's lock.
pub(super) const LOCK_EVERY: Duration = Duration::from_secs(1);

/// A backend that this process has locked.
pub(super) struct BackendLock {
    backend: String,
    pub(super) dir: BackendDir,
    runs: Runs,
    /// The run of another site that the operator assigned to this one.
    adopted: Option<RunId>,
    /// Every locked backend, including this one.
    names: BTreeSet<String>,
    locks: Vec<Lock>,
}

/// A session whose backend is locked. It was opened after the last wait for a lock.
pub(super) struct LockedSession {
    pub(super) session: Session,
    pub(super) held: BackendLock,
}

impl BackendLock {
    /// Returns the name of the backend.
    pub(super) fn backend(&self) -> &str {
        &self.backend
    }

    /// Returns the known runs of this site, oldest first.
    pub(super) fn runs(&self) -> impl Iterator<Item = &StoredRun> {
        self.runs.own.iter()
    }

    /// Returns the runs of other sites, oldest first.
    pub(super) fn foreign(&self) -> &[StoredRun] {
        &self.runs.foreign
    }

    /// Returns the last unfinished run of other sites.
    pub(super) fn unfinished_elsewhere(&self) -> Option<&StoredRun> {
        self.runs.unfinished_elsewhere().last()
    }

    /// Returns the names of the containers that runs have replaced.
    pub(super) fn containers(&self) -> BTreeSet<&str> {
        let lanes = self.runs().flat_map(|stored| &stored.run.plan.lanes);
        lanes.filter_map(|lane| Some(lane.replacement.as_ref()?.name.as_str())).collect()
    }

    /// Returns the run to resume, if any.
    pub(super) fn unfinished(&self) -> Option<&StoredRun> {
        let adopted = |run: &RunId| self.runs().find(|it| it.run.plan.run == *run && it.run.is_unfinished());
        self.adopted.as_ref().map_or_else(|| self.runs.unfinished(), adopted)
    }

    /// Counts a run of another site as one of this site. Returns it, or `None` if it counted as such already.
    pub(super) fn adopt(&mut self, run: &RunId) -> Option<&StoredRun> {
        self.adopted = Some(run.clone());
        let at = self.runs.foreign.iter().position(|stored| stored.run.plan.run == *run)?;
        let stored = self.runs.foreign.remove(at);
        let at = self.runs.own.partition_point(|it| it.path < stored.path);
        self.runs.own.insert(at, stored);
        self.runs.own.get(at)
    }
}

impl App {
    /// Locks a backend for this process. Waits up to `--lock-wait` for another process.
    pub(super) async fn lock(&self, session: Session, backend: &str) -> Result<LockedSession, Error> {
        self.lock_named(session, backend, BTreeSet::from([backend.to_owned()])).await
    }

    /// Locks a backend for a cleanup. Returns `None` if a run on it is unfinished, since that run needs its containers.
    pub(super) async fn lock_if_idle(
        &self,
        backend: &str,
        identity: &SiteIdentity,
    ) -> Result<Option<BackendLock>, Error> {
        let names = BTreeSet::from([backend.to_owned()]);
        let locks = self.lock_all(&names).await?;
        let held = self.with_locks(locks, backend, names, identity)?;
        Ok(Some(held).filter(|held| held.unfinished().is_none()))
    }

    /// Makes a decision and locks every backend that it touches: a container behind two backends must not be replaced
    /// twice at once. If more locks are needed, all of them are taken again and the decision is repeated.
    pub(super) async fn lock_and_plan<T>(
        &self,
        mut locked: LockedSession,
        decide: impl AsyncFn(&LockedSession) -> Result<(T, Vec<String>), Error>,
    ) -> Result<(LockedSession, T), Error> {
        loop {
            let (decided, touched) = decide(&locked).await?;
            if touched.iter().all(|name| locked.held.names.contains(name)) {
                self.refuse_others(&locked, &touched).await?;
                return Ok((locked, decided));
            }
            let LockedSession { session, held } = locked;
            let BackendLock { backend, mut names, locks, adopted, .. } = held;
            names.extend(touched);
            drop(locks);
            locked = self.lock_named(session, &backend, names).await?;
            if let Some(run) = adopted {
                locked.held.adopt(&run);
            }
        }
    }

    /// Locks the backends in the order of their names, to avoid deadlock.
    async fn lock_named(
        &self,
        session: Session,
        backend: &str,
        names: BTreeSet<String>,
    ) -> Result<LockedSession, Error> {
        let (locks, has_waited) = self.take_locks(&names, |error| Err(error.into())).await?;
        // The former holder may have installed another haproxy.cfg.
        let session = if has_waited { Box::pin(self.reopen(&session)).await? } else { session };
        let held = self.with_locks(locks, backend, names, &session.site.identity)?;
        Ok(LockedSession { session, held })
    }

    /// Reads the runs on a backend, once these locks are held.
    fn with_locks(
        &self,
        locks: Vec<Lock>,
        backend: &str,
        names: BTreeSet<String>,
        identity: &SiteIdentity,
    ) -> Result<BackendLock, Error> {
        let dir = BackendDir::new(&self.settings.state_dir, backend);
        let runs = self.runs_on(identity, backend)?;
        Ok(BackendLock { backend: backend.to_owned(), dir, runs, adopted: None, names, locks })
    }

    /// Returns the locks of these backends. Waits up to `--lock-wait` for them.
    pub(super) async fn lock_all(&self, names: &BTreeSet<String>) -> Result<Vec<Lock>, Error> {
        Ok(self.take_locks(names, |error| Err(error.into())).await?.0)
    }

    /// Locks these backends for a move. A move leaves nothing to resume, so it needs no state directory: it notes a
    /// backend that cannot be locked there, and goes on.
    pub(super) async fn lock_for_move(&self, names: &BTreeSet<String>) -> Result<Vec<Lock>, Error> {
        let is_noted = Cell::new(false);
        let noted = |error: JournalError| {
            if !is_noted.replace(true) {
                self.note(&format!("note: {error}. This move needs no state directory and goes on: it is not recorded there, and not locked against another drainswap"));
            }
            Ok(())
        };
        Ok(self.take_locks(names, noted).await?.0)
    }

    /// Returns the locks of these backends, and whether they had to be waited for. `without` decides whether a backend
    /// whose lock cannot be used is left out.
    async fn take_locks(
        &self,
        names: &BTreeSet<String>,
        without: impl Fn(JournalError) -> Result<(), LockError>,
    ) -> Result<(Vec<Lock>, bool), Error> {
        let since = now();
        let limit = self.settings.lock_wait;
        let (mut locks, mut has_waited) = (Vec::new(), false);
        let is_busy = |error: &Error| matches!(error, Error::Lock(LockError::Busy { .. }));
        retry(LOCK_EVERY, limit, is_busy, async || {
            for name in names.iter().skip(locks.len()) {
                let locked = match BackendDir::new(&self.settings.state_dir, name).lock(name, &since) {
                    Err(LockError::Journal(error)) => without(error).map(|()| None),
                    locked => locked.map(Some),
                };
                match locked {
                    Ok(lock) => locks.push(lock),
                    Err(error) => {
                        if !std::mem::replace(&mut has_waited, true) && !limit.is_zero() {
                            self.note(&format!("waiting up to {} s: {error}", limit.as_secs()));
                        }
                        return Err(error.into());
                    }
                }
            }
            Ok(())
        })
        .await?;
        Ok((locks.into_iter().flatten().collect(), has_waited))
    }

    /// Refuses to start a run while another one is unfinished.
    pub(super) async fn refuse_unfinished(&self, locked: &LockedSession) -> Result<(), Error> {
        match locked.held.unfinished() {
            Some(stored) if self.blocks_new_run(stored, &locked.session).await? => {
                Err(self.unfinished_run(stored))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Returns whether an unfinished run still holds servers or containers. A run that ended stuck does not, once the
    /// operator has repaired what it left, or has removed both of its containers for a new deploy.
    async fn blocks_new_run(&self, stored: &StoredRun, session: &Session) -> Result<bool, Error> {
        if stored.run.progress.outcome.is_none() {
            return Ok(true);
        }
        let (observation, topology) = self.observe(session, LbQuorum::Reachable).await?;
        let is_open = open_run(stored).is_some_and(|run| run.is_open(&topology));
        Ok(is_open && stored.run.is_left_in(&observation.containers))
    }

    /// Refuses a plan that needs a container or a server of another site's unfinished run.
    pub(super) fn refuse_foreign(&self, plan: &Plan, identity: &SiteIdentity) -> Result<(), Error> {
        let unfinished = self.every_run(identity)?;
        let mut foreign = unfinished.iter().flat_map(Runs::unfinished_elsewhere);
        let met = foreign.find(|stored| stored.run.conflicts_with(plan, identity));
        met.map_or(Ok(()), |stored| Err(self.foreign_run(stored)))
    }

    /// Returns the error for an unfinished run.
    pub(super) fn unfinished_run(&self, stored: &StoredRun) -> Error {
        let run = &stored.run;
        let backend = &run.plan.goal.backend;
        let how = match &run.progress.outcome {
            Some(Outcome::Stuck { servers, .. }) => {
                let servers: Vec<_> = servers.iter().map(|stranded| stranded.server.clone()).collect();
                Unfinished::Stuck { servers }
            }
            Some(_) | None => Unfinished::Killed { pid: run.pid },
        };
        Error::Unfinished {
            run: run.plan.run.to_string(),
            backend: backend.clone(),
            how,
            path: stored.path.display().to_string(),
            resume: self.typed.command(&["resume", backend]),
            undo: self.typed.command(&["resume", backend, "--undo"]),
        }
    }

    /// Returns the error for a run of another site that is in the way.
    pub(super) fn foreign_run(&self, stored: &StoredRun) -> Error {
        let run = &stored.run.plan.run;
        Error::ForeignRun {
            run: run.to_string(),
            backend: stored.run.plan.goal.backend.clone(),
            is_unfinished: stored.run.is_unfinished(),
            path: stored.path.display().to_string(),
            adopt: self.typed.command(&["resume", "--adopt", &run.0]),
        }
    }

    /// Refuses if a killed run on another backend holds servers of this one.
    async fn refuse_others(&self, locked: &LockedSession, touched: &[String]) -> Result<(), Error> {
        let LockedSession { session, held } = locked;
        for stored in self.unfinished_on(&session.site.identity, touched)? {
            if stored.run.plan.goal.backend != held.backend && self.blocks_new_run(&stored, session).await? {
                return Err(self.unfinished_run(&stored));
            }
        }
        Ok(())
    }

    /// Returns whether a run of an older drainswap is unfinished, according to a journal that only root or this user
    /// could have written.
    pub(super) fn has_old_unfinished_run(&self) -> bool {
        let all = BackendDir::all(&self.settings.state_dir).unwrap_or_default();
        let runs = all.iter().flat_map(|dir| self.runs_in(dir).unwrap_or_default());
        let mut unfinished = runs.filter(|stored| stored.run.is_unfinished());
        unfinished.any(|stored| stored.run.site.is_none() && stored.is_our_own())
    }

    /// Returns this site's unfinished runs that touch any of these backends. Without the lock, an active run looks the
    /// same.
    pub(super) fn unfinished_on(
        &self,
        identity: &SiteIdentity,
        backends: &[String],
    ) -> Result<Vec<StoredRun>, Error> {
        let mut left = self.unfinished_runs(identity)?;
        left.retain(|stored| stored.run.plan.backends().iter().any(|it| backends.contains(it)));
        Ok(left)
    }

    /// Returns this site's unfinished runs on all backends.
    pub(super) fn unfinished_runs(&self, identity: &SiteIdentity) -> Result<Vec<StoredRun>, Error> {
        let all = self.every_run(identity)?;
        Ok(all.iter().filter_map(Runs::unfinished).cloned().collect())
    }

    /// Returns the runs on every backend.
    pub(super) fn every_run(&self, identity: &SiteIdentity) -> Result<Vec<Runs>, Error> {
        if !self.settings.state_dir.is_dir() {
            return Ok(Vec::new());
        }
        let all = BackendDir::all(&self.settings.state_dir)?;
        all.iter().map(|dir| self.runs_at(identity, dir)).collect()
    }

    /// Returns every run in this state directory, or none if it cannot be read: the rest of a look does not depend on
    /// it.
    pub(super) fn known_runs(&self) -> BTreeSet<RunId> {
        let all = BackendDir::all(&self.settings.state_dir).unwrap_or_default();
        all.iter().flat_map(BackendDir::run_ids).collect()
    }
}

/// Returns the current time, for the lock's text.
pub(super) fn now() -> String {
    SystemClock.now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
