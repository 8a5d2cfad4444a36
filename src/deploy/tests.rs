//! Cases that only a specially prepared site shows. The simulation of whole deploys covers everything else.

mod addresses;
mod by_hand;
mod containers;
mod failed_over;
mod in_traffic;
mod lanes;
mod moves;
mod own_checks;
mod undone;

use std::time::Duration;

use super::balancers::BalancerStates;
use super::recovery::LaneUndo;
use super::*;
use crate::adapters::memory::{
    Fault, ImageBehavior, Memory, MemoryClock, MemoryEngine, MemoryHaproxy, MemoryHooks, MemoryJournal,
    MemoryProber, Part, When,
};
use crate::model::command_line::CommandLine;
use crate::model::image::Image;
use crate::observation::{AdminState, ContainerState};
use crate::plan::rest::Rest;
use crate::plan::{Goal, LbQuorum, RunKind, Target};
use crate::ports::LoadBalancerError;
use crate::run::event::Event;
use crate::site::engines::Engines;
use crate::testing::{World, image};
use crate::topology::places::Places;

type Run<'a> =
    Executor<'a, MemoryHaproxy, MemoryEngine, MemoryProber, MemoryClock, MemoryHooks, MemoryJournal>;

/// Collects every event of a run.
#[derive(Default)]
struct Heard(Vec<EventKind>);

impl Heard {
    /// Returns the messages of all warnings.
    fn warnings(&self) -> Vec<String> {
        let warned = |fact: &EventKind| {
            if let EventKind::Warned { message } = fact { Some(message.clone()) } else { None }
        };
        self.0.iter().filter_map(warned).collect()
    }
}

impl Reporter for Heard {
    fn report(&mut self, event: &Event) {
        self.0.push(event.kind.clone());
    }
}

/// Lets a lane have begun these steps.
fn has_begun(run: &Run<'_>, lane: usize, steps: &[Step]) {
    let mut progress = run.ledger.progress().clone();
    progress.begun.insert(lane, steps.to_vec());
    run.ledger.continue_from(progress);
}

/// Lets a lane have created this container.
fn has_created(run: &Run<'_>, lane: usize, container: ContainerId) {
    let mut progress = run.ledger.progress().clone();
    progress.created.insert(lane, container);
    run.ledger.continue_from(progress);
}

/// A site, and the plan for a deploy of v2 to it.
struct Stage {
    memory: Memory,
    world: Site<MemoryHaproxy, MemoryEngine, MemoryProber, MemoryClock, MemoryHooks>,
    journal: MemoryJournal,
    plan: Plan,
    heard: Heard,
}

impl Stage {
    /// One primary and its backup.
    async fn pair() -> Self {
        Self::of(World::pair()).await
    }

    async fn of(described: World) -> Self {
        Self::with_builds(described, &[]).await
    }

    /// Does the same, with containers of these images behaving as given.
    async fn with_builds(described: World, builds: &[(&str, ImageBehavior)]) -> Self {
        let World { configuration, policy, .. } = described;
        let memory = Memory::new(&configuration, 1, &image("v1"), 1);
        for (tag, build) in builds {
            let Image::Registry { digest, .. } = image(tag) else { unreachable!("a registry's image") };
            memory.site().engine.builds.insert(digest, *build);
        }
        let world = Site {
            load_balancers: memory.load_balancers().into_iter().map(Tracked::new).collect(),
            engines: Engines::new(vec![(String::new(), memory.engine())]),
            prober: memory.prober(),
            clock: memory.clock(),
            hooks: memory.hooks(),
            descriptions: BTreeMap::new(),
            typed: CommandLine::default(),
            identity: journal::SiteIdentity::default(),
        };
        let goal = Goal::new("mobile", RunKind::Deploy, Target::Everywhere(image("v2")), policy);
        let seen = world.observe(&configuration, &Places::default(), LbQuorum::All).await;
        let (observation, topology) = seen.unwrap();
        let plan = world.plan(&topology, &observation, &goal).await.unwrap();
        Self { journal: memory.journal(), memory, world, plan, heard: Heard::default() }
    }

    /// Injects a fault into the call with this name, after `before` such calls.
    fn suffers(&self, call: &str, before: usize, fault: Fault) {
        self.memory.site().plan_faults(&[(When::Nth(call.to_owned(), before), fault)]);
    }

    /// Returns the names of the running containers.
    fn running(&self) -> Vec<String> {
        let site = self.memory.site();
        let all = site.engine.containers.iter().map(|place| &place.container);
        all.filter(|it| it.state == ContainerState::Running).map(|it| it.name.clone()).collect()
    }

    fn run(&mut self) -> Run<'_> {
        let [asked, now] = self.memory.site().stops.clone();
        let stop = StopRequest { asked, now };
        Executor::new(&self.plan, &self.world, &mut self.journal, stop, &mut self.heard).unwrap()
    }
}

