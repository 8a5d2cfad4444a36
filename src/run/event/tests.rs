use super::*;
use crate::plan::rest::Rest;
use crate::testing::at;
use crate::testing::facts::{RECORDED, facts, outcomes, recorded};

#[test]
fn every_event_reads_as_it_was_written() {
    let ended =
        outcomes().into_iter().map(|outcome| EventKind::RunEnded { outcome, took_ms: 1, own_ms: Some(90) });
    for fact in facts().into_iter().chain(ended) {
        let event = Event { version: VERSION, at: at(), run: RunId::from("20261123T221500.000Z"), fact };
        let line = serde_json::to_string(&event).unwrap();
        assert!(!line.contains('\n'), "{line}");
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event, "{line}");
    }
}

/// A recording from an earlier drainswap must always load.
#[test]
fn a_recording_of_version_1_loads_and_is_written_the_same() {
    let written = recorded().into_iter().map(|event| serde_json::to_string(&event).unwrap() + "\n");
    assert_eq!(written.collect::<String>(), RECORDED);
    let kind = |fact: &EventKind| serde_json::to_value(fact).unwrap()["event"].clone();
    let kinds: Vec<_> = recorded().iter().map(|event| kind(&event.fact)).collect();
    for fact in facts() {
        assert!(kinds.contains(&kind(&fact)), "the recording lacks {}", kind(&fact));
    }
}

#[test]
fn an_event_is_one_flat_object() {
    let fact = EventKind::RunEnded {
        outcome: Outcome::Deployed { replaced: 2, put_back: 0, skipped: vec![], rest: Rest::default() },
        took_ms: 1,
        own_ms: None,
    };
    let event = Event { version: VERSION, at: at(), run: RunId::from("20261123T221500.000Z"), fact };
    insta::assert_snapshot!(serde_json::to_string(&event).unwrap(), @r#"{"version":1,"at":"2026-11-23T22:15:00Z","run":"20261123T221500.000Z","event":"run_ended","outcome":"deployed","replaced":2,"put_back":0,"took_ms":1,"own_ms":null}"#);
}

#[test]
fn unaccounted_time_is_drainswap_s_own_and_never_negative() {
    let timing = Timing { out_of_rotation_ms: 100, drain_ms: 30, engine_ms: 40, boot_ms: 20 };
    assert_eq!(timing.own_ms(), 10);
    assert_eq!(Timing { out_of_rotation_ms: 80, ..timing }.own_ms(), 0);
}
