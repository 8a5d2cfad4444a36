//! The engine's host, if the engine runs on this host and sees the same files as this process. From inside a
//! container that has the engine's socket, nothing is known about the host.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::open_files;
use crate::observation::Host;

/// The process names of engines.
const ENGINES: &[&str] = &["dockerd", "podman"];
/// The PID of systemd, which creates the socket of a socket-activated engine.
const SYSTEMD: i32 = 1;
/// The file in which Docker writes its PID.
const DOCKER_PID: &str = "/run/docker.pid";

/// The time limit for the socket.
const SOCKET_LIMIT: Duration = Duration::from_secs(1);
/// The time limit for all paths together: a path on a file system of another host may never answer.
const PATHS_LIMIT: Duration = Duration::from_secs(2);

/// Returns what is certain about the host of the engine with this socket.
pub(super) async fn host_from_here(socket: &Path, paths: BTreeSet<String>) -> Host {
    match engine(socket).await {
        Some(engine) => of(&engine, paths).await,
        None => Host::default(),
    }
}

async fn of(engine: &EngineProcess, paths: BTreeSet<String>) -> Host {
    let mut host = Host { open_files: open_files::of_new(&engine.0), ..Host::default() };
    if engine.shares("mnt") && engine.has_same_root() {
        let (sender, receiver) = oneshot::channel();
        // In a separate thread: a file system that hangs must not keep the program from exiting.
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

/// The engine's process, as its directory in `/proc`.
struct EngineProcess(PathBuf);

/// Returns the process that answers at a socket; `None` if it is not visible from here.
async fn engine(socket: &Path) -> Option<EngineProcess> {
    let stream = tokio::time::timeout(SOCKET_LIMIT, UnixStream::connect(socket)).await.ok()?.ok()?;
    let mut pid = stream.peer_cred().ok()?.pid()?;
    if pid == SYSTEMD {
        pid = tokio::fs::read_to_string(DOCKER_PID).await.ok()?.trim().parse().ok()?;
    }
    let process = EngineProcess(format!("/proc/{pid}").into());
    // Another program may forward the answers of an engine elsewhere: ssh, socat, a proxy.
    process.is_named(ENGINES).then_some(process)
}

impl EngineProcess {
    fn is_named(&self, names: &[&str]) -> bool {
        let name = std::fs::read_to_string(self.0.join("comm")).unwrap_or_default();
        names.contains(&name.trim_end())
    }

    /// Returns whether it shares this process's namespace of that kind. A namespace that is not readable counts as a
    /// different one.
    fn shares(&self, kind: &str) -> bool {
        let of = |process: &Path| std::fs::read_link(process.join("ns").join(kind)).ok();
        let own = of(Path::new("/proc/self"));
        own.is_some() && own == of(&self.0)
    }

    /// Returns whether it has the same root directory as this process.
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
        let own = EngineProcess("/proc/self".into());
        assert_eq!(of(&own, paths.clone()).await.missing, BTreeSet::from([path("gone")]));
        // The program that answers here is not an engine, whatever it may forward.
        let socket = directory.path().join("engine.sock");
        let _proxy = tokio::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(host_from_here(&socket, paths.clone()).await, Host::default());
        assert_eq!(host_from_here(&directory.path().join("none.sock"), paths).await, Host::default());
    }

    #[test]
    fn an_unreadable_process_counts_as_elsewhere() {
        let own = EngineProcess("/proc/self".into());
        assert!(own.shares("mnt") && own.has_same_root());
        let gone = EngineProcess("/proc/0".into());
        assert!(!gone.shares("mnt") && !gone.has_same_root());
    }
}
