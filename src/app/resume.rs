//! resume: a run that was killed is brought to its end, forward or back.
//!
//! Forward is done in two parts: what the run had in its hands is brought to rest, and the rest is deployed by an
//! ordinary plan of its own, made for the world as it is by then.

use std::collections::BTreeMap;
use std::slice::from_ref;

use super::hold::Held;
use super::look::{RealWorld, require_admin};
use super::signals::heeding_signals;
use super::{App, known_backend};
use crate::adapters::events_file::EventsFile;
use crate::adapters::journal_file::{BackendDir, JournalFile, StoredRun};
use crate::cfg::Configuration;
use crate::cli::{Output, PolicyFlags};
use crate::deploy::{Deploy, Stop};
use crate::error::Error;
use crate::exit::Exit;
use crate::history;
use crate::outcome::Outcome;
use crate::plan::undo::{Care, is_replaced, taken_back, undo};
use crate::plan::{Goal, Plan, Policy, Purpose, Target, Worker};
use crate::settings::with_flags;

impl App {
    /// Resumes a backend, or every backend that has a run which was not finished.
    pub(super) async fn resume(
        &self,
        backend: Option<&str>,
        undo: bool,
        dry_run: bool,
        flags: &PolicyFlags,
    ) -> Result<Exit, Error> {
        let backends = match backend {
            Some(backend) => vec![backend.to_owned()],
            None => self.unfinished_runs()?.into_iter().map(|stored| stored.run.plan.backend).collect(),
        };
        if backends.is_empty() {
            self.say("no run was left unfinished");
        }
        for backend in backends {
            let exit = Box::pin(self.resume_one(&backend, undo, dry_run, flags)).await?;
            if exit != Exit::Done {
                return Ok(exit);
            }
        }
        Ok(Exit::Done)
    }

    pub(super) async fn resume_one(
        &self,
        backend: &str,
        undo: bool,
        dry_run: bool,
        flags: &PolicyFlags,
    ) -> Result<Exit, Error> {
        if !dry_run {
            self.events()?;
        }
        let (configuration, load_balancers) = self.load_balancers().await?;
        known_backend(&configuration, backend)?;
        require_admin(&load_balancers).await?;
        let world = self.world(&configuration, from_ref(&backend.to_owned()), load_balancers).await?;
        let held = self.hold(backend).await?;
        let Some(unfinished) = held.unfinished() else { return Ok(self.nothing_to_resume(backend)) };
        let policy = with_flags(flags, unfinished.run.plan.policy.clone());
        if undo {
            return self.take_back(&configuration, &world, held, policy, dry_run).await;
        }
        self.settings.described()?;
        if dry_run {
            self.show_rest(unfinished);
            let goal = self.goal_of(&held, unfinished, &policy)?;
            match self.plan_for(&configuration, &world, &goal).await {
                Ok(plan) => self.show(&plan)?,
                Err(error) => {
                    self.say(&format!("what is planned afterwards is known then; now it is {error}"));
                }
            }
            return Ok(Exit::Done);
        }
        let (held, unfinished) = self.hold_unfinished(held).await?;
        let Some(unfinished) = unfinished else { return Ok(self.nothing_to_resume(backend)) };
        heeding_signals(async |stop| {
            let outcome = self.bring_to_rest(&configuration, &world, &unfinished, (&policy, &stop)).await?;
            if !matches!(outcome, Outcome::Cancelled { .. }) {
                return Ok((&outcome).into());
            }
            let decide = async |held: &Held| {
                let goal = self.goal_of(held, &unfinished, &policy)?;
                let plan = self.plan_for(&configuration, &world, &goal).await?;
                let touched = plan.backends();
                Ok((Plan { continues: Some(unfinished.run.plan.root().clone()), ..plan }, touched))
            };
            let (held, plan) = self.hold_for(held, decide).await?;
            self.execute(&world, &plan, &held, stop).await
        })
        .await
    }

    /// Where the events of a run are kept.
    fn events_of(&self, plan: &Plan) -> EventsFile {
        BackendDir::new(&self.settings.state_dir, &plan.backend).events(&plan.run)
    }

    fn nothing_to_resume(&self, backend: &str) -> Exit {
        self.say(&format!("the last run on {backend} was finished: there is nothing to resume"));
        Exit::Done
    }

    /// Takes every backend that the run which was not finished touches. Another process may have ended it meanwhile.
    async fn hold_unfinished(&self, held: Held) -> Result<(Held, Option<StoredRun>), Error> {
        let decide = async |held: &Held| {
            let unfinished = held.unfinished().cloned();
            let touched = unfinished.as_ref().map(|stored| stored.run.plan.backends()).unwrap_or_default();
            Ok((unfinished, touched))
        };
        self.hold_for(held, decide).await
    }

    /// What a run that was not finished goes on with: its plan, for the processes whose sessions count by now, and its
    /// journal.
    async fn reopen(
        &self,
        configuration: &Configuration,
        world: &RealWorld,
        unfinished: &StoredRun,
        policy: Policy,
    ) -> Result<(Plan, JournalFile), Error> {
        let (seen, _) = self.observe(configuration, world, policy.lb_quorum).await?;
        let workers = seen.load_balancers.iter().map(Worker::of).collect();
        Ok((Plan { workers, policy, ..unfinished.run.plan.clone() }, unfinished.reopen()?))
    }

