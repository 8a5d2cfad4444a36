//! A HAProxy in a container: the paths that it was started with, and those in its configuration, are the container's.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::process::{self, Process, Uncounted};
use crate::adapters::config_files::Unreadable;
use crate::adapters::container_root::{ContainerRoot, Found};
use crate::adapters::docker::{Holder, Mount};
use crate::adapters::haproxy::address::SocketAddress;
use crate::cfg::SourceFile;

/// A HAProxy in a container that an engine of the settings lists.
#[derive(Clone, Debug)]
pub struct Contained {
    /// The process that was started with the configuration: the master where there is one.
    pub process: Process,
    holder: Holder,
    root: Arc<ContainerRoot>,
}

/// What keeps drainswap from a HAProxy in a container, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReached {
    /// No engine of the settings has the container, or the caller may not look into it.
    #[error(
        "HAProxy runs in a container that drainswap does not read from ({reason}), and the haproxy.cfg of this host need not be \
         its configuration. Run drainswap as root, name the container's engine with --docker, or name the configuration with \
         -f and its socket with --socket"
    )]
    Unknown {
        /// Why it is not read.
        reason: Uncounted,
    },
    /// There are several.
    #[error(
        "HAProxy runs in {} containers ({}). Name the socket of the one that is meant with --socket, or its \
         configuration with -f", .containers.len(), .containers.join(", ")
    )]
    Several {
        /// Their names.
        containers: Vec<String>,
    },
    /// Its configuration cannot be read.
    #[error(
        "HAProxy runs in container {container}, and {path} cannot be read there: {reason}. Name the configuration with -f \
         and its socket with --socket"
    )]
    Unreadable {
        /// The container.
        container: String,
        /// The file or directory.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// Its runtime socket is not here.
    #[error(
        "HAProxy runs in container {container}, and its socket {socket} is not on this host. Mount a directory of this host \
         over the one that it is in (`docker run -v /run/{container}:…`), or give a socket that can be reached with --socket"
    )]
    NoSocket {
        /// The container.
        container: String,
        /// The socket, as its configuration names it.
        socket: String,
    },
    /// The configuration that was named has the path of the container for its socket.
    #[error(
        "HAProxy runs in container {container}: its socket {socket} is {here} on this host. Name that with --socket"
    )]
    SocketElsewhere {
        /// The container.
        container: String,
        /// The socket, as its configuration names it.
        socket: String,
        /// Where it is here.
        here: String,
    },
    /// A file that would have to be written, or that HAProxy would have to check, is the container's.
    #[error("HAProxy runs in container {container}: drainswap writes and executes nothing there. {advice}")]
    ReadOnly {
        /// The container.
        container: String,
        /// What to do instead.
        advice: String,
    },
}

/// The HAProxy processes that do not see this host's files.
#[derive(Debug, Default)]
pub struct Elsewhere {
    /// Those in containers, a master without its workers.
    pub contained: Vec<Process>,
    /// Those in containers of which nothing else can be seen.
    pub unknown: Vec<Uncounted>,
}

impl Elsewhere {
    /// Looks at all processes; `None` where a HAProxy of this host reads these files, or may do so.
    #[must_use]
    pub fn unless_here(files: &[PathBuf]) -> Option<Self> {
        let mut found = Self::default();
        for pid in process::all() {
            let is_nested = || process::is_nested(pid);
            match Process::read(pid) {
                Ok(process) if process.container.is_some() && !process.is_here() => {
                    found.contained.push(process);
                }
                Ok(_) if is_nested() => found.unknown.push(Uncounted::Elsewhere { pid }),
                // What a sandbox of systemd hides from its service are not the files that it reads.
                Ok(process) => {
                    let counts = process.trusted(rustix::process::getuid().as_raw()).is_ok();
                    if counts && process.invocation.reads(files) {
                        return None;
                    }
                }
                Err(reason @ Uncounted::Hidden { .. }) if is_nested() => found.unknown.push(reason),
                Err(Uncounted::Hidden { .. }) => return None,
                Err(_) => {}
            }
        }
        let pids: Vec<u32> = found.contained.iter().map(|process| process.pid).collect();
        found.contained.retain(|process| !pids.contains(&process.parent));
        Some(found)
    }
}

