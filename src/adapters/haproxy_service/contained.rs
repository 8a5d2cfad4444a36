//! A HAProxy in a container. The paths in its arguments and in its configuration belong to the container.

use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::process::{self, Process};
use crate::adapters::config_files::UnreadableConfig;
use crate::adapters::container_root::{ContainerRoot, RootEntry};
use crate::adapters::docker::{HostMount, RunningContainer};
use crate::adapters::haproxy::address::SocketAddress;
use crate::cfg::SourceFile;

/// A HAProxy in a container that an engine from the settings lists.
#[derive(Clone, Debug)]
pub struct Contained {
    /// The process that was started with the configuration: the master if there is one.
    pub process: Process,
    holder: RunningContainer,
    root: Arc<ContainerRoot>,
}

/// The reasons why drainswap cannot use a HAProxy in a container, with advice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContainerAccessError {
    #[error(
        "cannot tell which HAProxy listens at {socket}: the containers {} have this socket. Pass the path of the \
         configuration with -f", .containers.join(" and ")
    )]
    Several { socket: String, containers: Vec<String> },
    #[error(
        "HAProxy runs in container {container}, and drainswap cannot read {path} there: {reason}. Pass the path of the \
         configuration with -f and its socket with --socket"
    )]
    Unreadable { container: String, path: String, reason: String },
    /// No HAProxy listens at the socket in this host's configuration, or there is no such configuration.
    #[error("{missing}. {}. Pass the right socket with --socket", .candidates.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NotNamed {
        /// The missing file or socket.
        missing: String,
        /// The containers to choose from.
        candidates: Vec<ReachableHaproxy>,
    },
    /// The command would write a file in the container, or run HAProxy there.
    #[error("HAProxy runs in container {container}, where drainswap writes and executes nothing. {advice}")]
    ReadOnly { container: String, advice: String },
}

/// A HAProxy in a container that can be reached from this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachableHaproxy {
    pub container: String,
    /// Its runtime socket, as in its configuration.
    pub socket: String,
    /// The path of the socket on this host.
    pub here: String,
}

impl fmt::Display for ReachableHaproxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { container, socket, here } = self;
        write!(f, "HAProxy runs in container {container}: its socket {socket} is {here} on this host")
    }
}

impl Contained {
    /// Returns the HAProxy of a process in a container that its engine lists.
    ///
    /// Returns `None` if the process is in another container, or the caller may not access this one.
    #[must_use]
    pub fn new(process: Process, holder: RunningContainer) -> Option<Self> {
        // HAProxy may have dropped root; the first process of the container has not.
        let root = ContainerRoot::of(holder.pid).ok()?;
        let is_there = process::ancestry(process.pid).any(|ancestor| ancestor == holder.pid);
        // The engine may run on another host, where the same PID is another process.
        let is_its_own = is_there && process.has_mounts_of(holder.pid);
        is_its_own.then(|| Self { process, holder, root: Arc::new(root) })
    }

