use insta::assert_snapshot;

use super::*;
use crate::testing::{World, at};

fn plan() -> Plan {
    World::pair().plan("v2").unwrap()
}

fn opened() -> Record {
    Record::Opened { version: VERSION, pid: 7, plan: Box::new(plan()) }
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

fn closed() -> Record {
    Record::Closed { at: at(), outcome: Outcome::Deployed { replaced: 2, put_back: 0, skipped: vec![] } }
}

fn bytes(records: &[Record]) -> Vec<u8> {
    let line = |record| serde_json::to_string(record).unwrap() + "\n";
    records.iter().map(line).collect::<String>().into_bytes()
}

fn fold(records: &[Record]) -> Run {
    Run::read(&bytes(records)).unwrap().unwrap()
}

/// What is wrong with a journal.
fn corrupt(bytes: &[u8]) -> String {
    Run::read(bytes).unwrap_err().to_string()
}

/// A whole run, as the executor writes it: two lanes, one taken back.
fn story() -> Vec<Record> {
    let mut records = vec![opened()];
    for (lane, container) in [(0, "c0"), (1, "c1")] {
        records.extend([begun(lane, Step::Create), created(lane, container), done(lane, Step::Create)]);
    }
    for step in [Step::Verify, Step::Drain, Step::AwaitIdle, Step::Maint, Step::Keep, Step::Start] {
        records.extend([begun(0, step), done(0, step)]);
    }
    records.extend([begun(0, Step::Prove), undone(0), undone(1), closed()]);
    records
}

#[test]
fn records_add_up_to_what_was_begun_and_not_taken_back() {
    let records = story();
    let run = fold(&records);
    assert_eq!((run.pid, &run.plan), (7, &plan()));
    assert_eq!(run.outcome, Some(Outcome::Deployed { replaced: 2, put_back: 0, skipped: vec![] }));
    assert!(run.begun.values().all(Vec::is_empty), "{:?}", run.begun);
    let before_undo = fold(&records[..records.len() - 3]);
    assert_eq!(before_undo.begun[&1], [Step::Create]);
    let (first, last) = (before_undo.begun[&0].first(), before_undo.begun[&0].last());
    assert_eq!((first, last), (Some(&Step::Create), Some(&Step::Prove)));
    assert_eq!(before_undo.created.values().map(|id| id.0.as_str()).collect::<Vec<_>>(), ["c0", "c1"]);
    assert_eq!(before_undo.outcome, None);
}

#[test]
fn a_step_that_was_begun_counts_whether_or_not_it_was_done() {
    assert_eq!(fold(&[opened(), begun(0, Step::Keep)]).begun[&0], [Step::Keep]);
    assert_eq!(fold(&[opened(), begun(0, Step::Keep), done(0, Step::Keep)]).begun[&0], [Step::Keep]);
}

/// The machine may die at any moment: all records that were written whole count.
#[test]
fn any_prefix_of_a_journal_loads() {
    let records = story();
    let all = bytes(&records);
    for end in 0..=all.len() {
        let whole = all[..end].split(|byte| *byte == b'\n').count() - 1;
        let read = Run::read(&all[..end]).unwrap();
        let expected = (whole > 0).then(|| fold(&records[..whole]));
        assert_eq!(read, expected, "{end} of {} bytes", all.len());
    }
}

#[test]
fn what_cannot_follow_is_an_error_with_its_number() {
    let line = |records: &[Record]| corrupt(&bytes(records)) + "\n";
    let early: String = [begun(0, Step::Drain), done(0, Step::Drain), created(0, "c0"), undone(0), closed()]
        .into_iter()
        .map(|record| line(&[record]))
        .collect();
    assert_snapshot!(early, @"
    record 1 comes before the run was opened
    record 1 comes before the run was opened
    record 1 comes before the run was opened
    record 1 comes before the run was opened
    record 1 comes before the run was opened
    ");
    let late: String =
        [opened(), begun(0, Step::Drain), done(0, Step::Drain), created(0, "c0"), undone(0), closed()]
            .into_iter()
            .map(|record| line(&[opened(), closed(), record]))
            .collect();
    assert_snapshot!(late, @"
    record 3 comes after the run was closed
    record 3 comes after the run was closed
    record 3 comes after the run was closed
    record 3 comes after the run was closed
    record 3 comes after the run was closed
    record 3 comes after the run was closed
    ");
    let unknown_lane: String = [begun(2, Step::Drain), done(2, Step::Drain), created(2, "c2"), undone(2)]
        .into_iter()
        .map(|record| line(&[opened(), record]))
        .collect();
    assert_snapshot!(unknown_lane, @"
    record 2 names lane 2, and the plan has 2, counted from 0
    record 2 names lane 2, and the plan has 2, counted from 0
    record 2 names lane 2, and the plan has 2, counted from 0
    record 2 names lane 2, and the plan has 2, counted from 0
    ");
    assert_snapshot!(line(&[opened(), opened()]), @"record 2 opens the run a second time");
    assert_snapshot!(line(&[opened(), begun(0, Step::Keep), done(0, Step::Start)]), @"record 3 ends the step Start, which was not begun");
    assert_snapshot!(line(&[opened(), begun(0, Step::Keep), done(1, Step::Keep)]), @"record 3 ends the step Keep, which was not begun");
    assert_snapshot!(line(&[opened(), begun(0, Step::Keep), undone(0), done(0, Step::Keep)]), @"record 4 ends the step Keep, which was not begun");
}

#[test]
fn what_is_no_record_is_an_error_with_its_number() {
    let after_opened = |line: &[u8]| {
        let mut all = bytes(&[opened()]);
        all.extend(line);
        corrupt(&all)
    };
    assert_snapshot!(after_opened(b"{\"record\":\"begun\"}\n"), @"record 2 is not understood: missing field `at`");
    assert_snapshot!(after_opened(b"{\"record\":\"danced\"}\n"), @"record 2 is not understood: unknown variant `danced`, expected one of `opened`, `begun`, `done`, `created`, `undone`, `closed` at line 1 column 18");
    assert_snapshot!(after_opened(b"\xff\xfe\n"), @"record 2 is not understood: expected value at line 1 column 1");
    assert_snapshot!(after_opened(b"\0\0\0\0\n"), @"record 2 is not understood: expected value at line 1 column 1");
    assert_snapshot!(corrupt(b"[]\n"), @"record 1 is not understood: missing field `record` at line 1 column 2");
}

#[test]
fn a_version_of_tomorrow_is_not_guessed_at() {
    let record = Record::Opened { version: VERSION + 1, pid: 7, plan: Box::new(plan()) };
    assert_snapshot!(corrupt(&bytes(&[record])), @"record 1 has version 2; this drainswap reads version 1");
}

#[test]
fn nothing_was_begun_where_the_first_record_is_torn() {
    assert_eq!(Run::read(b""), Ok(None));
    assert_eq!(Run::read(b"{\"record\":\"opened\",\"vers"), Ok(None));
}

/// Written by an earlier drainswap: what it wrote always loads.
#[test]
fn a_journal_of_version_1_loads() {
    let bytes = include_bytes!("../../fixtures/journal/version-1.jsonl");
    let run = Run::read(bytes).unwrap().unwrap();
    assert_eq!((run.plan.backend.as_str(), run.plan.lanes.len()), ("mobile", 4));
    assert!(matches!(run.outcome, Some(Outcome::RolledBack { .. })));
    assert!(run.begun.values().all(Vec::is_empty), "everything was taken back");
    for end in (0..bytes.len()).step_by(61) {
        assert!(Run::read(&bytes[..end]).is_ok(), "its first {end} bytes");
    }
}
