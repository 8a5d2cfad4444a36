//! The engine's host, where the engine runs on this one and sees what this process sees: the same files, and the same
//! network. From within a container with the engine's socket nothing is known of it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;

use crate::observation::Host;

/// systemd makes the socket that it starts an engine by.
const SYSTEMD: i32 = 1;
/// Where Docker writes down its process.
const DOCKER_PID: &str = "/run/docker.pid";

/// How long a path may take: one on a file system of another host may never answer.
const PATH_LIMIT: Duration = Duration::from_secs(1);

/// `TCP_LISTEN` of the kernel's `include/net/tcp_states.h`.
const LISTENS: &str = "0A";

/// What is certain of the host of the engine that has this socket.
pub(super) async fn look(socket: &Path, paths: BTreeSet<String>) -> Host {
    let Some(engine) = engine(socket).await else { return Host::default() };
    let mut host = Host::default();
    if engine.shares("net") {
        for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
            let text = tokio::fs::read_to_string(table).await.unwrap_or_default();
            host.listening.extend(listening(&text));
        }
    }
    if engine.shares("mnt") && engine.has_same_root() {
        for path in paths {
            let found = tokio::time::timeout(PATH_LIMIT, tokio::fs::try_exists(&path)).await;
            if matches!(found, Ok(Ok(false))) {
                host.missing.insert(path);
            }
        }
    }
    host
}

/// The engine's process, by its directory in `/proc`.
struct Process(PathBuf);

/// The process that answers at a socket; `None` where it is not to be seen from here.
async fn engine(socket: &Path) -> Option<Process> {
    let stream = tokio::time::timeout(PATH_LIMIT, UnixStream::connect(socket)).await.ok()?.ok()?;
    let mut pid = stream.peer_cred().ok()?.pid()?;
    if pid == SYSTEMD {
        pid = tokio::fs::read_to_string(DOCKER_PID).await.ok()?.trim().parse().ok()?;
    }
    // The kernel says 0 of a process that has no number here.
    (pid > 0).then(|| Process(format!("/proc/{pid}").into()))
}

impl Process {
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

/// The addresses of a table of the kernel at which something listens.
fn listening(table: &str) -> impl Iterator<Item = SocketAddr> {
    table.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, state) = (words.next()?, words.nth(1)?);
        (state == LISTENS).then(|| address(local)).flatten()
    })
}

/// `0100007F:C350`: the address in words of this machine's byte order, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words = ip.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => IpAddr::V4(Ipv4Addr::from(bytes)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn only_what_listens_is_read_from_the_kernel_s_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
                     0: 0100007F:C350 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n\
                     1: 0100007F:C351 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0\n\
                     2: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000\n\
                     3: nonsense:1F90 00000000:0000 0A\n4:\n";
        let found: Vec<String> = listening(table).map(|it| it.to_string()).collect();
        assert_eq!(found, ["127.0.0.1:50000", "[::1]:8080"]);
    }

    #[tokio::test]
    async fn an_engine_that_runs_beside_this_process_has_its_files_and_its_network() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("engine.sock");
        let _engine = tokio::net::UnixListener::bind(&socket).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let host = look(&socket, BTreeSet::from([path("engine.sock"), path("gone")])).await;
        assert_eq!(host.missing, BTreeSet::from([path("gone")]));
        let address = listener.local_addr().unwrap();
        assert!(host.listening.contains(&address), "{address} in {:?}", host.listening);
        drop(listener);
        assert!(!look(&socket, BTreeSet::new()).await.listening.contains(&address));
        let elsewhere = look(&directory.path().join("none.sock"), BTreeSet::from([path("gone")])).await;
        assert_eq!(elsewhere, Host::default());
    }

    #[test]
    fn a_process_with_another_network_is_not_taken_for_one_beside_this() {
        let own = Process("/proc/self".into());
        assert!(own.shares("net") && own.shares("mnt") && own.has_same_root());
        let gone = Process("/proc/0".into());
        assert!(!gone.shares("net") && !gone.shares("mnt") && !gone.has_same_root());
    }
}
