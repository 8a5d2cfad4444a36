//! `drainswap plan`, `deploy` and `rollback`.

use std::collections::BTreeSet;
use std::path::Path;
use std::slice::from_ref;
use std::time::Duration;

use super::backend_lock::{BackendLock, LockedSession};
use super::names::{known_scope, nearest_image};
use super::sampler::sample;
use super::session::{Access, Session};
use super::signals::with_signals;
use super::{App, print, print_object};
use crate::adapters::journal_file::StoredRun;
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::cli::{DeployGoal, Output, PolicyFlags};
use crate::deploy::{Executor, StopRequest};
use crate::model::image::{Image, ImageReference};
use crate::observation::Observation;
use crate::plan::{Goal, LbQuorum, Plan, RunKind, Target};
use crate::ports::{ContainerEngine, EngineError, WallClock};
use crate::run::event::{Event, EventKind, Reporter};
use crate::run::history::{self, Revision};
use crate::run::outcome::Outcome;
use crate::site::wait::wait_with_ticks;
use crate::topology::Topology;

/// The interval of the messages about a registry that has not answered yet.
const SILENCE: Duration = Duration::from_secs(5);

/// Returns an image by its tag, as people know it, or by its digest if it has no tag.
fn by_tag(reference: &str) -> String {
    match reference.parse::<ImageReference>() {
        Ok(image) if image.tag.is_some() => ImageReference { digest: None, ..image }.to_string(),
        Ok(_) | Err(_) => reference.to_owned(),
    }
}

impl App {
    pub(super) async fn plan(
        &self,
        goal: &DeployGoal,
        flags: &PolicyFlags,
        exit_code: bool,
        save: Option<&Path>,
    ) -> Result<Exit, Error> {
        self.settings.described()?;
        let session = self.open(Access::Plan, from_ref(&goal.backend)).await?;
        let target = self.target(goal, &session).await?;
        let goal = self.goal(&goal.backend, RunKind::Deploy, target, flags);
        let (observation, topology) = self.observe_for(&session, &goal).await?;
        let plan = self.plan_on(&session, &observation, &topology, &goal).await?;
        match (save, &goal.target) {
            (Some(path), Target::Everywhere(image)) => {
                self.save(&plan, self.plan_basis(&session, image.clone(), &observation, &plan), path)?;
            }
            (_, Target::Everywhere(_) | Target::Each(_) | Target::Unknown) => self.show(&plan)?,
        }
        self.warn_of_unfinished(&goal.backend, &session.site.identity);
        Ok(if exit_code && !plan.is_empty() { Exit::Pending } else { Exit::Done })
    }

    pub(super) async fn deploy(&self, asked: &DeployGoal, flags: &PolicyFlags) -> Result<Exit, Error> {
        self.events()?;
        self.settings.described()?;
        let session = self.open(Access::Change, from_ref(&asked.backend)).await?;
        let locked = self.lock(session, &asked.backend).await?;
        let decide = async |locked: &LockedSession| {
            self.refuse_unfinished(locked).await?;
            let target = self.target(asked, &locked.session).await?;
            let goal = self.goal(&asked.backend, RunKind::Deploy, target, flags);
            let plan = self.plan_for(&locked.session, &goal).await?;
            let touched = plan.backends();
            Ok((plan, touched))
        };
        let (locked, plan) = self.lock_and_plan(locked, decide).await?;
        with_signals(async |stop| self.execute(&locked, &plan, stop).await).await
    }

    pub(super) async fn rollback(
        &self,
        backend: &str,
        to: Option<&str>,
        flags: &PolicyFlags,
        dry_run: bool,
    ) -> Result<Exit, Error> {
        if !dry_run {
            self.events()?;
        }
        let session = self.open(Access::Change, &[backend.to_owned()]).await?;
        let locked = self.lock(session, backend).await?;
        if let Err(Error::Unfinished { .. }) = self.refuse_unfinished(&locked).await {
            let policy = self.settings.policy(flags);
            return Box::pin(self.roll_back_unfinished(locked, policy, dry_run)).await;
        }
        let decide = async |locked: &LockedSession| {
            self.refuse_unfinished(locked).await?;
            let former = self.revision(&locked.held, to)?;
            let target = Target::Each(former.servers);
            let goal = self.goal(backend, RunKind::Rollback, target, flags);
            let goal = Goal { takes_back: former.takes_back, ..goal };
            let plan = self.plan_for(&locked.session, &goal).await?;
            let touched = plan.backends();
            Ok((plan, touched))
        };
        let (locked, plan) = self.lock_and_plan(locked, decide).await?;
        if dry_run {
            self.show(&plan)?;
            return Ok(Exit::Done);
        }
        with_signals(async |stop| self.execute(&locked, &plan, stop).await).await
    }

    /// Returns the revision of `--to`, or else the one before the current one.
    fn revision(&self, held: &BackendLock, to: Option<&str>) -> Result<Revision, Error> {
        let backend = held.backend();
        let mut revisions = history::revisions(held.runs().map(|stored| &stored.run)).into_iter();
        let former = match to {
            Some(to) => revisions.find(|former| former.matches(to)),
            None => revisions.next(),
        };
        if let Some(former) = former {
            return Ok(former);
        }
        let is_meant = |stored: &&StoredRun| to.is_some_and(|to| stored.run.plan.run.0 == to);
        if let Some(foreign) = held.foreign().iter().find(is_meant) {
            return Err(self.foreign_run(foreign));
        }
        self.note_foreign(backend, held.foreign());
        Err(match to {
            Some(to) => Error::RevisionNotFound {
                backend: backend.to_owned(),
                to: to.to_owned(),
                history: self.typed.command(&["history", backend]),
            },
            None => Error::NothingToRollBack { backend: backend.to_owned() },
        })
    }

