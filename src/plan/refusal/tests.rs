use insta::assert_snapshot;

use super::*;
use crate::observation::{AdminBits, Container, ContainerState, Operational, Owner};
use crate::testing::World;

/// Lists every reason against a deploy of v2.
fn refused(world: &World) -> String {
    let Err(refusals) = world.plan("v2") else { panic!("a plan was made") };
    refusals.iter().map(|refusal| refusal.to_string() + "\n").collect()
}

const ALONE: &str = "backend mobile\n mode http\n server app1 127.0.0.1:50000 check\n";

#[test]
fn the_last_server_is_not_taken_away() {
    assert_snapshot!(refused(&World::of(ALONE)), @"without mobile/app1 no server would serve backend mobile, and the floor is 1. Bring more servers up, or lower the floor with --floor");
    assert!(World::of(ALONE).floor(0).plan("v2").is_ok());
    assert!(World::of(ALONE).down("mobile/app1").plan("v2").is_ok(), "it does not serve anyway");
}

#[test]
fn a_refusal_names_servers_that_could_be_enabled() {
    assert_snapshot!(refused(&World::pair().maint("mobile/app1b")), @"without mobile/app1 no server would serve backend mobile, and the floor is 1. mobile/app1b was taken out of service by hand: --enable puts it in service first. Bring more servers up, or lower the floor with --floor");
}

#[test]
fn a_backup_is_created_again_before_the_last_primary_is_taken_away() {
    let world = World::pair().down("mobile/app1b").gone("mobile-app1b");
    assert!(world.plan("v2").is_ok());
    let unchanged = World::pair().maint("mobile/app1b").runs("mobile-app1b", "v2").left_out("mobile/app1b");
    assert!(unchanged.plan("v2").is_ok(), "it is put back in service first");
}

