//! The `server-state-file`, from which a reload gives the new worker the states of the old one.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use crate::adapters::regular_file;
use crate::ids::ServerId;
use crate::output_file;

/// The mode of a file that was not there before: `HAProxy` may read it as any user.
const NEW_MODE: u32 = 0o644;

/// Replaces the file in one step, with the owner and the mode that it had.
///
/// Its directory often belongs to the user that `HAProxy` runs as, who must gain nothing by what they prepare there: the
/// temporary file has a random name and is created exclusively, and a symbolic link is replaced, not followed.
///
/// # Errors
/// What the system says. The file is then as it was before.
pub(super) fn replace(path: &Path, states: &str) -> Result<()> {
    let old = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file);
    let mut file =
        tempfile::Builder::new().prefix(".drainswap-").tempfile_in(output_file::directory(path))?;
    file.write_all(states.as_bytes())?;
    if let Some(old) = &old {
        // Only root can give a file away; the group alone is the next best.
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

/// Drops the lines of these servers, so that a reload takes what haproxy.cfg says of them. Where there is no such file
/// there is nothing to drop.
///
/// # Errors
/// What the system says. The file is then as it was before.
pub fn forget(path: &Path, servers: &BTreeSet<ServerId>) -> Result<()> {
    let old = match regular_file::read(path) {
        Ok(old) => String::from_utf8_lossy(&old).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // `be_id be_name srv_id srv_name …`, by the version 1 that HAProxy has written since 1.6.
    let is_of_them = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (backend, server) = (words.nth(1), words.nth(1));
        backend.zip(server).is_some_and(|(backend, server)| servers.contains(&ServerId::new(backend, server)))
    };
    let kept: Vec<&str> = old.lines().filter(|line| !is_of_them(line)).collect();
    if kept.len() == old.lines().count() {
        return Ok(());
    }
    replace(path, &(kept.join("\n") + "\n"))
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
        forget(&path, &servers).unwrap();
        assert!(!path.exists(), "a file that is not there is not made");
        let of = |backend: &str, server: &str| {
            format!("4 {backend} 1 {server} 127.0.0.1 2 0 1 1 9 6 3 4 6 0 0 0 - 80 -\n")
        };
        let head = "1\n# be_id be_name srv_id srv_name srv_addr\n";
        let others = of("mobile", "app1b") + &of("web", "app1");
        fs::write(&path, [head, &of("mobile", "app1"), &others].concat()).unwrap();
        forget(&path, &servers).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), [head, &others].concat());
        let before = path.metadata().unwrap().ino();
        forget(&path, &servers).unwrap();
        assert_eq!(path.metadata().unwrap().ino(), before, "nothing to drop, nothing written");
    }

    #[test]
    fn the_owner_and_the_mode_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        replace(&path, "1\n").unwrap();
        assert_eq!(mode(&path), 0o644);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        // Giving a file away is for root alone.
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
    fn links_that_were_prepared_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, path) = (dir.path().join("victim"), dir.path().join("state"));
        fs::write(&victim, "kept").unwrap();
        // The name of the temporary file could once be known in advance.
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
