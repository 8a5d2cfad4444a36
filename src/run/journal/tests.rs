mod recovery;

use insta::assert_snapshot;

use proptest::prelude::*;

use super::*;
use crate::observation::RestartPolicy;
use crate::plan::recover::Towards;
use crate::plan::rest::Rest;
use crate::plan::undo::{UndoMode, undo};
use crate::run::history::revisions;
use crate::run::outcome::StuckServer;
use crate::testing::bytes::damaged;
use crate::testing::{World, at};

fn plan() -> Plan {
    World::pair().plan("v2").unwrap()
}

fn opened() -> Record {
    Record::Opened { version: VERSION, pid: 7, plan: Box::new(plan()), site: None }
}

fn begun(lane: usize, step: Step) -> Record {
    Record::Begun { at: at(), lane, step }
}

fn done(lane: usize, step: Step) -> Record {
    Record::Done { at: at(), lane, step }
}

fn created(lane: usize, container: &str) -> Record {
    Record::Created { lane, container: container.into() }
}

fn undone(lane: usize) -> Record {
    Record::Undone { at: at(), lane }
}

fn stuck() -> Record {
    let [reason, journal, resume] = <[String; 3]>::default();
    let outcome = Outcome::Stuck { reason, servers: vec![], kept: vec![], journal, resume };
    Record::Closed { at: at(), outcome }
}

fn adopted() -> Record {
    Record::Adopted { at: at(), site: Box::new(SiteIdentity::default()) }
}

fn closed() -> Record {
    Record::Closed {
        at: at(),
        outcome: Outcome::Deployed { replaced: 2, put_back: 0, skipped: vec![], rest: Rest::default() },
    }
}

fn bytes(records: &[Record]) -> Vec<u8> {
    records.iter().flat_map(|record| line(record).unwrap()).collect()
}

fn fold(records: &[Record]) -> Run {
    Run::read(&bytes(records)).unwrap().unwrap()
}

/// Returns the error of a journal, without the position and the advice that every such error has.
fn corrupt(bytes: &[u8]) -> String {
    let mut error = Run::read(bytes).unwrap_err().to_string();
    if let Some(at) = error.find(", at byte ") {
        let end = at + 2 + error[at + 2..].find(", ").unwrap() + 1;
        error.replace_range(at..end, "");
    }
    error.replace(". Move the file away if you know how that run ended", "")
}

/// A complete run, as the executor writes it: two lanes, both undone.
fn story() -> Vec<Record> {
    let mut records = vec![opened()];
    for (lane, container) in [(0, "c0"), (1, "c1")] {
        records.extend([begun(lane, Step::Create), created(lane, container), done(lane, Step::Create)]);
    }
    for step in [Step::Verify, Step::Drain, Step::AwaitIdle, Step::Maint, Step::Stop, Step::Start] {
        records.extend([begun(0, step), done(0, step)]);
    }
    records.extend([begun(0, Step::Prove), undone(0), undone(1), closed()]);
    records
}

#[test]
fn records_add_up_to_the_steps_begun_and_not_undone() {
    let records = story();
    let run = fold(&records);
    assert_eq!((run.pid, &run.plan), (7, &plan()));
    assert_eq!(
        run.progress.outcome,
        Some(Outcome::Deployed { replaced: 2, put_back: 0, skipped: vec![], rest: Rest::default() })
    );
    assert!(run.progress.begun.values().all(Vec::is_empty), "{:?}", run.progress.begun);
    let before_undo = fold(&records[..records.len() - 3]);
    assert_eq!(before_undo.progress.begun[&1], [Step::Create]);
    let (first, last) = (before_undo.progress.begun[&0].first(), before_undo.progress.begun[&0].last());
    assert_eq!((first, last), (Some(&Step::Create), Some(&Step::Prove)));
    assert_eq!(
        before_undo.progress.created.values().map(|id| id.0.as_str()).collect::<Vec<_>>(),
        ["c0", "c1"]
    );
    assert_eq!(before_undo.progress.outcome, None);
}

