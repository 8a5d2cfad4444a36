//! Reads a process from `/proc`, and decides whether drainswap may trust it as the local HAProxy.
//!
//! Every user can start a process named haproxy with haproxy.cfg among its arguments. drainswap uses the information
//! from a process with the rights of its caller, which often are root's.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::super::{bounded, root_only};
use super::invocation::Invocation;
use crate::model::ids::ContainerId;

/// Variables that HAProxy sets for itself when it re-executes itself.
const OF_ITS_OWN: &[&str] =
    &["HAPROXY_MWORKER", "HAPROXY_LOAD_SUCCESS", "HAPROXY_PROCESSES", "LISTEN_", "NOTIFY_SOCKET"];

/// Variables that decide which code a program runs. drainswap never takes them from another process.
const OF_THE_LOADER: &str = "LD_";
const OF_THE_SHELL: &str = "PATH";

/// The maximum size of HAProxy's arguments, or of its environment, in bytes. A process can declare any part of its
/// memory as these.
const MOST_BYTES: u64 = 256 << 10;

/// The properties of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// The PID of the parent.
    pub parent: u32,
    /// The real user ID.
    pub uid: u32,
    pub invocation: Invocation,
    /// The container that its control group is named after. This proves nothing, because every user can name a control
    /// group.
    pub container: Option<ContainerId>,
    /// Whether it is in the network namespace of drainswap.
    pub shares_network: bool,
    /// Whether it is in the PID and mount namespaces of drainswap.
    is_here: bool,
    /// Its mount namespace.
    mounts: PathBuf,
    binary: PathBuf,
    /// Whether only root can change the binary.
    has_roots_binary: bool,
    environment: BTreeMap<String, String>,
}

/// The reasons to trust a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustReason {
    /// It belongs to root or to the caller, who chose its arguments.
    Owner,
    /// It belongs to another user, but only root can change its binary. That user chose its arguments, directory and
    /// environment, so drainswap only uses them for reading and never executes anything with them.
    Binary,
    /// It runs in a container that an engine from the settings lists. Its arguments are trusted as for
    /// [`Self::Binary`], and its paths belong to the container.
    Container,
}

/// The reasons not to trust a process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// No process has this PID, or it is another program: HAProxy runs in a container or on another host.
    #[error("process {pid} of this host is not HAProxy")]
    NoHaproxy { pid: u32 },
    #[error("this user may not read process {pid}")]
    Hidden { pid: u32 },
    #[error("process {pid} runs in other namespaces, as in a container or a systemd sandbox")]
    Elsewhere { pid: u32 },
    #[error(
        "process {pid} belongs to uid {uid}, and its binary {binary:?} can be changed by users other than root"
    )]
    Untrusted { pid: u32, uid: u32, binary: PathBuf },
    #[error("process {pid} was started with other files: `{arguments}`")]
    OtherFiles {
        pid: u32,
        /// The arguments, with control characters escaped.
        arguments: String,
    },
    /// The socket may belong to another host.
    #[error("a TCP socket does not show which process listens")]
    Remote,
}

