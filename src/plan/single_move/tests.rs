use super::*;
use crate::testing::World;

/// Returns the goal of `drain mobile/app1`.
fn goal(world: &World, state: AdminState) -> MoveGoal {
    MoveGoal::new(BTreeMap::from([(id("mobile/app1"), 100)]), state, world.policy.clone())
}

fn id(server: &str) -> ServerId {
    server.parse().unwrap()
}

fn planned(world: &World, goal: &MoveGoal) -> Result<SingleMove, MoveRefusal> {
    let balances = [Balance::of(world.topology().backend("mobile").unwrap())];
    build(goal, &balances, Vec::new(), &world.observation.load_balancers)
}

/// Returns the steps in words.
fn steps(world: &World, goal: &MoveGoal) -> Vec<String> {
    let words = |step: &MoveStep| match step {
        MoveStep::Set { servers, change } => format!("{change:?} of {}", crate::model::words::list(servers)),
        MoveStep::AwaitIdle(_) | MoveStep::ShutDownSessions | MoveStep::AwaitUp => format!("{step:?}"),
    };
    planned(world, goal).unwrap().steps.iter().map(words).collect()
}

#[test]
fn the_changes_of_a_move_are_in_the_order_that_loses_nothing() {
    let world = World::pair();
    let maint = MoveGoal {
        checks: vec![(Checker::Health, false)],
        weight: Some(Weight::Percent(50)),
        drain_first: true,
        shutdown_sessions: true,
        wait: true,
        ..goal(&world, AdminState::Maint)
    };
    let all = [
        "State(Drain) of mobile/app1",
        "AwaitIdle(Drain)",
        "Check(Health, false) of mobile/app1",
        "State(Maint) of mobile/app1",
        "Weight(Percent(50)) of mobile/app1",
        "ShutDownSessions",
        "AwaitIdle(Maint)",
    ];
    assert_eq!(steps(&world, &maint), all);
    let ready = MoveGoal {
        state: AdminState::Ready,
        checks: vec![(Checker::Health, true)],
        drain_first: false,
        shutdown_sessions: false,
        weight: None,
        ..maint
    };
    let all = ["State(Ready) of mobile/app1", "Check(Health, true) of mobile/app1", "AwaitUp"];
    assert_eq!(steps(&world, &ready), all);
}

#[test]
fn a_server_that_is_out_is_not_drained_first() {
    for state in [AdminState::Drain, AdminState::Maint] {
        let world = World::pair().server("mobile/app1", |it| it.admin = state.bits());
        let maint = MoveGoal { drain_first: true, ..goal(&world, AdminState::Maint) };
        assert_eq!(steps(&world, &maint), ["AwaitIdle(Drain)", "State(Maint) of mobile/app1"], "{state}");
    }
}

/// Only a wait makes sure that the check passes, and out of drain the check has gone on.
#[test]
fn a_server_whose_own_check_decides_is_ready_when_that_has_risen() {
    let proven = |state: AdminState, wait| {
        let world = World::pair().server("mobile/app1", |it| it.admin = state.bits());
        let own_checked = BTreeSet::from([id("mobile/app1")]);
        steps(&world, &MoveGoal { wait, own_checked, ..goal(&world, AdminState::Ready) })[0].clone()
    };
    assert_eq!(proven(AdminState::Maint, true), "ReadyWhenProven of mobile/app1");
    assert_eq!(proven(AdminState::Maint, false), "State(Ready) of mobile/app1");
    assert_eq!(proven(AdminState::Drain, true), "State(Ready) of mobile/app1");
}

