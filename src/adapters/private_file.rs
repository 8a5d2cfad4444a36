//! A file that only its owner may read, written whole or not at all.

use std::fs::File;
use std::io::{Error, Result, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use super::bounded;
use crate::output_file;

/// No file that drainswap has written is longer.
const MOST_BYTES: u64 = 64 << 20;

/// Writes it, with mode 0600, for the owner of the file that was there, or else of its directory. A reader finds what was
/// there before, or all of this; a symbolic link stays one.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // A device in whose place a file is put is a device less.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(Error::other("it is there, and no file"));
    }
    let directory = output_file::directory(&path);
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    output_file::give(file.as_file(), if path.exists() { &path } else { directory })?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    File::open(directory)?.sync_all()
}

/// Reads it, or standard input where it is called `-`.
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
    fn nobody_else_may_read_it_and_links_stay() {
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
    fn what_is_no_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(dir.path(), b"").is_err());
        // As a device is, and nobody else needs it.
        let socket = dir.path().join("socket");
        let _listens = UnixListener::bind(&socket).unwrap();
        assert!(write(&socket, b"").unwrap_err().to_string().contains("no file"));
        assert!(!socket.metadata().unwrap().is_file());
        assert!(write(Path::new("/nowhere/plan.json"), b"").is_err());
    }
}
