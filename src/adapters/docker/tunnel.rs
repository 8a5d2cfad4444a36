//! An engine behind ssh: one connection of the system's `ssh` carries every call.
//!
//! The connection forwards a socket in a temporary directory to the engine's socket. Keys, jump hosts and ports come
//! from `~/.ssh/config`, as for any other `ssh`. The remote command identifies its host and then waits for the end of
//! its input, so that the connection ends when this process exits, for whatever reason.

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
use crate::model::command_line::shell;
use crate::model::sanitize;

/// The time limit for the login and the greeting.
const OPEN_LIMIT: Duration = Duration::from_secs(20);
/// How long ssh's message about a failed call may lag behind the failure.
const WORDS_LIMIT: Duration = Duration::from_secs(1);
/// The maximum number of bytes kept of ssh's messages.
const WORDS: usize = 8192;
/// The command to run on the remote host. It uses `exec sh` because the login shell may be any shell, and markers
/// because the shell may print other text.
const GREETING: &str = "exec sh -c 'echo \"drainswap-stack $(cat /proc/sys/kernel/random/boot_id) \
     $(readlink /proc/self/ns/net)\"; echo \"drainswap-addresses $(hostname -I)\"; exec cat >/dev/null' 2>/dev/null";

/// The remote end of an ssh connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// `[user@]host`, with the host in the form that `ssh` accepts.
    pub who: String,
    pub port: Option<u16>,
    /// The engine's socket on that host.
    pub socket: PathBuf,
}

/// An open connection; dropping it closes it.
pub(super) struct Tunnel {
    /// The engine's host.
    pub remote: RemoteHost,
    directory: TempDir,
    words: watch::Receiver<String>,
    _input: ChildStdin,
    _ssh: Child,
}

impl Tunnel {
    /// Connects within twenty seconds. The error is the reason, with what to do.
    pub(super) async fn open(to: &Destination) -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("drainswap-").tempdir();
        let directory =
            directory.map_err(|error| format!("cannot create a directory for its socket: {error}"))?;
        let mut ssh = command(to, &socket_in(directory.path())).spawn().map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                "`ssh` is not installed here; install it (openssh-client), or use a tcp:// endpoint"
                    .to_owned()
            } else {
                format!("cannot start `ssh`: {error}")
            }
        })?;
        let pipes = ssh.stdin.take().zip(ssh.stdout.take()).zip(ssh.stderr.take());
        let ((input, output), errors) = pipes.ok_or("`ssh` has no pipes")?;
        let mut words = listen(errors);
        match tokio::time::timeout(OPEN_LIMIT, RemoteHost::read(output)).await {
            Ok(Some(remote)) => Ok(Self { remote, directory, words, _input: input, _ssh: ssh }),
            Ok(None) => {
                // The channel closes once ssh has written all its messages.
                let _ = tokio::time::timeout(WORDS_LIMIT, words.wait_for(|_| false)).await;
                Err(explain(&words.borrow(), to))
            }
            Err(_) => Err(format!("ssh {} did not log in within {} s", to.who, OPEN_LIMIT.as_secs())),
        }
    }

    /// Returns the socket on this host that leads to the engine.
    pub(super) fn socket(&self) -> PathBuf {
        socket_in(self.directory.path())
    }

    /// Returns ssh's message about a failed call, if there is one.
    pub(super) async fn error_output(&self, to: &Destination) -> Option<String> {
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
        // No user is there to answer a prompt.
        "BatchMode=yes",
        "ConnectTimeout=10",
        "ExitOnForwardFailure=yes",
        // A shared connection would outlive this one, or end before it.
        "ControlMaster=no",
        "ControlPath=none",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
        // ssh reports errors at this level.
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
    // Ctrl-C must not reach ssh: a rollback needs the engine.
    command.process_group(0);
    command
}

/// Collects ssh's messages until ssh exits.
fn listen(errors: impl AsyncRead + Unpin + Send + 'static) -> watch::Receiver<String> {
    let (sender, receiver) = watch::channel(String::new());
    tokio::spawn(async move {
        let mut lines = BufReader::new(errors).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let line = sanitize::line(&line);
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

/// Returns the meaning of ssh's messages, with what to do.
fn explain(words: &str, to: &Destination) -> String {
    let Destination { who, socket, .. } = to;
    let socket = socket.display();
    let host = who.rsplit('@').next().unwrap_or(who);
    let has = |text: &str| words.contains(text);
    // sshd writes the reason only to its own log.
    if has("open failed") {
        format!(
            "ssh reaches {host}, but cannot open {socket} there; is Docker installed and running, may this \
             user open the socket (group docker), and does sshd allow it (AllowStreamLocalForwarding)?"
        )
    } else if has("IDENTIFICATION HAS CHANGED") {
        format!(
            "the host key of {host} differs from the one in known_hosts; verify it with the host's administrator, \
             then remove the old key with `{}`",
            shell(&["ssh-keygen", "-R", host])
        )
    } else if has("Host key verification failed") {
        format!(
            "the host key of {host} is unknown; run `{}` once by hand and verify the key",
            shell(&["ssh", who])
        )
    } else if has("Permission denied") {
        format!(
            "{who} accepts no key of this user; `{}` must succeed",
            shell(&["ssh", "-o", "BatchMode=yes", who, "true"])
        )
    } else {
        let last = words.lines().map(str::trim).rfind(|line| !line.is_empty());
        last.map_or_else(
            || format!("ssh {who} exited without a message; the login shell there must be able to run `sh`"),
            |line| format!("ssh says: {line}"),
        )
    }
}

/// The remote host, as its greeting describes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RemoteHost {
    /// The boot ID and the network namespace. They are the same on both sides only if the connection leads back to
    /// this host.
    stack: String,
    addresses: BTreeSet<IpAddr>,
}

impl RemoteHost {
    /// Reads the greeting; `None` if the output ends before it does.
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

    /// Returns whether the addresses of the host are known.
    pub(super) fn is_known(&self) -> bool {
        self.is_here() || !self.addresses.is_empty()
    }

    /// Returns whether an address, as seen from this host, belongs to the remote host. An address that both hosts
    /// have, such as the gateway of Docker's bridge, leads to this host.
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

    async fn far(text: &str) -> Option<RemoteHost> {
        RemoteHost::read(text.as_bytes()).await
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
    fn ssh_s_messages_come_with_what_to_do() {
        let to = Destination { who: "root@e".into(), port: None, socket: "/run/docker.sock".into() };
        let explained = |words: &str| explain(words, &to);
        assert!(
            explained("No ED25519 host key is known\nHost key verification failed.").contains("`ssh root@e`")
        );
        assert!(explained("root@e: Permission denied (publickey).").contains("accepts no key"));
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
