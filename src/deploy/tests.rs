//! Cases that only a specially prepared site shows. The simulation of whole deploys covers everything else.

use std::time::Duration;

use super::balancers::BalancerStates;
use super::recovery::LaneUndo;
use super::*;
use crate::adapters::memory::{
    Fault, ImageBehavior, ImageCheck, Memory, MemoryClock, MemoryEngine, MemoryHaproxy, MemoryHooks,
    MemoryJournal, MemoryProber, Part, ServerLine, When,
};
use crate::model::command_line::CommandLine;
use crate::model::image::Image;
use crate::observation::{AdminState, Container, ContainerState, Owner, RestartPolicy, UnnamedVolume};
use crate::plan::before::Before;
use crate::plan::refusal::Refusal;
use crate::plan::rest::Rest;
use crate::plan::undo::UndoMode;
use crate::plan::{Goal, LbQuorum, OnDrainTimeout, RunKind, Target, build};
use crate::ports::LoadBalancerError;
use crate::run::engine_call::EngineCall;
use crate::run::event::Event;
use crate::site::engines::Engines;
use crate::site::late;
use crate::testing::{World, image};
use crate::topology::own_check::OwnCheck;
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
        self.0.push(event.fact.clone());
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

/// Two servers with `HAProxy` checks.
const CHECKED: &str = "
backend mobile
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.1:50001 check
";

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
        let goal = Goal {
            backend: "mobile".to_owned(),
            purpose: RunKind::Deploy,
            target: Target::Everywhere(image("v2")),
            takes_back: Vec::new(),
            policy,
            parallel: 1,
            hooks: Vec::new(),
        };
        let seen = world.observe(&configuration, &Places::default(), LbQuorum::All).await;
        let (observation, topology) = seen.unwrap();
        let plan = build::build(&topology, &observation, &goal).unwrap();
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

