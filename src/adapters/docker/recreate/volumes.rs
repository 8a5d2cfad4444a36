//! Anonymous volumes: their data belongs to the container all the same.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bollard::models::{ContainerInspectResponse, Mount, MountPoint, MountType};

use super::SourceContainer;
use crate::service::container::clean;

/// Returns the mounts of the new container: the requested ones, and each anonymous volume by the name that the engine
/// generated. A sibling's anonymous volumes stay with the sibling. The new container then gets new ones, and also
/// when the volumes are to be renewed.
pub(super) fn mounts(source: &SourceContainer<'_>) -> Option<Vec<Mount>> {
    if source.renews_volumes {
        let mounts = source.host.mounts.as_ref()?;
        return Some(mounts.iter().map(renewed).collect());
    }
    let mut mounts = source.host.mounts.clone().unwrap_or_default();
    let binds = source.host.binds.iter().flatten().filter_map(|bind| bind_target(bind));
    let bound: Vec<String> = binds.map(clean).collect();
    for point in source.inspect.mounts.iter().flatten().filter(|point| point.typ.as_deref() == Some("volume"))
    {
        let Some(target) = point.destination.as_ref().filter(|target| !bound.contains(&clean(target))) else {
            continue;
        };
        let is_there = |mount: &&mut Mount| mount.target.as_ref().is_some_and(|it| is_same(it, target));
        match mounts.iter_mut().find(is_there) {
            Some(mount) if mount.source.as_deref().unwrap_or_default().is_empty() => {
                mount.source.clone_from(&point.name);
            }
            // The new container gets it from the lender, in its current form.
            None if is_lent(source.inspect, target) => {}
            Some(_) => {}
            None => mounts.push(by_name(point)),
        }
    }
    (!mounts.is_empty() || source.host.mounts.is_some()).then_some(mounts)
}

/// Returns whether the container gets the mount at `target` from another container and did not request it itself.
fn is_lent(inspect: &ContainerInspectResponse, target: &str) -> bool {
    let declared = inspect.config.as_ref().and_then(|config| config.volumes.as_ref()).into_iter().flatten();
    let mounts = inspect.host_config.as_ref().and_then(|host| host.mounts.as_ref()).into_iter().flatten();
    let mut own = declared.map(String::as_str).chain(mounts.filter_map(|mount| mount.target.as_deref()));
    !lenders(inspect).is_empty() && !own.any(|it| is_same(it, target))
}

/// Returns the target of a bind `source:target[:options]`; `None` if it names no source.
fn bind_target(bind: &str) -> Option<&str> {
    bind.split(':').nth(1)
}

/// Returns whether both paths name the same place in the container. The engine keeps the text as typed, but mounts at
/// the normalised path: `/data/`, `//data` and `/x/../data` are all `/data`, and it refuses two of them in one
/// container.
pub(in crate::adapters::docker) fn is_same(one: &str, other: &str) -> bool {
    clean(one) == clean(other)
}

/// Returns the mount, with a new volume in place of an anonymous one. A volume that was carried over before is
/// mounted by its generated name.
fn renewed(mount: &Mount) -> Mount {
    let anonymous =
        mount.typ == Some(MountType::VOLUME) && mount.source.as_ref().is_some_and(|name| is_unnamed(name));
    // The engine refuses a new volume that is read-only.
    let read_only = mount.read_only.filter(|_| !anonymous);
    Mount { source: mount.source.clone().filter(|_| !anonymous), read_only, ..mount.clone() }
}

/// Returns whether Docker generated this volume name.
pub(in crate::adapters::docker) fn is_unnamed(name: &str) -> bool {
    name.len() == 64 && name.chars().all(|digit| digit.is_ascii_hexdigit())
}

/// Returns the containers whose volumes the container mounts (`--volumes-from`), by name or identifier.
pub(in crate::adapters::docker) fn lenders(old: &ContainerInspectResponse) -> Vec<String> {
    let all = old.host_config.as_ref().and_then(|host| host.volumes_from.as_ref());
    all.into_iter().flatten().map(|lent| lender(lent).to_owned()).collect()
}

