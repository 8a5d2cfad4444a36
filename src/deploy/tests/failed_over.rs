//! Deploys that are rolled back: the old container serves again, or another tool put one in its place.

use super::*;
use crate::adapters::memory::ImageCheck;

/// Replaces the first server's container as another tool would, once it has drained: removes it or puts it aside.
struct Replaces {
    memory: Memory,
    removes: bool,
    told: Vec<String>,
}

impl Reporter for Replaces {
    fn report(&mut self, event: &Event) {
        if let EventKind::Warned { message } = &event.kind {
            self.told.push(message.clone());
        }
        if !matches!(event.kind, EventKind::Drained { .. }) {
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
    stage.plan.goal.policy.ready_timeout = Duration::from_secs(5);
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

#[tokio::test(start_paused = true)]
async fn only_an_engine_that_answers_can_tell_that_a_container_was_replaced() {
    let mut stage = Stage::pair().await;
    stage.suffers("list", 0, Fault::Unheard);
    let run = stage.run();
    assert!(matches!(run.is_taken_over(0).await, Err(StepError::Engine(_))));
    assert_eq!(run.is_taken_over(0).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_had_no_container_has_none_that_was_restarted_or_replaced() {
    let mut stage = Stage::pair().await;
    replacement(&mut stage).old = None;
    let run = stage.run();
    assert_eq!(run.is_taken_over(0).await, Ok(false));
    let server = ServerId::new("mobile", "app1");
    let failure = StepError::Vanished { server };
    assert_eq!(run.explain_restarted(0, failure.clone()).await, failure);
}
