//! Images, and containers that are kept, restarted, put aside or removed.

use super::*;
use crate::observation::{Container, Owner, UnnamedVolume};
use crate::plan::recover::Towards;
use crate::plan::refusal::Refusal;
use crate::run::engine_call::EngineCall;

#[tokio::test(start_paused = true)]
async fn an_image_kept_alone_is_tagged_before_its_container_is_removed() {
    let mut stage = Stage::pair().await;
    let image = stage.memory.site().engine.containers[0].container.image.clone();
    let replacement = replacement(&mut stage);
    replacement.old.as_mut().unwrap().owner = Some(Owner::Compose("shop".to_owned()));
    stage.plan.lanes[0].steps.push(Step::Remove);
    stage.plan.goal.policy.keep = 1;
    assert!(matches!(stage.run().run().await, Ok(Outcome::Deployed { replaced: 2, .. })));
    let site = stage.memory.site();
    let tags: Vec<_> = site.engine.tags.iter().collect();
    assert_eq!(tags, [(&"drainswap/mobile:app1-previous".to_owned(), &image)]);
    let names: Vec<_> = site.engine.containers.iter().map(|it| it.container.name.as_str()).collect();
    assert!(names.iter().all(|name| !name.starts_with("mobile-app1.old-")), "{names:?}");
    let order = |what: &str| site.calls.iter().position(|(_, call)| *call == what);
    assert!(order("tag") < order("remove"), "{:?}", site.calls);
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

/// Starts the first lane's old container as a supervisor would, with another address.
fn start_again_elsewhere(memory: &Memory) {
    let mut site = memory.site();
    let old = &mut site.engine.containers[0].container;
    assert!(old.name.starts_with("mobile-app1.old-"), "{}", old.name);
    (old.state, old.published[0].port) = (ContainerState::Running, 50_900);
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
    let mut kept = Stage::pair().await;
    kept.plan.lanes[0].steps.retain(|step| *step != Step::Remove);
    let memory = kept.memory.clone();
    let run = kept.run();
    replace_first(&run).await;
    start_again_elsewhere(&memory);
    run.warn_of_restarted(&[0]).await;
    let [warning] = &kept.heard.warnings()[..] else { panic!("{:?}", kept.heard.warnings()) };
    assert!(warning.ends_with("restarts it. Take it out of that supervisor, then stop it"), "{warning}");
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
    let resumed = stage.run().recover(&run, Towards::Finish).await;
    assert!(matches!(resumed, Outcome::Cancelled { .. }), "{resumed:?}");
    assert_eq!(
        stage.running().into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from(["mobile-app1", "mobile-app1b"].map(String::from))
    );
}
