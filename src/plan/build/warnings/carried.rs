//! Warnings about settings and data that a new container takes over in ways that may surprise.

use std::collections::BTreeMap;

use crate::observation::{Container, Observation, UnnamedVolume};
use crate::plan::{Lane, Replacement};
use crate::topology::matching::ContainerRole;

pub(super) fn all(observation: &Observation, lanes: &[Lane]) -> Vec<String> {
    let mut warnings = volumes(observation, lanes);
    warnings.extend(open_files(observation, lanes));
    for replacement in lanes.iter().filter_map(|lane| lane.replacement.as_ref()) {
        warnings.extend(linked(replacement, &observation.containers));
        warnings.extend(sibling_settings_note(replacement));
    }
    warnings
}

/// Returns a note for new containers that may open fewer files than those that they replace.
fn open_files(observation: &Observation, lanes: &[Lane]) -> Vec<String> {
    let mut fewer: BTreeMap<(u64, u64), Vec<&str>> = BTreeMap::new();
    for replacement in lanes.iter().filter_map(|lane| lane.replacement.as_ref()) {
        let Some(old) =
            replacement.old.as_ref().filter(|_| replacement.is_created() && !replacement.described)
        else {
            continue;
        };
        let now = observation.hosts.get(&old.engine).and_then(|host| host.open_files);
        if let (Some(had), Some(now)) = (old.open_files, now)
            && now < had
        {
            fewer.entry((had, now)).or_default().push(&old.name);
        }
    }
    let notes = fewer.into_iter().map(|((had, now), names)| {
        format!(
            "{} can open {had} files, but the replacement can open only {now}, containerd's current limit. Set LimitNOFILE={had} in \
             containerd.service, or --ulimit nofile={had}, to keep the old limit",
            names.join(", ")
        )
    });
    notes.collect()
}

/// Returns notes on anonymous volumes. The engine fills a new one with the image's files once, and never again.
fn volumes(observation: &Observation, lanes: &[Lane]) -> Vec<String> {
    let (mut carried, mut renewed, mut left) = (ByPlace::default(), ByPlace::default(), ByPlace::default());
    for lane in lanes {
        let Some(replacement) = lane.replacement.as_ref().filter(|it| it.is_created()) else { continue };
        let Some(old) = &replacement.old else { continue };
        if replacement.renew_volumes && old.is_of_compose() {
            left.add(old, |_| true);
        } else if replacement.renew_volumes {
            renewed.add(old, |_| true);
        } else if !replacement.image.is_run_by(&old.image, &old.repo_digests) {
            let described = observation.described.get(&lane.name().backend);
            let described = described.filter(|_| replacement.described);
            let goes_on = |it: &UnnamedVolume| described.is_none_or(|now| !now.mounts.contains(&it.target));
            carried.add(old, |it| it.by_image && goes_on(it));
        }
    }
    let carried = carried.notes(|containers, places| {
        format!(
            "the data of {containers} at {places} is carried over in anonymous volumes, which hide the new image's files there. Use --renew-anon-volumes to get new volumes"
        )
    });
    let renewed = renewed.notes(|containers, places| {
        format!(
            "{containers} will get new volumes at {places} (--renew-anon-volumes): the current data stays with the old container until `drainswap prune` removes both"
        )
    });
    // No container of a Compose project is kept.
    let left = left.notes(|containers, places| {
        format!(
            "{containers} will get new volumes at {places} (--renew-anon-volumes): the current data stays in volumes that no container uses any more (docker volume ls --filter dangling=true)"
        )
    });
    carried.chain(renewed).chain(left).collect()
}

/// Containers by the paths at which they have volumes.
#[derive(Default)]
struct ByPlace<'a>(BTreeMap<Vec<&'a str>, Vec<&'a str>>);

impl<'a> ByPlace<'a> {
    fn add(&mut self, container: &'a Container, matches: impl Fn(&UnnamedVolume) -> bool) {
        let volumes = container.unnamed_volumes.iter().flatten().filter(|it| matches(it));
        let mut places: Vec<&str> = volumes.map(|it| it.target.as_str()).collect();
        places.sort_unstable();
        if !places.is_empty() {
            self.0.entry(places).or_default().push(&container.name);
        }
    }

    fn notes(self, note: impl Fn(String, String) -> String) -> impl Iterator<Item = String> {
        self.0.into_iter().map(move |(places, containers)| note(containers.join(", "), places.join(", ")))
    }
}

/// Returns notes on containers that link to the old one in the default network. The engine writes that container's
/// address into their hosts file, and refuses to start them while it does not run (seen with 20.10).
fn linked(replacement: &Replacement, containers: &[Container]) -> Vec<String> {
    let Some(old) = &replacement.old else { return Vec::new() };
    let links = |it: &&Container| it.engine == old.engine && it.links.contains(&old.name);
    let linked = containers.iter().filter(links).filter(|it| !ContainerRole::is_name(&it.name));
    let notes = linked.map(|it| {
        format!(
            "{} links to {} (--link): it will not reach the new container and cannot start without the old one. Recreate it after the deploy",
            it.name, old.name
        )
    });
    notes.collect()
}

/// Returns what a container created with a sibling's settings shares with it, and what it does not get.
fn sibling_settings_note(replacement: &Replacement) -> Option<String> {
    let like = Some(&replacement.like).filter(|_| replacement.old.is_none() && !replacement.described)?;
    let publish = replacement.publish?;
    let is_own = |alias: &String| {
        *alias == like.name || Some(alias) == like.hostname.as_ref() || alias == like.id.short()
    };
    let aliases = like.networks.iter().flat_map(|network| &network.aliases).filter(|alias| !is_own(alias));
    let other_ports = like.published.iter().filter(|port| port.container_port != publish.container_port);
    let shared = [named("volume", like.named_volumes.iter()), named("alias", aliases)];
    let left_out = [
        named("hostname", like.hostname.iter()),
        named("published port", other_ports.map(|it| format!("{}:{}:{}", it.ip, it.port, it.container_port))),
    ];
    let listed = |what: &str, parts: [Option<String>; 2]| {
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| format!("{what} {}", parts.join(", ")))
    };
    let parts: Vec<String> = [listed("it shares the", shared), listed("it does not get the", left_out)]
        .into_iter()
        .flatten()
        .collect();
    (!parts.is_empty()).then(|| {
        format!("{} is created with the settings of {}: {}", replacement.name, like.name, parts.join("; "))
    })
}

/// Formats names as `volume a and b`, or returns `None` if there are none.
fn named(what: &str, names: impl Iterator<Item = impl ToString>) -> Option<String> {
    let mut names: Vec<String> = names.map(|name| name.to_string()).collect();
    names.sort();
    names.dedup();
    (!names.is_empty()).then(|| format!("{what} {}", names.join(" and ")))
}
