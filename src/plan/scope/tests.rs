//! Real-world backends: sorry servers, virtual machines, spare slots, servers taken out of service by hand.

use insta::assert_snapshot;

use super::*;
use crate::observation::{
    Checking, ContainerState, Described, LoadBalancerState, Operational, RestartPolicy,
};
use crate::plan::refusal::Refusal;
use crate::plan::{Lane, LaneServer, Plan};
use crate::testing::World;

/// Returns a world with two servers that have containers, and more lines.
fn with(lines: &str) -> World {
    World::of(&format!(
        "
backend mobile
    mode http
    option httpchk GET /health
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
{lines}
"
    ))
}

fn plan(world: &World) -> Plan {
    world.plan("v2").unwrap_or_else(|refusals| panic!("{refusals:?}"))
}

/// Lists the servers that the plan works on, and its text about the rest.
fn work(world: &World) -> String {
    let plan = plan(world);
    let worked_on: Vec<String> = plan.lanes.iter().flat_map(Lane::ids).map(|id| id.server).collect();
    format!("{}; {}", worked_on.join(" "), plan.rest)
}

/// Returns this server's line in a lane.
fn line(world: &World, server: &str) -> LaneServer {
    let lines = plan(world).lanes.into_iter().flat_map(|lane| lane.servers);
    lines.into_iter().find(|it| it.id.server == server).unwrap_or_else(|| panic!("{server} is in no lane"))
}

/// Returns a world with a server line that has no container.
fn alone(name: &str, line: &str) -> World {
    with(&format!("    server {name} {line}")).gone(&format!("mobile-{name}"))
}

/// Removes the server's address from those of the engine's host.
fn elsewhere(mut world: World) -> World {
    world.observation.host_addresses.retain(|address| address.to_string() != "192.0.2.7");
    world
}

/// Changes what HAProxy reports for a server.
fn server(world: World, name: &str, change: impl FnOnce(&mut crate::observation::ServerState)) -> World {
    world.server(&format!("mobile/{name}"), change)
}

#[test]
fn a_line_without_a_container_is_left_as_it_is() {
    for (name, address) in [
        ("sorry", "127.0.0.1:8081 backup"),
        ("vm", "192.0.2.7:80 check"),
        ("elsewhere", "192.0.2.8:8080 check weight 10"),
        ("blue", "127.0.0.3:50000 check namespace blue"),
    ] {
        let world = alone(name, address);
        assert_eq!(work(&world), format!("app1 app2; 1 left: mobile/{name} has no container"));
        let note = format!("no container is behind mobile/{name} (haproxy.cfg:7, ");
        assert!(plan(&world).warnings.iter().any(|it| it.starts_with(&note)), "{:?}", plan(&world).warnings);
    }
    let socket = with("    server socket unix@/run/app.sock");
    assert_eq!(work(&socket), "app1 app2; 1 left: mobile/socket has no container");
}

/// The server is a static page on the engine's own host that answers every check with 503.
#[test]
fn nothing_is_created_where_an_unhealthy_service_listens() {
    let mut world = alone("sorry", "127.0.0.1:8081 check backup").down("mobile/sorry");
    assert_eq!(work(&world), "sorry app1 app2; ");
    world.observation.occupied.insert("mobile/sorry".parse().unwrap());
    assert_eq!(work(&world), "app1 app2; 1 left: mobile/sorry has no container");
}

#[test]
fn a_line_without_a_container_counts_as_haproxy_has_it() {
    let one = "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
    server vm 192.0.2.7:80 check
";
    let world = elsewhere(World::of(one).gone("mobile-vm"));
    let forecast = plan(&world).lanes[0].forecasts[0].to_string();
    assert_eq!(forecast, "100 % → mobile/vm");
    let only = "only mobile/vm, which drainswap does not replace, serves mobile while mobile/app1 is out";
    assert!(plan(&world).warnings.iter().any(|it| it == only), "{:?}", plan(&world).warnings);
    // It does not have to answer drainswap, which may not be allowed to send that request.
    let silent = world.clone().silent("mobile/vm");
    assert!(plan(&silent).probes.iter().all(|(id, _)| id.server != "vm"));
    let refused = world.down("mobile/vm").plan("v2").unwrap_err();
    assert!(matches!(refused[..], [Refusal::Floor { .. }]), "{refused:?}");
}

