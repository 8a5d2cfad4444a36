//! The HAProxy binaries that `.ci/haproxy-versions` has fetched.

use std::path::{Path, PathBuf};

/// Every one that is here, by its branch.
pub fn fetched() -> Vec<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(target, PathBuf::from).join("haproxy");
    let folders = std::fs::read_dir(target).into_iter().flatten().filter_map(Result::ok);
    let mut fetched: Vec<_> =
        folders.map(|folder| folder.path().join("haproxy")).filter(|file| file.is_file()).collect();
    fetched.sort();
    fetched
}
