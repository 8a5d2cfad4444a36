use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::model::ids::ContainerId;
use crate::observation::ContainerChange;
use crate::observation::watchtower::Watchtower;
use crate::observation::{Container, Owner};
use crate::testing::World;
use crate::testing::bytes::damaged;

/// Returns the head of a printed plan and the paragraphs that begin with one of these words.
fn excerpt(plan: &Plan, begins: &[&str]) -> String {
    let text = plan.to_string();
    let wanted = |(index, paragraph): &(usize, &str)| {
        *index == 0 || begins.iter().any(|begin| paragraph.starts_with(begin))
    };
    let paragraphs = text.split("\n\n").enumerate().filter(wanted);
    paragraphs.map(|(_, paragraph)| paragraph).collect::<Vec<_>>().join("\n\n")
}

fn deploy(world: &World) -> Plan {
    world.plan("v2").unwrap()
}

#[test]
fn a_printed_plan_lists_every_step() {
    assert_snapshot!(deploy(&World::origin()));
}

#[test]
fn a_container_that_is_gone_gets_a_successor() {
    let world = World::origin().down("mobile/app2b").gone("mobile-app2b");
    assert_snapshot!(excerpt(&deploy(&world), &["while", "1.", "when"]), @"
    deploy mobile to registry.example.org/mobile:v2 (222222222222)

    while every server is in rotation
      pull       registry.example.org/mobile:v2@sha256:2222222222222222222222222222222222222222222222222222222222222222
      note       changes by the defaults of the new image are known once it is pulled
      create     mobile-app2b, stopped, with the settings of mobile-app1b
      create     mobile-app1, stopped, with the settings of mobile-app1
      create     mobile-app2, stopped, with the settings of mobile-app2
      create     mobile-app1b, stopped, with the settings of mobile-app1b

    1. mobile/app2b (backup): its container is gone; a new one gets the settings of mobile-app1b
      meanwhile  50 % → mobile/app1, 50 % → mobile/app2
      in flight  2 sessions now
      maint      mobile/app2b
      start      the new mobile-app2b
      prove      GET http://127.0.0.2:50001/health (60 s at most)
      ready      mobile/app2b
      confirm    HAProxy reports it up

    when every server is in service again
      remove     mobile-app1.old-20261123T221500.000000Z, mobile-app2.old-20261123T221500.000000Z, mobile-app1b.old-20261123T221500.000000Z
    ");
}

#[test]
fn a_server_in_maint_is_replaced_without_a_drain_and_stays_there() {
    let world = World::origin().maint("mobile/app2");
    assert_snapshot!(excerpt(&deploy(&world), &["1."]), @"
    deploy mobile to registry.example.org/mobile:v2 (222222222222)
      out        mobile/app2 stays in maint (--enable puts it in service)

    1. mobile/app2 (primary): runs registry.example.org/mobile:v1 (111111111111)
      meanwhile  100 % → mobile/app1
      in flight  2 sessions now
      wait       until its last session has ended (300 s at most)
      maint      mobile/app2
      settle     nothing is in flight, and nothing new can land
      stop       mobile-app2, and keep it as mobile-app2.old-20261123T221500.000000Z
      start      the new mobile-app2
      prove      GET http://127.0.0.2:50000/health (60 s at most)
      ready      mobile/app2 back to maint
      confirm    the new container still answers
    ");
    let enabled = deploy(&world.scope(|scope| scope.enable = true)).to_string();
    assert!(
        enabled.contains("  note       mobile/app2 is in maint, and will be put back in service\n"),
        "{enabled}"
    );
    assert!(enabled.contains("  ready      mobile/app2\n"), "{enabled}");
}

#[test]
fn a_container_that_does_not_run_is_replaced_at_once() {
    let world = World::pair().down("mobile/app1b").stopped("mobile-app1b").runs("mobile-app1b", "v2");
    assert_snapshot!(excerpt(&deploy(&world), &["1."]), @"
    deploy mobile to registry.example.org/mobile:v2 (222222222222)

    1. mobile/app1b (backup): does not serve: its container does not run
      meanwhile  100 % → mobile/app1
      in flight  2 sessions now
      maint      mobile/app1b
      stop       mobile-app1b, and keep it as mobile-app1b.old-20261123T221500.000000Z
      start      the new mobile-app1b
      prove      GET http://127.0.0.1:50001/health (60 s at most)
      ready      mobile/app1b
      confirm    HAProxy reports it up
    ");
}

#[test]
fn there_is_nothing_to_do_if_all_servers_run_the_image() {
    let plan = World::origin().plan("v1").unwrap();
    // The image is still in the plan, so that a deploy by tag reports the digest.
    assert!(plan.is_empty() && plan.images.len() == 1 && plan.balances.is_empty());
    assert_snapshot!(plan, @"deploy mobile: nothing to do for mobile/app1, mobile/app1b, mobile/app2, mobile/app2b (already running the wanted image)");
}

#[test]
fn servers_that_run_the_image_are_left_alone() {
    let world = World::origin().runs("mobile-app1", "v2").runs("mobile-app2b", "v2");
    assert_snapshot!(excerpt(&deploy(&world), &["while", "1. mobile/app2 ", "2. mobile/app1b "]), @"
    deploy mobile to registry.example.org/mobile:v2 (222222222222)
      unchanged  mobile/app1, mobile/app2b (already running the wanted image)

    while every server is in rotation
      pull       registry.example.org/mobile:v2@sha256:2222222222222222222222222222222222222222222222222222222222222222
      note       changes by the defaults of the new image are known once it is pulled
      create     mobile-app2, stopped, with the settings of mobile-app2
      create     mobile-app1b, stopped, with the settings of mobile-app1b

    1. mobile/app2 (primary): runs registry.example.org/mobile:v1 (111111111111)
      meanwhile  100 % → mobile/app1
      in flight  2 sessions now
      verify     at least 1 server serves without it, and the servers that take over answer
      drain      mobile/app2
      wait       until its last session has ended (300 s at most)
      maint      mobile/app2
      settle     nothing is in flight, and nothing new can land
      stop       mobile-app2, and keep it as mobile-app2.old-20261123T221500.000000Z
      start      the new mobile-app2
      prove      GET http://127.0.0.2:50000/health (60 s at most)
      ready      mobile/app2
      confirm    HAProxy reports it up and gives it traffic

    2. mobile/app1b (backup): runs registry.example.org/mobile:v1 (111111111111)
      meanwhile  50 % → mobile/app1, 50 % → mobile/app2
      in flight  2 sessions now
      verify     at least 1 server serves without it, and the servers that take over answer
      drain      mobile/app1b
      wait       until its last session has ended (300 s at most)
      maint      mobile/app1b
      settle     nothing is in flight, and nothing new can land
      stop       mobile-app1b, and keep it as mobile-app1b.old-20261123T221500.000000Z
      start      the new mobile-app1b
      prove      GET http://127.0.0.1:50001/health (60 s at most)
      ready      mobile/app1b
      confirm    HAProxy reports it up
    ");
}

#[test]
fn a_server_with_the_image_that_was_left_out_of_service_is_only_put_back() {
    let world = World::origin().runs("mobile-app1", "v2").maint("mobile/app1").drain("mobile/app2");
    let world = world.left_out("mobile/app1").left_out("mobile/app2");
    let world = world.runs("mobile-app2", "v2").runs("mobile-app1b", "v2").runs("mobile-app2b", "v2");
    assert_snapshot!(deploy(&world), @"
    deploy mobile
      unchanged  mobile/app1b, mobile/app2b (already running the wanted image)
      note       mobile/app1 is in maint, and will be put back in service
      note       mobile/app2 is in drain, and will be put back in service

    1. mobile/app1 (primary): runs the wanted image, but was left in maint
      meanwhile  100 % → mobile/app1b
      in flight  2 sessions now
      prove      GET http://127.0.0.1:50000/health (60 s at most)
      ready      mobile/app1
      confirm    HAProxy reports it up and gives it traffic

    2. mobile/app2 (primary): runs the wanted image, but was left in drain
      meanwhile  100 % → mobile/app1
      in flight  2 sessions now
      prove      GET http://127.0.0.2:50000/health (60 s at most)
      ready      mobile/app2
      confirm    HAProxy reports it up and gives it traffic

    If anything fails, every server is left in the state that it was found in.
    ");
}

#[test]
fn a_container_in_two_backends_is_drained_in_both() {
    assert_snapshot!(excerpt(&deploy(&World::shared()), &["1."]), @"
    deploy mobile to registry.example.org/mobile:v2 (222222222222)

    1. mobile/app1, tablet/one (primary): runs registry.example.org/mobile:v1 (111111111111)
      meanwhile  100 % → mobile/app2
      meanwhile  100 % → tablet/two
      in flight  4 sessions now
      verify     at least 1 server serves without it, and the servers that take over answer
      drain      mobile/app1, tablet/one
      wait       until its last session has ended (300 s at most)
      maint      mobile/app1, tablet/one
      settle     nothing is in flight, and nothing new can land
      stop       mobile-app1, and keep it as mobile-app1.old-20261123T221500.000000Z
      start      the new mobile-app1
      prove      GET http://127.0.0.1:50000/health, GET http://127.0.0.1:50000/ (60 s at most)
      ready      mobile/app1, tablet/one
      confirm    HAProxy reports it up and gives it traffic
    ");
}

#[test]
fn without_a_floor_no_server_needs_to_serve() {
    let world = World::of("backend mobile\n mode http\n server app1 127.0.0.1:50000 check\n");
    assert_snapshot!(excerpt(&deploy(&world.floor(0)), &["1."]), @"
    deploy mobile to registry.example.org/mobile:v2 (222222222222)

    1. mobile/app1 (primary): runs registry.example.org/mobile:v1 (111111111111)
      meanwhile  no server serves mobile
      in flight  2 sessions now
      verify     the old mobile-app1 is still there
      drain      mobile/app1
      wait       until its last session has ended (300 s at most)
      maint      mobile/app1
      settle     nothing is in flight, and nothing new can land
      stop       mobile-app1, and keep it as mobile-app1.old-20261123T221500.000000Z
      start      the new mobile-app1
      prove      GET http://127.0.0.1:50000/ (60 s at most)
      ready      mobile/app1
      confirm    HAProxy reports it up and gives it traffic
    ");
}

#[test]
fn a_policy_that_is_not_the_default_is_printed() {
    let mut world = World::pair();
    world.policy.on_drain_timeout = OnDrainTimeout::Force;
    world.policy.on_failure = OnFailure::Stop;
    world.policy.drain_timeout = Duration::from_millis(1500);
    world.policy.ready_timeout = Duration::from_secs(600);
    assert_snapshot!(excerpt(&deploy(&world), &["1.", "If"]), @"
    deploy mobile to registry.example.org/mobile:v2 (222222222222)
      note       sessions that have not ended after 1.5 s will be cut (--on-drain-timeout force)

    1. mobile/app1 (primary): runs registry.example.org/mobile:v1 (111111111111)
      meanwhile  100 % → mobile/app1b
      in flight  2 sessions now
      verify     at least 1 server serves without it, and the servers that take over answer
      drain      mobile/app1
      wait       until its last session has ended; after 1.5 s cut the rest
      maint      mobile/app1
      settle     nothing is in flight, and nothing new can land
      stop       mobile-app1, and keep it as mobile-app1.old-20261123T221500.000000Z
      start      the new mobile-app1
      prove      GET http://127.0.0.1:50000/health (600 s at most)
      ready      mobile/app1
      confirm    HAProxy reports it up and gives it traffic

    If anything fails, that server gets its old container back and the run stops.
    ");
}

#[test]
fn a_container_of_a_compose_project_is_replaced_with_a_note() {
    let compose = |container: &mut Container| container.owner = Some(Owner::Compose("shop".to_owned()));
    let plan = deploy(&World::pair().container("mobile-app1", compose));
    assert_snapshot!(excerpt(&plan, &[]), @"
    deploy mobile to registry.example.org/mobile:v2 (222222222222)
      note       mobile-app1 belongs to the Compose project shop: after the deploy `up` leaves it alone until the service changes in the file, and then replaces it without a drain. Put the new image into the file too, and use `up --no-recreate`. Do not run Compose during the run or while it is unfinished: `up` then removes the new containers
    ");
    let both = World::pair().container("mobile-app1", compose).container("mobile-app1b", compose);
    let note = &deploy(&both).warnings[0];
    let these = "mobile-app1, mobile-app1b belong to the Compose project shop: after the deploy `up` leaves them alone";
    assert!(note.starts_with(these), "{note}");
}

#[test]
fn a_watchtower_that_would_replace_a_server_s_container_is_a_note() {
    let only = Watchtower { only: vec!["mobile-app1".to_owned()], ..Watchtower::default() };
    assert_snapshot!(excerpt(&deploy(&World::pair().watched(only)), &[]), @"
    deploy mobile to registry.example.org/mobile:v2 (222222222222)
      note       the Watchtower watchtower replaces mobile-app1 without draining when the image's tag changes: name it in WATCHTOWER_DISABLE_CONTAINERS of watchtower, or give it the label com.centurylinklabs.watchtower.enable=false
    ");
}

#[test]
fn persistent_clients_are_noted_and_sessions_in_flight_are_counted() {
    let world = World::of(
        "
backend mobile
    mode http
    cookie SERVER insert
    stick on src
    use-server app1 if { path /one }
    server app1 127.0.0.1:50000 check cookie a
    server app2 127.0.0.2:50000 check cookie b
",
    );
    let world = world.server("mobile/app1", |it| it.sessions = 3);
    assert_snapshot!(excerpt(&deploy(&world), &["1."]), @"
    deploy mobile to registry.example.org/mobile:v2 (222222222222)
      note       backend mobile ties clients to servers by cookie SERVER, a stick table, use-server app1: in drain these clients still come, so a drain may last until they leave; in maint they are balanced over the other servers

    1. mobile/app1 (primary): runs registry.example.org/mobile:v1 (111111111111)
      meanwhile  100 % → mobile/app2
      in flight  3 sessions now
      verify     at least 1 server serves without it, and the servers that take over answer
      drain      mobile/app1
      wait       until its last session has ended (300 s at most)
      maint      mobile/app1
      settle     nothing is in flight, and nothing new can land
      stop       mobile-app1, and keep it as mobile-app1.old-20261123T221500.000000Z
      start      the new mobile-app1
      prove      GET http://127.0.0.1:50000/ (60 s at most)
      ready      mobile/app1
      confirm    HAProxy reports it up and gives it traffic
    ");
}

#[test]
fn a_rollback_gives_each_server_what_it_ran_before() {
    let world = World::origin().runs("mobile-app1", "v3").runs("mobile-app2", "v3");
    let plan = world.plan_rollback(&[("mobile/app1", "v1"), ("mobile/app2", "v2")]).unwrap();
    assert_snapshot!(excerpt(&plan, &["while", "1.", "If"]), @"
    roll back mobile to registry.example.org/mobile:v1 (111111111111), registry.example.org/mobile:v2 (222222222222)
      unchanged  mobile/app1b, mobile/app2b (as before the last deploy)

    while every server is in rotation
      pull       registry.example.org/mobile:v1@sha256:1111111111111111111111111111111111111111111111111111111111111111
      pull       registry.example.org/mobile:v2@sha256:2222222222222222222222222222222222222222222222222222222222222222
      note       changes by the defaults of the new image are known once it is pulled
      create     mobile-app1, stopped, with the settings of mobile-app1
      create     mobile-app2, stopped, with the settings of mobile-app2

    1. mobile/app1 (primary): runs registry.example.org/mobile:v3 (333333333333)
      meanwhile  100 % → mobile/app2
      in flight  2 sessions now
      verify     at least 1 server serves without it, and the servers that take over answer
      drain      mobile/app1
      wait       until its last session has ended (300 s at most)
      maint      mobile/app1
      settle     nothing is in flight, and nothing new can land
      stop       mobile-app1, and keep it as mobile-app1.old-20261123T221500.000000Z
      start      the new mobile-app1
      prove      GET http://127.0.0.1:50000/health (60 s at most)
      ready      mobile/app1
      confirm    HAProxy reports it up and gives it traffic

    If anything fails, every server gets its old container back.
    ");
}

#[test]
fn a_plan_that_cannot_be_written_in_full_is_an_error() {
    let leave = |world: World| world.scope(|it| it.only = ["app1".to_owned()].into());
    let some = leave(World::pair());
    let text = deploy(&some).to_string();
    assert!(text.contains("  left       mobile/app1b is not named by --only\n"), "{text}");
    crate::testing::fails_with_its_writer(&deploy(&some));
    let none = deploy(&leave(World::pair().runs("mobile-app1", "v2")));
    assert!(none.is_empty() && !none.rest.is_empty(), "{none}");
    crate::testing::fails_with_its_writer(&none);
}

#[test]
fn a_rollback_that_was_done_already_is_empty() {
    let plan = World::pair().plan_rollback(&[("mobile/app1", "v1")]).unwrap();
    assert_snapshot!(plan, @"roll back mobile: nothing to do for mobile/app1, mobile/app1b (as before the last deploy)");
}

#[test]
fn a_step_is_one_word_that_fits_its_column() {
    let lane = deploy(&World::origin()).lanes.remove(0);
    let steps = lane.steps.into_iter().chain([Step::Discard, Step::Return, Step::ProveOld, Step::PutBack]);
    assert!(steps.map(|step| step.to_string()).all(|word| word.len() <= 10));
}

#[test]
fn changes_by_the_new_image_are_part_of_the_plan() {
    let mut plan = deploy(&World::pair());
    let change = |field: &'static str, name: &str| ContainerChange::Added {
        field: field.into(),
        name: name.to_owned(),
    };
    plan.lanes[0].replacement.as_mut().unwrap().changes = Some(vec![
        ContainerChange::Value { field: "command".into(), from: String::new(), to: "serve --all".to_owned() },
        change("environment variable", "KEY"),
    ]);
    plan.lanes[1].replacement.as_mut().unwrap().changes = Some(vec![]);
    assert_snapshot!(excerpt(&plan, &["while", "1."]), @"
    deploy mobile to registry.example.org/mobile:v2 (222222222222)

    while every server is in rotation
      pull       registry.example.org/mobile:v2@sha256:2222222222222222222222222222222222222222222222222222222222222222
      create     mobile-app1, stopped, with the settings of mobile-app1
      create     mobile-app1b, stopped, with the settings of mobile-app1b

    1. mobile/app1 (primary): runs registry.example.org/mobile:v1 (111111111111)
      meanwhile  100 % → mobile/app1b
      in flight  2 sessions now
      changes    command: nothing → serve --all
      changes    environment variable KEY is new
      verify     at least 1 server serves without it, and the servers that take over answer
      drain      mobile/app1
      wait       until its last session has ended (300 s at most)
      maint      mobile/app1
      settle     nothing is in flight, and nothing new can land
      stop       mobile-app1, and keep it as mobile-app1.old-20261123T221500.000000Z
      start      the new mobile-app1
      prove      GET http://127.0.0.1:50000/health (60 s at most)
      ready      mobile/app1
      confirm    HAProxy reports it up and gives it traffic
    ");
}

#[test]
fn containers_in_a_namespace_of_the_old_one_prevent_a_deploy_and_a_missing_image_is_noted() {
    let mut world = World::pair().container("mobile-app1", |it| it.image_is_gone = true);
    assert!(deploy(&world).warnings[0].starts_with("the image of mobile-app1 is no longer on its engine"));
    let owner = world.observation.containers[0].clone();
    let mut lodger = Container { name: "sidecar".to_owned(), published: vec![], ..owner.clone() };
    lodger.id = ContainerId("d".repeat(64));
    lodger.lives_in = vec![owner.id];
    let stopped = Container { state: crate::observation::ContainerState::Stopped, ..lodger.clone() };
    world.observation.containers.push(stopped);
    assert!(
        deploy(&world).warnings[0]
            .starts_with("container sidecar is stopped and uses a namespace of mobile-app1")
    );
    world.observation.containers.pop();
    world.observation.containers.push(lodger.clone());
    let refused = world.plan("v2").unwrap_err();
    assert_snapshot!(refused[0], @"container sidecar shares a namespace (network, IPC or PID) with mobile-app1 behind mobile/app1 and would lose it when mobile-app1 stops. Stop it first and recreate it after the deploy. If such a container is the one that serves, and mobile-app1 only provides its network, as a VPN does, give it the label drainswap.server=mobile/app1");
    let (id, name) = (ContainerId("e".repeat(64)), "logger".to_owned());
    world.observation.containers.push(Container { id, name, ..lodger });
    let both = world.plan("v2").unwrap_err()[0].to_string();
    assert!(both.starts_with("containers sidecar, logger share a namespace"), "{both}");
    assert!(both.contains("Stop them first and recreate them after the deploy"), "{both}");
}

proptest! {
    /// A plan that can be stored can be printed, and stays the same when it is stored again.
    #[test]
    fn every_stored_plan_can_be_printed_and_stored_again(bytes in damaged(&stored())) {
        let Ok(plan) = serde_json::from_slice::<Plan>(&bytes) else { return Ok(()) };
        let _printed = plan.to_string();
        let again = serde_json::to_vec(&plan).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Plan>(&again).unwrap(), plan);
    }
}

fn stored() -> Vec<u8> {
    serde_json::to_vec(&World::shared().plan("v2").unwrap()).unwrap()
}
