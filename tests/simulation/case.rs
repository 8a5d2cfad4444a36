//! A simulated case: a site, a seed and faults, and the code that plays it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drainswap::adapters::memory::{
    Fault, Haproxy, Memory, MemoryClock, MemoryEngine, MemoryHaproxy, MemoryHooks, MemoryProber, Part,
    SimulatedSite, When,
};
use drainswap::cfg::Configuration;
use drainswap::deploy::{Executor, StopRequest, Tracked};
use drainswap::model::command_line::CommandLine;
use drainswap::model::ids::ServerId;
use drainswap::model::image::ImageReference;
use drainswap::observation::{Container, Observation, RestartPolicy};
use drainswap::plan::recover::Towards;
use drainswap::plan::scope::Scope;
use drainswap::plan::{Goal, Plan, Policy, RollbackTarget, RunKind, Target, build};
use drainswap::run::event::{Event, EventKind, Reporter};
use drainswap::run::history::left_out;
use drainswap::run::journal::{Record, Run, line};
use drainswap::run::outcome::Outcome;
use drainswap::site::Site;
use drainswap::site::engines::Engines;
use drainswap::site::observe::ObserveError;
use drainswap::topology::Topology;
use drainswap::topology::places::Places;

use crate::judge::{Judge, SharedJudge};
use crate::person;
use crate::scenario::{Request, Scenario, image};

/// A case to play.
#[derive(Clone, Debug)]
pub struct Case {
    /// The site.
    pub scenario: Scenario,
    /// The seed of all random decisions.
    pub seed: u64,
    /// The faults, each at its call.
    pub faults: Vec<(When, Fault)>,
}

/// Formats the case for a replay: `pair/1/17=Reload/stop.1=DiesAfter`, with the second fault at the second call of
/// `stop`.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.scenario.name, self.seed)?;
        self.faults.iter().try_for_each(|(when, fault)| match when {
            When::Call(call) => write!(f, "/{call}={fault:?}"),
            When::Nth(name, before) => write!(f, "/{name}.{before}={fault:?}"),
        })
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        let scenario = Scenario::named(parts.next().unwrap_or_default());
        let seed =
            parts.next().and_then(|seed| seed.parse().ok()).ok_or("a case is SCENARIO/SEED/CALL=FAULT/…")?;
        let fault = |text: &str| {
            let (call, name) = text.split_once('=').ok_or_else(|| format!("{text} is not CALL=FAULT"))?;
            let fault = Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name);
            let number = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
            let when = match call.split_once('.') {
                Some((call, before)) => When::Nth(call.to_owned(), number(before)?),
                None => When::Call(number(call)?),
            };
            Ok::<_, String>((when, fault.ok_or_else(|| format!("there is no fault {name}"))?))
        };
        Ok(Self { scenario, seed, faults: parts.map(fault).collect::<Result<_, _>>()? })
    }
}

/// The result of a case.
pub struct Verdict {
    /// The calls of the first deploy.
    pub calls: Vec<(Part, &'static str)>,
    /// The number of deploys and resumes.
    pub runs: usize,
    /// The simulated time in milliseconds.
    pub simulated: u64,
    /// The violated rules.
    pub violations: Vec<String>,
    /// The outcome of the last run, if it finished.
    pub outcome: Option<Outcome>,
    /// The warnings for the operator.
    pub told: Vec<String>,
    /// The story of the case, if requested.
    pub story: Vec<String>,
}

type MemoryWorld = Site<MemoryHaproxy, MemoryEngine, MemoryProber, MemoryClock, MemoryHooks>;

/// Collects the warnings for the operator, including outages.
#[derive(Default)]
struct Warnings(Vec<String>);

impl Reporter for Warnings {
    fn report(&mut self, event: &Event) {
        if let EventKind::Warned { message } = &event.kind {
            self.0.push(message.clone());
        }
        if let EventKind::OutageBegan { backend, .. } = &event.kind {
            self.0.push(format!("an outage of {backend} began"));
        }
        if let EventKind::OutageEnded { backend, .. } = &event.kind {
            self.0.push(format!("an outage of {backend} ended"));
        }
    }
}

/// The end of an attempt by the process under test.
enum End {
    /// The process died.
    Died,
    /// The run failed before it opened its journal.
    NotBegun(String),
    /// The run finished.
    Outcome(Outcome),
}

/// The maximum number of resumes and retries.
const TRIES: usize = 6;

impl Case {
    /// Returns whether a stuck run is resumed. In all other cases, the operator types the printed commands.
    fn resumes_stuck(&self) -> bool {
        self.seed.is_multiple_of(2)
    }

