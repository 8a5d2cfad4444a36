//! Engines that are not reached by this host's socket.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{Ended, Engine, Load, Mix, Need, Sshd, Stage, finish, requirements, wait_until};
use crate::{ends_with, snapshot};

/// Runs the program with an engine behind this sshd.
async fn by_ssh(stage: &Stage, sshd: &Sshd, socket: &str, arguments: &[&str]) -> Ended {
    let mut command = stage.command(arguments);
    command.env("PATH", sshd.path()).env("DRAINSWAP_DOCKER", format!("ssh://{}{socket}", sshd.authority()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().expect("start drainswap")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_behind_ssh_is_deployed_to_by_one_connection() {
    if !requirements(&[Need::Haproxy, Need::Registry, Need::Docker, Need::Ssh]).await {
        return;
    }
    let stage = Stage::pair().start().await;
    let sshd = Sshd::start(&stage.dir().join("ssh"), "").await;
    let socket = Engine::endpoint().trim_start_matches("unix://").to_owned();
    by_ssh(&stage, &sshd, &socket, &["status", "mobile"]).await.expect(0).prints(&["mobile:v1"]);
    assert_eq!(sshd.logins(), 1, "{}", sshd.output());

    let image = stage.image("v2", &[("VERSION", "v2")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(100).await;
    let ended = by_ssh(&stage, &sshd, &socket, &["deploy", "mobile", "--image", &image]).await.expect(0);
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}\n{}", ended.stderr);
    assert_eq!(sshd.logins(), 2, "{}", sshd.output());
    wait_until("no connection is left", Duration::from_secs(10), async || !sshd.has_client()).await;
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_by_ssh_that_is_closed_says_what_to_do_and_changes_nothing() {
    if !requirements(&[Need::Haproxy, Need::Registry, Need::Docker, Need::Ssh]).await {
        return;
    }
    let stage = Stage::pair().start().await;
    let before = snapshot(&stage).await;
    let deploy = ["deploy", "mobile", "--image", &stage.image("v2", &[("VERSION", "v2")]).await];
    let sshd = Sshd::start(&stage.dir().join("ssh"), "").await;
    let refused = async |sshd: &Sshd, socket: &str, says: &[&str]| {
        by_ssh(&stage, sshd, socket, &deploy).await.expect(5).says(says);
    };
    refused(&sshd, "/run/nobody.sock", &["/run/nobody.sock", "is Docker installed and running"]).await;
    sshd.shows("stranger");
    refused(&sshd, "", &["takes no key of this user", "BatchMode=yes"]).await;
    sshd.shows("user");
    sshd.knows_nobody();
    refused(&sshd, "", &["the host key of 127.0.0.1 is not known", "once by hand"]).await;
    sshd.knows("stranger");
    refused(&sshd, "", &["another host key", "ssh-keygen -R"]).await;
    let closed = Sshd::start(&stage.dir().join("closed"), "AllowStreamLocalForwarding no").await;
    refused(&closed, "", &["cannot be opened there", "AllowStreamLocalForwarding"]).await;

    let mut without = stage.command(&deploy);
    without.env("PATH", "/nowhere").env("DRAINSWAP_DOCKER", format!("ssh://{}", sshd.authority()));
    without.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(without.spawn().expect("start drainswap")).await.expect(5).says(&["there is no `ssh` here"]);
    assert_eq!(snapshot(&stage).await, before);
    stage.close().await;
}
