//! An engine behind ssh: one connection of the system's `ssh` carries every call.
//!
//! It forwards a socket in a directory of ours to the engine's. Whose keys, which jump host, which port: that is
//! `~/.ssh/config`'s business, as for any other `ssh`. The far side tells who it is and then waits for the end of
//! its input, so that the connection ends with this process, however that ends.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

use super::hosts;
use crate::command_line::shell;
use crate::foreign;

/// How long the far side may take to let us in and to tell who it is.
const OPEN_LIMIT: Duration = Duration::from_secs(20);
/// How long ssh's own words about a failed call may lag behind the failure.
const WORDS_LIMIT: Duration = Duration::from_secs(1);
/// The most that is kept of what ssh says.
const WORDS: usize = 8192;
/// What the far side runs. `exec sh` because the login shell may be any; the marks because it may print more.
const GREETING: &str = "exec sh -c 'echo \"drainswap-stack $(cat /proc/sys/kernel/random/boot_id) \
     $(readlink /proc/self/ns/net)\"; echo \"drainswap-addresses $(hostname -I)\"; exec cat >/dev/null' 2>/dev/null";

/// The far end of an ssh connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// `[user@]host`, the host as `ssh` understands it.
    pub who: String,
    /// The port, where it is given.
    pub port: Option<u16>,
    /// The engine's socket there.
    pub socket: PathBuf,
}

/// An open connection; dropping it ends it.
pub(super) struct Tunnel {
    /// The host that the engine is on.
    pub far: FarSide,
    directory: TempDir,
    words: watch::Receiver<String>,
    _input: ChildStdin,
    _ssh: Child,
}

impl Tunnel {
    /// Connects, within twenty seconds. The error is the reason, with what to do.
    pub(super) async fn open(to: &Destination) -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("drainswap-").tempdir();
        let directory = directory.map_err(|error| format!("no directory for its socket: {error}"))?;
        let mut ssh = command(to, &socket_in(directory.path())).spawn().map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                "there is no `ssh` here; install it (openssh-client), or give a tcp:// endpoint".to_owned()
            } else {
                format!("`ssh` cannot be started: {error}")
            }
        })?;
        let pipes = ssh.stdin.take().zip(ssh.stdout.take()).zip(ssh.stderr.take());
        let ((input, output), errors) = pipes.ok_or("`ssh` has no pipes")?;
        let mut words = listen(errors);
        match tokio::time::timeout(OPEN_LIMIT, FarSide::read(output)).await {
            Ok(Some(far)) => Ok(Self { far, directory, words, _input: input, _ssh: ssh }),
            Ok(None) => {
                // The sender goes when ssh has said everything.
                let _ = tokio::time::timeout(WORDS_LIMIT, words.wait_for(|_| false)).await;
                Err(explain(&words.borrow(), to))
            }
            Err(_) => Err(format!("ssh {} did not let us in within {} s", to.who, OPEN_LIMIT.as_secs())),
        }
    }

    /// The socket on this host that leads to the engine.
    pub(super) fn socket(&self) -> PathBuf {
        socket_in(self.directory.path())
    }

    /// What ssh says about a call that did not come through, if it says something.
    pub(super) async fn complaint(&self, to: &Destination) -> Option<String> {
        let mut words = self.words.clone();
        let said = tokio::time::timeout(WORDS_LIMIT, words.wait_for(|text| !text.trim().is_empty())).await;
        said.ok()?.ok().map(|text| explain(&text, to))
    }
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("engine.sock")
}

fn command(to: &Destination, local: &Path) -> Command {
    let mut command = Command::new("ssh");
    command.arg("-T");
    for option in [
        // Nobody is there to answer a question.
        "BatchMode=yes",
        "ConnectTimeout=10",
        "ExitOnForwardFailure=yes",
        // A connection that others share would outlive ours, or end before it.
        "ControlMaster=no",
        "ControlPath=none",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
        // What goes wrong is told at this level.
        "LogLevel=INFO",
    ] {
        command.arg("-o").arg(option);
    }
    if let Some(port) = to.port {
        command.arg("-p").arg(port.to_string());
    }
    command.arg("-L").arg(format!("{}:{}", local.display(), to.socket.display()));
    command.arg("--").arg(&to.who).arg(GREETING);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // Ctrl-C is for us: the way back needs the engine.
    command.process_group(0);
    command
}

/// Collects what ssh says, to its end.
fn listen(errors: impl AsyncRead + Unpin + Send + 'static) -> watch::Receiver<String> {
    let (sender, receiver) = watch::channel(String::new());
    tokio::spawn(async move {
        let mut lines = BufReader::new(errors).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let line = foreign::line(&line);
            tracing::debug!("ssh: {line}");
            sender.send_if_modified(|text| {
                let has_room = text.len() + line.len() < WORDS;
                if has_room {
                    text.push_str(&line);
                    text.push('\n');
                }
                has_room
            });
        }
    });
    receiver
}

