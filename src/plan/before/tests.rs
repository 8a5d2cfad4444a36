use super::*;
use crate::plan::{Plan, Step};
use crate::testing::World;

/// A backend, and a forgotten `listen` to the same container.
const FORGOTTEN: &str = "
backend mobile
    mode http
    option httpchk GET /health
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
listen legacy
    mode http
    option httpchk GET /old
    server app1 127.0.0.1:50000 check
";

fn forgotten() -> World {
    World::of(FORGOTTEN).down("legacy/app1")
}

fn ids<'a>(lines: impl Iterator<Item = &'a LaneServer>) -> Vec<String> {
    lines.map(|line| line.id.to_string()).collect()
}

fn notes(plan: &Plan, server: &str) -> Vec<String> {
    plan.warnings.iter().filter(|it| it.starts_with(server)).cloned().collect()
}

#[test]
fn a_dead_line_is_not_probed_and_the_plan_names_it() {
    let plan = forgotten().plan("v2").unwrap();
    let lane = &plan.lanes[0];
    assert_eq!(ids(lane.servers.iter()), ["mobile/app1", "legacy/app1"]);
    assert_eq!(ids(lane.alive()), ["mobile/app1"]);
    assert_eq!(ids(lane.asked_of_old()), ["mobile/app1"]);
    assert_eq!(
        notes(&plan, "legacy/app1"),
        [
            "legacy/app1 (haproxy.cfg:10) does not answer (connection refused), and no check reports it up: drainswap does not probe it and leaves it as it is. Remove the line if it is not used"
        ]
    );
    let text = plan.to_string();
    assert!(text.contains("ready      mobile/app1\n"), "{text}");
    assert!(text.contains("drain      mobile/app1, legacy/app1\n"), "{text}");
    assert!(!lane.servers[1].takes_traffic);
}

/// Otherwise each deploy would replace the container again.
#[test]
fn a_dead_line_alone_does_not_cause_a_replacement() {
    let plan = forgotten().runs("mobile-app1", "v2").runs("mobile-app2", "v2").plan("v2").unwrap();
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(notes(&plan, "legacy/app1").len(), 1);
    let in_maint = World::of(FORGOTTEN).maint("legacy/app1").silent("legacy/app1");
    let plan = in_maint.runs("mobile-app1", "v2").runs("mobile-app2", "v2").plan("v2").unwrap();
    assert!(plan.is_empty(), "it would be left in maint: {plan}");
}

/// Nothing shows which of the lines matter.
#[test]
fn all_lines_are_probed_if_none_answers() {
    let plan = forgotten().down("mobile/app1").plan("v2").unwrap();
    assert_eq!(ids(plan.lanes[0].alive()), ["mobile/app1", "legacy/app1"]);
    assert_eq!(plan.lanes[0].asked_of_old().count(), 0);
}

#[test]
fn a_line_that_only_a_check_has_up_is_required_of_the_new_container_alone() {
    let plan = World::of(FORGOTTEN).floor(0).silent("legacy/app1").plan("v2").unwrap();
    let lane = &plan.lanes[0];
    assert_eq!(ids(lane.alive()), ["mobile/app1", "legacy/app1"]);
    assert_eq!(ids(lane.asked_of_old()), ["mobile/app1"]);
    assert_eq!(
        notes(&plan, "legacy/app1"),
        [
            "legacy/app1 does not answer drainswap's own probe (connection refused), although HAProxy's check reports it up: the new container must answer it"
        ]
    );
}

/// `HAProxy` always has a server without a check up.
#[test]
fn a_line_without_a_check_is_not_proved_by_being_up() {
    let world = World::of(FORGOTTEN).silent("legacy/app1");
    let world = world.server("legacy/app1", |server| server.checks = crate::observation::Checks::default());
    assert_eq!(ids(world.plan("v2").unwrap().lanes[0].alive()), ["mobile/app1"]);
    let reloaded = World::of(FORGOTTEN).silent("legacy/app1");
    let reloaded = reloaded.server("legacy/app1", |server| "INI".clone_into(&mut server.check));
    assert_eq!(ids(reloaded.plan("v2").unwrap().lanes[0].alive()), ["mobile/app1"], "not checked yet");
}

#[test]
fn an_undo_gives_every_line_its_state_back_wherever_the_old_container_is() {
    let state = |world: World, server: usize| {
        let plan = world.floor(0).plan("v2").unwrap();
        plan.lanes[0].state_after_undo(&plan.lanes[0].servers[server])
    };
    assert_eq!(state(forgotten(), 1), AdminState::Ready);
    assert_eq!(state(World::of(FORGOTTEN).floor(0).silent("mobile/app1"), 0), AdminState::Ready);
    let weightless = World::of(FORGOTTEN).server("mobile/app1", |server| server.weight = 0);
    assert_eq!(state(weightless, 0), AdminState::Ready);
    assert_eq!(state(World::of(FORGOTTEN).drain("mobile/app1"), 0), AdminState::Drain);
    let stopped = World::of(FORGOTTEN).down("mobile/app1").down("legacy/app1").stopped("mobile-app1");
    assert_eq!(state(stopped, 0), AdminState::Maint);
}

/// The version that made this plan did not record what each line did before.
#[test]
fn a_plan_of_an_earlier_version_is_undone_by_its_own_rules() {
    let mut plan = forgotten().plan("v2").unwrap();
    for server in &mut plan.lanes[0].servers {
        server.before = None;
    }
    let lane = &plan.lanes[0];
    assert_eq!(ids(lane.alive()), ["mobile/app1", "legacy/app1"]);
    let after: Vec<_> = lane.servers.iter().map(|server| lane.state_after_undo(server)).collect();
    assert_eq!(after, [AdminState::Ready, AdminState::Maint]);
}

#[test]
fn an_old_container_proves_itself_only_for_lines_that_are_given_requests_again() {
    let steps = |world: World| crate::plan::undo::restore_steps(&world.floor(0).plan("v2").unwrap().lanes[0]);
    assert!(steps(forgotten()).contains(&Step::ProveOld));
    assert!(!steps(World::of(FORGOTTEN).maint("mobile/app1").down("legacy/app1")).contains(&Step::ProveOld));
}
