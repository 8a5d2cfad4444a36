//! Shell commands from the settings.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// Returns a command that runs in a new process group, with an empty standard input.
pub(super) fn command(text: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(text).process_group(0).kill_on_drop(true).stdin(Stdio::null());
    command
}

/// A running command. Dropping it kills the command and everything that it started.
pub(super) struct Group(pub Child);

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has exited and been waited for has no PID any more.
        let group = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(group) = group {
            let _ended = kill_process_group(group, Signal::KILL);
        }
    }
}
