//! The `server-state-file`, from which a new worker takes the server states at a reload.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::reply::Replies;
use crate::adapters::regular_file;
use crate::model::ids::ServerId;
use crate::model::sanitize;
use crate::observation::{AdminBits, AdminState};
use crate::output_file;

/// The mode of a new file: HAProxy may read it as any user.
const NEW_MODE: u32 = 0o644;

/// Replaces the file in one step, and keeps its owner and mode.
///
/// Its directory often belongs to the user that HAProxy runs as, who must gain nothing by preparing files there: the
/// temporary file has a random name and is created exclusively, and a symbolic link is replaced instead of followed.
///
/// # Errors
/// Fails with the system's error. The file is then unchanged.
pub(super) fn replace(path: &Path, states: &str) -> Result<()> {
    let old = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file);
    let mut file =
        tempfile::Builder::new().prefix(".drainswap-").tempfile_in(output_file::directory(path))?;
    file.write_all(states.as_bytes())?;
    if let Some(old) = &old {
        // Only root can change the owner; without root, keep at least the group.
        fchown(file.as_file(), Some(old.uid()), Some(old.gid()))
            .or_else(|_| fchown(file.as_file(), None, Some(old.gid())))
            .unwrap_or_default();
    }
    let mode = old.map_or(NEW_MODE, |old| old.mode() & 0o777);
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    // Without this, a crash could leave an empty file under the name.
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A state file whose lines were removed, with its old content.
#[must_use]
#[derive(Debug)]
pub struct DroppedLines {
    path: PathBuf,
    before: String,
    after: String,
}

impl DroppedLines {
    /// Restores the removed lines, unless the file was rewritten since.
    ///
    /// # Errors
    /// Fails with the system's error. The file is then unchanged.
    pub fn restore(self) -> Result<()> {
        if read(&self.path)?.is_some_and(|now| now == self.after) {
            replace(&self.path, &self.before)
        } else {
            Ok(())
        }
    }
}

/// Removes the lines of these servers, so that a reload uses their settings from haproxy.cfg. Returns `None` if there
/// is no such file or no such line.
///
/// # Errors
/// Fails with the system's error. The file is then unchanged.
pub fn drop_lines(path: &Path, servers: &BTreeSet<ServerId>) -> Result<Option<DroppedLines>> {
    let Some(before) = read(path)? else { return Ok(None) };
    // `be_id be_name srv_id srv_name …`, in format version 1, which HAProxy has written since 1.6.
    let is_of_them = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (backend, server) = (words.nth(1), words.nth(1));
        backend.zip(server).is_some_and(|(backend, server)| servers.contains(&ServerId::new(backend, server)))
    };
    let after: String = before.split_inclusive('\n').filter(|line| !is_of_them(line)).collect();
    if after == before {
        return Ok(None);
    }
    replace(path, &after)?;
    Ok(Some(DroppedLines { path: path.to_owned(), before, after }))
}

fn read(path: &Path) -> Result<Option<String>> {
    match regular_file::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the part of an answer to `show servers state` that is safe to load at any later reload: settings, but not
/// momentary states. Measured on 2.2, 2.6 and 3.4:
///
/// - A server that is down (0) in the file gets no requests after a reload until its check passes; without a check it
///   never gets any. A server that is starting (1) is up until its first check fails, as without a file. Servers that
///   drainswap set down until their check passes (`unproven`) stay down.
/// - A server in maintenance because of `disabled` on its line is in maintenance without the file too. If the line no
///   longer has `disabled`, the file would keep the server down.
pub(super) fn persistent_states(states: &str, unproven: &BTreeSet<ServerId>) -> String {
    const DOWN: &str = "0";
    const STARTING: &str = "1";
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        let [_, backend, _, server, _, operational, admin, ..] = words.as_mut_slice() else {
            return Some(line.to_owned());
        };
        let Ok(admin) = admin.parse().map(AdminBits) else { return Some(line.to_owned()) };
        let is_in_maint = admin.state() == AdminState::Maint;
        if is_in_maint && admin.is_disabled_by_its_line() {
            return None;
        }
        if *operational == DOWN && !is_in_maint && !unproven.contains(&ServerId::new(*backend, *server)) {
            *operational = STARTING;
        }
        Some(words.join(" "))
    };
    states.split_inclusive('\n').filter_map(line).collect()
}

