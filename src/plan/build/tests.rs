use insta::assert_snapshot;

use super::*;
use crate::model::ids::ContainerId;
use crate::model::run_kind::RunKind;
use crate::observation::Container;
use crate::observation::ContainerChange;
use crate::observation::ContainerState;
use crate::observation::LoadBalancerState;
use crate::observation::ServerState;
use crate::observation::watchtower::{UpdateLabels, Watchtower};
use crate::observation::{
    Checking, Described, OldServer, OldWorker, Operational, Owner, Published, RestartPolicy, UnnamedVolume,
};
use crate::plan::Cause;
use crate::plan::Policy;
use crate::plan::Replacement;
use crate::plan::Step;
use crate::plan::{OnDrainTimeout, RollbackTarget, Target};
use crate::testing::{World, image};
use std::collections::BTreeMap;

/// Lists the lanes of a deploy of v2, one per line: the servers, the cause, and where their traffic goes.
fn order(world: &World) -> String {
    let plan = world.plan("v2").unwrap();
    let line = |lane: &Lane| {
        let servers = crate::model::words::list(&lane.ids());
        let forecasts: Vec<String> = lane.forecasts.iter().map(ToString::to_string).collect();
        format!("{} {servers} ({}): {}\n", lane.role, lane.cause, forecasts.join("; "))
    };
    plan.lanes.iter().map(line).collect()
}

