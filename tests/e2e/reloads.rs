//! Reloads and restarts of HAProxy during a deploy: drainswap restores runtime states and waits for the sessions of old
//! workers.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Child;

use crate::at_each_event;
use crate::ends_with;
use crate::support::{Builder, Load, Mix, Processes, Stage, finish, wait_for, wait_until};

/// Describes a pair of servers behind an HAProxy that keeps states over reloads.
fn pair() -> Builder {
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).state_file();
    // As in Debian. Without it, a reload of 2.2 resets connections that it has not accepted yet.
    stage.stats_level("admin expose-fd listeners severity-output number")
}

/// Waits until app1 drains, and fails if the deploy exits earlier.
async fn until_draining(stage: &Stage, deploy: &mut Child) {
    let drains = wait_for("app1 drains", Duration::from_secs(30), async || {
        let drains = stage.haproxy.status("app1").await.starts_with("DRAIN");
        let ended = deploy.try_wait().expect("a process").is_some();
        (drains || ended).then_some(drains)
    });
    if !drains.await {
        let mut said = String::new();
        deploy.stderr.take().expect("a pipe").read_to_string(&mut said).await.expect("read");
        panic!("the deploy exited early: {said}");
    }
}

/// Returns a load that a reload alone does not disturb, because it keeps no idle connections.
fn mix() -> Mix {
    Mix { rate: 100, connections: 10, ..Mix::default() }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_reload_at_every_step_costs_no_request() {
    let stage = pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "700")]).await;
    let load = Load::start(stage.frontend(), mix());
    load.answered(100).await;
    let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2, "-o", "json"]);
    let mut reloaded = BTreeSet::new();
    let said = at_each_event(&mut deploy, async |name| {
        let is_step = !["haproxy_reloaded", "sessions_left", "warned", "run_ended"].contains(&&*name);
        if is_step && reloaded.insert(name) {
            stage.haproxy.reload().await;
        }
    })
    .await;
    let mut stderr = String::new();
    deploy.stderr.take().expect("a pipe").read_to_string(&mut stderr).await.expect("read");
    assert_eq!(deploy.wait().await.expect("an end").code(), Some(0), "{stderr}{said}");
    for step in ["lane_started", "drain_started", "drained", "container_kept", "container_started", "enabled"]
    {
        assert!(reloaded.contains(step), "no reload at {step}");
    }
    load.answered(100).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_drain_waits_for_the_sessions_of_old_workers() {
    let stage = pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    // One stream in a worker that is already old at the start of the deploy, and one in a worker that becomes old
    // during the deploy.
    let mut streams = vec![stage.open_stream(6).await];
    stage.haproxy.reload().await;
    streams.push(stage.open_stream(6).await);
    let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    until_draining(&stage, &mut deploy).await;
    stage.haproxy.reload().await;
    let ended = finish(deploy).await.exits(0);
    for stream in streams {
        assert!(stream.ends_whole().await, "a stream was cut: {}", ended.stderr);
    }
    ended.says(&["still holds 1 session to mobile/app1", "restoring its runtime state"]);
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_restart_during_a_drain_is_noticed_and_the_drain_restored() {
    let mut stage = pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "2000")]).await;
    let stream = stage.open_stream(60).await;
    let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    until_draining(&stage, &mut deploy).await;
    // The stream ends with the process that holds it.
    stage.haproxy.restart().await;
    drop(stream);
    wait_until("app1 is out again", Duration::from_secs(5), async || {
        stage.haproxy.status("app1").await == "MAINT"
    })
    .await;
    finish(deploy).await.exits(0).says(&["restoring its runtime state"]);
    ends_with("v2", stage).await;
}

/// While HAProxy is down, no requests are served. The deploy continues at any step when HAProxy is back.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_deploy_survives_a_restart_at_every_step() {
    let mut stage = pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "700")]).await;
    let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2, "-o", "json"]);
    let mut restarted = BTreeSet::new();
    let steps =
        ["lane_started", "drain_started", "drained", "container_kept", "container_started", "enabled"];
    let said = at_each_event(&mut deploy, async |name| {
        if steps.contains(&&*name) && restarted.insert(name) {
            stage.haproxy.restart().await;
        }
    })
    .await;
    assert_eq!(restarted.len(), 6, "{restarted:?}");
    assert_eq!(deploy.wait().await.expect("an end").code(), Some(0), "{said}");
    ends_with("v2", stage).await;
}

/// A server that a reload has removed needs no recovery: its container is unchanged, and the run ends.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_server_removed_by_a_reload_is_reported_and_needs_no_recovery() {
    // Without a state file, which would restore the drain when the server's line returns.
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "3000")]).await;
    let config = std::fs::read_to_string(stage.haproxy.config()).expect("haproxy.cfg");
    let line = config.lines().find(|line| line.contains("server app1 ")).expect("app1's line").to_owned();
    let without = config.replace(&format!("{line}\n"), "");
    assert_ne!(without, config);
    // During the drain, during the boot of the new container, and when it answers.
    for event in ["drain_started", "container_started", "became_ready"] {
        std::fs::write(stage.haproxy.config(), &config).expect("write haproxy.cfg");
        stage.haproxy.reload().await;
        let _stream = stage.open_stream(2).await;
        let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2, "-o", "json"]);
        let said = at_each_event(&mut deploy, async |name| {
            if name == event {
                std::fs::write(stage.haproxy.config(), &without).expect("write haproxy.cfg");
                stage.haproxy.reload().await;
            }
        })
        .await;
        assert_eq!(deploy.wait().await.expect("an end").code(), Some(10), "{said}");
        let names: Vec<String> = stage.containers().await.into_iter().map(|it| it.name).collect();
        let expected = ["app1", "app1b"].map(|name| stage.container_name(name));
        assert_eq!(names, expected, "{said}");
        assert!(stage.get("app1", "/").await.is_ok(), "{said}");
        assert!(
            said.contains("server mobile/app1 no longer exists in the running HAProxy: a reload removed it"),
            "{said}"
        );
    }
    stage.close().await;
}
