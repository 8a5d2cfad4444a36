use std::collections::BTreeSet;

use insta::assert_snapshot;

use super::traffic::Balance;
use super::*;
use crate::observation::{Operational, ServerState};
use crate::testing::World;
use crate::topology::places::Places;

/// Returns where the traffic of the backend mobile goes while these servers are out.
fn forecast(world: &World, out: &[&str]) -> String {
    let topology = world.topology();
    let balance = Balance::of(topology.backend("mobile").unwrap());
    let out: BTreeSet<ServerId> = out.iter().map(|id| id.parse().unwrap()).collect();
    balance.forecast(&world.observation.load_balancers[0], &out).to_string()
}

#[test]
fn traffic_goes_to_usable_servers() {
    let world = World::origin;
    assert_snapshot!(forecast(&world(), &[]), @"50 % → mobile/app1, 50 % → mobile/app2");
    assert_snapshot!(forecast(&world().down("mobile/app1"), &[]), @"100 % → mobile/app2");
    assert_snapshot!(forecast(&world().drain("mobile/app1"), &["mobile/app2"]), @"100 % → mobile/app1b");
    assert_snapshot!(forecast(&world().drain("mobile/app1").maint("mobile/app1b"), &["mobile/app2"]), @"100 % → mobile/app2b");
    let starting = world().server("mobile/app1", |server| server.operational = Operational::Starting);
    assert_snapshot!(forecast(&starting, &[]), @"50 % → mobile/app1, 50 % → mobile/app2");
    let no_new = world().server("mobile/app1", |server| server.operational = Operational::Stopping);
    assert_snapshot!(forecast(&no_new, &[]), @"100 % → mobile/app2");
    let light = world().server("mobile/app1", |server| server.weight = 0);
    assert_snapshot!(forecast(&light, &[]), @"100 % → mobile/app2");
    let heavy = world().server("mobile/app1", |server| server.weight = 256);
    assert_snapshot!(forecast(&heavy, &[]), @"100 % → mobile/app1, 0 % → mobile/app2");
}

#[test]
fn a_server_that_haproxy_does_not_know_takes_nothing() {
    let mut world = World::origin();
    world.observation.load_balancers[0].servers.remove(0);
    assert_snapshot!(forecast(&world, &[]), @"100 % → mobile/app2");
}

#[test]
fn sections_without_servers_and_disabled_sections_are_left_out() {
    let world = World::of(
        "
frontend www
    mode http
    bind :8080
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
backend off
    mode http
    disabled
    server app1 127.0.0.1:50000 check
",
    );
    let names: Vec<String> = world.topology().backends.into_iter().map(|backend| backend.name).collect();
    assert_eq!(names, ["mobile"]);
}

#[test]
fn lines_to_the_same_address_are_found() {
    let world = World::of(
        "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
listen tablet
    bind :8081
    mode tcp
    server one 127.0.0.1:50000
    server two 127.0.0.1:50001
",
    );
    let topology = world.topology();
    let beside = |server| topology.aliases_of(server).map(|other| other.id.to_string()).collect::<Vec<_>>();
    assert_eq!(beside(&topology.backends[0].servers[0]), ["tablet/one"]);
    assert_eq!(beside(&topology.backends[1].servers[1]), Vec::<String>::new());
}

/// A container labelled for one line only is stopped for both.
#[test]
fn a_line_whose_address_leads_to_the_container_is_found() {
    let world = World::of(
        "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
backend tablet
    mode http
    server one 127.0.0.2:50000 check
",
    );
    let one = |container: &mut Container| {
        container.claims = vec!["mobile/app1".to_owned()];
        container.published[0].ip = "0.0.0.0".parse().unwrap();
    };
    let topology = world.gone("tablet-one").container("mobile-app1", one).topology();
    let beside: Vec<String> =
        topology.aliases_of(&topology.backends[0].servers[0]).map(|it| it.id.to_string()).collect();
    assert_eq!(beside, ["tablet/one"]);
}

#[test]
fn a_server_that_the_configuration_lacks_is_on_the_engine_of_its_host() {
    let configuration = crate::testing::configuration(
        "backend b
 server s app2.internal:80
",
    );
    let named =
        toml::from_str("\"app2.internal\" = \"context:two\"\n\"10.0.0.9\" = \"context:nine\"").unwrap();
    let places = Places { engines: named, ..Places::default() };
    let mut world = World::pair();
    world = world
        .unlisted("b/s", "10.0.0.2:80")
        .unlisted("old/s", "10.0.0.2:81")
        .unlisted("old/t", "10.0.0.9:80");
    let engines = engines(&configuration, &world.observation.load_balancers, &places);
    let engine = |id: &str| engines.get(&id.parse().unwrap()).map(String::as_str);
    assert_eq!(
        (engine("b/s"), engine("old/s"), engine("old/t"), engine("mobile/app1")),
        (Some("context:two"), Some("context:two"), Some("context:nine"), None)
    );
}

#[test]
fn settings_with_which_haproxy_affects_clients_are_named() {
    for setting in ["on-marked-down shutdown-sessions", "on-marked-up shutdown-backup-sessions", "maxconn 9"]
    {
        let config = format!("backend b\n    server a 127.0.0.1:80 check {setting}\n");
        let topology = World::of(&config).topology();
        let traps = &topology.backends[0].caveats;
        let keyword = setting.split(' ').next().unwrap();
        assert!(traps.len() == 1 && traps[0].contains(keyword), "{setting}: {traps:?}");
    }
    assert_eq!(World::pair().topology().backends[0].caveats, Vec::<String>::new());
}

#[test]
fn a_port_relative_to_the_client_s_is_not_an_address() {
    let world = World::of(
        "
backend mobile
    server shifted 127.0.0.1:+1
    server fixed 127.0.0.1:50000
",
    );
    let running =
        |port: u16| move |server: &mut ServerState| server.address = Some(([127, 0, 0, 1], port).into());
    let world = world.server("mobile/shifted", running(1)).server("mobile/fixed", running(50_000));
    let topology = world.topology();
    let addresses: Vec<_> = topology.backends[0].servers.iter().map(Server::address).collect();
    assert_eq!(addresses, [None, Some(([127, 0, 0, 1], 50_000).into())]);
}

#[test]
fn an_ipv4_mapped_address_is_the_ipv4_address() {
    let mut world = World::of("backend mobile\n    server app1 ::ffff:127.0.0.1:50000\n");
    world.observation.load_balancers[0].servers.remove(0);
    let address = world.topology().backends[0].servers[0].probe.as_ref().map(|probe| probe.address);
    assert_eq!(address, Some(([127, 0, 0, 1], 50_000).into()));
}
