//! Ctrl-C, and a process that is killed in the middle.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{Load, Mix, Processes, Stage, finish, wait_until};
use crate::{assert_in_service, on_real_parts, snapshot, versions};

/// Sends a signal by its number to a process of ours.
fn signal(child: &tokio::process::Child, name: &str) {
    let id = child.id().expect("it runs").to_string();
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {id}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_during_a_drain_puts_the_server_back() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::origin().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let load = Load::start(stage.frontend(), Mix::with_streams());
    load.answered(300).await;
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    stage.haproxy.until_draining("app1").await;
    signal(&deploy, "INT");
    finish(deploy).await.expect(12).says(&["cancelled: every server is in service"]);
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    assert_eq!(versions(&stage).await, ["v1"; 4]);
    assert_in_service(&stage).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ctrl_c_takes_back_a_container_that_boots() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("FAIL", "never-ready")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2, "--ready-timeout", "10m"]);
    stage.until_started("app1", &v2).await;
    signal(&deploy, "TERM");
    signal(&deploy, "TERM");
    // Two signals that arrive as one are one: ask until it is heard.
    wait_until("it takes back", Duration::from_secs(30), async || {
        if stage.container("app1").await.is_some_and(|it| it.image.starts_with(&v2)) {
            signal(&deploy, "TERM");
        }
        stage.haproxy.status("app1").await.starts_with("UP")
    })
    .await;
    finish(deploy).await.expect(12).says(&["undone   mobile/app1 is as it was"]);
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    assert_in_service(&stage).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_noticed_and_can_be_taken_back() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::origin().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "60000")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    stage.until_started("app1", &v2).await;
    deploy.kill().await.expect("kill drainswap");
    let again = stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.expect(6);
    again.says(&["was not finished", ".jsonl", "`drainswap rollback mobile`"]);
    stage.drainswap(&["status"]).await.expect(0).says(&["was not finished"]);
    stage.drainswap(&["rollback", "mobile"]).await.expect(0).says(&["undone   mobile/app1 is as it was"]);
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    assert_eq!(versions(&stage).await, ["v1"; 4]);
    assert_in_service(&stage).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_during_a_drain_is_noticed_and_nothing_is_stopped() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::pair().processes(Processes::Workers).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let mut stream = stage.open_stream(60).await;
    let before = snapshot(&stage).await;
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    stage.haproxy.until_draining("app1").await;
    // The new process knows of no drain, and the old one keeps the stream.
    stage.haproxy.reload().await;
    finish(deploy).await.expect(10).says(&["HAProxy was reloaded meanwhile", "mobile/app1 is as it was"]);
    assert!(stream.still_streams().await, "the stream was cut");
    assert_in_service(&stage).await;
    assert_eq!(containers(&snapshot(&stage).await), containers(&before));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_while_a_container_boots_does_not_give_it_requests() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::pair().processes(Processes::Workers).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "5000")]).await;
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    stage.until_started("app1", &v2).await;
    // The new process knows of no maint, and has the server up.
    stage.haproxy.reload().await;
    wait_until("it is out again", Duration::from_secs(3), async || {
        stage.haproxy.status("app1").await == "MAINT"
    })
    .await;
    // It is seen through; what the old process holds of the other server cannot be counted, so that one stays.
    let ended = finish(deploy).await.expect(10);
    ended.says(&[
        "mobile/app1 was put into rotation meanwhile, and is in maint again",
        "mobile/app1 keeps the new container",
    ]);
    assert_eq!(versions(&stage).await, ["v2", "v1"]);
    assert_in_service(&stage).await;
    stage.close().await;
}

/// The containers' part of a snapshot.
fn containers(snapshot: &BTreeMap<String, String>) -> Vec<(&String, &String)> {
    snapshot.iter().filter(|(name, _)| name.contains("-mobile-")).collect()
}
