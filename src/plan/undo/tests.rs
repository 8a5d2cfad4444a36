use insta::assert_snapshot;

use super::*;
use crate::observation::AdminState;
use crate::testing::World;

/// Returns the lane of this server in a deploy of v2.
fn lane(world: &World, server: &str) -> Lane {
    let plan = world.plan("v2").unwrap();
    plan.lanes.into_iter().find(|lane| lane.name().to_string() == server).unwrap()
}

/// Formats how a lane is undone after each of its steps, one line per step.
fn table(lane: &Lane, care: UndoMode) -> String {
    let row = |begun: &[Step]| {
        let last = begun.last().map_or("nothing".to_owned(), |step| format!("{step:?}"));
        let steps: Vec<_> = undo(lane, begun, care).iter().map(|step| format!("{step:?}")).collect();
        format!("{last:<10}{}", steps.join(" ")).trim_end().to_owned() + "\n"
    };
    (0..lane.steps.len()).map(|end| row(&lane.steps[..end])).collect()
}

#[test]
fn a_container_that_failed_gives_way_to_the_old_one() {
    let lane = lane(&World::origin(), "mobile/app1");
    assert_snapshot!(table(&lane, UndoMode::Immediate), @"
    nothing
    Create    Discard
    Verify    Discard
    Drain     PutBack Discard
    AwaitIdle PutBack Discard
    Maint     PutBack Discard
    Settle    PutBack Discard
    Stop      Maint Discard Return ProveOld PutBack
    Start     Maint Discard Return ProveOld PutBack
    Prove     Maint Discard Return ProveOld PutBack
    Ready     Drain AwaitIdle Maint Settle Discard Return ProveOld PutBack
    Confirm   Drain AwaitIdle Maint Settle Discard Return ProveOld PutBack
    ");
}

#[test]
fn a_container_that_serves_is_taken_away_only_if_others_carry_its_traffic() {
    let lane = lane(&World::origin(), "mobile/app1");
    assert_snapshot!(table(&lane, UndoMode::Graceful), @"
    nothing
    Create    Discard
    Verify    Discard
    Drain     PutBack Discard
    AwaitIdle PutBack Discard
    Maint     PutBack Discard
    Settle    PutBack Discard
    Stop      Maint Discard Return ProveOld PutBack
    Start     Maint Discard Return ProveOld PutBack
    Prove     Maint Discard Return ProveOld PutBack
    Ready     Verify Drain AwaitIdle Maint Settle Discard Return ProveOld PutBack
    Confirm   Verify Drain AwaitIdle Maint Settle Discard Return ProveOld PutBack
    ");
}

#[test]
fn there_is_nothing_to_return_to_if_the_old_container_was_gone() {
    let lane = lane(&World::origin().down("mobile/app1").gone("mobile-app1"), "mobile/app1");
    assert_snapshot!(table(&lane, UndoMode::Immediate), @"
    nothing
    Create    Discard
    Maint     PutBack Discard
    Start     Maint Discard PutBack
    Prove     Maint Discard PutBack
    Ready     Drain AwaitIdle Maint Settle Discard PutBack
    ");
    assert_snapshot!(table(&lane, UndoMode::Graceful), @"
    nothing
    Create    Discard
    Maint     PutBack Discard
    Start     Maint Discard PutBack
    Prove     Maint Discard PutBack
    Ready     Verify Drain AwaitIdle Maint Settle Discard PutBack
    ");
    assert_eq!(lane.state_after_undo(&lane.servers[0]), AdminState::Maint);
}

#[test]
fn an_old_container_that_did_not_serve_need_not_prove_anything() {
    let lane = lane(&World::origin().down("mobile/app1").stopped("mobile-app1"), "mobile/app1");
    assert_snapshot!(table(&lane, UndoMode::Immediate), @"
    nothing
    Create    Discard
    Maint     PutBack Discard
    Stop      Maint Discard Return PutBack
    Start     Maint Discard Return PutBack
    Prove     Maint Discard Return PutBack
    Ready     Drain AwaitIdle Maint Settle Discard Return PutBack
    Confirm   Drain AwaitIdle Maint Settle Discard Return PutBack
    ");
    assert_snapshot!(table(&lane, UndoMode::Graceful), @"
    nothing
    Create    Discard
    Maint     PutBack Discard
    Stop      Maint Discard Return PutBack
    Start     Maint Discard Return PutBack
    Prove     Maint Discard Return PutBack
    Ready     Verify Drain AwaitIdle Maint Settle Discard Return PutBack
    Confirm   Verify Drain AwaitIdle Maint Settle Discard Return PutBack
    ");
    assert_eq!(lane.state_after_undo(&lane.servers[0]), AdminState::Maint);
}

#[test]
fn a_server_that_was_in_maint_goes_back_there() {
    let lane = lane(&World::origin().maint("mobile/app1"), "mobile/app1");
    assert_snapshot!(table(&lane, UndoMode::Immediate), @"
    nothing
    Create    Discard
    AwaitIdle Discard
    Maint     PutBack Discard
    Settle    PutBack Discard
    Stop      Maint Discard Return PutBack
    Start     Maint Discard Return PutBack
    Prove     Maint Discard Return PutBack
    Ready     Drain AwaitIdle Maint Settle Discard Return PutBack
    Confirm   Drain AwaitIdle Maint Settle Discard Return PutBack
    ");
    assert_eq!(lane.state_after_undo(&lane.servers[0]), AdminState::Maint);
}

#[test]
fn a_server_that_was_only_put_back_in_service_is_left_as_it_was() {
    let world = World::origin().runs("mobile-app1", "v2").drain("mobile/app1").left_out("mobile/app1");
    let lane = lane(&world, "mobile/app1");
    assert_snapshot!(table(&lane, UndoMode::Immediate), @"
    nothing
    Prove
    Ready     PutBack
    ");
    assert_eq!(table(&lane, UndoMode::Immediate), table(&lane, UndoMode::Graceful));
    assert_eq!(lane.state_after_undo(&lane.servers[0]), AdminState::Drain);
}

#[test]
fn a_server_that_served_is_ready_again() {
    let lane = lane(&World::origin(), "mobile/app1");
    assert_eq!(lane.state_after_undo(&lane.servers[0]), AdminState::Ready);
}

#[test]
fn whatever_was_begun_the_old_container_is_never_started_beside_the_new_one() {
    let lane = lane(&World::origin(), "mobile/app1");
    for care in [UndoMode::Immediate, UndoMode::Graceful] {
        for end in 0..=lane.steps.len() {
            let steps = undo(&lane, &lane.steps[..end], care);
            let at = |wanted| steps.iter().position(|step| *step == wanted);
            let in_order = at(Step::Return).is_none_or(|returned| at(Step::Discard) < Some(returned));
            assert!(in_order, "{steps:?}");
            let proved = at(Step::Return).is_none_or(|_| at(Step::ProveOld) < at(Step::PutBack));
            assert!(proved, "{steps:?}");
        }
    }
}
