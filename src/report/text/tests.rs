use anstream::adapter::strip_str;
use insta::assert_snapshot;

use super::*;
use crate::testing::facts::{facts, outcomes};

/// What a plain log holds of these facts; a fact that it leaves out is a line with its name.
fn log(facts: &[Fact]) -> String {
    let told = |fact: &Fact| match line(fact) {
        Some(text) => strip_str(&text).to_string() + "\n",
        None => format!("(nothing: {})\n", serde_json::to_value(fact).unwrap()["event"].as_str().unwrap()),
    };
    facts.iter().map(told).collect()
}

#[test]
fn every_fact_reads_well() {
    assert_snapshot!(log(&facts()), @"
    (nothing: run_started)
    note     mobile/app2 is in maint, and will be put back in service
    pull     registry.example.org/mobile:v2 (222222222222)
    (nothing: pull_progressed)
    pulled   registry.example.org/mobile:v2 (222222222222) (4.32 s)
    created  for mobile/app1, stopped, like mobile-app1
    [1/2] mobile/app1 (primary) runs registry.example.org/mobile:v1 (111111111111)
      meanwhile 100 % → mobile/app1b
      verified  mobile/app2 answered
      verified  it carries no traffic now
    (nothing: drain_started)
    (nothing: sessions_left)
      drained   nothing in flight (1.20 s)
      forced    1 session is cut, as asked by --on-drain-timeout force
      forced    3 sessions are cut, as asked by --on-drain-timeout force
      stopped   kept as mobile-app1.old-20261123T221500.000Z (0.31 s)
      started   mobile-app1 (0.31 s)
      not ready connection refused
      answers   GET /health → 200 (10.4 s)
      ready     back in rotation
      confirmed up, and takes traffic
      confirmed up; no request came within a second
      confirmed up; its turn comes when no primary serves
      in service after 12.3 s out of rotation: drain 1.20 s, stop and start 0.62 s, boot 10.4 s, drainswap itself 0.12 s
      in service
    failed   mobile/app2 at prove: the container ended with code 1
               log | starting
               log | cannot read /etc/mobile.toml
            health | exit code 1: connection refused
    failed   mobile/app2 at wait: the container ended with code 1
               log | starting
               log | cannot read /etc/mobile.toml
            health | exit code 1: connection refused
      check     HAProxy had mobile/app2 down, and it answers; it is up again
      queue     3 requests waited although mobile/app2 was free; it was told to look
      hook      before_drain ended well (1.23 s)
                | tests pass
                | 2 of 2
      hook      before_drain ended with code 75 (1.23 s)
                | tests pass
                | 2 of 2
      hook      before_drain was killed (1.23 s)
                | tests pass
                | 2 of 2
      skipped   mobile/app2 stays as it is, as the hook wants it
    stopping at the next safe point; ask again to take back what is under way now
    stopping when mobile/app1 serves with the new container; ask again to take it back now
    stopping now
    undo     mobile/app2
    undone   mobile/app2 is as it was
    undone   mobile/app1, mobile/app2 are as they were
    removed  mobile-app1.old-20261123T221500.000Z
    ");
}

#[test]
fn every_ending_reads_well() {
    let ended = |outcome| Fact::RunEnded { outcome, took_ms: 61_500, own_ms: Some(90) };
    assert_snapshot!(log(&outcomes().into_iter().map(ended).collect::<Vec<_>>()), @"
    nothing to do: every server runs the wanted image (61.5 s; drainswap's own share 0.09 s a server)
    done: 1 container replaced, every one is in service (61.5 s; drainswap's own share 0.09 s a server)
    done: 4 containers replaced, every one is in service (61.5 s; drainswap's own share 0.09 s a server)
    done: 3 containers replaced and 1 container put back, every one is in service (61.5 s; drainswap's own share 0.09 s a server)
    done: 2 containers put back in service (61.5 s; drainswap's own share 0.09 s a server)
    done: 1 container replaced, every one is in service; mobile/app2 left out by a hook (61.5 s; drainswap's own share 0.09 s a server)
    done: nothing was replaced; mobile/app2 left out by a hook (61.5 s; drainswap's own share 0.09 s a server)
    nothing was touched: the hook before_run wants the run to be left out (61.5 s; drainswap's own share 0.09 s a server)
    failed and rolled back, the old containers serve as before: the container ended with code 1 (61.5 s; drainswap's own share 0.09 s a server)
    failed; what failed is put back, mobile/app1 keeps the new container: the container ended with code 1 (61.5 s; drainswap's own share 0.09 s a server)
    failed; what failed is put back, mobile/app1, mobile/app2 keep the new container: the container ended with code 1. mobile/app2 did not serve before either and stays in maint (61.5 s; drainswap's own share 0.09 s a server)
    failed and rolled back, the old containers serve as before: the container ended with code 1. mobile/app1, mobile/app2 did not serve before either and stay in maint (61.5 s; drainswap's own share 0.09 s a server)
    refused, nothing was touched: the container ended with code 1 (61.5 s; drainswap's own share 0.09 s a server)
    cancelled: every server is in service, mobile/app1, mobile/app2 unchanged (61.5 s; drainswap's own share 0.09 s a server)
    cancelled: every server is in service; mobile/app1 replaced, mobile/app2 not. Deploy again to finish, or roll back (61.5 s; drainswap's own share 0.09 s a server)
    STUCK, a person is needed (61.5 s; drainswap's own share 0.09 s a server)
      mobile/app1: HAProxy has it in MAINT; the engine does not answer
          docker start a1a1a1a1a1a1
          drainswap ready mobile/app1
    ");
}

#[test]
fn a_quiet_log_holds_what_went_wrong() {
    let bad: Vec<Fact> = facts().into_iter().filter(is_bad).collect();
    assert_snapshot!(log(&bad), @"
    note     mobile/app2 is in maint, and will be put back in service
      forced    1 session is cut, as asked by --on-drain-timeout force
      forced    3 sessions are cut, as asked by --on-drain-timeout force
    failed   mobile/app2 at prove: the container ended with code 1
               log | starting
               log | cannot read /etc/mobile.toml
            health | exit code 1: connection refused
    failed   mobile/app2 at wait: the container ended with code 1
               log | starting
               log | cannot read /etc/mobile.toml
            health | exit code 1: connection refused
    ");
    let ended = |outcome: Outcome| Fact::RunEnded { outcome, took_ms: 1, own_ms: None };
    let said = |outcome: &Outcome| is_bad(&ended(outcome.clone()));
    let silent: Vec<Outcome> = outcomes().into_iter().filter(|outcome| !said(outcome)).collect();
    assert!(silent.iter().all(is_good) && silent.len() == 8, "{silent:?}");
}

#[test]
fn short_times_are_told_to_the_hundredth() {
    for (ms, text) in
        [(0, "0.00 s"), (44, "0.04 s"), (9_990, "9.99 s"), (10_000, "10.0 s"), (3_600_000, "3600.0 s")]
    {
        assert_eq!(seconds(ms), text);
    }
}
