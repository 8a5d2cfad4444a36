use insta::assert_snapshot;

use super::*;
use crate::testing::World;

/// A run over the two lanes of the first host and one of the second.
fn plan() -> Plan {
    World::origin().plan("v2").unwrap()
}

/// Returns the steps of a lane up to the last one of this kind.
fn up_to(plan: &Plan, lane: usize, last: Step) -> Vec<Step> {
    let steps = &plan.lanes[lane].steps;
    steps[..=steps.iter().position(|step| *step == last).unwrap()].to_vec()
}

/// Formats what becomes of a run whose lanes came this far.
fn shown(towards: Towards, came: &[(usize, Step)], found: &[(usize, LaneFound)]) -> String {
    let plan = plan();
    let begun = came.iter().map(|(lane, last)| (*lane, up_to(&plan, *lane, *last))).collect();
    let find = |lane| found.iter().find(|(of, _)| *of == lane).map(|(_, it)| *it).unwrap_or_default();
    recover(&plan, &begun, towards, find).to_string()
}

#[test]
fn a_replaced_lane_is_finished_and_one_that_drained_is_put_back() {
    let came = [(0, Step::Confirm), (1, Step::Start), (2, Step::Create)];
    assert_snapshot!(shown(Towards::Finish, &came, &[]), @"
      mobile/app2: will be finished (verify, drain, wait, maint, settle, stop, start, prove, ready, confirm)
      mobile/app1: was finished
      mobile/app1b: has a new container that was never started and will be removed
      mobile/app2b: was not started
    ");
    assert_snapshot!(shown(Towards::Finish, &[(0, Step::Drain)], &[]), @"
      mobile/app1: will be put back and replaced again (put back, discard)
      mobile/app2: was not started
      mobile/app1b: was not started
      mobile/app2b: was not started
    ");
}

#[test]
fn a_lane_without_a_new_container_is_put_back() {
    let gone = LaneFound { new: NewFound::Gone, ..LaneFound::default() };
    assert_snapshot!(shown(Towards::Finish, &[(0, Step::Start)], &[(0, gone)]), @"
      mobile/app1: will be put back and replaced again (maint, discard, return, prove old, put back)
      mobile/app2: was not started
      mobile/app1b: was not started
      mobile/app2b: was not started
    ");
}

#[test]
fn a_lane_whose_old_container_is_gone_is_finished_without_stopping_it() {
    let gone = LaneFound { old: OldFound::Gone, ..LaneFound::default() };
    assert_snapshot!(shown(Towards::Finish, &[(0, Step::Drain)], &[(0, gone)]), @"
      mobile/app1: will be finished (drain, wait, maint, settle, start, prove, ready, confirm)
      mobile/app2: was not started
      mobile/app1b: was not started
      mobile/app2b: was not started
    ");
}

#[test]
fn a_lane_that_serves_is_only_proved_again_unless_its_container_may_be_stopping() {
    assert_snapshot!(shown(Towards::Finish, &[(0, Step::Ready)], &[]), @"
      mobile/app1: will be finished (prove, ready, confirm)
      mobile/app2: was not started
      mobile/app1b: was not started
      mobile/app2b: was not started
    ");
    let stops = LaneFound { new: NewFound::MayStop, ..LaneFound::default() };
    assert_snapshot!(shown(Towards::Finish, &[(0, Step::Ready)], &[(0, stops)]), @"
      mobile/app1: will be finished (verify, drain, wait, maint, settle, stop, start, prove, ready, confirm)
      mobile/app2: was not started
      mobile/app1b: was not started
      mobile/app2b: was not started
    ");
}

/// The journal of the killed run lacks the record of the second lane's undo: the run was undoing the first lane.
#[test]
fn the_lane_before_one_that_is_back_is_in_flight() {
    let back = LaneFound { old: OldFound::Back, ..LaneFound::default() };
    let came = [(0, Step::Confirm), (1, Step::Start)];
    assert_snapshot!(shown(Towards::Finish, &came, &[(1, back)]), @"
      mobile/app2: has its old container again (return, prove old, put back)
      mobile/app1: will be finished (prove, ready, confirm)
      mobile/app1b: was not started
      mobile/app2b: was not started
    ");
    assert_snapshot!(shown(Towards::Undo, &came, &[(1, back)]), @"
      mobile/app2: has its old container again (return, prove old, put back)
      mobile/app1: will be undone (verify, drain, wait, maint, settle, discard, return, prove old, put back)
      mobile/app1b: was not started
      mobile/app2b: was not started
    ");
}

#[test]
fn everything_that_was_begun_is_undone_from_the_last_lane_to_the_first() {
    let came = [(0, Step::Confirm), (1, Step::Drain), (2, Step::Create)];
    assert_snapshot!(shown(Towards::Undo, &came, &[]), @"
      mobile/app2: will be undone (put back, discard)
      mobile/app1: will be undone (verify, drain, wait, maint, settle, discard, return, prove old, put back)
      mobile/app1b: has a new container that was never started and will be removed
      mobile/app2b: was not started
    ");
}

#[test]
fn a_run_that_was_removing_old_containers_has_succeeded() {
    for towards in [Towards::Finish, Towards::Undo] {
        let shown = shown(towards, &[(0, Step::Remove), (1, Step::Confirm)], &[]);
        assert_eq!(shown.matches("was finished").count(), 2, "{shown}");
        assert!(!shown.contains("undone"), "{shown}");
    }
}

#[test]
fn lanes_that_failed_are_undone_before_those_that_serve() {
    let plan = plan();
    let begun: Begun = [(0, Step::Confirm), (1, Step::Ready), (2, Step::Drain)]
        .map(|(lane, last)| (lane, up_to(&plan, lane, last)))
        .into();
    let failed = [(2, UndoMode::Immediate), (3, UndoMode::Immediate)];
    let order = |finished| {
        let recovery = after_failure(&plan, &begun, &failed, finished);
        recovery.lanes.iter().map(|it| (it.lane, it.action)).collect::<Vec<_>>()
    };
    let (failed, served) = (Action::Undo(UndoMode::Immediate), Action::Undo(UndoMode::Graceful));
    assert_eq!(order(Finished::Undone), [(2, failed), (1, served), (0, served), (3, Action::Nothing)]);
    assert_eq!(
        order(Finished::Stay),
        [(2, failed), (0, Action::Keep), (1, Action::Keep), (3, Action::Nothing)]
    );
}

#[test]
fn the_plan_of_a_resume_has_the_lanes_that_the_run_had_not_reached() {
    let plan = plan();
    let begun: Begun = [(0, up_to(&plan, 0, Step::Confirm)), (1, up_to(&plan, 1, Step::Drain))].into();
    let forward = recover(&plan, &begun, Towards::Finish, |_| LaneFound::default()).as_plan(&plan);
    let names = |plan: &Plan| plan.lanes.iter().map(|it| it.name().to_string()).collect::<Vec<_>>();
    assert_eq!(names(&forward), names(&plan)[1..]);
    assert_eq!(forward.unchanged, plan.lanes[0].ids());
    assert_eq!(forward.lanes[0].steps[..2], [Step::PutBack, Step::Discard]);
    assert_eq!(forward.lanes[0].steps[2..], plan.lanes[1].steps);
    let back = recover(&plan, &begun, Towards::Undo, |_| LaneFound::default()).as_plan(&plan);
    assert_eq!(
        (names(&back), back.goal.purpose),
        (vec![names(&plan)[1].clone(), names(&plan)[0].clone()], RunKind::Rollback)
    );
    assert_eq!(back.lanes[0].steps, [Step::PutBack, Step::Discard]);
}

/// Returns what is known of the first lane, after it has begun to replace its container.
fn found(begun: &[Step], change: impl FnOnce(&mut Vec<Container>)) -> LaneFound {
    let plan = plan();
    let old = plan.lanes[0].replacement.as_ref().unwrap().old.clone().unwrap();
    let new = Container { id: ContainerId("new".into()), name: "new".to_owned(), ..old.clone() };
    let mut containers = vec![old, new.clone()];
    change(&mut containers);
    LaneFound::of(&plan.lanes[0], begun, Some(&new.id), &containers)
}

#[test]
fn an_old_container_is_back_if_it_runs_under_its_name_and_its_successor_was_started_or_is_gone() {
    let started = [Step::Stop, Step::Start];
    assert_eq!(found(&started, |_| ()).old, OldFound::Back);
    assert_ne!(found(&started[..1], |_| ()).old, OldFound::Back, "it may not have been stopped yet");
    assert_eq!(found(&started[..1], |all| drop(all.pop())).old, OldFound::Back);
    assert_ne!(found(&[Step::Drain], |_| ()).old, OldFound::Back);
    assert_ne!(found(&started, |all| all[0].name = "kept".to_owned()).old, OldFound::Back);
    assert_ne!(found(&started, |all| all[0].state = ContainerState::Stopped).old, OldFound::Back);
}

#[test]
fn a_container_is_gone_unless_it_or_one_of_its_name_is_there() {
    assert_eq!(found(&[Step::Drain], |_| ()), LaneFound::default());
    assert_eq!(found(&[Step::Drain], |all| drop(all.pop())).new, NewFound::Gone);
    assert_eq!(found(&[Step::Drain], |all| drop(all.remove(0))).old, OldFound::Gone);
    let renamed = found(&[Step::Drain], |all| {
        let old = all.remove(0);
        all[0].name = old.name;
    });
    assert_eq!(renamed.old, OldFound::Gone, "its successor has its name");
    assert_ne!(found(&[Step::Drain], |all| all[0].id = ContainerId("another".into())).old, OldFound::Gone);
}

#[test]
fn a_lane_that_only_puts_servers_back_in_service_has_no_containers() {
    let mut lane = plan().lanes.remove(0);
    lane.replacement = None;
    let found = LaneFound::of(&lane, &[Step::Ready], None, &[]);
    assert_eq!(found, LaneFound { new: NewFound::Gone, ..LaneFound::default() });
}

#[test]
fn a_container_that_the_engine_may_still_stop_neither_is_back_nor_serves() {
    let found = |old, new| LaneFound { old, new };
    let there = found(OldFound::Back, NewFound::There);
    assert_eq!(there.with_stops(false, false), there);
    assert_eq!(there.with_stops(true, false), found(OldFound::AsRecorded, NewFound::There));
    assert_eq!(there.with_stops(false, true), found(OldFound::Back, NewFound::MayStop));
    let gone = found(OldFound::Gone, NewFound::Gone);
    assert_eq!(gone.with_stops(true, true), gone);
}

#[test]
fn a_rest_is_left_unless_every_lane_is_finished() {
    let plan = plan();
    let has_rest = |came: &[(usize, Step)]| {
        let begun = came.iter().map(|(lane, last)| (*lane, up_to(&plan, *lane, *last))).collect();
        recover(&plan, &begun, Towards::Finish, |_| LaneFound::default()).has_rest()
    };
    let all = [(0, Step::Confirm), (1, Step::Confirm), (2, Step::Confirm), (3, Step::Start)];
    assert!(!has_rest(&all), "the last one is finished without another plan");
    assert!(has_rest(&all[..3]), "the last one was not started");
}

#[test]
fn a_recovery_that_cannot_be_written_in_full_is_an_error() {
    let plan = plan();
    let begun = [(0, up_to(&plan, 0, Step::Drain))].into();
    let recovery = recover(&plan, &begun, Towards::Finish, |_| LaneFound::default());
    crate::testing::fails_with_its_writer(&recovery);
}
