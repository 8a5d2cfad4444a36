//! Identifies the HAProxy that runs the configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::process::Command;
use tokio::time::timeout;

use super::contained::Contained;
use super::process::{self, Process, TrustReason, Unidentified, with_trust};
use super::processes::Processes;
use crate::adapters::haproxy::address::SocketAddress;
use crate::adapters::haproxy::reply::Replies;
use crate::adapters::haproxy::socket::{DEADLINE, Endpoint, ExchangeError};
use crate::cfg::Version;

/// How long another host may take to report its version. After that, drainswap assumes the binary's version.
const REMOTE: Duration = Duration::from_secs(2);

/// How long systemd may take to report the service's main process.
const SYSTEMD: Duration = Duration::from_secs(5);

/// A directory that exists if systemd is the init system.
const SYSTEMD_RUNS: &str = "/run/systemd/system";

/// The known facts about the HAProxy that runs the configuration.
#[derive(Clone, Debug, Default)]
pub struct Running {
    /// The version reported at a runtime socket.
    pub version: Option<Version>,
    /// The trusted process that was started with the configuration, and the reason for the trust. It is the master if
    /// there is one.
    pub process: Option<(Process, TrustReason)>,
    /// Why there is no such process, although a HAProxy answers.
    pub unidentified: Option<Unidentified>,
    /// The container that HAProxy runs in, if its files were read there.
    pub container: Option<Contained>,
    /// The users of the processes behind the sockets.
    owners: Vec<(SocketAddress, u32)>,
}

/// The HAProxy that answers at a runtime socket.
struct Identity {
    version: Option<Version>,
    process: Result<(Process, TrustReason), Unidentified>,
}

impl Running {
    /// Finds the HAProxy that reads these files, through the runtime sockets and then through systemd.
    ///
    /// Ignores sockets that do not answer.
    pub async fn find(sockets: &[SocketAddress], files: &[PathBuf], all: &Processes) -> Self {
        let mut running = Self::default();
        let asked = join_all(sockets.iter().map(|socket| identify(socket, all))).await;
        for (socket, identity) in sockets.iter().zip(asked) {
            let Some(Identity { version, process }) = identity else { continue };
            running.version = running.version.or(version);
            let process = process.and_then(|(process, grounds)| {
                running.owners.push((socket.clone(), process.uid));
                if process.invocation.reads(files) {
                    Ok((process, grounds))
                } else {
                    Err(process.other_files())
                }
            });
            match process {
                Ok(found) => running.process = running.process.or(Some(found)),
                Err(reason) => running.unidentified = running.unidentified.or(Some(reason)),
            }
        }
        if running.process.is_none()
            && let Some(main) = main_process().await
        {
            let processes = [main].into_iter().chain(process::children(main));
            let mut found = processes.filter_map(|pid| with_trust(all.get(pid)).ok());
            running.process = found.find(|(process, _)| process.invocation.reads(files));
        }
        if running.process.is_some() {
            running.unidentified = None;
        }
        running
    }

    /// Describes a HAProxy in a container, with the version from the first of its `sockets` that answers.
    pub async fn in_container(contained: Contained, sockets: &[SocketAddress]) -> Self {
        let process = contained.process.clone();
        let mut running = Self {
            owners: sockets.iter().map(|socket| (socket.clone(), process.uid)).collect(),
            process: Some((process, TrustReason::Container)),
            container: Some(contained),
            ..Self::default()
        };
        for socket in sockets {
            let asked = Endpoint::worker(socket.clone()).owned_by(running.owner(socket));
            let Ok(answer) = asked.ask("show info\n", DEADLINE).await else { continue };
            let answer = String::from_utf8_lossy(&answer);
            running.version = Replies::new(&answer).info().ok().and_then(|info| info.version.parse().ok());
            break;
        }
        running
    }

    /// Returns the socket, on this host, of a HAProxy whose files were read in its container.
    #[must_use]
    pub fn contained_socket(&self) -> Option<&SocketAddress> {
        self.container.as_ref()?;
        self.owners.first().map(|(socket, _)| socket)
    }

    /// Returns the user of the HAProxy behind this socket, if its process was identified.
    #[must_use]
    pub fn owner(&self, socket: &SocketAddress) -> Option<u32> {
        self.owners.iter().find(|(known, _)| known == socket).map(|(_, uid)| *uid)
    }
}

/// Identifies the HAProxy at a socket. Returns `None` if there is no answer, or only one of an unexpected user.
async fn identify(socket: &SocketAddress, all: &Processes) -> Option<Identity> {
    // HAProxy replaces its socket at a reload. A missing socket will not appear.
    if let SocketAddress::Unix(path) = socket
        && !path.exists()
    {
        return None;
    }
    let is_remote = matches!(socket, SocketAddress::Tcp { .. });
    let limit = if is_remote { REMOTE } else { DEADLINE };
    let ask = async |owner| Endpoint::worker(socket.clone()).owned_by(owner).ask("show info\n", limit).await;
    let (stranger, answer) = match ask(None).await {
        // The process may still be HAProxy, running as that user, so ask for its PID. Its other answers are not
        // trusted.
        Err(ExchangeError::UntrustedPeer(stranger)) => {
            (Some(stranger.uid), ask(Some(stranger.uid)).await.ok()?)
        }
        answer => (None, answer.ok()?),
    };
    let answer = String::from_utf8_lossy(&answer);
    let info = Replies::new(&answer).info().ok()?;
    let process = if is_remote { Err(Unidentified::Remote) } else { of_worker(info.pid, all) };
    let is_proven = stranger.is_none_or(|uid| process.as_ref().is_ok_and(|(process, _)| process.uid == uid));
    is_proven.then(|| Identity { version: info.version.parse().ok(), process })
}

/// Returns the trusted process: the master, or else the worker. A worker may have dropped root, but root chose the
/// arguments of its master.
fn of_worker(pid: u32, all: &Processes) -> Result<(Process, TrustReason), Unidentified> {
    let worker = all.get(pid)?;
    with_trust(all.get(worker.parent)).or_else(|_| with_trust(Ok(worker)))
}

/// Returns the main process of systemd's HAProxy service.
async fn main_process() -> Option<u32> {
    if !Path::new(SYSTEMD_RUNS).exists() {
        return None;
    }
    let mut command = Command::new("systemctl");
    command.args(["show", "haproxy", "--property=MainPID", "--value"]).kill_on_drop(true);
    let output = timeout(SYSTEMD, command.output()).await.ok()?.ok()?;
    let pid = String::from_utf8_lossy(&output.stdout).trim().parse().ok()?;
    (pid != 0).then_some(pid)
}
