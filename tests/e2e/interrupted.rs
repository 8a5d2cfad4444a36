//! Runs that are interrupted by Ctrl-C or killed.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::assert_in_service;
use crate::ends_with;
use crate::snapshot;
use crate::support::{Load, Mix, Processes, Stage, finish, wait_until};
use crate::versions;

/// Sends a signal to a child process.
fn signal(child: &tokio::process::Child, name: &str) {
    let id = child.id().expect("it runs").to_string();
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {id}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn ctrl_c_during_a_drain_puts_the_server_back() {
    let stage = Stage::origin().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let load = Load::start(stage.frontend(), Mix::default().with_streams(Duration::from_secs(1), 3));
    load.answered(100).await;
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    stage.haproxy.until_draining("app1").await;
    signal(&deploy, "INT");
    finish(deploy).await.exits(12).says(&["cancelled: every server is in service"]);
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    assert_eq!(versions(&stage).await, ["v1"; 4]);
    assert_in_service(&stage).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn status_watch_repeats_until_ctrl_c() {
    let stage = Stage::pair().start().await;
    let mut watch = stage.spawn(&["status", "--watch=1s"]);
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut tables = 0;
    while tables < 2 {
        let line = lines.next_line().await.expect("a line").expect("another table");
        assert!(!line.contains('\u{1b}'), "{line:?} is for a terminal");
        tables += usize::from(line.trim_start().starts_with("SERVER"));
    }
    signal(&watch, "INT");
    assert!(watch.wait().await.expect("its end").success());
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_second_ctrl_c_undoes_a_booting_container() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("FAIL", "never-ready")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2, "--ready-timeout", "10m"]);
    stage.until_started("app1", &v2).await;
    signal(&deploy, "TERM");
    signal(&deploy, "TERM");
    // Two signals may merge into one, so they are sent until one has an effect.
    wait_until("the undo starts", Duration::from_secs(30), async || {
        if stage.container("app1").await.is_some_and(|it| it.image.starts_with(&v2)) {
            signal(&deploy, "TERM");
        }
        stage.haproxy.status("app1").await.starts_with("UP")
    })
    .await;
    finish(deploy).await.exits(12).says(&["undone   mobile/app1 is as it was"]);
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    assert_in_service(&stage).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_killed_run_is_noticed_and_can_be_rolled_back() {
    let stage = Stage::origin().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "60000")]).await;
    leave_a_run_of_a_clock_that_was_ahead(&stage);
    let load = Load::start(stage.frontend(), Mix::default());
    let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    stage.until_started("app1", &v2).await;
    deploy.kill().await.expect("kill drainswap");
    tear_journal(&stage);
    let torn = ".jsonl is incomplete and is ignored";
    let again = stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(6);
    again.says(&["was not finished", ".jsonl", "drainswap resume mobile -f ", "--undo", torn]);
    let status = stage.drainswap(&["status"]).await.exits(0).says(&["was not finished"]);
    assert_eq!(status.stderr.matches(torn).count(), 1, "{}", status.stderr);
    for command in [&["doctor"][..], &["history", "mobile"], &["resume", "--dry-run"]] {
        let ended = stage.drainswap(command).await.exits(0);
        assert_eq!(ended.stderr.matches(torn).count(), 1, "{command:?}: {}", ended.stderr);
    }
    // A flag may relax the limits of the run, but a variable does not.
    let resume = async |limits: &[&str]| {
        let mut command = stage.command(&[&["resume", "mobile", "--dry-run"][..], limits].concat());
        command
            .env("DRAINSWAP_FLOOR", "8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        finish(command.spawn().expect("start drainswap")).await.exits(0)
    };
    resume(&["--floor", "9"]).await.says(&["the floor is 9"]);
    assert!(!resume(&[]).await.stderr.contains("the floor is"), "the limit of the run applies");
    for taken in [&["drain"][..], &["maint"], &["ready", "--weight", "0"], &["drain", "--dry-run"]] {
        let refused = stage.drainswap(&[taken, &["mobile/app2"]].concat()).await.exits(6);
        refused.says(&["was not finished", "drainswap resume mobile", "--undo", "--floor 0"]);
        assert!(stage.haproxy.status("app2").await.starts_with("UP"), "{taken:?}");
    }
    stage.drainswap(&["drain", "mobile/app2", "--floor", "0"]).await.exits(0).says(&["note: run "]);
    stage.drainswap(&["ready", "mobile/app2"]).await.exits(0).says(&["note: run ", "was not finished"]);
    let would = stage.drainswap(&["rollback", "mobile", "--dry-run", "-o", "json"]).await.exits(0);
    let would: serde_json::Value = serde_json::from_str(&would.stdout).expect("a plan");
    assert_eq!(would["lanes"][0]["servers"][0]["id"], "mobile/app1", "{would}");
    let back = stage.drainswap(&["rollback", "mobile"]).await.exits(0);
    assert!(
        back.stderr.contains("rolled back, the old") && !back.stderr.contains("failed"),
        "{}",
        back.stderr
    );
    back.says(&["undone   mobile/app1 is as it was"]);
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    assert_eq!(versions(&stage).await, ["v1"; 4]);
    assert_in_service(&stage).await;
    stage.close().await;
}

