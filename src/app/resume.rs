//! `drainswap resume`: finishes or undoes a run that was killed or ended stuck.
//!
//! Finishing has two parts: the lane that the run was working on is finished or put back, and the rest is deployed by a
//! new, ordinary plan for the site as it is then.

use std::collections::{BTreeMap, BTreeSet};
use std::slice::from_ref;

use super::backend_lock::{BackendLock, LockedSession};
use super::live_site::LiveSite;
use super::session::{Access, Session};
use super::signals::with_signals;
use super::{App, known_backend};
use crate::adapters::events_file::EventsFile;
use crate::adapters::journal_file::{BackendDir, StoredRun};
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::cfg::Level;
use crate::cli::{Output, PolicyFlags};
use crate::deploy::{Executor, StopRequest};
use crate::model::ids::RunId;
use crate::observation::Observation;
use crate::plan::recover::{self, Recovery, Towards};
use crate::plan::{Goal, Plan, Policy, RunKind, Target};
use crate::ports::{Journal, WallClock};
use crate::run::history;
use crate::run::journal::{Record, Run, SiteIdentity};
use crate::run::outcome::Outcome;

impl App {
    /// Resumes the unfinished run on a backend, or on every backend.
    pub(super) async fn resume(
        &self,
        backend: Option<&str>,
        undo: bool,
        dry_run: bool,
        flags: &PolicyFlags,
    ) -> Result<Exit, Error> {
        let backends = match backend {
            Some(backend) => vec![backend.to_owned()],
            None => self.unfinished_backends().await?,
        };
        if backends.is_empty() {
            self.note("no run was left unfinished");
        }
        for backend in backends {
            let exit = Box::pin(self.resume_one(&backend, None, undo, dry_run, flags)).await?;
            if exit != Exit::Done {
                return Ok(exit);
            }
        }
        Ok(Exit::Done)
    }

    /// Makes a run of another site one of this site, and resumes it if it is unfinished.
    pub(super) async fn adopt(
        &self,
        run: &str,
        undo: bool,
        dry_run: bool,
        flags: &PolicyFlags,
    ) -> Result<Exit, Error> {
        let plan = self.stored(Some(run))?.run.plan;
        Box::pin(self.resume_one(&plan.goal.backend, Some(&plan.run), undo, dry_run, flags)).await
    }

    /// Returns the backends with an unfinished run of this site. Notes the unfinished runs of other sites.
    async fn unfinished_backends(&self) -> Result<Vec<String>, Error> {
        let mut candidates = BTreeSet::new();
        for runs in self.every_run(&SiteIdentity::default())? {
            let all = runs.own.into_iter().chain(runs.foreign);
            candidates.extend(all.filter(|it| it.run.is_unfinished()).map(|it| it.run.plan.goal.backend));
        }
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let mut own = Vec::new();
        let loaded = self.load_config().await?;
        let load_balancers = self.connect(&loaded, Level::Admin).await?;
        let configuration = &loaded.configuration;
        for backend in candidates {
            let identity = if known_backend(configuration, &backend).is_ok() {
                let backends = from_ref(&backend);
                self.site(configuration, backends, load_balancers.clone()).await?.identity
            } else {
                self.site_identity(configuration, &load_balancers)
            };
            let runs = self.runs_on(&identity, &backend)?;
            runs.unfinished_elsewhere().for_each(|it| self.note(&format!("note: {}", self.foreign_run(it))));
            own.extend(runs.unfinished().map(|_| backend));
        }
        Ok(own)
    }

