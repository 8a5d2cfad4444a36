//! The lock of a backend, and the process that holds it.
//!
//! The kernel knows the holder of a lock. The line about the holder in the file is only for people to read: if `stop`
//! trusted it, any user who can write the file could make `stop` signal another process.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Result, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::regular_file;

/// Longer than any line about a holder.
const MOST_BYTES: u64 = 4096;

/// A lock that this process holds. The system releases it when the process exits, for whatever reason.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The result of an attempt to take a lock.
pub(super) enum LockAttempt {
    Acquired(Lock),
    /// Another process holds the lock. Carries its description from the file.
    Busy(String),
}

/// The process that holds a lock.
#[derive(Debug)]
pub struct LockHolder {
    pub pid: u32,
    /// The start time, in ticks since boot. PIDs are reused; a PID with a start time is unique.
    pub started: u64,
    /// A pidfd of the process.
    process: OwnedFd,
}

impl LockHolder {
    /// Sends a signal to the process.
    ///
    /// # Errors
    /// Fails with the system's error; the process may have exited.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(pidfd_send_signal(&self.process, signal)?)
    }

    /// Returns whether both are the same process.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (self.pid, self.started) == (other.pid, other.started)
    }
}

/// The holder of a lock.
#[derive(Debug)]
pub enum LockState {
    Free,
    /// A process that drainswap can signal.
    Held(LockHolder),
    /// A process that drainswap cannot see: it belongs to another user, or runs in another container or on another
    /// host. Carries its description from the file.
    Unknown(String),
}

/// Takes a lock, and writes a description of the holder into the file.
///
/// Only the owner may read the file, because a user who can open it for reading can also lock it.
pub(super) fn try_lock(path: &Path, holder: &str) -> Result<LockAttempt> {
    let mut options = OpenOptions::new();
    let opened =
        regular_file::open(options.create(true).truncate(false).read(true).write(true).mode(0o600), path);
    // A file that exists can be locked without writing it, for example on a file system that has become read-only.
    let mut file = opened.or_else(|error| {
        regular_file::open(OpenOptions::new().read(true), path).map_err(|_as_before| error)
    })?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(LockAttempt::Busy(description(&mut file)?)),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Older versions of drainswap created the file readable for all users. This fails for another user's file, which
    // keeps its mode.
    let _not_ours = file.set_permissions(Permissions::from_mode(0o600));
    // Ignores a full disk: the description only helps an operator who finds the lock taken.
    let _not_described =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
    Ok(LockAttempt::Acquired(Lock { _file: file }))
}

/// Returns the process that holds a lock.
pub(super) fn holder(path: &Path) -> Result<LockState> {
    let mut file = match regular_file::open(OpenOptions::new().read(true), path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(LockState::Free),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => return Ok(LockState::Free),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let place = file.metadata().map(|it| (it.dev(), it.ino()))?;
    let found = candidates().into_iter().find_map(|pid| {
        let process = pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()?;
        // Read after the pidfd was opened, so that a PID that was reused in between cannot be mistaken for the holder.
        let started = started(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        holds(pid, place).then_some(LockHolder { pid, started, process })
    });
    Ok(match found {
        Some(holder) => LockState::Held(holder),
        // The holder may have exited during the search.
        None if file.try_lock().is_ok() => LockState::Free,
        None => LockState::Unknown(description(&mut file)?),
    })
}

fn description(file: &mut File) -> Result<String> {
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Returns the PIDs of all processes that hold an exclusive `flock` on any file.
///
/// On some file systems `/proc/locks` and `stat` report different devices for a file, so the caller inspects the open
/// files of each process instead.
fn candidates() -> BTreeSet<u32> {
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    // `1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`; the line of a waiting process has an arrow as its second word.
    let held = locks.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, ..] = words[..] else { return None };
        pid.parse().ok()
    });
    held.collect()
}

/// Returns whether the process has this file open and locked.
fn holds(pid: u32, place: (u64, u64)) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|entry| {
        let is_it = std::fs::metadata(entry.path()).is_ok_and(|it| (it.dev(), it.ino()) == place);
        let number = entry.file_name();
        is_it
            && std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", number.to_string_lossy())).is_ok_and(
                |info| info.lines().any(|line| line.starts_with("lock:") && line.contains("FLOCK")),
            )
    })
}

/// Returns the start time of a process from its `/proc/PID/stat`: the 22nd field. The second field is a name in
/// parentheses, which may contain any characters.
fn started(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(path: &Path) -> Option<u32> {
        match holder(path).unwrap() {
            LockState::Held(holder) => Some(holder.pid),
            LockState::Free => None,
            LockState::Unknown(text) => panic!("{text}"),
        }
    }

    #[test]
    fn the_kernel_knows_the_holder_whatever_the_file_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert_eq!(held(&path), None);
        let LockAttempt::Acquired(lock) = try_lock(&path, "process 1 of user root").unwrap() else {
            panic!("it is free")
        };
        assert_eq!(held(&path), Some(std::process::id()));
        let LockAttempt::Busy(holder) = try_lock(&path, "").unwrap() else { panic!("it is taken") };
        assert_eq!(holder, "process 1 of user root");
        drop(lock);
        assert_eq!(held(&path), None);
    }

    #[test]
    fn a_lock_file_that_cannot_be_written_is_still_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::copy("/bin/sleep", &path).unwrap();
        // The file of a running program cannot be written, not even by root.
        let mut running = std::process::Command::new(&path).arg("60").spawn().unwrap();
        let LockAttempt::Acquired(lock) = try_lock(&path, "").unwrap() else { panic!("it is free") };
        assert!(matches!(try_lock(&path, "").unwrap(), LockAttempt::Busy(_)));
        drop(lock);
        running.kill().and_then(|()| running.wait()).unwrap();
        assert!(try_lock(&dir.path().join("missing/lock"), "").is_err());
    }

    #[test]
    fn a_process_is_the_same_only_if_it_was_started_at_the_same_moment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let _lock = try_lock(&path, "").unwrap();
        let [LockState::Held(one), LockState::Held(other)] = [holder(&path).unwrap(), holder(&path).unwrap()]
        else {
            panic!("this process holds it")
        };
        assert!(one.is(&other));
        assert!(!one.is(&LockHolder { started: other.started + 1, ..other }));
    }

    #[test]
    fn only_the_owner_may_read_a_lock_file_even_an_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let _lock = try_lock(&path, "").unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_name_with_parentheses_hides_no_field() {
        let stat = "4711 (a) b) S 1 4711 4711 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 1 0 987654 1000 10";
        assert_eq!(started(stat), Some(987_654));
        assert_eq!(started("4711 (a"), None);
    }
}
