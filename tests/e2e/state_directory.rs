//! Failures of the state directory in every phase of a run: no request is lost, and every step is either finished or
//! rolled back.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::process::Child;

use crate::assert_in_service;
use crate::at_each_event;
use crate::support::{Ended, Load, Mix, Stage, program};
use crate::versions;

/// The phases of a run, each by its first event.
const PHASES: [&str; 8] = [
    "run_started",
    "created",
    "drain_started",
    "drained",
    "container_kept",
    "container_started",
    "became_ready",
    "removed",
];

/// Returns a load of short requests, which end every drain soon.
fn mix() -> Mix {
    Mix { rate: 100, slow_one_in: 0, ..Mix::default() }
}

/// Injects a fault at the first event of a kind, and returns the end of the run.
async fn happens_at(mut run: Child, phase: &str, mut fault: impl FnMut(u32)) -> Ended {
    let process = run.id().expect("it runs");
    let mut is_due = true;
    let stdout = at_each_event(&mut run, async |event| {
        if event == phase && std::mem::take(&mut is_due) {
            fault(process);
        }
    })
    .await;
    assert!(!is_due, "no {phase} in {stdout}");
    let ended = run.wait_with_output().await.expect("its end");
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    Ended { code: ended.status.code().unwrap_or(-1), stdout, stderr }
}

/// Limits the file size of a process so that no write extends a file.
fn forbid_writing(process: u32) {
    let process = Pid::from_raw(i32::try_from(process).expect("a pid")).expect("a pid");
    prlimit(Some(process), Resource::Fsize, Rlimit { current: Some(0), maximum: Some(0) }).expect("a limit");
}