#[test]
fn a_move_leaves_the_traffic_only_to_servers_that_can_take_it() {
    let mut world = World::pair().server("mobile/app1b", |it| it.limit = Some(100));
    let drain = goal(&world, AdminState::Drain);
    let plan = planned(&world, &drain).unwrap();
    assert_eq!(plan.takeover, BTreeMap::from([(id("mobile/app1"), BTreeSet::from([id("mobile/app1b")]))]));
    assert_eq!(plan.forecasts[0].to_string(), "100 % → mobile/app1b");

    let weight = MoveGoal { weight: Some(Weight::Absolute(0)), ..goal(&world, AdminState::Ready) };
    let back = MoveGoal { weight: Some(Weight::Absolute(1)), ..weight.clone() };
    let without = |policy: Policy, goal: &MoveGoal| planned(&world, &MoveGoal { policy, ..goal.clone() });
    for (floor, headroom, is_spared) in [(1, 0, true), (2, 0, false), (1, 10_000, false), (0, 10_000, true)] {
        let policy = Policy { floor, headroom, ..world.policy.clone() };
        for goal in [&drain, &weight] {
            let planned = without(policy.clone(), goal);
            assert_eq!(planned.is_ok(), is_spared, "{floor} {headroom}: {planned:?}");
        }
        assert!(without(policy, &back).unwrap().takeover.is_empty(), "nothing leaves");
    }
    world.policy.floor = 0;
    let drain = goal(&world, AdminState::Drain);
    assert_eq!(planned(&world, &drain).unwrap().takeover[&id("mobile/app1")], BTreeSet::new());
}

#[test]
fn only_a_check_that_the_line_has_can_be_turned_on() {
    let world = World::pair();
    let with = |on| MoveGoal { checks: vec![(Checker::Agent, on)], ..goal(&world, AdminState::Ready) };
    let refused = MoveRefusal::NotChecked { server: id("mobile/app1"), checker: Checker::Agent };
    assert_eq!(planned(&world, &with(true)), Err(refused));
    assert!(planned(&world, &with(false)).is_ok());
}

#[test]
fn the_operator_is_told_what_undoes_a_move() {
    let told = |world: &World, goal: &MoveGoal| planned(world, goal).unwrap().warnings.join("\n");
    let world = World::pair();
    let lost = MoveGoal { weight: Some(Weight::Percent(1)), ..goal(&world, AdminState::Ready) };
    let lost = MoveGoal { servers: BTreeMap::from([(id("mobile/app1"), 4)]), ..lost };
    assert!(told(&world, &lost).starts_with("1% of the weight 4 of mobile/app1 in haproxy.cfg is 0"));
    let enough =
        |written| MoveGoal { servers: BTreeMap::from([(id("mobile/app1"), written)]), ..lost.clone() };
    assert_eq!(told(&world, &enough(100)), "", "1% of 100 is 1");
    assert_eq!(told(&world, &enough(0)), "", "the weight in haproxy.cfg is 0 already");
    let world = World::pair().server("mobile/app1", |it| it.checks.agent = Checking::On);
    let drain = goal(&world, AdminState::Drain);
    assert!(told(&world, &drain).contains("puts the server back when it reports \"ready\""));
    let off = MoveGoal { checks: vec![(Checker::Agent, false)], ..drain };
    assert_eq!(told(&world, &off), "");
    let world = world.server("mobile/app1", |it| it.admin = AdminState::Drain.bits());
    assert!(told(&world, &goal(&world, AdminState::Ready)).contains("may have taken it out of service"));
}

#[test]
fn a_change_is_pending_until_every_load_balancer_has_it() {
    let world = World::pair();
    let plan = planned(&world, &goal(&world, AdminState::Drain)).unwrap();
    let seen = world.observation.load_balancers[0].clone();
    let drained = World::pair().server("mobile/app1", |it| it.admin = AdminState::Drain.bits());
    let drained = drained.observation.load_balancers[0].clone();
    let pending = |seen: &[&LoadBalancerState]| {
        let seen: Vec<_> = seen.iter().copied().cloned().collect();
        !plan.pending(&plan.ids(), ServerChange::State(AdminState::Drain), &seen).is_empty()
    };
    assert!(pending(&[&seen]) && pending(&[&drained, &seen]) && !pending(&[&drained]));
}
