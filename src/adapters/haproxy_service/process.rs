//! A process as `/proc` shows it, and whether it counts as the HAProxy that runs here.
//!
//! Every user can start a process that is called haproxy, with haproxy.cfg among its arguments. What drainswap takes from
//! a process it uses with its caller's rights, which often are root's.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use super::super::{bounded, root_alone};
use super::invocation::Invocation;
use crate::ids::ContainerId;

/// What HAProxy sets for itself when it executes itself anew.
const OF_ITS_OWN: &[&str] =
    &["HAPROXY_MWORKER", "HAPROXY_LOAD_SUCCESS", "HAPROXY_PROCESSES", "LISTEN_", "NOTIFY_SOCKET"];

/// What decides which code a program runs, and so is never taken from another process.
const OF_THE_LOADER: &str = "LD_";
const OF_THE_SHELL: &str = "PATH";

/// What HAProxy has for arguments, or for an environment, at most. A process may say that any part of its memory is that.
const MOST_BYTES: u64 = 256 << 10;

/// A process that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// The user who runs it: its real one.
    pub uid: u32,
    /// How it was started.
    pub invocation: Invocation,
    /// The container that its control group is named after. Every user can name a group, so that it proves nothing.
    pub container: Option<ContainerId>,
    /// Whether it sees the network that drainswap sees.
    pub shares_network: bool,
    /// Whether it sees the processes and the files that drainswap sees.
    is_here: bool,
    /// The mounts that it sees.
    mounts: PathBuf,
    /// Where its binary is.
    binary: PathBuf,
    /// Whether root alone can change the binary.
    has_roots_binary: bool,
    environment: BTreeMap<String, String>,
}

/// Why a process counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// It is root's or the caller's own: what it was started with is theirs.
    Owner,
    /// It is another user's, with a binary that only root can change. That user chose its arguments, directory and
    /// environment: drainswap reads with them, and executes nothing with them.
    Binary,
    /// It runs in a container that an engine of the settings lists. What it was started with counts as for [`Self::Binary`],
    /// and its paths are the container's.
    Container,
}

/// Why a process does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncounted {
    /// There is none of this number, or it is another program: HAProxy runs in a container or on another host.
    #[error("process {pid} of this host is no HAProxy")]
    NoHaproxy {
        /// Its number.
        pid: u32,
    },
    /// The caller has no right to look at it.
    #[error("this user may not look at process {pid}")]
    Hidden {
        /// Its number.
        pid: u32,
    },
    /// It sees other processes or other files.
    #[error("process {pid} runs in other namespaces, as in a container or a sandbox of systemd")]
    Elsewhere {
        /// Its number.
        pid: u32,
    },
    /// It is another user's, and so may its binary be.
    #[error("process {pid} belongs to uid {uid}, and others than root can change its binary {binary:?}")]
    Untrusted {
        /// Its number.
        pid: u32,
        /// Whose it is.
        uid: u32,
        /// Its binary.
        binary: PathBuf,
    },
    /// It was started with other files.
    #[error("process {pid} was started with other files: `{arguments}`")]
    OtherFiles {
        /// Its number.
        pid: u32,
        /// Its arguments, without control characters.
        arguments: String,
    },
    /// The socket is one of another host, or may be.
    #[error("a TCP socket does not tell which process listens")]
    Remote,
}

