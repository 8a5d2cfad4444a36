//! Checks whether the engine's disk has room for an image.
//!
//! An engine reports neither its free space nor, before a pull, the size of an image. On this host the system reports
//! the free space, and the size is known once the layers start to arrive.

use std::path::PathBuf;

use super::call::CallContext;
use super::{CALL_LIMIT, DockerEngine, Endpoint};
use crate::model::sanitize;

/// The bytes that an image needs on disk for each byte that the registry sends. Packed and unpacked layers exist side
/// by side for a while, and unpacked layers are two or three times as large. An image that exceeds this limit would
/// most likely fill the disk.
const TIMES: u64 = 2;
/// The storage driver of engines that leave images to containerd, which stores them elsewhere.
const CONTAINERD: &str = "io.containerd.snapshotter";

/// The free space where the engine keeps its images, before a pull.
pub(super) struct DiskSpace {
    root: PathBuf,
    free: u64,
}

impl DockerEngine {
    /// Returns the free space; `None` if it cannot be known from here.
    pub(super) async fn disk_space(&self) -> Option<DiskSpace> {
        let Endpoint::Unix(_) = self.endpoint else { return None };
        let purpose = CallContext { action: "report", subject: "where it keeps its images" };
        let info = self.within(CALL_LIMIT, purpose, self.client.info()).await.ok()?;
        if info.driver_status.iter().flatten().flatten().any(|word| word.starts_with(CONTAINERD)) {
            return None;
        }
        let root = PathBuf::from(info.docker_root_dir?);
        let disk = rustix::fs::statvfs(&root).ok()?;
        Some(DiskSpace { root, free: disk.f_bavail.saturating_mul(disk.f_frsize) })
    }
}

impl DiskSpace {
    /// Returns why an image is too large if the registry sends this many bytes for it; `None` if there is room.
    pub fn shortage(&self, bytes: u64) -> Option<String> {
        let needed = bytes.saturating_mul(TIMES);
        (needed > self.free).then(|| {
            let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
            format!(
                "it needs about {} MB, but only {} MB are free in {}",
                megabytes(needed),
                self.free / 1_000_000,
                sanitize::path(&self.root)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_needs_twice_its_size() {
        let room = DiskSpace { root: "/var/lib/docker".into(), free: 100_000_000 };
        assert_eq!(room.shortage(50_000_000), None);
        assert_eq!(
            room.shortage(50_000_001).as_deref(),
            Some("it needs about 101 MB, but only 100 MB are free in /var/lib/docker")
        );
        assert!(room.shortage(u64::MAX).is_some());
    }
}
