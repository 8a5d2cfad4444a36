//! A single file that is mounted into HAProxy's container: `-v /etc/haproxy/haproxy.cfg:/haproxy.cfg`.
//!
//! Such a mount refers to the file and not to its name: the container does not see a file that replaces it.

use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::process;

/// The suffix in `mountinfo` of a path whose file was removed or replaced.
const GONE: &str = "//deleted";

/// A single file that is mounted into the container of a HAProxy.
#[derive(Debug, PartialEq, Eq)]
pub struct MountedFile {
    /// A process of that HAProxy.
    pub pid: u32,
    /// The path in the container.
    pub point: PathBuf,
    /// Whether the mount refers to an earlier file with the same name.
    pub is_gone: bool,
}

/// Returns the HAProxy that has this very file mounted, or an earlier one with its name.
///
/// HAProxy in a container reports PIDs of its own namespace, so this checks all processes with that name.
#[must_use]
pub fn of_file(file: &Path) -> Option<MountedFile> {
    let own = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let file = SearchedFile { path: file, metadata: file.metadata().ok()?, device: device(&own, file)? };
    process::all().into_iter().find_map(|pid| {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let text = |name: &str| std::fs::read_to_string(process.join(name)).ok();
        let mounts = text("comm")?.starts_with("haproxy").then(|| text("mountinfo"))??;
        let (point, is_gone) = file.mount(&mounts, &process.join("root"))?;
        Some(MountedFile { pid, point, is_gone })
    })
}

/// A mount in `mountinfo`: `id parent device root point …`.
struct Mount<'a> {
    device: &'a str,
    /// The mounted path, relative to its file system, to a subvolume or to another mount.
    root: PathBuf,
    point: PathBuf,
    is_gone: bool,
}

impl<'a> Mount<'a> {
    fn all(mounts: &'a str) -> impl Iterator<Item = Self> {
        mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ').skip(2);
            let (device, root, point) = (fields.next()?, fields.next()?, unescaped(fields.next()?));
            let is_gone = root.ends_with(GONE);
            let root = unescaped(root.strip_suffix(GONE).unwrap_or(root));
            Some(Self { device, root, point, is_gone })
        })
    }
}

/// Returns the device of the file system that contains a path, as `mountinfo` names it: for a subvolume, `stat` reports
/// another number.
fn device<'m>(mounts: &'m str, path: &Path) -> Option<&'m str> {
    let around = Mount::all(mounts).filter(|mount| path.starts_with(&mount.point));
    // Of several mounts on the same path, the last one is on top.
    around.max_by_key(|mount| mount.point.components().count()).map(|mount| mount.device)
}

/// Decodes a path in `mountinfo`, where a space is `\040`.
fn unescaped(path: &str) -> PathBuf {
    let mut parts = path.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.extend(code);
        bytes.extend_from_slice(part.get(3..).unwrap_or_default().as_bytes());
    }
    OsString::from_vec(bytes).into()
}

/// The file in its current state.
struct SearchedFile<'a> {
    path: &'a Path,
    metadata: Metadata,
    device: &'a str,
}

impl SearchedFile<'_> {
    /// Returns the path where a process with this `root` has the file mounted, and whether it is an earlier file.
    fn mount(&self, mounts: &str, root: &Path) -> Option<(PathBuf, bool)> {
        let mut all = Mount::all(mounts);
        let found = all.find(|mount| if mount.is_gone { self.was(mount) } else { self.is(mount, root) })?;
        Some((found.point, found.is_gone))
    }

    /// Compares the files themselves. Skips mounts of whole file systems: they are not single files, and those of a
    /// network server that is down would block.
    fn is(&self, mount: &Mount<'_>, root: &Path) -> bool {
        let seen = || root.join(relative(&mount.point)).symlink_metadata();
        let same = (self.metadata.dev(), self.metadata.ino());
        mount.root != Path::new("/") && seen().is_ok_and(|it| it.is_file() && (it.dev(), it.ino()) == same)
    }

    /// Compares only the paths: either may start further up in the tree.
    fn was(&self, mount: &Mount<'_>) -> bool {
        let (path, root) = (relative(self.path), relative(&mount.root));
        mount.device == self.device && (path.ends_with(root) || root.ends_with(path))
    }
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(device: &str, root: &str, point: &str) -> String {
        format!("2 1 {device} {root} {point} ro - ext4 /dev/x rw\n")
    }

    #[test]
    fn a_mount_of_the_file_is_found_and_a_mount_of_its_directory_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (path, root) = (dir.path().join("haproxy.cfg"), dir.path().join("root"));
        std::fs::create_dir(&root).unwrap();
        std::fs::write(&path, "").unwrap();
        std::fs::hard_link(&path, root.join("the file.cfg")).unwrap();
        std::fs::write(root.join("other.cfg"), "").unwrap();
        let file = SearchedFile { path: &path, metadata: path.metadata().unwrap(), device: "8:1" };
        let found = |source: &str, point: &str| {
            let whole = line("0:5", "/", "/");
            file.mount(&(whole + &line("8:1", source, point)), &root).map(|(point, _)| point)
        };
        let source = path.to_str().unwrap();
        let there = Some(PathBuf::from("/the file.cfg"));
        assert_eq!(found(source, "/the\\040file.cfg"), there);
        assert_eq!(found("/haproxy.cfg", "/the\\040file.cfg"), there, "a separate file system");
        assert_eq!(found(&format!("/@{source}"), "/the\\040file.cfg"), there, "a subvolume");
        assert_eq!(found(source, "/other.cfg"), None, "another file with that name");
        assert_eq!(found(dir.path().to_str().unwrap(), "/etc/haproxy"), None);
        assert_eq!(found("/etc/hosts", "/etc/hosts"), None);
    }

    #[test]
    fn a_replaced_file_is_found_by_its_path_and_file_system() {
        let path = Path::new("/etc/my proxy/haproxy.cfg");
        let metadata = Path::new("/").metadata().unwrap();
        let file = SearchedFile { path, metadata, device: "8:1" };
        let is_gone = |device: &str, source: &str| {
            let mounts = line(device, &format!("{source}{GONE}"), "/haproxy.cfg");
            file.mount(&mounts, Path::new("/nowhere")) == Some(("/haproxy.cfg".into(), true))
        };
        assert!(is_gone("8:1", "/etc/my\\040proxy/haproxy.cfg"));
        assert!(is_gone("8:1", "/my\\040proxy/haproxy.cfg"), "mounted at /etc");
        assert!(is_gone("8:1", "/@/etc/my\\040proxy/haproxy.cfg"), "a subvolume");
        assert!(!is_gone("8:2", "/haproxy.cfg"), "of another file system");
        assert!(!is_gone("8:1", "/srv/haproxy.cfg"), "of another directory");
    }

    #[test]
    fn the_device_is_that_of_the_nearest_mount() {
        let of = |device, point| line(device, "/", point);
        let mounts = [of("8:1", "/"), of("8:2", "/etc"), of("8:3", "/etc"), of("8:4", "/et")].concat();
        let found = ["/etc/haproxy.cfg", "/srv/x"].map(|path| device(&mounts, Path::new(path)));
        assert_eq!(found, [Some("8:3"), Some("8:1")]);
    }
}