impl Process {
    /// Looks at a process that is called haproxy.
    ///
    /// # Errors
    /// Where there is none, or the caller may not look at it.
    pub fn read(pid: u32) -> Result<Self, Uncounted> {
        // Whatever is read below this is the same process's, even if the number is given to another one.
        let gone = |_| Uncounted::NoHaproxy { pid };
        let directory = File::open(format!("/proc/{pid}")).map_err(gone)?;
        let proc = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        let text = |name: &str| std::fs::read_to_string(proc.join(name)).unwrap_or_default();
        if !text("comm").starts_with("haproxy") {
            return Err(Uncounted::NoHaproxy { pid });
        }
        let status = text("status");
        let number = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        };
        let (parent, uid) = (number("PPid:"), number("Uid:"));
        // One that has just ended has no binary and no namespaces any more.
        let hidden_or_gone = |error: std::io::Error| {
            let is_hidden = error.kind() == ErrorKind::PermissionDenied;
            if is_hidden { Uncounted::Hidden { pid } } else { Uncounted::NoHaproxy { pid } }
        };
        let link = |name: &str| std::fs::read_link(proc.join(name)).map_err(hidden_or_gone);
        let file = |name: &str| File::open(proc.join(name));
        let bytes =
            |name: &str| file(name).and_then(|it| bounded::read(it, MOST_BYTES)).map_err(hidden_or_gone);
        let own = |name: &str| std::fs::read_link(Path::new("/proc/self/ns").join(name)).ok();
        let mounts = link("ns/mnt")?;
        let is_here = own("pid") == Some(link("ns/pid")?) && own("mnt").as_ref() == Some(&mounts);
        // A binary that was replaced is `… (deleted)`; the link still leads to what runs.
        let binary = PathBuf::from(OsStr::from_bytes(without_deleted(link("exe")?.as_os_str().as_bytes())));
        let file = proc.join("exe").metadata().map_err(hidden_or_gone)?;
        let words = nul_separated(&bytes("cmdline")?);
        let arguments = words.get(1..).unwrap_or_default();
        let variables = nul_separated(&bytes("environ")?);
        let environment = variables.iter().filter_map(|variable| variable.split_once('='));
        Ok(Self {
            pid,
            parent: parent.ok_or(Uncounted::NoHaproxy { pid })?,
            uid: uid.ok_or(Uncounted::NoHaproxy { pid })?,
            invocation: Invocation::new(arguments, link("cwd")?),
            container: container_in(&text("cgroup"))
                .filter(|id| container_of_drainswap().as_ref() != Some(id)),
            shares_network: own("net") == Some(link("ns/net")?),
            is_here,
            mounts,
            has_roots_binary: root_alone::is_roots(&file, &binary),
            binary,
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        })
    }

    /// Whether it counts for this caller. That it is the process behind the runtime socket or the service is for the
    /// caller to know.
    ///
    /// # Errors
    /// Why it does not.
    pub fn grounds(&self, caller: u32) -> Result<Grounds, Uncounted> {
        if self.is_here { self.trusted(caller) } else { Err(Uncounted::Elsewhere { pid: self.pid }) }
    }

    /// The same for one that sees the files that drainswap sees, if need be through mounts of its own.
    pub(super) fn trusted(&self, caller: u32) -> Result<Grounds, Uncounted> {
        let pid = self.pid;
        if self.uid == 0 || self.uid == caller {
            return Ok(Grounds::Owner);
        }
        if self.has_roots_binary && self.is_called_haproxy() {
            return Ok(Grounds::Binary);
        }
        Err(Uncounted::Untrusted { pid, uid: self.uid, binary: self.binary.clone() })
    }

    /// Whether it sees the processes and the files that drainswap sees.
    pub(super) fn is_here(&self) -> bool {
        self.is_here
    }

    /// Whether another process sees the same mounts.
    pub(super) fn has_mounts_of(&self, pid: u32) -> bool {
        std::fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|mounts| mounts == self.mounts)
    }

    /// Whether it lives in the same container as another one.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        self.mounts == other.mounts
    }

    /// Whether it is a HAProxy of this host that reads these files.
    #[must_use]
    pub fn reads_here(&self, files: &[PathBuf]) -> bool {
        let counts = self.grounds(rustix::process::getuid().as_raw()).is_ok();
        counts && self.invocation.reads(files)
    }

    /// That it reads other files than those that were named.
    pub(super) fn other_files(&self) -> Uncounted {
        let arguments = self.invocation.arguments.join(" ").escape_debug().to_string();
        Uncounted::OtherFiles { pid: self.pid, arguments }
    }

    /// A process chooses the name that it is known by, but not that of its binary.
    pub(super) fn is_called_haproxy(&self) -> bool {
        self.binary.file_name().is_some_and(|name| name.as_bytes().starts_with(b"haproxy"))
    }

    /// What HAProxy may read with these variables of the caller's: those that its configuration names have the values
    /// that the process has for them, and none where it has none.
    #[must_use]
    pub fn variables(
        &self,
        of_the_caller: BTreeMap<String, String>,
        is_named: impl Fn(&str) -> bool,
    ) -> BTreeMap<String, String> {
        let is_taken = |name: &str| {
            is_named(name)
                && !name.starts_with(OF_THE_LOADER)
                && name != OF_THE_SHELL
                && !OF_ITS_OWN.iter().any(|own| name.starts_with(own))
        };
        let mut variables = of_the_caller;
        variables.retain(|name, _| !is_taken(name));
        let taken = self.environment.iter().filter(|(name, _)| is_taken(name));
        variables.extend(taken.map(|(name, value)| (name.clone(), value.clone())));
        variables
    }
}

