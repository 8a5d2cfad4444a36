//! Engines that drainswap reaches through ssh or TLS.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Child;

use crate::assert_in_service;
use crate::at_each_event;
use crate::ends_with;
use crate::snapshot;
use crate::support::{CertificateKind, Ended, Engine, Load, Mix, Sshd, Stage, TlsEngine, finish, wait_until};
use crate::versions;

/// Starts drainswap with an engine behind an sshd, as the leader of a process group.
fn spawn_by_ssh(stage: &Stage, sshd: &Sshd, socket: &str, arguments: &[&str]) -> Child {
    let mut command = stage.command(arguments);
    command.env("PATH", sshd.path()).env("DRAINSWAP_DOCKER", format!("ssh://{}{socket}", sshd.authority()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command.spawn().expect("start drainswap")
}

/// Runs drainswap with an engine behind an sshd until it exits.
async fn by_ssh(stage: &Stage, sshd: &Sshd, socket: &str, arguments: &[&str]) -> Ended {
    finish(spawn_by_ssh(stage, sshd, socket, arguments)).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_deploy_over_ssh_uses_one_connection() {
    let stage = Stage::pair().start().await;
    let sshd = Sshd::start(&stage.dir().join("ssh"), "").await;
    let socket = Engine::endpoint().trim_start_matches("unix://").to_owned();
    by_ssh(&stage, &sshd, &socket, &["status", "mobile"]).await.exits(0).prints(&["mobile:v1"]);
    assert_eq!(sshd.logins(), 1, "{}", sshd.output());

    let image = stage.image("v2", &[("VERSION", "v2")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(100).await;
    let ended = by_ssh(&stage, &sshd, &socket, &["deploy", "mobile", "--image", &image]).await.exits(0);
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}\n{}", ended.stderr);
    assert_eq!(sshd.logins(), 2, "{}", sshd.output());
    wait_until("no connection is left", Duration::from_secs(10), async || !sshd.has_client()).await;
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn ssh_failures_explain_the_fix_and_change_nothing() {
    let stage = Stage::pair().start().await;
    let before = snapshot(&stage).await;
    let deploy = ["deploy", "mobile", "--image", &stage.image("v2", &[("VERSION", "v2")]).await];
    let sshd = Sshd::start(&stage.dir().join("ssh"), "").await;
    let refused = async |sshd: &Sshd, socket: &str, says: &[&str]| {
        by_ssh(&stage, sshd, socket, &deploy).await.exits(5).says(says);
    };
    refused(&sshd, "/run/nobody.sock", &["/run/nobody.sock", "is Docker installed and running"]).await;
    sshd.shows("stranger");
    refused(&sshd, "", &["accepts no key of this user", "BatchMode=yes"]).await;
    sshd.shows("user");
    sshd.knows_no_host();
    refused(&sshd, "", &["the host key of 127.0.0.1 is unknown", "once by hand"]).await;
    sshd.knows("stranger");
    refused(&sshd, "", &["differs from the one in known_hosts", "ssh-keygen -R"]).await;
    let closed = Sshd::start(&stage.dir().join("closed"), "AllowStreamLocalForwarding no").await;
    refused(&closed, "", &["cannot open /", "AllowStreamLocalForwarding"]).await;

    let mut without = stage.command(&deploy);
    without.env("PATH", "/nowhere").env("DRAINSWAP_DOCKER", format!("ssh://{}", sshd.authority()));
    without.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(without.spawn().expect("start drainswap")).await.exits(5).says(&["`ssh` is not installed here"]);
    assert_eq!(snapshot(&stage).await, before);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn ctrl_c_at_a_terminal_keeps_the_ssh_connection_for_the_undo() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("FAIL", "never-ready")]).await;
    let sshd = Sshd::start(&stage.dir().join("ssh"), "").await;
    let socket = Engine::endpoint().trim_start_matches("unix://").to_owned();
    let arguments = ["deploy", "mobile", "--image", &v2, "--ready-timeout", "10m"];
    let deploy = spawn_by_ssh(&stage, &sshd, &socket, &arguments);
    stage.until_started("app1", &v2).await;
    // A terminal signals the whole foreground group. Two signals may merge into one, so they are sent until one has an
    // effect.
    let group = format!("-{}", deploy.id().expect("it runs"));
    wait_until("the undo starts", Duration::from_secs(30), async || {
        if stage.container("app1").await.is_some_and(|it| it.image.starts_with(&v2)) {
            let sent = std::process::Command::new("kill").args(["-INT", "--", &group]).status();
            assert!(sent.is_ok_and(|status| status.success()), "kill -INT {group}");
        }
        stage.haproxy.status("app1").await.starts_with("UP")
    })
    .await;
    finish(deploy).await.exits(12).says(&["undone   mobile/app1 is as it was"]);
    assert_eq!(sshd.logins(), 1, "{}", sshd.output());
    assert_in_service(&stage).await;
    stage.close().await;
}

/// Runs drainswap with the second daemon and the given certificates.
async fn by_tls(
    stage: &Stage,
    engine: &TlsEngine,
    papers: Option<CertificateKind>,
    arguments: &[&str],
) -> Ended {
    let mut command = stage.command(arguments);
    command.env("DOCKER_HOST", engine.endpoint()).env_remove("DOCKER_CONTEXT");
    if let Some(papers) = papers {
        command.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", engine.certificates(papers));
        // The system trusts the daemon's authority, which must have no effect.
        command.env("SSL_CERT_FILE", engine.certificates(CertificateKind::Good).join("ca.pem"));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().expect("start drainswap")).await
}

/// Moves the container behind app1 to the second daemon.
async fn move_to(engine: &TlsEngine, stage: &Stage) -> String {
    stage.remove("app1").await;
    let name = stage.container_name("app1");
    let publish = format!("{}:8080", stage.server("app1").address);
    let run =
        ["run", "-d", "--restart", "unless-stopped", "--name", &name, "-p", &publish, &stage.reference("v1")];
    assert!(engine.docker(&run).is_some(), "docker run on the second daemon");
    stage.until_healthy("app1").await;
    name
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn an_image_that_exceeds_the_disk_fails_the_deploy_without_changes() {
    let stage = Stage::single().start().await;
    let engine = TlsEngine::start_small(40).await;
    let large = stage.large_image("large", 24).await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    move_to(&engine, &stage).await;
    wait_until("HAProxy has app1 up again", Duration::from_secs(30), async || {
        stage.haproxy.status("app1").await == "UP"
    })
    .await;
    let all = || engine.docker(&["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.State}}"]);
    let (before, status) = (all(), stage.haproxy.status("app1").await);
    let by_socket = async |image: &str| {
        let socket = format!("unix://{}", engine.socket().display());
        let arguments = ["deploy", "mobile", "--image", image, "--floor", "0", "--docker", &socket];
        stage.drainswap(&arguments).await
    };
    // drainswap checks the disk of its own host before the engine fills it.
    let says = ["nothing was touched", "has no room for", "`drainswap prune"];
    by_socket(&large).await.exits(5).says(&says).says(&["it needs about ", " MB are free in /"]);
    // On a remote host, only the full disk shows.
    let deploy = ["deploy", "mobile", "--image", &large, "--floor", "0"];
    let ended = by_tls(&stage, &engine, Some(CertificateKind::Good), &deploy).await.exits(5);
    ended.says(&says).says(&["no space left on device"]);
    assert_eq!((all(), stage.haproxy.status("app1").await), (before, status));
    by_socket(&v2).await.exits(0);
    let answer = stage.get("app1", "/").await.expect("it answers");
    assert_eq!(answer.version.as_deref(), Some("v2"));
    drop(engine);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn an_engine_with_tls_accepts_trusted_clients_only() {
    let stage = Stage::single().start().await;
    let engine = TlsEngine::start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let name = move_to(&engine, &stage).await;
    by_tls(&stage, &engine, Some(CertificateKind::Good), &["status"])
        .await
        .exits(0)
        .prints(&["mobile:v1", "ready"]);
    let deploy = ["deploy", "mobile", "--image", &v2, "--floor", "0"];
    for (papers, says) in [
        (Some(CertificateKind::Expired), "it rejects the client certificate"),
        (Some(CertificateKind::Foreign), "it rejects the client certificate"),
        (Some(CertificateKind::WrongAuthority), "its certificate is not trusted"),
        (None, "set DOCKER_TLS_VERIFY=1"),
    ] {
        let refused = by_tls(&stage, &engine, papers, &deploy).await;
        assert_eq!(refused.code, 5, "{papers:?}: {}", refused.stderr);
        refused.says(&[&engine.endpoint(), says]);
    }
    by_tls(&stage, &engine, Some(CertificateKind::Good), &deploy).await.exits(0);
    let answer = stage.get("app1", "/").await.expect("it answers");
    assert_eq!(answer.version.as_deref(), Some("v2"));
    let runs = engine.docker(&["ps", "--format", "{{.Names}}"]).expect("a list");
    assert_eq!(runs, name);
    drop(engine);
    stage.close().await;
}

mod sweep {
    use super::*;

    /// Runs only if the engine may be restarted, as with `.ci/engines`.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "sweep: restarts a separate engine"]
    async fn an_engine_that_is_restarted_in_the_middle_leaves_one_version() {
        let pid_file =
            std::env::var("DRAINSWAP_ENGINE_PID").expect("an engine that may be restarted (.ci/engines)");
        for at in ["created", "drained", "container_kept", "container_started", "lane_finished"] {
            let stage = Stage::pair().start().await;
            let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
            let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2, "-o", "json"]);
            let mut is_restarted = false;
            let said = at_each_event(&mut deploy, async |event| {
                if event == at && !is_restarted {
                    is_restarted = true;
                    let pid = std::fs::read_to_string(&pid_file).expect("its process");
                    let killed = std::process::Command::new("kill").args(["-TERM", pid.trim()]).status();
                    assert!(killed.is_ok_and(|status| status.success()), "kill {pid}");
                }
            })
            .await;
            assert!(is_restarted, "{said}");
            let code = deploy.wait().await.expect("its end").code();
            wait_until("the engine answers", Duration::from_secs(60), async || {
                Engine::connect().await.is_ok()
            })
            .await;
            // The run is refused before any change or rolled back; an unfinished run is resumed.
            let expected = if matches!(code, Some(5 | 10)) { "v1" } else { "v2" };
            if !matches!(code, Some(0 | 5 | 10)) {
                stage.drainswap(&["resume", "mobile"]).await.exits(0);
            }
            assert_eq!(versions(&stage).await, [expected; 2], "at {at}: {code:?} {said}");
            assert_in_service(&stage).await;
            stage.close().await;
        }
    }
}