impl Contained {
    /// The HAProxy of a process in a container that its engine has shown.
    ///
    /// # Errors
    /// Where the process is in another container, or the caller may not look into this one.
    pub fn new(process: Process, holder: Holder) -> Result<Self, Uncounted> {
        let pid = process.pid;
        // HAProxy may have given its own root up; the first process of the container has not.
        let root = ContainerRoot::of(holder.pid).map_err(|_| Uncounted::Hidden { pid })?;
        let is_there = process::ancestry(pid).any(|ancestor| ancestor == holder.pid);
        // The engine may be another host's, where the same number is another process.
        if !is_there || !process.has_mounts_of(holder.pid) {
            return Err(Uncounted::Elsewhere { pid });
        }
        Ok(Self { process, holder, root: Arc::new(root) })
    }

    /// The container's name.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.holder.name
    }

    /// The files that it was started with, by their paths in the container.
    ///
    /// # Errors
    /// The one that cannot be read.
    pub fn files(&self) -> Result<Vec<SourceFile>, NotReached> {
        let unreadable = |Unreadable { path, reason }| NotReached::Unreadable {
            container: self.holder.name.clone(),
            path,
            reason,
        };
        self.root.read(&self.process.invocation.files()).map_err(unreadable)
    }

    /// Where a file of the container is on this host, by its mounts: the very file, whatever links lead to it.
    #[must_use]
    pub fn on_host(&self, path: &Path) -> Option<PathBuf> {
        on_host(&self.root, &self.holder.mounts, &self.process.invocation.directory.join(path))
    }

    /// Whether a file of the container is mounted alone: it then stays what it was when another one takes its name.
    #[must_use]
    pub fn is_mounted_alone(&self, path: &Path) -> bool {
        self.holder.mounts.iter().any(|mount| mount.destination == path)
    }

    /// The refusal to do there what is not done in a container.
    #[must_use]
    pub fn read_only(&self, advice: String) -> NotReached {
        NotReached::ReadOnly { container: self.holder.name.clone(), advice }
    }

    /// Where its runtime or master socket is reached from this host.
    ///
    /// # Errors
    /// That it is not.
    pub fn socket(&self, address: &SocketAddress) -> Result<SocketAddress, NotReached> {
        let here = match address {
            SocketAddress::Unix(path) => self.on_host(path).map(SocketAddress::Unix),
            SocketAddress::Abstract(_) | SocketAddress::Tcp { .. } => {
                self.process.shares_network.then(|| address.clone())
            }
        };
        let container = self.holder.name.clone();
        here.ok_or_else(|| NotReached::NoSocket { container, socket: address.to_string() })
    }
}

fn on_host(root: &ContainerRoot, mounts: &[Mount], path: &Path) -> Option<PathBuf> {
    let Found { path, identity, .. } = root.find(path).ok()?;
    let real = |mount: &Mount| {
        let destination = root.find(&mount.destination).ok()?.path;
        Some(Mount { destination, source: mount.source.clone() })
    };
    let mounts: Vec<Mount> = mounts.iter().filter_map(real).collect();
    let here = below_mount(&mounts, &path)?;
    let found = here.symlink_metadata().ok()?;
    ((found.dev(), found.ino()) == identity).then_some(here)
}

/// The path on the host of what is at a path of the container, by the mount that is nearest to it.
fn below_mount(mounts: &[Mount], path: &Path) -> Option<PathBuf> {
    let below = |mount: &Mount| Some((mount.source.clone(), path.strip_prefix(&mount.destination).ok()?));
    let fits = mounts.iter().filter_map(below);
    let (source, rest) = fits.min_by_key(|(_, rest)| rest.components().count())?;
    // A path that ends with a slash is a directory's.
    Some(if rest.as_os_str().is_empty() { source } else { source.join(rest) })
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_nearest_mount_says_where_a_file_is() {
        let mount = |source: &str, destination: &str| Mount {
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
            let mount = Mount { source: at(source), destination: "/var/run/haproxy".into() };
            on_host(&root, &[mount], Path::new(path))
        };
        let socket = Some(at("root/run/haproxy/admin.sock"));
        for path in ["/var/run/haproxy/admin.sock", "/run/haproxy/admin.sock", "/run/haproxy/current"] {
            assert_eq!(find("root/run/haproxy", path), socket, "{path}");
        }
        // What leads out of the mount is not in it, and a file of the same name is another one.
        assert_eq!(find("root/run/haproxy", "/run/haproxy/planted"), None);
        assert_eq!(find("other", "/run/haproxy/admin.sock"), None);
        assert_eq!(find("root/run/haproxy", "/run/haproxy/gone"), None);
    }
}
