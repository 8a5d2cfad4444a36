use super::*;
use crate::plan::rest::Rest;
use crate::testing::facts::{RECORDED, SIDE_BY_SIDE, event, facts, outcomes, recorded, side_by_side};
use serde_json::{Map, Value};

#[test]
fn every_event_reads_as_it_was_written() {
    let ended =
        outcomes().into_iter().map(|outcome| EventKind::RunEnded { outcome, took_ms: 1, own_ms: Some(90) });
    for kind in facts().into_iter().chain(ended) {
        for lane in [None, Some(LaneId::at(1))] {
            let event = event(lane, kind.clone());
            let line = event.to_json().unwrap();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(Event::from_json(&line).unwrap(), event, "{line}");
        }
    }
}

/// A recording from an earlier drainswap must always load. Its reader finds every key and value in its place again.
#[test]
fn a_recording_of_version_1_loads_and_keeps_every_key() {
    let events = recorded();
    assert_eq!(events.len(), RECORDED.lines().count());
    for (line, event) in RECORDED.lines().zip(&events) {
        let was: Map<String, Value> = serde_json::from_str(line).unwrap();
        let is: Map<String, Value> = serde_json::from_str(&event.to_json().unwrap()).unwrap();
        for (key, value) in was.iter().filter(|(key, _)| *key != "version") {
            assert_eq!(is.get(key), Some(value), "{key} of {line}");
        }
        let added: Vec<&str> = is.keys().filter(|key| !was.contains_key(*key)).map(String::as_str).collect();
        assert!(matches!(added[..], [] | ["lane" | "waves"]), "{added:?}");
    }
}

#[test]
fn a_recording_of_version_2_loads_and_is_written_the_same() {
    let written: Vec<Value> = side_by_side().iter().map(object).collect();
    let read: Vec<Value> = SIDE_BY_SIDE.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(written, read);
}

/// Returns the JSON of an event.
fn object(event: &Event) -> Value {
    serde_json::from_str(&event.to_json().unwrap()).unwrap()
}

#[test]
fn the_recordings_have_every_kind() {
    let kind = |kind: &EventKind| serde_json::to_value(kind).unwrap()["event"].clone();
    let kinds: Vec<_> = recorded().iter().chain(&side_by_side()).map(|event| kind(&event.kind)).collect();
    for fact in facts() {
        assert!(kinds.contains(&kind(&fact)), "the recordings lack {}", kind(&fact));
    }
}

#[test]
fn the_lanes_of_version_1_are_known_from_their_servers_and_order() {
    let line = |event: Event| {
        let kind = serde_json::to_value(&event.kind).unwrap()["event"].as_str().unwrap().to_owned();
        format!("{} {kind}", event.lane.map_or_else(|| "-".to_owned(), |lane| lane.to_string()))
    };
    let lanes: Vec<String> = recorded().into_iter().map(line).collect();
    insta::assert_snapshot!(lanes.join("\n"));
}

#[test]
fn an_event_is_one_flat_object() {
    let kind = EventKind::RunEnded {
        outcome: Outcome::Deployed { replaced: 2, put_back: 0, skipped: vec![], rest: Rest::default() },
        took_ms: 1,
        own_ms: None,
    };
    insta::assert_snapshot!(event(None, kind).to_json().unwrap(), @r#"{"version":2,"at":"2026-11-23T22:15:00Z","run":"20261123T221500.000Z","event":"run_ended","outcome":"deployed","replaced":2,"put_back":0,"took_ms":1,"own_ms":null}"#);
}

#[test]
fn unaccounted_time_is_drainswap_s_own_and_never_negative() {
    let timing = Timing { out_of_rotation_ms: 100, drain_ms: 30, engine_ms: 40, boot_ms: 20 };
    assert_eq!(timing.own_ms(), 10);
    assert_eq!(Timing { out_of_rotation_ms: 80, ..timing }.own_ms(), 0);
}

#[test]
fn an_object_without_the_keys_of_its_event_is_an_error() {
    let head = r#""version":2,"at":"2026-11-23T22:15:00Z","run":"20261123T221500.000Z""#;
    let error = |text: &str| Event::from_json(text).unwrap_err().to_string();
    assert!(error("{}").starts_with("missing field"), "{}", error("{}"));
    let nameless = error(&format!("{{{head}}}"));
    assert!(nameless.starts_with("missing field `event`"), "{nameless}");
    let timeless = error(&format!(r#"{{{head},"event":"run_ended","outcome":"skipped"}}"#));
    assert!(timeless.starts_with("missing field `took_ms`"), "{timeless}");
}

#[test]
fn servers_that_version_1_names_first_in_the_middle_of_a_run_are_further_lanes() {
    let of = |server: &str| vec![ServerId::new("mobile", server)];
    let kinds = [
        EventKind::LaneResumed { servers: of("app1"), steps: Vec::new() },
        EventKind::LaneKept { servers: of("app2") },
        EventKind::Undone { servers: of("app1") },
    ];
    let mut events = kinds.map(|kind| Event { version: 1, ..event(None, kind) });
    name_lanes(&mut events);
    let lanes = [0, 1, 0].map(|lane| Some(LaneId::at(lane)));
    assert_eq!(events.map(|event| event.lane), lanes);
}
