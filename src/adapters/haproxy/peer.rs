//! Which user's process may answer at a runtime socket.
//!
//! Whoever listens there decides what drainswap believes of every server, so that a socket which a stranger has put in
//! the place of HAProxy's is not spoken to. The kernel keeps the user of the process that called `listen()`: HAProxy
//! does that before it gives root up. It keeps the process's number too, but that proves nothing: after a reload it is
//! the number of a process that has ended.

use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use super::address::SocketAddress;
use crate::trust::Entry;

const ROOT: u32 = 0;

/// The process that listens belongs to a user who has no business there.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the process that listens there belongs to uid {uid}, which is not root, this user or the HAProxy that runs here. \
     Find out who put the socket there. If it is right, put it into a directory that belongs to uid {uid} and that \
     not everybody can write, or run drainswap as that user"
)]
pub struct Stranger {
    /// The user.
    pub uid: u32,
}

/// Refuses a stranger. `owner` is the user of the HAProxy process that was identified.
///
/// HAProxy in a container has a user of its own (99 in the official image) and no process that could be identified. Its
/// socket is accepted in a directory that was given to that user.
pub(super) fn admit(
    stream: &UnixStream,
    address: &SocketAddress,
    owner: Option<u32>,
) -> std::io::Result<Result<(), Stranger>> {
    let uid = stream.peer_cred()?.uid();
    let known = [Some(ROOT), Some(rustix::process::getuid().as_raw()), owner].contains(&Some(uid));
    let is_admitted = known
        || match address {
            SocketAddress::Unix(path) => is_place_of(uid, path),
            SocketAddress::Abstract(_) | SocketAddress::Tcp { .. } => false,
        };
    Ok(if is_admitted { Ok(()) } else { Err(Stranger { uid }) })
}

/// Whether the socket's directory belongs to this user, and not everybody could have put a socket or a directory there.
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

    /// Below `target`, since everybody can write `/tmp`; where that is there too, below the home directory.
    fn directory() -> tempfile::TempDir {
        let program = std::env::current_exe().unwrap();
        let places = [program.parent().map(Path::to_owned), std::env::home_dir()];
        let is_open = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o002 != 0;
        let closed = places.into_iter().flatten().find(|place| !place.ancestors().any(is_open));
        tempfile::TempDir::with_prefix_in("peer-", closed.expect("a place that not everybody can write"))
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
        assert!(!is_place_of(owner, &socket), "everybody can make a socket here");
        mode(&run, 0o755);
        mode(directory.path(), 0o1777);
        assert!(!is_place_of(owner, &socket), "everybody can make a directory here");
        assert!(!is_place_of(owner, Path::new("/nowhere/at/all")));
    }

    #[test]
    fn a_link_that_everybody_can_make_leads_nowhere() {
        let (directory, open) = (directory(), directory());
        let owner = std::fs::metadata(directory.path()).unwrap().uid();
        std::os::unix::fs::symlink(directory.path(), open.path().join("run")).unwrap();
        assert!(is_place_of(owner, &open.path().join("run/admin.sock")));
        mode(open.path(), 0o1777);
        assert!(!is_place_of(owner, &open.path().join("run/admin.sock")));
    }

    /// Only root can give a directory away.
    #[test]
    fn a_container_s_user_is_known_by_its_directory() {
        const OF_THE_IMAGE: u32 = 99;
        let directory = directory();
        let socket = directory.path().join("admin.sock");
        if chown(directory.path(), Some(OF_THE_IMAGE), None).is_ok() {
            assert!(is_place_of(OF_THE_IMAGE, &socket) && !is_place_of(OF_THE_IMAGE + 1, &socket));
        }
    }
}