/// Starts drainswap so that a write beyond the limit is an error and does not kill it.
fn spawn_tolerant(stage: &Stage, arguments: &[&str]) -> Child {
    let own = stage.command(arguments);
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(program()).args(own.as_std().get_args());
    shell.envs(own.as_std().get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    shell.spawn().expect("start drainswap")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn an_unwritable_journal_rolls_the_run_back_and_resume_closes_it() {
    let stage = Stage::pair().start().await;
    let images = [stage.image("v2", &[("VERSION", "v2")]).await, stage.reference("v1")];
    let load = Load::start(stage.frontend(), mix());
    load.answered(100).await;
    for (index, phase) in PHASES.into_iter().enumerate() {
        let (image, [old, new]) =
            (&images[index % 2], if index % 2 == 0 { ["v1", "v2"] } else { ["v2", "v1"] });
        let run = spawn_tolerant(&stage, &["deploy", "mobile", "--image", image, "-o", "json"]);
        let ended = happens_at(run, phase, forbid_writing).await;
        let told = format!("{phase}: {} {}", ended.stdout, ended.stderr);
        let (code, runs) = match phase {
            // Before a server has left rotation, in between, and after all servers have returned.
            "run_started" | "created" => (3, old),
            "removed" => (0, new),
            _ => (10, old),
        };
        assert_eq!(ended.code, code, "{told}");
        assert!(told.contains(": File too large"), "{told}");
        assert_eq!(versions(&stage).await, [runs; 2], "{told}");
        if phase != "removed" {
            assert_in_service(&stage).await;
        }
        // The journal has no outcome.
        stage.drainswap(&["status"]).await.exits(0).says(&["was not finished"]);
        stage.drainswap(&["doctor"]).await.exits(0).prints(&["was not finished", "drainswap resume mobile"]);
        stage
            .drainswap(&["deploy", "mobile", "--image", image])
            .await
            .exits(6)
            .says(&["drainswap resume mobile"]);
        if phase == "drained" {
            stage.drainswap(&["resume", "mobile", "--undo"]).await.exits(0);
            assert_eq!(versions(&stage).await, [old; 2], "{told}");
            stage.drainswap(&["deploy", "mobile", "--image", image]).await.exits(0);
        } else {
            stage.drainswap(&["resume", "mobile"]).await.exits(0);
        }
        assert_eq!(versions(&stage).await, [new; 2], "{told}");
        assert_in_service(&stage).await;
    }
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_deleted_state_directory_rolls_the_run_back() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let load = Load::start(stage.frontend(), mix());
    load.answered(100).await;
    let directory = stage.dir().join("state");
    let deploy = ["deploy", "mobile", "--image", &v2, "-o", "json"];
    for phase in &PHASES[..7] {
        let delete = |_| fs::remove_dir_all(&directory).expect("the state directory exists");
        let ended = happens_at(stage.spawn(&deploy), phase, delete).await;
        let told = format!("{phase}: {} {}", ended.stdout, ended.stderr);
        let code = if matches!(*phase, "run_started" | "created") { 3 } else { 10 };
        assert_eq!(ended.code, code, "{told}");
        assert!(told.contains("it was removed during the run"), "{told}");
        assert_eq!(versions(&stage).await, ["v1"; 2], "{told}");
        assert_in_service(&stage).await;
        stage.drainswap(&["resume"]).await.exits(0).says(&["no run was left unfinished"]);
        let left = stage.drainswap(&["doctor"]).await.exits(0).stdout;
        assert!(!left.contains(stage.id()), "{left}{told}");
    }
    stage.drainswap(&deploy).await.exits(0);
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    crate::ends_with("v2", stage).await;
}

/// A separate, small file system, which is unmounted on drop.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path) -> Self {
        Self::mount_with(at, "size=4m,mode=700")
    }

    fn mount_with(at: &'a Path, options: &str) -> Self {
        fs::create_dir_all(at).expect("a directory");
        let is_mounted = mount(&["-t", "tmpfs", "-o", options, "drainswap-test"], at);
        assert!(is_mounted, "only root can mount a separate disk");
        Self(at)
    }

    /// Fills the file system completely; [`Self::clear`] makes room again.
    fn fill(&self) {
        let full = Command::new("sh")
            .arg("-c")
            .arg("cat /dev/zero >\"$0/filler\"")
            .arg(self.0)
            .stderr(Stdio::null())
            .status();
        assert!(!full.expect("sh runs").success(), "the disk does not fill up");
    }

    fn clear(&self) {
        fs::remove_file(self.0.join("filler")).expect("it was filled");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

fn mount(options: &[&str], at: &Path) -> bool {
    let mounted = Command::new("mount").args(options).arg(at).stderr(Stdio::null()).status();
    mounted.is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_disk_that_fills_up_does_not_disturb_a_run() {
    let stage = Stage::pair().start().await;
    let directory = stage.dir().join("state");
    let disk = Disk::mount(&directory);
    let images = [stage.image("v2", &[("VERSION", "v2")]).await, stage.reference("v1")];
    let load = Load::start(stage.frontend(), mix());
    load.answered(100).await;
    for (index, phase) in PHASES.into_iter().enumerate() {
        let (image, new) = (&images[index % 2], ["v2", "v1"][index % 2]);
        let run = stage.spawn(&["deploy", "mobile", "--image", image, "-o", "json"]);
        let ended = happens_at(run, phase, |_| disk.fill()).await.exits(0);
        assert!(!ended.stdout.contains("cannot write the journal"), "{phase}: {}", ended.stdout);
        assert_eq!(versions(&stage).await, [new; 2]);
        assert_in_service(&stage).await;
        disk.clear();
        stage.drainswap(&["resume", "mobile"]).await.exits(0).says(&["nothing to resume"]);
    }
    // On a full disk, no run starts.
    disk.fill();
    let deploy = ["deploy", "mobile", "--image", &images[0]];
    stage.drainswap(&deploy).await.exits(3).says(&["No space left on device", "Free some space there"]);
    stage.drainswap(&["status"]).await.exits(0);
    disk.clear();
    assert!(mount(&["-o", "remount,ro"], &directory), "remount it read-only");
    stage.drainswap(&deploy).await.exits(3).says(&["Read-only file system", "--state-dir"]);
    stage.drainswap(&["status"]).await.exits(0);
    assert!(mount(&["-o", "remount,rw"], &directory), "it can be written again");
    assert_eq!(versions(&stage).await, ["v1"; 2]);
    assert_in_service(&stage).await;
    stage.drainswap(&deploy).await.exits(0);
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    drop(disk);
    crate::ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_move_needs_no_state_directory() {
    let stage = Stage::pair().start().await;
    let directory = stage.dir().join("state");
    // The root directory takes the only inode.
    let disk = Disk::mount_with(&directory, "size=4m,mode=700,nr_inodes=1");
    let goes_on = "goes on: it is not recorded there, and not locked against another drainswap";
    let leave = ["maint", "mobile/app1", "--drain-first"];
    stage.drainswap(&leave).await.exits(0).says(&["No space left on device", goes_on]);
    assert_eq!(stage.haproxy.status("app1").await, "MAINT");
    assert!(mount(&["-o", "remount,ro"], &directory), "remount it read-only");
    let back = ["ready", "mobile/app1", "--wait"];
    stage.drainswap(&back).await.exits(0).says(&["Read-only file system", goes_on]);
    drop(disk);

    // A lock that another process holds is seen on a read-only file system too.
    stage.drainswap(&leave).await.exits(0);
    stage.drainswap(&back).await.exits(0);
    let lock = fs::File::open(directory.join("mobile/lock")).expect("a lock");
    lock.lock().expect("it is free");
    assert!(mount(&["--bind", directory.to_str().expect("UTF-8")], &directory), "mount it on itself");
    let disk = Disk(&directory);
    assert!(mount(&["-o", "remount,bind,ro"], &directory), "remount it read-only");
    stage.drainswap(&leave).await.exits(6).says(&["another drainswap is working on mobile"]);
    assert!(stage.haproxy.status("app1").await.starts_with("UP"));
    drop(lock);
    let moved = stage.drainswap(&leave).await.exits(0);
    assert!(!moved.stderr.contains("not locked"), "{}", moved.stderr);
    drop(disk);
    stage.close().await;
}