    /// Plays the case on a paused clock.
    pub fn play(&self, with_story: bool) -> Verdict {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(self.play_out(with_story))
    }

    async fn play_out(&self, with_story: bool) -> Verdict {
        let configuration = self.scenario.configuration();
        let memory = self.scenario.site(&configuration, self.seed);
        let judge = Arc::new(Mutex::new(Judge::new(self, &memory.site())));
        // Some requests are already in flight at the start.
        pass(Duration::from_millis(300)).await;
        {
            let mut site = memory.site();
            site.story = with_story.then(Vec::new);
            site.watch(SharedJudge(Arc::clone(&judge)));
            site.plan_faults(&self.faults);
        }
        let mut play = Play {
            case: self,
            configuration,
            memory: memory.clone(),
            judge: Arc::clone(&judge),
            runs: 0,
            image: "mobile:v2".parse().expect("a reference"),
            scope: None,
            kept: kept(&memory.site()),
            past: Vec::new(),
        };
        play.deploy_and_resume().await;
        play.plan_again().await;
        // All checks have run, and delayed effects have happened.
        pass(Duration::from_secs(2)).await;
        {
            let mut site = memory.site();
            judge.lock().expect("a judge").at_the_end(&site);
            // The final state must stay the same by itself.
            site.close();
        }
        pass(Duration::from_secs(60)).await;
        let site = memory.site();
        let mut judge = judge.lock().expect("a judge");
        judge.a_minute_later(&site);
        Verdict {
            calls: judge.calls.clone(),
            runs: play.runs,
            simulated: site.now,
            violations: judge.violations.clone(),
            outcome: judge.outcome.clone(),
            told: judge.warnings.clone(),
            story: site.story.clone().unwrap_or_default(),
        }
    }
}

struct Play<'a> {
    case: &'a Case,
    configuration: Configuration,
    memory: Memory,
    judge: Arc<Mutex<Judge>>,
    runs: usize,
    /// The image to deploy.
    image: ImageReference,
    /// The servers to work on, if printed commands name them.
    scope: Option<Scope>,
    /// The target of a rollback, by server.
    kept: BTreeMap<ServerId, RollbackTarget>,
    /// The runs before the one in the journal.
    past: Vec<Run>,
}

