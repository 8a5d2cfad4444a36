use anstream::adapter::strip_str;
use insta::assert_snapshot;

use super::*;
use crate::testing::facts::{event, facts, outcomes, recorded, side_by_side};

/// Returns the plain log of these facts. A fact without a line appears with its name.
fn log(events: &[Event]) -> String {
    let mut story = Story::default();
    let told = |event: &Event| {
        story.record(event);
        let kind = serde_json::to_value(&event.kind).unwrap();
        let nothing = || format!("(nothing: {})", kind["event"].as_str().unwrap());
        line(event, &story).map_or_else(nothing, |text| strip_str(&text).to_string()) + "\n"
    };
    events.iter().map(told).collect()
}

/// Returns events of the first lane.
fn of_lane(kinds: impl IntoIterator<Item = EventKind>) -> Vec<Event> {
    kinds.into_iter().map(|kind| event(Some(LaneId::at(0)), kind)).collect()
}

#[test]
fn every_fact_reads_well() {
    assert_snapshot!(log(&of_lane(facts())));
}

#[test]
fn a_whole_run_reads_well() {
    assert_snapshot!("a_whole_run", log(&recorded()));
}

#[test]
fn every_line_of_a_lane_beside_others_names_it() {
    assert_snapshot!(log(&side_by_side()), @"
    (nothing: run_started)
    pull     registry.example.org/mobile:v2 (9b3ce17a40d2)
    pulled   registry.example.org/mobile:v2 (9b3ce17a40d2) (2.70 s)
    created  for mobile/app1, mobile/app1t, stopped, like mobile-app1
    created  for mobile/app22, stopped, like mobile-app22
    created  for mobile/app3, stopped, like mobile-app3
    surge    mobile-app1-surge.new-20261127T093000.000Z starts, for mobile/app1-surge beside mobile/app1
    joined   mobile/app1-surge at 127.0.0.1:49153 (0.08 s)
    [1/3] mobile/app1, mobile/app1t (primary) runs registry.example.org/mobile:v1 (4f1d0e9c2b7a)
      meanwhile 50 % → mobile/app3, 50 % → mobile/app4
    [2/3] mobile/app22 (primary) runs registry.example.org/mobile:v1 (4f1d0e9c2b7a)
      meanwhile 50 % → mobile/app3, 50 % → mobile/app4
      mobile/app22  verified  mobile/app3, mobile/app4 answered
      mobile/app1   hook      before_drain succeeded (0.08 s)
                              | silenced mobile-app1
      mobile/app1   verified  mobile/app3, mobile/app4 answered
    (nothing: drain_started)
    (nothing: drain_started)
    (nothing: sessions_left)
    (nothing: sessions_left)
    (nothing: sessions_left)
      mobile/app22  drained   nothing in flight (2.20 s)
    (nothing: sessions_left)
      mobile/app22  stopped   kept as mobile-app22.old-20261127T093000.000Z (0.30 s)
      mobile/app1   drained   nothing in flight (3.50 s)
      mobile/app22  started   mobile-app22 (0.31 s)
      mobile/app1   stopped   kept as mobile-app1.old-20261127T093000.000Z (0.35 s)
    finish   mobile/app1, mobile/app1t (start, prove, ready, confirm)
      mobile/app22  not ready connection refused
    note     mobile/app1: the engine has not answered for 30 s: drainswap does nothing else until it does, for ten minutes at most
      mobile/app1   started   mobile-app1 (0.32 s)
      mobile/app1   not ready GET /health → 503
      mobile/app1   answers   GET /health → 200 (4.10 s)
      mobile/app1   ready     back in rotation
      mobile/app1   confirmed up, and takes traffic
      mobile/app1   in service after 8.60 s out of rotation: drain 3.50 s, stop and start 0.67 s, boot 4.05 s, drainswap itself 0.38 s
    restored mobile/app1-surge at /run/haproxy/admin.sock, which had forgotten it
    failed   mobile/app22 at prove: the container exited with code 1
               log | starting
    undo     mobile/app22 (maint, return, prove old, put back)
    undone   mobile/app22 is as it was
    undo     mobile/app1, mobile/app1t
    (nothing: drain_started)
    (nothing: sessions_left)
      mobile/app1   ready     back in rotation
    note     mobile/app1: the current container of mobile/app1, mobile/app1t stays in service: 3 sessions of mobile/app1 are left after 300 s (--drain-timeout)
    (nothing: lane_kept)
    removed  mobile-app1.old-20261127T093000.000Z
    left     mobile/app1-surge (0.02 s)
    failed; the failed servers were put back, mobile/app1, mobile/app1t keep the new container: the container exited with code 1 (315.3 s; drainswap's own share 0.38 s a server)
    ");
}

#[test]
fn every_ending_reads_well() {
    let ended = |outcome| EventKind::RunEnded { outcome, took_ms: 61_500, own_ms: Some(90) };
    assert_snapshot!(log(&of_lane(outcomes().into_iter().map(ended))), @"
    nothing to do: every server runs the wanted image (61.5 s; drainswap's own share 0.09 s a server)
    done: 1 container replaced, every one is in service (61.5 s; drainswap's own share 0.09 s a server)
    done: 4 containers replaced, every one is in service (61.5 s; drainswap's own share 0.09 s a server)
    done: 3 containers replaced and 1 container put back, every one is in service (61.5 s; drainswap's own share 0.09 s a server)
    done: 2 containers put back in service (61.5 s; drainswap's own share 0.09 s a server)
    done: 1 container replaced, every one is in service; mobile/app2 skipped by a hook (61.5 s; drainswap's own share 0.09 s a server)
    done: nothing was replaced; mobile/app2 skipped by a hook (61.5 s; drainswap's own share 0.09 s a server)
    done: 2 replaced, 1 left: mobile/sorry has no container; mobile/app2 stays in maint (61.5 s; drainswap's own share 0.09 s a server)
    done: 2 containers replaced and 1 container put back; mobile/app2 stays in maint (61.5 s; drainswap's own share 0.09 s a server)
    nothing to do: every other server runs the wanted image, 1 left: mobile/sorry has no container; mobile/app2 stays in maint (61.5 s; drainswap's own share 0.09 s a server)
    nothing to do: every server runs the wanted image; mobile/app2 stays in maint (61.5 s; drainswap's own share 0.09 s a server)
    nothing was touched: the hook before_run skipped the run (61.5 s; drainswap's own share 0.09 s a server)
    failed and rolled back, the old container of mobile/app1 serves as before: the container exited with code 1 (61.5 s; drainswap's own share 0.09 s a server)
    failed; the failed servers were put back, mobile/app1 keeps the new container: the container exited with code 1 (61.5 s; drainswap's own share 0.09 s a server)
    failed; the failed servers were put back, mobile/app1, mobile/app2 keep the new container: the container exited with code 1. mobile/app2 did not serve before either and stays in maint (61.5 s; drainswap's own share 0.09 s a server)
    failed and rolled back: the container exited with code 1. mobile/app1, mobile/app2 did not serve before either and stay in maint (61.5 s; drainswap's own share 0.09 s a server)
    refused, nothing was touched: the container exited with code 1 (61.5 s; drainswap's own share 0.09 s a server)
    cancelled: every server is in service, mobile/app1, mobile/app2 unchanged (61.5 s; drainswap's own share 0.09 s a server)
    cancelled: every server is in service; mobile/app1 replaced, mobile/app2 not. Deploy again to finish, or roll back (61.5 s; drainswap's own share 0.09 s a server)
    cancelled: every other server is in service, mobile/app1, mobile/app2 unchanged. mobile/app1 did not serve before either and stays in maint (61.5 s; drainswap's own share 0.09 s a server)
    STUCK, manual recovery is needed (61.5 s; drainswap's own share 0.09 s a server)
      mobile/app1: HAProxy has it in MAINT; the engine does not answer
          docker start a1a1a1a1a1a1
          drainswap ready mobile/app1
      mobile/app2 keeps the new container, in service
      the journal of this run is /var/lib/drainswap/mobile/20261123T221500.000Z.jsonl
      `drainswap resume mobile` resumes the run, whether or not these commands were run
    rolled back, the old containers of mobile/app1, mobile/app2 serve as before: run 20261123T221500.000Z was not finished (61.5 s; drainswap's own share 0.09 s a server)
    rolled back, but mobile/app1 keeps the new container: run 20261123T221500.000Z was not finished. mobile/app2 did not serve before either and stays in maint (61.5 s; drainswap's own share 0.09 s a server)
    ");
}

#[test]
fn a_quiet_log_holds_what_went_wrong() {
    assert_snapshot!(log(&of_lane(facts().into_iter().filter(is_bad))), @"
    note     mobile/app2 is in maint, and will be put back in service
      forced    1 session cut (--on-drain-timeout force)
      forced    3 sessions cut (--on-drain-timeout force)
    failed   mobile/app2 at prove: the container exited with code 1
               log | starting
               log | cannot read /etc/mobile.toml
            health | exit code 1: connection refused
    failed   mobile/app2 at wait: the container exited with code 1
               log | starting
               log | cannot read /etc/mobile.toml
            health | exit code 1: connection refused
      outage    no server of mobile has served for 2.00 s at /run/haproxy/admin.sock
      outage    over: mobile is served again at /run/haproxy/admin.sock (3.12 s)
    ");
    let ended = |outcome: Outcome| EventKind::RunEnded { outcome, took_ms: 1, own_ms: None };
    let said = |outcome: &Outcome| is_bad(&ended(outcome.clone()));
    let silent: Vec<Outcome> = outcomes().into_iter().filter(|outcome| !said(outcome)).collect();
    assert!(silent.iter().all(Outcome::is_success) && silent.len() == 13, "{silent:?}");
}

#[test]
fn short_times_are_told_to_the_hundredth() {
    for (ms, text) in
        [(0, "0.00 s"), (44, "0.04 s"), (9_990, "9.99 s"), (10_000, "10.0 s"), (3_600_000, "3600.0 s")]
    {
        assert_eq!(seconds(ms), text);
    }
}