    async fn bring_to_rest(
        &self,
        configuration: &Configuration,
        world: &RealWorld,
        unfinished: &StoredRun,
        (policy, stop): (&Policy, &Stop),
    ) -> Result<Outcome, Error> {
        self.show_rest(unfinished);
        let (plan, mut journal) = self.reopen(configuration, world, unfinished, policy.clone()).await?;
        let mut listener = self.listener()?;
        listener.add(self.events_of(&plan));
        let run = Deploy::new(&plan, world, &mut journal, stop.clone(), &mut listener)?;
        let outcome = Box::pin(run.bring_to_rest(&unfinished.run)).await;
        // Who has asked to stop wants nothing more.
        if matches!(outcome, Outcome::Cancelled { .. }) && stop.asked.is_cancelled() {
            return Err(Error::ResumeStopped { deploy: self.once_more(&plan), backend: plan.backend });
        }
        Ok(outcome)
    }

    /// The command that does anew what a run was for.
    fn once_more(&self, plan: &Plan) -> String {
        let backend = plan.backend.as_str();
        match (plan.purpose, plan.images.first()) {
            (Purpose::Deploy, Some(image)) => {
                self.typed.command(&["deploy", backend, "--image", &image.pinned()])
            }
            (Purpose::Deploy, None) => self.typed.command(&["deploy", backend]),
            (Purpose::Rollback, _) => self.typed.command(&["rollback", backend]),
        }
    }

    /// Takes back what a run that was not finished had begun, within these limits.
    pub(super) async fn take_back(
        &self,
        configuration: &Configuration,
        world: &RealWorld,
        held: Held,
        policy: Policy,
        dry_run: bool,
    ) -> Result<Exit, Error> {
        let (held, unfinished) = self.hold_unfinished(held).await?;
        let Some(unfinished) = unfinished else { return Ok(self.nothing_to_resume(held.backend())) };
        self.show_undo(&unfinished);
        if dry_run {
            let run = &unfinished.run;
            let begun = if run.was_removing() { &BTreeMap::new() } else { &run.begun };
            // People have read it already.
            if self.output == Output::Json {
                self.show(&Plan { policy, ..taken_back(&run.plan, begun) })?;
            }
            return Ok(Exit::Done);
        }
        let (plan, mut journal) = self.reopen(configuration, world, &unfinished, policy).await?;
        let mut listener = self.listener()?;
        listener.add(self.events_of(&plan));
        // Nobody's wish to stop interrupts it: half taken back is worse than either.
        let run = Deploy::new(&plan, world, &mut journal, Stop::default(), &mut listener)?;
        let outcome = heeding_signals(async |_| Box::pin(run.take_back(&unfinished.run)).await).await;
        // What had succeeded already is left with that.
        let is_whole = matches!(outcome, Outcome::Cancelled { .. });
        Ok(if is_whole { Exit::Done } else { (&outcome).into() })
    }

    /// Says what is taken back of a run.
    fn show_undo(&self, unfinished: &StoredRun) {
        let run = &unfinished.run;
        if run.was_removing() {
            self.say(&format!("run {} had succeeded, and only had old containers to remove: that is finished now. Roll back once more to go back", run.plan.run));
            return;
        }
        self.say(&format!("run {} was not finished; what it had begun is taken back:", run.plan.run));
        for (lane, begun) in &run.begun {
            let lane = &run.plan.lanes[*lane];
            let steps: Vec<String> =
                undo(lane, begun, Care::Serving).iter().map(ToString::to_string).collect();
            self.say(&format!("  {}: {}", lane.name(), steps.join(", ")));
        }
    }

    /// Says what a run had in its hands, and what becomes of that.
    fn show_rest(&self, unfinished: &StoredRun) {
        let run = &unfinished.run;
        self.say(&format!("run {} was not finished", run.plan.run));
        for (index, lane) in run.plan.lanes.iter().enumerate() {
            let begun = run.begun.get(&index).map_or(&[][..], Vec::as_slice);
            let what = match run.in_hand() {
                _ if begun.is_empty() => "was not begun",
                Some(in_hand) if index < in_hand => "was through",
                Some(in_hand) if index == in_hand && is_replaced(begun) => "is seen through",
                Some(in_hand) if index == in_hand => "is put back, and replaced anew",
                Some(_) | None => "has a new container that was only created, which is removed",
            };
            self.say(&format!("  {}: {what}", lane.name()));
        }
    }

    /// What the run was for, with these limits.
    fn goal_of(&self, held: &Held, unfinished: &StoredRun, policy: &Policy) -> Result<Goal, Error> {
        let plan = &unfinished.run.plan;
        let replacements = plan.lanes.iter().filter_map(|lane| lane.replacement.as_ref());
        let target = match plan.purpose {
            Purpose::Deploy => {
                // Nothing but to put servers back in service: that wants no image.
                let image = replacements.map(|it| it.image.clone()).next();
                image.map_or_else(|| Target::Each(BTreeMap::new()), Target::Everywhere)
            }
            Purpose::Rollback => {
                let formers = history::formers(held.runs().map(|stored| &stored.run));
                let former = formers.into_iter().find(|former| former.takes_back == plan.takes_back);
                let nothing = || Error::NothingToRollBack { backend: plan.backend.clone() };
                Target::Each(former.ok_or_else(nothing)?.servers)
            }
        };
        Ok(Goal {
            backend: plan.backend.clone(),
            purpose: plan.purpose,
            target,
            takes_back: plan.takes_back.clone(),
            policy: policy.clone(),
            hooks: self.settings.hooks.keys().copied().collect(),
        })
    }
}