/// Reads the states from a `server-state-file`, which contains an answer to `show servers state`.
///
/// Returns `None` if it cannot be read.
#[must_use]
pub fn saved_states_in(file: &Path) -> Option<BTreeMap<ServerId, AdminState>> {
    saved_states(&std::fs::read(file).ok()?)
}

/// Reads the states from the content of a `server-state-file`.
#[must_use]
pub fn saved_states(bytes: &[u8]) -> Option<BTreeMap<ServerId, AdminState>> {
    let text = format!("{}\n\n", sanitize::lines(bytes).trim_end());
    let rows = Replies::new(&text).servers_state().ok()?;
    Some(rows.into_iter().map(|row| (row.id, row.admin.state())).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn only_the_lines_of_these_servers_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let servers = BTreeSet::from([ServerId::new("mobile", "app1")]);
        assert!(drop_lines(&path, &servers).unwrap().is_none());
        assert!(!path.exists(), "a missing file is not created");
        let of = |backend: &str, server: &str| {
            format!("4 {backend} 1 {server} 127.0.0.1 2 0 1 1 9 6 3 4 6 0 0 0 - 80 -\n")
        };
        let head = "1\n# be_id be_name srv_id srv_name srv_addr\n";
        let others = of("mobile", "app1b") + &of("web", "app1");
        let whole = [head, &of("mobile", "app1"), &others].concat();
        fs::write(&path, &whole).unwrap();
        let text = || fs::read_to_string(&path).unwrap();
        let forgotten = drop_lines(&path, &servers).unwrap().unwrap();
        assert_eq!(text(), [head, &others].concat());
        let before = path.metadata().unwrap().ino();
        assert!(drop_lines(&path, &servers).unwrap().is_none());
        assert_eq!(path.metadata().unwrap().ino(), before, "nothing to remove, nothing written");
        forgotten.restore().unwrap();
        assert_eq!(text(), whole);
        let forgotten = drop_lines(&path, &servers).unwrap().unwrap();
        fs::write(&path, head).unwrap();
        forgotten.restore().unwrap();
        assert_eq!(text(), head, "the file was rewritten since");
    }

    #[test]
    fn only_settings_last() {
        let head = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight\n";
        let of = |server: &str, operational: u32, admin: u32| {
            format!("4 mobile 1 {server} 127.0.0.1 {operational} {admin} 1 1 9 6 3 4 6 0 0 0 - 80 -\n")
        };
        let unproven = BTreeSet::from([ServerId::new("mobile", "unproven")]);
        let kept = |server, operational, admin| {
            let states = [head, &of(server, operational, admin), &of("last", 2, 0), "\n"].concat();
            let lasting = persistent_states(&states, &unproven);
            let rest = lasting.strip_prefix(head).and_then(|it| it.strip_suffix("\n").map(str::to_owned));
            let rest = rest.and_then(|it| it.strip_suffix(&of("last", 2, 0)).map(str::to_owned));
            rest.expect("the rest stays")
        };
        for same in [("up", 2, 0), ("up", 2, 8), ("maint", 0, 1), ("unproven", 0, 0), ("unproven", 0, 8)] {
            assert_eq!(kept(same.0, same.1, same.2), of(same.0, same.1, same.2));
        }
        assert_eq!(kept("down", 0, 0), of("down", 1, 0));
        assert_eq!(kept("down", 0, 8), of("down", 1, 8));
        assert_eq!(kept("written", 0, 5), "");
        assert_eq!(kept("in use", 2, 4), of("in use", 2, 4));
    }

    #[test]
    fn the_owner_and_the_mode_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        replace(&path, "1\n").unwrap();
        assert_eq!(mode(&path), 0o644);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        // Only root can change the owner of a file.
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(&path, Some(4_321), Some(4_322)).unwrap();
        }
        replace(&path, "2\n").unwrap();
        let now = path.metadata().unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("2\n", 0o640));
        assert!(!is_root || (now.uid(), now.gid()) == (4_321, 4_322));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn prepared_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, path) = (dir.path().join("victim"), dir.path().join("state"));
        fs::write(&victim, "kept").unwrap();
        // An attacker could once predict the name of the temporary file.
        let guessed = path.with_extension(format!("drainswap-{}", std::process::id()));
        for link in [&path, &guessed] {
            symlink(&victim, link).unwrap();
        }
        replace(&path, "1\n").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        assert!(path.symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }

    #[test]
    fn a_directory_that_is_gone_is_an_error() {
        assert!(replace(Path::new("/nonexistent/state"), "1\n").is_err());
    }
}
