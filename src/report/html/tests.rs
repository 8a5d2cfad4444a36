use insta::assert_snapshot;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::model::ids::ServerId;
use crate::run::event::{EventKind, Sample};
use crate::testing::facts::{recorded, run_of, side_by_side};

/// Returns the recording with a sample every two seconds: two servers with 24 requests per second, of which one is
/// out of rotation from second 20 to second 60, and a HAProxy that restarts after 90 seconds.
fn busy() -> Vec<Event> {
    let mut events = recorded();
    events.retain(|event| !matches!(event.kind, EventKind::Sampled { .. }));
    let (first, run) = (events[0].at, events[0].run.clone());
    for second in (0..170u64).step_by(2) {
        let out = second.clamp(20, 60) - 20;
        let counted = |total: u64| if second < 90 { total } else { total - 90 };
        let sample = |total| Sample { sessions: 2, sessions_total: counted(total) };
        let servers =
            [("app1", sample(1000 + 24 * (second - out))), ("app2", sample(1000 + 24 * (second + out)))];
        let servers = servers.map(|(name, sample)| (ServerId::new("mobile", name), sample)).into();
        let at: Timestamp = first + SignedDuration::from_secs(i64::try_from(second).unwrap());
        let (version, run) = (crate::run::event::VERSION, run.clone());
        events.push(Event { version, at, run, lane: None, kind: EventKind::Sampled { servers } });
    }
    events.sort_by_key(|event| event.at);
    events
}

#[test]
fn a_page_tells_the_whole_run() {
    let events = busy();
    let page = html(&run_of(&events), &events).unwrap();
    // The style is checked by eye, not compared.
    let (head, body) = page.split_once("<style>").unwrap();
    assert_snapshot!("page", head.to_owned() + body.split_once("</style>").unwrap().1);
}

/// The card and the bars of each lane come from its own events.
#[test]
fn lanes_side_by_side_have_their_own_bars_and_cards() {
    let events = side_by_side();
    let page = html(&run_of(&events), &events).unwrap();
    assert_snapshot!("side_by_side", page.split_once("</style>").unwrap().1);
}

#[test]
fn a_run_of_which_no_event_is_kept_has_a_page_all_the_same() {
    let mut run = run_of(&recorded());
    run.progress.outcome = None;
    let page = html(&run, &[]).unwrap();
    assert!(page.contains("no events") && page.contains("this run was not finished"), "{page}");
}

#[test]
fn no_text_of_others_is_a_tag() {
    let attack = "</pre></title><script>document.title='owned'</script><img src=x onerror='document.title=1'>\"><svg onload=alert(1)>";
    let tags = |text: &str| {
        let mut events = busy();
        for event in &mut events {
            if let EventKind::StepFailed { reason, log, .. } = &mut event.kind {
                text.clone_into(reason);
                *log = vec![text.to_owned()];
            }
            if let EventKind::HookEnded { output, .. } = &mut event.kind {
                *output = vec![text.to_owned()];
            }
            if let EventKind::NotReadyYet { answer, .. } = &mut event.kind {
                text.clone_into(answer);
            }
        }
        let mut run = run_of(&events);
        run.plan.warnings = vec![text.to_owned()];
        run.plan.lanes[0].replacement.as_mut().unwrap().name = text.to_owned();
        let page = html(&run, &events).unwrap();
        (page.matches('<').count(), page.contains("<script"))
    };
    assert_eq!(tags(attack), tags("fine"));
    assert!(!tags(attack).1);
}
