//! Refusals, each with its message and exit code, and without changes.

use std::process::Stdio;

use crate::snapshot;
use crate::support::{Ended, Stage, finish};

/// Commands that would change something.
const DEPLOY: [&str; 4] = ["deploy", "mobile", "--image", "127.0.0.1:1/mobile:v2"];

impl Stage {
    /// Runs a command on this stage with an edited haproxy.cfg.
    async fn with_config(&self, edit: impl Fn(&str) -> String, arguments: &[&str]) -> Ended {
        let text = std::fs::read_to_string(self.haproxy.config()).expect("haproxy.cfg");
        let path = self.dir().join("other.cfg");
        std::fs::write(&path, edit(&text)).expect("write a configuration");
        let mut command = self.command(arguments);
        command.env("DRAINSWAP_HAPROXY_CONFIG", &path).stdin(Stdio::null());
        finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start drainswap")).await
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn errors_for_wrong_names_and_files_suggest_a_fix() {
    let stage = Stage::pair().start().await;
    let before = snapshot(&stage).await;
    let v1 = stage.reference("v1");
    let said = stage.drainswap(&["deploy", "mobil", "--image", &v1]).await.exits(2);
    said.says(&["there is no backend mobil; did you mean mobile?"]);
    let said = stage.drainswap(&["status", "nothing-like-it"]).await.exits(2);
    said.says(&["there is no backend nothing-like-it; known names: mobile"]);
    stage
        .drainswap(&["drain", "mobile/app9"])
        .await
        .exits(2)
        .says(&["backend mobile has no server app9; did you mean app1?"]);
    // A name without a backend is a server's name.
    let backend = stage.drainswap(&["drain", "mobile"]).await.exits(2);
    backend.says(&["no backend has a server mobile; known names: app1, app1b"]);
    stage
        .drainswap(&["deploy", "mobile", "--image", "Mobile:v2"])
        .await
        .exits(2)
        .says(&["lower-case letters"]);
    stage.drainswap(&["deploy", "mobile"]).await.exits(2).says(&["--image"]);

    let typo =
        stage.with_config(|text| text.replace(" check backup", " chek backup"), &DEPLOY).await.exits(3);
    typo.says(&["other.cfg:", "chek", "did you mean `check`", "app1b"]);
    let quote =
        stage.with_config(|text| text.replace("GET /health", "\"GET /health"), &["status"]).await.exits(3);
    quote.says(&["other.cfg:", "quote"]);
    let missing = stage.drainswap(&["-f", "/nowhere/haproxy.cfg", "status"]).await.exits(3);
    missing.says(&["cannot read /nowhere/haproxy.cfg", "--haproxy-config"]);
    assert_eq!(snapshot(&stage).await, before);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn sockets_and_engines_that_do_not_answer_are_named() {
    let stage = Stage::pair().start().await;
    let before = snapshot(&stage).await;
    let none =
        stage.with_config(|text| text.replace("stats socket", "# stats socket"), &DEPLOY).await.exits(3);
    none.says(&["the configuration has no `stats socket`", "level admin", "--socket"]);
    let elsewhere =
        stage.drainswap(&["--socket", "/nowhere/admin.sock", "drain", "mobile/app1"]).await.exits(5);
    elsewhere.says(&["cannot reach HAProxy's runtime socket /nowhere/admin.sock", "Is HAProxy running"]);
    let mut deploy = vec!["--docker", "unix:///nowhere/docker.sock"];
    deploy.extend(DEPLOY);
    stage.drainswap(&deploy).await.exits(5).says(&["/nowhere/docker.sock"]);
    assert_eq!(snapshot(&stage).await, before);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_socket_without_level_admin_is_refused_before_anything_is_done() {
    let stage = Stage::pair().stats_level("operator").start().await;
    let before = snapshot(&stage).await;
    stage.drainswap(&DEPLOY).await.exits(3).says(&["has level operator", "level admin"]);
    // A socket from a flag is only refused when it rejects a command.
    let socket = stage.haproxy.socket().display().to_string();
    let mut deploy = vec!["--socket", &socket];
    deploy.extend(DEPLOY);
    stage.drainswap(&deploy).await.exits(3).says(&["has level operator", "needs level admin"]);
    stage.drainswap(&["--socket", &socket, "maint", "mobile/app1"]).await.exits(3);
    // Reading needs no higher level.
    stage.drainswap(&["--socket", &socket, "status"]).await.exits(0);
    stage.drainswap(&["status"]).await.exits(0);
    stage.drainswap(&["doctor"]).await.exits(0);
    assert_eq!(snapshot(&stage).await, before);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_server_without_a_container_is_refused_if_its_backend_has_none() {
    let stage = Stage::pair().extra("\nbackend other\n    server one 127.0.0.9:9 check\n").start().await;
    let before = snapshot(&stage).await;
    let v1 = stage.reference("v1");
    let said = stage.drainswap(&["deploy", "other", "--image", &v1]).await.exits(4);
    said.says(&[
        "no container is behind other/one",
        "127.0.0.9:9",
        "No running container on its engine publishes that port",
        "drainswap.server=other/one",
    ]);
    assert_eq!(snapshot(&stage).await, before);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_last_server_stays_in_rotation() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let before = snapshot(&stage).await;
    stage
        .drainswap(&["deploy", "mobile", "--image", &v2, "--floor", "2"])
        .await
        .exits(4)
        .says(&["the floor is 2"]);
    assert_eq!(snapshot(&stage).await, before);
    stage.haproxy.set_state("app1b", "maint").await;
    let before = snapshot(&stage).await;
    stage.drainswap(&["drain", "mobile/app1"]).await.exits(4).says(&["no server would serve backend mobile"]);
    assert_eq!(snapshot(&stage).await, before);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_same_backend_is_not_deployed_twice_at_once() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let stream = stage.open_stream(60).await;
    let first = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    stage.haproxy.until_draining("app1").await;
    let second = stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(6);
    let holder = format!("process {}", first.id().expect("it runs"));
    second.says(&["another drainswap is working on mobile", &holder]);
    stage.drainswap(&["maint", "mobile/app1b"]).await.exits(6);
    drop(stream);
    finish(first).await.exits(0);
    stage.close().await;
}
