//! A file that takes another one's place in one step, and can give it back.
//!
//! The old file keeps a second name until the new one has proved itself, so that taking back brings back the very file
//! that was there. What a killed process leaves behind tells the next one that something was not finished.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use xattr::FileExt;

/// A step of an installation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be {action}: {reason}")]
pub struct InstallError {
    /// The file.
    pub path: String,
    /// What was tried.
    pub action: &'static str,
    /// What the system said.
    pub reason: String,
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> InstallError {
    let path = path.display().to_string();
    move |error| InstallError { path, action, reason: error.to_string() }
}

/// Where things are beside a file that is replaced. Neither name ends in `.cfg`, so that a directory of
/// configuration files does not grow by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    target: PathBuf,
    candidate: PathBuf,
    kept: PathBuf,
}

impl Place {
    /// The place of a file; a symbolic link is followed, for it is the file behind it that is replaced.
    pub fn new(target: &Path) -> Result<Self, InstallError> {
        let target = target.canonicalize().map_err(failed(target, "found"))?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let beside = |what: &str| target.with_file_name(format!(".{name}.drainswap-{what}"));
        Ok(Self { candidate: beside("new"), kept: beside("old"), target })
    }

    /// The file itself.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Whether an installation was begun here and neither confirmed nor taken back.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.kept.exists()
    }

    /// Writes the new file beside the old one, with its owner, mode and extended attributes.
    pub fn write(self, bytes: &[u8]) -> Result<Candidate, InstallError> {
        remove(&self.candidate)?;
        let old = File::open(&self.target).map_err(failed(&self.target, "opened"))?;
        let attributes = old.metadata().map_err(failed(&self.target, "read"))?;
        let path = self.candidate.clone();
        // Nobody may read it before it has the mode of the old one.
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut new = opened.map_err(failed(&path, "created"))?;
        let candidate = Candidate { place: self };
        new.write_all(bytes).map_err(failed(&path, "written"))?;
        let made = new.metadata().map_err(failed(&path, "read"))?;
        if (made.uid(), made.gid()) != (attributes.uid(), attributes.gid()) {
            let (owner, group) = (Some(attributes.uid()), Some(attributes.gid()));
            fchown(&new, owner, group).map_err(failed(&path, "given to the owner of the old file"))?;
        }
        new.set_permissions(attributes.permissions())
            .map_err(failed(&path, "given the mode of the old file"))?;
        copy_extended(&old, &new).map_err(failed(&path, "given the attributes of the old file"))?;
        new.sync_all().map_err(failed(&path, "made durable"))?;
        Ok(candidate)
    }
}

/// Access lists and security labels are extended attributes too.
fn copy_extended(from: &File, to: &File) -> std::io::Result<()> {
    let names = match from.list_xattr() {
        Ok(names) => names,
        // A file system without them has none to lose.
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => return Ok(()),
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
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(path, "removed")(error)),
        _ => Ok(()),
    }
}

/// The new file, beside the old one. It is gone when this is dropped.
#[derive(Debug)]
pub struct Candidate {
    place: Place,
}

impl Candidate {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.place.candidate
    }

    /// The file whose place it is to take.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.place.target
    }

    /// Takes the old file's place. Whoever opens the file finds the old one or the new one, whole.
    pub fn install(self) -> Result<Installed, InstallError> {
        let Place { target, candidate, kept } = &self.place;
        // What an unfinished installation keeps is older, and known to have run.
        if !kept.exists() {
            std::fs::hard_link(target, kept).map_err(failed(kept, "linked to the old file"))?;
        }
        sync_directory(target)?;
        std::fs::rename(candidate, target).map_err(failed(target, "replaced"))?;
        let installed = Installed { place: self.place.clone() };
        sync_directory(target)?;
        Ok(installed)
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        // A name that stays behind is removed by the next installation.
        let _left = remove(&self.place.candidate);
    }
}

/// The new file in its place, with the old one kept beside it.
#[derive(Debug)]
pub struct Installed {
    place: Place,
}

impl Installed {
    /// The new file stays: the old one goes.
    pub fn confirm(self) -> Result<(), InstallError> {
        remove(&self.place.kept)?;
        sync_directory(&self.place.target)
    }

    /// Puts the very file back that was there before.
    pub fn put_back(self) -> Result<(), InstallError> {
        let Place { target, kept, .. } = &self.place;
        std::fs::rename(kept, target).map_err(failed(target, "put back"))?;
        sync_directory(target)
    }

    /// Where the old file is kept.
    #[must_use]
    pub fn kept(&self) -> &Path {
        &self.place.kept
    }
}

/// A file is only as durable as its name.
fn sync_directory(file: &Path) -> Result<(), InstallError> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(failed(directory, "made durable"))
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
    fn the_new_file_has_what_the_old_one_had_and_links_stay() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("real.cfg"), directory.path().join("h.cfg"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let labelled = xattr::set(&file, "user.label", b"x").is_ok();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let installed = Place::new(&link).unwrap().write(b"new").unwrap().install().unwrap();
        assert!(Place::new(&link).unwrap().is_unfinished());
        installed.confirm().unwrap();
        assert_eq!(names(directory.path()), ["h.cfg", "real.cfg"]);
        assert!(link.is_symlink() && std::fs::read(&link).unwrap() == b"new");
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(!labelled || xattr::get(&file, "user.label").unwrap().unwrap() == b"x");
    }

    #[test]
    fn what_is_put_back_is_the_file_that_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("h.cfg");
        std::fs::write(&file, "old").unwrap();
        let before = std::fs::metadata(&file).unwrap().ino();
        Place::new(&file).unwrap().write(b"new").unwrap().install().unwrap().put_back().unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().ino(), before);
        assert_eq!(
            (names(directory.path()), std::fs::read(&file).unwrap()),
            (vec!["h.cfg".into()], b"old".into())
        );
    }

    #[test]
    fn a_candidate_that_is_given_up_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("h.cfg");
        std::fs::write(&file, "old").unwrap();
        drop(Place::new(&file).unwrap().write(b"new").unwrap());
        assert_eq!(names(directory.path()), ["h.cfg"]);
    }
}