fn is_events(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".events.jsonl")
}

/// Creates a finished run whose name is later than any name from the current clock.
fn leave_a_run_of_a_clock_that_was_ahead(stage: &Stage) {
    let dir = stage.dir().join("state/mobile");
    let (run, later) = ("20261126T143747.970Z", "20991231T235959.999Z");
    let journal = include_str!("../../fixtures/journal/version-1.jsonl").replace(run, later);
    std::fs::create_dir_all(&dir).expect("the state directory");
    std::fs::write(dir.join(format!("{later}.jsonl")), journal).expect("a journal");
}

/// Leaves an incomplete last record in the run's journal, as after a power failure.
fn tear_journal(stage: &Stage) {
    let entries = std::fs::read_dir(stage.dir().join("state/mobile")).expect("the state directory");
    let journal = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == "jsonl") && !is_events(path))
        .max()
        .expect("a journal");
    let mut journal = std::fs::OpenOptions::new().append(true).open(journal).expect("the journal");
    journal.write_all(b"{\"record\":\"done\",\"at\":").expect("half a record");
}

/// The events after which a run is killed, from the first pull to the removal of the replaced containers.
const MOMENTS: [&str; 8] = [
    "run_started",
    "created",
    "drain_started",
    "container_kept",
    "container_started",
    "became_ready",
    "enabled",
    "removed",
];

/// Starts drainswap and kills it at the nth event of a kind. Without such an event, lets it finish. Returns whether it
/// was killed.
async fn kill_at(stage: &Stage, arguments: &[&str], moment: &str, count: usize) -> bool {
    let mut run = stage.spawn(&[arguments, &["-o", "json"]].concat());
    let mut events = BufReader::new(run.stdout.take().expect("a pipe")).lines();
    let mut met = 0;
    while let Some(line) = events.next_line().await.expect("events") {
        let event: serde_json::Value = serde_json::from_str(&line).expect("an event");
        met += usize::from(event["event"] == moment);
        if met == count {
            run.kill().await.expect("kill drainswap");
            return true;
        }
    }
    finish_quietly(run).await;
    false
}

