//! Files below the root of a container, which may be crafted to harm the reader.
//!
//! No link leads out of the root, only regular files are opened, and the amount read is limited. drainswap writes and
//! executes nothing there.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};

use super::bounded;
use super::config_files::{self, UnreadableConfig};
use crate::cfg::SourceFile;
use crate::model::sanitize;

/// The maximum size of all files of a configuration together, in bytes.
const MOST_BYTES: u64 = 64 << 20;
/// The maximum number of entries in all directories of a configuration together.
const MOST_ENTRIES: usize = 10_000;

/// The root directory of a container.
#[derive(Debug)]
pub struct ContainerRoot(OwnedFd);

/// An existing file or directory; drainswap may still lack the right to open it.
pub struct RootEntry {
    /// The path below the root, with all links resolved.
    pub path: PathBuf,
    /// The device and inode, which are the same wherever the file is mounted.
    pub identity: (u64, u64),
    kind: FileType,
    handle: OwnedFd,
}

impl ContainerRoot {
    /// Opens the root directory of a process.
    ///
    /// # Errors
    /// Fails with the system's error if drainswap may not access it.
    pub fn of(pid: u32) -> Result<Self> {
        Self::at(Path::new(&format!("/proc/{pid}/root")))
    }

    pub(super) fn at(path: &Path) -> Result<Self> {
        Ok(Self(openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
    }

    /// Finds the file or directory at a path, as a process in the container would.
    ///
    /// # Errors
    /// Fails with the system's error.
    pub fn find(&self, path: &Path) -> Result<RootEntry> {
        // `O_PATH` does not open the file yet: opening a pipe may block forever, and opening a device may trigger it.
        let handle = self.open(path, OFlags::PATH)?;
        let stat = fstat(&handle)?;
        Ok(RootEntry {
            path: std::fs::read_link(by_handle(&handle))?,
            identity: (stat.st_dev, stat.st_ino),
            kind: FileType::from_raw_mode(stat.st_mode),
            handle,
        })
    }

    /// Reads these files and directories, as [`config_files::read`] does on the host.
    ///
    /// # Errors
    /// Returns the path that cannot be read, and the reason.
    pub fn read(&self, paths: &[PathBuf]) -> std::result::Result<Vec<SourceFile>, UnreadableConfig> {
        let mut files = Vec::new();
        let (mut left, mut entries) = (MOST_BYTES, 0);
        for path in paths {
            let unreadable =
                |error: Error| UnreadableConfig { path: sanitize::path(path), reason: error.to_string() };
            for file in self.list(path, &mut entries).map_err(unreadable)? {
                let bytes = self.find(&file).and_then(|found| found.read(left)).map_err(unreadable)?;
                left -= bytes.len() as u64;
                files.push(SourceFile { path: sanitize::path(&file).into(), bytes });
            }
        }
        Ok(files)
    }

    /// Returns the file itself, or the files in the directory that HAProxy reads. Adds the number of entries to
    /// `entries`.
    fn list(&self, path: &Path, entries: &mut usize) -> Result<Vec<PathBuf>> {
        let mut count = || {
            *entries += 1;
            if *entries <= MOST_ENTRIES {
                Ok(())
            } else {
                Err(Error::other(format!("there are more than {MOST_ENTRIES} files")))
            }
        };
        if self.find(path)?.kind != FileType::Directory {
            count()?;
            return Ok(vec![path.to_owned()]);
        }
        let mut files = Vec::new();
        for entry in Dir::read_from(self.open(path, OFlags::DIRECTORY | OFlags::NONBLOCK)?)? {
            count()?;
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if config_files::is_read(&name.to_string_lossy()) {
                files.push(path.join(name));
            }
        }
        files.retain(|file| self.find(file).is_ok_and(|found| found.is_file()));
        files.sort();
        Ok(files)
    }
}

impl RootEntry {
    fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    fn read(&self, most_bytes: u64) -> Result<Vec<u8>> {
        if !self.is_file() {
            return Err(Error::other("it is not a regular file"));
        }
        // Reopens the same file, even if the path now leads to another one. NONBLOCK avoids waiting for a lease that
        // the container holds on it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(CWD, by_handle(&self.handle), flags, Mode::empty())?;
        bounded::read(File::from(file), most_bytes)
    }
}

fn by_handle(handle: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", handle.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, write};
    use std::os::unix::fs::symlink;

    use rustix::fs::mknodat;

    use super::*;

    /// Creates a root with files, in a directory that nothing in the root may lead to.
    fn root() -> (tempfile::TempDir, PathBuf, ContainerRoot) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        create_dir(&root).unwrap();
        create_dir(root.join("etc")).unwrap();
        write(directory.path().join("secret"), "of the host").unwrap();
        write(root.join("secret"), "of the container").unwrap();
        let opened = ContainerRoot::at(&root).unwrap();
        (directory, root, opened)
    }

    fn text(root: &ContainerRoot, path: &str) -> Result<String> {
        root.find(Path::new(path))?.read(100).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_link_stays_below_the_root() {
        let (directory, path, root) = root();
        for (name, target) in [
            ("absolute", "/secret".to_owned()),
            ("up", "../../../../../secret".to_owned()),
            ("host", directory.path().join("secret").display().to_string()),
            ("magic", format!("/proc/self/fd/{}", root.0.as_raw_fd())),
        ] {
            symlink(target, path.join("etc").join(name)).unwrap();
        }
        symlink("/..", path.join("out")).unwrap();
        for name in ["/etc/absolute", "/etc/up", "/../secret", "/out/secret"] {
            assert_eq!(text(&root, name).unwrap(), "of the container", "{name}");
        }
        assert!(text(&root, "/etc/host").is_err() && text(&root, "/etc/magic").is_err());
        // The same in a root that contains the host's `/proc`.
        let system = ContainerRoot::at(Path::new("/")).unwrap();
        assert!(system.find(Path::new("/proc/self/root/etc")).is_err());
    }

    #[test]
    fn only_regular_files_are_read_and_only_as_far_as_they_may_be_long() {
        let (_directory, path, root) = root();
        mknodat(CWD, path.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        symlink("/pipe", path.join("to-pipe")).unwrap();
        for name in ["/pipe", "/to-pipe", "/etc"] {
            assert_eq!(text(&root, name).unwrap_err().to_string(), "it is not a regular file", "{name}");
        }
        File::create(path.join("huge")).unwrap().set_len(MOST_BYTES + 1).unwrap();
        let error = root.read(&["/huge".into()]).unwrap_err().to_string();
        assert!(error.starts_with("cannot read /huge: it is longer than "), "{error}");
        // The limit applies to all files together.
        File::create(path.join("half.cfg")).unwrap().set_len(MOST_BYTES / 2 + 1).unwrap();
        assert!(root.read(&["/half.cfg".into(), "/half.cfg".into()]).is_err());
        write(path.join("empty.cfg"), "").unwrap();
        let many = vec!["/empty.cfg".into(); MOST_ENTRIES + 1];
        assert!(root.read(&many[1..]).is_ok());
        let error = root.read(&many).unwrap_err().to_string();
        assert!(error.contains("there are more than 10000 files"), "{error}");
    }

    #[test]
    fn a_directory_is_read_as_haproxy_reads_it() {
        let (_directory, path, root) = root();
        for name in ["20.cfg", "10.cfg", ".hidden.cfg", "readme", "30\nerror: .cfg"] {
            write(path.join("etc").join(name), name).unwrap();
        }
        symlink("/nowhere", path.join("etc/dangling.cfg")).unwrap();
        mknodat(CWD, path.join("etc/pipe.cfg"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let files = root.read(&["/etc".into(), "/secret".into()]).unwrap();
        let paths: Vec<_> = files.iter().map(|file| file.path.display().to_string()).collect();
        assert_eq!(paths, ["/etc/10.cfg", "/etc/20.cfg", "/etc/30\u{fffd}error: .cfg", "/secret"]);
    }

    #[test]
    fn a_found_file_has_its_real_path() {
        let (_directory, path, root) = root();
        symlink("etc", path.join("conf")).unwrap();
        write(path.join("etc/h.cfg"), "").unwrap();
        let real = |name: &str| root.find(Path::new(name)).unwrap();
        assert_eq!(real("/conf/h.cfg").path, path.canonicalize().unwrap().join("etc/h.cfg"));
        assert_eq!(real("/conf/h.cfg").identity, real("/etc/h.cfg").identity);
    }
}
