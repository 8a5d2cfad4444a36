//! Whether the engine's disk has room for an image.
//!
//! An engine tells neither what is free nor, before a pull, how large the image is. On this host the first is asked of
//! the system; the second is known when the layers begin to come.

use std::path::PathBuf;

use super::call::Purpose;
use super::{CALL_LIMIT, DockerEngine, Endpoint};
use crate::foreign;

/// How much an image takes for each byte that the registry sends: packed and unpacked lie there side by side for a
/// while, and unpacked is two or three times packed. Whoever is refused by this would most likely fill the disk.
const TIMES: u64 = 2;
/// What the storage of engines that leave images to containerd says of itself; it is elsewhere.
const CONTAINERD: &str = "io.containerd.snapshotter";

/// What was free where the engine keeps its images, before a pull.
pub(super) struct Room {
    root: PathBuf,
    free: u64,
}

impl DockerEngine {
    /// What is free; `None` where that cannot be known from here.
    pub(super) async fn room(&self) -> Option<Room> {
        let Endpoint::Unix(_) = self.endpoint else { return None };
        let purpose = Purpose { action: "tell", subject: "where it keeps its images" };
        let info = self.within(CALL_LIMIT, purpose, self.client.info()).await.ok()?;
        if info.driver_status.iter().flatten().flatten().any(|word| word.starts_with(CONTAINERD)) {
            return None;
        }
        let root = PathBuf::from(info.docker_root_dir?);
        let disk = rustix::fs::statvfs(&root).ok()?;
        Some(Room { root, free: disk.f_bavail.saturating_mul(disk.f_frsize) })
    }
}

impl Room {
    /// Why an image of which the registry sends so many bytes is too large, if it is.
    pub fn lacks(&self, bytes: u64) -> Option<String> {
        let needed = bytes.saturating_mul(TIMES);
        (needed > self.free).then(|| {
            let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
            format!(
                "it takes some {} MB, and {} MB are free in {}",
                megabytes(needed),
                self.free / 1_000_000,
                foreign::path(&self.root)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_needs_room_twice() {
        let room = Room { root: "/var/lib/docker".into(), free: 100_000_000 };
        assert_eq!(room.lacks(50_000_000), None);
        assert_eq!(
            room.lacks(50_000_001).as_deref(),
            Some("it takes some 101 MB, and 100 MB are free in /var/lib/docker")
        );
        assert!(room.lacks(u64::MAX).is_some());
    }
}
