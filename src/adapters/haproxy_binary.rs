//! The installed HAProxy: its path and its answers about itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cfg::{Build, Version};

/// The newest HAProxy branch that drainswap is tested with.
pub const NEWEST: Version = Version { major: 3, minor: 4 };

/// Returns the default binary: the first in `$PATH`, or Debian's path, which a normal user's `$PATH` does not contain.
#[must_use]
pub fn find() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|dir| dir.join("haproxy")).find(|path| path.is_file());
    found.unwrap_or_else(|| PathBuf::from("/usr/sbin/haproxy"))
}

/// The first branch that evaluates conditions with `-cc`.
const DECIDES: Version = Version { major: 2, minor: 5 };

/// Returns how this binary, of this version, evaluates these conditions, keyed by their text.
///
/// Conditions that the binary does not know are missing in the result.
#[must_use]
pub fn answers(binary: &Path, version: Version, questions: &BTreeSet<String>) -> BTreeMap<String, bool> {
    let ask = |question: &String| {
        let output = Command::new(binary).arg("-cc").arg(question).output().ok()?;
        match output.status.code()? {
            0 => Some((question.clone(), true)),
            1 => Some((question.clone(), false)),
            _ => None,
        }
    };
    questions.iter().filter(|_| version >= DECIDES).filter_map(ask).collect()
}

/// Returns how the binary was built, or `None` if it cannot be run or prints something else.
#[must_use]
pub fn build(binary: &Path) -> Option<Build> {
    let output = Command::new(binary).arg("-vv").output().ok()?;
    Build::parse(&String::from_utf8_lossy(&output.stdout))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_binary_decides_what_it_knows() {
        let directory = tempfile::tempdir().unwrap();
        let binary = directory.path().join("haproxy");
        let script = "#!/bin/sh\n[ \"$1\" = -cc ] || exit 1\ncase $2 in\n'enabled(SPLICE)') ;;\n\
                      'fips_mode()') exit 1 ;;\n*) exit 2 ;;\nesac\n";
        std::fs::write(&binary, script).unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o700)).unwrap();
        let questions = ["enabled(SPLICE)", "fips_mode()", "nonsense()"].map(str::to_owned).into();
        let expected = [("enabled(SPLICE)".to_owned(), true), ("fips_mode()".to_owned(), false)];
        assert_eq!(answers(&binary, Version::new(3, 2), &questions), expected.into());
        assert!(answers(&binary, Version::new(2, 4), &questions).is_empty());
    }
}
