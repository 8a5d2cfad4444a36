//! Commands of the shell that a person has written into the settings.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// A command, which gets nothing to read, in a process group of its own.
pub(super) fn command(text: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(text).process_group(0).kill_on_drop(true).stdin(Stdio::null());
    command
}

/// A command that runs. It is ended with all that it has started, also where nobody waits for it any more.
pub(super) struct Group(pub Child);

impl Drop for Group {
    fn drop(&mut self) {
        // One that has ended and was waited for has no identifier any more.
        let group = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(group) = group {
            let _ended = kill_process_group(group, Signal::KILL);
        }
    }
}
