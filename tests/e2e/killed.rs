//! Deploys under load that are killed with SIGKILL, around every record of the journal and at random moments, and then
//! resumed: no request is lost, and every server runs the same version.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;
use tokio::process::Child;
use tokio::time::{Instant, timeout};

use crate::assert_in_service;
use crate::support::{Load, Mix, Stage};
use crate::versions;

/// The moment at which a run is killed.
#[derive(Clone, Copy, Debug)]
enum HookPoint {
    /// After this many durable records: the step that the last record announces is not done, or has just started.
    Behind { records: usize },
    /// In the middle of the first record.
    Opening,
    /// In the middle of a later record, at this many bytes after the first record: the step is done, but not recorded.
    Within { bytes: u64 },
}

/// Returns the moments before and after every effect in a journal, each with its record.
fn moments(journal: &Path) -> Vec<(String, HookPoint)> {
    let (mut moments, mut bytes) = (vec![("opened".to_owned(), HookPoint::Opening)], 0);
    for (index, line) in fs::read_to_string(journal).expect("a journal").lines().enumerate().skip(1) {
        let record: Value = serde_json::from_str(line).expect("a record");
        let word = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        let length = line.len() as u64 + 1;
        // Times in the records may have a different length in the next run.
        let within = HookPoint::Within { bytes: bytes + length / 2 };
        let behind = HookPoint::Behind { records: index + 1 };
        let moment = if word("record") == "begun" { behind } else { within };
        moments.push((format!("{} {} of lane {}", word("record"), word("step"), record["lane"]), moment));
        bytes += length;
    }
    moments
}

/// A watch on all writes to the journals of a backend.
struct Watch {
    dir: PathBuf,
    changes: OwnedFd,
}

impl Watch {
    fn on(dir: PathBuf) -> Self {
        let changes = inotify::init(CreateFlags::CLOEXEC).expect("inotify");
        inotify::add_watch(&changes, &dir, WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE).expect("a watch");
        Self { dir, changes }
    }

    /// Waits until the current journal has this many records and returns its bytes, or `None` if it is closed earlier.
    fn until_written(&self, records: usize) -> Option<Vec<u8>> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut changes = Reader::new(&self.changes, &mut buffer);
        loop {
            let change = changes.next().expect("a change");
            let name = change.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let path = self.dir.join(name);
            if !is_journal(&path) {
                continue;
            }
            let written = fs::read(path).unwrap_or_default();
            if written.split(|byte| *byte == b'\n').count() > records {
                return Some(written);
            }
            if change.events().contains(ReadFlags::CLOSE_WRITE) {
                return None;
            }
        }
    }
}

/// Limits the file size: a write beyond the limit is cut off, and the next write kills the process.
fn end_at(process: Pid, bytes: u64) {
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    // A process that has exited needs no limit.
    let _ended = prlimit(Some(process), Resource::Fsize, limit);
}

/// Runs a deploy until a moment, and returns false if it finishes earlier.
async fn is_killed(stage: &Stage, image: &str, moment: HookPoint) -> bool {
    let watch = Watch::on(journals(stage));
    let mut run = stage.spawn(&["deploy", "mobile", "--image", image]);
    let process = i32::try_from(run.id().expect("it runs")).expect("a pid");
    let process = Pid::from_raw(process).expect("a pid");
    let armed = tokio::task::spawn_blocking(move || match moment {
        HookPoint::Opening => end_at(process, 1000),
        HookPoint::Within { bytes } => {
            let first = watch.until_written(1).map(|written| written.len() as u64);
            end_at(process, first.unwrap_or_default() + bytes);
        }
        HookPoint::Behind { records } => {
            if watch.until_written(records).is_some() {
                let _ended = kill_process(process, Signal::KILL);
            }
        }
    });
    armed.await.expect("the watch ends");
    run.wait().await.expect("its end").code().is_none()
}

/// Returns the folder with the journals of the stage's backend.
fn journals(stage: &Stage) -> PathBuf {
    stage.dir().join("state").join("mobile")
}

/// Returns whether a file is a journal; the run's events are next to it.
fn is_journal(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(".jsonl") && !name.ends_with(".events.jsonl")
}

fn latest_journal(stage: &Stage) -> PathBuf {
    let entries = fs::read_dir(journals(stage)).expect("the journals");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let journals = paths.filter(|path| is_journal(path));
    journals.max().expect("a journal")
}

