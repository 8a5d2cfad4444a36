//! plan, deploy, rollback.

use std::collections::BTreeSet;
use std::path::Path;
use std::slice::from_ref;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::look::{RealWorld, require_admin};
use super::sampler::sample;
use super::{App, known_backend, print};
use crate::adapters::events_file::EventsFile;
use crate::adapters::journal_file::{BackendDir, JournalFile, Lock, LockError, StoredRun};
use crate::cfg::Configuration;
use crate::cli::{DeployGoal, Output, PolicyFlags};
use crate::deploy::wait::{Waited, until};
use crate::deploy::{Deploy, Stop};
use crate::error::Error;
use crate::event::{Event, Fact, Listener};
use crate::exit::Exit;
use crate::history;
use crate::ids::RunId;
use crate::observation::Observation;
use crate::outcome::Outcome;
use crate::plan::undo::{Care, undo};
use crate::plan::{Goal, Plan, Policy, Purpose, Target, Worker, build};
use crate::ports::{ContainerEngine, WallClock};
use crate::topology::Topology;

/// How often another run's lock is tried.
pub(super) const LOCK_EVERY: Duration = Duration::from_secs(1);

impl App {
    pub(super) async fn plan(
        &self,
        goal: &DeployGoal,
        flags: &PolicyFlags,
        exit_code: bool,
        save: Option<&Path>,
    ) -> Result<Exit, Error> {
        self.settings.described()?;
        let (configuration, load_balancers) = self.load_balancers().await?;
        known_backend(&configuration, &goal.backend)?;
        let world = self.world(&configuration, from_ref(&goal.backend), load_balancers).await?;
        let target = self.target(goal, &world).await?;
        let goal = self.goal(&goal.backend, Purpose::Deploy, target, flags);
        let (observation, topology) = self.look_for(&configuration, &world, &goal).await?;
        let plan = self.build(&world, &observation, &topology, &goal).await?;
        match (save, &goal.target) {
            (Some(path), Target::Everywhere(image)) => {
                self.save(&plan, self.basis(image.clone(), &observation, &plan)?, path)?;
            }
            (_, Target::Everywhere(_) | Target::Each(_)) => self.show(&plan)?,
        }
        self.warn_of_unfinished(&goal.backend)?;
        Ok(if exit_code && !plan.is_empty() { Exit::Pending } else { Exit::Done })
    }

    pub(super) async fn deploy(&self, asked: &DeployGoal, flags: &PolicyFlags) -> Result<Exit, Error> {
        self.events()?;
        self.settings.described()?;
        let (configuration, load_balancers) = self.load_balancers().await?;
        known_backend(&configuration, &asked.backend)?;
        require_admin(&load_balancers).await?;
        let world = self.world(&configuration, from_ref(&asked.backend), load_balancers).await?;
        let held = self.hold(&asked.backend, &world).await?;
        held.refuse_unfinished()?;
        let target = self.target(asked, &world).await?;
        let goal = self.goal(&asked.backend, Purpose::Deploy, target, flags);
        let plan = self.plan_for(&configuration, &world, &goal).await?;
        self.execute(&world, &plan, &held).await
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
        let (configuration, load_balancers) = self.load_balancers().await?;
        known_backend(&configuration, backend)?;
        require_admin(&load_balancers).await?;
        let world = self.world(&configuration, &[backend.to_owned()], load_balancers).await?;
        let held = self.hold(backend, &world).await?;
        if let Some(unfinished) = held.unfinished() {
            let policy = self.settings.policy(flags);
            return self.take_back(&configuration, &world, (&held, unfinished), policy, dry_run).await;
        }
        let mut formers = history::formers(held.runs.iter().map(|stored| &stored.run)).into_iter();
        let former = match to {
            Some(to) => formers.find(|former| former.is_meant(to)),
            None => formers.next(),
        };
        let former = former.ok_or_else(|| match to {
            Some(to) => Error::NothingSuchToRollBackTo { backend: backend.to_owned(), to: to.to_owned() },
            None => Error::NothingToRollBack { backend: backend.to_owned() },
        })?;
        let target = Target::Each(former.servers);
        let goal = self.goal(backend, Purpose::Rollback, target, flags);
        let goal = Goal { takes_back: former.takes_back, ..goal };
        let plan = self.plan_for(&configuration, &world, &goal).await?;
        if dry_run {
            self.show(&plan)?;
            return Ok(Exit::Done);
        }
        self.execute(&world, &plan, &held).await
    }