/// Otherwise its sessions would be counted as zero.
#[tokio::test(start_paused = true)]
async fn a_server_that_no_longer_exists_in_haproxy_is_not_idle() {
    let mut stage = Stage::pair().await;
    let run = stage.run();
    let mut seen = run.refresh(0).await.unwrap();
    assert!(run.sessions(0, &seen).is_err(), "the server is in ready");
    seen.all[0].servers.retain(|server| server.id.server != "app1");
    let vanished = StepError::Vanished { server: ServerId::new("mobile", "app1") };
    assert_eq!(run.sessions(0, &seen), Err(vanished.clone()));
    assert_eq!(run.take_out_again(0, &seen, AdminState::Drain).await, Err(vanished));
    let BalancerStates { all, is_new } = seen;
    assert!(!is_new && all.len() == 1);
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

#[tokio::test(start_paused = true)]
async fn an_image_kept_alone_is_tagged_before_its_container_is_removed() {
    let mut stage = Stage::pair().await;
    let image = stage.memory.site().engine.containers[0].container.image.clone();
    let replacement = replacement(&mut stage);
    replacement.old.as_mut().unwrap().owner = Some(Owner::Compose("shop".to_owned()));
    stage.plan.lanes[0].steps.push(Step::Remove);
    stage.plan.policy.keep = 1;
    assert!(matches!(stage.run().run().await, Ok(Outcome::Deployed { replaced: 2, .. })));
    let site = stage.memory.site();
    let tags: Vec<_> = site.engine.tags.iter().collect();
    assert_eq!(tags, [(&"drainswap/mobile:app1-previous".to_owned(), &image)]);
    let names: Vec<_> = site.engine.containers.iter().map(|it| it.container.name.as_str()).collect();
    assert!(names.iter().all(|name| !name.starts_with("mobile-app1.old-")), "{names:?}");
    let order = |what: &str| site.calls.iter().position(|(_, call)| *call == what);
    assert!(order("tag") < order("remove"), "{:?}", site.calls);
}

/// Deploys to two servers whose agents report `says`, with a floor of 0.
async fn with_agents_that_say(says: AdminState, change: impl FnOnce(&mut Stage)) -> Outcome {
    let config = "
backend mobile
    default-server inter 200ms agent-check agent-port 9000
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.1:50001 check backup
";
    let mut described = World::of(config);
    described.policy.floor = 0;
    let mut stage = Stage::of(described).await;
    change(&mut stage);
    for haproxy in &mut stage.memory.site().haproxies {
        let lines = haproxy.worker.iter_mut().flat_map(|worker| &mut worker.lines);
        lines.filter_map(|line| line.agent.as_mut()).for_each(|agent| agent.says = says);
    }
    stage.run().run().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn servers_kept_out_by_agents_are_named_and_not_rolled_back() {
    for state in [AdminState::Drain, AdminState::Maint] {
        let outcome = with_agents_that_say(state, |_| {}).await;
        let Outcome::Deployed { replaced: 2, rest, .. } = outcome else { panic!("{outcome:?}") };
        let out: Vec<_> =
            rest.out_of_service.iter().map(|it| (it.server.server.as_str(), it.state)).collect();
        assert_eq!(out, [("app1", state), ("app1b", state)]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_does_not_excuse_what_only_a_check_can_prove() {
    let own_checked = |stage: &mut Stage| {
        for line in stage.plan.lanes.iter_mut().flat_map(|lane| &mut lane.servers) {
            let within = Duration::from_secs(1);
            line.own_check = Some(OwnCheck { why: "option redis-check".to_owned(), within, tracks: None });
        }
    };
    let outcome = with_agents_that_say(AdminState::Maint, own_checked).await;
    assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome:?}");
}

/// Returns how the wait for a server that only `HAProxy`'s check can bring up fails after `limit` milliseconds.
async fn confirmed_never(limit: u64, change: impl FnOnce(&mut Stage)) -> StepError {
    let mut stage = Stage::of(World::of(CHECKED)).await;
    stage.plan.policy.ready_timeout = Duration::from_millis(limit);
    let line = &mut stage.plan.lanes[0].servers[0];
    line.own_check =
        Some(OwnCheck { why: "option redis-check".to_owned(), within: Duration::ZERO, tracks: None });
    change(&mut stage);
    let run = stage.run();
    run.set(0, &[(ServerId::new("mobile", "app1"), AdminState::Maint)]).await.unwrap();
    run.confirm(0).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_poll_cut_off_by_the_limit_keeps_the_last_result() {
    let cut = async |limit, fault| confirmed_never(limit, |stage| stage.suffers("look", 4, fault)).await;
    let slow = cut(1_000, Fault::Slow).await;
    assert!(matches!(slow, StepError::CheckNeverPassed { .. }), "{slow:?}");
    let silent = cut(8_000, Fault::Away(60_000)).await;
    assert!(matches!(silent, StepError::StateUnknown { .. }), "{silent:?}");
}

/// Returns the commands for the operator to restore the first lane after it has begun these steps.
async fn told(begun: &[Step], change: impl FnOnce(&mut Stage)) -> Vec<String> {
    let mut stage = Stage::pair().await;
    change(&mut stage);
    let created = stage.plan.lanes[0].replacement.as_ref().unwrap().returning.is_none();
    let run = stage.run();
    if created {
        has_created(&run, 0, ContainerId("c0ffee".repeat(8)));
    }
    has_begun(&run, 0, begun);
    run.recovery_commands(0).await
}

fn replacement(stage: &mut Stage) -> &mut Replacement {
    stage.plan.lanes[0].replacement.as_mut().unwrap()
}

/// Adds the new container to the engine.
fn with_new(stage: &mut Stage) {
    let mut site = stage.memory.site();
    let mut new = site.engine.containers[0].clone();
    new.container.id = ContainerId("c0ffee".repeat(8));
    "mobile-app1.new".clone_into(&mut new.container.name);
    site.engine.containers.push(new);
}

#[tokio::test(start_paused = true)]
async fn the_commands_for_the_operator_are_only_those_still_needed() {
    assert_eq!(told(&[Step::Drain], |_| {}).await, ["drainswap ready mobile/app1"]);
    let back = [
        "drainswap maint --floor 0 --wait mobile/app1",
        "docker update --restart unless-stopped 9e3779b97f4a",
        "docker start 9e3779b97f4a",
        "drainswap ready --wait mobile/app1",
    ];
    assert_eq!(told(&[Step::Stop], |_| {}).await, back, "the new one is gone, and the old one has its name");
    let not_restarted = |stage: &mut Stage| {
        with_new(stage);
        replacement(stage).old.as_mut().unwrap().restart.name.clear();
    };
    let (remove, never) = ("docker rm -f c0ffeec0ffee", "docker update --restart no 9e3779b97f4a");
    assert_eq!(told(&[Step::Stop], not_restarted).await, [back[0], remove, never, back[2], back[3]]);
    let renamed = |stage: &mut Stage| {
        "mobile-app1.old".clone_into(&mut stage.memory.site().engine.containers[0].container.name);
    };
    let rename = "docker rename 9e3779b97f4a mobile-app1";
    assert_eq!(told(&[Step::Stop], renamed).await, [back[0], rename, back[1], back[2], back[3]]);
    let was_gone = |stage: &mut Stage| replacement(stage).old = None;
    assert_eq!(told(&[Step::Start], was_gone).await, [back[0]], "it stays out, as it was");
    // A server that was out of service by hand gets that state back.
    let stays = |state| move |stage: &mut Stage| stage.plan.lanes[0].servers[0].stays = Some(state);
    assert_eq!(told(&[Step::Drain], stays(AdminState::Drain)).await, ["drainswap drain mobile/app1"]);
    assert_eq!(told(&[Step::Stop], stays(AdminState::Maint)).await, back[..3]);
    assert_eq!(told(&[Step::Stop], stays(AdminState::Drain)).await[3], "drainswap drain mobile/app1");
}

#[tokio::test(start_paused = true)]
async fn commands_tolerate_finished_work_if_the_engine_is_silent() {
    let silent = |stage: &mut Stage| {
        stage.suffers("list", 0, Fault::Unheard);
    };
    let told = told(&[Step::Stop], silent).await;
    assert_eq!(told[1..3], ["docker rm -f c0ffeec0ffee", "docker rename 9e3779b97f4a mobile-app1 || true"]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_came_back_is_put_aside_again_by_hand() {
    let returning = |stage: &mut Stage| {
        let place = stage.memory.site().engine.containers[1].container.clone();
        let kept = Container { name: "mobile-app1.old-20261101T000000.000Z".to_owned(), ..place };
        replacement(stage).returning = Some(kept);
    };
    let told = told(&[Step::Stop, Step::Start], returning).await;
    let aside = [
        "docker update --restart no 3c6ef372fe94",
        "docker stop 3c6ef372fe94",
        "docker rename 3c6ef372fe94 mobile-app1.old-20261101T000000.000Z",
    ];
    assert_eq!(told[1..4], aside);
}

#[tokio::test(start_paused = true)]
async fn an_old_container_that_is_gone_is_deployed_again() {
    let removed = |stage: &mut Stage| {
        with_new(stage);
        stage.memory.site().engine.containers.remove(0);
    };
    let image = format!("registry.example.org/mobile:v1@sha256:{}", "1".repeat(64));
    let again = format!("drainswap deploy mobile --image {image}");
    // The deploy copies the new container, which has the place's own settings, and not a sibling.
    let (rename, restart) = ("docker rename c0ffeec0ffee mobile-app1", "docker update --restart");
    let unless_stopped = format!("{restart} unless-stopped c0ffeec0ffee");
    assert_eq!(told(&[Step::Stop], removed).await[1..], [rename, &*unless_stopped, &*again]);
    let started = |stage: &mut Stage| {
        removed(stage);
        "mobile-app1"
            .clone_into(&mut stage.memory.site().engine.containers.last_mut().unwrap().container.name);
        let like = &mut replacement(stage).like;
        like.restart = RestartPolicy { name: "on-failure".to_owned(), maximum_retries: 3 };
    };
    let on_failure = format!("{restart} on-failure:3 c0ffeec0ffee");
    assert_eq!(told(&[Step::Stop, Step::Start], started).await[1..], [on_failure, again.clone()]);
    let both_removed = |stage: &mut Stage| {
        stage.memory.site().engine.containers.remove(0);
    };
    assert_eq!(told(&[Step::Stop], both_removed).await[1..], [again]);
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

#[tokio::test(start_paused = true)]
async fn every_image_is_pulled_once() {
    let mut stage = Stage::pair().await;
    stage.plan.images.push(image("v3"));
    stage.plan.lanes[1].replacement.as_mut().unwrap().image = image("v3");
    assert!(matches!(stage.run().run().await, Ok(Outcome::Deployed { replaced: 2, .. })));
    for image in [image("v2"), image("v3")] {
        let is_pulled =
            |fact: &EventKind| matches!(fact, EventKind::Pulled { image: it, .. } if *it == image);
        assert_eq!(stage.heard.0.iter().filter(|fact| is_pulled(fact)).count(), 1, "{image}");
    }
    let site = stage.memory.site();
    let runs = |name: &str| site.engine.containers.iter().find(|it| it.container.name == name).unwrap();
    assert_eq!(runs("mobile-app1b").container.running_image().pinned(), image("v3").pinned());
}

/// Neither run saw the other when it checked.
#[tokio::test(start_paused = true)]
async fn one_of_two_concurrent_runs_gives_way_and_leaves_nothing() {
    let mut stage = Stage::pair().await;
    let other = "mobile-app1.new-20261101T000000.000Z";
    stage.memory.site().engine.add_kept(other, "127.0.0.1:50000".parse().unwrap(), &image("v2"));
    let Err(PreflightError(failure)) = stage.run().run().await else { panic!("it ran") };
    let server = ServerId::new("mobile", "app1");
    assert_eq!(failure, StepError::Refused(Refusal::ConcurrentRun { server, container: other.to_owned() }));
    let left =
        stage.memory.site().engine.containers.iter().map(|it| it.container.name.clone()).collect::<Vec<_>>();
    assert_eq!(left, ["mobile-app1", "mobile-app1b", other]);
}

#[tokio::test(start_paused = true)]
async fn a_kept_container_that_runs_again_is_not_removed() {
    let mut stage = Stage::pair().await;
    let kept = "mobile-app1.old-20261101T000000.000Z";
    {
        let mut site = stage.memory.site();
        site.engine.add_kept(kept, "127.0.0.9:9".parse().unwrap(), &image("v1"));
        let place = site.engine.containers.last_mut().unwrap();
        stage.plan.lanes[0].replacement.as_mut().unwrap().outdated.push(place.container.clone());
        place.container.state = ContainerState::Running;
    }
    assert!(matches!(stage.run().run().await, Ok(Outcome::Deployed { replaced: 2, .. })));
    assert_eq!(stage.running(), [kept, "mobile-app1", "mobile-app1b"]);
    let message = format!("{kept} is running, so it is not removed");
    assert!(stage.heard.0.contains(&EventKind::Warned { message }));
}

/// On the host network, the engine lets both run at once.
#[tokio::test(start_paused = true)]
async fn a_restarted_old_container_is_named_as_the_cause() {
    let digest = format!("sha256:{}", "2".repeat(64));
    for build in [
        ImageBehavior { ends: Some(5), ..ImageBehavior::default() },
        ImageBehavior { serves: false, ..ImageBehavior::default() },
    ] {
        let mut stage = Stage::pair().await;
        stage.memory.site().engine.builds.insert(digest.clone(), build);
        let memory = stage.memory.clone();
        let run = stage.run();
        run.create_all().await.unwrap();
        for step in [Step::Drain, Step::Maint, Step::Stop, Step::Start] {
            run.run_step(0, step).await.unwrap();
        }
        start_again_elsewhere(&memory);
        let (server, container) = (ServerId::new("mobile", "app1"), "mobile-app1".to_owned());
        assert_eq!(
            run.apply_unguarded(0, Step::Prove).await,
            Err(StepError::OldRestarted { server, container })
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_container_that_runs_beside_the_new_one_is_named_at_the_end() {
    let mut stage = Stage::pair().await;
    let memory = stage.memory.clone();
    let run = stage.run();
    replace_first(&run).await;
    run.warn_of_restarted(&[0]).await;
    start_again_elsewhere(&memory);
    run.remove_old_containers(&[0]).await;
    let message = format!(
        "the old container mobile-app1.old-{} of mobile/app1 was stopped and runs again: a supervisor (systemd, supervisord, another deploy tool) restarts it. It is not removed: take it out of that supervisor, then stop it",
        stage.plan.run
    );
    assert_eq!(stage.heard.warnings(), [message], "it is reported once");
}

/// Starts the first lane's old container as a supervisor would, with another address.
fn start_again_elsewhere(memory: &Memory) {
    let mut site = memory.site();
    let old = &mut site.engine.containers[0].container;
    assert!(old.name.starts_with("mobile-app1.old-"), "{}", old.name);
    (old.state, old.published[0].port) = (ContainerState::Running, 50_900);
}

/// A server without an address cannot be probed.
#[tokio::test(start_paused = true)]
async fn a_server_without_a_probe_may_take_over() {
    let mut stage = Stage::pair().await;
    stage.plan.probes.clear();
    stage.memory.site().calls.clear();
    assert_eq!(stage.run().verify(0).await, Ok(()));
    let carriers = vec![ServerId::new("mobile", "app1b")];
    assert!(stage.heard.0.contains(&EventKind::Verified { carriers }));
    assert!(stage.memory.site().calls.iter().all(|(part, _)| *part != Part::Server));
}

/// Replaces the first lane's container: the new one serves, and the old one is kept.
async fn replace_first(run: &Run<'_>) {
    run.create_all().await.unwrap();
    for step in [Step::Drain, Step::Maint, Step::Stop, Step::Start, Step::Prove, Step::Ready] {
        run.run_step(0, step).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_on_a_failed_container_do_not_keep_it() {
    let mut stage = Stage::pair().await;
    stage.plan.policy.drain_timeout = Duration::from_millis(1);
    let run = stage.run();
    replace_first(&run).await;
    assert!(matches!(run.undo_lane(0, UndoMode::Immediate).await, Ok(LaneUndo::Undone)));
    assert_eq!(stage.running(), ["mobile-app1", "mobile-app1b"]);
    assert_eq!(stage.heard.0.last(), Some(&EventKind::Undone { servers: stage.plan.lanes[0].ids() }));
}

/// Without a master socket, sessions in the old process cannot be counted; those of a failed container are lost either
/// way.
#[tokio::test(start_paused = true)]
async fn a_failed_container_is_undone_in_whatever_process_answers() {
    let mut stage = Stage::pair().await;
    stage.memory.site().haproxies[0].has_master = false;
    let memory = stage.memory.clone();
    let run = stage.run();
    replace_first(&run).await;
    memory.site().plan_faults(&[(When::Nth("look".to_owned(), 3), Fault::Reload)]);
    assert!(matches!(run.undo_lane(0, UndoMode::Immediate).await, Ok(LaneUndo::Undone)));
    assert_eq!(stage.running(), ["mobile-app1", "mobile-app1b"]);
    let site = stage.memory.site();
    assert!(site.haproxies[0].worker.as_ref().unwrap().lines.iter().all(ServerLine::is_usable));
}

/// There is no server to put back, but its container is restored.
#[tokio::test(start_paused = true)]
async fn a_server_removed_by_a_reload_does_not_leave_the_run_stuck() {
    for left in ["app1b", "nothing"] {
        let mut stage = Stage::pair().await;
        let memory = stage.memory.clone();
        let run = stage.run();
        replace_first(&run).await;
        memory.site().reload(0);
        memory.site().haproxies[0].worker.as_mut().unwrap().lines.retain(|line| line.id.server == left);
        let vanished = run.until_idle(0, AdminState::Drain, Duration::ZERO, Duration::from_secs(1)).await;
        assert!(vanished.is_err(), "{vanished:?}");
        for care in [UndoMode::Immediate, UndoMode::Graceful] {
            let taken = run.undo_lane(0, care).await;
            assert!(matches!(taken, Ok(LaneUndo::Undone)), "{left} {care:?}");
        }
        assert_eq!(stage.running(), ["mobile-app1", "mobile-app1b"]);
    }
}

/// Changes the lines of this server in the process that answers.
fn set_line(stage: &Stage, server: &str, change: impl Fn(&mut ServerLine)) {
    let mut site = stage.memory.site();
    let worker = site.haproxies[0].worker.as_mut().unwrap();
    worker.lines.iter_mut().filter(|line| line.id.server == server).for_each(change);
}

/// Returns whether `HAProxy` refused the command.
fn is_refusal(done: &Result<(), StepError>) -> bool {
    matches!(done, Err(StepError::LoadBalancer(LoadBalancerError::Refused { .. })))
}

#[tokio::test(start_paused = true)]
async fn no_server_leaves_in_a_new_process_that_cannot_spare_it() {
    let mut stage = Stage::pair().await;
    stage.memory.site().reload(0);
    set_line(&stage, "app1b", |line| line.admin = AdminState::Maint.bits());
    let run = stage.run();
    assert!(matches!(run.drain(0).await, Err(StepError::Refused(Refusal::Floor { .. }))));
    let seen = run.refresh(0).await.unwrap();
    let again = run.take_out_again(0, &seen, AdminState::Drain).await;
    assert!(matches!(again, Err(StepError::Refused(Refusal::Floor { .. }))));
    let site = stage.memory.site();
    assert!(site.haproxies[0].worker.as_ref().unwrap().lines[0].is_usable());
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_cannot_be_repaired_ends_the_wait() {
    let mut stage = Stage::pair().await;
    let memory = stage.memory.clone();
    let run = stage.run();
    run.drain(0).await.unwrap();
    memory.site().reload(0);
    memory.site().plan_faults(&[(When::Nth("set state".to_owned(), 0), Fault::Refused)]);
    assert!(is_refusal(&run.await_idle(0).await));
}

#[tokio::test(start_paused = true)]
async fn a_forced_drain_restores_maint_after_a_reload() {
    let mut stage = Stage::pair().await;
    stage.plan.policy.on_drain_timeout = OnDrainTimeout::Force;
    let memory = stage.memory.clone();
    let app1 = || {
        let site = memory.site();
        site.haproxies[0].worker.as_ref().unwrap().lines[0].admin.state()
    };
    let run = stage.run();
    run.maint(0).await.unwrap();
    assert_eq!((run.recheck_idle(0).await, app1()), (Ok(()), AdminState::Maint));
    memory.site().reload(0);
    assert_eq!(app1(), AdminState::Ready);
    assert_eq!((run.recheck_idle(0).await, app1()), (Ok(()), AdminState::Maint));
    memory.site().plan_faults(&[(When::Nth("look".to_owned(), 0), Fault::Refused)]);
    assert!(is_refusal(&run.recheck_idle(0).await));
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

/// If the other servers go down while a server drains for an undo, it stays: it still serves.
#[tokio::test(start_paused = true)]
async fn a_drain_of_an_undo_ends_where_no_other_server_serves() {
    let mut stage = Stage::pair().await;
    let memory = stage.memory.clone();
    let run = stage.run();
    has_begun(&run, 0, &[Step::Start]);
    let drained = drained_into_an_outage(&run, &memory).await;
    assert!(
        matches!(&drained, Err(StepError::Unserved { backend, .. }) if backend == "mobile"),
        "{drained:?}"
    );
    let taken = run.keep_serving(0, drained.unwrap_err()).await;
    assert!(matches!(taken, Ok(LaneUndo::KeptNew(StepError::Unserved { .. }))));
    let told = |fact: &&EventKind| matches!(fact, EventKind::OutageBegan { after_ms: 2_000..2_100, .. });
    assert_eq!(stage.heard.0.iter().filter(told).count(), 1);
}

/// `HAProxy` answers other connections while a command waits.
#[tokio::test(start_paused = true)]
async fn an_outage_is_reported_while_a_command_waits_for_its_answer() {
    let mut stage = Stage::pair().await;
    stage.suffers("set state", 1, Fault::Slow);
    let memory = stage.memory.clone();
    let run = stage.run();
    run.drain(0).await.unwrap();
    backup_goes_down(&memory);
    let maint = run.apply(0, Step::Maint).await;
    assert!(maint.is_ok(), "{maint:?}");
    let told = |fact: &&EventKind| matches!(fact, EventKind::OutageBegan { after_ms: 2_000..2_300, .. });
    assert_eq!(stage.heard.0.iter().filter(told).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_container_is_stopped_or_started_if_the_lane_has_to_go_back() {
    let mut stage = Stage::pair().await;
    let memory = stage.memory.clone();
    let run = stage.run();
    assert!(drained_into_an_outage(&run, &memory).await.is_err());
    memory.site().calls.clear();
    for step in [Step::Maint, Step::Settle, Step::Stop, Step::Start] {
        assert!(matches!(run.run_hook_and_step(0, step).await, Err(StepError::Unserved { .. })), "{step:?}");
    }
    assert_eq!(memory.site().calls, []);
    // Steps that bring a server back are still allowed.
    for step in [Step::Prove, Step::Ready, Step::Return, Step::PutBack] {
        assert_eq!(run.check_may_begin(0, step), Ok(()), "{step:?}");
    }
}

/// A check that hung reports a server down although its new container serves.
#[tokio::test(start_paused = true)]
async fn a_wrong_check_is_overruled_once() {
    let mut stage = Stage::pair().await;
    let (memory, servers) = (stage.memory.clone(), vec![ServerId::new("mobile", "app1b")]);
    let has_it_down = || {
        let mut site = memory.site();
        let worker = site.haproxies[0].worker.as_mut().unwrap();
        (worker.lines[1].up, worker.lines[1].health) = (false, 0);
    };
    let suffers = |fault| memory.site().plan_faults(&[(When::Nth("set healthy".to_owned(), 0), fault)]);
    let run = stage.run();
    has_begun(&run, 1, &[Step::Confirm]);
    has_it_down();
    suffers(Fault::Refused);
    let seen = run.refresh(0).await.unwrap();
    let mut healed = BTreeSet::new();
    // The server tracks another one, which is checked separately.
    assert_eq!(run.override_stale_check(0, &seen, &mut healed).await, Ok(false));
    assert_eq!(run.override_stale_check(0, &seen, &mut healed).await, Ok(false), "it was tried");
    assert_eq!(memory.site().calls.iter().filter(|(_, call)| *call == "set healthy").count(), 1);
    for wait in [Step::Verify, Step::AwaitIdle] {
        run.set(0, &[(ServerId::new("mobile", "app1"), AdminState::Drain)]).await.unwrap();
        has_it_down();
        suffers(Fault::ReplyLost);
        assert!(matches!(run.apply_unguarded(0, wait).await, Err(StepError::LoadBalancer(_))), "{wait}");
        has_it_down();
        assert_eq!(run.apply_unguarded(0, wait).await, Ok(()), "{wait}");
    }
    let overruled =
        |fact: &&EventKind| matches!(fact, EventKind::CheckOverruled { server } if *server == servers[0]);
    assert_eq!(stage.heard.0.iter().filter(overruled).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_was_silent_is_not_waited_for() {
    let mut stage = Stage::pair().await;
    stage.suffers("glance", 0, Fault::Hangs);
    let run = stage.run();
    run.fleet.mark_stale(&run.site.load_balancers[0].name());
    let begun = Instant::now();
    let error = run.lane_states(0).await.unwrap_err().to_string();
    assert!(error.ends_with("it did not answer before and still does not"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_caught_up_is_queried_once_more() {
    let mut stage = Stage::pair().await;
    stage.suffers("look", 1, Fault::Refused);
    let (name, memory) = (stage.world.load_balancers[0].name(), stage.memory.clone());
    let run = stage.run();
    has_begun(&run, 1, &[Step::Confirm]);
    run.fleet.mark_stale(&name);
    assert!(is_refusal(&run.refresh(0).await.map(drop)));
    assert!(run.fleet.stale().is_empty());
    run.fleet.mark_stale(&name);
    assert!(run.refresh(0).await.is_ok());
    assert_eq!(memory.site().calls.iter().filter(|(_, call)| *call == "look").count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_came_back_is_put_aside_again_or_the_step_fails() {
    for call in ["set the restart policy of", "stop", "rename"] {
        let mut stage = Stage::pair().await;
        let place = stage.memory.site().engine.containers[1].container.clone();
        let kept = Container { name: "mobile-app1.old-20261101T000000.000Z".to_owned(), ..place };
        replacement(&mut stage).returning = Some(kept.clone());
        stage.suffers(call, 0, Fault::Unheard);
        let run = stage.run();
        assert!(matches!(run.apply_unguarded(0, Step::Discard).await, Err(StepError::Engine(_))), "{call}");
        assert_eq!(run.apply_unguarded(0, Step::Discard).await, Ok(()), "{call}");
        assert_eq!(stage.running(), ["mobile-app1"]);
        assert_eq!(stage.memory.site().engine.containers[1].container.name, kept.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_engine_does_not_count_as_done() {
    let mut stage = Stage::pair().await;
    let run = stage.run();
    assert!(run.old_container_restored(0, &[Step::Stop, Step::Start]).await);
    stage.suffers("list", 0, Fault::Away(40_000));
    assert!(!stage.run().old_container_restored(0, &[Step::Stop, Step::Start]).await);
}

/// Without a master socket, the sessions that the old process still sends to a serving container are unknown.
#[tokio::test(start_paused = true)]
async fn a_serving_container_stays_after_a_reload_without_a_master() {
    let mut stage = Stage::pair().await;
    stage.memory.site().haproxies[0].has_master = false;
    let memory = stage.memory.clone();
    let run = stage.run();
    replace_first(&run).await;
    memory.site().plan_faults(&[(When::Nth("look".to_owned(), 3), Fault::Reload)]);
    assert!(matches!(run.undo_lane(0, UndoMode::Graceful).await, Err(StepError::Reloaded { .. })));
    assert!(stage.running().contains(&"mobile-app1".to_owned()));
    assert_eq!(stage.memory.site().engine.containers.len(), 4, "both are there");
}

#[tokio::test(start_paused = true)]
async fn a_guard_retries_a_lost_command() {
    let mut stage = Stage::pair().await;
    let memory = stage.memory.clone();
    let run = stage.run();
    run.create_all().await.unwrap();
    run.maint(0).await.unwrap();
    memory.site().reload(0);
    memory.site().plan_faults(&[(When::Nth("set state".to_owned(), 0), Fault::Unheard)]);
    assert_eq!(run.apply(0, Step::Stop).await, Ok(()));
    let server = ServerId::new("mobile", "app1");
    let message = format!("{server} was put into rotation during the run; it is in maint again");
    assert!(stage.heard.0.contains(&EventKind::Warned { message }));
}

#[tokio::test(start_paused = true)]
async fn a_drain_fails_if_its_timeout_action_fails() {
    for choice in [OnDrainTimeout::Maint, OnDrainTimeout::Shutdown] {
        for (call, before) in [("set state", 0), ("look", 1)] {
            let mut stage = Stage::pair().await;
            stage.plan.policy.on_drain_timeout = choice;
            stage.plan.policy.drain_timeout = Duration::from_millis(1);
            let memory = stage.memory.clone();
            let run = stage.run();
            run.drain(0).await.unwrap();
            memory.site().plan_faults(&[(When::Nth(call.to_owned(), before), Fault::Refused)]);
            assert!(is_refusal(&run.await_idle(0).await), "{choice:?} {call}");
        }
    }
}

/// A run that was killed after it had begun to stop the first lane's container.
fn killed(stage: &Stage) -> journal::Run {
    let begun = BTreeMap::from([(0, vec![Step::Create, Step::Stop])]);
    let mut run = journal::Run::opened(stage.plan.clone(), journal::VERSION, None, 1);
    run.progress.begun = begun;
    run
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_cannot_be_undone_leaves_the_run_stuck() {
    let mut stage = Stage::pair().await;
    let unfinished = killed(&stage);
    stage.suffers("rename", 0, Fault::Away(40_000));
    assert!(matches!(stage.run().roll_back_unfinished(&unfinished).await, Outcome::Stuck { .. }));
    let mut stage = Stage::pair().await;
    stage.suffers("rename", 0, Fault::Away(40_000));
    let run = stage.run();
    run.ledger.continue_from(unfinished.progress);
    assert!(matches!(run.handle_failure(vec![(0, StepError::Stopped)]).await, Outcome::Stuck { .. }));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_pulled_for_a_container_that_comes_back() {
    let mut stage = Stage::pair().await;
    let kept = stage.memory.site().engine.containers[0].container.clone();
    for (returning, pulls) in [(1, 1), (2, 0)] {
        for lane in &mut stage.plan.lanes[..returning] {
            lane.replacement.as_mut().unwrap().returning = Some(kept.clone());
        }
        stage.memory.site().calls.clear();
        assert_eq!(stage.run().pull(&image("v2")).await, Ok(()));
        let pulled = stage.memory.site().calls.iter().filter(|(_, call)| *call == "pull").count();
        assert_eq!(pulled, pulls, "{returning}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_served_is_not_removed_before_it_was_stopped() {
    let mut stage = Stage::pair().await;
    let memory = stage.memory.clone();
    let run = stage.run();
    replace_first(&run).await;
    memory.site().plan_faults(&[(When::Nth("stop".to_owned(), 0), Fault::Unheard)]);
    assert!(matches!(run.apply_unguarded(0, Step::Discard).await, Err(StepError::Engine(_))));
    assert_eq!(memory.site().engine.containers.len(), 4);
    assert_eq!(run.apply_unguarded(0, Step::Discard).await, Ok(()));
    assert_eq!(memory.site().engine.containers.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn volumes_of_a_removed_container_that_served_are_named() {
    let mut stage = Stage::pair().await;
    let volumes = |names: [&str; 1]| {
        let volume =
            |name: &str| UnnamedVolume { name: name.to_owned(), target: format!("/{name}"), by_image: true };
        Some(names.map(volume).to_vec())
    };
    let place = replacement(&mut stage);
    place.like.unnamed_volumes = volumes(["carried"]);
    place.old = Some(place.like.clone());
    let memory = stage.memory.clone();
    let run = stage.run();
    replace_first(&run).await;
    let new = run.created(0).unwrap();
    for place in memory.site().engine.containers.iter_mut().filter(|it| it.container.id == new) {
        let all = [volumes(["carried"]), volumes(["new"])];
        place.container.unnamed_volumes = Some(all.into_iter().flatten().flatten().collect());
    }
    assert_eq!(run.apply_unguarded(0, Step::Discard).await, Ok(()));
    run.name_volumes_left();
    drop(run);
    let warnings = stage.heard.warnings();
    assert!(
        warnings.iter().any(|it| it.ends_with("To remove that data: docker volume rm new")),
        "{warnings:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_removed_old_container_is_named_when_the_run_is_stuck() {
    let digest = format!("sha256:{}", "2".repeat(64));
    let mut stage = Stage::pair().await;
    stage
        .memory
        .site()
        .engine
        .builds
        .insert(digest, ImageBehavior { serves: false, ..ImageBehavior::default() });
    stage.suffers("start", 0, Fault::OldRemoved);
    let outcome = stage.run().run().await.unwrap();
    let Outcome::Stuck { servers, .. } = outcome else { panic!("{outcome:?}") };
    let kept =
        format!("the old container of mobile/app1, kept as mobile-app1.old-{}, is gone", stage.plan.run);
    assert!(servers[0].status.contains(&kept), "{}", servers[0].status);
}

#[tokio::test(start_paused = true)]
async fn a_lane_without_an_old_container_is_not_restored() {
    let mut stage = Stage::pair().await;
    replacement(&mut stage).old = None;
    assert!(!stage.run().old_container_restored(0, &[Step::Start]).await);
}

/// Makes the first server one that drainswap cannot probe, and that a check had up or down.
fn unanswered(stage: &mut Stage, up: bool) {
    let server = &mut stage.plan.lanes[0].servers[0];
    (server.served, server.before) = (false, Some(Before { up, answered: false }));
}

/// Undoes the first lane after it was replaced.
async fn put_back(stage: &mut Stage) -> Result<(), StepError> {
    let run = stage.run();
    has_begun(&run, 0, &[Step::Maint, Step::Stop, Step::Start]);
    run.maint(0).await.unwrap();
    run.restore_states(0).await
}

#[tokio::test(start_paused = true)]
async fn a_checked_server_is_up_again_when_its_check_passes() {
    let mut stage = Stage::pair().await;
    unanswered(&mut stage, true);
    let begun = Instant::now();
    assert_eq!(put_back(&mut stage).await, Ok(()));
    assert!(begun.elapsed() > Duration::from_millis(500), "the check has not said so yet");
    let site = stage.memory.site();
    assert!(site.haproxies[0].worker.as_ref().unwrap().lines[0].is_usable());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_its_check_keeps_down_is_not_restored() {
    let mut stage = Stage::pair().await;
    unanswered(&mut stage, true);
    let old = stage.memory.site().engine.containers[0].container.id.clone();
    stage.world.engines.named("").unwrap().stop(&old).await.unwrap();
    assert!(matches!(put_back(&mut stage).await, Err(StepError::ServerNotUp { .. })));
}

/// If set to ready, it would be up at once and get requests that no container answers.
#[tokio::test(start_paused = true)]
async fn a_server_that_was_down_gets_its_state_back_and_stays_down() {
    let mut stage = Stage::pair().await;
    unanswered(&mut stage, false);
    assert_eq!(put_back(&mut stage).await, Ok(()));
    let site = stage.memory.site();
    let line = &site.haproxies[0].worker.as_ref().unwrap().lines[0];
    assert_eq!((line.admin.state(), line.up), (AdminState::Ready, false));
}

#[tokio::test(start_paused = true)]
async fn the_last_check_names_what_is_wrong_with_a_server() {
    let mut stage = Stage::pair().await;
    {
        let mut site = stage.memory.site();
        let worker = site.haproxies[0].worker.as_mut().unwrap();
        (worker.lines[0].up, worker.lines[0].checking) = (false, false);
    }
    let run = stage.run();
    let (lane, failure) = run.final_check(&[1, 0]).await.unwrap_err();
    let server = run.lane_of(0).name().clone();
    assert_eq!((lane, failure), (0, StepError::ServerNotUp { server, status: "DOWN".to_owned() }));
}

#[tokio::test(start_paused = true)]
async fn every_server_of_an_unanswered_command_is_watched() {
    let mut stage = Stage::pair().await;
    stage.suffers("set state", 0, Fault::LateEffect);
    let both = ["app1", "app1b"].map(|name| ServerId::new("mobile", name));
    let all = |state| both.clone().map(|server| (server, state));
    let unanswered = stage.world.load_balancers[0].set_admin_states(&all(AdminState::Drain)).await;
    assert!(matches!(unanswered, Err(LoadBalancerError::Unanswered { .. })));
    stage.run().set(0, &all(AdminState::Ready)).await.unwrap();
    let watched = &stage.world.load_balancers[0];
    assert_eq!(watched.unsettled(), both);
    let mut set_again = Vec::new();
    late::wait_until_settled(&[watched], |again| set_again.push(again.server)).await.unwrap();
    assert_eq!((watched.unsettled(), set_again), (Vec::new(), both.to_vec()));
    let site = stage.memory.site();
    assert!(site.haproxies[0].worker.as_ref().unwrap().lines.iter().all(ServerLine::is_usable));
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

/// The engine does not answer a stop and never carries it out.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_answered_is_named_and_the_server_stays_out() {
    let mut stage = Stage::pair().await;
    stage.suffers("stop", 0, Fault::Hangs);
    let outcome = stage.run().run().await.unwrap();
    let Outcome::Stuck { servers, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(servers[0].status.contains("has not answered the call to stop "), "{}", servers[0].status);
    assert!(servers[0].status.contains("HAProxy reports MAINT"), "{}", servers[0].status);
    let is_told = |fact: &&EventKind| matches!(fact, EventKind::Warned { message } if message.contains("drainswap does nothing else until it does"));
    assert_eq!(stage.heard.0.iter().filter(is_told).count(), 1, "{:?}", stage.heard.0);
    let records: Vec<u8> =
        stage.memory.site().journal.iter().flat_map(|it| journal::line(it).unwrap()).collect();
    let run = journal::Run::read(&records).unwrap().unwrap();
    let [(engine, EngineCall::Stop { container })] = &run.progress.unanswered[..] else {
        panic!("{:?}", run.progress.unanswered)
    };
    let old = stage.plan.lanes[0].replacement.as_ref().and_then(|it| it.old.as_ref()).unwrap();
    assert_eq!((engine.as_str(), container), ("", &old.id));
    // A resume asks the engine first, which reports that the container runs: no process waits for that stop any more.
    stage.world.engines = Engines::new(vec![(String::new(), stage.memory.engine())]);
    let resumed = stage.run().finish_in_flight(&run).await;
    assert!(matches!(resumed, Outcome::Cancelled { .. }), "{resumed:?}");
    assert_eq!(
        stage.running().into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from(["mobile-app1", "mobile-app1b"].map(String::from))
    );
}

/// Replaces the first server's container as another tool would, once it has drained: removes it or puts it aside.
struct Replaces {
    memory: Memory,
    removes: bool,
    told: Vec<String>,
}

impl Reporter for Replaces {
    fn report(&mut self, event: &Event) {
        if let EventKind::Warned { message } = &event.fact {
            self.told.push(message.clone());
        }
        if !matches!(event.fact, EventKind::Drained { .. }) {
            return;
        }
        let mut site = self.memory.site();
        let engine = &mut site.engine;
        let Some(old) = engine.containers.iter().position(|it| it.container.name == "mobile-app1") else {
            return;
        };
        let mut new = engine.containers[old].clone();
        new.container.id = ContainerId("another tool's".to_owned());
        if self.removes {
            engine.containers.remove(old);
        } else {
            engine.containers[old].container.state = ContainerState::Stopped;
            engine.containers[old].container.name = "mobile-app1-before".to_owned();
        }
        engine.containers.push(new);
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_from_another_tool_is_put_back_in_service() {
    for removes in [true, false] {
        let mut stage = Stage::pair().await;
        // The servers are back in service while the new container is being removed.
        stage.suffers("remove", 0, Fault::Slow);
        let mut heard = Replaces { memory: stage.memory.clone(), removes, told: Vec::new() };
        let [asked, now] = stage.memory.site().stops.clone();
        let (plan, world) = (&stage.plan, &stage.world);
        let run =
            Executor::new(plan, world, &mut stage.journal, StopRequest { asked, now }, &mut heard).unwrap();
        let outcome = run.run().await.unwrap();
        assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome:?}");
        let note = "which another tool put there during this run";
        assert!(heard.told.iter().any(|it| it.contains(note)), "{:?}", heard.told);
        assert!(!heard.told.iter().any(|it| it.contains("is in maint again")), "{:?}", heard.told);
        let names = stage.running().into_iter().collect::<BTreeSet<_>>();
        assert_eq!(names, BTreeSet::from(["mobile-app1", "mobile-app1b"].map(String::from)));
        let seen = world.load_balancers[0].full_state(&[]).await.unwrap();
        assert!(seen.servers.iter().all(|it| it.admin.state() == AdminState::Ready), "{:?}", seen.servers);
    }
}

/// Deploys v2, which never serves, over v1 with this healthcheck. Returns the outcome, the duration and the warnings.
async fn failed_over(check: ImageCheck) -> (Outcome, Duration, Vec<String>) {
    let old = ImageBehavior { healthcheck: Some(check), ..ImageBehavior::default() };
    let builds = [("v1", old), ("v2", ImageBehavior { serves: false, ..ImageBehavior::default() })];
    let mut stage = Stage::with_builds(World::pair(), &builds).await;
    stage.plan.policy.ready_timeout = Duration::from_secs(5);
    let begun = Instant::now();
    let outcome = stage.run().run().await.unwrap();
    assert_eq!(stage.running(), ["mobile-app1", "mobile-app1b"]);
    (outcome, begun.elapsed(), stage.heard.warnings())
}

#[tokio::test(start_paused = true)]
async fn an_old_container_that_answers_is_back_whatever_its_healthcheck_says() {
    let check = |every, passes| ImageCheck { every, passes };
    for (what, check) in [("asked too late", check(90_000, true)), ("never healthy", check(1_000, false))] {
        let (outcome, took, warned) = failed_over(check).await;
        assert!(matches!(outcome, Outcome::RolledBack { .. }), "{what}: {outcome:?}");
        assert!(took < Duration::from_secs(30), "{what}: {took:?}");
        assert!(warned.iter().all(|it| !it.contains("healthy again")), "{what}: {warned:?}");
    }
}

/// Otherwise its first requests would reach it while it still boots.
#[tokio::test(start_paused = true)]
async fn an_old_container_that_was_healthy_is_healthy_again_before_it_is_put_back() {
    let (outcome, took, _) = failed_over(ImageCheck { every: 20_000, passes: true }).await;
    assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome:?}");
    assert!(took > Duration::from_secs(25), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_old_container_that_answers_and_is_not_healthy_again_is_put_back_with_a_warning() {
    let builds = [
        (
            "v1",
            ImageBehavior {
                healthcheck: Some(ImageCheck { every: 0, passes: true }),
                ..ImageBehavior::default()
            },
        ),
        ("v2", ImageBehavior { serves: false, ..ImageBehavior::default() }),
    ];
    let mut stage = Stage::with_builds(World::pair(), &builds).await;
    for build in stage.memory.site().engine.builds.values_mut() {
        build.healthcheck = build.healthcheck.map(|check| ImageCheck { passes: false, ..check });
    }
    let outcome = stage.run().run().await.unwrap();
    assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome:?}");
    let message = "mobile/app1: Docker did not report the old container healthy again within 60 s (Docker's healthcheck says unhealthy: exit 7). It answers, so it is put back in service";
    assert!(
        stage.heard.0.contains(&EventKind::Warned { message: message.to_owned() }),
        "{:?}",
        stage.heard.0
    );
}
