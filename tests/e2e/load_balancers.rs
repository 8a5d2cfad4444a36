//! Several load balancers in front of the same containers: servers are drained on all of them or on none.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::assert_in_service;
use crate::at_each_event;
use crate::bad_socket::Between;
use crate::ends_with;
use crate::snapshot;
use crate::support::{Load, Mix, Processes, SecondBalancer, Stage, finish, wait_until};
use crate::versions;

/// Returns the flags for both load balancers.
fn both<'a>(stage: &'a Stage, second: &'a SecondBalancer) -> Vec<&'a str> {
    let path = |path: &'a std::path::Path| path.to_str().expect("UTF-8");
    let sockets = [stage.haproxy.socket(), second.haproxy.socket()];
    let masters = [stage.haproxy.master_socket(), second.haproxy.master_socket()];
    let sockets = sockets.into_iter().flat_map(|socket| ["--socket", path(socket)]);
    sockets.chain(masters.into_iter().flat_map(|master| ["--master-socket", path(master)])).collect()
}

fn mix() -> Mix {
    Mix { rate: 100, ..Mix::default() }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_server_leaves_and_returns_on_all_load_balancers() {
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
    let second = stage.second().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "500")]).await;
    let loads = [Load::start(stage.frontend(), mix()), Load::start(second.frontend, mix())];
    for load in &loads {
        load.answered(50).await;
    }
    // The drain waits for a stream through the second load balancer only.
    let mut stream = crate::support::Connection::open(second.frontend).await.expect("connect");
    stream.begin("/stream?s=4").await.expect("it begins");
    let ended =
        stage.drainswap(&[&["deploy", "mobile", "--image", &v2], &both(&stage, &second)[..]].concat()).await;
    let ended = ended.exits(0);
    assert!(stream.ends_whole().await, "the stream was cut\n{}", ended.stderr);
    for load in loads {
        load.answered(50).await;
        let report = load.stop().await;
        assert_eq!(report.failed(), 0, "{report}\n{}", ended.stderr);
    }
    assert_eq!(versions(&stage).await, ["v2", "v2"]);
    assert_in_service(&stage).await;
    for server in stage.servers() {
        assert!(second.haproxy.status(server.name).await.starts_with("UP"), "{}", server.name);
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_load_balancer_without_answers_stops_the_deploy_or_is_left_out() {
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let before = snapshot(&stage).await;
    let socket = stage.haproxy.socket().to_str().expect("UTF-8").to_owned();
    let deploy = ["deploy", "mobile", "--image", &v2, "--socket", &socket, "--socket", "/nowhere/admin.sock"];
    stage
        .drainswap(&deploy)
        .await
        .exits(5)
        .says(&["cannot reach HAProxy's runtime socket /nowhere/admin.sock"]);
    assert_eq!(snapshot(&stage).await, before);
    let ended = stage.drainswap(&[&deploy[..], &["--lb-quorum", "reachable"]].concat()).await.exits(0);
    ended.says(&["/nowhere/admin.sock does not answer; the run goes on with the other load balancers"]);
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_load_balancer_that_dies_during_a_deploy_causes_an_undo_on_the_others() {
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
    let mut second = stage.second().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let stream = stage.open_stream(30).await;
    let deploy = stage.spawn(&[&["deploy", "mobile", "--image", &v2], &both(&stage, &second)[..]].concat());
    second.haproxy.until_draining("app1").await;
    second.haproxy.kill();
    finish(deploy)
        .await
        .exits(10)
        .says(&["cannot reach HAProxy's runtime socket", "mobile/app1 is as it was"]);
    assert!(stage.haproxy.status("app1").await.starts_with("UP"));
    assert!(stream.ends_whole().await, "the stream was cut");
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_load_balancer_restarted_at_every_step_costs_the_other_no_request() {
    let mut stage = Stage::pair().processes(Processes::WorkersAndSocket).state_file().start().await;
    let second = stage.second().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "700")]).await;
    let load = Load::start(second.frontend, mix());
    load.answered(50).await;
    let deploy = [&["deploy", "mobile", "--image", &v2, "-o", "json"], &both(&stage, &second)[..]].concat();
    let mut deploy = stage.spawn(&deploy);
    let steps =
        ["lane_started", "drain_started", "drained", "container_kept", "container_started", "enabled"];
    let mut restarted = BTreeSet::new();
    let said = at_each_event(&mut deploy, async |name| {
        if steps.contains(&&*name) && restarted.insert(name) {
            stage.haproxy.restart().await;
        }
    })
    .await;
    assert_eq!(restarted.len(), steps.len(), "{restarted:?}");
    assert_eq!(deploy.wait().await.expect("an end").code(), Some(0), "{said}");
    load.answered(50).await;
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}\n{said}");
    for server in stage.servers() {
        assert!(second.haproxy.status(server.name).await.starts_with("UP"), "{}", server.name);
    }
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_load_balancer_that_returns_gets_the_current_states() {
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
    let mut second = stage.second().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "4000")]).await;
    let stream = stage.open_stream(3).await;
    let flags = [&both(&stage, &second)[..], &["--lb-quorum", "reachable"]].concat();
    let flags: Vec<String> = flags.into_iter().map(str::to_owned).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let deploy = stage.spawn(&[&["deploy", "mobile", "--image", &v2], &flags[..]].concat());
    second.haproxy.until_draining("app1").await;
    second.haproxy.kill();
    stage.until_started("app1", &v2).await;
    second.haproxy.start_again().await;
    // The new process has forgotten maint, and the container does not answer yet.
    wait_until("app1 is out on it too", Duration::from_secs(3), async || {
        second.haproxy.status("app1").await == "MAINT"
    })
    .await;
    assert!(stream.ends_whole().await, "the stream was cut");
    finish(deploy).await.exits(0).says(&["does not answer; the run goes on with the other load balancers"]);
    assert_eq!(versions(&stage).await, ["v2", "v2"]);
    assert_in_service(&stage).await;
    for server in stage.servers() {
        assert!(second.haproxy.status(server.name).await.starts_with("UP"), "{}", server.name);
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_load_balancer_that_missed_one_server_keeps_its_floor_at_the_next() {
    // Each primary is the only server that can take over from the other.
    let stage = Stage::primaries().processes(Processes::WorkersAndSocket).start().await;
    let second = stage.second().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let mut stream = stage.open_stream(90).await;
    while stage.haproxy.stat("app2").await["scur"] == "0" {
        stream = stage.open_stream(90).await;
    }
    let (socket, is_away) = (stage.dir().join("between.sock"), Arc::new(AtomicBool::new(false)));
    let said = Arc::clone(&is_away);
    let _between = Between::deaf(second.haproxy.socket(), &socket, move |_| said.load(Ordering::SeqCst));
    let sockets = [stage.haproxy.socket(), &socket].map(|path| path.to_str().expect("UTF-8"));
    let flags = ["--socket", sockets[0], "--socket", sockets[1], "--lb-quorum", "reachable", "-o", "json"];
    let mut deploy = stage.spawn(&[&["deploy", "mobile", "--image", &v2], &flags[..]].concat());
    let (mut started, mut drained, mut stream, mut load) = (0, 0, Some(stream), None);
    let said = at_each_event(&mut deploy, async |name| match name.as_str() {
        "container_started" => {
            started += 1;
            if started == 1 {
                // This load balancer has app1 in maint and misses the command that enables it.
                is_away.store(true, Ordering::SeqCst);
            }
        }
        "drain_started" => {
            drained += 1;
            if drained == 2 {
                load = Some(Load::start(second.frontend, mix()));
                is_away.store(false, Ordering::SeqCst);
                second.haproxy.until_draining("app2").await;
                drop(stream.take());
            }
        }
        _ => {}
    })
    .await;
    assert_eq!(deploy.wait().await.expect("an end").code(), Some(0), "{said}");
    let load = load.expect("two servers were drained");
    load.answered(50).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}\n{said}");
    assert!(said.contains("does not answer; the run goes on with the other load balancers"), "{said}");
    assert_eq!(versions(&stage).await, ["v2"; 2]);
    for server in stage.servers() {
        assert!(second.haproxy.status(server.name).await.starts_with("UP"), "{}", server.name);
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_single_move_applies_to_all_load_balancers_or_none() {
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
    let second = stage.second().await;
    stage.drainswap(&[&["drain", "mobile/app1"], &both(&stage, &second)[..]].concat()).await.exits(0);
    for haproxy in [&stage.haproxy, &second.haproxy] {
        assert!(haproxy.status("app1").await.starts_with("DRAIN"));
    }
    // The second load balancer does not accept the command.
    let socket = stage.dir().join("between.sock");
    let _between = Between::deaf(second.haproxy.socket(), &socket, |line| line.contains("state ready"));
    let socket = [stage.haproxy.socket(), &socket].map(|path| path.to_str().expect("UTF-8"));
    let ready = ["ready", "mobile/app1", "--socket", socket[0], "--socket", socket[1]];
    stage.drainswap(&ready).await.exits(5).says(&["between.sock"]);
    assert!(stage.haproxy.status("app1").await.starts_with("DRAIN"), "it is as it was");
    stage.close().await;
}
