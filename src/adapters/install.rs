//! Replaces a file in one step, and can restore the old one.
//!
//! The old file keeps a second name until the new one has proved itself, so that a rollback restores the very same
//! file. What a killed process leaves behind shows the next process that an installation is unfinished.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use xattr::FileExt;

/// A failed step of an installation.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {reason}")]
pub struct InstallError {
    pub path: String,
    /// The step, as a verb phrase for `cannot … PATH`.
    pub action: &'static str,
    pub reason: String,
    /// What to do, as a sentence that follows.
    pub advice: &'static str,
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> InstallError {
    let path = path.display().to_string();
    move |error| InstallError { path, action, reason: error.to_string(), advice: advice(error.kind()) }
}

/// Returns what to do about an error.
fn advice(kind: ErrorKind) -> &'static str {
    if matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        ". Free some space there, then try again"
    } else if matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) {
        ". Run as root, or as a user that can write there"
    } else {
        ". Check that path, then try again"
    }
}

/// The paths beside a file that is replaced. Neither name ends in `.cfg`, so that HAProxy does not read them in a
/// directory of configuration files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallPaths {
    target: PathBuf,
    candidate: PathBuf,
    kept: PathBuf,
}

impl InstallPaths {
    /// Returns the paths for this file. Follows a symbolic link, because the file behind it is the one to replace.
    pub fn new(target: &Path) -> Result<Self, InstallError> {
        let target = target.canonicalize().map_err(failed(target, "find"))?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let beside = |what: &str| target.with_file_name(format!(".{name}.drainswap-{what}"));
        Ok(Self { candidate: beside("new"), kept: beside("old"), target })
    }

    /// Returns the path of the file itself.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Returns whether an installation was started here and neither confirmed nor rolled back.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.kept.exists()
    }

    /// Writes the new file beside the old one, with the owner, mode and extended attributes of the old one.
    pub fn write(self, bytes: &[u8]) -> Result<Candidate, InstallError> {
        remove(&self.candidate)?;
        let old = File::open(&self.target).map_err(failed(&self.target, "open"))?;
        let attributes = old.metadata().map_err(failed(&self.target, "read the attributes of"))?;
        let path = self.candidate.clone();
        // Other users must not read it before it has the mode of the old file.
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut new = opened.map_err(failed(&path, "create"))?;
        let candidate = Candidate { place: self };
        new.write_all(bytes).map_err(failed(&path, "write"))?;
        let made = new.metadata().map_err(failed(&path, "read the attributes of"))?;
        if (made.uid(), made.gid()) != (attributes.uid(), attributes.gid()) {
            let (owner, group) = (Some(attributes.uid()), Some(attributes.gid()));
            fchown(&new, owner, group).map_err(failed(&path, "set the owner of"))?;
        }
        new.set_permissions(attributes.permissions()).map_err(failed(&path, "set the mode of"))?;
        copy_extended(&old, &new).map_err(failed(&path, "copy the extended attributes to"))?;
        new.sync_all().map_err(failed(&path, "sync"))?;
        Ok(candidate)
    }
}

/// Copies the extended attributes, which include access control lists and security labels.
fn copy_extended(from: &File, to: &File) -> std::io::Result<()> {
    let names = match from.list_xattr() {
        Ok(names) => names,
        // A file system without extended attributes has none to copy.
        Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in names {
        if let Some(value) = from.get_xattr(&name)?
            && to.get_xattr(&name)?.as_ref() != Some(&value)
        {
            to.set_xattr(&name, &value)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), InstallError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, "remove")(error)),
        _ => Ok(()),
    }
}

/// The new file, beside the old one. Dropping it removes the file.
#[derive(Debug)]
pub struct Candidate {
    place: InstallPaths,
}

impl Candidate {
    /// Returns the path of the new file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.place.candidate
    }

    /// Returns the path of the file that it is to replace.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.place.target
    }

    /// Replaces the old file. A process that opens the file gets either the old or the new one, complete.
    pub fn install(self) -> Result<Installed, InstallError> {
        let InstallPaths { target, candidate, kept } = &self.place;
        // A file kept by an unfinished installation is older, and HAProxy is known to have run with it.
        if !kept.exists() {
            std::fs::hard_link(target, kept).map_err(failed(kept, "link the old file to"))?;
        }
        sync_directory(target)?;
        std::fs::rename(candidate, target).map_err(failed(target, "replace"))?;
        let installed = Installed { place: self.place.clone() };
        sync_directory(target)?;
        Ok(installed)
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        // The next installation removes a leftover.
        let _left = remove(&self.place.candidate);
    }
}

/// The new file in its place, with the old one kept beside it.
#[derive(Debug)]
pub struct Installed {
    place: InstallPaths,
}

impl Installed {
    /// Keeps the new file, and removes the old one.
    pub fn confirm(self) -> Result<(), InstallError> {
        remove(&self.place.kept)?;
        sync_directory(&self.place.target)
    }

    /// Restores the very file that was there before.
    pub fn restore(self) -> Result<(), InstallError> {
        let InstallPaths { target, kept, .. } = &self.place;
        std::fs::rename(kept, target).map_err(failed(target, "restore"))?;
        sync_directory(target)
    }

    /// Returns the path of the old file.
    #[must_use]
    pub fn kept(&self) -> &Path {
        &self.place.kept
    }
}

/// Syncs the directory of a file, because a file is only as durable as its name.
fn sync_directory(file: &Path) -> Result<(), InstallError> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(failed(directory, "sync"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_new_file_has_the_attributes_of_the_old_one_and_links_stay() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("real.cfg"), directory.path().join("h.cfg"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let labelled = xattr::set(&file, "user.label", b"x").is_ok();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let installed = InstallPaths::new(&link).unwrap().write(b"new").unwrap().install().unwrap();
        assert!(InstallPaths::new(&link).unwrap().is_unfinished());
        installed.confirm().unwrap();
        assert_eq!(names(directory.path()), ["h.cfg", "real.cfg"]);
        assert!(link.is_symlink() && std::fs::read(&link).unwrap() == b"new");
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(!labelled || xattr::get(&file, "user.label").unwrap().unwrap() == b"x");
    }

    #[test]
    fn a_rollback_restores_the_very_file_that_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("h.cfg");
        std::fs::write(&file, "old").unwrap();
        let before = std::fs::metadata(&file).unwrap().ino();
        InstallPaths::new(&file).unwrap().write(b"new").unwrap().install().unwrap().restore().unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().ino(), before);
        assert_eq!(
            (names(directory.path()), std::fs::read(&file).unwrap()),
            (vec!["h.cfg".into()], b"old".into())
        );
    }

    #[test]
    fn a_dropped_candidate_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("h.cfg");
        std::fs::write(&file, "old").unwrap();
        drop(InstallPaths::new(&file).unwrap().write(b"new").unwrap());
        assert_eq!(names(directory.path()), ["h.cfg"]);
    }
}
