//! A foreground process that is killed when its owner is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running program whose output goes to a file.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose stdout and stderr go to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("open the log");
        let errors = output.try_clone().expect("clone the log's handle");
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", command.get_program().display()));
        Self { child, log: log.to_owned() }
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal such as `USR2`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot signal process {}", self.id());
    }

    /// Returns whether the process is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Returns the output so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Terminates the process, and kills it if it does not exit within 30 s.
    pub fn end(&mut self) {
        self.signal("TERM");
        for _ in 0..1500 {
            if !self.is_running() {
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "it is dropped where nothing can be awaited")]
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }

    /// Kills the process and waits for it. Does nothing if the process has already exited.
    pub fn kill(&mut self) {
        // This only fails if the process has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Finds a program in `PATH` or in Debian's directories for daemons.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(daemons).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Finds a program that a test needs, and fails the test without it.
pub fn installed(program: &str) -> PathBuf {
    find(program).unwrap_or_else(|| panic!("{program} is not installed: `make parts` installs it"))
}
