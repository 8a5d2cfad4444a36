//! The owner of a file or directory, and the rights to write it.

/// The bits of the mode that let the group, and everyone, write.
const GROUP: u32 = 0o020;
const EVERYONE: u32 = 0o002;

/// The bit that lets only the owner of a file remove it from a directory.
const STICKY: u32 = 0o1000;

/// The owner, the group and the mode of a file or directory; for a symbolic link, those of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

impl Entry {
    /// Returns whether the users of its group may write it.
    #[must_use]
    pub fn is_writable_by_group(self) -> bool {
        self.mode & GROUP != 0
    }

    /// Returns whether every user may write it.
    #[must_use]
    pub fn is_writable_by_everyone(self) -> bool {
        self.mode & EVERYONE != 0
    }

    /// Returns whether every user may replace an entry in this directory: it is writable, and has no sticky bit. In
    /// a directory like `/tmp`, users may only remove their own entries.
    #[must_use]
    pub fn lets_everyone_replace(self) -> bool {
        self.is_writable_by_everyone() && self.mode & STICKY == 0
    }

    /// Returns whether only root can write it: the file itself, or the contents of the directory. A sticky bit
    /// makes no difference, because every user can create files in `/tmp`.
    #[must_use]
    pub fn is_roots(self) -> bool {
        let is_roots_group = self.gid == 0 || !self.is_writable_by_group();
        self.uid == 0 && is_roots_group && !self.is_writable_by_everyone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_alone_may_write() {
        let is_roots = |uid, gid, mode| Entry { uid, gid, mode }.is_roots();
        assert!(is_roots(0, 0, 0o755) && is_roots(0, 7, 0o755) && is_roots(0, 0, 0o4755));
        assert!(is_roots(0, 0, 0o775), "the group is root's own");
        assert!(!is_roots(0, 7, 0o775), "another group may write");
        assert!(!is_roots(0, 0, 0o757) && !is_roots(0, 0, 0o1777), "everyone may write");
        assert!(!is_roots(7, 0, 0o555), "its owner can make it writable");
    }
}