impl Play<'_> {
    async fn deploy_and_resume(&mut self) {
        let mut end = self.attempt(None).await;
        let calls = self.memory.site().calls.clone();
        self.judge.lock().expect("a judge").calls = calls;
        for _ in 0..TRIES {
            let unfinished = self.unfinished();
            match (end, &unfinished) {
                (End::NotBegun(_) | End::Died, None) => return,
                (End::Outcome(Outcome::Stuck { .. }), None) if self.case.resumes_stuck() => {
                    return self.resume_stuck().await;
                }
                (End::Outcome(outcome), None) => return self.ended(outcome).await,
                (End::Outcome(outcome), Some(_)) => {
                    self.judge.lock().expect("a judge").left_open(&self.memory.site(), &outcome);
                }
                (End::Died | End::NotBegun(_), Some(_)) => {}
            }
            // The operator repairs the outages and inspects the result.
            self.recover().await;
            end = self.attempt(unfinished).await;
        }
        self.judge
            .lock()
            .expect("a judge")
            .violations
            .push("it was never finished, however often it was resumed".to_owned());
    }

    /// Resumes a stuck run after all faults are repaired; it must finish.
    async fn resume_stuck(&mut self) {
        self.recover().await;
        self.memory.site().plan_faults(&[]);
        let stuck = self.recorded();
        match self.attempt(stuck).await {
            End::Outcome(outcome) => {
                if matches!(outcome, Outcome::Stuck { .. }) {
                    self.judge.lock().expect("a judge").stuck_again(&outcome);
                }
                self.ended(outcome).await;
            }
            // All started lanes are finished; the rest has no capacity at the moment.
            End::NotBegun(_) if self.unfinished().is_none() => {}
            End::NotBegun(why) => {
                let violation = format!("a run that got stuck is not resumed: {why}");
                self.judge.lock().expect("a judge").violations.push(violation);
            }
            End::Died => {}
        }
    }

    /// Returns the unfinished run in the journal, if there is one.
    fn unfinished(&mut self) -> Option<Run> {
        let is_over = matches!(self.memory.site().journal.last(), None | Some(Record::Closed { .. }));
        if is_over { None } else { self.recorded() }
    }

    /// Returns the run in the journal, parsed from its bytes.
    fn recorded(&mut self) -> Option<Run> {
        let site = self.memory.site();
        let mut bytes: Vec<u8> =
            site.journal.iter().flat_map(|record| line(record).expect("a record")).collect();
        // The last record may be incomplete.
        bytes.extend(b"{\"record\":\"be");
        let read = Run::read(&bytes);
        if let Err(corrupt) = &read {
            let violation = format!("the journal is not understood: {corrupt}");
            self.judge.lock().expect("a judge").violations.push(violation);
        }
        read.ok().flatten()
    }

    /// Deploys, or resumes an unfinished run, until the process finishes or dies.
    async fn attempt(&mut self, unfinished: Option<Run>) -> End {
        self.runs += 1;
        self.memory.site().stops = <[_; 2]>::default();
        let memory = self.memory.clone();
        tokio::select! {
            biased;
            () = memory.death() => End::Died,
            end = self.run(unfinished) => end,
        }
    }

    fn world(&self) -> MemoryWorld {
        let memory = &self.memory;
        Site {
            load_balancers: memory.load_balancers().into_iter().map(Tracked::new).collect(),
            engines: Engines::new(vec![(String::new(), memory.engine())]),
            prober: memory.prober(),
            clock: memory.clock(),
            hooks: memory.hooks(),
            descriptions: self.case.scenario.descriptions(),
            typed: CommandLine::default(),
            identity: drainswap::run::journal::SiteIdentity::default(),
        }
    }

    /// Observes the site and combines it with the journals.
    async fn look(&mut self, world: &MemoryWorld) -> Result<(Observation, Topology), ObserveError> {
        let last = self.recorded();
        let runs = || self.past.iter().chain(&last);
        let known = runs().map(|run| run.plan.run.clone()).collect();
        let quorum = self.case.scenario.policy().lb_quorum;
        let (observation, topology) = world.observe(&self.configuration, &Places::default(), quorum).await?;
        let left_out = left_out(runs());
        Ok((Observation { left_out, known_runs: known, ..observation }, topology))
    }

    async fn plan(&mut self, world: &MemoryWorld) -> Result<Plan, String> {
        let (observation, topology) = self.look(world).await.map_err(|error| error.to_string())?;
        let draft = build::build(&topology, &observation, &self.goal());
        // The engine in memory does not know the defaults of an image that it has not pulled.
        draft.map(|draft| draft.finish(BTreeMap::new())).map_err(|refusals| format!("{refusals:?}"))
    }

    /// Checks that a new plan has nothing left to do.
    async fn plan_again(&mut self) {
        self.memory.site().plan_faults(&[]);
        self.recover().await;
        let world = self.world();
        let plan = self.plan(&world).await.ok();
        self.judge.lock().expect("a judge").planned_again(plan.as_ref());
    }

    async fn run(&mut self, unfinished: Option<Run>) -> End {
        let memory = self.memory.clone();
        let world = self.world();
        if let Some(unfinished) = unfinished {
            let end = self.recover_run(&world, &unfinished).await;
            let is_enough = self.case.scenario.request() == Request::DeployOrUndo;
            if is_enough || !matches!(end, End::Outcome(Outcome::Cancelled { .. })) {
                return end;
            }
        }
        let plan = match self.plan(&world).await {
            Ok(plan) => plan,
            Err(why) => return End::NotBegun(why),
        };
        if plan.is_empty() {
            return End::Outcome(Outcome::Unchanged { rest: plan.rest });
        }
        let waves = if self.case.scenario.is_one_wave() { vec![plan.lanes.len()] } else { plan.waves };
        let plan = Plan { waves, ..plan };
        let last = self.recorded();
        self.past.extend(last);
        memory.site().journal.clear();
        self.judge.lock().expect("a judge").begin(&plan);
        let mut warnings = Warnings::default();
        let (mut journal, stop) = (memory.journal(), self.stop());
        let run = Executor::new(&plan, &world, &mut journal, stop, &mut warnings).expect("its engines");
        let result = Box::pin(run.run()).await;
        self.judge.lock().expect("a judge").warnings.extend(warnings.0);
        match result {
            Ok(outcome) => End::Outcome(outcome),
            Err(untouched) => End::NotBegun(untouched.to_string()),
        }
    }

    /// Brings an unfinished run to an end, as `resume` does.
    async fn recover_run(&mut self, world: &MemoryWorld, unfinished: &Run) -> End {
        let quorum = unfinished.plan.goal.policy.lb_quorum;
        let seen = match world.observe(&self.configuration, &Places::default(), quorum).await {
            Ok((observation, _)) => observation,
            Err(error) => return End::NotBegun(error.to_string()),
        };
        let plan = unfinished.plan.resumed(&seen.load_balancers, unfinished.plan.goal.policy.clone());
        self.judge.lock().expect("a judge").resume(unfinished);
        let mut warnings = Warnings::default();
        let (mut journal, stop) = (self.memory.journal(), self.stop());
        let run = Executor::new(&plan, world, &mut journal, stop, &mut warnings).expect("its engines");
        let towards = match self.case.scenario.request() {
            Request::DeployOrUndo => Towards::Undo,
            Request::Deploy | Request::Rollback => Towards::Finish,
        };
        let outcome = Box::pin(run.recover(unfinished, towards)).await;
        self.judge.lock().expect("a judge").warnings.extend(warnings.0);
        End::Outcome(outcome)
    }

    async fn recover(&self) {
        pass(Duration::from_secs(2)).await;
        self.memory.site().recover();
    }

    fn stop(&self) -> StopRequest {
        let [asked, now] = self.memory.site().stops.clone();
        StopRequest { asked, now }
    }

    fn goal(&self) -> Goal {
        let (purpose, target) = match self.case.scenario.request() {
            Request::Rollback => (RunKind::Rollback, Target::Each(self.kept.clone())),
            Request::Deploy | Request::DeployOrUndo => {
                let image = image(self.image.tag.as_deref().unwrap_or_default());
                (RunKind::Deploy, Target::Everywhere(image))
            }
        };
        let policy = self.scope.clone().map_or_else(
            || self.case.scenario.policy(),
            |scope| Policy { scope, ..self.case.scenario.policy() },
        );
        Goal {
            parallel: self.case.scenario.parallel(),
            hooks: Scenario::hooks(),
            ..Goal::new("mobile", purpose, target, policy)
        }
    }

    /// Runs a printed deploy command: its image, and optionally the servers to enable.
    async fn deploy(&mut self, words: &str) -> Result<(), String> {
        let (image, only) = match words.split_once(" --enable --only ") {
            Some((image, only)) => (image, only.split(',').map(str::to_owned).collect()),
            None => (words, BTreeSet::new()),
        };
        self.image = image.parse().map_err(|error| format!("{error}"))?;
        self.scope = (!only.is_empty()).then(|| Scope { only, enable: true, ..Scope::default() });
        let mut refusal = String::new();
        for _ in 0..TRIES {
            match Box::pin(self.attempt(None)).await {
                End::Outcome(Outcome::Deployed { .. }) => return Ok(()),
                End::Outcome(Outcome::RolledBack { reason, .. }) if reason.contains("Try again") => {
                    refusal = reason;
                }
                End::Outcome(outcome) => return Err(outcome.to_string()),
                // A lack of capacity ends soon.
                End::NotBegun(why) => refusal = why,
                End::Died => return Err("it died".to_owned()),
            }
            pass(Duration::from_secs(1)).await;
        }
        Err(refusal)
    }

    /// Handles the end of a run whose journal has the outcome.
    async fn ended(&mut self, outcome: Outcome) {
        if let Outcome::Stuck { servers, .. } = &outcome {
            // The operator runs the printed commands after all faults are repaired.
            self.recover().await;
            self.memory.site().plan_faults(&[]);
            for command in servers.iter().flat_map(|stranded| &stranded.commands) {
                let done = match command.strip_prefix("drainswap deploy mobile --image ") {
                    Some(words) => self.deploy(words).await,
                    None => person::types(&self.memory, command).await,
                };
                if let Err(error) = done
                    && !self.judge.lock().expect("a judge").is_in_the_way()
                    && self.case.scenario.new_is_good()
                {
                    let violation = format!("`{command}`, which was printed, fails: {error}");
                    self.judge.lock().expect("a judge").violations.push(violation);
                }
            }
            self.scope = None;
        }
        self.judge.lock().expect("a judge").outcome = Some(outcome);
    }
}

/// Returns the kept containers, by the servers with their addresses.
fn kept(site: &SimulatedSite) -> BTreeMap<ServerId, RollbackTarget> {
    let lines = site.haproxies.iter().flat_map(Haproxy::workers).flat_map(|worker| &worker.lines);
    let kept = lines.filter_map(|line| {
        let mut there = site.engine.containers.iter().filter(|it| it.address() == Some(line.address));
        let place = there.find(|it| it.container.name.contains(".old-"))?;
        let restart = RestartPolicy { name: "unless-stopped".to_owned(), maximum_retries: 0 };
        let container = Some(Container { restart, ..place.container.clone() });
        Some((line.id.clone(), RollbackTarget { image: image("v2"), container, engine: String::new() }))
    });
    kept.collect()
}

/// Lets the simulated time pass.
#[expect(clippy::disallowed_methods, reason = "the clock is paused")]
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
