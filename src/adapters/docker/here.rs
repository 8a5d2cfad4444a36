//! The engine's host, where the engine runs on this one and sees the same files as this process. From within a container with the engine's socket nothing is known of it.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::open_files;
use crate::observation::Host;

/// The programs that are engines.
const ENGINES: &[&str] = &["dockerd", "podman"];
/// systemd makes the socket that it starts an engine by.
const SYSTEMD: i32 = 1;
/// Where Docker writes down its process.
const DOCKER_PID: &str = "/run/docker.pid";

/// How long the socket may take.
const SOCKET_LIMIT: Duration = Duration::from_secs(1);
/// How long all paths together may take: one on a file system of another host may never answer.
const PATHS_LIMIT: Duration = Duration::from_secs(2);

/// What is certain of the host of the engine that has this socket.
pub(super) async fn look(socket: &Path, paths: BTreeSet<String>) -> Host {
    match engine(socket).await {
        Some(engine) => of(&engine, paths).await,
        None => Host::default(),
    }
}

async fn of(engine: &Process, paths: BTreeSet<String>) -> Host {
    let mut host = Host { open_files: open_files::of_new(&engine.0), ..Host::default() };
    if engine.shares("mnt") && engine.has_same_root() {
        let (sender, receiver) = oneshot::channel();
        // A thread of its own: a file system that hangs must not keep the program from ending.
        std::thread::spawn(move || {
            let is_missing = |path: &String| matches!(Path::new(path).try_exists(), Ok(false));
            sender.send(paths.into_iter().filter(is_missing).collect())
        });
        if let Ok(Ok(missing)) = tokio::time::timeout(PATHS_LIMIT, receiver).await {
            host.missing = missing;
        }
    }
    host
}

/// The engine's process, by its directory in `/proc`.
struct Process(PathBuf);

/// The process that answers at a socket; `None` where it is not to be seen from here.
async fn engine(socket: &Path) -> Option<Process> {
    let stream = tokio::time::timeout(SOCKET_LIMIT, UnixStream::connect(socket)).await.ok()?.ok()?;
    let mut pid = stream.peer_cred().ok()?.pid()?;
    if pid == SYSTEMD {
        pid = tokio::fs::read_to_string(DOCKER_PID).await.ok()?.trim().parse().ok()?;
    }
    let process = Process(format!("/proc/{pid}").into());
    // Another program may pass on what an engine elsewhere says: ssh, socat, a proxy.
    process.is_named(ENGINES).then_some(process)
}

impl Process {
    fn is_named(&self, names: &[&str]) -> bool {
        let name = std::fs::read_to_string(self.0.join("comm")).unwrap_or_default();
        names.contains(&name.trim_end())
    }

    /// Whether it is in this process's namespace of that kind; one that may not be looked at counts as in another.
    fn shares(&self, kind: &str) -> bool {
        let of = |process: &Path| std::fs::read_link(process.join("ns").join(kind)).ok();
        let own = of(Path::new("/proc/self"));
        own.is_some() && own == of(&self.0)
    }

    /// Whether it has this process's root directory.
    fn has_same_root(&self) -> bool {
        let of = |process: &Path| {
            let root = std::fs::metadata(process.join("root")).ok()?;
            Some((root.dev(), root.ino()))
        };
        let own = of(Path::new("/proc/self"));
        own.is_some() && own == of(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_runs_beside_this_process_has_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("there"), "").unwrap();
        let paths = BTreeSet::from([path("there"), path("gone")]);
        let own = Process("/proc/self".into());
        assert_eq!(of(&own, paths.clone()).await.missing, BTreeSet::from([path("gone")]));
        // What answers here is no engine, whatever it may pass on.
        let socket = directory.path().join("engine.sock");
        let _proxy = tokio::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(look(&socket, paths.clone()).await, Host::default());
        assert_eq!(look(&directory.path().join("none.sock"), paths).await, Host::default());
    }

    #[test]
    fn a_process_that_cannot_be_looked_at_is_elsewhere() {
        let own = Process("/proc/self".into());
        assert!(own.shares("mnt") && own.has_same_root());
        let gone = Process("/proc/0".into());
        assert!(!gone.shares("mnt") && !gone.has_same_root());
    }
}
