//! Volumes that nobody named: the data in them belongs to the container all the same.

use bollard::models::{Mount, MountPoint, MountType};

use super::Source;
use crate::service::container::clean;

/// The mounts of the new container: those that were asked for, and each anonymous volume by the name that the
/// engine gave it. A sibling's anonymous volumes are its own; the new container gets new ones.
pub(super) fn mounts(source: &Source<'_>) -> Option<Vec<Mount>> {
    if source.is_sibling {
        let mounts = source.host.mounts.as_ref()?;
        return Some(mounts.iter().map(renewed).collect());
    }
    let mut mounts = source.host.mounts.clone().unwrap_or_default();
    for point in source.inspect.mounts.iter().flatten().filter(|point| point.typ.as_deref() == Some("volume"))
    {
        let Some(target) = &point.destination else { continue };
        if source.host.binds.iter().flatten().any(|bind| bind_target(bind).is_some_and(|it| is_same(it, target)))
        {
            continue;
        }
        let is_there = |mount: &&mut Mount| mount.target.as_ref().is_some_and(|it| is_same(it, target));
        match mounts.iter_mut().find(is_there) {
            Some(mount) if mount.source.as_deref().unwrap_or_default().is_empty() => {
                mount.source.clone_from(&point.name);
            }
            Some(_) => {}
            None => mounts.push(by_name(point)),
        }
    }
    (!mounts.is_empty() || source.host.mounts.is_some()).then_some(mounts)
}

/// Where a bind `source:target[:options]` is mounted; `None` for one that names no source.
fn bind_target(bind: &str) -> Option<&str> {
    bind.split(':').nth(1)
}

/// Whether both name one place in the container. The engine keeps the text that was typed, and mounts at the path that it
/// amounts to: `/data/`, `//data` and `/x/../data` are `/data`, and two of them in one container are refused.
pub(in crate::adapters::docker) fn is_same(one: &str, other: &str) -> bool {
    clean(one) == clean(other)
}

/// The mount, with a new volume in place of an anonymous one. One that was carried over before is mounted by
/// its name.
fn renewed(mount: &Mount) -> Mount {
    let anonymous =
        mount.typ == Some(MountType::VOLUME) && mount.source.as_ref().is_some_and(|name| is_unnamed(name));
    Mount { source: mount.source.clone().filter(|_| !anonymous), ..mount.clone() }
}

/// Whether a volume's name is one that Docker gave it.
pub(in crate::adapters::docker) fn is_unnamed(name: &str) -> bool {
    name.len() == 64 && name.chars().all(|digit| digit.is_ascii_hexdigit())
}

/// The volume of a mount point, mounted by its name.
pub(in crate::adapters::docker) fn by_name(point: &MountPoint) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: point.name.clone(),
        target: point.destination.clone(),
        read_only: Some(point.rw == Some(false)),
        ..Mount::default()
    }
}
