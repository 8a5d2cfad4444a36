use super::*;
use crate::plan::Step;
use crate::testing::facts::{event, recorded, side_by_side};

fn steps(story: &Story, lane: usize) -> Vec<(Step, u64)> {
    story.lanes[&LaneId::at(lane)].steps.clone()
}

#[test]
fn events_of_lanes_side_by_side_go_to_their_own_lanes() {
    let story = Story::of(&side_by_side());
    let expected = [(Step::AwaitIdle, 3_500), (Step::Stop, 350), (Step::Start, 320), (Step::Prove, 4_100)];
    assert_eq!(steps(&story, 0), [&expected[..], &[(Step::Confirm, 200)]].concat());
    assert_eq!(steps(&story, 1), [(Step::AwaitIdle, 2_200), (Step::Stop, 300), (Step::Start, 310)]);
    assert_eq!(steps(&story, 2), []);
    let states: Vec<LaneState> = story.lanes.values().map(|lane| lane.state).collect();
    assert_eq!(states, [LaneState::KeptNew, LaneState::PutBack, LaneState::Waiting]);
    let answers = |lane: usize| story.lanes[&LaneId::at(lane)].answers.len();
    assert_eq!([answers(0), answers(1), answers(2)], [2, 1, 0]);
}

#[test]
fn only_a_lane_beside_others_needs_a_name() {
    let name = |story: &Story, lane| story.name_beside_others(Some(LaneId::at(lane)));
    let story = Story::of(&side_by_side());
    assert_eq!(name(&story, 1), Some("mobile/app22".to_owned()));
    assert_eq!((name(&story, 2), story.name_beside_others(None)), (None, None));
    assert_eq!(name(&Story::of(&recorded()), 0), None);
    assert!(story.notes[0].starts_with("mobile/app1: the engine"), "{:?}", story.notes);
}

#[test]
fn an_undo_is_one_phase_until_its_end() {
    let story = Story::of(&side_by_side());
    let phases = |lane: usize| {
        story.lanes[&LaneId::at(lane)].phases.iter().map(|it| (it.kind, it.to.is_some())).collect::<Vec<_>>()
    };
    let undoing = (PhaseKind::Undoing, true);
    assert_eq!(phases(0).last(), Some(&undoing));
    assert_eq!(phases(0).len(), 5, "{:?}", phases(0));
    assert_eq!(phases(1).last(), Some(&undoing));
}

/// A stop came before its servers left rotation.
#[test]
fn a_lane_that_never_left_rotation_has_not_started() {
    let mut events = side_by_side();
    let end = events.pop().unwrap();
    events.retain(|event| event.lane.is_none() || matches!(event.kind, EventKind::LaneStarted { .. }));
    let state = |events: &[Event]| Story::of(events).lanes[&LaneId::at(0)].state;
    assert_eq!(state(&events), LaneState::UnderWay);
    events.push(end);
    assert_eq!(state(&events), LaneState::Waiting);
}

/// A resumed run does not say again how it started.
#[test]
fn a_lane_is_known_without_the_run_s_start() {
    let servers = vec!["mobile/app1".parse().unwrap()];
    let story =
        Story::of(&[event(Some(LaneId::at(2)), EventKind::UndoStarted { servers, steps: Vec::new() })]);
    let lane = &story.lanes[&LaneId::at(2)];
    assert_eq!((story.lanes.len(), lane.title()), (1, "mobile/app1".to_owned()));
}

#[test]
fn another_run_begins_another_story() {
    let story = Story::of(recorded().iter().chain(&side_by_side()));
    assert_eq!(story.run.unwrap().to_string(), "20261127T093000.000Z");
    assert_eq!(story.lanes.len(), 3);
}
