//! A Watchtower that runs beside containers, and what decides whether it replaces one.

use std::collections::BTreeMap;

use regex::RegexBuilder;
use serde::{Deserialize, Serialize};

/// Whether a container is to be updated.
const ENABLE_LABEL: &str = "com.centurylinklabs.watchtower.enable";
/// Whether a container's new image is only reported.
const MONITOR_LABEL: &str = "com.centurylinklabs.watchtower.monitor-only";
/// Which Watchtower is meant, where there are several.
const SCOPE_LABEL: &str = "com.centurylinklabs.watchtower.scope";
/// The scope of those without one.
const NO_SCOPE: &str = "none";

/// The most that a pattern of names may take in memory.
const PATTERN_LIMIT: usize = 1 << 16;

/// The settings of a Watchtower, as far as they say which containers it replaces.
///
/// What it takes and leaves is what containrrr/watchtower and its successor nicholas-fedor/watchtower do (`pkg/filters`):
/// where they differ, a container counts as taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watchtower {
    /// Patterns of the names that it is for; none for all.
    pub only: Vec<String>,
    /// Patterns of the names that it leaves out.
    pub disabled: Vec<String>,
    /// Whether it takes only containers that a label enables.
    pub needs_label: bool,
    /// Whether it reports new images, and replaces nothing.
    pub only_monitors: bool,
    /// Whether a container's own label decides whether it is only monitored.
    pub label_decides: bool,
    /// Its scope; empty for all containers.
    pub scope: String,
}

/// The labels of a container that Watchtower heeds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct UpdateLabels {
    /// Whether it is to be updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable: Option<bool>,
    /// Whether its new image is only reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_only: Option<bool>,
    /// Which Watchtower is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

impl UpdateLabels {
    /// The labels by their names.
    #[must_use]
    pub fn of<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Self {
        Self {
            enable: label(ENABLE_LABEL).map(is_true),
            monitor_only: label(MONITOR_LABEL).map(is_true),
            scope: label(SCOPE_LABEL).filter(|scope| !scope.is_empty()).map(str::to_owned),
        }
    }

    /// Those of a description.
    #[must_use]
    pub fn of_map(labels: &BTreeMap<String, String>) -> Self {
        Self::of(|name| labels.get(name).map(String::as_str))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Watchtower {
    /// Whether it replaces a running container of this name and with these labels when its image's tag changes.
    #[must_use]
    pub fn replaces(&self, name: &str, labels: &UpdateLabels) -> bool {
        let is_monitored = match labels.monitor_only {
            Some(monitored) if self.label_decides => monitored,
            monitored => self.only_monitors || monitored == Some(true),
        };
        labels.enable.unwrap_or(!self.needs_label)
            && !is_monitored
            && (self.scope.is_empty() || self.scope == labels.scope.as_deref().unwrap_or(NO_SCOPE))
            && (self.only.is_empty() || self.only.iter().any(|pattern| matches(pattern, name)))
            && !self.disabled.iter().any(|pattern| matches(pattern, name))
    }
}

/// Whether an image's name is one whose image may change: an image by its digest or identifier never does.
#[must_use]
pub fn is_movable(image_reference: &str) -> bool {
    !image_reference.contains('@') && !image_reference.starts_with("sha256:")
}

/// Whether Go's `strconv.ParseBool` takes a text for true.
#[must_use]
pub fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// Whether a name is the pattern, or is matched by it as a whole.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern = pattern.trim_start_matches('/');
    let whole = || RegexBuilder::new(&format!("^{pattern}$")).size_limit(PATTERN_LIMIT).build();
    pattern == name || whole().is_ok_and(|whole| whole.is_match(name))
}
