//! Deploys in a CI job: the log, the report files, and the state after the job is cancelled.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::ends_with;
use crate::snapshot;
use crate::support::{Sshd, Stage, finish, program, wait_until};

fn piped(mut command: Command) -> tokio::process::Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("start drainswap")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_job_gets_its_log_and_its_files_and_deploys_without_them_too() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let at = |name: &str| stage.dir().join(name).display().to_string();
    let (junit, dotenv, summary, output) = (at("junit.xml"), at("deploy.env"), at("summary"), at("output"));
    let deploy = ["deploy", "mobile", "--image", &v2, "--junit", &junit, "--dotenv", &dotenv];
    let mut job = stage.command(&deploy);
    job.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary).env("GITHUB_OUTPUT", &output);
    finish(piped(job)).await.exits(0).says(&[
        "::group::[1/2] mobile/app1 (primary)\n",
        "::endgroup::\n",
        "::notice title=drainswap%3A mobile",
    ]);
    let written = [&junit, &dotenv, &summary, &output].map(|path| fs::read_to_string(path).expect(path));
    let expected = ["failures=\"0\"", "DEPLOY_OUTCOME=deployed\n", "✅", "\ndeployed\n"];
    for (text, expected) in written.iter().zip(expected) {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }

    // stdout has no reader, and no file can be written.
    let nowhere = ["--ci", "gitlab", "--junit", "/nonexistent/junit.xml", "--dotenv", "/nonexistent/env"];
    let v1 = stage.reference("v1");
    let mut job = piped(stage.command(&[&["deploy", "mobile", "--image", &v1], &nowhere[..]].concat()));
    drop((job.stdout.take(), job.stderr.take()));
    assert!(job.wait().await.expect("its end").success());
    ends_with("v1", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_job_that_cannot_begin_is_annotated_on_the_line_that_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("haproxy.cfg");
    fs::write(&config, "backend mobile\n    server app1 127.0.0.1:8080 chekc\n").expect("write haproxy.cfg");
    let annotation =
        format!("::error file={},line=2,col=32,title=cfg%3A%3Aserver-keyword::", config.display());
    for arguments in [&["config", "check"][..], &["deploy", "mobile", "--image", "mobile:v2"]] {
        let mut command = Command::new(program());
        command.args(arguments).args(["--ci", "github", "-f"]).arg(&config);
        finish(piped(command)).await.exits(3).says(&[&annotation]);
    }
}

/// Returns a command that runs another command over ssh.
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
#[ignore = "needs real parts: make test"]
async fn a_run_over_ssh_finishes_after_its_job_is_killed() {
    let stage = Stage::pair().start().await;
    let sshd = Sshd::start(&stage.dir().join("ssh"), "").await;
    // Without a terminal, a lost connection is only a closed pipe. With one, it is a SIGHUP and a lost terminal.
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
        // The journal is closed, too.
        stage.drainswap(&deploy).await.exits(0).says(&["nothing to do"]);
    }
    ends_with("v3", stage).await;
}

/// Returns the version of each server, or `None` if one does not answer because its container is being replaced.
async fn versions_or_none(stage: &Stage) -> Option<Vec<String>> {
    let mut versions = Vec::new();
    for server in stage.servers() {
        versions.push(stage.get(server.name, "/").await.ok()?.version.unwrap_or_default());
    }
    Some(versions)
}

/// The scripts of a shipped CI file and its variables.
struct Shipped {
    deploy: String,
    stop: String,
    variables: Vec<(String, String)>,
}

impl Shipped {
    fn github() -> Self {
        let text = shipped("github.yml");
        assert!(text.contains("\n  cancel-in-progress: false\n"), "the next job cuts a deploy short");
        assert!(text.contains("\n        if: cancelled()\n"), "a deploy is stopped without a cancellation");
        let step = |name: &str| command(&text, &format!("- name: {name}\n"), "run:");
        Self { deploy: step("Deploy"), stop: step("Stop"), variables: variables(&text, "    env:\n") }
    }

