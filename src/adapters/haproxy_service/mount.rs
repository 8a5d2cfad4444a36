//! A file that is mounted by itself into the container of HAProxy: `-v /etc/haproxy/haproxy.cfg:/haproxy.cfg`.
//!
//! Such a mount holds the file, and not its name: what takes the file's place is not seen in the container.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::process;

/// What `mountinfo` has behind the path of a file that is gone, or that another one has replaced.
const GONE: &str = "//deleted";

/// A HAProxy that has this very file mounted, or one that was there under its name: its process, and where it has it.
/// A container's HAProxy tells a number of its own processes, so that all that are called so are looked at.
#[must_use]
pub fn of_file(file: &Path) -> Option<(u32, PathBuf)> {
    process::all().into_iter().find_map(|pid| {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let text = |name: &str| std::fs::read_to_string(process.join(name)).ok();
        let mounts = text("comm")?.starts_with("haproxy").then(|| text("mountinfo"))??;
        Some((pid, mount_of(&mounts, &process.join("root"), file)?))
    })
}

/// The mount point of the file in a process's `mountinfo`, which has paths of the process's `root`.
fn mount_of(mounts: &str, root: &Path, file: &Path) -> Option<PathBuf> {
    let same = file.metadata().ok()?;
    let is_same = |it: &Metadata| it.is_file() && (it.dev(), it.ino()) == (same.dev(), same.ino());
    mounts.lines().find_map(|line| {
        // `id parent device root mount-point …`, with a root that counts from where its file system begins.
        let mut fields = line.split(' ').skip(3);
        let (source, point) = (fields.next()?, fields.next()?);
        let path = source.strip_suffix(GONE).unwrap_or(source).trim_start_matches('/');
        if path.is_empty() || !file.ends_with(path) {
            return None;
        }
        let seen = root.join(point.trim_start_matches('/')).symlink_metadata();
        (source.ends_with(GONE) || seen.is_ok_and(|it| is_same(&it))).then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_of_the_file_itself_is_found_and_one_of_its_directory_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (file, root) = (dir.path().join("haproxy.cfg"), dir.path().join("root"));
        std::fs::create_dir(&root).unwrap();
        std::fs::write(&file, "").unwrap();
        std::fs::hard_link(&file, root.join("inside.cfg")).unwrap();
        std::fs::write(root.join("other.cfg"), "").unwrap();
        let found = |source: &str, point: &str| {
            let mounts =
                format!("1 0 0:5 / / rw - overlay none rw\n2 1 8:1 {source} {point} ro - ext4 /dev/x rw\n");
            mount_of(&mounts, &root, &file)
        };
        let source = file.to_str().unwrap();
        assert_eq!(found(source, "/inside.cfg"), Some("/inside.cfg".into()));
        assert_eq!(
            found("/haproxy.cfg", "/inside.cfg"),
            Some("/inside.cfg".into()),
            "a file system of its own"
        );
        assert_eq!(found(source, "/other.cfg"), None, "another file by that name");
        assert_eq!(found(&format!("{source}{GONE}"), "/other.cfg"), Some("/other.cfg".into()));
        assert_eq!(found(dir.path().to_str().unwrap(), "/etc/haproxy"), None);
        assert_eq!(found("/etc/hosts", "/etc/hosts"), None);
    }
}
