//! Checks that only root can change a program.

use std::fs::Metadata;
use std::path::Path;

use crate::model::trust::Entry;

/// Returns whether only root can write this file, which is at this path, and every directory above it.
///
/// A file or directory that cannot be read counts as writable by others.
#[must_use]
pub fn is_root_only(file: &Metadata, path: &Path) -> bool {
    let above = || path.ancestors().skip(1);
    let is_roots = |path: &Path| path.metadata().is_ok_and(|directory| Entry::from(&directory).is_roots());
    path.is_absolute() && Entry::from(file).is_roots() && above().all(is_roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_above_counts() {
        let shell = Path::new("/bin/sh").canonicalize().unwrap();
        assert!(is_root_only(&shell.metadata().unwrap(), &shell), "{}", shell.display());
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("haproxy");
        std::fs::copy(&shell, &copy).unwrap();
        assert!(!is_root_only(&copy.metadata().unwrap(), &copy), "everyone can write /tmp");
        assert!(!is_root_only(&shell.metadata().unwrap(), Path::new("sh")), "a relative path");
    }
}
