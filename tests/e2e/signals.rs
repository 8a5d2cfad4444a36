//! Signals in every phase of a deploy: SIGHUP is ignored, and the first SIGTERM stops the deploy soon, with every
//! server in service.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, timeout};

use crate::assert_in_service;
use crate::at_each_event;
use crate::support::{Load, Mix, Stage, finish};
use crate::versions;

/// The time after which CI systems kill a job that does not stop.
const SOON: Duration = Duration::from_secs(7);

/// The events of a deploy; the test sends a signal at the first event of each kind.
const EVENTS: [&str; 14] = [
    "run_started",
    "pull_started",
    "pulled",
    "created",
    "lane_started",
    "verified",
    "drain_started",
    "drained",
    "container_kept",
    "container_started",
    "became_ready",
    "enabled",
    "confirmed",
    "removed",
];

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).expect("a pid")).expect("a pid")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_first_signal_at_any_event_stops_soon_and_sighup_does_not() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "500")]).await;
    let load = Load::start(stage.frontend(), Mix { rate: 100, slow_one_in: 50, ..Mix::default() });
    load.answered(100).await;
    for event in EVENTS {
        let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2, "-o", "json"]);
        let process = pid(deploy.id().expect("it runs"));
        let (mut asked, mut said) = (None, Vec::new());
        let stdout = at_each_event(&mut deploy, async |name| {
            kill_process(process, Signal::HUP).expect("it runs");
            if name == event && asked.is_none() {
                kill_process(process, Signal::TERM).expect("it runs");
                asked = Some(Instant::now());
            }
            said.push(name);
        })
        .await;
        let code = deploy.wait().await.expect("its end").code();
        let took = asked.unwrap_or_else(|| panic!("no {event} in {said:?}")).elapsed();
        eprintln!("asked at {event}: {took:.1?}, exit {code:?}");
        assert!(took < SOON, "asked at {event}, it took {took:?}: {stdout}");
        // At this event, everything is done.
        let wanted = if event == "removed" { 0 } else { 12 };
        assert_eq!(code, Some(wanted), "asked at {event}: {stdout}");
        let now = versions(&stage).await;
        assert_eq!(now[1], if event == "removed" { "v2" } else { "v1" }, "asked at {event}: {stdout}");
        assert_in_service(&stage).await;
        if now != ["v1", "v1"] {
            stage.drainswap(&["deploy", "mobile", "--image", &stage.reference("v1")]).await.exits(0);
        }
    }
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_slow_stop_reports_its_reason() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "9000")]).await;
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    let process = pid(deploy.id().expect("it runs"));
    stage.until_started("app1", &v2).await;
    kill_process(process, Signal::TERM).expect("it runs");
    let ended = timeout(Duration::from_secs(60), finish(deploy)).await.expect("it ends");
    ended.exits(12).says(&[
        "stopping when mobile/app1 serves with the new container",
        "ask again to roll it back at once",
    ]);
    assert_eq!(versions(&stage).await, ["v2", "v1"]);
    assert_in_service(&stage).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_stop_command_after_a_ctrl_c_does_not_count_as_a_second() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "9000")]).await;
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    let process = pid(deploy.id().expect("it runs"));
    stage.until_started("app1", &v2).await;
    kill_process(process, Signal::INT).expect("it runs");
    stage.drainswap(&["stop", "mobile"]).await.exits(0).says(&["to stop at its next safe point"]);
    finish(deploy).await.exits(12).says(&["stopping when mobile/app1 serves with the new container"]);
    assert_eq!(versions(&stage).await, ["v2", "v1"]);
    assert_in_service(&stage).await;
    // A second stop command starts the undo.
    let slow = stage.image("v3", &[("FAIL", "never-ready")]).await;
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &slow, "--ready-timeout", "10m"]);
    stage.until_started("app1", &slow).await;
    stage.drainswap(&["stop", "mobile"]).await.exits(0);
    stage.drainswap(&["stop", "mobile", "--lock-wait", "1m"]).await.exits(0).says(&["the run has ended"]);
    finish(deploy).await.exits(12).says(&["undone   mobile/app1 is as it was"]);
    assert_eq!(versions(&stage).await, ["v2", "v1"]);
    stage.close().await;
}
