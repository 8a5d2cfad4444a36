//! Checks the user of the process that listens at a runtime socket.
//!
//! The process that listens there decides what drainswap believes about every server, so drainswap does not talk to a
//! socket that another user has put in the place of HAProxy's. The kernel records the user of the process that called
//! `listen()`; HAProxy calls it before it drops root. The kernel also records the PID, but that proves nothing: after a
//! reload it is the PID of a process that has exited.

use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use super::address::SocketAddress;
use crate::model::trust::Entry;

const ROOT: u32 = 0;

/// The listening process belongs to a user who should not own it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the process that listens there belongs to uid {uid}, which is neither root, nor this user, nor the user of the \
     HAProxy found here. Check which program created the socket. If it is the right one, move the socket to a \
     directory that belongs to uid {uid} and is not writable by everyone, or run drainswap as that user"
)]
pub struct UntrustedPeer {
    pub uid: u32,
}

/// Refuses a listening process of an unexpected user. `owner` is the user of the identified HAProxy process.
///
/// HAProxy in a container runs as another user (99 in the official image), and its process cannot be identified. Its
/// socket is accepted in a directory that belongs to that user.
pub(super) fn admit(
    stream: &UnixStream,
    address: &SocketAddress,
    owner: Option<u32>,
) -> std::io::Result<Result<(), UntrustedPeer>> {
    let uid = stream.peer_cred()?.uid();
    let known = [Some(ROOT), Some(rustix::process::getuid().as_raw()), owner].contains(&Some(uid));
    let is_admitted = known
        || match address {
            SocketAddress::Unix(path) => is_place_of(uid, path),
            SocketAddress::Abstract(_) | SocketAddress::Tcp { .. } => false,
        };
    Ok(if is_admitted { Ok(()) } else { Err(UntrustedPeer { uid }) })
}

/// Returns whether the socket's directory belongs to this user, and no directory on the path is writable by everyone.
fn is_place_of(uid: u32, socket: &Path) -> bool {
    let Ok(named) = std::path::absolute(socket) else { return false };
    let Some(named) = named.parent() else { return false };
    let Ok(real) = named.canonicalize() else { return false };
    let above = |path: &Path| path.ancestors().map(PathBuf::from).collect::<Vec<_>>();
    let look = |path: PathBuf| path.metadata().map(|found| Entry::from(&found));
    let mut directories = above(&real).into_iter().chain(above(named)).map(look);
    let Some(Ok(directory)) = directories.next() else { return false };
    directory.uid == uid
        && !directory.is_writable_by_everyone()
        && directories.all(|above| above.is_ok_and(|above| !above.is_writable_by_everyone()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Creates a directory below `target`, because `/tmp` is writable by everyone; if `target` is below `/tmp` too, in
    /// the home directory.
    fn directory() -> tempfile::TempDir {
        let program = std::env::current_exe().unwrap();
        let places = [program.parent().map(Path::to_owned), std::env::home_dir()];
        let is_open = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o002 != 0;
        let closed = places.into_iter().flatten().find(|place| !place.ancestors().any(is_open));
        tempfile::TempDir::with_prefix_in(
            "peer-",
            closed.expect("a directory that is not writable by everyone"),
        )
        .unwrap()
    }

    #[test]
    fn a_socket_belongs_to_the_owner_of_its_directory() {
        let directory = directory();
        let run = directory.path().join("run");
        std::fs::create_dir(&run).unwrap();
        let owner = std::fs::metadata(&run).unwrap().uid();
        let socket = run.join("admin.sock");
        mode(&run, 0o2775);
        assert!(is_place_of(owner, &socket) && !is_place_of(owner + 1, &socket));
        mode(&run, 0o1777);
        assert!(!is_place_of(owner, &socket), "everyone can create a socket here");
        mode(&run, 0o755);
        mode(directory.path(), 0o1777);
        assert!(!is_place_of(owner, &socket), "everyone can create a directory here");
        assert!(!is_place_of(owner, Path::new("/nowhere/at/all")));
    }

    #[test]
    fn a_link_in_a_directory_that_everyone_can_write_is_refused() {
        let (directory, open) = (directory(), directory());
        let owner = std::fs::metadata(directory.path()).unwrap().uid();
        std::os::unix::fs::symlink(directory.path(), open.path().join("run")).unwrap();
        assert!(is_place_of(owner, &open.path().join("run/admin.sock")));
        mode(open.path(), 0o1777);
        assert!(!is_place_of(owner, &open.path().join("run/admin.sock")));
    }

    /// Only root can change the owner of a directory.
    #[test]
    fn a_container_s_user_is_accepted_in_its_own_directory() {
        const OF_THE_IMAGE: u32 = 99;
        let directory = directory();
        let socket = directory.path().join("admin.sock");
        if chown(directory.path(), Some(OF_THE_IMAGE), None).is_ok() {
            assert!(is_place_of(OF_THE_IMAGE, &socket) && !is_place_of(OF_THE_IMAGE + 1, &socket));
        }
    }
}
