//! Outages: the servers that took over fail while another server is out.

use serde_json::Value;

use crate::assert_in_service;
use crate::at_each_event;
use crate::ends_with;
use crate::support::Stage;
use crate::versions;

/// Deploys an image, and kills the backup's container while the first new container boots. Returns the exit code and
/// the events.
async fn deploy_without_backup(stage: &Stage, image: &str, flags: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut arguments = vec!["deploy", "mobile", "--image", image, "-o", "json"];
    arguments.extend(flags);
    let mut deploy = stage.spawn(&arguments);
    let mut is_killed = false;
    let said = at_each_event(&mut deploy, async |event| {
        if event == "container_started" && !is_killed {
            is_killed = true;
            stage.engine.kill(&stage.container_name("app1b")).await;
        }
    })
    .await;
    let code = deploy.wait().await.expect("its end").code();
    (code, said.lines().map(|line| serde_json::from_str(line).expect("an event")).collect())
}

/// Returns the duration of the only reported outage, in milliseconds.
fn outage(events: &[Value]) -> u64 {
    let of_kind = |kind: &str| {
        let mut all = events.iter().filter(|it| it["event"] == kind);
        let first = all.next().unwrap_or_else(|| panic!("no {kind} in {events:#?}"));
        assert!(all.next().is_none(), "{kind} twice in {events:#?}");
        assert_eq!(first["backend"], "mobile");
        first
    };
    let (began, ended) = (of_kind("outage_began"), of_kind("outage_ended"));
    assert!(began["after_ms"].as_u64().expect("a time") >= 2_000, "{began}");
    assert_eq!(began["load_balancer"], ended["load_balancer"]);
    ended["took_ms"].as_u64().expect("a time")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_old_container_returns_at_once_when_the_others_fail_during_a_boot() {
    let stage = Stage::pair().default_server("inter 100ms fall 2 rise 1").start().await;
    let slow = stage.image("slow", &[("VERSION", "slow"), ("BOOT_MS", "120000")]).await;
    let (code, events) = deploy_without_backup(&stage, &slow, &["--ready-timeout", "100s"]).await;
    assert_eq!(code, Some(10), "{events:#?}");
    let took_ms = outage(&events);

    assert!(took_ms < 20_000, "the outage took {took_ms} ms, and the new container had 100 s");
    let last = events.last().expect("an event");
    let reason = last["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("no server of mobile serves at "), "{reason}");
    stage.engine.start(&stage.container_name("app1b")).await;
    stage.until_healthy("app1b").await;
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    assert_in_service(&stage).await;
    // With --floor 0, the run waits for the new container and reports the outage.
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "5000")]).await;
    let (code, events) = deploy_without_backup(&stage, &v2, &["--floor", "0"]).await;
    assert_eq!(code, Some(0), "{events:#?}");
    outage(&events);
    ends_with("v2", stage).await;
}
