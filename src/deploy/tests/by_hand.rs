//! The commands that an operator runs to put a lane back by hand.

use super::*;
use crate::observation::{Container, RestartPolicy};

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
async fn the_agent_of_a_server_is_turned_on_again_with_its_state() {
    let with_agent = |stays| {
        move |stage: &mut Stage| {
            let server = &mut stage.plan.lanes[0].servers[0];
            (server.stays, server.agents) = (stays, vec!["memory".to_owned()]);
        }
    };
    for (stays, words) in
        [(None, "ready"), (Some(AdminState::Drain), "drain"), (Some(AdminState::Maint), "maint")]
    {
        let told = told(&[Step::Stop], with_agent(stays)).await;
        assert!(told[0].contains("--agent off"), "{told:?}");
        let last = told.last().unwrap();
        assert!(last.starts_with(&format!("drainswap {words}")), "{told:?}");
        assert!(last.ends_with("--agent on mobile/app1"), "{told:?}");
    }
}

/// The deploy skips servers that are out of service by hand and have no container.
#[tokio::test(start_paused = true)]
async fn a_server_that_was_out_by_hand_is_enabled_to_get_a_container_and_set_back() {
    let gone = |stays, agents: &[&str]| {
        let agents: Vec<String> = agents.iter().map(|it| (*it).to_owned()).collect();
        move |stage: &mut Stage| {
            let server = &mut stage.plan.lanes[0].servers[0];
            (server.stays, server.agents) = (stays, agents);
            stage.memory.site().engine.containers.remove(0);
        }
    };
    let out = told(&[Step::Stop], gone(Some(AdminState::Drain), &[])).await;
    let [.., deploy, drain] = &out[..] else { panic!("{out:?}") };
    assert!(deploy.starts_with("drainswap deploy mobile --image "), "{out:?}");
    assert!(deploy.ends_with(" --enable --only app1"), "{out:?}");
    assert_eq!(drain, "drainswap drain --floor 0 mobile/app1");
    let with_agent = told(&[Step::Stop], gone(None, &["memory"])).await;
    assert_eq!(with_agent.last().unwrap(), "drainswap ready --agent on mobile/app1");
}
