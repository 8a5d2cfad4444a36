//! Tools that replace containers by themselves, without a drain.

use std::collections::BTreeMap;

use crate::observation::Container;
use crate::outcome::named;

/// A Watchtower that runs, and the containers of these that it would replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updater<'a> {
    name: &'a str,
    containers: Vec<&'a str>,
}

/// Those that would replace any of these containers.
#[must_use]
pub fn updaters<'a>(containers: impl IntoIterator<Item = &'a Container>) -> Vec<Updater<'a>> {
    let mut found: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for container in containers {
        if let Some(updater) = &container.updated_by {
            let names = found.entry((&container.engine, updater)).or_default();
            // The lines of one container name it several times.
            if !names.contains(&container.name.as_str()) {
                names.push(&container.name);
            }
        }
    }
    found.into_iter().map(|((_, name), containers)| Updater { name, containers }).collect()
}

impl Updater<'_> {
    /// What it would do.
    #[must_use]
    pub fn what(&self) -> String {
        let (name, containers) = (self.name, named(&self.containers));
        format!("the Watchtower {name} replaces {containers} without draining when the image's tag changes")
    }

    /// How to keep it from that.
    #[must_use]
    pub fn remedy(&self) -> String {
        let (each, its) = if self.containers.len() == 1 { ("it", "it") } else { ("them", "each") };
        format!(
            "name {each} in WATCHTOWER_DISABLE_CONTAINERS of {}, or give {its} the label com.centurylinklabs.watchtower.enable=false",
            self.name
        )
    }
}
