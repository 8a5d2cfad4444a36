//! Plans of deploys and rollbacks: their lanes, in which order, with which steps and forecasts.

mod new_containers;
mod notes;
mod surge;

use insta::assert_snapshot;

use super::*;
use crate::observation::{Checking, Container, LoadBalancerState, Operational, ServerState, UnnamedVolume};
use crate::testing::{World, image};

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

/// Returns a pair for which only HAProxy's own checks can tell whether it serves, with more lines in its backend.
fn own_checked(lines: &str) -> World {
    World::of(&format!(
        "backend mobile\n mode tcp\n option redis-check\n {lines}\n server app1 127.0.0.1:50000 check inter 1s rise 3\n server app1b 127.0.0.1:50001 check backup\n"
    ))
}

/// Returns a volume named by repeating this digit.
fn volume(digit: char, target: &str, by_image: bool) -> UnnamedVolume {
    UnnamedVolume { name: digit.to_string().repeat(64), target: target.to_owned(), by_image }
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
        "the remaining servers (100 % → mobile/app1b) would have room for 100 sessions (maxconn), but backend mobile has 101 now. Try again \
         when there are fewer, raise maxconn, or use --floor 0 to accept that requests queue or fail"
    );
    let mut careful = full(World::pair(), 60);
    careful.policy.headroom = 100;
    assert!(careful.plan("v2").unwrap_err()[0].to_string().contains("with a headroom of 100 %"));
    careful.policy.floor = 0;
    assert!(careful.plan("v2").is_ok());
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

/// A server that its check has down does not carry traffic, whatever its port accepts; one that is up does.
#[test]
fn the_own_check_decides_which_servers_can_take_over() {
    let plan = own_checked("").server("mobile/app1b", |state| state.operational = Operational::Stopped);
    let plan = plan.plan("v2").unwrap();
    assert_eq!(plan.lanes[0].name().to_string(), "mobile/app1b", "it is fixed before it carries traffic");
    assert!(own_checked("").silent("mobile/app1b").plan("v2").is_ok());
}
