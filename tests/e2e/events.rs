//! A deploy continues when the readers of its events close their end or stop reading.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::time::timeout;

use crate::assert_in_service;
use crate::support::{Stage, finish};
use crate::versions;

/// Returns a full pipe and its unread end.
async fn full_pipe() -> (OwnedFd, pipe::Receiver) {
    let (writer, reader) = pipe::pipe().expect("a pipe");
    writer.writable().await.expect("an empty pipe");
    let written = std::iter::from_fn(|| writer.try_write(&[b'.'; 4096]).ok());
    assert!(written.sum::<usize>() >= 4096, "nothing was written");
    (writer.into_blocking_fd().expect("its end"), reader)
}

/// Returns the kinds of the events in a file, in order.
fn kinds(path: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("a file of events");
    let kind = |line: &str| serde_json::from_str::<Value>(line).expect("an object a line")["event"].clone();
    text.lines().map(|line| kind(line).as_str().expect("a kind").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_deploy_continues_when_its_readers_close() {
    let stage = Stage::pair().start().await;
    let (v2, v3) =
        (stage.image("v2", &[("VERSION", "v2")]).await, stage.image("v3", &[("VERSION", "v3")]).await);
    let file = stage.dir().join("events.jsonl");
    let events = file.display().to_string();

    let nowhere = stage.drainswap(&["deploy", "mobile", "--image", &v2, "--events", "/nowhere/events"]).await;
    nowhere.exits(2).says(&["cannot write events to /nowhere/events: No such file"]);
    assert!(versions(&stage).await.iter().all(|version| version == "v1"), "nothing was touched");

    // Like `drainswap deploy -o json | head -1`.
    let mut child = stage.spawn(&["deploy", "mobile", "--image", &v2, "-o", "json", "--events", &events]);
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut first).await.expect("a first line");
    drop(stdout);
    let status = child.wait().await.expect("its end");
    assert_eq!(status.code(), Some(0));
    assert!(versions(&stage).await.iter().all(|version| version == "v2"));
    let told = kinds(&file);
    assert_eq!(serde_json::from_str::<Value>(&first).expect("an object")["event"], *told[0]);
    assert_eq!((told[0].as_str(), told[told.len() - 1].as_str()), ("run_started", "run_ended"));

    // Both outputs are full disks.
    let mut command =
        stage.command(&["deploy", "mobile", "--image", &v3, "-o", "json", "--events", "/dev/full"]);
    command.stdout(Stdio::from(File::create("/dev/full").expect("/dev/full"))).stderr(Stdio::piped());
    let ended = command.spawn().expect("start drainswap").wait_with_output().await.expect("its end");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    for name in ["/dev/full", "stdout"] {
        let note = format!("note: cannot write events to {name}: No space left on device (os error 28)");
        assert_eq!(said.matches(&note).count(), 1, "{said}");
    }
    assert!(versions(&stage).await.iter().all(|version| version == "v3"));

    // A run with nothing to do also appends its events.
    finish(stage.spawn(&["deploy", "mobile", "--image", &v3, "--events", &events])).await.exits(0);
    let more = kinds(&file);
    assert_eq!((&more[..told.len()], more[told.len()..].to_vec()), (&told[..], vec!["run_ended".to_owned()]));
    assert_in_service(&stage).await;
    stage.close().await;
}

/// Ctrl-S on a terminal has the same effect.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_deploy_continues_when_its_readers_stop_reading() {
    let stage = Stage::pair().start().await;
    for (version, form) in [("v2", &["--ci", "none"]), ("v3", &["--ci", "gitlab"]), ("v4", &["-o", "json"])] {
        let image = stage.image(version, &[("VERSION", version)]).await;
        let mut command = stage.command(&["deploy", "mobile", "--image", &image, "--verbose"]);
        let ((stdout, _asleep), (stderr, _too)) = (full_pipe().await, full_pipe().await);
        command.args(form).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let mut deploy = command.spawn().expect("start drainswap");
        let ended = timeout(Duration::from_secs(60), deploy.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{form:?} delays the deploy")).expect("its end");
        assert_eq!(ended.code(), Some(0), "{form:?}");
        assert_eq!(versions(&stage).await, [version; 2], "{form:?}");
    }
    assert_in_service(&stage).await;
    stage.close().await;
}
