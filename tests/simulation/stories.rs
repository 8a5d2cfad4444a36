//! Single cases with an expected outcome.

use crate::case::Case;

/// Plays a case that must have no violations, and returns its outcome and the warnings.
fn told(case: &str) -> String {
    let verdict = case.parse::<Case>().expect("a case").play(false);
    assert_eq!(verdict.violations, Vec::<String>::new(), "{case}");
    let outcome = verdict.outcome.map_or_else(|| "it did not end".to_owned(), |it| it.to_string());
    [vec![outcome], verdict.told].concat().join("\n")
}

/// Checks the outcomes of cases.
fn end_so(cases: &[(&str, &str)]) {
    let wrong = cases.iter().filter_map(|(case, wanted)| {
        let told = told(case);
        (!told.contains(wanted)).then(|| format!("{case}: {told}, and not: {wanted}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_hook_may_leave_out_a_server_or_everything_or_end_the_run() {
    end_so(&[
        ("hooked/1", "done: 2 containers replaced"),
        ("left-out/1", "the hook before_run skipped the run"),
        (
            "one-left-out/1",
            "done: 1 container replaced, every one is in service; mobile/app1 skipped by a hook",
        ),
        (
            "hook-fails/1",
            "rolled back, the old containers of mobile/app1, mobile/app1b serve as before: the hook after_enable exited with code 75",
        ),
        (
            "hook-fails-and-stop/1",
            "mobile/app1 keeps the new container: the hook before_drain exited with code 1",
        ),
        (
            "hooked/1/hook.3=Hangs",
            "rolled back, the old container of mobile/app1 serves as before: the hook before_enable was killed",
        ),
        ("hooked/1/hook.2=Refused", "cannot run the hook after_drain: permission denied"),
        ("hooked/1/hook.9=Refused", "cannot run the hook after_run: permission denied"),
        (
            "hooked/1/hook.2=Stop",
            "cancelled: every server is in service, mobile/app1, mobile/app1b unchanged",
        ),
        ("hooked/1/hook.0=Stop", "cancelled: every server is in service"),
    ]);
}

#[test]
fn a_new_container_that_is_not_well_is_taken_back() {
    end_so(&[
        ("out-of-memory/1", "the container exited with code 137 (out of memory)"),
        ("unhealthy/1", "Docker's healthcheck says unhealthy: exit 7"),
        (
            "breaks-off/1",
            "the registry closed the connection while the engine pulled registry.example.org/mobile:v2",
        ),
    ]);
}

#[test]
fn a_drain_that_takes_too_long_ends_as_configured() {
    end_so(&[
        ("fails-to-drain/1", "not ended within 1 s (--drain-timeout)"),
        ("long-drain/1", "not ended within 12 s (--drain-timeout)"),
        ("shut-down/1", "done: 2 containers replaced"),
        ("forced/1", "done: 2 containers replaced"),
    ]);
}

/// The backup's container is removed while the server is out: at its maint, and while the new container boots.
#[test]
fn a_server_returns_at_once_when_the_others_fail() {
    let unserved = "rolled back, the old container of mobile/app1 serves as before: no server of mobile serves at /run/haproxy0.sock";
    end_so(&[
        ("long-boot/1/start.0=OtherRemoved", unserved),
        ("hooked/1/hook.2=Hangs/set state.1=OtherRemoved", unserved),
        // While the old container stops: it is started again instead of the new one.
        ("pair/1/set the restart policy of.2=OtherRemoved/stop.0=Slow", unserved),
        // While its sessions are shut down, and while the run waits for an unanswered command.
        ("shut-down/3/sessions.0=Hangs/set state.1=OtherRemoved", unserved),
        ("pair/2/set state.1=LateEffect/set state.2=OtherRemoved", unserved),
        // Without a floor, an outage is allowed, and the run continues with the new container.
        ("long-boot-no-floor/1/start.0=OtherRemoved", "an outage of mobile began\nan outage of mobile ended"),
        // A new container that already answers serves sooner than the old one, even with a hook in between.
        ("hooked/1/hook.3=Slow/start.0=OtherRemoved", "mobile/app1 keeps the new container: the container"),
    ]);
}

/// Outcomes that need two faults, or one at a special moment.
#[test]
fn rare_combinations_end_as_well_as_possible() {
    end_so(&[
        ("no-floor/1", "done: 2 containers replaced"),
        ("undone/1/remove.0=DiesBefore", "done: 2 containers replaced, every one is in service"),
        ("no-master/534/77=Reload", "HAProxy was reloaded during the run"),
        ("reachable/1/look.0=Away(300)", "done: 2 containers replaced"),
        (
            "hooked/197/92=StopTwice/80=OldRemoved",
            "cancelled: every server is in service; mobile/app1 replaced, mobile/app1b not",
        ),
        ("left-in-maint/640/19=Person(Maint)", "server mobile/app1b is not up in HAProxy: MAINT"),
        ("stopped/1/start.0=Refused", "mobile/app1b did not serve before either and stays in maint"),
        (
            "gone/921/71=OtherRemoved/60=EngineRestart { live_restore: false }",
            "mobile/app1b did not serve before either and stays in maint",
        ),
        ("origin/593/53=OtherRemoved/265=Hangs/186=DiskFull(3600000)", "and may still carry it out"),
        ("stopped/787/102=Away(40000)/77=Away(5000)", "STUCK, manual recovery is needed"),
        ("undone/146/108=Away(40000)/85=DiskFull(3600000)", "was not finished"),
    ]);
}

#[test]
fn sessions_that_are_ended_are_ended_or_the_run_is_taken_back() {
    end_so(&[
        ("shut-down/3/sessions.0=Unheard", "done: 2 containers replaced"),
        ("shut-down/3/sessions.0=Refused", "HAProxy refused `sessions`: Permission denied"),
        ("shut-down/3/sessions.1=Refused", "HAProxy refused `sessions`: Permission denied"),
        ("shut-down/3/end session.0=Refused", "HAProxy refused `end session`: Permission denied"),
        ("shut-down/3/end session.0=StopTwice", "cancelled: every server is in service"),
        ("crowded/4/wake queue.0=Refused", "HAProxy refused `wake queue`: Permission denied"),
        ("long-drain/1/sessions.0=Refused", "HAProxy refused `sessions`: Permission denied"),
    ]);
}

#[test]
fn an_address_that_answers_without_its_container_is_put_back() {
    end_so(&[
        (
            "pair/1/stop.0=StrangerAnswers",
            "rolled back, the old container of mobile/app1 serves as before: 127.0.0.1:50000 of mobile/app1 still answers although mobile-app1 is stopped: another process answers there",
        ),
        (
            "pair/1/stop.0=Supervised",
            "rolled back, the old container of mobile/app1 serves as before: mobile-app1 behind mobile/app1 was stopped and runs again: a supervisor",
        ),
        ("pair/1/probe.3=Hangs", "done: 2 containers replaced"),
    ]);
}

#[test]
fn a_port_that_the_engine_has_chosen_is_kept() {
    let copy = "A copy that requests the old port replaces it, and the original is kept as";
    end_so(&[
        ("random-ports/1", "done: 2 containers replaced"),
        ("random-ports-never-ready/1", copy),
        ("random-ports-never-ready/1/rename.3=DiesAfter", copy),
        ("random-ports-never-ready/1/create.2=DiesAfter", copy),
        ("random-ports-never-ready/1/start.2=DiesAfter", copy),
    ]);
}
