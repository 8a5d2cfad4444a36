//! Drains with sessions that do not end, persistent clients, and stuck queues.

use std::time::Duration;

use crate::assert_in_service;
use crate::at_each_event;
use crate::ends_with;
use crate::support::{Answer, Load, Mix, Processes, Stage, get, wait_until};
use crate::versions;

/// Starts a stage on which every client of this host returns to its previous server.
const STICKY: [&str; 2] = ["stick-table type ip size 1k expire 5m", "stick on src"];

async fn sticky() -> Stage {
    STICKY.iter().fold(Stage::pair(), |stage, line| stage.backend_line(line)).start().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn maint_moves_persistent_clients() {
    let stage = sticky().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(100).await;
    let deploy = ["deploy", "mobile", "--image", &v2, "--drain-timeout", "3s"];
    // Persistent clients still reach a draining server, so the drain never ends. By default, the server is put back.
    stage.drainswap(&deploy).await.exits(10).says(&["had not ended within 3 s", "mobile/app1 is as it was"]);
    assert_in_service(&stage).await;
    let ended = stage.drainswap(&[&deploy[..], &["--on-drain-timeout", "maint"]].concat()).await.exits(0);
    ended.says(&["persistent clients are now sent elsewhere"]);
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn sessions_are_shut_down_one_by_one_on_request() {
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let mut streams = vec![stage.open_stream(60).await];
    // One of the sessions is in an old worker.
    stage.haproxy.reload().await;
    streams.push(stage.open_stream(60).await);
    let load = Load::start(stage.frontend(), Mix { rate: 100, ..Mix::default() });
    load.answered(50).await;
    let flags = ["--drain-timeout", "3s", "--on-drain-timeout", "shutdown", "--shutdown-over", "1s"];
    let ended = stage.drainswap(&[&["deploy", "mobile", "--image", &v2], &flags[..]].concat()).await.exits(0);
    ended.says(&["will be ended within 1 s", "2 sessions (--on-drain-timeout shutdown)"]);
    for stream in streams {
        assert!(!stream.ends_whole().await, "the stream should have been shut down");
    }
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_queue_for_the_primary_moves_to_the_backup() {
    let stage =
        Stage::pair().default_server("inter 2s fall 3 rise 2 maxconn 2").backend_line("timeout queue 9s");
    let stage = stage.start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    // The stream occupies one of two sessions of app1 until the end, and five requests share the other one.
    let stream = stage.open_stream(12).await;
    let frontend = stage.frontend();
    let waiting: Vec<_> =
        (0..5).map(|_| tokio::spawn(async move { get(frontend, "/slow?ms=1500").await })).collect();
    wait_until("requests wait", Duration::from_secs(10), async || stage.haproxy.queued().await >= 3).await;
    let ended = stage.drainswap(&["deploy", "mobile", "--image", &v2, "--floor", "0"]).await.exits(0);
    for request in waiting {
        let answer = request.await.expect("a task");
        assert!(answer.as_ref().is_ok_and(Answer::is_success), "{answer:?}\n{}", ended.stderr);
    }
    assert!(stream.ends_whole().await, "the stream was cut");
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn sessions_of_an_old_worker_are_shut_down_by_address() {
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let stream = stage.open_stream(90).await;
    // The old worker knows app1 under its name from before the reload.
    let text = std::fs::read_to_string(stage.haproxy.config()).expect("read haproxy.cfg");
    let text = text.replace("server app1 ", "server renamed ");
    std::fs::write(stage.haproxy.config(), text).expect("write haproxy.cfg");
    stage.haproxy.reload().await;
    let flags = ["--drain-timeout", "1s", "--on-drain-timeout", "shutdown", "--shutdown-over", "1s"];
    let deploy = [&["deploy", "mobile", "--image", &v2], &flags[..]].concat();
    stage.drainswap(&deploy).await.exits(0).says(&["1 session (--on-drain-timeout shutdown)"]);
    assert!(!stream.ends_whole().await, "the stream should have been shut down");
    assert_eq!(versions(&stage).await, ["v2", "v2"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_check_that_fails_too_late_is_overridden() {
    let stage = Stage::pair().default_server("inter 5s fall 3 rise 9 slowstart 4s").start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let load = Load::start(stage.frontend(), Mix { rate: 100, ..Mix::default() });
    load.answered(50).await;
    let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2, "-o", "json"]);
    let said = at_each_event(&mut deploy, async |name| {
        if name == "slow_start_awaited" {
            stage.haproxy.command("set server mobile/app1 health down").await;
        }
    })
    .await;
    assert_eq!(deploy.wait().await.expect("an end").code(), Some(0), "{said}");
    assert!(said.contains("check_overruled"), "{said}");
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_next_server_leaves_after_the_previous_one_carries_its_share() {
    let stage = Stage::origin().default_server("inter 2s fall 3 rise 2 slowstart 4s").start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(100).await;
    let ended = stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(0);
    ended.says(&["waiting for the slow start of mobile/app1"]);
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
    assert_in_service(&stage).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_server_is_put_back_when_its_takeover_servers_fail() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let stream = stage.open_stream(60).await;
    let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2, "-o", "json"]);
    let said = at_each_event(&mut deploy, async |name| {
        if name == "drain_started" {
            stage.haproxy.command("set server mobile/app1b state maint").await;
        }
    })
    .await;
    assert_eq!(deploy.wait().await.expect("an end").code(), Some(10), "{said}");
    assert!(said.contains("no server would serve backend mobile"), "{said}");
    let answer = get(stage.frontend(), "/").await;
    assert!(answer.as_ref().is_ok_and(Answer::is_success), "{answer:?}");
    drop(stream);
    stage.drainswap(&["ready", "mobile/app1b", "--wait"]).await.exits(0);
    assert_in_service(&stage).await;
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    stage.close().await;
}
