//! The lock of a backend, and the process that holds it.
//!
//! The kernel says who holds a lock. What the file says of its holder is for people, and anybody who could write it could
//! make `stop` signal another process.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Result, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::regular_file;

/// More than any line about a holder.
const MOST_BYTES: u64 = 4096;

/// A lock that this process holds. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Whether a lock could be taken.
pub(super) enum Taken {
    /// It is held from now on.
    Held(Lock),
    /// Another process holds it; this is what it says of itself.
    Busy(String),
}

/// The process that holds a lock.
#[derive(Debug)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// When it was started, in ticks since the machine was: a number is given again, with this it is not.
    pub started: u64,
    /// Refers to this very process.
    process: OwnedFd,
}

impl Holder {
    /// Sends it a signal.
    ///
    /// # Errors
    /// What the system says; it may have ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(pidfd_send_signal(&self.process, signal)?)
    }

    /// Whether this is the same process.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (self.pid, self.started) == (other.pid, other.started)
    }
}

/// Who holds a lock.
#[derive(Debug)]
pub enum HeldBy {
    /// Nobody.
    Nobody,
    /// A process that can be signalled.
    Process(Holder),
    /// A process that cannot be seen from here: another user's, in another container or on another host. This is what it
    /// says of itself.
    Unseen(String),
}

/// Takes a lock, and says in the file who has it. Only its owner may read the file: a lock can be taken by reading.
pub(super) fn take(path: &Path, holder: &str) -> Result<Taken> {
    let mut options = OpenOptions::new();
    let mut file =
        regular_file::open(options.create(true).truncate(false).read(true).write(true).mode(0o600), path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Taken::Busy(told(&mut file)?)),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // An older drainswap let everybody read it. Another user's file is left as it is.
    let _not_ours = file.set_permissions(Permissions::from_mode(0o600));
    // On a full disk as well: only an operator who comes second misses it.
    let _untold =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
    Ok(Taken::Held(Lock { _file: file }))
}

/// Returns who holds a lock.
pub(super) fn holder(path: &Path) -> Result<HeldBy> {
    let mut file = match regular_file::open(OpenOptions::new().read(true), path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HeldBy::Nobody),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => return Ok(HeldBy::Nobody),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let place = file.metadata().map(|it| (it.dev(), it.ino()))?;
    let found = candidates().into_iter().find_map(|pid| {
        let process = pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()?;
        // Looked at after the process is referred to: a number that was given again meanwhile is no mistake.
        let started = started(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        holds(pid, place).then_some(Holder { pid, started, process })
    });
    Ok(match found {
        Some(holder) => HeldBy::Process(holder),
        // It may have ended while it was looked for.
        None if file.try_lock().is_ok() => HeldBy::Nobody,
        None => HeldBy::Unseen(told(&mut file)?),
    })
}

fn told(file: &mut File) -> Result<String> {
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// The processes that hold a lock of this kind somewhere. `/proc/locks` names the file by another device than `stat` on
/// some file systems, so that each process is asked for itself.
fn candidates() -> BTreeSet<u32> {
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    // `1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`; one that waits has an arrow in its second word.
    let held = locks.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, ..] = words[..] else { return None };
        pid.parse().ok()
    });
    held.collect()
}

/// Whether the process has this file open and locked.
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

/// When the process was started, from its `/proc/PID/stat`: the 22nd field. The second one is a name in parentheses, which
/// may hold anything.
fn started(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(path: &Path) -> Option<u32> {
        match holder(path).unwrap() {
            HeldBy::Process(holder) => Some(holder.pid),
            HeldBy::Nobody => None,
            HeldBy::Unseen(text) => panic!("{text}"),
        }
    }

    #[test]
    fn the_kernel_says_who_holds_it_whatever_the_file_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert_eq!(held(&path), None);
        let Taken::Held(lock) = take(&path, "process 1 of user root").unwrap() else { panic!("it is free") };
        assert_eq!(held(&path), Some(std::process::id()));
        let Taken::Busy(told) = take(&path, "").unwrap() else { panic!("it is taken") };
        assert_eq!(told, "process 1 of user root");
        drop(lock);
        assert_eq!(held(&path), None);
    }

    #[test]
    fn a_process_is_the_same_only_if_it_was_started_at_the_same_moment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let _lock = take(&path, "").unwrap();
        let [HeldBy::Process(one), HeldBy::Process(other)] = [holder(&path).unwrap(), holder(&path).unwrap()]
        else {
            panic!("this process holds it")
        };
        assert!(one.is(&other));
        assert!(!one.is(&Holder { started: other.started + 1, ..other }));
    }

    #[test]
    fn nobody_else_may_read_a_lock_file_an_older_one_included() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let _lock = take(&path, "").unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_name_with_parentheses_hides_no_field() {
        let stat = "4711 (a) b) S 1 4711 4711 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 1 0 987654 1000 10";
        assert_eq!(started(stat), Some(987_654));
        assert_eq!(started("4711 (a"), None);
    }
}
