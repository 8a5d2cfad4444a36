use insta::assert_snapshot;

use super::*;
use crate::observation::{AdminBits, Answer, Operational};
use crate::testing::World;

fn told(world: &World) -> String {
    table(&world.topology().backends.iter().collect::<Vec<_>>())
}

#[test]
fn all_is_well() {
    assert_snapshot!(told(&World::origin()), @"
    SERVER        ROLE     STATE  SESSIONS  CONTAINER     IMAGE                           DIGEST        READINESS
    mobile/app1   primary  UP     2         mobile-app1   registry.example.org/mobile:v1  111111111111  ready
    mobile/app1b  backup   UP     2         mobile-app1b  registry.example.org/mobile:v1  111111111111  ready
    mobile/app2   primary  UP     2         mobile-app2   registry.example.org/mobile:v1  111111111111  ready
    mobile/app2b  backup   UP     2         mobile-app2b  registry.example.org/mobile:v1  111111111111  ready
    ");
}

#[test]
fn each_trouble_has_its_word() {
    let world = World::of(
        "
backend mobile
    mode http
    option httpchk GET /health
    server down 127.0.0.1:1 check
    server gone 127.0.0.1:2 check
    server maint 127.0.0.1:3 check
    server drain 127.0.0.1:4 check backup
    server silent 127.0.0.1:5 check
    server unmatched 127.0.0.1:6 check
    server twice 127.0.0.1:7 check
    server unknown 127.0.0.1:8 check
    server sock unix@/run/app.sock check
    server local 127.0.0.1:9
    server paused 127.0.0.1:10 check
    server tracks 127.0.0.1:11 check
    server slot 127.0.0.1:12 check disabled
",
    );
    let world = world.down("mobile/down").stopped("mobile-down").down("mobile/gone").gone("mobile-gone");
    let world = world.maint("mobile/maint").drain("mobile/drain").silent("mobile/silent");
    let world = world.gone("mobile-unmatched").another("mobile-twice", "mobile-once-more", |_| {});
    let mut world = world
        .container("mobile-local", |container| {
            container.repo_digests.clear();
            container.image_reference = "mobile:dev".to_owned();
        })
        .server("mobile/local", |server| server.check.clear())
        .container("mobile-paused", |container| container.state = ContainerState::Paused)
        .down("mobile/paused")
        .maint("mobile/slot")
        .gone("mobile-slot")
        .silent("mobile/slot")
        .server("mobile/tracks", |server| {
            server.admin = AdminBits(2);
            server.operational = Operational::Stopped;
            server.status = "MAINT (via mobile/maint)".to_owned();
            server.check.clear();
        });
    let known = &mut world.observation.load_balancers[0].servers;
    known.retain(|server| server.id.server != "unknown");
    assert_snapshot!(told(&world), @"
    SERVER            ROLE     STATE                     SESSIONS  CONTAINER               IMAGE                           DIGEST           READINESS
    mobile/down       primary  DOWN (L4CON)              2         mobile-down (stopped)   registry.example.org/mobile:v1  111111111111     not ready: connection refused
    mobile/gone       primary  DOWN (L4CON)              2         gone                                                                     not ready: connection refused
    mobile/maint      primary  MAINT                     2         mobile-maint            registry.example.org/mobile:v1  111111111111     ready
    mobile/drain      backup   DRAIN                     2         mobile-drain            registry.example.org/mobile:v1  111111111111     ready
    mobile/silent     primary  UP                        2         mobile-silent           registry.example.org/mobile:v1  111111111111     not ready: connection refused
    mobile/unmatched  primary  UP                        2         none found                                                               ready
    mobile/twice      primary  UP                        2         one of 2?                                                                ready
    mobile/unknown    primary  unknown to HAProxy                  mobile-unknown          registry.example.org/mobile:v1  111111111111     ready
    mobile/sock       primary  UP                        2         none found                                                               not probed: no address
    mobile/local      primary  UP                        2         mobile-local            mobile:dev                      id abababababab  ready
    mobile/paused     primary  DOWN (L4CON)              2         mobile-paused (paused)  registry.example.org/mobile:v1  111111111111     not ready: connection refused
    mobile/tracks     primary  MAINT (via mobile/maint)  2         mobile-tracks           registry.example.org/mobile:v1  111111111111     ready
    mobile/slot       primary  MAINT                     2         spare slot                                                               not ready: connection refused
    ");
}

#[test]
fn runtime_changes_are_shown() {
    let world = World::pair().server("mobile/app1", |it| {
        it.weight = 0;
        it.checks.health = Checking::Off;
    });
    assert!(told(&world).contains("UP, weight 0 of 1, health checks off"), "{}", told(&world));
}

#[test]
fn a_configured_weight_of_0_is_shown() {
    let world = World::of("backend mobile\n    server app1 127.0.0.1:50000 check weight 0\n");
    assert!(told(&world).contains("UP, weight 0 "), "{}", told(&world));
}

#[test]
fn a_reason_of_several_lines_stays_in_its_row() {
    let mut world = World::pair();
    for answer in world.observation.answers.values_mut() {
        *answer = Answer::NotReady("503, not 200: starting\n  database: down\n".to_owned());
    }
    let table = told(&world);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("not ready: 503, not 200: starting   database: down\n"), "{table}");
}