#[test]
fn a_step_that_was_begun_counts_whether_or_not_it_was_done() {
    assert_eq!(fold(&[opened(), begun(0, Step::Stop)]).progress.begun[&0], [Step::Stop]);
    assert_eq!(fold(&[opened(), begun(0, Step::Stop), done(0, Step::Stop)]).progress.begun[&0], [Step::Stop]);
}

/// The machine may fail at any moment: all complete records count.
#[test]
fn any_prefix_of_a_journal_loads() {
    let records = story();
    let all = bytes(&records);
    let mut expected = None;
    for end in 0..=all.len() {
        if all[..end].ends_with(b"\n") {
            let count = all[..end].split(|byte| *byte == b'\n').count() - 1;
            expected = Some(fold(&records[..count]));
        }
        let read = Run::read(&all[..end]).unwrap();
        assert_eq!(read, expected, "{end} of {} bytes", all.len());
        let is_torn = super::complete_records(&all[..end]).len() < end;
        assert_eq!(is_torn, end > 0 && all[end - 1] != b'\n', "{end} of {} bytes", all.len());
    }
}

/// Returns the states of a run in their order, each with the records that lead to it from the one before.
fn states() -> Vec<(&'static str, Vec<Record>)> {
    vec![
        ("nothing", vec![]),
        ("opened", vec![opened()]),
        ("begun", vec![begun(0, Step::Create)]),
        ("created", vec![created(0, "c0")]),
        ("done", vec![done(0, Step::Create)]),
        ("begun again", vec![begun(0, Step::Create)]),
        ("undone", vec![undone(0)]),
        ("stuck", vec![stuck()]),
        ("resumed", vec![begun(0, Step::Create)]),
        ("closed", vec![closed()]),
    ]
}

/// Returns every kind of record.
fn kinds() -> Vec<(&'static str, Record)> {
    vec![
        ("opened", opened()),
        ("begun", begun(0, Step::Create)),
        ("begun, not planned", begun(0, Step::Discard)),
        ("begun, no such lane", begun(2, Step::Create)),
        ("created", created(0, "c1")),
        ("created, another lane", created(1, "c1")),
        ("created, no such lane", created(2, "c1")),
        ("done", done(0, Step::Create)),
        ("done, another lane", done(1, Step::Create)),
        ("done, no such lane", done(2, Step::Create)),
        ("undone", undone(0)),
        ("undone, no such lane", undone(2)),
        ("closed", closed()),
        ("adopted", adopted()),
    ]
}