#[test]
fn slots_without_an_address_are_spare() {
    let template = "    server-template slot 1-3 app.internal:8080 check resolvers docker init-addr none";
    let world =
        with(template).unresolved("mobile/slot1").unresolved("mobile/slot2").unresolved("mobile/slot3");
    // The containers of other slots have that name.
    let world = world.container("mobile-app1", |it| it.networks[0].aliases.push("app.internal".to_owned()));
    assert_eq!(work(&world), "app1 app2; 3 left: mobile/slot1, mobile/slot2, mobile/slot3 are spare slots");
    assert!(plan(&world).warnings.is_empty(), "{:?}", plan(&world).warnings);
    // A slot that a label claims is not spare, but cannot be probed either.
    let claimed = world.another("mobile-app1", "slot1", |it| it.claims = vec!["mobile/slot1".to_owned()]);
    assert_eq!(
        work(&claimed),
        "app1 app2; 3 left: mobile/slot1 has no address in HAProxy; mobile/slot2, mobile/slot3 are spare slots"
    );
}

#[test]
fn no_container_is_created_for_a_placeholder() {
    for address in ["127.0.0.1:1 disabled", "127.0.0.1:50009 check disabled", "0.0.0.0:1 check disabled"] {
        let world = alone("slot", address).maint("mobile/slot");
        let world = if address.contains(" check") { world.silent("mobile/slot") } else { world };
        assert_eq!(work(&world), "app1 app2; 1 left: mobile/slot is a spare slot", "{address}");
        let enabled = world.scope(|scope| scope.enable = true);
        assert_eq!(work(&enabled), "app1 app2; 1 left: mobile/slot is a spare slot", "{address}");
    }
    let not_disabled = alone("slot", "127.0.0.1:1 check").down("mobile/slot");
    assert_eq!(work(&not_disabled), "app1 app2; 1 left: mobile/slot is a spare slot");
}

#[test]
fn a_server_in_maint_or_drain_by_hand_gets_its_container_and_keeps_its_state() {
    for (world, state) in [
        (with("").maint("mobile/app2"), AdminState::Maint),
        (with("").drain("mobile/app2"), AdminState::Drain),
    ] {
        let world = world.floor(0);
        assert_eq!(work(&world), format!("app2 app1; mobile/app2 stays in {state}"));
        assert_eq!((line(&world, "app2").stays, line(&world, "app1").stays), (Some(state), None));
        assert!(!line(&world, "app2").takes_traffic);
        let lane = plan(&world).lanes.remove(0);
        assert_eq!((lane.enabled_ids(), lane.alive().count()), (vec![], 1), "the new container must answer");
        assert!(plan(&world).to_string().contains(&format!("ready      mobile/app2 back to {state}\n")));
        let enabled = world.clone().scope(|scope| scope.enable = true);
        assert_eq!((work(&enabled), line(&enabled, "app2").stays), ("app2 app1; ".to_owned(), None));
        let left_out = world.left_out("mobile/app2");
        assert_eq!((work(&left_out), line(&left_out, "app2").stays), ("app2 app1; ".to_owned(), None));
    }
}

/// Either the agent or a person set it, and `HAProxy` does not tell which.
#[test]
fn a_state_that_an_agent_may_have_set_is_not_ended() {
    let agent_on = |world: World, id: &str| world.server(id, |it| it.checks.agent = Checking::On);
    let world = agent_on(with("").drain("mobile/app2"), "mobile/app2").floor(0);
    for world in [world.clone(), world.scope(|scope| scope.enable = true)] {
        assert_eq!(work(&world), "app2 app1; mobile/app2 stays in drain (by agent-check, or by hand)");
        assert_eq!(line(&world, "app2").stays, Some(AdminState::Drain));
        assert!(!plan(&world).to_string().contains("--enable puts it in service"));
    }
    let serving = agent_on(with(""), "mobile/app2");
    let text = plan(&serving).to_string();
    assert!(
        text.contains("  drain      mobile/app2, with the agent (agent-check) off until it is back\n"),
        "{text}"
    );
    assert_eq!(line(&serving, "app2").agents.len(), 1);
    assert!(line(&serving, "app1").agents.is_empty());
}

/// It takes no traffic before or after, so nothing may rely on it.
#[test]
fn a_server_that_stays_out_carries_nothing() {
    let pair = World::pair().maint("mobile/app1b");
    let refused = pair.plan("v2").unwrap_err();
    assert!(matches!(refused[..], [Refusal::Floor { .. }]), "{refused:?}");
    assert!(pair.scope(|scope| scope.enable = true).plan("v2").is_ok(), "it is put in service first");
}