    pub(super) async fn resume_one(
        &self,
        backend: &str,
        adopted: Option<&RunId>,
        undo: bool,
        dry_run: bool,
        flags: &PolicyFlags,
    ) -> Result<Exit, Error> {
        if !dry_run {
            self.events()?;
        }
        let session = self.open(Access::Change, from_ref(&backend.to_owned())).await?;
        let mut locked = self.lock(session, backend).await?;
        if let Some(run) = adopted {
            self.record_adoption(&mut locked.held, run, &locked.session.site, dry_run).await?;
        }
        let LockedSession { session, held } = &locked;
        let Some(unfinished) = held.unfinished() else {
            // A finished run is only adopted.
            return if adopted.is_some() { Ok(Exit::Done) } else { self.nothing_to_resume(held) };
        };
        let policy = flags.over(unfinished.run.plan.goal.policy.clone());
        if undo {
            return Box::pin(self.roll_back_unfinished(locked, policy, dry_run)).await;
        }
        self.settings.described()?;
        if dry_run {
            let goal = self.goal_of(held, unfinished, &policy)?;
            let exit = self.show_recovery(session, unfinished, (policy, Towards::Finish)).await?;
            if let Err(error) = self.plan_for(session, &goal).await {
                self.note(&format!("as things are now, the rest cannot be planned: {error}"));
            }
            return Ok(exit);
        }
        let (locked, unfinished) = self.lock_unfinished(locked).await?;
        let Some(unfinished) = unfinished else { return self.nothing_to_resume(&locked.held) };
        Box::pin(with_signals(async |stop| {
            let outcome = self.finish_in_flight(&locked.session, &unfinished, (&policy, &stop)).await?;
            if !matches!(outcome, Outcome::Cancelled { .. }) {
                return Ok((&outcome).into());
            }
            let decide = async |LockedSession { session, held }: &LockedSession| {
                let goal = self.goal_of(held, &unfinished, &policy)?;
                let plan = self.plan_for(session, &goal).await?;
                let touched = plan.backends();
                Ok((plan, touched))
            };
            let (locked, plan) = self.lock_and_plan(locked, decide).await?;
            self.execute(&locked, &plan, stop).await
        }))
        .await
    }

    /// Returns the file for the events of a run.
    fn events_of(&self, plan: &Plan) -> EventsFile {
        BackendDir::new(&self.settings.state_dir, &plan.goal.backend).events(&plan.run)
    }

    /// Says that no run is unfinished, or names the one of another site, which is easily mistaken for one of this site.
    fn nothing_to_resume(&self, held: &BackendLock) -> Result<Exit, Error> {
        if let Some(foreign) = held.unfinished_elsewhere() {
            return Err(self.foreign_run(foreign));
        }
        self.note(&format!("the last run on {} is finished: there is nothing to resume", held.backend()));
        Ok(Exit::Done)
    }

    /// Makes a run of another site one of this site; permanently, unless this is a dry run.
    async fn record_adoption(
        &self,
        held: &mut BackendLock,
        run: &RunId,
        site: &LiveSite,
        dry_run: bool,
    ) -> Result<(), Error> {
        let Some(stored) = held.adopt(run) else {
            self.note(&format!("run {run} already belongs to this site"));
            return Ok(());
        };
        if !dry_run {
            let identity = Box::new(site.identity.of(&stored.run.plan));
            stored.reopen()?.append(&Record::Adopted { at: site.clock.now(), site: identity }).await?;
        }
        self.note(&format!("run {run} now belongs to this site"));
        Ok(())
    }

    /// Locks every backend that the unfinished run touches. Another process may have finished that run in the meantime.
    async fn lock_unfinished(
        &self,
        locked: LockedSession,
    ) -> Result<(LockedSession, Option<StoredRun>), Error> {
        let decide = async |locked: &LockedSession| {
            let unfinished = locked.held.unfinished().cloned();
            let touched = unfinished.as_ref().map(|stored| stored.run.plan.backends()).unwrap_or_default();
            Ok((unfinished, touched))
        };
        self.lock_and_plan(locked, decide).await
    }

    /// Shows what becomes of each lane of an unfinished run, and of its rest.
    async fn show_recovery(
        &self,
        session: &Session,
        unfinished: &StoredRun,
        (policy, towards): (Policy, Towards),
    ) -> Result<Exit, Error> {
        let (seen, _) = self.observe(session, policy.lb_quorum).await?;
        let run = &unfinished.run;
        let recovery = self.tell_recovery(run, &seen, towards);
        if towards == Towards::Finish && recovery.has_rest() {
            self.note("the rest is planned again when that is done, for the site as it is then");
        }
        let plan = recovery.as_plan(&run.plan.resumed(&seen.load_balancers, policy));
        // The text form of an undo is printed already.
        if towards == Towards::Finish || self.output == Output::Json {
            self.show(&plan)?;
        }
        Ok(Exit::Done)
    }

    /// Tells how far a run came, and what becomes of each of its lanes.
    fn tell_recovery(&self, run: &Run, seen: &Observation, towards: Towards) -> Recovery {
        let recovery = run.recovery(&seen.containers, towards);
        let (id, was_removing) = (&run.plan.run, recover::was_removing(&run.progress.begun));
        self.note(&match towards {
            Towards::Undo if was_removing => format!(
                "run {id} had succeeded and only had old containers left to remove; that is finished now. Roll back again to go back"
            ),
            Towards::Undo => format!("run {id} was not finished; undoing it:"),
            Towards::Finish => format!("run {id} was not finished"),
        });
        self.note(recovery.to_string().trim_end());
        recovery
    }

