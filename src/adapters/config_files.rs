//! The files that make up haproxy.cfg, in the order in which HAProxy reads them.

use std::path::{Path, PathBuf};

use crate::cfg::SourceFile;

/// A configuration file or directory that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {reason}. Pass the path of the configuration with --haproxy-config")]
pub struct UnreadableConfig {
    pub path: String,
    pub reason: String,
}

/// Reads these files and directories. In a directory, HAProxy reads the files whose name ends in `.cfg` and does not
/// start with a dot, in alphabetical order.
pub fn read(paths: &[PathBuf]) -> Result<Vec<SourceFile>, UnreadableConfig> {
    let files = list(paths)?;
    match paths.first() {
        Some(path) if files.is_empty() => Err(UnreadableConfig {
            path: path.display().to_string(),
            reason: "it contains no file that ends in .cfg".to_owned(),
        }),
        _ => files.into_iter().map(read_file).collect(),
    }
}

/// Returns these files, with each directory replaced by the files that HAProxy reads in it.
pub fn list(paths: &[PathBuf]) -> Result<Vec<PathBuf>, UnreadableConfig> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(directory(path).map_err(unreadable(path))?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn read_file(path: PathBuf) -> Result<SourceFile, UnreadableConfig> {
    let bytes = std::fs::read(&path).map_err(unreadable(&path))?;
    Ok(SourceFile { path, bytes })
}

fn directory(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if is_read(&entry.file_name().to_string_lossy()) && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Returns whether HAProxy reads a file with this name in a directory.
pub(super) fn is_read(name: &str) -> bool {
    // HAProxy searches for the first ".cfg", so it does not read `a.cfg.cfg`.
    name.find(".cfg").is_some_and(|at| at > 0 && at + 4 == name.len()) && !name.starts_with('.')
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> UnreadableConfig {
    let path = path.display().to_string();
    move |error| UnreadableConfig { path: path.clone(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_directory_only_cfg_files_are_read_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["20-b.cfg", "10-a.cfg", ".hidden.cfg", "30.conf", "zz.cfg.bak", "a.cfg.cfg"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let files = read(&[dir.path().to_owned()]).unwrap();
        let names: Vec<_> =
            files.iter().map(|file| String::from_utf8_lossy(&file.bytes).into_owned()).collect();
        assert_eq!(names, ["10-a.cfg", "20-b.cfg"]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(&[PathBuf::from("/nowhere/haproxy.cfg")]).unwrap_err().to_string();
        assert!(error.starts_with("cannot read /nowhere/haproxy.cfg: No such file"), "{error}");
    }
}