async fn finish_quietly(deploy: tokio::process::Child) {
    let ended = deploy.wait_with_output().await.expect("its end");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

mod sweep {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "sweep: kill -9 at each kind of event"]
    async fn a_run_killed_at_any_event_is_resumed_without_a_lost_request() {
        let stage = Stage::pair().start().await;
        let images = [stage.image("v2", &[("VERSION", "v2")]).await, stage.reference("v1")];
        let load = Load::start(stage.frontend(), Mix::default());
        load.answered(100).await;
        let mut killed = 0;
        for (index, moment) in MOMENTS.into_iter().enumerate() {
            let (image, wanted) = (&images[index % 2], ["v2", "v1"][index % 2]);
            let was_killed = kill_at(&stage, &["deploy", "mobile", "--image", image], moment, 1).await;
            killed += usize::from(was_killed);
            if was_killed {
                stage.drainswap(&["resume", "mobile", "--dry-run"]).await.exits(0);
                let resumed = stage.drainswap(&["resume"]).await;
                assert_eq!(resumed.code, 0, "killed at {moment}: {}", resumed.stderr);
            }
            assert_eq!(versions(&stage).await, [wanted; 2], "killed at {moment}");
            assert_in_service(&stage).await;
            stage.drainswap(&["resume", "mobile"]).await.exits(0).says(&["nothing to resume"]);
        }
        let report = load.stop().await;
        assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
        assert!(killed >= 7, "only {killed} of them were met");
        stage.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_killed_resume_is_resumed_and_rolled_back_as_one_deploy() {
    let stage = Stage::origin().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(100).await;
    let deploy = ["deploy", "mobile", "--image", &v2, "--keep", "1"];
    assert!(kill_at(&stage, &deploy, "container_kept", 2).await, "the second lane was not reached");
    // The kills occur in a lane that the run had started, and then in a newly planned lane.
    assert!(kill_at(&stage, &["resume", "mobile"], "container_started", 1).await);
    assert!(kill_at(&stage, &["resume", "mobile"], "drained", 1).await);
    stage.drainswap(&["resume", "mobile"]).await.exits(0);
    assert_eq!(versions(&stage).await, ["v2"; 4]);
    // It counts as one deploy for a rollback.
    let history = stage.drainswap(&["history", "mobile"]).await.exits(0);
    assert_eq!(history.stdout.matches("yes: its containers are kept").count(), 1, "{}", history.stdout);
    stage.drainswap(&["rollback", "mobile", "--keep", "0"]).await.exits(0).says(&["4 containers replaced"]);
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    ends_with("v1", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_second_run_waits_for_the_first() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "2000")]).await;
    let first = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    stage.until_started("app1", &v2).await;
    let refused = stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(6);
    refused.says(&["another drainswap is working on mobile: process"]);
    let second = stage.drainswap(&["deploy", "mobile", "--image", &v2, "--lock-wait", "1m"]).await.exits(0);
    second.says(&["waiting up to 60 s: another drainswap is working on mobile", "nothing to do"]);
    finish(first).await.exits(0);
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_reload_during_a_drain_is_noticed_and_no_container_stopped() {
    let stage = Stage::pair().processes(Processes::Workers).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let mut stream = stage.open_stream(60).await;
    let before = snapshot(&stage).await;
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    stage.haproxy.until_draining("app1").await;
    // The new process has forgotten the drain, and the old one keeps the stream.
    stage.haproxy.reload().await;
    finish(deploy).await.exits(10).says(&["HAProxy was reloaded during the run", "mobile/app1 is as it was"]);
    assert!(stream.still_streams().await, "the stream was cut");
    assert_in_service(&stage).await;
    assert_eq!(containers(&snapshot(&stage).await), containers(&before));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_reload_gives_a_booting_container_no_requests() {
    let stage = Stage::pair().processes(Processes::Workers).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "5000")]).await;
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    stage.until_started("app1", &v2).await;
    // The new process has forgotten maint and has the server up.
    stage.haproxy.reload().await;
    wait_until("it is out again", Duration::from_secs(3), async || {
        stage.haproxy.status("app1").await == "MAINT"
    })
    .await;
    // The first server is finished. The old process's sessions of the other server cannot be counted, so it is left
    // alone.
    let ended = finish(deploy).await.exits(10);
    ended.says(&[
        "mobile/app1 was put into rotation during the run; it is in maint again",
        "mobile/app1 keeps the new container",
    ]);
    assert_eq!(versions(&stage).await, ["v2", "v1"]);
    assert_in_service(&stage).await;
    stage.close().await;
}

/// Returns the containers in a snapshot.
fn containers(snapshot: &BTreeMap<String, String>) -> Vec<(&String, &String)> {
    snapshot.iter().filter(|(name, _)| name.contains("-mobile-")).collect()
}
