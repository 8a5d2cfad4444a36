//! Writes files for other programs: events, test results, variables, a page.
//!
//! Only the owner of its directory can read a new file, even if root writes it. An existing file keeps its owner and
//! mode, so its creator decides about its readers.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// The number of attempts for a file that appears and disappears at the same moment.
const TRIES: usize = 3;

/// Opens a file for appending.
pub fn append(path: &Path) -> Result<File> {
    open(path, OpenOptions::new().append(true))
}

/// Writes a file, replacing its contents.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    open(path, OpenOptions::new().write(true).truncate(true))?.write_all(bytes)
}

fn open(path: &Path, options: &OpenOptions) -> Result<File> {
    for _ in 0..TRIES {
        match options.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return opened,
        }
        match options.clone().truncate(false).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.and_then(|file| give(&file, directory(path)).map(|()| file)),
        }
    }
    Err(Error::other("symbolic link to a file that does not exist"))
}

/// Gives a new file to the owner of its directory, or of the file that it replaces. Only root can do so; for any other
/// user the file keeps its owner.
pub fn give(file: &File, to_owner_of: &Path) -> Result<()> {
    let owner = to_owner_of.metadata()?.uid();
    let made = file.metadata()?.uid();
    if made == owner || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    fchown(file, Some(owner), None)
}

/// Returns the directory of a file.
#[must_use]
pub fn directory(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    /// Returns the owner, mode and text of a file.
    fn of(path: &Path) -> (u32, u32, String) {
        let found = path.metadata().unwrap();
        (found.uid(), found.mode() & 0o7777, std::fs::read_to_string(path).unwrap())
    }

    #[test]
    fn only_the_owner_of_its_directory_can_read_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        // Only root can change the owner of a directory.
        let owner = if chown(dir.path(), Some(4711), None).is_ok() {
            4711
        } else {
            dir.path().metadata().unwrap().uid()
        };
        let [events, page] = ["events", "page"].map(|name| dir.path().join(name));
        append(&events).unwrap().write_all(b"a").unwrap();
        append(&events).unwrap().write_all(b"b").unwrap();
        write(&page, b"longer").unwrap();
        write(&page, b"page").unwrap();
        assert_eq!(of(&events), (owner, 0o600, "ab".to_owned()));
        assert_eq!(of(&page), (owner, 0o600, "page".to_owned()));
    }

    #[test]
    fn an_existing_file_keeps_its_owner_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let owner =
            if chown(&file, Some(4711), None).is_ok() { 4711 } else { file.metadata().unwrap().uid() };
        symlink(&file, &link).unwrap();
        append(&link).unwrap().write_all(b"er").unwrap();
        assert_eq!(of(&file), (owner, 0o644, "older".to_owned()));
        write(&link, b"new").unwrap();
        assert_eq!(of(&file), (owner, 0o644, "new".to_owned()));
        // No file is created at the target of an existing link.
        std::fs::remove_file(&file).unwrap();
        assert!(write(&link, b"x").unwrap_err().to_string().contains("symbolic link") && !file.exists());
    }
}