    /// Returns the container's name.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.holder.name
    }

    /// Reads the files that HAProxy was started with, with their paths in the container.
    ///
    /// # Errors
    /// Returns the file that cannot be read.
    pub fn files(&self) -> Result<Vec<SourceFile>, ContainerAccessError> {
        let unreadable = |UnreadableConfig { path, reason }| ContainerAccessError::Unreadable {
            container: self.holder.name.clone(),
            path,
            reason,
        };
        self.root.read(&self.process.invocation.files()).map_err(unreadable)
    }

    /// Returns the path of a container's file on this host, through its mounts and links.
    #[must_use]
    pub fn on_host(&self, path: &Path) -> Option<PathBuf> {
        on_host(&self.root, &self.holder.mounts, &self.process.invocation.directory.join(path))
    }

    /// Returns whether the container has the very same socket as this path of the host, through a mount.
    #[must_use]
    pub fn has_socket(&self, here: &Path) -> bool {
        has_socket(&self.root, &self.holder.mounts, here)
    }

    /// Returns whether HAProxy was started with these files of this host, mounted into the container with their
    /// directories.
    #[must_use]
    pub fn reads_of_this_host(&self, files: &[PathBuf]) -> bool {
        let is_same = |(there, here): (&PathBuf, &PathBuf)| {
            let here = here.metadata().ok().map(|it| (it.dev(), it.ino()));
            let found = self.root.find(&self.process.invocation.directory.join(there)).ok();
            here.is_some() && here == found.map(|found| found.identity) && !self.is_mounted_alone(there)
        };
        let own = self.process.invocation.files();
        own.len() == files.len() && own.iter().zip(files).all(is_same)
    }

    /// Returns whether a file of the container is mounted by itself. If another file takes its name, the container
    /// still sees the old one.
    #[must_use]
    pub fn is_mounted_alone(&self, path: &Path) -> bool {
        self.holder.mounts.iter().any(|mount| mount.destination == path)
    }

    /// Returns the refusal to write or execute something in the container.
    #[must_use]
    pub fn read_only(&self, advice: String) -> ContainerAccessError {
        ContainerAccessError::ReadOnly { container: self.holder.name.clone(), advice }
    }

    /// Returns the address of its runtime or master socket on this host.
    #[must_use]
    pub fn socket(&self, address: &SocketAddress) -> Option<SocketAddress> {
        match address {
            SocketAddress::Unix(path) => self.on_host(path).map(SocketAddress::Unix),
            SocketAddress::Abstract(_) | SocketAddress::Tcp { .. } => {
                self.process.shares_network.then(|| address.clone())
            }
        }
    }
}

fn has_socket(root: &ContainerRoot, mounts: &[HostMount], here: &Path) -> bool {
    let Some((here, stat)) = here.canonicalize().and_then(|it| Ok((it.clone(), it.symlink_metadata()?))).ok()
    else {
        return false;
    };
    stat.file_type().is_socket()
        && mounts.iter().any(|mount| {
            let source = mount.source.canonicalize().unwrap_or_else(|_| mount.source.clone());
            let there = here.strip_prefix(source).map(|rest| mount.destination.join(rest));
            let found = there.ok().and_then(|there| root.find(&there).ok());
            found.is_some_and(|found| found.identity == (stat.dev(), stat.ino()))
        })
}

fn on_host(root: &ContainerRoot, mounts: &[HostMount], path: &Path) -> Option<PathBuf> {
    let RootEntry { path, identity, .. } = root.find(path).ok()?;
    let real = |mount: &HostMount| {
        let destination = root.find(&mount.destination).ok()?.path;
        Some(HostMount { destination, source: mount.source.clone() })
    };
    let mounts: Vec<HostMount> = mounts.iter().filter_map(real).collect();
    let here = below_mount(&mounts, &path)?;
    let found = here.symlink_metadata().ok()?;
    ((found.dev(), found.ino()) == identity).then_some(here)
}

