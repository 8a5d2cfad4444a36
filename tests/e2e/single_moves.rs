//! The commands drain, maint and ready, and their effect on status.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Ended, Stage, finish, wait_until};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_server_can_be_moved_with_a_wait_for_its_sessions() {
    let stage = Stage::pair().start().await;
    let stream = stage.open_stream(60).await;
    let drain = stage.spawn(&["drain", "mobile/app1", "--wait"]);
    wait_until("it drains", Duration::from_secs(10), async || stage.haproxy.status("app1").await == "DRAIN")
        .await;
    let late = stage.drainswap(&["status", "mobile"]).await.exits(0);
    let row = late.stdout.lines().find(|line| line.contains("mobile/app1 ")).expect("a row").to_owned();
    assert!(row.contains("DRAIN") && row.contains("mobile:v1") && row.ends_with("ready"), "{row}");
    drop(stream);
    finish(drain).await.exits(0).says(&["mobile/app1 has no session left"]);
    stage.drainswap(&["maint", "mobile/app1"]).await.exits(0);
    assert_eq!(stage.haproxy.status("app1").await, "MAINT");
    // A server that does not answer gets no traffic.
    stage.remove("app1").await;
    let ready = ["ready", "mobile/app1", "--wait", "--drain-timeout", "500ms"];
    stage
        .drainswap(&ready)
        .await
        .exits(11)
        .says(&["mobile/app1 did not answer: ", "mobile/app1 stays in maint"]);
    assert_eq!(stage.haproxy.status("app1").await, "MAINT");
    stage.run("app1", &stage.reference("v1")).await;
    stage.drainswap(&["ready", "mobile/app1", "--wait"]).await.exits(0).says(&["mobile/app1 is up"]);
    assert!(stage.haproxy.status("app1").await.starts_with("UP"));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_wait_that_times_out_reports_the_remaining_sessions() {
    let stage = Stage::pair().start().await;
    let stream = stage.open_stream(60).await;
    let drain =
        stage.drainswap(&["drain", "mobile/app1", "--wait", "--drain-timeout", "500ms"]).await.exits(11);
    drain.says(&["mobile/app1 still had 1 session", "--drain-timeout", "mobile/app1 stays in drain"]);
    drop(stream);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_last_answering_server_stays_without_checks() {
    let stage = Stage::pair().start().await;
    stage.drainswap(&["ready", "mobile/app1b", "--health", "off"]).await.exits(0);
    stage.remove("app1b").await;
    for leave in [&["drain"][..], &["maint"], &["maint", "--drain-first"], &["ready", "--weight", "0"]] {
        let refused = stage.drainswap(&[leave, &["mobile/app1"]].concat()).await.exits(4);
        refused.says(&["mobile/app1b would take over while mobile/app1 is out", "--floor 0"]);
        assert!(stage.haproxy.status("app1").await.starts_with("UP"));
    }
    stage.drainswap(&["drain", "mobile/app1", "--floor", "0"]).await.exits(0);
    // The server gets no traffic, so it can leave completely.
    stage.drainswap(&["maint", "mobile/app1"]).await.exits(0);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_remaining_servers_need_headroom_unless_the_floor_is_0() {
    let stage = Stage::pair().default_server("inter 200ms maxconn 2").start().await;
    let streams = [stage.open_stream(60).await, stage.open_stream(60).await];
    let deploy = ["deploy", "mobile", "--image", &stage.image("v2", &[("VERSION", "v2")]).await, "--dry-run"];
    let moves = [&["drain"][..], &["maint"], &["maint", "--drain-first"], &["ready", "--weight", "0"]];
    let full =
        "would have room for 2 sessions (maxconn), but backend mobile has 2 now, with a headroom of 50 %";
    for command in moves.map(|leave| [leave, &["mobile/app1"]].concat()).iter().chain([&deploy.to_vec()]) {
        let careful = [&command[..], &["--headroom", "50"]].concat();
        stage.drainswap(&careful).await.exits(4).says(&[full, "--floor 0"]);
        assert!(stage.haproxy.status("app1").await.starts_with("UP"), "{command:?}");
    }
    let careful = ["drain", "mobile/app1", "--headroom", "50", "--floor", "0"];
    stage.drainswap(&[&deploy[..], &careful[2..]].concat()).await.exits(0);
    stage.drainswap(&careful).await.exits(0);
    assert_eq!(stage.haproxy.status("app1").await, "DRAIN");
    drop(streams);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_move_that_is_killed_leaves_no_unfinished_run() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let stream = stage.open_stream(60).await;
    let mut drain = stage.spawn(&["maint", "mobile/app1", "--drain-first"]);
    wait_until("it drains", Duration::from_secs(10), async || stage.haproxy.status("app1").await == "DRAIN")
        .await;
    drain.kill().await.expect("kill drainswap");
    drop(stream);
    for command in [&["status"][..], &["history", "mobile"]] {
        let ended = stage.drainswap(command).await.exits(0);
        assert!(!ended.stderr.contains("was not finished"), "{command:?}: {}", ended.stderr);
    }
    let doctor = stage.drainswap(&["doctor"]).await.exits(0).stdout;
    assert!(!doctor.contains("was not finished"), "{doctor}");
    stage.drainswap(&["resume"]).await.exits(0).says(&["no run was left unfinished"]);
    stage.drainswap(&["ready", "mobile/app1", "--wait"]).await.exits(0);
    stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(0);
    crate::ends_with("v2", stage).await;
}

/// Summarizes the servers of `-o json`: state and weight before and after, and the commands.
fn changes_in(ended: &Ended) -> (bool, Vec<String>) {
    let moved: Value = serde_json::from_str(&ended.stdout).expect("one object");
    let set = |state: &Value| format!("{} {} {}", state["admin"], state["weight"], state["checks"]["health"]);
    let row = |row: &Value| {
        let commands: Vec<&str> =
            row["commands"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        format!("{} → {}: {}", set(&row["before"]), set(&row["after"]), commands.join("; ")).replace('"', "")
    };
    let rows = moved["servers"].as_array().expect("a list").iter().map(row).collect();
    (moved["changed"].as_bool().expect("changed"), rows)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn weights_checks_and_sessions_are_set_and_reported() {
    let stage = Stage::pair().default_server("inter 200ms weight 4").start().await;
    let drainswap = async |arguments: &str, code| {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        stage.drainswap(&arguments).await.exits(code)
    };
    let half = "ready mobile/app1 --weight 50% -o json";
    let will = (true, vec!["0 4 on → 0 2 on: set server mobile/app1 weight 50%".to_owned()]);
    assert_eq!(changes_in(&drainswap(&format!("{half} --dry-run"), 0).await), will);
    assert_eq!(changes_in(&drainswap(half, 0).await), will, "the dry run predicted it");
    assert_eq!(changes_in(&drainswap(half, 0).await), (false, vec!["0 2 on → 0 2 on: ".to_owned()]));
    drainswap("ready mobile/app1b --health off", 0).await;
    drainswap("status", 0).await.prints(&["UP, weight 2 of 4", ", health checks off"]);
    drainswap("ready mobile/app1b --health on", 0).await;
    drainswap("ready mobile/app1 --weight 10% --dry-run --floor 0", 0).await.says(&["is 0: it gets no new"]);
    // Both servers out would leave no server, by weight as well as by state.
    drainswap("maint mobile/app1b", 0).await;
    drainswap("ready mobile/app1 --weight 0", 4).await.says(&["--floor"]);
    drainswap("ready mobile/app1b", 0).await;
    // A check that the server's line does not have cannot be enabled, and nothing else changes.
    drainswap("maint mobile/app1 --agent on", 4)
        .await
        .says(&["mobile/app1 has no agent check", "agent-check"]);
    assert!(stage.haproxy.status("app1").await.starts_with("UP"));
    drainswap("drain app9 --if-exists", 0).await.says(&["nothing to do: no backend has a server app9"]);
    drainswap("drain app9", 2).await.says(&["did you mean app1"]);
    // A command can wait for sessions or shut them down.
    let stream = stage.open_stream(60).await;
    let would = drainswap("maint app1 --shutdown-sessions --wait --dry-run", 0).await;
    would.prints(&["end the remaining sessions (1 session now)", "wait until its last session"]);
    drainswap("maint app1 --drain-first --drain-timeout 300ms", 11).await.says(&["still had 1 session"]);
    assert_eq!(stage.haproxy.status("app1").await, "DRAIN");
    let out = drainswap("maint app1 --health off --shutdown-sessions --wait -o json", 0).await;
    let commands = "disable health mobile/app1; set server mobile/app1 state maint";
    assert_eq!(changes_in(&out), (true, vec![format!("8 2 on → 1 2 off: {commands}")]));
    assert!(out.stdout.contains("\"sessions_shut_down\":1"), "{}", out.stdout);
    drop(stream);
    drainswap("ready app1 --health on --weight 100% --wait", 0).await;
    let first = drainswap("maint app1 --drain-first --dry-run", 0).await;
    let socket = stage.haproxy.socket().display().to_string();
    first.prints(&[
        &format!("at {socket}: set server mobile/app1 state drain\nat {socket}: wait until its last session"),
        &format!("at {socket}: set server mobile/app1 state maint\n"),
    ]);
    stage.close().await;
}
