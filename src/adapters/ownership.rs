//! Reads the owner and the mode of the files that drainswap relies on; [`crate::model::trust`] judges them.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, read_to_string};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;

use crate::model::command_line::shell;
use crate::model::trust::{Accounts, Caller, Entry, Thing, Untrusted};

/// The users and groups that drainswap trusts on this machine.
#[derive(Clone, Debug)]
pub struct Trust {
    caller: Caller,
    accounts: Accounts,
}

impl Trust {
    /// Trusts root, the user that drainswap runs as, the user that called sudo, and `owners`.
    ///
    /// # Errors
    /// Returns the name of an owner that this machine does not have.
    pub fn new(owners: &[String]) -> Result<Self, String> {
        // Without these files every group counts as untrusted.
        let read = |path| read_to_string(path).unwrap_or_default();
        let accounts = Accounts::read(&read("/etc/passwd"), &read("/etc/group"));
        let uid = |name: &String| accounts.uid(name).ok_or_else(|| name.clone());
        let trusted = owners.iter().map(uid).collect::<Result<BTreeSet<_>, _>>()?;
        let sudo = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
        let caller = Caller { uid: geteuid().as_raw(), sudo, trusted, group: None };
        Ok(Self { caller, accounts })
    }

    /// Also lets this group write.
    ///
    /// # Errors
    /// Returns the name of a group that this machine does not have.
    pub fn with_group(self, group: Option<&str>) -> Result<Self, String> {
        let gid = |name: &str| self.accounts.gid(name).ok_or_else(|| name.to_owned());
        let group = group.map(gid).transpose()?;
        Ok(Self { caller: Caller { group, ..self.caller }, ..self })
    }

    /// Returns the problem with the owner or mode of an open file, if there is one.
    #[must_use]
    pub fn judge_file(&self, thing: Thing, path: &Path, file: &File) -> Option<Untrusted> {
        self.judge(thing, path, &file.metadata().ok()?)
    }

    /// Returns the problem with the owner or mode of this file or directory, following symbolic links.
    ///
    /// Returns `None` for a path that cannot be read: opening it fails later with a better error.
    #[must_use]
    pub fn judge_path(&self, thing: Thing, path: &Path) -> Option<Untrusted> {
        self.judge(thing, path, &path.metadata().ok()?)
    }

    fn judge(&self, thing: Thing, path: &Path, found: &Metadata) -> Option<Untrusted> {
        // A user who can replace a link, or its target, controls the content as well.
        let named = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let real = path.canonicalize().unwrap_or_else(|_| named.clone());
        let above: BTreeSet<&Path> = [named.parent(), real.parent()].into_iter().flatten().collect();
        let above = above.into_iter().filter_map(|it| Some((quoted(it), Entry::from(&it.metadata().ok()?))));
        let above: Vec<_> = above.collect();
        let of = (&*quoted(&named), Entry::from(found));
        Untrusted::of(thing, &path.display().to_string(), of, &above, (&self.caller, &self.accounts))
    }
}

impl From<&Metadata> for Entry {
    fn from(found: &Metadata) -> Self {
        Self { uid: found.uid(), gid: found.gid(), mode: found.mode() & 0o7777 }
    }
}

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    shell(&[&path.display().to_string()])
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_link_is_judged_by_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let (state, link) = (dir.path().join("state"), dir.path().join("link"));
        create_dir(&state).unwrap();
        set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
        symlink(&state, &link).unwrap();
        let trust = Trust::new(&[]).unwrap();
        let judged = |path: &Path| trust.judge_path(Thing::StateDirectory, path);
        assert_eq!((judged(&state), judged(&link)), (None, None));
        set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
        let problem = judged(&link).unwrap().to_string();
        assert!(
            problem.ends_with(&format!("everyone can write it. Run `chmod o-w {}`", link.display())),
            "{problem}"
        );
        assert_eq!(judged(&dir.path().join("not-there")), None);
    }

    #[test]
    fn a_file_that_everyone_can_replace_is_as_one_that_everyone_can_write() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        create_dir(&folder).unwrap();
        let path = folder.join("drainswap.toml");
        write(&path, "").unwrap();
        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        let file = File::open(&path).unwrap();
        let problem = Trust::new(&[]).unwrap().judge_file(Thing::Settings, &path, &file).unwrap();
        assert_eq!(problem.commands, [format!("chmod o-w {}", folder.display())]);
        set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(Trust::new(&[]).unwrap().judge_file(Thing::Settings, &path, &file), None);
    }

    #[test]
    fn a_user_or_group_that_is_not_there_is_named() {
        assert_eq!(Trust::new(&["no-such-user".to_owned()]).unwrap_err(), "no-such-user");
        let trust = Trust::new(&["root".to_owned(), "4711".to_owned()]).unwrap();
        assert_eq!(trust.with_group(Some("no-such-group")).unwrap_err(), "no-such-group");
    }
}
