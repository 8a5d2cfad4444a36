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
    let is_drain = |it: &Event| matches!(it.kind, EventKind::DrainStarted { .. });
    let drained =
        side_by_side().into_iter().find(|it| it.lane == Some(LaneId::at(0)) && is_drain(it)).unwrap();
    events.insert(events.len() - 1, drained);
    assert_eq!(state(&events), LaneState::UnderWay, "it had left rotation");
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

#[test]
fn each_state_of_a_lane_has_a_word_of_its_own() {
    use LaneState::{Failed, InService, KeptNew, LeftOut, PutBack, UnderWay, Waiting};
    let all = [Waiting, UnderWay, InService, LeftOut, Failed, PutBack, KeptNew];
    let words: std::collections::BTreeSet<&str> = all.map(LaneState::word).into();
    assert_eq!(words.len(), all.len(), "{words:?}");
    assert_eq!((UnderWay.word(), Failed.word()), ("in progress", "failed"));
}

/// An events file may lack its beginning.
#[test]
fn a_lane_whose_servers_no_event_names_has_its_number() {
    let lane = Some(LaneId::at(2));
    let story = Story::of(&[event(lane, EventKind::Verified { carriers: Vec::new() })]);
    assert_eq!(story.lanes[&LaneId::at(2)].name(), "lane 3");
}

#[test]
fn sessions_are_compared_with_those_of_the_same_drain_only() {
    let servers = || vec!["mobile/app1".parse().unwrap()];
    let left = |sessions| {
        let left = EventKind::SessionsLeft { servers: servers(), sessions, after_ms: 0 };
        event(Some(LaneId::at(0)), left)
    };
    let before = |events: &[Event]| match &Story::of(events).lanes[&LaneId::at(0)].activity {
        Some((Activity::Draining { before, .. }, _)) => *before,
        other => panic!("{other:?}"),
    };
    assert_eq!(before(&[left(4)]), None);
    assert_eq!(before(&[left(4), left(3)]), Some(4));
    let resumed = event(Some(LaneId::at(0)), EventKind::Enabled { servers: servers() });
    assert_eq!(before(&[left(4), resumed, left(3)]), None);
}

#[test]
fn a_confirmation_of_servers_that_did_not_return_is_no_step() {
    let servers = vec!["mobile/app1".parse().unwrap()];
    let enabled = EventKind::Enabled { servers: servers.clone() };
    let confirmed = |before: &[EventKind]| {
        let mut events: Vec<Event> = recorded();
        let kind =
            events.iter().find(|it| matches!(it.kind, EventKind::Confirmed { .. })).unwrap().kind.clone();
        events = before.iter().cloned().chain([kind]).map(|kind| event(Some(LaneId::at(0)), kind)).collect();
        steps(&Story::of(&events), 0)
    };
    assert_eq!(confirmed(&[]), []);
    assert_eq!(confirmed(&[EventKind::DrainStarted { servers }, enabled]), [(Step::Confirm, 0)]);
}

#[test]
fn a_lane_that_only_a_wave_names_has_no_name() {
    let (images, purpose) = (Vec::new(), crate::plan::RunKind::Deploy);
    let waves = vec![vec![LaneId::at(0), LaneId::at(1)]];
    let started =
        EventKind::RunStarted { backend: "mobile".to_owned(), purpose, lanes: Vec::new(), waves, images };
    let story = Story::of(&[event(None, started)]);
    assert_eq!(story.name_beside_others(Some(LaneId::at(1))), None);
}