/// Tries every kind of record after every state of a run: which are accepted, and how the others are rejected.
#[test]
fn a_record_that_cannot_follow_is_an_error_with_its_number() {
    let states = states();
    let (mut table, mut errors) = (String::new(), BTreeSet::new());
    for (name, record) in kinds() {
        let (mut all, mut follows) = (Vec::new(), Vec::new());
        for (state, next) in &states {
            all.extend(next.clone());
            let bytes = bytes(&[&all[..], std::slice::from_ref(&record)].concat());
            if Run::read(&bytes).is_ok() {
                follows.push(*state);
                continue;
            }
            let number = format!("record {} ", all.len() + 1);
            let told = corrupt(&bytes);
            let advice = ". Find out how that run ended (`drainswap status`), then move the file away";
            let error = told.strip_prefix(&number).and_then(|it| it.strip_suffix(advice)).unwrap();
            errors.insert(error.to_owned());
        }
        table.extend([name, ": ", &follows.join(", ")]);
        table.truncate(table.trim_end().len());
        table.push('\n');
    }
    assert_snapshot!(table, @"
    opened: nothing
    begun: opened, begun, created, done, begun again, undone, stuck, resumed
    begun, not planned:
    begun, no such lane:
    created: begun
    created, another lane:
    created, no such lane:
    done: begun, created, begun again, resumed
    done, another lane:
    done, no such lane:
    undone: opened, begun, created, done, begun again, undone, stuck, resumed
    undone, no such lane:
    closed: opened, begun, created, done, begun again, undone, stuck, resumed
    adopted: opened, begun, created, done, begun again, undone, stuck, resumed, closed
    ");
    assert_snapshot!(Vec::from_iter(errors).join("\n"), @"
    begins the step Discard, which the plan does not have for lane 0
    comes after the run was closed
    comes before the run was opened
    ends the step Create, which was not begun
    names a container whose creation was not begun
    names a second container of lane 0
    names lane 2, but the plan has only 2, counted from 0
    opens the run a second time
    ");
}

#[test]
fn a_malformed_record_is_an_error_with_its_number() {
    let after_opened = |line: &[u8]| {
        let mut all = bytes(&[opened()]);
        all.extend(line);
        corrupt(&all)
    };
    assert_snapshot!(after_opened(b"{\"record\":\"begun\"}\n"), @"record 2 is not understood: missing field `at`. Find out how that run ended (`drainswap status`), then move the file away");
    assert_snapshot!(after_opened(b"{\"record\":\"danced\"}\n"), @"record 2 is not understood: unknown variant `danced`, expected one of `opened`, `begun`, `done`, `created`, `surge`, `unanswered`, `undone`, `closed`, `adopted` at line 1 column 18. Find out how that run ended (`drainswap status`), then move the file away");
    assert_snapshot!(after_opened(b"\xff\xfe\n"), @"record 2 is not understood: expected value at line 1 column 1. Find out how that run ended (`drainswap status`), then move the file away");
    assert_snapshot!(after_opened(b"\0\0\0\0\n"), @"record 2 is not understood: expected value at line 1 column 1. Find out how that run ended (`drainswap status`), then move the file away");
    assert_snapshot!(corrupt(b"[]\n"), @"record 1 is not understood: missing field `record` at line 1 column 2. Find out how that run ended (`drainswap status`), then move the file away");
}

/// Bits that changed on the disk are an error with a position, rather than another plan or step.
#[test]
fn a_changed_record_is_detected_by_its_checksum() {
    let all = bytes(&story());
    let second = all.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let damaged = |at: usize, byte: u8| {
        let mut all = all.clone();
        all[at] = byte;
        Run::read(&all)
    };
    let lane = second + all[second..].windows(7).position(|it| it == b"\"lane\":").unwrap() + 7;
    let error = damaged(lane, b'1').unwrap_err().to_string();
    let place = format!("record 2, at byte {second}, does not match its checksum");
    assert!(error.starts_with(&place), "{error}");
    // Every byte but the newline is covered, including the checksum itself.
    for at in (second..all.len()).filter(|at| all[*at] != b'\n') {
        let changed = damaged(at, if all[at] == b'0' { b'1' } else { b'0' });
        assert!(changed.is_err(), "byte {at}");
    }
    let without = bytes(&[opened()])
        .into_iter()
        .chain(*b"{\"record\":\"undone\",\"at\":\"2026-01-01T00:00:00Z\",\"lane\":0}\n");
    let error = Run::read(&without.collect::<Vec<_>>()).unwrap_err().to_string();
    assert!(error.contains("has lost its checksum"), "{error}");
}

#[test]
fn a_run_of_version_1_has_no_checksums_until_it_is_resumed() {
    let text = include_str!("../../../fixtures/journal/version-1.jsonl");
    let unfinished: Vec<&str> = text.split_inclusive('\n').take_while(|it| !it.contains("closed")).collect();
    let unfinished = unfinished.concat();
    let resumed = [unfinished.as_bytes(), &bytes(&[closed()])].concat();
    let run = Run::read(&resumed).unwrap().unwrap();
    assert_eq!((run.version, run.site), (1, None));
    assert!(run.progress.outcome.is_some());
    let mut damaged = resumed;
    let last = damaged.len() - 30;
    damaged[last] = b'#';
    assert!(Run::read(&damaged).is_err());
}

#[test]
fn a_run_that_ended_stuck_may_be_resumed_and_any_run_may_be_adopted() {
    let begun = [opened(), begun(0, Step::Drain), stuck()];
    let run = fold(&begun);
    assert!(run.is_unfinished() && run.progress.outcome.is_some());
    assert_eq!(run.progress.begun[&0], [Step::Drain], "the begun steps are known");
    // Killed during a resume, so no end is recorded.
    let resumed = [&begun[..], &[undone(0)]].concat();
    assert_eq!(fold(&resumed).progress.outcome, None);
    assert!(!fold(&[&resumed[..], &[closed()]].concat()).is_unfinished());
    let site = SiteIdentity { engines: BTreeSet::from(["one".to_owned()]), ..SiteIdentity::default() };
    let adopted = Record::Adopted { at: at(), site: Box::new(site.clone()) };
    let over = fold(&[opened(), closed(), adopted]);
    assert_eq!((over.site, over.progress.outcome.is_some()), (Some(site), true));
}

#[test]
fn a_run_meets_another_by_a_container_or_a_server_of_the_same_haproxy() {
    let site = |socket: &str| SiteIdentity {
        sockets: BTreeSet::from([socket.to_owned()]),
        ..SiteIdentity::default()
    };
    let run = Run { site: Some(site("a")), ..fold(&[opened()]) };
    let mut other = plan();
    assert!(
        run.conflicts_with(&other, &site("a")) && run.conflicts_with(&other, &site("b")),
        "they have the same containers"
    );
    for replacement in other.lanes.iter_mut().filter_map(|lane| lane.replacement.as_mut()) {
        replacement.like.id = "another".into();
        replacement.old = None;
    }
    assert!(run.conflicts_with(&other, &site("a")), "they have the same servers");
    assert!(!run.conflicts_with(&other, &site("b")));
    // A container that one run created may be the one that the next replaces.
    let mut created = run.clone();
    created.progress.created.insert(0, "another".into());
    assert!(created.conflicts_with(&other, &site("b")));
}

#[test]
fn nothing_is_left_of_a_run_whose_containers_are_gone() {
    let run = fold(&[opened(), begun(0, Step::Create), created(0, "c0"), begun(0, Step::Drain)]);
    let mut containers = World::pair().observation.containers;
    assert!(run.is_left_in(&containers));
    let old = run.plan.lanes[0].replacement.as_ref().unwrap().old.as_ref().unwrap().id.clone();
    containers.retain(|container| container.id != old);
    assert!(!run.is_left_in(&containers));
    containers[0].id = "c0".into();
    assert!(run.is_left_in(&containers));
    // The operator prepares the new container for a deploy, which copies its settings.
    let place = run.plan.lanes[0].replacement.clone().unwrap();
    containers[0].name.clone_from(&place.name);
    containers[0].restart = RestartPolicy::never();
    assert!(run.is_left_in(&containers), "it would be copied without its restart policy");
    containers[0].restart = place.like.restart;
    assert!(!run.is_left_in(&containers));
    assert!(!fold(&[opened(), begun(1, Step::Create)]).is_left_in(&containers), "it touched no traffic");
}

#[test]
fn a_stuck_run_does_not_hold_the_containers_of_servers_that_serve() {
    let stuck = |server: usize| {
        let server = plan().lanes[server].name().clone();
        let stranded = StuckServer { server, status: String::new(), commands: Vec::new() };
        let (kept, reason, journal, resume) = (Vec::new(), String::new(), String::new(), String::new());
        let outcome = Outcome::Stuck { reason, servers: vec![stranded], kept, journal, resume };
        fold(&[opened(), begun(0, Step::Drain), Record::Closed { at: at(), outcome }])
    };
    let containers = World::pair().observation.containers;
    assert!(stuck(0).is_left_in(&containers));
    assert!(!stuck(1).is_left_in(&containers), "only another lane has begun");
}

#[test]
fn a_newer_version_is_rejected() {
    let of_version = |version| Record::Opened { version, pid: 7, plan: Box::new(plan()), site: None };
    assert_snapshot!(corrupt(&bytes(&[of_version(VERSION + 1)])), @"it has version 3, but this drainswap reads only up to version 2: update drainswap");
    // Whatever the rest of the record is.
    assert_snapshot!(corrupt(b"{\"record\":\"begins\",\"version\":30000000000}\n"), @"it has version 30000000000, but this drainswap reads only up to version 2: update drainswap");
    assert_snapshot!(corrupt(&bytes(&[of_version(0)])), @"record 1 has version 0, which does not exist. Find out how that run ended (`drainswap status`), then move the file away");
}

#[test]
fn a_lane_without_a_server_is_rejected() {
    let mut plan = plan();
    plan.lanes[1].servers.clear();
    let record = Record::Opened { version: VERSION, pid: 7, plan: Box::new(plan), site: None };
    assert_snapshot!(corrupt(&bytes(&[record])), @"record 1 is not understood: a lane has no server. Find out how that run ended (`drainswap status`), then move the file away");
}

#[test]
fn nothing_was_begun_where_the_first_record_is_torn() {
    assert_eq!(Run::read(b""), Ok(None));
    assert_eq!(Run::read(b"{\"record\":\"opened\",\"vers"), Ok(None));
}

#[test]
fn the_lane_in_flight_is_the_last_that_touched_traffic() {
    let creations = [opened(), begun(0, Step::Create), begun(1, Step::Create)];
    let with = |more: &[Record]| {
        let run = fold(&[&creations, more].concat());
        run.progress.in_flight(&run.plan)
    };
    assert!(with(&[]).is_empty());
    assert!(with(&[begun(0, Step::Verify)]).is_empty(), "a look touches nothing");
    assert_eq!(with(&[begun(0, Step::Drain)]), [0]);
    let both = [begun(0, Step::Drain), begun(1, Step::Drain)];
    assert_eq!(with(&both), [1]);
    assert_eq!(with(&[&both[..], &[undone(1)]].concat()), [0]);
}

#[test]
fn all_lanes_of_the_last_wave_are_in_flight() {
    let mut run = fold(&[opened(), begun(0, Step::Drain), begun(1, Step::Drain)]);
    run.plan.waves = vec![2];
    assert_eq!(run.progress.in_flight(&run.plan), [0, 1]);
    run.progress.begun.remove(&0);
    assert_eq!(run.progress.in_flight(&run.plan), [1]);
}

/// A journal from an earlier drainswap must always load.
#[test]
fn a_journal_of_version_1_loads() {
    let bytes = include_bytes!("../../../fixtures/journal/version-1.jsonl");
    let run = Run::read(bytes).unwrap().unwrap();
    assert_eq!((run.plan.goal.backend.as_str(), run.plan.lanes.len()), ("mobile", 4));
    assert!(matches!(run.progress.outcome, Some(Outcome::RolledBack { .. })));
    assert!(run.progress.begun.values().all(Vec::is_empty), "every lane was undone");
    for kind in ["opened", "begun", "created", "done", "undone", "closed"] {
        let record = format!("{{\"record\":\"{kind}\",");
        assert!(bytes.windows(record.len()).any(|it| it == record.as_bytes()), "no {kind} is in it");
    }
    for end in (0..bytes.len()).step_by(61) {
        assert!(Run::read(&bytes[..end]).is_ok(), "its first {end} bytes");
    }
}

#[test]
fn a_journal_of_version_2_loads() {
    let bytes = include_bytes!("../../../fixtures/journal/version-2.jsonl");
    let run = Run::read(bytes).unwrap().unwrap();
    let site = run.site.unwrap();
    assert_eq!((run.version, site.servers.len(), site.sockets.len()), (2, 4, 1));
    assert!(site.owns(&site, "mobile"));
    assert!(matches!(run.progress.outcome, Some(Outcome::RolledBack { .. })), "it was stuck before");
    for kind in ["opened", "begun", "created", "done", "undone", "closed", "adopted"] {
        let record = format!("{{\"record\":\"{kind}\",");
        assert!(bytes.windows(record.len()).any(|it| it == record.as_bytes()), "no {kind} is in it");
    }
    for end in (0..bytes.len()).step_by(61) {
        assert!(Run::read(&bytes[..end]).is_ok(), "its first {end} bytes");
    }
}

proptest! {
    /// A damaged journal either loads into a usable run or fails with a reason.
    #[test]
    fn any_bytes_are_handled(bytes in damaged(include_bytes!("../../../fixtures/journal/version-1.jsonl"))) {
        let Ok(Some(run)) = Run::read(&bytes) else { return Ok(()) };
        let _either = (run.recovery(&[], Towards::Finish), run.recovery(&[], Towards::Undo), revisions([&run]));
        for (lane, begun) in &run.progress.begun {
            let _steps = undo(&run.plan.lanes[*lane], begun, UndoMode::Graceful);
        }
    }
}
