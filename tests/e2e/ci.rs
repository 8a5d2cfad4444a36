//! Deploys for a CI job: its log, its files, and what is left when it is cancelled.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::support::{Need, Sshd, Stage, finish, requirements, wait_until};
use crate::{ends_with, on_real_parts, snapshot};

fn piped(mut command: Command) -> tokio::process::Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("start drainswap")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_gets_its_log_and_its_files_and_deploys_without_them_too() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let at = |name: &str| stage.dir().join(name).display().to_string();
    let (junit, dotenv, summary, output) = (at("junit.xml"), at("deploy.env"), at("summary"), at("output"));
    let deploy = ["deploy", "mobile", "--image", &v2, "--junit", &junit, "--dotenv", &dotenv];
    let mut job = stage.command(&deploy);
    job.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary).env("GITHUB_OUTPUT", &output);
    finish(piped(job)).await.expect(0).says(&[
        "::group::[1/2] mobile/app1 (primary)\n",
        "::endgroup::\n",
        "::notice title=drainswap%3A mobile",
    ]);
    let written = [&junit, &dotenv, &summary, &output].map(|path| fs::read_to_string(path).expect(path));
    let expected = ["failures=\"0\"", "DEPLOY_OUTCOME=deployed\n", "✅", "\ndeployed\n"];
    for (text, expected) in written.iter().zip(expected) {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }

    // Nobody reads, and nothing can be written.
    let nowhere = ["--ci", "gitlab", "--junit", "/nonexistent/junit.xml", "--dotenv", "/nonexistent/env"];
    let v1 = stage.reference("v1");
    let mut job = piped(stage.command(&[&["deploy", "mobile", "--image", &v1], &nowhere[..]].concat()));
    drop((job.stdout.take(), job.stderr.take()));
    assert!(job.wait().await.expect("its end").success());
    ends_with("v1", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_begin_is_annotated_on_the_line_that_is_wrong() {
    if !requirements(&[Need::Haproxy]).await {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("haproxy.cfg");
    fs::write(&config, "backend mobile\n    server app1 127.0.0.1:8080 chekc\n").expect("write haproxy.cfg");
    let annotation =
        format!("::error file={},line=2,col=32,title=cfg%3A%3Aserver-keyword::", config.display());
    for arguments in [&["config", "check"][..], &["deploy", "mobile", "--image", "mobile:v2"]] {
        let mut command = Command::new(crate::support::program());
        command.args(arguments).args(["--ci", "github", "-f"]).arg(&config);
        finish(piped(command)).await.expect(3).says(&[&annotation]);
    }
}

/// The same command on the other side of ssh.
fn by_ssh(sshd: &Sshd, terminal: &str, there: &Command) -> Command {
    let quote = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().expect("UTF-8"));
    let there = there.as_std();
    let variables = there.get_envs().filter_map(|(name, value)| Some((name.to_str()?, quote(value?))));
    let mut words: Vec<String> = variables.map(|(name, value)| format!("{name}={value}")).collect();
    words.extend(std::env::var("DOCKER_HOST").map(|host| format!("DOCKER_HOST='{host}'")));
    words.push(quote(there.get_program()));
    words.extend(there.get_args().map(quote));
    let mut ssh = Command::new("ssh");
    ssh.env("PATH", sshd.path()).env("TERM", "xterm").kill_on_drop(true);
    ssh.args([terminal, &format!("ssh://{}", sshd.authority()), &words.join(" ")]);
    ssh
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_job_is_killed_is_seen_through_on_the_other_side_of_ssh() {
    if !on_real_parts().await || !requirements(&[Need::Ssh]).await {
        return;
    }
    let stage = Stage::pair().start().await;
    let sshd = Sshd::start(&stage.dir().join("ssh"), "").await;
    // Without a terminal a lost connection is nothing but a closed pipe; with one it is a signal and a terminal that is gone.
    for (terminal, version) in [("-T", "v2"), ("-tt", "v3")] {
        let image = stage.image(version, &[("VERSION", version), ("BOOT_MS", "1000")]).await;
        let deploy = ["deploy", "mobile", "--image", &image, "--lock-wait", "1m"];
        let mut job = piped(by_ssh(&sshd, terminal, &stage.command(&deploy)));
        stage.until_started("app1", &image).await;
        job.kill().await.expect("kill ssh");
        wait_until("both are replaced", Duration::from_secs(60), async || {
            versions_or_none(&stage).await.is_some_and(|all| all == [version; 2])
        })
        .await;
        // Its journal is closed, too.
        stage.drainswap(&deploy).await.expect(0).says(&["nothing to do"]);
    }
    ends_with("v3", stage).await;
}

/// What each server answers with, if all answer: one whose container is just replaced does not.
async fn versions_or_none(stage: &Stage) -> Option<Vec<String>> {
    let mut versions = Vec::new();
    for server in stage.servers() {
        versions.push(stage.get(server.name, "/").await.ok()?.version.unwrap_or_default());
    }
    Some(versions)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_stopped_from_elsewhere() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let before = snapshot(&stage).await;
    let stream = stage.open_stream(60).await;
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    stage.haproxy.until_draining("app1").await;
    stage.drainswap(&["stop", "mobile", "--lock-wait", "1m"]).await.expect(0).says(&["it has ended"]);
    finish(deploy).await.expect(12).says(&["cancelled: every server is in service"]);
    drop(stream);
    stage.drainswap(&["stop", "mobile"]).await.expect(0).says(&["nothing runs on backend mobile\n"]);
    stage.drainswap(&["stop", "mobil"]).await.expect(2).says(&["no backend mobil; did you mean mobile?"]);
    assert_eq!(snapshot(&stage).await, before);
    stage.close().await;
}
