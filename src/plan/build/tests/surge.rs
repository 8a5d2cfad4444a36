//! Surge servers in plans.

use crate::observation::{AloneBecause, SurgeLabel};
use crate::plan::refusal::Refusal;
use crate::plan::surge::SurgeSetting;
use crate::testing::World;

const ONE: &str = "
backend mobile
    mode http
    option httpchk GET /health
    default-server inter 500ms
    server app1 127.0.0.1:50000 check maxconn 40
";

/// Returns a world whose plans may have surge servers.
fn world(config: &str) -> World {
    let mut world = World::of(config);
    world.policy.surge = SurgeSetting::Auto;
    world
}

fn refusal(world: &World) -> String {
    let refusals = world.plan("v2").unwrap_err();
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn one_joins_where_the_floor_would_not_hold() {
    let world = world(ONE).server("mobile/app1", |it| it.limit = Some(40));
    let plan = world.plan("v2").unwrap();
    insta::assert_snapshot!(plan.to_string());
    let pair = World::pair();
    let with_backup = World { policy: world.policy.clone(), ..pair };
    assert!(with_backup.plan("v2").unwrap().surge.is_empty(), "its backup takes over");
}

#[test]
fn none_joins_if_the_operator_says_so() {
    let mut never = world(ONE);
    never.policy.surge = SurgeSetting::Never;
    assert!(matches!(never.plan("v2").unwrap_err()[..], [Refusal::Floor { .. }]));
    let without_floor = world(ONE).floor(0);
    assert!(without_floor.plan("v2").unwrap().surge.is_empty());
    let labelled = world(ONE).container("mobile-app1", |it| it.surge = SurgeLabel::Never);
    assert!(refusal(&labelled).contains("drainswap.surge=never"), "{}", refusal(&labelled));
}

#[test]
fn as_many_join_as_are_asked_for_and_help() {
    let mut world = World::origin();
    for (asked, joined) in [("1", 1), ("2", 2), ("9", 2)] {
        world.policy.surge = asked.parse().unwrap();
        let plan = world.plan("v2").unwrap();
        assert_eq!(plan.surge.len(), joined, "one for each primary");
        assert!(plan.lanes[0].forecasts[0].to_string().contains("app1-surge"));
    }
}

#[test]
fn a_container_beside_which_no_second_one_can_run_is_refused() {
    let alone = |reason: AloneBecause| world(ONE).container("mobile-app1", |it| it.alone.push(reason));
    assert!(refusal(&alone(AloneBecause::HostNetwork)).contains("host's network"));
    let data = || AloneBecause::WritableVolume("data".to_owned());
    assert!(refusal(&alone(data())).contains("--surge-shares-volumes"));
    let shared = alone(data()).another("mobile-app1", "log-shipper", |it| it.published.clear());
    assert_eq!(shared.plan("v2").unwrap().surge.len(), 1, "two write there already");
    let mut allowed = alone(data());
    allowed.policy.surge_shares_volumes = true;
    assert_eq!(allowed.plan("v2").unwrap().surge.len(), 1);
}

#[test]
fn a_placeholder_is_used_where_no_server_can_be_added() {
    let config = ONE.replace("mode http\n", "mode http\n    balance static-rr\n");
    let world_without = world(&config);
    assert!(refusal(&world_without).contains("balance static-rr"), "{}", refusal(&world_without));
    let config = format!("{config}    server spare 127.0.0.1:1 disabled check\n");
    let world = world(&config)
        .gone("mobile-spare")
        .maint("mobile/spare")
        .server("mobile/spare", |it| it.sessions = 0);
    let plan = world.plan("v2").unwrap();
    assert_eq!(plan.surge[0].name().to_string(), "mobile/spare");
    assert!(plan.lanes[0].forecasts[0].to_string().contains("mobile/spare"));
}

#[test]
fn a_cookie_that_holds_the_clients_of_siblings_stands_in_the_way() {
    let config = ONE
        .replace("check maxconn 40", "check cookie a1")
        .replace("mode http\n", "mode http\n    cookie SRV insert\n");
    let mut one = world(&config);
    assert!(refusal(&one).contains("cookie"), "HAProxy 2.6 takes none: {}", refusal(&one));
    one.observation.load_balancers[0].version = "3.0.11".to_owned();
    let plan = one.plan("v2").unwrap();
    assert!(plan.to_string().contains("cookie a1"), "{plan}");
    let two = world(&format!("{config}    server app2 127.0.0.2:50000 check cookie a2\n")).floor(2);
    assert!(refusal(&two).contains("cookie"), "{}", refusal(&two));
}
