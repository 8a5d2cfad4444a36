//! Files of the state directory: only regular files, and never through a symbolic link.

use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::bounded;

/// Far longer than any journal or events file, in bytes.
const MOST_BYTES: u64 = 256 << 20;

/// Opens a file with these options.
///
/// # Errors
/// Fails with the system's error, and if the path is a symbolic link, a device, a pipe or a directory.
pub(super) fn open(options: &mut OpenOptions, path: &Path) -> Result<File> {
    // Without NONBLOCK, opening a pipe that another user placed there would block the process forever.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(Error::other("it is not a regular file")) }
}

/// Reads a whole file of at most 256 MiB.
///
/// # Errors
/// Fails as [`open`] does, and for a longer file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    bounded::read(open(OpenOptions::new().read(true), path)?, MOST_BYTES)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        symlink(path("file"), path("link")).unwrap();
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(read(&path("file")).unwrap(), b"text");
        assert!(read(&path("link")).is_err());
        assert_eq!(read(&path("pipe")).unwrap_err().to_string(), "it is not a regular file");
        assert!(open(OpenOptions::new().append(true), &path("pipe")).is_err());
        assert!(read(dir.path()).is_err());
    }
}
