//! Who owns and may write a file or directory.

/// The bits of the mode that let the group, and everyone, write.
const GROUP: u32 = 0o020;
const EVERYONE: u32 = 0o002;

/// The bit that keeps what is in a directory to its owner.
const STICKY: u32 = 0o1000;

/// The owner, the group and the mode of a file or directory; of a symbolic link those of what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
}

impl Entry {
    /// Whether the users of its group may write it.
    #[must_use]
    pub fn is_writable_by_group(self) -> bool {
        self.mode & GROUP != 0
    }

    /// Whether every user may write it.
    #[must_use]
    pub fn is_writable_by_everyone(self) -> bool {
        self.mode & EVERYONE != 0
    }

    /// Whether every user may put another entry in the place of one in this directory: it can be written, and is not as
    /// `/tmp` is, where each may remove only what is theirs.
    #[must_use]
    pub fn lets_everyone_replace(self) -> bool {
        self.is_writable_by_everyone() && self.mode & STICKY == 0
    }

    /// Whether root alone can write it: the file itself, or what is in the directory. A sticky bit makes no difference:
    /// every user can put something into `/tmp`.
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
        assert!(!is_roots(7, 0, 0o555), "its owner may give himself the right");
    }
}
