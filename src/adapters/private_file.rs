//! A file that only its owner may read, written completely or not at all.

use std::fs::File;
use std::io::{Error, Result, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use super::bounded;
use crate::output_file;

/// Longer than any file that drainswap writes.
const MOST_BYTES: u64 = 64 << 20;

/// Writes the file with mode 0600. It belongs to the owner of the file that it replaces, or else of its directory.
///
/// A reader finds the old content or all of the new. A symbolic link stays a link.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // Replacing a device by a file would destroy the device.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(Error::other("it exists and is not a regular file"));
    }
    let directory = output_file::directory(&path);
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    output_file::give(file.as_file(), if path.exists() { &path } else { directory })?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    File::open(directory)?.sync_all()
}

/// Reads the file, or standard input if the path is `-`.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        bounded::read(std::io::stdin(), MOST_BYTES)
    } else {
        bounded::read(File::open(path)?, MOST_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_the_owner_may_read_it_and_links_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("plan.json"), dir.path().join("link"));
        std::fs::write(&file, "older").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&file, &link).unwrap();
        write(&link, b"newer").unwrap();
        assert!(link.is_symlink());
        assert_eq!((read(&file).unwrap(), read(&link).unwrap()), (b"newer".to_vec(), b"newer".to_vec()));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn anything_but_a_regular_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(dir.path(), b"").is_err());
        // A socket takes the place of a device here: it is not a regular file either, and no other program uses it.
        let socket = dir.path().join("socket");
        let _listens = UnixListener::bind(&socket).unwrap();
        assert!(write(&socket, b"").unwrap_err().to_string().contains("not a regular file"));
        assert!(!socket.metadata().unwrap().is_file());
        assert!(write(Path::new("/nowhere/plan.json"), b"").is_err());
    }
}