impl Process {
    /// Reads the properties of a process named haproxy.
    ///
    /// # Errors
    /// Fails if there is none, or the caller may not read it.
    pub fn read(pid: u32) -> Result<Self, Unidentified> {
        // The open directory refers to the same process, even if its PID is reused.
        let gone = |_| Unidentified::NoHaproxy { pid };
        let directory = File::open(format!("/proc/{pid}")).map_err(gone)?;
        let proc = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        let text = |name: &str| std::fs::read_to_string(proc.join(name)).unwrap_or_default();
        if !text("comm").starts_with("haproxy") {
            return Err(Unidentified::NoHaproxy { pid });
        }
        let status = text("status");
        let number = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        };
        let (parent, uid) = (number("PPid:"), number("Uid:"));
        // A process that has just exited has no binary and no namespaces any more.
        let hidden_or_gone = |error: std::io::Error| {
            let is_hidden = error.kind() == ErrorKind::PermissionDenied;
            if is_hidden { Unidentified::Hidden { pid } } else { Unidentified::NoHaproxy { pid } }
        };
        let link = |name: &str| std::fs::read_link(proc.join(name)).map_err(hidden_or_gone);
        let file = |name: &str| File::open(proc.join(name));
        let bytes =
            |name: &str| file(name).and_then(|it| bounded::read(it, MOST_BYTES)).map_err(hidden_or_gone);
        let own = |name: &str| std::fs::read_link(Path::new("/proc/self/ns").join(name)).ok();
        let mounts = link("ns/mnt")?;
        let is_here = own("pid") == Some(link("ns/pid")?) && own("mnt").as_ref() == Some(&mounts);
        // The path of a replaced binary ends with ` (deleted)`; the link still leads to the running one.
        let binary = PathBuf::from(OsStr::from_bytes(without_deleted(link("exe")?.as_os_str().as_bytes())));
        let file = proc.join("exe").metadata().map_err(hidden_or_gone)?;
        let words = nul_separated(&bytes("cmdline")?);
        let arguments = words.get(1..).unwrap_or_default();
        let variables = nul_separated(&bytes("environ")?);
        let environment = variables.iter().filter_map(|variable| variable.split_once('='));
        Ok(Self {
            pid,
            parent: parent.ok_or(Unidentified::NoHaproxy { pid })?,
            uid: uid.ok_or(Unidentified::NoHaproxy { pid })?,
            invocation: Invocation::new(arguments, link("cwd")?),
            container: container_in(&text("cgroup"))
                .filter(|id| container_of_drainswap().as_ref() != Some(id)),
            shares_network: own("net") == Some(link("ns/net")?),
            is_here,
            mounts,
            has_roots_binary: root_only::is_root_only(&file, &binary),
            binary,
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        })
    }

    /// Returns why this caller may trust the process.
    ///
    /// The caller must already know that it is the process behind the runtime socket or the service.
    ///
    /// # Errors
    /// Returns the reason why the process is not trusted.
    pub fn trust_reason(&self, caller: u32) -> Result<TrustReason, Unidentified> {
        if self.is_here { self.trusted(caller) } else { Err(Unidentified::Elsewhere { pid: self.pid }) }
    }

    /// Like [`Self::trust_reason`], for a process that uses the files of this host, even in another mount namespace.
    pub(super) fn trusted(&self, caller: u32) -> Result<TrustReason, Unidentified> {
        let pid = self.pid;
        if self.uid == 0 || self.uid == caller {
            return Ok(TrustReason::Owner);
        }
        if self.has_roots_binary && self.is_called_haproxy() {
            return Ok(TrustReason::Binary);
        }
        Err(Unidentified::Untrusted { pid, uid: self.uid, binary: self.binary.clone() })
    }

    /// Returns whether it is in the PID and mount namespaces of drainswap.
    pub(super) fn is_here(&self) -> bool {
        self.is_here
    }

    /// Returns whether another process is in the same mount namespace.
    pub(super) fn has_mounts_of(&self, pid: u32) -> bool {
        std::fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|mounts| mounts == self.mounts)
    }

    /// Returns whether both run in the same container.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        self.mounts == other.mounts
    }

    /// Returns whether it is a trusted HAProxy of this host that reads these files.
    #[must_use]
    pub fn reads_here(&self, files: &[PathBuf]) -> bool {
        let counts = self.trust_reason(rustix::process::getuid().as_raw()).is_ok();
        counts && self.invocation.reads(files)
    }

    /// Returns the error that this process reads other files.
    pub(super) fn other_files(&self) -> Unidentified {
        let arguments = self.invocation.arguments.join(" ").escape_debug().to_string();
        Unidentified::OtherFiles { pid: self.pid, arguments }
    }

    /// Returns whether the binary is named haproxy. A process can choose its own name, but not that of its binary.
    pub(super) fn is_called_haproxy(&self) -> bool {
        self.binary.file_name().is_some_and(|name| name.as_bytes().starts_with(b"haproxy"))
    }

    /// Returns the variables for reading HAProxy's configuration, starting from those of the caller.
    ///
    /// Variables that the configuration refers to have their value from the process; if the process does not have one,
    /// it is unset.
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

/// Returns the process, if this caller may trust it, with the reason for the trust.
pub(super) fn with_trust(
    process: Result<Process, Unidentified>,
) -> Result<(Process, TrustReason), Unidentified> {
    let process = process?;
    let grounds = process.trust_reason(rustix::process::getuid().as_raw())?;
    Ok((process, grounds))
}