    /// Returns the image of `--image`, or else that of the service's description.
    async fn target(&self, asked: &DeployGoal, session: &Session) -> Result<Target, Error> {
        let site = &session.site;
        let no_image = || Error::NoImage { backend: asked.backend.clone() };
        let described = || site.descriptions.get(&asked.backend)?.image.as_ref();
        let reference = asked.image.as_ref().or_else(described).ok_or_else(no_image)?;
        let error = match self.resolve(site.engines.first()?, reference).await {
            Ok(image) => return Ok(Target::Everywhere(image)),
            Err(error) => error,
        };
        // A registry may refuse an image that it does not have: it does not tell strangers which images exist.
        if !matches!(error, EngineError::NoSuchImage { .. } | EngineError::Registry { .. }) {
            return Err(error.into());
        }
        let runs = self.running_images(&asked.backend, session).await;
        let nearest = nearest_image(reference, &runs).map(|image| image.to_string());
        if nearest.is_none() && matches!(error, EngineError::Registry { .. }) {
            return Err(error.into());
        }
        Err(Error::NoSuchImage { error, backend: asked.backend.clone(), nearest, runs })
    }

    /// Resolves a reference to an image. Prints a message at intervals while the registry does not answer.
    pub(super) async fn resolve(
        &self,
        engine: &impl ContainerEngine,
        reference: &ImageReference,
    ) -> Result<Image, EngineError> {
        let mut seconds = 0;
        wait_with_ticks(SILENCE, engine.resolve(reference), || {
            seconds += SILENCE.as_secs();
            self.note(&format!("waiting for the registry to resolve {reference} ({seconds} s)"));
        })
        .await
    }

    /// Returns the images of the containers behind a backend, or none if they cannot be seen now.
    async fn running_images(&self, backend: &str, session: &Session) -> Vec<String> {
        let looked = self.observe(session, LbQuorum::Reachable).await;
        let Ok((_, topology)) = looked else { return Vec::new() };
        let servers = topology.backend(backend).into_iter().flat_map(|backend| &backend.servers);
        let images = servers.filter_map(|server| Some(by_tag(&server.container()?.image_reference)));
        images.collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(super) fn goal(&self, backend: &str, purpose: RunKind, target: Target, flags: &PolicyFlags) -> Goal {
        let hooks = self.settings.hooks.keys().copied().collect();
        Goal { hooks, ..Goal::new(backend, purpose, target, self.settings.policy(flags)) }
    }

    pub(super) async fn plan_for(&self, session: &Session, goal: &Goal) -> Result<Plan, Error> {
        let (observation, topology) = self.observe_for(session, goal).await?;
        self.plan_on(session, &observation, &topology, goal).await
    }

    /// Observes everything that the plan of a goal depends on.
    pub(super) async fn observe_for(
        &self,
        session: &Session,
        goal: &Goal,
    ) -> Result<(Observation, Topology), Error> {
        let Session { site, .. } = session;
        known_scope(session.configuration(), &goal.backend, &goal.policy.scope)?;
        let past = self.past_runs(&site.identity)?;
        Ok(site.observe_for(session.configuration(), &self.settings.places, goal, past).await?)
    }

    /// Plans a goal, unless a run of another site needs the same servers or containers.
    pub(super) async fn plan_on(
        &self,
        Session { site, .. }: &Session,
        observation: &Observation,
        topology: &Topology,
        goal: &Goal,
    ) -> Result<Plan, Error> {
        let plan = site.plan(topology, observation, goal).await?;
        self.refuse_foreign(&plan, &site.identity)?;
        Ok(plan)
    }

    pub(super) fn show(&self, plan: &Plan) -> Result<(), Error> {
        match self.output {
            Output::Text => print(&plan.to_string()),
            Output::Json => {
                let plan = plan.without_secrets();
                print_object(&plan)
            }
        }
    }

    pub(super) async fn execute(
        &self,
        locked: &LockedSession,
        plan: &Plan,
        stop: StopRequest,
    ) -> Result<Exit, Error> {
        let LockedSession { session, held } = locked;
        let site = &session.site;
        let mut listener = self.listener()?;
        if plan.is_empty() {
            let outcome = Outcome::Unchanged { rest: plan.rest.clone() };
            let ended = EventKind::RunEnded { outcome, took_ms: 0, own_ms: None };
            let warned = plan.warnings.iter().map(|message| EventKind::Warned { message: message.clone() });
            for kind in warned.chain([ended]) {
                let (version, at) = (crate::run::event::VERSION, site.clock.now());
                listener.report(&Event { version, at, run: plan.run.clone(), lane: None, kind });
            }
            return Ok(Exit::Done);
        }
        let mut journal = held.dir.create(&plan.run)?;
        listener.add(held.dir.events(&plan.run));
        let mut samples = held.dir.events(&plan.run);
        let run = Executor::new(plan, site, &mut journal, stop, &mut listener)?;
        let run = tokio::select! {
            run = Box::pin(run.run()) => run,
            never = sample(site, plan, &mut samples) => match never {},
        };
        Ok((&run?).into())
    }
}