    fn gitlab() -> Self {
        let text = shipped("gitlab.yml");
        for line in ["  resource_group: deploy-mobile", "  interruptible: false", "      dotenv: deploy.env"]
        {
            assert!(text.lines().any(|it| it == line), "{line} is missing");
        }
        Self {
            deploy: command(&text, "\n  script:\n", "-"),
            stop: command(&text, "\n  after_script:\n", "-"),
            variables: variables(&text, "  variables:\n"),
        }
    }

    /// Runs a script as the CI runner would, to deploy an image.
    fn run(
        &self,
        script: &str,
        stage: &Stage,
        sshd: &Sshd,
        dir: &Path,
        image: &str,
    ) -> tokio::process::Child {
        let mut job = Command::new("bash");
        job.args(["-eo", "pipefail", "-c", script]).current_dir(dir).kill_on_drop(true);
        for (name, value) in &self.variables {
            // The test's sshd only accepts root.
            job.env(name, value.replace("deploy@", "root@").replace("$CI_JOB_ID", stage.id()));
        }
        job.env("PATH", sshd.path()).env("IMAGE", image);
        job.env("GITHUB_RUN_ID", stage.id()).env("GITHUB_RUN_ATTEMPT", "1");
        job.env("GITHUB_STEP_SUMMARY", dir.join("summary")).env("GITHUB_OUTPUT", dir.join("output"));
        job.env("CI_JOB_STATUS", "canceled");
        piped(job)
    }
}

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ci").join(name);
    fs::read_to_string(path).expect(name)
}

/// Returns the first command after a place: on the line of its key, or in the block below the key.
fn command(text: &str, place: &str, key: &str) -> String {
    let (_, rest) = text.split_once(place).expect(place);
    let mut lines = rest.lines().skip_while(|line| !line.trim_start().starts_with(key));
    let first = lines.next().expect(key);
    let is_within = |line: &&str| depth(line) > depth(first) || line.is_empty();
    match first.trim_start()[key.len()..].trim() {
        "|" => lines.take_while(is_within).flat_map(|line| [line.trim_start(), "\n"]).collect(),
        command => command.to_owned(),
    }
}