    /// Brings an unfinished run to an end with its own journal. Begins no further lane.
    async fn recover(
        &self,
        session: &Session,
        unfinished: &StoredRun,
        (policy, towards, stop): (&Policy, Towards, &StopRequest),
    ) -> Result<Outcome, Error> {
        let (seen, _) = self.observe(session, policy.lb_quorum).await?;
        self.tell_recovery(&unfinished.run, &seen, towards);
        let plan = unfinished.run.plan.resumed(&seen.load_balancers, policy.clone());
        let mut journal = unfinished.reopen()?;
        let mut listener = self.listener()?;
        listener.add(self.events_of(&plan));
        let run = Executor::new(&plan, &session.site, &mut journal, stop.clone(), &mut listener)?;
        Ok(Box::pin(run.recover(&unfinished.run, towards)).await)
    }

    async fn finish_in_flight(
        &self,
        session: &Session,
        unfinished: &StoredRun,
        (policy, stop): (&Policy, &StopRequest),
    ) -> Result<Outcome, Error> {
        let how = (policy, Towards::Finish, stop);
        let outcome = self.recover(session, unfinished, how).await?;
        // After a request to stop, the rest is not started.
        if matches!(outcome, Outcome::Cancelled { .. }) && stop.asked.is_cancelled() {
            let plan = &unfinished.run.plan;
            return Err(Error::ResumeStopped {
                deploy: self.repeat_command(plan),
                backend: plan.goal.backend.clone(),
            });
        }
        Ok(outcome)
    }

    /// Returns the command that repeats the run's deploy or rollback.
    fn repeat_command(&self, plan: &Plan) -> String {
        let backend = plan.goal.backend.as_str();
        match (plan.goal.purpose, plan.images.first()) {
            (RunKind::Deploy, Some(image)) => {
                self.typed.command(&["deploy", backend, "--image", &image.pinned()])
            }
            (RunKind::Deploy, None) => self.typed.command(&["deploy", backend]),
            (RunKind::Rollback, _) => self.typed.command(&["rollback", backend]),
        }
    }

    /// Undoes an unfinished run within these limits.
    pub(super) async fn roll_back_unfinished(
        &self,
        locked: LockedSession,
        policy: Policy,
        dry_run: bool,
    ) -> Result<Exit, Error> {
        let (LockedSession { session, held }, unfinished) = self.lock_unfinished(locked).await?;
        let Some(unfinished) = unfinished else { return self.nothing_to_resume(&held) };
        if dry_run {
            return self.show_recovery(&session, &unfinished, (policy, Towards::Undo)).await;
        }
        // Requests to stop are ignored: a half-undone run is worse than a finished or an undone one.
        let how = (&policy, Towards::Undo, &StopRequest::default());
        let outcome = with_signals(async |_| self.recover(&session, &unfinished, how).await).await?;
        // A run that had already succeeded is complete now.
        let is_whole = matches!(outcome, Outcome::Cancelled { .. });
        Ok(if is_whole { Exit::Done } else { (&outcome).into() })
    }

    /// Returns the goal of the run, with these limits.
    fn goal_of(&self, held: &BackendLock, unfinished: &StoredRun, policy: &Policy) -> Result<Goal, Error> {
        let plan = &unfinished.run.plan;
        let target = match &plan.goal.target {
            Target::Unknown => former_target(held, plan)?,
            target @ (Target::Everywhere(_) | Target::Each(_)) => target.clone(),
        };
        Ok(Goal {
            target,
            policy: policy.clone(),
            hooks: self.settings.hooks.keys().copied().collect(),
            continues: Some(plan.first_run().clone()),
            // The approval was for the whole plan.
            approved: None,
            ..plan.goal.clone()
        })
    }
}

/// Returns the target of a plan of an earlier version, from its lanes or from the history of its backend.
fn former_target(held: &BackendLock, plan: &Plan) -> Result<Target, Error> {
    match plan.goal.purpose {
        RunKind::Deploy => {
            // A plan that only puts servers back in service needs no image.
            let mut replacements = plan.lanes.iter().filter_map(|lane| lane.replacement.as_ref());
            let image = replacements.next().map(|it| it.image.clone());
            Ok(image.map_or_else(|| Target::Each(BTreeMap::new()), Target::Everywhere))
        }
        RunKind::Rollback => {
            let revisions = history::revisions(held.runs().map(|stored| &stored.run));
            let former = revisions.into_iter().find(|former| former.takes_back == plan.goal.takes_back);
            let nothing = || Error::NothingToRollBack { backend: plan.goal.backend.clone() };
            Ok(Target::Each(former.ok_or_else(nothing)?.servers))
        }
    }
}
