//! Containers whose readiness only HAProxy's own check can show.

use crate::assert_in_service;
use crate::ends_with;
use crate::support::{Load, Mix, Stage};
use crate::versions;

/// Starts a pair whose check drainswap cannot imitate, because it connects with its own rule.
async fn own_checked() -> Stage {
    let check = ["http-check connect", "http-check send meth GET uri /health"];
    let stage = check.iter().fold(Stage::pair(), |stage, line| stage.backend_line(line));
    stage.backend_line("cookie SRV insert indirect nocache").start().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_container_gets_requests_when_the_check_of_haproxy_passes() {
    let stage = own_checked().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "2500"), ("BOOT_KIND", "503")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(100).await;
    let planned = stage.drainswap(&["plan", "mobile", "--image", &v2]).await.exits(0);
    planned.prints(&["HAProxy's own check, which decides here (http-check connect), reports it up"]);
    let ended = stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(0);
    load.answered(100).await;
    // The same by hand: the container boots again, and `ready --wait` relies on the check.
    stage.drainswap(&["maint", "mobile/app1", "--wait"]).await.exits(0);
    let name = stage.container_name("app1");
    stage.engine.stop(&name).await;
    stage.engine.start(&name).await;
    stage.drainswap(&["ready", "mobile/app1", "--wait"]).await.exits(0).says(&["mobile/app1 is up"]);
    load.answered(100).await;
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}\n{}", ended.stderr);
    assert_in_service(&stage).await;
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_container_that_never_passes_the_check_of_haproxy_is_undone() {
    let stage = own_checked().await;
    let broken = stage.image("broken", &[("FAIL", "never-ready")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(100).await;
    let deploy = ["deploy", "mobile", "--image", &broken, "--ready-timeout", "2s"];
    let ended = stage.drainswap(&deploy).await.exits(10);
    let ended = ended.says(&["HAProxy's check did not bring mobile/app1 up within", "rolled back"]);
    load.answered(100).await;
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}\n{}", ended.stderr);
    assert!(versions(&stage).await.iter().all(|version| version == "v1"));
    assert_in_service(&stage).await;
    stage.close().await;
}
