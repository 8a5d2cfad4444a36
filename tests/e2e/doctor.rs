//! `drainswap doctor` on real parts: it finds leftovers and fixes those that are safe to fix.

use std::process::Command;

use crate::assert_in_service;
use crate::support::{Processes, Stage};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn leftovers_are_found_and_safe_ones_are_fixed() {
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
    // Other tests may use the same engine, so only findings about this stage count.
    let ended = stage.drainswap(&["doctor"]).await.exits(0);
    assert!(!ended.stdout.contains(stage.id()) && !ended.stdout.contains("mobile/"), "{}", ended.stdout);
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let deploy = stage.drainswap(&["deploy", "mobile", "--image", &v2, "-o", "json"]).await.exits(0);
    let run = deploy.events()[0]["run"].as_str().expect("a run").to_owned();
    stage.haproxy.set_state("app1b", "maint").await;
    let kept = format!("{}.old-{run}", stage.container_name("app1"));
    let made = Command::new("docker").args(["create", "--name", &kept, &stage.reference("v1")]).output();
    assert!(made.is_ok_and(|made| made.status.success()), "docker create");
    let stream = stage.open_stream(20).await;
    stage.haproxy.reload().await;
    // The reload has forgotten maint, so it is set again.
    stage.haproxy.set_state("app1b", "maint").await;
    stage.drainswap(&["doctor", "--exit-code"]).await.exits(20).prints(&[
        "mobile/app1b is in maint, but its container",
        "drainswap ready mobile/app1b",
        "a reload of HAProxy would set it to ready",
        "load-server-state-from-file global",
        "was replaced by a reload, and still holds 1 session to mobile/app1",
        &format!("the container {kept} was put aside by a run that is over"),
    ]);
    assert!(stage.containers().await.iter().any(|container| container.name == kept));
    let ended = stage.drainswap(&["doctor", "--fix"]).await.exits(0);
    assert!(!stage.containers().await.iter().any(|container| container.name == kept));
    ended.says(&["; removed it"]).prints(&["drainswap ready mobile/app1b"]);
    stage.drainswap(&["ready", "mobile/app1b", "--wait"]).await.exits(0);
    drop(stream);
    assert_in_service(&stage).await;
    stage.close().await;
}
