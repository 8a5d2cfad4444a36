//! Whether root alone can change a program.

use std::fs::Metadata;
use std::path::Path;

use crate::trust::Entry;

/// Whether root alone can write this file, which lies at this path, and every directory above it. What cannot be looked
/// at is not root's.
#[must_use]
pub fn is_roots(file: &Metadata, path: &Path) -> bool {
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
        assert!(is_roots(&shell.metadata().unwrap(), &shell), "{}", shell.display());
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("haproxy");
        std::fs::copy(&shell, &copy).unwrap();
        assert!(!is_roots(&copy.metadata().unwrap(), &copy), "everybody can write /tmp");
        assert!(!is_roots(&shell.metadata().unwrap(), Path::new("sh")), "a path from nowhere");
    }
}
