//! The program under test from a caller's view: arguments in, an exit code and two streams out.

use super::stage::Stage;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The time after which a command counts as hanging.
const LIMIT: Duration = Duration::from_secs(180);

/// A command that has exited.
#[derive(Debug)]
pub struct Ended {
    /// The exit code, or -1 after a signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Checks the exit code, and panics with both streams if it differs.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        let Self { code: found, stdout, stderr } = &self;
        assert_eq!(*found, code, "exit code\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        self
    }

    /// Checks that stderr contains every text.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "stderr lacks {text:?}:\n{}", self.stderr);
        }
        self
    }

    /// Checks that stdout contains every text.
    #[track_caller]
    pub fn prints(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stdout.contains(text), "stdout lacks {text:?}:\n{}", self.stdout);
        }
        self
    }

    /// Returns the events of `-o json`, one per line.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let event = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        self.stdout.lines().map(event).collect()
    }
}

/// Returns the path of the program, which is next to the examples if cargo does not provide it.
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
    /// Returns a command that runs drainswap on this stage, with its own state directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env("DRAINSWAP_HAPROXY_CONFIG", self.haproxy.config())
            .env("DRAINSWAP_STATE_DIR", self.dir().join("state"))
            // Most tests end without kept containers; the others override this.
            .env("DRAINSWAP_KEEP", "0")
            .env("NO_COLOR", "1")
            .kill_on_drop(true);
        command
    }

    /// Starts drainswap without waiting for it.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("start drainswap")
    }

    /// Runs drainswap and waits until it exits.
    pub async fn drainswap(&self, arguments: &[&str]) -> Ended {
        finish(self.spawn(arguments)).await
    }
}

/// Waits until a program exits.
pub async fn finish(mut child: Child) -> Ended {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let (mut out, mut err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let reading = async { tokio::join!(out.read_to_string(&mut stdout), err.read_to_string(&mut stderr)) };
    let read = timeout(LIMIT, reading).await;
    assert!(read.is_ok(), "drainswap hangs; its output so far:\n{stdout}\n{stderr}");
    let status = child.wait().await.expect("wait for drainswap");
    Ended { code: status.code().unwrap_or(-1), stdout, stderr }
}
