//! Tests that put one hostile text into every field and check every output.

use serde_json::Value;

use super::ci::{Ci, Files, Github, GithubFiles, Gitlab};
use super::text::line;
use super::*;
use crate::model::ids::LaneId;
use crate::model::sanitize;
use crate::plan::Plan;
use crate::report::status;
use crate::run::event::{Event, EventKind, Reporter};
use crate::run::story::Story;
use crate::testing::facts::{Log, event, facts, outcomes, recorded, run_of, side_by_side};
use crate::testing::{World, plan_file};

/// Terminal sequences, line ends, workflow commands, C0 and C1 characters, and characters that change the direction
/// of text.
const HOSTILE: &str = "x\u{1b}[2J\u{1b}]0;t\u{7}\r\n::error::a\n  ::add-mask::b\n##[group]c\u{9b}31m\u{85}\u{9d}d\u{2028}::e::f\
    \u{202e}\u{2066}\u{200f}\u{61c}\0\u{8}\u{7f}\t\u{0}::set-output name=g::h";

/// Returns the value with this text in place of each of its strings in turn, as long as the result can still be
/// parsed.
fn spoiled<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    let object = spoiled_object(serde_json::to_value(value).unwrap(), |changed| {
        serde_json::from_value::<T>(changed).is_ok()
    });
    serde_json::from_value(object).unwrap()
}

/// Does the same with an event.
fn spoiled_event(event: &Event) -> Event {
    let object = serde_json::from_str(&event.to_json().unwrap()).unwrap();
    let object = spoiled_object(object, |changed| Event::from_json(&changed.to_string()).is_ok());
    Event::from_json(&object.to_string()).unwrap()
}

fn spoiled_object(mut object: Value, can_be_parsed: impl Fn(Value) -> bool) -> Value {
    let mut count = 0;
    strings(&mut object.clone(), &mut |_| count += 1);
    for number in 0..count {
        let mut changed = object.clone();
        let mut at = 0;
        strings(&mut changed, &mut |text| {
            if at == number {
                HOSTILE.clone_into(text);
            }
            at += 1;
        });
        if can_be_parsed(changed.clone()) {
            object = changed;
        }
    }
    object
}

fn strings(value: &mut Value, each: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(list) => list.iter_mut().for_each(|it| strings(it, each)),
        Value::Object(map) => map.values_mut().for_each(|it| strings(it, each)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns every fact and every outcome, with hostile texts.
fn events() -> Vec<Event> {
    let of = |kind| event(Some(LaneId::at(0)), kind);
    let ends =
        outcomes().into_iter().map(|outcome| EventKind::RunEnded { outcome, took_ms: 1, own_ms: None });
    let events: Vec<Event> = facts().into_iter().chain(ends).map(of).collect();
    let spoiled: Vec<Event> =
        recorded().iter().chain(&side_by_side()).chain(&events).map(spoiled_event).collect();
    assert!(spoiled.iter().filter(|event| format!("{event:?}").contains("add-mask")).count() > 30);
    spoiled
}

/// Asserts that a text has no effect on a terminal.
fn assert_harmless(what: &str, text: &str) {
    let bad = text.chars().find(|letter| *letter != '\n' && sanitize::is_unsafe(*letter));
    assert_eq!(bad, None, "{what}:\n{}", text.escape_debug());
}

/// Asserts that a runner obeys only the commands that drainswap itself writes.
fn assert_obeyed(what: &str, text: &str, own: &[&str]) {
    for line in text.lines().map(str::trim_start) {
        let is_own = own.iter().any(|command| line.starts_with(command));
        assert!(is_own || !line.starts_with("::") && !line.contains("##["), "{what}: {line}");
    }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn no_field_of_an_event_does_anything_but_appear() {
    let events = events();
    let log = Log::default();
    ci::read_by(Ci::Github);
    let mut story = Story::default();
    for event in &events {
        story.record(event);
        let text = line(event, &story).map(|text| plain(&stderr::styled(&text))).unwrap_or_default();
        assert_harmless("text", &text);
        assert_obeyed("text", &text, &[]);
        for text in progress::live_lines(&story) {
            assert_harmless("progress", &text);
            assert!(!text.contains('\n'), "{text}");
        }
        let json = sanitize::json(&event.to_json().unwrap());
        assert_harmless("json", &json);
        assert_obeyed("json", &json, &[]);
        assert_eq!(Event::from_json(&json).unwrap(), *event);
    }

    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let files = GithubFiles { summary: Some(file("summary")), output: Some(file("output")) };
    let mut github = Github::new(log.clone(), files, false);
    let mut gitlab_log = Log::default();
    let mut gitlab = Gitlab::new(gitlab_log.clone(), false);
    let mut others = Files::new(Some(file("junit")), Some(file("dotenv"))).unwrap();
    for event in &events {
        github.report(event);
        gitlab.report(event);
        others.report(event);
    }
    assert_harmless("github", &log.text());
    let own = [
        "::group::",
        "::endgroup::",
        "::error ",
        "::warning ",
        "::notice ",
        "::stop-commands::",
        "::drainswap-",
    ];
    assert_obeyed("github", &log.text(), &own);
    let sections = std::mem::take(&mut gitlab_log).text().replace("\u{1b}[0K", "").replace('\r', "");
    assert_harmless("gitlab", &sections);
    for name in ["summary", "output", "junit", "dotenv"] {
        assert_harmless(name, &std::fs::read_to_string(file(name)).unwrap());
    }
    assert_eq!(std::fs::read_to_string(file("dotenv")).unwrap().lines().count(), 4);
}

#[test]
fn no_field_of_a_run_or_a_plan_does_anything_but_appear() {
    ci::read_by(Ci::Github);
    let world = World::pair();
    let plan: Plan = spoiled(&world.plan("v2").unwrap());
    let text = plain(&ci::printable(&plan.to_string()));
    assert!(text.contains("add-mask"), "{text}");
    assert_harmless("plan", &text);
    assert_obeyed("plan", &text, &[]);
    assert_harmless("plan file", &spoiled(&plan_file(&world)).text());
    let events: Vec<Event> = recorded().iter().map(spoiled_event).collect();
    let page = html(&run_of(&events), &events).unwrap();
    assert!(page.contains("add-mask"));
    assert_harmless("page", &page);
    let story = Story::of(&events);
    assert!(story.outcome.is_some());
}

#[test]
fn no_container_does_anything_to_a_table_but_appear_in_it() {
    ci::read_by(Ci::Github);
    let world = World::pair().container("mobile-app1", |container| *container = spoiled(container)).server(
        "mobile/app1",
        |server| {
            HOSTILE.clone_into(&mut server.status);
            HOSTILE.clone_into(&mut server.check);
        },
    );
    let topology = world.topology();
    let table = plain(&ci::printable(&status::table(&topology.backends.iter().collect::<Vec<_>>())));
    assert_harmless("status", &table);
    assert_obeyed("status", &table, &[]);
    let object = sanitize::json(&serde_json::to_string(&topology).unwrap());
    assert!(object.contains("add-mask"));
    assert_harmless("status -o json", &object);
}