/// Returns the name in `NAME[:MODE]`.
fn lender(volumes_from: &str) -> &str {
    volumes_from.split(':').next().unwrap_or(volumes_from)
}

/// Returns the container as if it had requested the mounts of missing lenders itself: the engine refuses to create a
/// container that names a missing one.
pub(in crate::adapters::docker) fn without_lenders<'a>(
    old: &'a ContainerInspectResponse,
    gone: &[String],
) -> Cow<'a, ContainerInspectResponse> {
    let (false, Some(host)) = (gone.is_empty(), &old.host_config) else { return Cow::Borrowed(old) };
    let mut host = host.clone();
    if let Some(lent) = &mut host.volumes_from {
        lent.retain(|it| !gone.iter().any(|gone| gone == lender(it)));
    }
    let declared = old.config.as_ref().and_then(|config| config.volumes.as_ref()).into_iter().flatten();
    let binds = host.binds.iter().flatten().filter_map(|bind| bind_target(bind));
    let mounts = host.mounts.iter().flatten().filter_map(|mount| mount.target.as_deref());
    let own: Vec<String> = declared.map(String::as_str).chain(binds).chain(mounts).map(clean).collect();
    for point in old.mounts.iter().flatten() {
        let Some(target) = point.destination.as_deref().filter(|target| !own.contains(&clean(target))) else {
            continue;
        };
        match (point.typ.as_deref(), &point.name, &point.source) {
            // In text form it counts as named, so it is never renewed.
            (Some("volume"), Some(name), _) => {
                let access = if point.rw == Some(false) { ":ro" } else { "" };
                host.binds.get_or_insert_default().push(format!("{name}:{target}{access}"));
            }
            (Some("bind"), _, Some(source)) => host.mounts.get_or_insert_default().push(Mount {
                typ: Some(MountType::BIND),
                source: Some(source.clone()),
                target: Some(target.to_owned()),
                read_only: Some(point.rw == Some(false)),
                ..Mount::default()
            }),
            _ => {}
        }
    }
    Cow::Owned(ContainerInspectResponse { host_config: Some(host), ..old.clone() })
}

/// Returns the generated names of a container's anonymous volumes.
pub(in crate::adapters::docker) fn unnamed(found: &ContainerInspectResponse) -> BTreeSet<String> {
    unnamed_points(found).map(|(name, _)| name.to_owned()).collect()
}

/// Returns the anonymous volumes that are the container's own and do not come from another container.
pub(in crate::adapters::docker) fn own(found: &ContainerInspectResponse) -> BTreeSet<String> {
    unnamed_points(found)
        .filter(|(_, target)| !is_lent(found, target))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Returns whether a container beside this one gets a new volume instead of this volume: only the container's own
/// anonymous ones, unless a bind asks for one by the name that the engine made up.
pub(in crate::adapters::docker) fn is_renewed(found: &ContainerInspectResponse, name: &str) -> bool {
    let mut binds = found.host_config.iter().flat_map(|host| host.binds.iter().flatten());
    own(found).contains(name) && !binds.any(|bind| bind.split(':').next() == Some(name))
}

fn unnamed_points(found: &ContainerInspectResponse) -> impl Iterator<Item = (&str, &str)> {
    points(found).filter(|(name, _)| is_unnamed(name))
}

/// Returns the name and the target of each volume of a container.
pub(in crate::adapters::docker) fn points(
    found: &ContainerInspectResponse,
) -> impl Iterator<Item = (&str, &str)> {
    let points = found.mounts.iter().flatten().filter(|point| point.typ.as_deref() == Some("volume"));
    points.filter_map(|point| Some((point.name.as_deref()?, point.destination.as_deref()?)))
}

/// Returns a mount of a mount point's volume, by its name.
pub(in crate::adapters::docker) fn by_name(point: &MountPoint) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: point.name.clone(),
        target: point.destination.clone(),
        read_only: Some(point.rw == Some(false)),
        ..Mount::default()
    }
}
