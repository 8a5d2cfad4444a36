use insta::assert_snapshot;

use super::*;
use crate::model::hook::HookPoint;
use crate::model::ids::ContainerId;
use crate::observation::{Checking, ContainerChange};
use crate::observation::{ContainerState, RestartPolicy};
use crate::plan::OnFailure;
use crate::testing::{World, image, plan_basis, plan_file};

/// Lists the drift between a plan for a deploy of v2 in one world and an observation of another, one line each.
fn diff(was: &World, is: &World) -> String {
    diff_with(was, is, |_| {})
}

fn diff_with(was: &World, is: &World, change: impl FnOnce(&mut PlanBasis)) -> String {
    let approved = plan_file(was);
    let is = World { policy: approved.plan.goal.policy.clone(), ..is.clone() };
    let plan = is.plan("v2");
    let mut now = plan_basis(&is, plan.as_ref().unwrap_or(&approved.plan));
    change(&mut now);
    drift(&approved, &now, &plan).iter().map(|it| it.to_string() + "\n").collect()
}

#[test]
fn sessions_and_reloads_are_not_drift() {
    let origin = World::origin();
    let mut later = origin.clone().server("mobile/app1", |server| {
        (server.sessions, server.sessions_total) = (17, 99_999);
        "UP 2/3".clone_into(&mut server.status);
    });
    later.observation.load_balancers[0].pid += 1;
    later.observation.at += jiff::SignedDuration::from_hours(3);
    assert_eq!(diff(&origin, &later), "");
    let silent = |answer: &str| {
        let mut world = World::origin().down("mobile/app2").runs("mobile-app2", "v2");
        let answer = crate::observation::Answer::NotReady(answer.to_owned());
        world.observation.answers.insert("mobile/app2".parse().unwrap(), answer);
        world
    };
    assert_eq!(diff(&silent("connection refused"), &silent("GET /health → 503")), "");
}

/// `HAProxy` accepts the same file twice, and a plan file may be damaged.
#[test]
fn a_file_that_is_read_twice_is_not_drift() {
    let mut approved = plan_file(&World::origin());
    let twice = ReadFile { sha256: "beef".to_owned(), ..approved.basis.configuration[0].clone() };
    approved.basis.configuration.push(twice);
    assert_eq!(drift(&approved, &approved.basis, &Ok(approved.plan.clone())), []);
}

