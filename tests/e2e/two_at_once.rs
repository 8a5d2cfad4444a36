//! Two drainswaps at once: on backends that share containers, and with separate state directories.

use std::time::Duration;

use tokio::process::Child;

use crate::assert_in_service;
use crate::at_each_event;
use crate::ends_with;
use crate::support::{Ended, Load, Mix, Stage, finish, wait_until};
use crate::versions;

/// A second backend with the containers of the first.
const TABLET: &str = "\nbackend tablet\n    option httpchk GET /health\n    server one {app1} check\n    \
                      server two {app1b} check backup\n";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn backends_that_share_containers_are_deployed_one_after_the_other() {
    let stage = Stage::pair().extra(TABLET).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "1500")]).await;
    let (v1, wait) = (stage.reference("v1"), ["--lock-wait", "2m"]);
    let load = Load::start(stage.frontend(), Mix { rate: 100, slow_one_in: 0, ..Mix::default() });
    load.answered(100).await;
    for (first, second) in [("mobile", "tablet"), ("tablet", "mobile")] {
        let under_way = stage.spawn(&["deploy", first, "--image", &v2]);
        stage.until_started("app1", &v2).await;
        let busy = "another drainswap is working on";
        stage.drainswap(&["deploy", second, "--image", &v1]).await.exits(6).says(&[busy]);
        let waited =
            stage.drainswap(&[&["deploy", second, "--image", &v1][..], &wait].concat()).await.exits(0);
        waited.says(&["waiting up to 120 s", busy]);
        finish(under_way).await.exits(0);
        assert_eq!(versions(&stage).await, ["v1"; 2], "{first}, then {second}");
    }
    // The runs start at the same time, each on its own backend: there must be no deadlock.
    for _ in 0..3 {
        let both = ["mobile", "tablet"].map(|backend| {
            stage.spawn(
                &[&["deploy", backend, "--image", if backend == "mobile" { &v2 } else { &v1 }][..], &wait]
                    .concat(),
            )
        });
        for run in both {
            finish(run).await.exits(0);
        }
        let now = versions(&stage).await;
        assert_eq!(now[0], now[1], "half of one and half of the other");
        assert_in_service(&stage).await;
    }
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_killed_run_must_be_resumed_before_another_uses_its_containers() {
    let stage = Stage::pair().extra(TABLET).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "2000")]).await;
    let mut killed = stage.spawn(&["deploy", "tablet", "--image", &v2]);
    stage.until_started("app1", &v2).await;
    killed.kill().await.expect("kill drainswap");
    let refused = stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(6);
    refused.says(&["on backend tablet was not finished", "drainswap resume tablet -f "]);
    stage.drainswap(&["resume"]).await.exits(0);
    ends_with("v2", stage).await;
}

/// Starts drainswap with the state directory of another host.
fn elsewhere(stage: &Stage, arguments: &[&str]) -> Child {
    let mut command = stage.command(arguments);
    command.env("DRAINSWAP_STATE_DIR", stage.dir().join("elsewhere"));
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command.spawn().expect("start drainswap")
}

async fn from_elsewhere(stage: &Stage, arguments: &[&str]) -> Ended {
    finish(elsewhere(stage, arguments)).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_run_with_another_state_directory_is_left_alone_at_every_event() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "3000")]).await;
    let v3 = stage.image("v3", &[("VERSION", "v3")]).await;
    let load = Load::start(stage.frontend(), Mix { rate: 100, slow_one_in: 0, ..Mix::default() });
    load.answered(100).await;
    let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2, "-o", "json"]);
    let mut lanes = 0;
    let said = at_each_event(&mut deploy, async |event| {
        lanes += usize::from(event == "container_started");
        // During the preparation, and while each new container boots.
        if event == "lane_started" && lanes == 0 || event == "container_started" {
            let refused = from_elsewhere(&stage, &["deploy", "mobile", "--image", &v3]).await;
            assert_eq!(refused.code, 6, "at {event}: {}", refused.stderr);
            refused.says(&[
                "belongs to another run, which put it aside and works on mobile/app1",
                "--state-dir",
            ]);
        }
    })
    .await;
    assert_eq!(deploy.wait().await.expect("its end").code(), Some(0), "{said}");
    assert_eq!(lanes, 2, "{said}");
    assert_eq!(versions(&stage).await, ["v2"; 2]);
    // A killed run blocks others until it is finished with its own state directory.
    let mut killed = stage.spawn(&["deploy", "mobile", "--image", &v3]);
    let made = async || stage.containers().await.iter().any(|it| it.name.contains("app1b.new-"));
    wait_until("its new containers exist", Duration::from_secs(30), made).await;
    killed.kill().await.expect("kill drainswap");
    from_elsewhere(&stage, &["deploy", "mobile", "--image", &v3])
        .await
        .exits(6)
        .says(&["or was killed there"]);
    stage.drainswap(&["resume", "mobile", "--undo"]).await.exits(0);
    from_elsewhere(&stage, &["deploy", "mobile", "--image", &v3]).await.exits(0);
    assert_in_service(&stage).await;
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn of_two_runs_with_separate_state_directories_at_most_one_continues() {
    let stage = Stage::pair().start().await;
    let images =
        [stage.image("v2", &[("VERSION", "v2")]).await, stage.image("v3", &[("VERSION", "v3")]).await];
    let load = Load::start(stage.frontend(), Mix { rate: 100, slow_one_in: 0, ..Mix::default() });
    load.answered(100).await;
    let mut ends = Vec::new();
    for _ in 0..4 {
        let before = versions(&stage).await;
        let [own, other] = [&images[0], &images[1]].map(|image| ["deploy", "mobile", "--image", image]);
        let (own, other) = (stage.spawn(&own), elsewhere(&stage, &other));
        let (own, other) = tokio::join!(finish(own), finish(other));
        for ended in [&own, &other] {
            assert!([0, 6].contains(&ended.code), "exit {}: {}", ended.code, ended.stderr);
        }
        let now = versions(&stage).await;
        assert_eq!(now[0], now[1], "half of one and half of the other");
        if own.code == 6 && other.code == 6 {
            assert_eq!(now, before);
        }
        assert_in_service(&stage).await;
        ends.push((own.code, other.code));
    }
    assert!(ends.iter().any(|codes| *codes != (0, 0)), "they never met: {ends:?}");
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    stage.close().await;
}