/// Lists the steps of this server's lane.
fn steps(world: &World, server: &str) -> String {
    let plan = world.plan("v2").unwrap();
    let lane = plan.lanes.iter().find(|lane| lane.name().to_string() == server).unwrap();
    lane.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_primaries_are_replaced_one_by_one_and_then_the_backups() {
    assert_snapshot!(order(&World::origin()), @"
    primary mobile/app1 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app2
    primary mobile/app2 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1
    backup mobile/app1b (runs registry.example.org/mobile:v1 (111111111111)): 50 % → mobile/app1, 50 % → mobile/app2
    backup mobile/app2b (runs registry.example.org/mobile:v1 (111111111111)): 50 % → mobile/app1, 50 % → mobile/app2
    ");
}

#[test]
fn a_pair_is_replaced_behind_its_backup() {
    assert_snapshot!(order(&World::pair()), @"
    primary mobile/app1 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1b
    backup mobile/app1b (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1
    ");
}

#[test]
fn a_plan_is_named_after_its_observation_and_records_the_observed_process() {
    let plan = World::pair().plan("v2").unwrap();
    assert_eq!((plan.run.0.as_str(), plan.workers[0].pid), ("20261123T221500.000000Z", 4711));
}

#[test]
fn servers_that_do_not_serve_come_first() {
    assert_snapshot!(order(&World::origin().down("mobile/app2b").gone("mobile-app2b")), @"
    backup mobile/app2b (its container is gone; a new one gets the settings of mobile-app1b): 50 % → mobile/app1, 50 % → mobile/app2
    primary mobile/app1 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app2
    primary mobile/app2 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1
    backup mobile/app1b (runs registry.example.org/mobile:v1 (111111111111)): 50 % → mobile/app1, 50 % → mobile/app2
    ");
    assert_snapshot!(order(&World::origin().maint("mobile/app2").left_out("mobile/app2")), @"
    primary mobile/app2 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1
    primary mobile/app1 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app2
    backup mobile/app1b (runs registry.example.org/mobile:v1 (111111111111)): 50 % → mobile/app1, 50 % → mobile/app2
    backup mobile/app2b (runs registry.example.org/mobile:v1 (111111111111)): 50 % → mobile/app1, 50 % → mobile/app2
    ");
    assert_snapshot!(order(&World::origin().silent("mobile/app2")), @"
    primary mobile/app2 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1
    primary mobile/app1 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app2
    backup mobile/app1b (runs registry.example.org/mobile:v1 (111111111111)): 50 % → mobile/app1, 50 % → mobile/app2
    backup mobile/app2b (runs registry.example.org/mobile:v1 (111111111111)): 50 % → mobile/app1, 50 % → mobile/app2
    ");
}

#[test]
fn among_servers_that_do_not_serve_primaries_come_first() {
    let world = World::origin().down("mobile/app1b").down("mobile/app2").stopped("mobile-app2");
    assert_snapshot!(order(&world), @"
    primary mobile/app2 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1
    backup mobile/app1b (runs registry.example.org/mobile:v1 (111111111111)): 50 % → mobile/app1, 50 % → mobile/app2
    primary mobile/app1 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app2
    backup mobile/app2b (runs registry.example.org/mobile:v1 (111111111111)): 50 % → mobile/app1, 50 % → mobile/app2
    ");
}

#[test]
fn a_backend_that_is_down_altogether_is_not_refused() {
    assert_snapshot!(order(&World::pair().down("mobile/app1").down("mobile/app1b")), @"
    primary mobile/app1 (runs registry.example.org/mobile:v1 (111111111111)): no server serves mobile
    backup mobile/app1b (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1
    ");
}

#[test]
fn a_silent_server_that_was_replaced_before_may_carry_the_traffic() {
    assert_snapshot!(order(&World::pair().silent("mobile/app1b")), @"
    backup mobile/app1b (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1
    primary mobile/app1 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1b
    ");
}

#[test]
fn a_server_in_its_slow_start_serves() {
    let world = World::pair().server("mobile/app1", |server| server.operational = Operational::Starting);
    assert_eq!(order(&world), order(&World::pair()));
}

#[test]
fn the_steps_depend_on_whether_the_server_takes_traffic() {
    assert_snapshot!(steps(&World::origin(), "mobile/app2"), @"create verify drain wait maint settle stop start prove ready confirm remove");
    let gone = World::origin().down("mobile/app2").gone("mobile-app2");
    assert_snapshot!(steps(&gone, "mobile/app2"), @"create maint start prove ready confirm");
    let stopped = World::origin().down("mobile/app2").stopped("mobile-app2");
    assert_snapshot!(steps(&stopped, "mobile/app2"), @"create maint stop start prove ready confirm remove");
    // It may still hold sessions, but gets no new ones.
    assert_snapshot!(steps(&World::origin().maint("mobile/app2"), "mobile/app2"), @"create wait maint settle stop start prove ready confirm remove");
    let in_drain = steps(&World::origin().drain("mobile/app2"), "mobile/app2");
    assert_eq!(in_drain, steps(&World::origin(), "mobile/app2"));
    let left_out = World::origin().maint("mobile/app2").runs("mobile-app2", "v2").left_out("mobile/app2");
    assert_snapshot!(steps(&left_out, "mobile/app2"), @"prove ready confirm");
}

#[test]
fn the_replaced_container_is_recorded_if_there_is_one() {
    let replaced = |world: World| {
        let plan = world.plan("v2").unwrap();
        let lane = plan.lanes.into_iter().find(|lane| lane.name().server == "app2").unwrap();
        let Replacement { old, like, publish, name, .. } = lane.replacement.unwrap();
        let publish = publish.map(|it| format!("{}:{} for {}", it.ip, it.port, it.container_port));
        format!("{name}: old {:?}, like {}, publishes {publish:?}", old.map(|old| old.name), like.name)
    };
    assert_snapshot!(replaced(World::origin()), @r#"mobile-app2: old Some("mobile-app2"), like mobile-app2, publishes None"#);
    assert_snapshot!(replaced(World::origin().down("mobile/app2").gone("mobile-app2")), @r#"mobile-app2: old None, like mobile-app1, publishes Some("127.0.0.2:50000 for 8080")"#);
    assert_snapshot!(replaced(World::origin().down("mobile/app2").stopped("mobile-app2")), @r#"mobile-app2: old Some("mobile-app2"), like mobile-app2, publishes None"#);
}

#[test]
fn a_server_that_runs_the_image_but_does_not_answer_is_replaced() {
    let world = World::pair().runs("mobile-app1", "v2").runs("mobile-app1b", "v2");
    assert_snapshot!(order(&world.clone().silent("mobile/app1")), @"primary mobile/app1 (does not serve: connection refused): 100 % → mobile/app1b");
    assert_snapshot!(order(&world.down("mobile/app1b").stopped("mobile-app1b")), @"backup mobile/app1b (does not serve: its container does not run): 100 % → mobile/app1");
}

#[test]
fn the_digest_decides_what_runs_and_not_the_tag() {
    let retagged = |container: &mut Container| {
        container.image_reference = "registry.example.org/mobile:v2".to_owned();
    };
    assert_snapshot!(order(&World::pair().container("mobile-app1", retagged)), @"
    primary mobile/app1 (runs registry.example.org/mobile:v2 (111111111111)): 100 % → mobile/app1b
    backup mobile/app1b (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1
    ");
    let same_bytes = |container: &mut Container| {
        container.image_reference = "elsewhere.example.org/mobile:latest".to_owned();
    };
    assert!(World::pair().container("mobile-app1", same_bytes).plan("v1").unwrap().is_empty());
}

#[test]
fn a_local_image_is_shown_by_its_identifier() {
    let local = |container: &mut Container| {
        container.repo_digests.clear();
        container.image_reference = "mobile:dev".to_owned();
    };
    assert_snapshot!(order(&World::pair().container("mobile-app1", local)), @"
    primary mobile/app1 (runs mobile:dev (abababababab)): 100 % → mobile/app1b
    backup mobile/app1b (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1
    ");
}

#[test]
fn an_image_that_several_servers_get_is_pulled_once() {
    let world = World::origin().runs("mobile-app1", "v2");
    assert_eq!(world.plan("v2").unwrap().images, [image("v2")]);
}

#[test]
fn lines_to_one_container_are_one_lane() {
    assert_snapshot!(order(&World::shared()), @"
    primary mobile/app1, tablet/one (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app2; 100 % → tablet/two
    primary mobile/app2 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1
    ");
    let world = World::of(
        "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
    server same 127.0.0.1:50000 check backup
    server app2 127.0.0.2:50000 check
",
    );
    assert_snapshot!(order(&world), @"
    primary mobile/app1, mobile/same (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app2
    primary mobile/app2 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1
    ");
}

#[test]
fn every_backend_that_is_touched_is_in_the_plan() {
    let plan = World::shared().plan("v2").unwrap();
    assert_eq!(plan.backends(), ["mobile", "tablet"]);
    let probed: Vec<String> = plan.probes.iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(probed, ["mobile/app1", "mobile/app2", "tablet/one", "tablet/two"]);
    let world = World::shared().runs("mobile-app1", "v2");
    assert_eq!(world.plan("v2").unwrap().backends(), ["mobile"]);
}

#[test]
fn a_server_without_a_weight_takes_no_traffic_before_and_after() {
    let world = World::of(
        "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check weight 0
",
    );
    let world = world.floor(0);
    assert_snapshot!(order(&world), @"
    primary mobile/app2 (runs registry.example.org/mobile:v1 (111111111111)): 100 % → mobile/app1
    primary mobile/app1 (runs registry.example.org/mobile:v1 (111111111111)): no server serves mobile
    ");
    let plan = world.plan("v2").unwrap();
    let takes = plan.lanes.iter().flat_map(|lane| &lane.servers).map(|server| server.takes_traffic);
    assert_eq!(takes.collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_backup_takes_no_traffic_once_a_primary_serves() {
    let takes = |world: World| {
        let plan = world.plan("v2").unwrap();
        let servers = plan.lanes.iter().flat_map(|lane| &lane.servers);
        let takes = servers.map(|server| format!("{} {}\n", server.id, server.takes_traffic));
        takes.collect::<String>()
    };
    assert_snapshot!(takes(World::pair()), @"
    mobile/app1 true
    mobile/app1b false
    ");
    // It is the first to serve again, for a while.
    let backups = World::of(
        "
backend mobile
    mode http
    server app1b 127.0.0.1:50001 check backup
    server app2b 127.0.0.2:50001 check backup
",
    );
    assert_snapshot!(takes(backups.down("mobile/app1b").down("mobile/app2b")), @"
    mobile/app1b true
    mobile/app2b false
    ");
}

#[test]
fn a_plan_is_the_same_after_it_was_stored() {
    let world = World::origin().down("mobile/app2b").gone("mobile-app2b").maint("mobile/app1");
    let plan = world.plan("v2").unwrap();
    let stored = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), plan);
}

#[test]
fn a_line_with_the_same_address_is_drained_too_however_it_was_matched() {
    let world = World::of(
        "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
backend tablet
    mode http
    server one 127.0.0.1:50000 check
    server two 127.0.0.2:50000 check
",
    );
    let labelled = world.container("mobile-app1", |it| it.claims = vec!["mobile/app1".to_owned()]);
    let plan = labelled.plan("v2").unwrap();
    assert_eq!(plan.lanes[0].ids(), [ServerId::new("mobile", "app1"), ServerId::new("tablet", "one")]);
}

#[test]
fn the_remaining_servers_need_room_for_the_current_load() {
    let full = |world: World, sessions| {
        world
            .server("mobile/app1", |it| it.sessions = sessions)
            .server("mobile/app1b", |it| it.limit = Some(100))
    };
    assert!(full(World::pair(), 98).plan("v2").is_ok());
    let refused = full(World::pair(), 99).plan("v2").unwrap_err();
    assert_eq!(
        refused[0].to_string(),
        "100 % → mobile/app1b would have room for 100 sessions (maxconn), but backend mobile has 101 now. Try again \
         when there are fewer, or raise maxconn"
    );
    let mut careful = full(World::pair(), 60);
    careful.policy.headroom = 100;
    assert!(careful.plan("v2").unwrap_err()[0].to_string().contains("with a headroom of 100 %"));
    careful.policy.floor = 0;
    assert!(careful.plan("v2").is_ok());
}

#[test]
fn a_description_wins_over_the_container_that_runs() {
    let mut world = World::pair();
    let restart = RestartPolicy { name: "always".to_owned(), maximum_retries: 0 };
    let described = Described { name: None, port: 9090, restart: restart.clone(), ..Described::default() };
    world.observation.described.insert("mobile".to_owned(), described);
    let plan = world.plan("v2").unwrap();
    let replacement = plan.lanes[0].replacement.as_ref().unwrap();
    assert!(replacement.described);
    assert_eq!(replacement.name, "mobile-app1");
    let publish = Published { ip: "127.0.0.1".parse().unwrap(), port: 50000, container_port: 9090 };
    assert_eq!(replacement.publish, Some(publish));
    assert_eq!(replacement.like.restart, restart);
    assert_ne!(replacement.old.as_ref().unwrap().restart, restart, "taken back, it is as it was");

    assert!(world.plan("v1").unwrap().is_empty(), "nothing differs");
    let drift = vec![ContainerChange::Hidden { field: "command".into() }];
    let id = world.observation.containers[0].id.clone();
    world.observation.drift.insert(id, drift);
    let plan = world.plan("v1").unwrap();
    assert_eq!(plan.lanes.iter().map(|lane| lane.name().to_string()).collect::<Vec<_>>(), ["mobile/app1"]);
    assert_eq!(plan.lanes[0].cause, Cause::Drifted);
}

#[test]
fn a_described_container_that_other_lines_reach_at_another_port_is_refused() {
    let world = World::of(
        "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
backend admin
    mode http
    server one 127.0.0.1:50009 check
    server two 127.0.0.2:50009 check
",
    );
    let mut world = world.gone("admin-one").container("mobile-app1", |it| {
        it.claims = vec!["mobile/app1".to_owned(), "admin/one".to_owned()];
    });
    assert!(world.plan("v2").is_ok());
    let described =
        Described { name: None, port: 9090, restart: RestartPolicy::never(), ..Described::default() };
    world.observation.described.insert("mobile".to_owned(), described);
    let refused = world.plan("v2").unwrap_err();
    assert!(refused[0].to_string().contains("at another port, behind admin/one"), "{}", refused[0]);
}

#[test]
fn a_rollback_brings_the_previous_container_back_even_with_the_same_image() {
    let mut world = World::pair();
    let running = world.observation.containers[0].clone();
    let id = ContainerId("e".repeat(64));
    let kept_name = format!("{}.old-20261122T100000.000000Z", running.name);
    let state = ContainerState::Stopped;
    let kept = Container { id, name: kept_name, state, ..running.clone() };
    world.observation.containers.push(kept.clone());
    // The current description does not count, nor does a port that it would not have.
    let described =
        Described { name: None, port: 1, restart: RestartPolicy::never(), ..Described::default() };
    world.observation.described.insert("mobile".to_owned(), described);
    let returned =
        RollbackTarget { image: image("v1"), container: Some(kept.clone()), engine: String::new() };
    let app1 = ServerId::new("mobile", "app1");
    let target = Target::Each(BTreeMap::from([(app1.clone(), returned)]));
    let plan = world.plan_for(RunKind::Rollback, target.clone()).unwrap();
    assert_eq!(plan.lanes.len(), 1);
    assert_eq!((plan.lanes[0].name(), &plan.lanes[0].cause), (&app1, &Cause::Superseded));
    let replacement = plan.lanes[0].replacement.as_ref().unwrap();
    assert_eq!(replacement.returning.as_ref().map(|it| &it.id), Some(&kept.id));
    assert!(!replacement.described);
    // If the engine would choose another port at the start, a new container is created.
    world.observation.containers.last_mut().unwrap().published.clear();
    let plan = world.plan_for(RunKind::Rollback, target.clone()).unwrap();
    let replacement = plan.lanes[0].replacement.as_ref().unwrap();
    assert!(replacement.is_created() && plan.lanes[0].steps.contains(&Step::Create));
    world.observation.containers.pop();
    assert!(world.plan_for(RunKind::Rollback, target).unwrap().is_empty(), "it is not kept any more");
}

#[test]
fn the_address_that_is_published_stays_where_there_are_several() {
    let world = World::pair().container("mobile-app1", |it| {
        let own = it.published[0];
        it.published.insert(0, Published { ip: "127.0.0.9".parse().unwrap(), ..own });
    });
    let described =
        Described { name: None, port: 8080, restart: RestartPolicy::never(), ..Described::default() };
    let old = &world.observation.containers[0];
    let publish = |address: &str| {
        Replacement::described(old, &described, address.parse().ok(), &image("v2"))
            .publish
            .map(|it| it.ip.to_string())
    };
    assert_eq!(publish("127.0.0.1:50000").as_deref(), Some("127.0.0.1"));
    assert_eq!(publish("127.0.0.9:50000").as_deref(), Some("127.0.0.9"));
    assert_eq!(publish("127.0.0.9:1"), None);
    let everywhere =
        world.clone().container("mobile-app1", |it| it.published[1].ip = "0.0.0.0".parse().unwrap());
    let old = &everywhere.observation.containers[0];
    let replacement = Replacement::described(old, &described, "127.0.0.7:50000".parse().ok(), &image("v2"));
    assert_eq!(replacement.publish.map(|it| it.ip.to_string()).as_deref(), Some("0.0.0.0"));
}

#[test]
fn a_server_without_a_container_gets_the_described_one() {
    let mut world = World::pair().down("mobile/app1").gone("mobile-app1");
    let described =
        Described { name: None, port: 9090, restart: RestartPolicy::never(), ..Described::default() };
    world.observation.described.insert("mobile".to_owned(), described);
    let plan = world.plan("v2").unwrap();
    assert_eq!(
        (plan.lanes[0].name().to_string().as_str(), &plan.lanes[0].cause),
        ("mobile/app1", &Cause::NotYetThere)
    );
    let replacement = plan.lanes[0].replacement.as_ref().unwrap();
    assert!(replacement.described && replacement.old.is_none());
    assert_eq!(replacement.publish.map(|it| (it.port, it.container_port)), Some((50000, 9090)));
}

#[test]
fn a_rollback_ignores_the_current_description() {
    let mut world = World::pair();
    let id = world.observation.containers[0].id.clone();
    world.observation.drift.insert(id, vec![ContainerChange::Hidden { field: "command".into() }]);
    assert_eq!(world.plan("v1").unwrap().lanes[0].cause, Cause::Drifted);
    assert!(world.plan_rollback(&[("mobile/app1", "v1"), ("mobile/app1b", "v1")]).unwrap().is_empty());
}

#[test]
fn a_rollback_may_name_any_of_two_lines_to_one_container() {
    let world = World::of(
        "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
    server same 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
",
    );
    assert!(world.plan_rollback(&[("mobile/same", "v1")]).unwrap().is_empty());
    assert_eq!(world.plan_rollback(&[("mobile/same", "v0")]).unwrap().lanes[0].ids().len(), 2);
}

#[test]
fn containers_on_another_engine_share_no_namespace() {
    let lodger = |engine: &str, name: &str, state| {
        let mut world = World::pair();
        let owner = world.observation.containers[0].clone();
        let mut lodger = Container { name: name.to_owned(), published: vec![], state, ..owner.clone() };
        lodger.id = ContainerId("d".repeat(64));
        lodger.lives_in = vec![owner.id];
        engine.clone_into(&mut lodger.engine);
        world.observation.containers.push(lodger);
        world.plan("v2").map(|plan| plan.warnings.len())
    };
    assert!(lodger("", "sidecar", ContainerState::Running).is_err());
    assert_eq!(lodger("web-b", "sidecar", ContainerState::Running), Ok(0));
    assert_eq!(lodger("", "sidecar", ContainerState::Stopped), Ok(1));
    assert_eq!(lodger("web-b", "sidecar", ContainerState::Stopped), Ok(0));
    // It was put aside itself.
    assert_eq!(lodger("", "sidecar.old-20261101T000000.000000Z", ContainerState::Stopped), Ok(0));
}

/// Its labels would make the project's next `up` start it.
#[test]
fn only_the_image_of_a_compose_container_is_kept() {
    let compose = |it: &mut Container| it.owner = Some(Owner::Compose("shop".to_owned()));
    let kept = "mobile-app1.old-20261101T000000.000Z";
    let world = World::pair().another("mobile-app1", kept, |it| it.state = ContainerState::Stopped);
    let mut world = world.container("mobile-app1", compose);
    world.policy.keep = 3;
    let plan = world.plan("v2").unwrap();
    let [project, other] = [0, 1].map(|lane| plan.lanes[lane].replacement.as_ref().unwrap());
    assert_eq!((project.kept(3), other.kept(3)), (0, 3));
    let old = &project.old.as_ref().unwrap().image;
    assert_eq!((project.image_kept(3), project.image_kept(0)), (Some(old), None));
    assert_eq!(other.image_kept(3), None);
    let removed: Vec<String> = project.removed(&plan.run, 3).map(|(_, name)| name).collect();
    assert_eq!(removed, [project.kept_name(&plan.run), kept.to_owned()]);
    assert!(plan.lanes[0].steps.contains(&Step::Remove) && !plan.lanes[1].steps.contains(&Step::Remove));
    let text = plan.to_string();
    assert!(text.contains("  keep       mobile-app1b.old-"), "{text}");
    assert!(text.contains(", the image drainswap/mobile:app1-previous\n"), "{text}");
}

/// An operator may have swapped the names of two servers' containers.
#[test]
fn the_kept_container_of_another_place_is_not_removed() {
    let kept = "mobile-app1.old-20261101T000000.000Z";
    let removes = |like: &str, change: &dyn Fn(&mut Container)| {
        let world = World::pair().another(like, kept, |it| {
            it.state = ContainerState::Stopped;
            change(it);
        });
        let plan = World { policy: Policy { keep: 1, ..world.policy.clone() }, ..world }.plan("v2").unwrap();
        plan.lanes[0].replacement.as_ref().unwrap().removed(&plan.run, 1).count()
    };
    assert_eq!(removes("mobile-app1", &|_| {}), 1);
    assert_eq!(removes("mobile-app1b", &|_| {}), 0, "it has the port of another server");
    assert_eq!(removes("mobile-app1b", &|it| it.published.clear()), 1, "it has the name");
    assert_eq!(removes("mobile-app1", &|it| it.engine = "ssh://app9".to_owned()), 0, "on another engine");
}

/// This is what `docker compose up` leaves of a project whose old containers were kept.
#[test]
fn the_successor_of_a_restarted_kept_container_gets_the_original_name() {
    let aside = "mobile-app1.old-20261101T000000.000Z";
    let name = |world: &World| world.plan("v2").unwrap().lanes[0].replacement.as_ref().unwrap().name.clone();
    let started = World::pair().another("mobile-app1", aside, |_| {}).gone("mobile-app1");
    assert_eq!(name(&started), "mobile-app1");
    let taken = started.another("mobile-app1b", "mobile-app1", |it| {
        it.published.clear();
        it.networks.clear();
    });
    assert_eq!(name(&taken), aside, "another container has it");
}

#[test]
fn a_forecast_shared_by_two_load_balancers_is_listed_once() {
    let mut world = World::pair();
    let second = world.observation.load_balancers[0].clone();
    world.observation.load_balancers.push(LoadBalancerState { name: "10.0.0.3:9999".to_owned(), ..second });
    assert_eq!(world.plan("v2").unwrap().lanes[0].forecasts.len(), 1);
    // At the second load balancer no server can take over from app1b.
    let servers = &mut world.observation.load_balancers[1].servers;
    for server in servers.iter_mut() {
        server.operational = Operational::Stopped;
    }
    let lanes = world.plan("v2").unwrap().lanes;
    assert_eq!(lanes[0].forecasts.len(), 2);
}

#[test]
fn the_probe_of_the_policy_applies_to_new_containers_only() {
    let mut world = World::pair();
    world.policy.probe = Some("/deep".parse().unwrap());
    let also = |plan: Plan| plan.lanes[0].servers[0].also.clone();
    assert!(also(world.plan("v2").unwrap()).is_some());
    assert!(also(world.plan_rollback(&[("mobile/app1", "v0")]).unwrap()).is_none());
}

#[test]
fn a_server_without_an_address_does_not_prevent_deploys_of_other_backends() {
    let world = World::of(
        "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
backend tablet
    mode http
    server one 127.0.0.1:50000 check backup
    server two 127.0.0.3:50000 check
    server local unix@/run/tablet.sock
",
    );
    let plan = world.plan("v2").unwrap();
    assert_eq!(plan.probes.iter().filter(|(id, _)| id.backend == "tablet").count(), 2);
}

/// Returns the notes of a deploy of v2.
fn warnings(world: &World) -> String {
    world.plan("v2").unwrap().warnings.join("\n")
}

#[test]
fn a_policy_that_ends_sessions_is_noted() {
    let mut world = World::pair();
    world.policy.on_drain_timeout = OnDrainTimeout::Maint;
    assert_eq!(warnings(&world), "");
    world.policy.on_drain_timeout = OnDrainTimeout::Shutdown;
    assert_snapshot!(warnings(&world), @"sessions that have not ended after 300 s will be ended within 10 s (--on-drain-timeout shutdown)");
    world.policy.on_drain_timeout = OnDrainTimeout::Force;
    assert_snapshot!(warnings(&world), @"sessions that have not ended after 300 s will be cut (--on-drain-timeout force)");
}

#[test]
fn a_backend_that_content_switching_leaves_out_is_a_note_and_no_request_is_expected() {
    let mut world = World::pair();
    assert!(world.plan("v2").unwrap().lanes[0].servers[0].takes_traffic);
    world.observation.load_balancers[0].unpublished = ["mobile".to_owned()].into();
    assert_snapshot!(warnings(&world), @"backend mobile is unpublished: HAProxy gives it no new requests until `publish backend mobile`");
    assert!(!world.plan("v2").unwrap().lanes[0].servers[0].takes_traffic);
}

#[test]
fn a_server_that_its_agent_has_down_carries_nothing_after_its_lane_either() {
    let down = |it: &mut ServerState| {
        (it.operational, it.status) = (Operational::Stopped, "DOWN (agent)".to_owned());
        it.checks.agent = Checking::On;
    };
    let world = World::pair().server("mobile/app1b", down);
    let refusals = world.plan("v2").unwrap_err();
    assert!(matches!(refusals[..], [Refusal::Floor { .. }]), "{refusals:?}");
}

#[test]
fn a_healthy_server_without_traffic_is_noted() {
    let world = World::origin().runs("mobile-app1", "v2").server("mobile/app1", |server| {
        server.operational = Operational::Stopped;
        server.status = "DOWN".to_owned();
    });
    assert_snapshot!(warnings(&world), @"mobile/app1 runs the wanted image, but HAProxy reports it as DOWN");
}

#[test]
fn sessions_of_old_workers_are_noted_and_so_is_a_missing_master_socket() {
    let mut world = World::pair();
    let held = |server: &str, sessions| OldServer { id: server.parse().unwrap(), address: None, sessions };
    let workers = vec![
        OldWorker { pid: 4000, servers: vec![held("mobile/app1", 3), held("else/where", 9)] },
        OldWorker { pid: 4100, servers: vec![] },
    ];
    world.observation.load_balancers[0].old_workers = Some(workers);
    assert_snapshot!(warnings(&world), @"HAProxy's old worker 4000 still holds 3 sessions to mobile/app1, which the drain waits for");
    world.observation.load_balancers[0].old_workers = None;
    assert_snapshot!(warnings(&world), @"cannot see the sessions of HAProxy's old workers after a reload: no master socket is known (haproxy -S, --master-socket). A reload during the run will abort it");
    let put_back = world.maint("mobile/app1").runs("mobile-app1", "v2").runs("mobile-app1b", "v2");
    let put_back = put_back.left_out("mobile/app1");
    assert!(!warnings(&put_back).contains("old workers"), "nothing is stopped: {}", warnings(&put_back));
}

/// Returns a pair for which only HAProxy's own checks can tell whether it serves, with more lines in its backend.
fn own_checked(lines: &str) -> World {
    World::of(&format!(
        "backend mobile\n mode tcp\n option redis-check\n {lines}\n server app1 127.0.0.1:50000 check inter 1s rise 3\n server app1b 127.0.0.1:50001 check backup\n"
    ))
}

#[test]
fn the_plan_says_where_haproxy_s_own_check_decides_and_how_long_it_may_take() {
    let plan = own_checked("").plan("v2").unwrap();
    let confirm = plan.to_string().lines().find(|line| line.contains("confirm")).unwrap().trim().to_owned();
    assert_eq!(
        confirm,
        "confirm    HAProxy's own check, which decides here (option redis-check), has it up (63 s at most) and gives it traffic"
    );
    let stored: Plan = serde_json::from_value(serde_json::to_value(&plan).unwrap()).unwrap();
    assert_eq!(stored, plan);
}

#[test]
fn an_own_check_cannot_decide_if_clients_are_sent_to_servers_that_are_down() {
    for line in ["option persist", "force-persist if TRUE"] {
        let refusals = own_checked(line).plan("v2").unwrap_err();
        let text = refusals[0].to_string();
        assert!(text.contains("option persist") && text.contains("option redis-check"), "{text}");
    }
    let asked = "backend mobile\n mode http\n option persist\n server app1 127.0.0.1:50000 check\n server app2 127.0.0.1:50001 check\n";
    assert!(World::of(asked).plan("v2").is_ok(), "what can be asked is proven before");
}

#[test]
fn an_own_check_that_is_turned_off_is_a_note() {
    let world = own_checked("").server("mobile/app1", |state| state.checks.health = Checking::Off);
    let warnings = world.plan("v2").unwrap().warnings;
    assert!(
        warnings.iter().any(|it| it.contains("health check of mobile/app1 is turned off")),
        "{warnings:?}"
    );
}

/// A server that its check has down does not carry traffic, whatever its port accepts; one that is up does.
#[test]
fn the_own_check_decides_which_servers_can_take_over() {
    let plan = own_checked("").server("mobile/app1b", |state| state.operational = Operational::Stopped);
    let plan = plan.plan("v2").unwrap();
    assert_eq!(plan.lanes[0].name().to_string(), "mobile/app1b", "it is fixed before it carries traffic");
    assert!(own_checked("").silent("mobile/app1b").plan("v2").is_ok());
}

#[test]
fn a_container_that_could_open_more_files_is_a_note() {
    let with = |had, now| {
        let mut world = World::pair().container("mobile-app1", move |it| it.open_files = had);
        let host = crate::observation::Host { open_files: now, ..Default::default() };
        world.observation.hosts.insert(String::new(), host);
        world.plan("v2").unwrap().warnings
    };
    assert_eq!(
        with(Some(1_048_576), Some(1024)),
        [
            "mobile-app1 can open 1048576 files, but the replacement can open only 1024, containerd's current limit. Set LimitNOFILE=1048576 in containerd.service, or --ulimit nofile=1048576, to keep the old limit"
        ]
    );
    for (had, now) in
        [(Some(1024), Some(1024)), (Some(1024), Some(4096)), (None, Some(1024)), (Some(4096), None)]
    {
        assert_eq!(with(had, now), [""; 0], "{had:?} {now:?}");
    }
}

/// Returns a volume named by repeating this digit.
fn volume(digit: char, target: &str, by_image: bool) -> UnnamedVolume {
    UnnamedVolume { name: digit.to_string().repeat(64), target: target.to_owned(), by_image }
}

#[test]
fn files_of_the_new_image_hidden_by_a_carried_volume_are_noted() {
    let with = |by_image| {
        let of = |digit| {
            move |it: &mut Container| it.unnamed_volumes = Some(vec![volume(digit, "/data", by_image)])
        };
        World::pair().container("mobile-app1", of('1')).container("mobile-app1b", of('2'))
    };
    assert_eq!(
        with(true).plan("v2").unwrap().warnings,
        [
            "the data of mobile-app1, mobile-app1b at /data is carried over in anonymous volumes, which hide the new image's files there. Use --renew-anon-volumes to get new volumes"
        ]
    );
    // A volume that a person asked for (-v /data) gets no files from the image.
    assert_eq!(with(false).plan("v2").unwrap().warnings, [""; 0]);
    // The same image has no other files.
    let mut same = with(true);
    same.observation.containers[0].state = ContainerState::Stopped;
    assert!(
        !same.down("mobile/app1").plan("v1").is_ok_and(|plan| plan.to_string().contains("anonymous volumes"))
    );
    let mut described = with(true);
    let mounts = vec!["/data".to_owned()];
    let wanted = Described { port: 8080, restart: RestartPolicy::never(), mounts, ..Described::default() };
    described.observation.described.insert("mobile".to_owned(), wanted);
    assert_eq!(
        described.plan("v2").unwrap().warnings,
        [""; 0],
        "the description mounts something else there"
    );
}

#[test]
fn renewed_volumes_are_noted_and_the_old_data_is_kept() {
    let mut world = World::pair()
        .container("mobile-app1", |it| it.unnamed_volumes = Some(vec![volume('1', "/data", true)]));
    let removes = |world: &World| {
        let plan = world.plan("v2").unwrap();
        let first = plan.lanes[0].replacement.as_ref().unwrap();
        let removed = first.removed(&plan.run, plan.policy.keep).count();
        assert_eq!(plan.lanes[0].steps.contains(&Step::Remove), removed > 0);
        removed
    };
    // The new container keeps using its data.
    assert_eq!(removes(&world), 1);
    world.policy.renew_anon_volumes = true;
    assert_eq!(removes(&world), 0);
    let plan = world.plan("v2").unwrap();
    assert!(plan.warnings[0].starts_with("mobile-app1 will get new volumes at /data"), "{:?}", plan.warnings);
    assert!(plan.lanes[0].replacement.as_ref().unwrap().create_spec(&plan.run, None).renew_volumes);

    // No container of a Compose project is kept, whatever its volumes hold.
    let mut of_compose = world.clone();
    of_compose.observation.containers[0].owner = Some(Owner::Compose("shop".to_owned()));
    assert_eq!(removes(&of_compose), 1);
    let warnings = of_compose.plan("v2").unwrap().warnings;
    assert!(
        warnings.iter().any(|it| it.contains("in volumes that no container uses any more")),
        "{warnings:?}"
    );

    // A container that an earlier run kept: its volume is either unique or shared with the running one.
    let model = world.observation.containers[0].clone();
    let (name, state) = ("mobile-app1.old-20261101T000000.000Z".to_owned(), ContainerState::Stopped);
    let unnamed_volumes = Some(vec![volume('0', "/data", true)]);
    let kept = Container { id: ContainerId("0".repeat(64)), name, state, unnamed_volumes, ..model.clone() };
    world.observation.containers.push(kept);
    assert_eq!(removes(&world), 0);
    world.observation.containers.last_mut().unwrap().unnamed_volumes = model.unnamed_volumes;
    assert_eq!(removes(&world), 1);
}

#[test]
fn links_to_the_old_container_are_noted() {
    let linked = |engine: &str, name: &str| {
        let mut world = World::pair();
        let model = world.observation.containers[0].clone();
        let mut linked = Container { name: name.to_owned(), published: vec![], ..model.clone() };
        (linked.id, linked.links) = (ContainerId("d".repeat(64)), vec![model.name]);
        engine.clone_into(&mut linked.engine);
        world.observation.containers.push(linked);
        world.plan("v2").unwrap().warnings
    };
    assert_eq!(
        linked("", "worker"),
        [
            "worker links to mobile-app1 (--link): it will not reach the new container and cannot start without the old one. Recreate it after the deploy"
        ]
    );
    assert_eq!(linked("web-b", "worker"), [""; 0]);
    assert_eq!(linked("", "worker.old-20261101T000000.000000Z"), [""; 0]);
}

#[test]
fn settings_shared_with_a_sibling_are_noted() {
    let world = World::origin().down("mobile/app2").gone("mobile-app2").container("mobile-app1", |it| {
        it.hostname = Some("first".to_owned());
        it.named_volumes = vec!["files".to_owned(), "cache".to_owned()];
        it.networks[0].aliases = vec!["web".to_owned(), "first".to_owned(), "mobile-app1".to_owned()];
        it.published.push(Published { ip: "127.0.0.1".parse().unwrap(), port: 9000, container_port: 9090 });
    });
    let plan = world.plan("v2").unwrap();
    assert!(
        plan.warnings.contains(&"mobile-app2 is created with the settings of mobile-app1: it shares the volume cache and files, alias web; it does not get the hostname first, published port 127.0.0.1:9000:9090".to_owned()),
        "{:?}", plan.warnings
    );
}

#[test]
fn the_volumes_before_a_new_container_are_those_of_its_models() {
    let world = World::pair()
        .container("mobile-app1", |it| it.unnamed_volumes = Some(vec![volume('1', "/data", true)]));
    let before = |world: &World| {
        let plan = world.plan("v2").unwrap();
        plan.lanes[0].replacement.as_ref().unwrap().volumes_before(None)
    };
    assert_eq!(before(&world), Some(BTreeSet::from(["1".repeat(64)])));
    let unknown = world.container("mobile-app1", |it| it.unnamed_volumes = None);
    assert_eq!(before(&unknown), None);
}

/// Returns the containers that a Watchtower would replace, according to the plan.
fn watched(plan: Plan) -> Vec<String> {
    let warnings = plan.warnings.into_iter();
    let notes =
        warnings.filter_map(|it| it.strip_prefix("the Watchtower watchtower replaces ").map(str::to_owned));
    notes.map(|it| it.split(" without").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_watchtower_is_judged_by_what_the_containers_will_be() {
    let by_digest = |it: &mut Container| it.image_reference = format!("mobile@sha256:{}", "1".repeat(64));
    let world = World::pair().watched(Watchtower::default()).container("mobile-app1", by_digest);
    assert_eq!(watched(world.plan("v2").unwrap()), ["mobile-app1, mobile-app1b"], "created by the tag");
    // The first stays as it is.
    let half = world.clone().runs("mobile-app1", "v2").container("mobile-app1", by_digest);
    assert_eq!(watched(half.plan("v2").unwrap()), ["mobile-app1b"]);
    let digest = format!("sha256:{}", "2".repeat(64));
    let reference = format!("mobile@{digest}").parse().unwrap();
    let pinned = Target::Everywhere(Image::Registry { reference, digest });
    let plan = World::pair().watched(Watchtower::default()).plan_for(RunKind::Deploy, pinned);
    assert_eq!(watched(plan.unwrap()), [""; 0], "an image by its digest stays the same");

    let mut described = world;
    let labels = UpdateLabels { enable: Some(false), ..UpdateLabels::default() };
    let wanted = Described { port: 8080, update_labels: labels, ..Described::default() };
    described.observation.described.insert("mobile".to_owned(), wanted);
    assert_eq!(watched(described.plan("v2").unwrap()), [""; 0], "the description gives the label");
    let down = World::pair().down("mobile/app1b").stopped("mobile-app1b").watched(Watchtower::default());
    assert_eq!(watched(down.plan("v2").unwrap()), ["mobile-app1b, mobile-app1"], "the new one runs");
}

#[test]
fn a_kept_container_that_comes_back_is_judged_by_its_own_image() {
    const KEPT: &str = "mobile-app1.old-20261122T100000.000000Z";
    let plan = |image_reference: &str| {
        let only = Watchtower { only: vec!["mobile-app1".to_owned()], ..Watchtower::default() };
        let world = World::pair().runs("mobile-app1", "v2").watched(only);
        let world = world.another("mobile-app1", KEPT, |kept| {
            kept.state = ContainerState::Stopped;
            image_reference.clone_into(&mut kept.image_reference);
        });
        let kept = world.observation.containers.iter().find(|it| it.name == KEPT).cloned();
        let returned = RollbackTarget { image: image("v1"), container: kept, engine: String::new() };
        let target = Target::Each(BTreeMap::from([(ServerId::new("mobile", "app1"), returned)]));
        watched(world.plan_for(RunKind::Rollback, target).unwrap())
    };
    assert_eq!(plan("mobile:v1"), ["mobile-app1"]);
    assert_eq!(plan(&format!("mobile:v1@sha256:{}", "1".repeat(64))), [""; 0]);
}