    /// The image that was asked for, or that the service is described with.
    async fn target(&self, asked: &DeployGoal, world: &RealWorld) -> Result<Target, Error> {
        let no_image = || Error::NoImage { backend: asked.backend.clone() };
        let described = || world.descriptions.get(&asked.backend)?.image.as_ref();
        let reference = asked.image.as_ref().or_else(described).ok_or_else(no_image)?;
        Ok(Target::Everywhere(world.engines.first()?.resolve(reference).await?))
    }

    pub(super) fn goal(&self, backend: &str, purpose: Purpose, target: Target, flags: &PolicyFlags) -> Goal {
        let policy: Policy = self.settings.policy(flags);
        Goal {
            backend: backend.to_owned(),
            purpose,
            target,
            takes_back: Vec::new(),
            policy,
            hooks: self.settings.hooks.keys().copied().collect(),
        }
    }

    pub(super) async fn plan_for(
        &self,
        configuration: &Configuration,
        world: &RealWorld,
        goal: &Goal,
    ) -> Result<Plan, Error> {
        let (observation, topology) = self.look_for(configuration, world, goal).await?;
        self.build(world, &observation, &topology, goal).await
    }

    /// One look at what a goal is planned on.
    pub(super) async fn look_for(
        &self,
        configuration: &Configuration,
        world: &RealWorld,
        goal: &Goal,
    ) -> Result<(Observation, Topology), Error> {
        let (mut observation, topology) = self.observe(configuration, world, goal.policy.lb_quorum).await?;
        if goal.purpose == Purpose::Deploy {
            let asked = topology.backends.iter().filter(|backend| backend.name == goal.backend);
            observation.drift = world.drift(asked).await?;
        }
        Ok((observation, topology))
    }

    /// The plan for a goal, with what every new container would have otherwise.
    pub(super) async fn build(
        &self,
        world: &RealWorld,
        observation: &Observation,
        topology: &Topology,
        goal: &Goal,
    ) -> Result<Plan, Error> {
        let mut plan = build::build(topology, observation, goal).map_err(Error::Refused)?;
        let run = plan.run.clone();
        for replacement in plan.lanes.iter_mut().filter_map(|lane| lane.replacement.as_mut()) {
            if replacement.returning.is_none() {
                let engine = world.engines.of(&replacement.like)?;
                let recipe = replacement.recipe(&run, world.descriptions.get(&goal.backend));
                replacement.changes = engine.changes(&recipe).await?;
            }
        }
        Ok(plan)
    }

    pub(super) fn show(&self, plan: &Plan) -> Result<(), Error> {
        match self.output {
            Output::Text => print(&plan.to_string()),
            Output::Json => {
                let plan = plan.without_secrets();
                print(&format!("{}\n", serde_json::to_string(&plan).map_err(std::io::Error::other)?))
            }
        }
    }

    pub(super) async fn execute(&self, world: &RealWorld, plan: &Plan, held: &Held) -> Result<Exit, Error> {
        let mut listener = self.listener()?;
        if plan.is_empty() {
            let ended = Fact::RunEnded { outcome: Outcome::Unchanged, took_ms: 0, own_ms: None };
            let warned = plan.warnings.iter().map(|message| Fact::Warned { message: message.clone() });
            for fact in warned.chain([ended]) {
                let (version, at) = (crate::event::VERSION, world.clock.now());
                listener.hear(&Event { version, at, run: plan.run.clone(), fact });
            }
            return Ok(Exit::Done);
        }
        let _others = self.hold_others(plan, held, world)?;
        let mut journal = held.dir.create(&plan.run)?;
        listener.add(held.events(&plan.run));
        let mut samples = held.events(&plan.run);
        let stop = Stop::default();
        let signals = tokio::spawn(signals(stop.clone()));
        let run = tokio::select! {
            run = Deploy::new(plan, world, &mut journal, stop, &mut listener).run() => run,
            never = sample(world, plan, &mut samples) => match never {},
        };
        signals.abort();
        let outcome = run?;
        Ok(self.conclude(&outcome, &journal))
    }