/// Maps a path of the container to the host, through the nearest mount.
fn below_mount(mounts: &[HostMount], path: &Path) -> Option<PathBuf> {
    let below = |mount: &HostMount| Some((mount.source.clone(), path.strip_prefix(&mount.destination).ok()?));
    let fits = mounts.iter().filter_map(below);
    let (source, rest) = fits.min_by_key(|(_, rest)| rest.components().count())?;
    // Joining an empty path would add a slash, which only a directory may have.
    Some(if rest.as_os_str().is_empty() { source } else { source.join(rest) })
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_mapped_by_the_nearest_mount() {
        let mount = |source: &str, destination: &str| HostMount {
            source: source.into(),
            destination: destination.into(),
        };
        let mounts = [
            mount("/srv/etc", "/usr/local/etc"),
            mount("/srv/lb", "/usr/local/etc/haproxy"),
            mount("/srv/one.cfg", "/usr/local/etc/haproxy/haproxy.cfg"),
            mount("/var/lib/docker/volumes/run/_data", "/run/haproxy"),
        ];
        for (path, here) in [
            ("/usr/local/etc/hosts", Some("/srv/etc/hosts")),
            ("/usr/local/etc/haproxy/conf.d/1.cfg", Some("/srv/lb/conf.d/1.cfg")),
            ("/usr/local/etc/haproxy/haproxy.cfg", Some("/srv/one.cfg")),
            ("/usr/local/etc/haproxy2/haproxy.cfg", Some("/srv/etc/haproxy2/haproxy.cfg")),
            ("/run/haproxy/admin.sock", Some("/var/lib/docker/volumes/run/_data/admin.sock")),
            ("/run/haproxy2.sock", None),
        ] {
            assert_eq!(below_mount(&mounts, Path::new(path)).as_deref(), here.map(Path::new), "{path}");
        }
        let root = [mount("/srv/all", "/")];
        assert_eq!(below_mount(&root, Path::new("/a")), Some("/srv/all/a".into()));
    }

    #[test]
    fn a_socket_of_this_host_belongs_to_the_container_only_through_a_mount() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        for folder in ["root/run", "host", "other"] {
            create_dir_all(at(folder)).unwrap();
        }
        let _listening = std::os::unix::net::UnixListener::bind(at("host/admin.sock")).unwrap();
        let _stranger = std::os::unix::net::UnixListener::bind(at("other/admin.sock")).unwrap();
        // Shows the file as a mount of host over root/run would.
        std::fs::hard_link(at("host/admin.sock"), at("root/run/admin.sock")).unwrap();
        write(at("host/file"), "").unwrap();
        std::fs::hard_link(at("host/file"), at("root/run/file")).unwrap();
        symlink(at("other/admin.sock"), at("host/planted")).unwrap();
        symlink("admin.sock", at("host/current")).unwrap();
        let root = ContainerRoot::at(&at("root")).unwrap();
        let has = |source: &str, here: &str| {
            has_socket(&root, &[HostMount { source: at(source), destination: "/run".into() }], &at(here))
        };
        assert!(has("host", "host/admin.sock") && has("host", "host/current"));
        for (source, here) in [
            ("other", "host/admin.sock"),
            ("other", "other/admin.sock"),
            ("host", "host/planted"),
            ("host", "host/file"),
            ("host", "host/gone"),
        ] {
            assert!(!has(source, here), "{here} by {source}");
        }
    }

    #[test]
    fn only_the_very_file_of_the_container_is_found_on_the_host() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        for folder in ["root/run/haproxy", "root/var", "root/etc", "other"] {
            create_dir_all(at(folder)).unwrap();
        }
        for file in ["root/run/haproxy/admin.sock", "root/etc/secret", "other/admin.sock", "other/planted"] {
            write(at(file), "").unwrap();
        }
        symlink("/run", at("root/var/run")).unwrap();
        symlink("/etc/secret", at("root/run/haproxy/planted")).unwrap();
        symlink("admin.sock", at("root/run/haproxy/current")).unwrap();
        let root = ContainerRoot::at(&at("root")).unwrap();
        let find = |source: &str, path: &str| {
            let mount = HostMount { source: at(source), destination: "/var/run/haproxy".into() };
            on_host(&root, &[mount], Path::new(path))
        };
        let socket = Some(at("root/run/haproxy/admin.sock"));
        for path in ["/var/run/haproxy/admin.sock", "/run/haproxy/admin.sock", "/run/haproxy/current"] {
            assert_eq!(find("root/run/haproxy", path), socket, "{path}");
        }
        // A link that leads out of the mount does not count, nor does another file with the same name.
        assert_eq!(find("root/run/haproxy", "/run/haproxy/planted"), None);
        assert_eq!(find("other", "/run/haproxy/admin.sock"), None);
        assert_eq!(find("root/run/haproxy", "/run/haproxy/gone"), None);
    }
}
