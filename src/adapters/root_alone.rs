//! Whether root alone can change a program.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Of a file or directory: who owns it, and who may write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permissions.
    pub mode: u32,
}

impl From<&Metadata> for Access {
    fn from(metadata: &Metadata) -> Self {
        Self { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() }
    }
}

impl Access {
    /// Whether root alone can write it: the file itself, or what is in the directory. A sticky bit makes no difference:
    /// everybody can put something into `/tmp`.
    #[must_use]
    pub fn is_roots(self) -> bool {
        let (by_group, by_all) = (self.mode & 0o020 != 0, self.mode & 0o002 != 0);
        self.uid == 0 && !by_all && (self.gid == 0 || !by_group)
    }
}

/// Whether root alone can write this file, which lies at this path, and every directory above it. What cannot be looked
/// at is not root's.
#[must_use]
pub fn is_roots(file: &Metadata, path: &Path) -> bool {
    let above = || path.ancestors().skip(1);
    let is_roots = |path: &Path| path.metadata().is_ok_and(|directory| Access::from(&directory).is_roots());
    path.is_absolute() && Access::from(file).is_roots() && above().all(is_roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_alone_may_write() {
        let access = |uid, gid, mode| Access { uid, gid, mode }.is_roots();
        assert!(access(0, 0, 0o755) && access(0, 7, 0o755) && access(0, 0, 0o4755));
        assert!(access(0, 0, 0o775), "the group is root's own");
        assert!(!access(0, 7, 0o775), "another group may write");
        assert!(!access(0, 0, 0o757) && !access(0, 0, 0o1777), "everybody may write");
        assert!(!access(7, 0, 0o555), "its owner may give himself the right");
    }

    #[test]
    fn every_directory_above_counts() {
        let shell = Path::new("/bin/sh").canonicalize().unwrap();
        assert!(is_roots(&shell.metadata().unwrap(), &shell), "{}", shell.display());
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("haproxy");
        std::fs::copy(&shell, &copy).unwrap();
        assert!(!is_roots(&copy.metadata().unwrap(), &copy), "everybody can write /tmp");
        assert!(!is_roots(&shell.metadata().unwrap(), Path::new("sh")), "a path from nowhere");
    }
}
