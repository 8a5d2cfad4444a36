//! Tools that replace containers by themselves, without a drain.

use std::collections::BTreeMap;

use crate::model::words::named;
use crate::observation::watchtower::{UpdateLabels, is_movable};
use crate::observation::{Container, ContainerState};

/// A container as it runs, or as it will run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateSubject<'a> {
    pub engine: &'a str,
    pub name: &'a str,
    /// Whether the name of its image may come to mean another image.
    pub is_movable: bool,
    /// The labels that Watchtower reads.
    pub labels: &'a UpdateLabels,
}

impl<'a> UpdateSubject<'a> {
    /// Returns the container as it is, or `None` if it does not run.
    #[must_use]
    pub fn now(container: &'a Container) -> Option<Self> {
        (container.state == ContainerState::Running).then(|| Self::running(container))
    }

    /// Returns the container as it is once it runs.
    #[must_use]
    pub fn running(container: &'a Container) -> Self {
        Self {
            engine: &container.engine,
            name: &container.name,
            is_movable: is_movable(&container.image_reference),
            labels: &container.update_labels,
        }
    }
}

/// A running Watchtower, and the containers that it would replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updater<'a> {
    name: &'a str,
    containers: Vec<&'a str>,
}

/// Returns the updaters among all containers that would replace any of these.
#[must_use]
pub fn updaters<'a>(
    subjects: impl IntoIterator<Item = UpdateSubject<'a>>,
    all: &'a [Container],
) -> Vec<Updater<'a>> {
    let mut found: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for subject in subjects.into_iter().filter(|it| it.is_movable) {
        let replaces = |it: &&Container| {
            let watchtower = it.watchtower.as_ref().filter(|_| it.engine == subject.engine);
            watchtower.is_some_and(|watchtower| watchtower.replaces(subject.name, subject.labels))
        };
        if let Some(updater) = all.iter().find(replaces) {
            let names = found.entry((subject.engine, &updater.name)).or_default();
            // Several lines may name the same container.
            if !names.contains(&subject.name) {
                names.push(subject.name);
            }
        }
    }
    found.into_iter().map(|((_, name), containers)| Updater { name, containers }).collect()
}

impl Updater<'_> {
    /// Returns a sentence about what it would do.
    #[must_use]
    pub fn what(&self) -> String {
        let (name, containers) = (self.name, named(&self.containers));
        format!("the Watchtower {name} replaces {containers} without draining when the image's tag changes")
    }

    /// Returns a sentence about how to prevent that.
    #[must_use]
    pub fn remedy(&self) -> String {
        let (each, its) = if self.containers.len() == 1 { ("it", "it") } else { ("them", "each") };
        format!(
            "name {each} in WATCHTOWER_DISABLE_CONTAINERS of {}, or give {its} the label com.centurylinklabs.watchtower.enable=false",
            self.name
        )
    }
}