#[test]
fn a_server_that_started_to_serve_is_drift_and_so_is_one_that_needs_another_container() {
    let origin = World::origin();
    assert_snapshot!(diff(&origin.clone().silent("mobile/app2b"), &origin), @"
    mobile/app2b serves now; it did not before
    the order is now mobile/app1, mobile/app2, mobile/app1b, mobile/app2b; it was mobile/app2b, mobile/app1, mobile/app2, mobile/app1b
    ");
    let left = |state: fn(World, &str) -> World| {
        state(origin.clone().runs("mobile-app1", "v2").left_out("mobile/app1"), "mobile/app1")
    };
    assert_eq!(diff(&left(World::drain), &left(World::drain)), "");
    let cause = diff(&left(World::drain), &left(World::silent));
    assert!(cause.contains("mobile/app1: does not serve: connection refused (in the plan: runs the wanted image, but was left in drain)\n"), "{cause}");
}

/// When the plan was approved a person had taken it out, and now a failed run has, or the other way round.
#[test]
fn a_server_that_would_keep_another_state_is_drift() {
    let by_hand = World::origin().drain("mobile/app1");
    let by_a_run = by_hand.clone().left_out("mobile/app1");
    assert_eq!(diff(&by_hand, &by_hand), "");
    assert_snapshot!(diff(&by_hand, &by_a_run), @"mobile/app1 would now be put in service; in the plan it would stay in drain");
    assert_snapshot!(diff(&by_a_run, &by_hand), @"mobile/app1 would now stay in drain; in the plan it would be put in service");
}

#[test]
fn containers_that_provide_settings_and_kept_containers_are_compared() {
    let gone = World::origin().down("mobile/app1").gone("mobile-app1");
    let other = |world: World| world.container("mobile-app2", |it| it.id = ContainerId("f".repeat(64)));
    assert_snapshot!(diff(&gone, &other(gone.clone())), @"
    mobile/app1: the container whose settings the new one gets is now mobile-app2 (ffffffffffff); it was mobile-app2 (a3a3a3a3a3a3)
    mobile/app2: the container to replace is now mobile-app2 (ffffffffffff); it was mobile-app2 (a3a3a3a3a3a3)
    ");
    let created = diff(&gone, &World::origin());
    assert!(
        created.contains(
            "mobile/app1: the container to replace is now mobile-app1 (a1a1a1a1a1a1); it was none\n"
        ),
        "{created}"
    );
    assert!(created.contains("mobile/app1: the container whose settings the new one gets is now mobile-app1 (a1a1a1a1a1a1); it was mobile-app2 (a3a3a3a3a3a3)\n"), "{created}");
    let kept = |world: World, day: &str| {
        world.another("mobile-app1", &format!("mobile-app1.old-202611{day}T201500.000Z"), |it| {
            it.id = ContainerId(day.repeat(32));
            it.state = ContainerState::Stopped;
        })
    };
    let both = kept(kept(World::origin(), "19"), "20");
    assert_eq!(diff(&both, &both), "");
    assert_snapshot!(diff(&both, &kept(kept(World::origin(), "20"), "21")), @"
    mobile/app1: the container to remove at the end is now none; it was mobile-app1.old-20261119T201500.000Z (191919191919)
    mobile/app1: the container to remove at the end is now mobile-app1.old-20261121T201500.000Z (212121212121); it was none
    ");
}

#[test]
fn server_changes_are_reported_for_each_load_balancer() {
    let origin = World::origin();
    assert_snapshot!(diff(&origin, &origin.clone().maint("mobile/app2b")), @"
    mobile/app2b is now maint, down, weight 1, 127.0.0.2:50001 at /run/haproxy/admin.sock; it was ready, up, weight 1, 127.0.0.2:50001
    mobile/app2b no longer serves
    mobile/app2b would now stay in maint; in the plan it would be put in service
    mobile/app2b: the steps are now create, wait, maint, settle, stop, start, prove, ready, confirm, remove; they were create, verify, drain, wait, maint, settle, stop, start, prove, ready, confirm, remove
    the order is now mobile/app2b, mobile/app1, mobile/app2, mobile/app1b; it was mobile/app1, mobile/app2, mobile/app1b, mobile/app2b
    ");
    assert_snapshot!(diff(&origin, &origin.clone().down("mobile/app2")), @"
    mobile/app2 is now ready, down, weight 1, 127.0.0.2:50000 at /run/haproxy/admin.sock; it was ready, up, weight 1, 127.0.0.2:50000
    mobile/app2 no longer serves
    the order is now mobile/app2, mobile/app1, mobile/app1b, mobile/app2b; it was mobile/app1, mobile/app2, mobile/app1b, mobile/app2b
    ");
    let moved = origin.clone().server("mobile/app1", |server| {
        server.weight = 50;
    });
    assert_snapshot!(diff(&origin, &moved), @"mobile/app1 is now ready, up, weight 50, 127.0.0.1:50000 at /run/haproxy/admin.sock; it was ready, up, weight 1, 127.0.0.1:50000");
    let only = "backend mobile\n mode http\n server app1 127.0.0.1:50000 check\n";
    let one = World::of(only).floor(0);
    let mut renamed = one.clone();
    "/run/other.sock".clone_into(&mut renamed.observation.load_balancers[0].name);
    assert_snapshot!(diff(&one, &renamed), @"
    mobile/app1 is now unknown at /run/haproxy/admin.sock; it was ready, up, weight 1, 127.0.0.1:50000
    mobile/app1 is now ready, up, weight 1, 127.0.0.1:50000 at /run/other.sock; it was unknown
    ");
}

#[test]
fn container_changes_are_reported() {
    let origin = World::origin();
    let replaced = origin.clone().container("mobile-app1", |it| it.id = ContainerId("f".repeat(64)));
    assert_snapshot!(diff(&origin, &replaced), @"mobile/app1: the container to replace is now mobile-app1 (ffffffffffff); it was mobile-app1 (a1a1a1a1a1a1)");
    let renamed = origin.clone().container("mobile-app1", |it| "shop".clone_into(&mut it.name));
    assert_snapshot!(diff(&origin, &renamed), @"mobile/app1: the container to replace is now shop (a1a1a1a1a1a1); it was mobile-app1 (a1a1a1a1a1a1)");
    assert_snapshot!(diff(&origin, &origin.clone().runs("mobile-app2", "v3")), @"mobile/app2: runs registry.example.org/mobile:v3 (333333333333) (in the plan: runs registry.example.org/mobile:v1 (111111111111))");
    assert_snapshot!(diff(&origin, &origin.clone().runs("mobile-app2", "v2")), @"nothing is left to do for mobile/app2");
    assert_snapshot!(diff(&origin.clone().runs("mobile-app2", "v2"), &origin), @"mobile/app2 now needs work too: runs registry.example.org/mobile:v1 (111111111111)");
    let stopped = origin.clone().down("mobile/app2b").stopped("mobile-app2b");
    assert_snapshot!(diff(&origin, &stopped), @"
    mobile/app2b is now ready, down, weight 1, 127.0.0.2:50001 at /run/haproxy/admin.sock; it was ready, up, weight 1, 127.0.0.2:50001
    mobile/app2b no longer serves
    mobile/app2b: the steps are now create, maint, stop, start, prove, ready, confirm, remove; they were create, verify, drain, wait, maint, settle, stop, start, prove, ready, confirm, remove
    the order is now mobile/app2b, mobile/app1, mobile/app2, mobile/app1b; it was mobile/app1, mobile/app2, mobile/app1b, mobile/app2b
    ");
    let kept = origin.clone().another("mobile-app1", "mobile-app1.old-20261120T201500.000Z", |it| {
        it.state = ContainerState::Stopped;
        it.restart = RestartPolicy::never();
    });
    assert_snapshot!(diff(&origin, &kept), @"mobile/app1: the container to remove at the end is now mobile-app1.old-20261120T201500.000Z (a5a5a5a5a5a5); it was none");
    assert_snapshot!(diff(&kept, &origin), @"mobile/app1: the container to remove at the end is now none; it was mobile-app1.old-20261120T201500.000Z (a5a5a5a5a5a5)");
    let beside = World::shared();
    let alone = World::of(
        "
backend mobile
    mode http
    option httpchk GET /health
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
",
    );
    assert_snapshot!(diff(&alone, &beside), @"
    tablet/one is now ready, up, weight 1, 127.0.0.1:50000 at /run/haproxy/admin.sock; it was unknown
    tablet/two is now ready, up, weight 1, 127.0.0.3:50000 at /run/haproxy/admin.sock; it was unknown
    the container is now behind mobile/app1, tablet/one; it was behind mobile/app1
    ");
}

#[test]
fn a_refusal_is_reported_as_drift() {
    let ambiguous = World::origin().another("mobile-app1", "twin", |_| {});
    assert_snapshot!(diff(&World::origin(), &ambiguous), @r#"the plan would now be refused: mobile/app1 (haproxy.cfg:5) could be any of: mobile-app1 (publishes the address); twin (publishes the address). Name the right one in drainswap.toml: [servers] "mobile/app1" = { container = "NAME" }"#);
}

#[test]
fn changed_files_and_settings_are_reported() {
    let origin = World::origin();
    let changed = diff_with(&origin, &origin, |now| {
        "beef".clone_into(&mut now.configuration[0].sha256);
        now.configuration[1].file = "/etc/haproxy/conf.d/20-shop.cfg".to_owned();
        now.settings.floor = 2;
        now.settings.on_failure = OnFailure::Stop;
        now.description = Some("cafe".to_owned());
        now.hooks =
            [(HookPoint::BeforeRun, "beef".to_owned()), (HookPoint::AfterRun, "cafe".to_owned())].into();
        now.image = image("v3");
    });
    assert_snapshot!(changed, @r#"
    /etc/haproxy/conf.d/10-mobile.cfg is gone
    /etc/haproxy/haproxy.cfg has changed
    /etc/haproxy/conf.d/20-shop.cfg is new
    the setting floor is now 2; it was 1
    the setting on_failure is now "stop"; it was "rollback"
    drainswap.toml describes the container differently
    the hook before_run has changed
    the hook after_run is new
    the image is now registry.example.org/mobile:v3 (333333333333); it was registry.example.org/mobile:v2 (222222222222)
    "#);
}

#[test]
fn changed_container_settings_are_reported_unless_they_were_unknown() {
    let mut approved = plan_file(&World::origin());
    let change = |field: &'static str| vec![ContainerChange::Hidden { field: field.into() }];
    let with = |plan: &Plan, changes: Option<Vec<ContainerChange>>| {
        let mut plan = plan.clone();
        plan.lanes[0].replacement.as_mut().unwrap().changes = changes;
        plan
    };
    let mut diff = |was, is| {
        approved.plan = with(&approved.plan, was);
        let plan = Ok(with(&approved.plan, is));
        let found = drift(&approved, &approved.basis.clone(), &plan);
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(diff(None, Some(change("user"))), "");
    assert_eq!(diff(Some(change("user")), None), "");
    assert_eq!(diff(Some(change("user")), Some(change("user"))), "");
    assert_snapshot!(diff(Some(change("user")), Some(change("command"))), @"mobile/app1: the changes to its container's settings differ from those in the plan");
}

#[test]
fn an_agent_that_was_turned_on_or_off_is_drift() {
    let agent = |is: Checking| World::origin().server("mobile/app1", |it| it.checks.agent = is);
    let (on, off) = (agent(Checking::On), agent(Checking::Off));
    assert_eq!(diff(&on, &on), "");
    let turned_off = diff(&on, &off);
    assert!(turned_off.contains("the agent of mobile/app1 is now off; it was on\n"), "{turned_off}");
    let turned_on = diff(&off, &on);
    let at = "the agent of mobile/app1 is now on at /run/haproxy/admin.sock, which differs from the plan\n";
    assert!(turned_on.contains(at), "{turned_on}");
}

#[test]
fn other_surge_servers_are_drift() {
    let mut world = World::origin();
    world.policy.surge = "1".parse().unwrap();
    let mut approved = plan_file(&world);
    let with = approved.plan.clone();
    let (mut without, mut other) = (with.clone(), with.clone());
    without.surge.clear();
    other.surge[0].servers[0].id = ServerId::new("mobile", "app1-surge2");
    let told = |approved: &PlanFile, is: Plan| {
        drift(approved, &approved.basis, &Ok(is)).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(told(&approved, with.clone()), [""; 0]);
    assert_eq!(told(&approved, without.clone()), ["mobile/app1-surge would not join any more"]);
    assert_eq!(told(&approved, other), ["mobile/app1-surge2 would join now; it was mobile/app1-surge"]);
    approved.plan = without;
    assert_eq!(told(&approved, with), ["mobile/app1-surge would join now"]);
}