#[test]
fn a_server_taken_out_by_hand_that_runs_the_image_needs_no_work() {
    let world = with("").runs("mobile-app1", "v2").runs("mobile-app2", "v2").maint("mobile/app2");
    assert_eq!(work(&world), "; mobile/app2 stays in maint");
    let text = plan(&world).to_string();
    assert!(
        text.ends_with("  out        mobile/app2 stays in maint (--enable puts it in service)\n"),
        "{text}"
    );
    // It is not repaired either, because a person who took it out may be working on it.
    let silent = world.clone().silent("mobile/app2");
    assert_eq!(work(&silent), "; mobile/app2 stays in maint");
    assert_eq!(work(&silent.stopped("mobile-app2")), "; mobile/app2 stays in maint");
    assert_eq!(work(&world.clone().scope(|scope| scope.enable = true)), "app2; ");
    assert_eq!(work(&world.left_out("mobile/app2")), "app2; ");
}

/// One of two lines to a container is in maint, and the other one serves.
#[test]
fn of_two_lines_to_a_container_only_the_one_that_was_out_stays_out() {
    let world = World::shared().maint("tablet/one");
    assert_eq!(work(&world), "app1 one app2; tablet/one stays in maint");
    let lane = &plan(&world).lanes[0];
    assert_eq!(lane.enabled_ids(), ["mobile/app1".parse().unwrap()]);
    assert!(plan(&world).to_string().contains("ready      mobile/app1; tablet/one back to maint\n"));
}

#[test]
fn a_container_that_is_gone_behind_a_server_in_maint_is_left_gone() {
    let world = with("").maint("mobile/app2").silent("mobile/app2").gone("mobile-app2").floor(0);
    assert_eq!(work(&world), "app1; 1 left: mobile/app2 is a spare slot");
    assert_eq!(work(&world.clone().scope(|scope| scope.enable = true)), "app2 app1; ");
    assert_eq!(work(&world.left_out("mobile/app2")), "app2 app1; ");
}

/// It is in maint because that run took it out.
#[test]
fn a_server_whose_new_container_another_run_is_about_to_start_is_not_left() {
    let run = crate::model::ids::RunId::from("20261123T220000.000Z");
    let new = ContainerRole::Candidate.name("mobile-app2", &run);
    let world = with("").another("mobile-app2", &new, |it| it.state = ContainerState::Created);
    let world = world.maint("mobile/app2").silent("mobile/app2").gone("mobile-app2").floor(0);
    let refused = world.plan("v2").unwrap_err();
    assert!(matches!(refused[..], [Refusal::ConcurrentRun { .. }]), "{refused:?}");
    let mut of_this_site = world;
    of_this_site.observation.known_runs.insert(run);
    assert_eq!(work(&of_this_site), "app2 app1; mobile/app2 stays in maint");
}

#[test]
fn no_create_leaves_missing_containers_missing() {
    let world = with("").down("mobile/app2").gone("mobile-app2").floor(0);
    assert_eq!(work(&world), "app2 app1; ");
    let world = world.scope(|scope| scope.no_create = true);
    assert_eq!(work(&world), "app1; 1 left: mobile/app2 has no container any more (--no-create)");
    let mut described = world.clone();
    let restart = RestartPolicy::never();
    described
        .observation
        .described
        .insert("mobile".to_owned(), Described { name: None, port: 80, restart, ..Described::default() });
    assert_eq!(work(&described), work(&world));
}

#[test]
fn only_and_leave_select_the_servers() {
    let three = with("    server app3 127.0.0.3:50000 check");
    let only = three.clone().scope(|scope| scope.only = ["app1".to_owned()].into());
    assert_eq!(work(&only), "app1; 2 left: mobile/app2, mobile/app3 are not named by --only");
    let leave = |scope: &mut Scope| scope.leave = ["mobile/app2".parse().unwrap()].into();
    let left = three.clone().scope(leave);
    assert_eq!(work(&left), "app1 app3; 1 left: mobile/app2 is excluded by the settings (leave)");
    // It counts as HAProxy reports it.
    let silent = left.silent("mobile/app2").down("mobile/app3");
    assert_eq!(work(&silent), "app3 app1; 1 left: mobile/app2 is excluded by the settings (leave)");
    // A line that shares the container of a selected one goes out with it.
    let shared = with("    server same 127.0.0.1:50000 check");
    let only = shared.scope(|scope| scope.only = ["same".to_owned()].into());
    assert_eq!(work(&only), "same app1; 1 left: mobile/app2 is not named by --only");
}