    pub(super) async fn take_back(
        &self,
        configuration: &Configuration,
        world: &RealWorld,
        (held, unfinished): (&Held, &StoredRun),
        policy: Policy,
        dry_run: bool,
    ) -> Result<Exit, Error> {
        let (seen, _) = self.observe(configuration, world, policy.lb_quorum).await?;
        // The process that runs now is the one whose sessions count, and the limits are those asked for now.
        let plan = Plan {
            workers: seen.load_balancers.iter().map(Worker::of).collect(),
            policy,
            ..unfinished.run.plan.clone()
        };
        if unfinished.run.was_removing() {
            self.say(&format!("run {} had succeeded, and only had old containers to remove: that is finished now. Roll back once more to go back", plan.run))?;
        } else {
            self.say(&format!("run {} was not finished; what it had begun is taken back:", plan.run))?;
            for (lane, begun) in &unfinished.run.begun {
                let steps = undo(&plan.lanes[*lane], begun, Care::Serving);
                let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
                self.say(&format!("  {}: {}", plan.lanes[*lane].name(), steps.join(", ")))?;
            }
        }
        if dry_run {
            return Ok(Exit::Done);
        }
        let _others = self.hold_others(&plan, held, world)?;
        let mut journal = unfinished.reopen()?;
        let mut listener = self.listener()?;
        listener.add(held.events(&plan.run));
        // Nobody's wish to stop interrupts it: half taken back is worse than either.
        let signals = tokio::spawn(signals(Stop::default()));
        let run = Deploy::new(&plan, world, &mut journal, Stop::default(), &mut listener);
        let outcome = run.take_back(&unfinished.run).await;
        signals.abort();
        match &outcome {
            // Taking back was what was asked for.
            Outcome::RolledBack { kept, .. } if kept.is_empty() => Ok(Exit::Done),
            Outcome::Cancelled { .. } => Ok(Exit::Done),
            Outcome::RolledBack { .. }
            | Outcome::Unchanged
            | Outcome::Deployed { .. }
            | Outcome::Skipped
            | Outcome::Refused { .. }
            | Outcome::Stuck { .. } => Ok(self.conclude(&outcome, &journal)),
        }
    }

    pub(super) fn conclude(&self, outcome: &Outcome, journal: &JournalFile) -> Exit {
        if matches!(outcome, Outcome::Stuck { .. }) {
            // How the run ended counts, whether or not somebody still listens.
            let _gone = self.say(&format!("the journal of this run is {}", journal.path().display()));
        }
        outcome.into()
    }

    /// Takes a backend for this process, as soon as nobody else has it or the wait for that is over.
    pub(super) async fn hold(&self, backend: &str, world: &RealWorld) -> Result<Held, Error> {
        let dir = BackendDir::new(&self.settings.state_dir, backend);
        let lock = self.lock(&dir, backend, world).await?;
        let runs = self.runs_in(&dir)?;
        Ok(Held { backend: backend.to_owned(), dir, runs, _lock: lock })
    }

    async fn lock(&self, dir: &BackendDir, backend: &str, world: &RealWorld) -> Result<Lock, Error> {
        let limit = self.settings.lock_wait;
        let mut busy = None;
        let nobody_stops_it = CancellationToken::new();
        let waited =
            until(LOCK_EVERY, limit, &nobody_stops_it, async || match dir.lock(backend, &now(world)) {
                Err(error @ LockError::Busy { .. }) => {
                    if busy.is_none() && !limit.is_zero() {
                        self.say(&format!("waiting {} s at most: {error}", limit.as_secs()))?;
                    }
                    busy = Some(error);
                    Ok(None)
                }
                result => Ok::<_, Error>(Some(result?)),
            });
        let waited = waited.await?;
        match (waited, busy) {
            (Waited::Done(lock), _) => Ok(lock),
            (Waited::TimedOut | Waited::Stopped, Some(busy)) => Err(busy.into()),
            (Waited::TimedOut | Waited::Stopped, None) => Ok(dir.lock(backend, &now(world))?),
        }
    }