/// Returns the variables below a place.
fn variables(text: &str, place: &str) -> Vec<(String, String)> {
    let (_, rest) = text.split_once(place).expect(place);
    let lines = rest.lines().take_while(|line| depth(line) > depth(place));
    let pairs = lines.map(|line| line.trim().split_once(": ").expect("a variable"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn depth(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[tokio::test]
async fn any_image_name_is_one_word_on_the_remote_host() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let id = dir.path().file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    // In this test, a shell replaces the remote host.
    for (name, text) in [
        ("ssh", "for last; do :; done; exec sh -c \"$last\"".to_owned()),
        ("scp", String::new()),
        ("drainswap", format!("printf '%s\\n' \"$@\" > {}", at("words").display())),
    ] {
        fs::write(at(name), format!("#!/bin/sh\n{text}\n")).expect(name);
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).expect(name);
    }
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap_or_default());
    let taken = at("taken").display().to_string();
    for system in [Shipped::github(), Shipped::gitlab()] {
        for image in
            [format!("a'; touch {taken}; '"), format!("$(touch {taken})"), format!("`touch {taken}`\"")]
        {
            let mut job = Command::new("bash");
            job.args(["-eo", "pipefail", "-c", &system.deploy]).current_dir(dir.path()).env("PATH", &path);
            for (name, value) in &system.variables {
                job.env(name, value.replace("$CI_JOB_ID", &id));
            }
            job.env("IMAGE", &image).env("GITHUB_RUN_ID", &id).env("GITHUB_RUN_ATTEMPT", "1");
            job.env("GITHUB_STEP_SUMMARY", at("summary")).env("GITHUB_OUTPUT", at("output"));
            finish(piped(job)).await.exits(0);
            let words = fs::read_to_string(at("words")).expect("the arguments of drainswap");
            assert!(words.lines().any(|word| word == image), "{image} became\n{words}");
            assert!(!at("taken").exists(), "{image} ran a command");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_shipped_files_deploy_bring_their_files_and_stop() {
    let stage = Stage::pair().start().await;
    let there = stage.command(&[]);
    let set = there.as_std().get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
    let mut set: Vec<String> = set.map(|(name, value)| format!("{name}={value}")).collect();
    set.extend(std::env::var("DOCKER_HOST").map(|host| format!("DOCKER_HOST={host}")));
    let programs = program();
    let programs = programs.parent().expect("a folder").display();
    set.push(format!("PATH={programs}:{}", std::env::var("PATH").unwrap_or_default()));
    let options = format!("SetEnv {}\nSubsystem sftp internal-sftp", set.join(" "));
    let sshd = Sshd::start(&stage.dir().join("ssh"), &options).await;
    sshd.is_named("lb1.example.org");
    let bad = stage.image("bad", &[("FAIL", "exit")]).await;
    let never = stage.image("never", &[("VERSION", "never")]).await;
    let on_github = [("summary", "✅", "❌"), ("output", "\ndeployed\n", "\nrolled_back\n")];
    let on_gitlab = [
        ("junit.xml", "failures=\"0\"", "</failure>"),
        ("deploy.env", "DEPLOY_OUTCOME=deployed\n", "DEPLOY_OUTCOME=rolled_back\n"),
    ];
    let systems = [
        (Shipped::github(), "v2", on_github, "::group::[1/2] mobile/app1"),
        (Shipped::gitlab(), "v3", on_gitlab, "section_start:"),
    ];
    for (system, version, files, folds) in systems {
        let dir = tempfile::tempdir().expect("a directory");
        let run = |script: &str, image: &str| system.run(script, &stage, &sshd, dir.path(), image);
        let has_its_files = |expected: [&str; 2]| {
            for ((name, ..), expected) in files.iter().zip(expected) {
                let path = dir.path().join(name);
                let text = fs::read_to_string(&path).expect(name);
                assert!(text.contains(expected), "{expected} is missing in {name}:\n{text}");
                fs::remove_file(path).expect("make room for the next");
            }
        };
        let good = stage.image(version, &[("VERSION", version)]).await;
        finish(run(&system.deploy, &good)).await.exits(0).says(&[folds]);
        has_its_files(files.map(|(_, good, _)| good));
        finish(run(&system.deploy, &bad)).await.exits(10);
        has_its_files(files.map(|(_, _, bad)| bad));

        let stream = stage.open_stream(60).await;
        let deploy = run(&system.deploy, &never);
        stage.haproxy.until_draining("app1").await;
        finish(run(&system.stop, &never)).await.exits(0).says(&["the run has ended"]);
        finish(deploy).await.exits(12);
        drop(stream);
        let left = fs::read_dir("/tmp").expect("/tmp").flatten().map(|entry| entry.file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains(stage.id())).collect();
        assert!(left.is_empty(), "{left:?} is left over there");
    }
    ends_with("v3", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_run_can_be_stopped_from_another_process() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let before = snapshot(&stage).await;
    let stream = stage.open_stream(60).await;
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    stage.haproxy.until_draining("app1").await;
    stage.drainswap(&["stop", "mobile", "--lock-wait", "1m"]).await.exits(0).says(&["the run has ended"]);
    finish(deploy).await.exits(12).says(&["cancelled: every server is in service"]);
    drop(stream);
    stage.drainswap(&["stop", "mobile"]).await.exits(0).says(&["no run on backend mobile\n"]);
    stage.drainswap(&["stop", "mobil"]).await.exits(2).says(&["no backend mobil; did you mean mobile?"]);
    assert_eq!(snapshot(&stage).await, before);
    stage.close().await;
}