#[test]
fn a_higher_floor_is_respected() {
    assert_snapshot!(refused(&World::origin().floor(2)), @"
    without mobile/app1 only 1 server (100 % → mobile/app2) would serve backend mobile, and the floor is 2. Bring more servers up, or lower the floor with --floor
    without mobile/app2 only 1 server (100 % → mobile/app1) would serve backend mobile, and the floor is 2. Bring more servers up, or lower the floor with --floor
    ");
    assert_snapshot!(refused(&World::origin().floor(3)), @"
    without mobile/app1 only 1 server (100 % → mobile/app2) would serve backend mobile, and the floor is 3. Bring more servers up, or lower the floor with --floor
    without mobile/app2 only 1 server (100 % → mobile/app1) would serve backend mobile, and the floor is 3. Bring more servers up, or lower the floor with --floor
    ");
    let all_share = "
backend mobile
    mode http
    option allbackups
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.1:50001 check backup
    server app2b 127.0.0.2:50001 check backup
";
    assert!(World::of(all_share).floor(2).plan("v2").is_ok());
    assert_snapshot!(refused(&World::of(all_share).floor(3)), @"without mobile/app1 only 2 servers (50 % → mobile/app1b, 50 % → mobile/app2b) would serve backend mobile, and the floor is 3. Bring more servers up, or lower the floor with --floor");
}

#[test]
fn a_container_that_another_backend_cannot_spare_is_left_in_service() {
    assert_snapshot!(refused(&World::shared().down("tablet/two")), @"without mobile/app1, tablet/one no server would serve backend tablet, and the floor is 1. Bring more servers up, or lower the floor with --floor");
}

#[test]
fn servers_that_take_over_must_answer() {
    let config = "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
backend tablet
    mode http
    server one 127.0.0.1:50000 check
    server two 127.0.0.3:50000 check
";
    assert_snapshot!(refused(&World::of(config).silent("tablet/two")), @"tablet/two would take over while mobile/app1 is out, but it fails its probe: connection refused. Fix it first, or use --floor 0 to accept an outage");
    let accepted = World::of(config).silent("tablet/two").floor(0);
    assert!(accepted.plan("v2").is_ok(), "without a floor no server needs to take over");
    let idle = World::of(config).silent("tablet/two").down("tablet/one");
    assert!(idle.plan("v2").is_ok(), "tablet/one has no traffic to take over");
}

/// Otherwise one of them would be in the lanes of both, or its container in none.
#[test]
fn lines_of_one_address_have_one_container() {
    let labelled = |world: World, name: &str, servers: &[&str]| {
        world.container(name, |it| it.claims = servers.iter().map(|&it| it.to_owned()).collect())
    };
    let world = World::of(
        "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
    server same 127.0.0.2:50000 check
",
    );
    let world = labelled(world, "mobile-app1", &["mobile/app1", "mobile/same"]);
    assert_snapshot!(refused(&world), @r#"mobile/same (haproxy.cfg:6) could be any of: mobile-app1 (by its label drainswap.server); mobile-app2 (publishes the address). Name the right one in drainswap.toml: [servers] "mobile/same" = { container = "NAME" }"#);
    let relayed = world.clone().container("mobile-app2", |it| {
        it.published.clear();
        it.claims = vec!["mobile/app2".to_owned()];
    });
    assert_snapshot!(refused(&relayed), @r#"mobile/app2 (haproxy.cfg:5) could be any of: mobile-app2 (behind mobile/app2); mobile-app1 (behind mobile/same). Name the right one in drainswap.toml: [servers] "mobile/app2" = { container = "NAME" }"#);
    let world = labelled(world, "mobile-app1", &["mobile/app1"]);
    let world = labelled(world, "mobile-app2", &["mobile/app2", "mobile/same"]);
    assert!(world.plan("v2").is_ok());
}

#[test]
fn several_matching_containers_are_refused() {
    let world = World::pair().another("mobile-app1", "mobile-app1-copy", |_| {});
    assert_snapshot!(refused(&world), @r#"mobile/app1 (haproxy.cfg:5) could be any of: mobile-app1 (publishes the address); mobile-app1-copy (publishes the address). Name the right one in drainswap.toml: [servers] "mobile/app1" = { container = "NAME" }"#);
}

#[test]
fn the_closest_containers_are_named_if_none_matches() {
    let moved = |container: &mut Container| container.published[0].port = 50002;
    assert_snapshot!(refused(&World::of(ALONE).container("mobile-app1", moved)), @r#"no container is behind mobile/app1 (haproxy.cfg:3, 127.0.0.1:50000). Candidates: mobile-app1 (publishes 127.0.0.1:50002). Give the right one the label drainswap.server=mobile/app1, or publish 127.0.0.1:50000 from it, or name it in drainswap.toml: [servers] "mobile/app1" = { container = "NAME" }"#);
    assert_snapshot!(refused(&World::of(ALONE).gone("mobile-app1")), @r#"no container is behind mobile/app1 (haproxy.cfg:3, 127.0.0.1:50000). No running container on its engine publishes that port, has that address, or has a similar label or name. Give the right one the label drainswap.server=mobile/app1, or publish 127.0.0.1:50000 from it, or name it in drainswap.toml: [servers] "mobile/app1" = { container = "NAME" }"#);
}

#[test]
fn a_misspelled_label_is_shown() {
    let slip = |container: &mut Container| container.claims = vec!["mobile/ap1".to_owned()];
    assert_snapshot!(refused(&World::of(ALONE).container("mobile-app1", slip)), @r#"no container is behind mobile/app1 (haproxy.cfg:3, 127.0.0.1:50000). Candidates: mobile-app1 (publishes 127.0.0.1:50000, labelled drainswap.server=mobile/ap1). Give the right one the label drainswap.server=mobile/app1, or publish 127.0.0.1:50000 from it, or name it in drainswap.toml: [servers] "mobile/app1" = { container = "NAME" }"#);
}

#[test]
fn a_server_that_cannot_be_probed_is_refused() {
    let world = World::of(
        "
backend mobile
    mode http
    server sock unix@/run/mobile.sock check
backend spare
    mode http
    server s 127.0.0.1:50000
",
    );
    assert_snapshot!(refused(&world), @"mobile/sock (haproxy.cfg:4) has no address to probe: its address is a unix socket or an unresolved name, or it has no port. Give it an address and a port, and reload HAProxy");
    let labelled = |container: &mut Container| container.claims = vec!["mobile/sock".to_owned()];
    let labelled = world.another("spare-s", "mobile-sock", labelled).floor(0);
    assert!(
        refused(&labelled).starts_with("mobile/sock (haproxy.cfg:4) has no address"),
        "{}",
        refused(&labelled)
    );
}

/// A listen section was removed from haproxy.cfg without a reload, or a server was added at runtime.
#[test]
fn a_server_that_only_haproxy_knows_is_not_cut_off_from_its_container() {
    // Once by the same address as a server line, and once by another one that leads to the same container.
    let everywhere = |container: &mut Container| container.published[0].ip = "0.0.0.0".parse().unwrap();
    for address in ["127.0.0.1:50000", "127.0.0.9:50000"] {
        let world = World::pair().container("mobile-app1", everywhere);
        let world = world.unlisted("old/app1", address);
        let refused = refused(&world);
        assert!(
            refused.starts_with("HAProxy also sends requests to mobile-app1 as old/app1 (UP, 2 sessions)"),
            "{refused}"
        );
        let id = "old/app1";
        let in_maint = world.clone().maint(id);
        assert!(in_maint.plan("v2").is_err(), "its last sessions have not ended");
        let out_of_use = in_maint.server(id, |server| server.sessions = 0);
        assert!(out_of_use.plan("v2").is_ok(), "{:?}", out_of_use.plan("v2"));
    }
    let elsewhere = World::pair().unlisted("old/app1", "127.0.0.1:50009");
    assert!(elsewhere.plan("v2").is_ok(), "it reaches another container, or none");
    assert_snapshot!(refused(&World::pair().unlisted("old/app1", "127.0.0.1:50000")), @"HAProxy also sends requests to mobile-app1 as old/app1 (UP, 2 sessions), which is not in haproxy.cfg, so it cannot be drained together with mobile/app1. Reload HAProxy if old/app1 was removed from haproxy.cfg, use --haproxy-config to name the file that has it, or take it out of service: `set server old/app1 state maint` at /run/haproxy/admin.sock");
}

#[test]
fn a_container_that_the_settings_name_and_the_engine_lacks_is_refused() {
    let mut world = World::pair();
    world.observation.named.insert("mobile/app1".parse().unwrap(), "pay-1".to_owned());
    assert_snapshot!(refused(&world), @"no container is behind mobile/app1 (haproxy.cfg:5, 127.0.0.1:50000): [servers] in drainswap.toml names pay-1, but its engine has no such container. Candidates: mobile-app1 (publishes 127.0.0.1:50000). Correct that entry, or leave it out and give the right one the label drainswap.server=mobile/app1");
}

#[test]
fn an_address_that_proves_nothing_is_explained() {
    let namespace = "backend mobile\n mode http\n server app1 127.0.0.1:50000 check namespace blue\n";
    assert_snapshot!(refused(&World::of(namespace).floor(0)), @r#"no container is behind mobile/app1 (haproxy.cfg:3, 127.0.0.1:50000): namespace on the line puts its address in another network. Candidates: mobile-app1 (publishes 127.0.0.1:50000). Give the right one the label drainswap.server=mobile/app1, or name it in drainswap.toml: [servers] "mobile/app1" = { container = "NAME" }"#);
    let named = "backend mobile\n mode http\n server app1 mobile-app1:50000 check\nbackend spare\n mode http\n server s 127.0.0.1:1\n";
    let world = World::of(named)
        .server("mobile/app1", |server| server.address = Some("192.0.2.7:50000".parse().unwrap()))
        .another("spare-s", "mobile-app1", |_| {});
    assert_snapshot!(refused(&world.floor(0)), @r#"no container is behind mobile/app1 (haproxy.cfg:3, 192.0.2.7:50000): mobile-app1 has the name, but HAProxy has resolved it to 192.0.2.7:50000, which is not an address of mobile-app1. Candidates: mobile-app1 (publishes 127.0.0.1:1). If it is the right one anyway, give it the label drainswap.server=mobile/app1, or name it in drainswap.toml: [servers] "mobile/app1" = { container = "NAME" }; if its address has changed, reload HAProxy"#);
}

#[test]
fn an_answer_at_a_stopped_container_s_address_is_refused() {
    let world = World::pair().down("mobile/app1b");
    assert!(world.clone().stopped("mobile-app1b").plan("v2").is_ok());
    assert_snapshot!(refused(&World::pair().maint("mobile/app1b").stopped("mobile-app1b")), @"
    mobile/app1b answers although its container mobile-app1b is not running, so something else serves there. Give the right container the label drainswap.server=mobile/app1b, or remove mobile-app1b
    without mobile/app1 no server would serve backend mobile, and the floor is 1. mobile/app1b was taken out of service by hand: --enable puts it in service first. Bring more servers up, or lower the floor with --floor
    ");
    let created = |container: &mut Container| container.state = ContainerState::Created;
    let never_started = World::pair().maint("mobile/app1b").container("mobile-app1b", created);
    assert!(matches!(never_started.plan("v2").unwrap_err()[0], Refusal::UnknownListener { .. }));
}

#[test]
fn a_container_started_with_rm_is_refused() {
    let world = World::pair().container("mobile-app1", |container| container.auto_remove = true);
    assert_snapshot!(refused(&world), @"container mobile-app1 behind mobile/app1 was started with --rm: Docker deletes it when it stops, and drainswap could not bring it back. Start it without --rm first");
}

#[test]
fn a_container_that_another_tool_restarts_is_refused() {
    let owned = |owner: Owner| {
        refused(&World::pair().container("mobile-app1", |it| {
            // Quadlet starts its containers with --rm.
            it.auto_remove = matches!(owner, Owner::Systemd(_));
            it.owner = Some(owner);
        }))
    };
    assert_snapshot!(owned(Owner::Swarm("mobile".to_owned())), @"container mobile-app1 behind mobile/app1 belongs to the Swarm service mobile, which starts another as soon as this one stops. Use `docker service update --image IMAGE mobile`");
    assert_snapshot!(owned(Owner::Systemd("app1.service".to_owned())), @"container mobile-app1 behind mobile/app1 belongs to the systemd unit app1.service, which starts another as soon as this one stops. Change the image in the unit's file (Image= in a .container file of Quadlet), then use `systemctl daemon-reload` and `systemctl restart app1.service`, with --user where Podman runs rootless");
    assert_snapshot!(owned(Owner::Kubernetes("shop/mobile-1".to_owned())), @"container mobile-app1 behind mobile/app1 belongs to the Kubernetes pod shop/mobile-1, which starts another as soon as this one stops. Use `kubectl set image` or `kubectl rollout restart` on the workload that has the pod");
    assert_snapshot!(owned(Owner::Nomad("4243abe5".to_owned())), @"container mobile-app1 behind mobile/app1 belongs to the Nomad allocation 4243abe5, which starts another as soon as this one stops. Change the image in its job, which `nomad alloc status 4243abe5` names, and use `nomad job run`");
}

/// The running process was started with an older haproxy.cfg.
fn without(mut world: World, id: &str) -> World {
    world.observation.load_balancers[0].servers.retain(|server| server.id.to_string() != id);
    world
}

#[test]
fn a_server_that_the_running_process_does_not_know_is_refused() {
    assert_snapshot!(refused(&without(World::origin(), "mobile/app1b")), @"mobile/app1b is in haproxy.cfg (haproxy.cfg:6), but the running HAProxy does not know it. Reload HAProxy, or use --haproxy-config to name the configuration that it runs");
    assert_snapshot!(refused(&without(World::shared(), "tablet/one")), @"tablet/one is in haproxy.cfg (haproxy.cfg:9), but the running HAProxy does not know it. Reload HAProxy, or use --haproxy-config to name the configuration that it runs");
}

#[test]
fn an_inherited_state_is_refused() {
    let world = World::origin().server("mobile/app1b", |server| {
        server.admin = AdminBits(2);
        server.operational = Operational::Stopped;
        server.status = "MAINT (via mobile/app1)".to_owned();
    });
    assert_snapshot!(refused(&world), @"mobile/app1b is in MAINT (via mobile/app1), which comes from a tracked server or from name resolution, so drainswap cannot end it. Bring that server up, or correct the name resolution, first");
}

#[test]
fn all_reasons_against_a_plan_are_reported_together() {
    let world = World::origin().container("mobile-app1", |container| container.auto_remove = true);
    let world = world.another("mobile-app2", "mobile-app2-copy", |_| {}).floor(2);
    assert_eq!(world.plan("v2").unwrap_err().len(), 2);
    let ambiguous = matches!(world.plan("v2").unwrap_err()[1], Refusal::Ambiguous { .. });
    assert!(ambiguous, "in the order of the configuration");
}
