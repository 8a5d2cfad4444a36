//! The program under test, as a caller meets it: arguments in, an exit code and two streams out.

use super::stage::Stage;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// No command of a test takes longer; one that does hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; -1 after a signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Fails with both streams unless the exit code is this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        let Self { code: found, stdout, stderr } = &self;
        assert_eq!(*found, code, "exit code\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        self
    }

    /// Fails unless stderr holds every one of these.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "stderr lacks {text:?}:\n{}", self.stderr);
        }
        self
    }

    /// Fails unless stdout holds every one of these.
    #[track_caller]
    pub fn prints(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stdout.contains(text), "stdout lacks {text:?}:\n{}", self.stdout);
        }
        self
    }

    /// The events of `-o json`, one a line.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let event = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        self.stdout.lines().map(event).collect()
    }
}

/// The program: where cargo puts it for tests, else beside the examples.
pub fn program() -> PathBuf {
    option_env!("CARGO_BIN_EXE_drainswap").map_or_else(
        || {
            let this = std::env::current_exe().expect("the path of this program");
            let target = this.parent().and_then(std::path::Path::parent).expect("target/PROFILE/examples");
            target.join("drainswap")
        },
        PathBuf::from,
    )
}

impl Stage {
    /// The program on this stage: its haproxy.cfg, its engine, a state directory of its own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env("DRAINSWAP_HAPROXY_CONFIG", self.haproxy.config())
            .env("DRAINSWAP_STATE_DIR", self.dir().join("state"))
            // Most stories end with nothing left over; those that keep containers say so.
            .env("DRAINSWAP_KEEP", "0")
            .env("NO_COLOR", "1")
            .kill_on_drop(true);
        command
    }

    /// Starts the program and leaves it running.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("start drainswap")
    }

    /// Runs the program to its end.
    pub async fn drainswap(&self, arguments: &[&str]) -> Ended {
        finish(self.spawn(arguments)).await
    }
}

/// Waits for a program's end.
pub async fn finish(mut child: Child) -> Ended {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let (mut out, mut err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let reading = async { tokio::join!(out.read_to_string(&mut stdout), err.read_to_string(&mut stderr)) };
    let read = timeout(LIMIT, reading).await;
    assert!(read.is_ok(), "drainswap hangs; so far it said\n{stdout}\n{stderr}");
    let status = child.wait().await.expect("wait for drainswap");
    Ended { code: status.code().unwrap_or(-1), stdout, stderr }
}