/// A manually edited journal may name steps for which its lane has nothing.
#[tokio::test(start_paused = true)]
async fn steps_for_missing_containers_do_nothing() {
    let mut stage = Stage::pair().await;
    stage.plan.lanes[0].replacement = None;
    stage.memory.site().calls.clear();
    let run = stage.run();
    for step in [Step::Create, Step::Stop, Step::Start, Step::Remove, Step::Discard, Step::Return] {
        assert_eq!(run.apply_unguarded(0, step).await, Ok(()), "{step:?}");
    }
    assert_eq!(stage.memory.site().calls, []);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_needs_an_unknown_engine_does_not_begin() {
    let mut stage = Stage::pair().await;
    stage.plan.lanes[1].replacement.as_mut().unwrap().like.engine = "ssh://app2".to_owned();
    let (plan, world) = (&stage.plan, &stage.world);
    let run = Executor::new(plan, world, &mut stage.journal, StopRequest::default(), &mut stage.heard);
    assert!(matches!(run.err(), Some(EngineError::Unreachable { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_plan_without_hooks_runs_none() {
    let mut stage = Stage::pair().await;
    stage.memory.site().hook = |facts| Some(i32::from(facts.hook != HookPoint::AfterRun));
    let outcome = stage.run().run().await.unwrap();
    assert_eq!(
        outcome,
        Outcome::Deployed { replaced: 2, put_back: 0, skipped: Vec::new(), rest: Rest::default() }
    );
    let hooks = stage.memory.site().calls.iter().filter(|(part, _)| *part == Part::Hook).count();
    assert_eq!(hooks, 1, "the last one is asked for when it is due");
}

fn replacement(stage: &mut Stage) -> &mut Replacement {
    stage.plan.lanes[0].replacement.as_mut().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_any_container_is_created_changes_nothing() {
    for pulls in [true, false] {
        let mut stage = Stage::pair().await;
        stage.plan.images.retain(|_| pulls);
        stage.suffers("append", 0, Fault::Stop);
        let outcome = stage.run().run().await.unwrap();
        let remaining = vec![ServerId::new("mobile", "app1"), ServerId::new("mobile", "app1b")];
        assert_eq!(
            outcome,
            Outcome::Cancelled {
                replaced: Vec::new(),
                remaining,
                left_out: Vec::new(),
                rest: Rest::default()
            }
        );
        let site = stage.memory.site();
        assert!(site.calls.iter().all(|(part, _)| *part == Part::Journal), "{:?}", site.calls);
    }
}

/// Replaces the first lane's container: the new one serves, and the old one is kept.
async fn replace_first(run: &Run<'_>) {
    run.create_all().await.unwrap();
    for step in [Step::Drain, Step::Maint, Step::Stop, Step::Start, Step::Prove, Step::Ready] {
        run.run_step(0, step).await.unwrap();
    }
}

/// Returns whether `HAProxy` refused the command.
fn is_refusal(done: &Result<(), StepError>) -> bool {
    matches!(done, Err(StepError::LoadBalancer { error: LoadBalancerError::Refused { .. } }))
}

/// Stops the backup's container, and marks its server down in `HAProxy`.
fn backup_goes_down(memory: &Memory) {
    let mut site = memory.site();
    let line = &mut site.haproxies[0].worker.as_mut().unwrap().lines[1];
    (line.up, line.health) = (false, 0);
    let all = site.engine.containers.iter_mut();
    let backup = all.map(|it| &mut it.container).find(|it| it.name == "mobile-app1b").unwrap();
    backup.state = ContainerState::Stopped;
}

/// Drains the first server until the backup has been down long enough for an outage. Returns how the drain ended.
async fn drained_into_an_outage(run: &Run<'_>, memory: &Memory) -> Result<(), StepError> {
    run.at(0).direction.set(Direction::Undo { needs_all: false });
    run.drain(0).await.unwrap();
    backup_goes_down(memory);
    // The server never stays idle for this long.
    let limit = Duration::from_secs(600);
    run.until_idle(0, AdminState::Drain, limit, limit).await
}

/// One call is one command line to `HAProxy`, or one probe of the container.
#[tokio::test(start_paused = true)]
async fn a_thousand_lines_of_one_container_cost_the_calls_of_one() {
    let config = "backend mobile\n    server app1 127.0.0.1:50000\n    server app2 127.0.0.2:50000\n\
                  backend many\n    server app1 127.0.0.1:50000\n    server app2 127.0.0.2:50000\n";
    let few = calls_of_a_deploy(config).await;
    let more = (3..1_002).map(|line| format!("    server app{line} 127.0.0.1:50000\n"));
    let many = calls_of_a_deploy(&more.fold(config.to_owned(), |config, line| config + &line)).await;
    assert_eq!(many, few);
    assert_eq!(few["set state"], 6, "drain, maint and ready of two containers");
}

/// Returns how many commands and probes a deploy, including the plan's first look, sends.
async fn calls_of_a_deploy(config: &str) -> BTreeMap<&'static str, usize> {
    let mut stage = Stage::of(World::of(config)).await;
    let outcome = stage.run().run().await;
    assert!(matches!(outcome, Ok(Outcome::Deployed { replaced: 2, .. })), "{outcome:?}");
    let mut calls = BTreeMap::new();
    for (_, call) in
        stage.memory.site().calls.iter().filter(|(_, call)| ["set state", "probe"].contains(call))
    {
        *calls.entry(*call).or_default() += 1;
    }
    calls
}