/// The HAProxy process that listens at a socket of this host. None is known after a reload: the system keeps the one that
/// began to listen.
pub async fn listening_at(socket: &Path) -> Option<Process> {
    let stream = UnixStream::connect(socket).await.ok()?;
    let pid = stream.peer_cred().ok()?.pid()?;
    Process::read(u32::try_from(pid).ok()?).ok()
}

/// The processes that one has started.
pub fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// A process and those that have started it, itself first.
pub fn ancestry(pid: u32) -> impl Iterator<Item = u32> {
    let parent = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?;
        (parent != 0).then_some(parent)
    };
    std::iter::successors(Some(pid), parent)
}

/// The container that drainswap itself is in.
fn container_of_drainswap() -> Option<ContainerId> {
    container_in(&std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
}

/// The container that a control group is named after: `/docker/ID`, `docker-ID.scope`, `libpod-ID.scope/container`.
fn container_in(cgroup: &str) -> Option<ContainerId> {
    let is_id = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut words = cgroup.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.rfind(is_id).map(|id| ContainerId(id.to_owned()))
}

/// All HAProxy processes that the caller may look at.
pub fn all_haproxys() -> impl Iterator<Item = Process> {
    all().into_iter().filter_map(|pid| Process::read(pid).ok())
}

/// All processes.
pub fn all() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

fn without_deleted(path: &[u8]) -> &[u8] {
    path.strip_suffix(b" (deleted)").unwrap_or(path)
}

fn nul_separated(bytes: &[u8]) -> Vec<String> {
    let words =
        bytes.split(|byte| *byte == 0).map(|word| OsStr::from_bytes(word).to_string_lossy().into_owned());
    words.filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: u32 = 65534;
    const CALLER: u32 = 1000;

    fn process(uid: u32, binary: &str, has_roots_binary: bool) -> Process {
        Process {
            pid: 12,
            parent: 1,
            uid,
            invocation: Invocation::new(&[], "/".into()),
            container: None,
            shares_network: true,
            is_here: true,
            mounts: PathBuf::new(),
            binary: binary.into(),
            has_roots_binary,
            environment: [
                ("STAGE", "live"),
                ("LD_PRELOAD", "/tmp/x.so"),
                ("PATH", "/tmp"),
                ("HAPROXY_MWORKER", "1"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        }
    }

    #[test]
    fn a_process_counts_by_its_owner_or_by_its_binary() {
        let grounds = |uid, binary, is_roots| process(uid, binary, is_roots).grounds(CALLER);
        for owner in [0, CALLER] {
            assert_eq!(grounds(owner, "/home/me/haproxy", false), Ok(Grounds::Owner));
        }
        assert_eq!(grounds(NOBODY, "/usr/sbin/haproxy", true), Ok(Grounds::Binary));
        let untrusted =
            |binary: &str| Err(Uncounted::Untrusted { pid: 12, uid: NOBODY, binary: binary.into() });
        assert_eq!(grounds(NOBODY, "/tmp/haproxy", false), untrusted("/tmp/haproxy"));
        // Any program can call its process haproxy.
        assert_eq!(grounds(NOBODY, "/usr/bin/python3", true), untrusted("/usr/bin/python3"));
    }

    /// A process that is called haproxy, and ends with its input.
    fn haproxy(directory: &Path) -> std::process::Child {
        let binary = directory.join("haproxy");
        std::fs::copy("/bin/cat", &binary).unwrap();
        std::process::Command::new(&binary).stdin(std::process::Stdio::piped()).spawn().unwrap()
    }

    /// It would pass for a HAProxy of this host that may read any file.
    #[test]
    fn a_process_that_has_just_ended_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = haproxy(directory.path());
        let pid = child.id();
        drop(child.stdin.take());
        // It has ended as soon as it has no binary, and is there until its parent has asked for its end.
        while std::fs::read_link(format!("/proc/{pid}/exe")).is_ok() {
            std::thread::yield_now();
        }
        assert_eq!(Process::read(pid), Err(Uncounted::NoHaproxy { pid }));
        child.wait().unwrap();
        assert_eq!(Process::read(pid), Err(Uncounted::NoHaproxy { pid }));
    }

    #[test]
    fn a_process_elsewhere_never_counts() {
        let contained = Process { is_here: false, ..process(0, "/usr/sbin/haproxy", true) };
        assert_eq!(contained.grounds(0), Err(Uncounted::Elsewhere { pid: 12 }));
    }

    #[test]
    fn only_variables_that_the_configuration_names_are_taken() {
        let of_the_caller = [("PATH", "/bin"), ("STAGE", "mine"), ("UNSET_THERE", "x"), ("HOME", "/root")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let named = ["STAGE", "UNSET_THERE", "LD_PRELOAD", "PATH", "HAPROXY_MWORKER"];
        let found = process(0, "", true).variables(of_the_caller.into(), |name| named.contains(&name));
        let expected = [("HOME", "/root"), ("PATH", "/bin"), ("STAGE", "live")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, expected.into());
        let none = process(0, "", true).variables(BTreeMap::new(), |_| false);
        assert_eq!(none, BTreeMap::new());
    }

    #[test]
    fn what_is_no_haproxy_is_not_looked_at() {
        let this = std::process::id();
        assert_eq!(Process::read(this), Err(Uncounted::NoHaproxy { pid: this }));
        assert_eq!(Process::read(u32::MAX), Err(Uncounted::NoHaproxy { pid: u32::MAX }));
    }

    #[test]
    fn a_container_is_known_by_the_control_group() {
        let id = "0123456789abcdef".repeat(4);
        let other = "f".repeat(64);
        for group in [
            format!("9:name=systemd:/docker/{id}\n0::/docker/{id}\n"),
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("0::/user.slice/user-1000.slice/libpod-{id}.scope/container\n"),
            format!("0::/docker/{other}/docker/{id}\n"),
        ] {
            assert_eq!(container_in(&group), Some(ContainerId(id.clone())), "{group}");
        }
        assert_eq!(container_in("0::/system.slice/haproxy.service\n"), None);
        assert_eq!(container_in(&format!("0::/docker/{id}0\n")), None);
    }

    #[test]
    fn the_ancestry_ends_with_the_first_process() {
        let this = std::process::id();
        let all: Vec<u32> = ancestry(this).collect();
        assert_eq!((all[0], all[1]), (this, std::os::unix::process::parent_id()));
        assert_eq!(ancestry(u32::MAX).collect::<Vec<_>>(), [u32::MAX]);
    }

    #[test]
    fn a_binary_that_was_replaced_is_found_by_its_path() {
        assert_eq!(without_deleted(b"/usr/sbin/haproxy (deleted)"), b"/usr/sbin/haproxy");
        assert_eq!(without_deleted(b"/usr/sbin/haproxy"), b"/usr/sbin/haproxy");
    }
}