/// What ssh's words amount to, and what to do about it.
fn explain(words: &str, to: &Destination) -> String {
    let Destination { who, socket, .. } = to;
    let socket = socket.display();
    let host = who.rsplit('@').next().unwrap_or(who);
    let has = |text: &str| words.contains(text);
    // sshd tells its log why, not us.
    if has("open failed") {
        format!(
            "ssh comes to {host}, but {socket} cannot be opened there; is Docker installed and running, may this \
             user open the socket (group docker), and does sshd allow it (AllowStreamLocalForwarding)?"
        )
    } else if has("IDENTIFICATION HAS CHANGED") {
        format!(
            "{host} shows another host key than known_hosts has; ask who runs it, then remove the old key with \
             `{}`",
            shell(&["ssh-keygen", "-R", host])
        )
    } else if has("Host key verification failed") {
        format!(
            "the host key of {host} is not known; run `{}` once by hand and compare it",
            shell(&["ssh", who])
        )
    } else if has("Permission denied") {
        format!(
            "{who} takes no key of this user; `{}` must succeed",
            shell(&["ssh", "-o", "BatchMode=yes", who, "true"])
        )
    } else {
        let last = words.lines().map(str::trim).rfind(|line| !line.is_empty());
        last.map_or_else(
            || format!("ssh {who} ended without a word; a shell there must run `sh`"),
            |line| format!("ssh says: {line}"),
        )
    }
}

/// The host at the other end, as it tells itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FarSide {
    /// The boot and the network namespace: the same on both sides only if the connection came back to this host.
    stack: String,
    addresses: BTreeSet<IpAddr>,
}

impl FarSide {
    /// Reads the greeting; `None` where the output ends before it does.
    async fn read(output: impl AsyncRead + Unpin) -> Option<Self> {
        let mut lines = BufReader::new(output).lines();
        let mut stack = String::new();
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(text) = line.strip_prefix("drainswap-stack") {
                text.trim().clone_into(&mut stack);
            } else if let Some(text) = line.strip_prefix("drainswap-addresses") {
                let addresses = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
                return Some(Self { stack, addresses });
            }
        }
        None
    }

    /// Whether its addresses can be told at all.
    pub(super) fn is_known(&self) -> bool {
        self.is_here() || !self.addresses.is_empty()
    }

    /// Whether an address, as this host would reach it, is the far host's. One that is this host's too, as the
    /// gateway of Docker's bridge is everywhere, leads to this host.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        match (self.is_here(), hosts::is_own(address)) {
            (true, own) => own,
            (false, own) => !own && self.addresses.contains(&address),
        }
    }

    fn is_here(&self) -> bool {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let network = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
        !boot.is_empty() && self.stack == format!("{} {}", boot.trim(), network.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn far(text: &str) -> Option<FarSide> {
        FarSide::read(text.as_bytes()).await
    }

    #[tokio::test]
    async fn the_far_host_s_addresses_are_its_own_and_this_host_s_are_not() {
        let text =
            "Welcome!\ndrainswap-stack 1-2 net:[3]\ndrainswap-addresses 192.0.2.7 127.0.0.9 fd00::7 \n";
        let far_side = far(text).await.unwrap();
        let has = |text: &str| far_side.has(text.parse().unwrap());
        assert!(has("192.0.2.7") && has("fd00::7") && far_side.is_known());
        assert!(!has("192.0.2.8") && !has("127.0.0.9") && !has("127.0.0.1"));
        assert_eq!(far("Welcome!\n").await, None);
        assert!(!far("drainswap-stack\ndrainswap-addresses\n").await.unwrap().is_known());
    }

    #[test]
    fn what_ssh_says_comes_with_what_to_do() {
        let to = Destination { who: "root@e".into(), port: None, socket: "/run/docker.sock".into() };
        let explained = |words: &str| explain(words, &to);
        assert!(
            explained("No ED25519 host key is known\nHost key verification failed.").contains("`ssh root@e`")
        );
        assert!(explained("root@e: Permission denied (publickey).").contains("takes no key"));
        assert!(
            explained("channel 2: open failed: connect failed: open failed").contains("/run/docker.sock")
        );
        assert!(explained("WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!").contains("ssh-keygen -R e"));
        assert_eq!(
            explained("ssh: Could not resolve hostname e\n"),
            "ssh says: ssh: Could not resolve hostname e"
        );
    }
}