/// Returns the PIDs of the children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Returns the PIDs of a process and its ancestors, starting with itself.
pub fn ancestry(pid: u32) -> impl Iterator<Item = u32> {
    let parent = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?;
        (parent != 0).then_some(parent)
    };
    std::iter::successors(Some(pid), parent)
}

/// Returns the container that drainswap itself runs in.
fn container_of_drainswap() -> Option<ContainerId> {
    container_in(&std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
}

/// Returns the container that a control group is named after: `/docker/ID`, `docker-ID.scope`,
/// `libpod-ID.scope/container`.
fn container_in(cgroup: &str) -> Option<ContainerId> {
    let is_id = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut words = cgroup.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.rfind(is_id).map(|id| ContainerId(id.to_owned()))
}

/// Returns the PIDs of all processes.
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
pub(super) mod tests {
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
    fn a_process_is_trusted_for_its_owner_or_its_binary() {
        let grounds = |uid, binary, is_roots| process(uid, binary, is_roots).trust_reason(CALLER);
        for owner in [0, CALLER] {
            assert_eq!(grounds(owner, "/home/me/haproxy", false), Ok(TrustReason::Owner));
        }
        assert_eq!(grounds(NOBODY, "/usr/sbin/haproxy", true), Ok(TrustReason::Binary));
        let untrusted =
            |binary: &str| Err(Unidentified::Untrusted { pid: 12, uid: NOBODY, binary: binary.into() });
        assert_eq!(grounds(NOBODY, "/tmp/haproxy", false), untrusted("/tmp/haproxy"));
        // Any program can name its process haproxy.
        assert_eq!(grounds(NOBODY, "/usr/bin/python3", true), untrusted("/usr/bin/python3"));
    }

    /// Starts a process named haproxy that exits when its input ends.
    pub(in super::super) fn haproxy(directory: &Path) -> std::process::Child {
        let binary = directory.join("haproxy");
        std::fs::copy("/bin/cat", &binary).unwrap();
        let child = std::process::Command::new(&binary).stdin(std::process::Stdio::piped()).spawn().unwrap();
        // The kernel lets the parent go on before the process has its name and its arguments.
        let of_child = |name: &str| std::fs::read(format!("/proc/{}/{name}", child.id())).unwrap();
        while of_child("comm") != b"haproxy\n" || of_child("cmdline").is_empty() {
            std::thread::yield_now();
        }
        child
    }

    /// A process without namespaces would otherwise pass as a local HAProxy that may read any file.
    #[test]
    fn a_process_that_has_just_exited_is_not_haproxy() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = haproxy(directory.path());
        let pid = child.id();
        drop(child.stdin.take());
        // It has exited once it has no binary, and remains a zombie until its parent waits for it.
        while std::fs::read_link(format!("/proc/{pid}/exe")).is_ok() {
            std::thread::yield_now();
        }
        assert_eq!(Process::read(pid), Err(Unidentified::NoHaproxy { pid }));
        child.wait().unwrap();
        assert_eq!(Process::read(pid), Err(Unidentified::NoHaproxy { pid }));
    }

    #[test]
    fn a_process_in_other_namespaces_is_never_trusted() {
        let contained = Process { is_here: false, ..process(0, "/usr/sbin/haproxy", true) };
        assert_eq!(contained.trust_reason(0), Err(Unidentified::Elsewhere { pid: 12 }));
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
    fn other_programs_are_not_read() {
        let this = std::process::id();
        assert_eq!(Process::read(this), Err(Unidentified::NoHaproxy { pid: this }));
        assert_eq!(Process::read(u32::MAX), Err(Unidentified::NoHaproxy { pid: u32::MAX }));
    }

    #[test]
    fn the_container_is_read_from_the_control_group() {
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
    fn the_path_of_a_replaced_binary_is_restored() {
        assert_eq!(without_deleted(b"/usr/sbin/haproxy (deleted)"), b"/usr/sbin/haproxy");
        assert_eq!(without_deleted(b"/usr/sbin/haproxy"), b"/usr/sbin/haproxy");
    }
}
