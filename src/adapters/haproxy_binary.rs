//! The installed `HAProxy`: where it is, and what it says of itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cfg::{Build, Version};

/// The newest branch that drainswap was tried with.
pub const NEWEST: Version = Version { major: 3, minor: 2 };

/// Where it is if nobody names it: the first in `$PATH`, or Debian's place, which a user's path lacks.
#[must_use]
pub fn find() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|dir| dir.join("haproxy")).find(|path| path.is_file());
    found.unwrap_or_else(|| PathBuf::from("/usr/sbin/haproxy"))
}

/// How the binary was built; `None` where there is none that answers.
#[must_use]
pub fn build(binary: &Path) -> Option<Build> {
    let output = Command::new(binary).arg("-vv").output().ok()?;
    Build::parse(&String::from_utf8_lossy(&output.stdout))
}
