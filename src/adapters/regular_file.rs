//! Files of the state directory: regular ones, that are not reached through a symbolic link.

use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::bounded;

/// No journal, and no file of events, comes near this length in bytes.
const MOST_BYTES: u64 = 256 << 20;

/// Opens a file as these options say.
///
/// # Errors
/// What the system says, also where the name is a symbolic link or leads to a device, a pipe or a directory.
pub(super) fn open(options: &mut OpenOptions, path: &Path) -> Result<File> {
    // Without NONBLOCK, a pipe that somebody put there would hold the process up for ever.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(Error::other("it is not a regular file")) }
}

/// Reads a whole file, of 256 MiB at most.
///
/// # Errors
/// As [`open`], and for a longer file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    bounded::read(open(OpenOptions::new().read(true), path)?, MOST_BYTES)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
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
