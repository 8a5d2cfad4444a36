//! The processes of this host, each read from `/proc` at most once.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use super::process::{self, Process, TrustReason, Unidentified, with_trust};

/// What a command has read from `/proc`.
#[derive(Debug, Default)]
pub struct Processes {
    read: RefCell<BTreeMap<u32, Result<Process, Unidentified>>>,
    pids: OnceCell<Vec<u32>>,
}

impl Processes {
    /// Returns the properties of a process named haproxy.
    ///
    /// # Errors
    /// Fails if there is none, or the caller may not read it.
    pub fn get(&self, pid: u32) -> Result<Process, Unidentified> {
        self.read.borrow_mut().entry(pid).or_insert_with(|| Process::read(pid)).clone()
    }

    /// Returns all HAProxy processes that the caller may read.
    pub fn haproxys(&self) -> impl Iterator<Item = Process> {
        let pids = self.pids.get_or_init(process::all);
        pids.iter().filter_map(|pid| self.get(*pid).ok())
    }

    /// Returns the HAProxy processes in containers: those in a container's control group, with other mounts than this
    /// host. Leaves out the workers of a master.
    ///
    /// A program whose name only starts with haproxy, such as an exporter or a script, has no configuration files among
    /// its arguments.
    #[must_use]
    pub fn in_containers(&self) -> Vec<Process> {
        let is_elsewhere = |it: &Process| it.container.is_some() && !it.is_here();
        let is_haproxy = |it: &Process| it.is_called_haproxy() && !it.invocation.files().is_empty();
        let mut found: Vec<Process> =
            self.haproxys().filter(|it| is_elsewhere(it) && is_haproxy(it)).collect();
        let pids: Vec<u32> = found.iter().map(|process| process.pid).collect();
        found.retain(|process| !pids.contains(&process.parent));
        found
    }

    /// Returns the HAProxy process that listens at a Unix socket.
    ///
    /// Returns `None` after a reload, because the kernel keeps reporting the process that first listened.
    pub async fn listening_at(&self, socket: &Path) -> Option<Process> {
        let stream = UnixStream::connect(socket).await.ok()?;
        let pid = stream.peer_cred().ok()?.pid()?;
        self.get(u32::try_from(pid).ok()?).ok()
    }

    /// Returns the files that the HAProxy processes of root and of the caller were started with here.
    ///
    /// It is not known yet which of these processes answers at the runtime socket of its configuration.
    #[must_use]
    pub fn started_with(&self) -> Vec<Vec<PathBuf>> {
        let own =
            |process| with_trust(Ok(process)).ok().filter(|(_, grounds)| *grounds == TrustReason::Owner);
        let files = self.haproxys().filter_map(own).map(|(process, _)| process.invocation.files());
        let mut files: Vec<_> = files.filter(|files| !files.is_empty()).collect();
        files.sort();
        files.dedup();
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = process::tests::haproxy(directory.path());
        let (pid, processes) = (child.id(), Processes::default());
        let read = processes.get(pid).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(Process::read(pid), Err(Unidentified::NoHaproxy { pid }), "it is gone");
        assert_eq!(processes.get(pid), Ok(read.clone()));
        // The list of processes is read when it is first needed, and then kept.
        assert!(!processes.haproxys().any(|it| it.pid == pid));
        let mut later = process::tests::haproxy(directory.path());
        let is_among = |processes: &Processes| processes.haproxys().any(|it| it.pid == later.id());
        assert!(!is_among(&processes) && is_among(&Processes::default()));
        drop(later.stdin.take());
        later.wait().unwrap();
    }
}