mod sweep {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "sweep: fifty deploys, each killed around another record of its journal"]
    async fn a_run_killed_around_any_record_is_resumed_without_a_lost_request() {
        let stage = Stage::pair().start().await;
        let images = [stage.reference("v1"), stage.image("v2", &[("VERSION", "v2")]).await];
        stage.drainswap(&["deploy", "mobile", "--image", &images[1]]).await.exits(0);
        let load = Load::start(stage.frontend(), Mix { rate: 100, slow_one_in: 0, ..Mix::default() });
        load.answered(100).await;
        let (mut killed, mut whole) = (0, Vec::new());
        for (index, (record, moment)) in moments(&latest_journal(&stage)).into_iter().enumerate() {
            let (image, wanted) = (&images[index % 2], ["v1", "v2"][index % 2]);
            if !is_killed(&stage, image, moment).await {
                whole.push(record);
                continue;
            }
            killed += 1;
            let now = [stage.haproxy.status("app1").await, stage.haproxy.status("app1b").await];
            eprintln!("killed {moment:?}, {record}: app1 and app1b are in {now:?}");
            comes_to_its_end(&stage, image, wanted, &format!("killed {moment:?}, {record}")).await;
        }
        let report = load.stop().await;
        assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
        assert!(killed >= 50, "only {killed} records were met; not {whole:?}");
        stage.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "sweep: fifteen deploys, each killed at a random moment"]
    async fn a_run_killed_at_a_random_moment_is_resumed_without_a_lost_request() {
        killed_at_random_moments(15, 1).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "sweep: ten deploys, each killed at a random moment, as is its resume"]
    async fn a_run_killed_twice_at_random_moments_is_resumed_without_a_lost_request() {
        killed_at_random_moments(10, 2).await;
    }
}

/// Resumes a killed deploy, and fails unless every server is in service with the given version afterwards.
async fn comes_to_its_end(stage: &Stage, image: &str, version: &str, killed: &str) {
    let resumed = stage.drainswap(&["resume", "mobile"]).await.exits(0);
    if resumed.stderr.contains("nothing to resume") {
        // The run was killed before its first record or after its last one.
        stage.drainswap(&["deploy", "mobile", "--image", image]).await.exits(0);
    }
    assert_eq!(versions(stage).await, [version; 2], "{killed}: {}", resumed.stderr);
    assert_in_service(stage).await;
}

/// Kills a process after a time, and returns false if it exits earlier.
async fn is_killed_after(moment: Duration, mut process: Child) -> bool {
    if timeout(moment, process.wait()).await.is_ok() {
        return false;
    }
    process.kill().await.expect("it ends");
    true
}

/// Deploys under load, and kills the deploy and each resume except the last one at random moments: within the duration
/// of a complete deploy, or half of it for a resume. Repeats this for the given number of deploys. `TEST_SEED` repeats
/// the moments of a failed test.
#[expect(clippy::print_stderr, reason = "the seed repeats the moments")]
async fn killed_at_random_moments(deploys: usize, kills: usize) {
    let seed =
        std::env::var("TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    eprintln!("TEST_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let stage = Stage::pair().start().await;
    let images = [stage.reference("v1"), stage.image("v2", &[("VERSION", "v2")]).await];
    let started = Instant::now();
    stage.drainswap(&["deploy", "mobile", "--image", &images[1]]).await.exits(0);
    let whole = started.elapsed();
    let load = Load::start(stage.frontend(), Mix { rate: 100, slow_one_in: 0, ..Mix::default() });
    load.answered(100).await;
    let mut killed = 0;
    // A moment near the end may be too late, which takes another deploy.
    for index in 0..4 * deploys {
        let (image, version) = (&images[index % 2], ["v1", "v2"][index % 2]);
        let share = |nth| if nth == 0 { 1.0 } else { 0.5 };
        let moments: Vec<Duration> = (0..kills).map(|nth| whole.mul_f64(rng.f64() * share(nth))).collect();
        let mut met = 0;
        for (nth, moment) in moments.iter().enumerate() {
            let resume = ["resume", "mobile"];
            let deploy = ["deploy", "mobile", "--image", image];
            let process = stage.spawn(if nth == 0 { &deploy[..] } else { &resume });
            met += usize::from(is_killed_after(*moment, process).await);
        }
        comes_to_its_end(&stage, image, version, &format!("killed {met} times, of {moments:?}")).await;
        killed += usize::from(met == kills);
        if killed == deploys {
            break;
        }
    }
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    assert_eq!(killed, deploys, "so many deploys were killed {kills} times");
    stage.close().await;
}