    /// The same for who only tidies up; nothing where a run on it is not finished, or its containers are needed.
    pub(super) async fn hold_idle(&self, backend: &str, world: &RealWorld) -> Result<Option<Held>, Error> {
        let held = self.hold(backend, world).await?;
        let is_stuck =
            held.runs.last().is_some_and(|it| matches!(it.run.outcome, Some(Outcome::Stuck { .. })));
        Ok(Some(held).filter(|held| held.unfinished().is_none() && !is_stuck))
    }

    /// The other backends that the plan touches: a container behind both must not be replaced twice at once.
    pub(super) fn hold_others(
        &self,
        plan: &Plan,
        held: &Held,
        world: &RealWorld,
    ) -> Result<Vec<Lock>, Error> {
        let others = plan.backends().into_iter().filter(|backend| *backend != held.backend);
        let lock = |backend: String| {
            let since = now(world);
            BackendDir::new(&self.settings.state_dir, &backend).lock(&backend, &since).map_err(Error::from)
        };
        let locks = others.map(lock).collect::<Result<_, _>>()?;
        // A run on another backend that was killed may hold servers of this one.
        for other in BackendDir::all(&self.settings.state_dir)? {
            let Some(stored) = self.runs_in(&other)?.pop() else { continue };
            let shares = stored.run.plan.backends().iter().any(|backend| plan.backends().contains(backend));
            if stored.run.outcome.is_none() && shares && stored.run.plan.run != plan.run {
                return Err(unfinished(&stored.run.plan.backend, &stored));
            }
        }
        Ok(locks)
    }
}

/// A backend that this process works on.
pub(super) struct Held {
    backend: String,
    dir: BackendDir,
    runs: Vec<StoredRun>,
    _lock: Lock,
}

impl Held {
    /// The runs that are known here, the oldest first.
    pub(super) fn runs(&self) -> impl Iterator<Item = &StoredRun> {
        self.runs.iter()
    }

    /// The names of the containers that runs have replaced here.
    pub(super) fn containers(&self) -> BTreeSet<&str> {
        let lanes = self.runs.iter().flat_map(|stored| &stored.run.plan.lanes);
        lanes.filter_map(|lane| Some(lane.replacement.as_ref()?.name.as_str())).collect()
    }

    /// Where the events of one of its runs are kept.
    pub(super) fn events(&self, run: &RunId) -> EventsFile {
        self.dir.events(run)
    }

    pub(super) fn unfinished(&self) -> Option<&StoredRun> {
        self.runs.last().filter(|stored| stored.run.outcome.is_none())
    }

    pub(super) fn refuse_unfinished(&self) -> Result<(), Error> {
        self.unfinished().map_or(Ok(()), |stored| Err(unfinished(&self.backend, stored)))
    }
}

pub(super) fn unfinished(backend: &str, stored: &StoredRun) -> Error {
    Error::Unfinished {
        run: stored.run.plan.run.to_string(),
        backend: backend.to_owned(),
        pid: stored.run.pid,
        path: stored.path.display().to_string(),
    }
}

/// For the lock: since when it is held.
fn now(world: &RealWorld) -> String {
    world.clock.now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Turns the first SIGINT or SIGTERM into «stop at the next safe point», the second into «now». SIGHUP, which
/// a lost ssh session sends, is ignored: a deploy is seen through, and its journal tells how it ended.
pub(super) async fn signals(stop: Stop) {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(_ignored)] = kinds.map(signal) else { return };
    for token in [&stop.asked, &stop.now] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        token.cancel();
    }
    // Further ones are swallowed: what is being taken back must not be cut short.
    std::future::pending::<()>().await;
}
