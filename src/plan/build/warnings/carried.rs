//! What becomes of the settings and the data that a new container takes over, where that may surprise.

use std::collections::BTreeMap;

use crate::observation::{Container, Observation, UnnamedVolume};
use crate::plan::Lane;

pub(super) fn all(observation: &Observation, lanes: &[Lane]) -> Vec<String> {
    volumes(observation, lanes)
}

/// What happens to volumes without a name. The engine fills a new one with the image's files, and never again.
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
    let carried = carried.told(|containers, places| {
        format!(
            "the data of {containers} at {places} is carried over in volumes without a name: files that the new image has there do not arrive. --renew-anon-volumes gives new volumes"
        )
    });
    let renewed = renewed.told(|containers, places| {
        format!(
            "{containers} will have new volumes at {places} (--renew-anon-volumes): the data of now stays with the old container, until `drainswap prune` removes both"
        )
    });
    // No container of a Compose project is kept.
    let left = left.told(|containers, places| {
        format!(
            "{containers} will have new volumes at {places} (--renew-anon-volumes): the data of now stays in volumes that no container has then (docker volume ls --filter dangling=true)"
        )
    });
    carried.chain(renewed).chain(left).collect()
}

/// Containers by the places at which they have volumes.
#[derive(Default)]
struct ByPlace<'a>(BTreeMap<Vec<&'a str>, Vec<&'a str>>);

impl<'a> ByPlace<'a> {
    fn add(&mut self, container: &'a Container, is_meant: impl Fn(&UnnamedVolume) -> bool) {
        let meant = container.unnamed_volumes.iter().flatten().filter(|it| is_meant(it));
        let mut places: Vec<&str> = meant.map(|it| it.target.as_str()).collect();
        places.sort_unstable();
        if !places.is_empty() {
            self.0.entry(places).or_default().push(&container.name);
        }
    }

    fn told(self, tell: impl Fn(String, String) -> String) -> impl Iterator<Item = String> {
        self.0.into_iter().map(move |(places, containers)| tell(containers.join(", "), places.join(", ")))
    }
}
