//! Deploys with a surge server: nothing is lost where no server can be spared, and nothing is left behind.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::assert_in_service;
use crate::at_each_event;
use crate::support::{Builder, Ended, Load, Mix, Processes, Stage, wait_until};
use crate::versions;

/// Returns a backend with one server and no backup.
fn one() -> Builder {
    Stage::single().default_server("inter 2s fall 3 rise 2")
}

/// Deploys a v2 with an environment under load, and fails unless nothing is lost and nothing is left.
async fn deploy(stage: &Stage, environment: &[(&str, &str)], flags: &[&str]) -> Ended {
    let mut v2 = vec![("VERSION", "v2")];
    v2.extend(environment);
    let image = stage.image("v2", &v2).await;
    let load = Load::start(stage.frontend(), Mix::default().with_streams(Duration::from_millis(500), 2));
    load.answered(100).await;
    let deploy = ["deploy", "mobile", "--image", &image];
    let ended = stage.drainswap(&[&deploy, flags].concat()).await.exits(0);
    load.answered(100).await;
    let report = load.stop().await;
    let (_, cut) = report.streams();
    assert_eq!((report.failed(), cut), (0, 0), "{report}\n{}", ended.stderr);
    assert_eq!(report.client_retries(), 0, "{report}\n{}", ended.stderr);
    assert!(versions(stage).await.iter().all(|version| version == "v2"));
    assert_in_service(stage).await;
    assert_nothing_left(stage).await;
    ended
}

/// Waits until a server is up in HAProxy.
async fn until_up(stage: &Stage, server: &str) {
    wait_until("the surge server is up", Duration::from_secs(10), async || {
        stage.haproxy.stat(server).await.get("status").is_some_and(|status| status.starts_with("UP"))
    })
    .await;
}

/// Fails if a surge server or its container is left.
async fn assert_nothing_left(stage: &Stage) {
    let names: Vec<String> = stage.containers().await.into_iter().map(|it| it.name).collect();
    assert!(names.iter().all(|name| !name.contains("surge")), "{names:?}");
    let servers = stage.haproxy.command("show servers state mobile").await;
    assert!(!servers.contains("surge"), "{servers}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn one_server_without_a_backup_loses_nothing() {
    let stage = one().start().await;
    let ended = deploy(&stage, &[("BOOT_MS", "1500")], &[]).await;
    ended.says(&["joined   mobile/app1-surge", "left     mobile/app1-surge"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_broken_image_never_joins() {
    let stage = one().start().await;
    let broken = stage.image("broken", &[("FAIL", "never-ready")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(50).await;
    let ended =
        stage.drainswap(&["deploy", "mobile", "--image", &broken, "--ready-timeout", "3s"]).await.exits(10);
    load.answered(50).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}\n{}", ended.stderr);
    assert_nothing_left(&stage).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_reload_forgets_it_and_the_next_look_brings_it_back() {
    let stage = one().processes(Processes::WorkersAndSocket).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "3000")]).await;
    let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2, "-o", "json"]);
    let said = at_each_event(&mut deploy, async |name| {
        // Only the surge server serves.
        if name == "container_started" {
            stage.haproxy.reload().await;
            until_up(&stage, "app1-surge").await;
            let answer = crate::support::get(stage.frontend(), "/").await;
            assert!(answer.is_ok_and(|it| it.is_success()), "nothing serves after the reload");
        }
    })
    .await;
    assert_eq!(deploy.wait().await.expect("an end").code(), Some(0), "{said}");
    assert!(said.contains("surge_restored"), "{said}");
    assert_eq!(versions(&stage).await, ["v2"]);
    assert_nothing_left(&stage).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_placeholder_is_used_with_a_static_balance_and_put_back() {
    let stage = one()
        .backend_line("balance static-rr")
        .backend_line("server spare 127.0.0.1:1 disabled check")
        .start()
        .await;
    let ended = deploy(&stage, &[("BOOT_MS", "1500")], &[]).await;
    ended.says(&["joined   mobile/spare"]);
    let spare = stage.haproxy.state("spare").await;
    let place = (spare["srv_addr"].as_str(), spare["srv_port"].as_str());
    assert_eq!(place, ("127.0.0.1", "1"));
    assert_eq!(stage.haproxy.status("spare").await, "MAINT");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn primaries_keep_their_number() {
    let stage = Stage::primaries().default_server("inter 2s fall 3 rise 2").start().await;
    let ended = deploy(&stage, &[], &["--surge", "1", "--floor", "2"]).await;
    ended.says(&["joined   mobile/app1-surge"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_killed_run_is_resumed_and_leaves_nothing() {
    let stage = one().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "1000")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(50).await;
    for event in ["surge_started", "surge_joined", "container_stopped", "surge_left"] {
        let image = if event.starts_with("surge_s") || event == "container_stopped" {
            &v2
        } else {
            &stage.reference("v1")
        };
        let mut run = stage.spawn(&["deploy", "mobile", "--image", image, "-o", "json"]);
        let pid = Pid::from_raw(i32::try_from(run.id().expect("it runs")).expect("a pid")).expect("a pid");
        let known = if event == "container_stopped" { "container_kept" } else { event };
        at_each_event(&mut run, async |name| {
            if name == known {
                let _ended = kill_process(pid, Signal::KILL);
            }
        })
        .await;
        run.wait().await.expect("an end");
        stage.drainswap(&["resume", "mobile"]).await.exits(0);
        assert_in_service(&stage).await;
        assert_nothing_left(&stage).await;
    }
    load.answered(50).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
    stage.close().await;
}