#[test]
fn a_backend_without_any_container_is_refused() {
    let world = World::of("backend mobile\n server vm 192.0.2.7:80\n server slot 127.0.0.1:1 disabled\n");
    let world = world.gone("mobile-vm").gone("mobile-slot").maint("mobile/slot");
    let refused = world.plan("v2").unwrap_err();
    assert!(matches!(refused[..], [Refusal::Unmatched { .. }, Refusal::Unmatched { .. }]), "{refused:?}");
    // Every server is left on request.
    let left = with("").scope(|scope| {
        scope.leave = ["mobile/app1".parse().unwrap(), "mobile/app2".parse().unwrap()].into();
    });
    assert!(plan(&left).is_empty());
}

/// One of them missed the change, or was restarted since.
#[test]
fn a_server_in_maint_at_only_one_load_balancer_is_refused() {
    let mut world = with("").maint("mobile/app2").floor(0);
    let other =
        LoadBalancerState { name: "other".to_owned(), ..with("").observation.load_balancers.remove(0) };
    world.observation.load_balancers.push(other);
    let refused = world.plan("v2").unwrap_err();
    let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
    assert_snapshot!(refused.join("\n"), @"mobile/app2 is in maint at /run/haproxy/admin.sock, but in service at another load balancer, and drainswap cannot know which is intended. Set the same state everywhere (`drainswap ready mobile/app2` or `drainswap maint mobile/app2`), or put it in service with --enable");
    assert!(world.clone().scope(|scope| scope.enable = true).plan("v2").is_ok());
    assert!(world.left_out("mobile/app2").plan("v2").is_ok());
}

#[test]
fn a_container_of_another_state_is_replaced_behind_a_server_in_maint() {
    for state in [ContainerState::Stopped, ContainerState::Paused, ContainerState::Restarting] {
        let world = with("").maint("mobile/app2").silent("mobile/app2");
        let world = world.floor(0).container("mobile-app2", |container| container.state = state);
        assert_eq!(line(&world, "app2").stays, Some(AdminState::Maint), "{state:?}");
    }
}

#[test]
fn scopes_are_compared_by_how_much_they_permit() {
    let scope = |change: fn(&mut Scope)| {
        let mut scope = Scope::default();
        change(&mut scope);
        scope
    };
    let enables = scope(|it| it.enable = true);
    let creates_none = scope(|it| it.no_create = true);
    let leaves = scope(|it| it.leave = ["mobile/app1".parse().unwrap()].into());
    let default = Scope::default();
    assert!(enables.does_more_than(&default) && !default.does_more_than(&enables));
    assert!(default.does_more_than(&creates_none) && !creates_none.does_more_than(&default));
    assert!(default.does_more_than(&leaves) && !leaves.does_more_than(&default));
    assert!([&enables, &creates_none, &leaves].into_iter().all(|it| !it.does_more_than(it)));
}

/// There are several ways in which HAProxy does not use a server.
#[test]
fn a_server_that_is_only_down_is_repaired() {
    let world = server(with(""), "app2", |it| it.operational = Operational::Stopped).silent("mobile/app2");
    assert_eq!(work(&world), "app2 app1; ");
}

#[test]
fn a_new_container_on_another_engine_is_not_about_to_start_here() {
    let run = crate::model::ids::RunId::from("20261123T220000.000Z");
    let new = ContainerRole::Candidate.name("mobile-app2", &run);
    let world = with("").another("mobile-app2", &new, |it| {
        it.state = ContainerState::Created;
        it.engine = "ssh://other".to_owned();
    });
    let world = world.maint("mobile/app2").silent("mobile/app2").gone("mobile-app2").floor(0);
    assert_eq!(work(&world), "app1; 1 left: mobile/app2 is a spare slot");
}

#[test]
fn a_backend_whose_servers_have_no_address_is_refused() {
    let claimed = |world: World, name: &str| {
        world
            .unresolved(&format!("mobile/{name}"))
            .container(&format!("mobile-{name}"), |it| it.claims = vec![format!("mobile/{name}")])
    };
    let refused = claimed(claimed(with(""), "app1"), "app2").plan("v2").unwrap_err();
    assert!(matches!(refused[..], [Refusal::NoAddress { .. }, Refusal::NoAddress { .. }]), "{refused:?}");
}
