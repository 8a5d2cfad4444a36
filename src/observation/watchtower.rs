//! A running Watchtower, and the rules by which it replaces containers.

use std::collections::BTreeMap;

use regex::RegexBuilder;
use serde::{Deserialize, Serialize};

/// The label that decides whether a container is updated.
const ENABLE_LABEL: &str = "com.centurylinklabs.watchtower.enable";
/// The label that decides whether a new image is only reported.
const MONITOR_LABEL: &str = "com.centurylinklabs.watchtower.monitor-only";
/// The label that names the Watchtower in charge, if there are several.
const SCOPE_LABEL: &str = "com.centurylinklabs.watchtower.scope";
/// The scope of containers without that label.
const NO_SCOPE: &str = "none";

/// The memory limit of a name pattern, in bytes.
const PATTERN_LIMIT: usize = 1 << 16;

/// The settings of a Watchtower that decide which containers it replaces.
///
/// They work as in containrrr/watchtower and its successor nicholas-fedor/watchtower (`pkg/filters`). Where the two
/// differ, a container counts as replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watchtower {
    /// The patterns of names that it updates; empty for all.
    pub only: Vec<String>,
    /// The patterns of names that it excludes.
    pub disabled: Vec<String>,
    /// Whether it updates only containers that a label enables.
    pub needs_label: bool,
    /// Whether it only reports new images and replaces nothing.
    pub only_monitors: bool,
    /// Whether a container's own label decides whether it is only monitored.
    pub label_decides: bool,
    /// The scope; empty for all containers.
    pub scope: String,
}

/// The labels of a container that Watchtower reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct UpdateLabels {
    /// Whether the container is updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable: Option<bool>,
    /// Whether a new image is only reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_only: Option<bool>,
    /// The scope of the Watchtower in charge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

impl UpdateLabels {
    /// Reads the labels through a lookup by name.
    #[must_use]
    pub fn of<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Self {
        Self {
            enable: label(ENABLE_LABEL).map(is_true),
            monitor_only: label(MONITOR_LABEL).map(is_true),
            scope: label(SCOPE_LABEL).filter(|scope| !scope.is_empty()).map(str::to_owned),
        }
    }

    /// Reads the labels of a description.
    #[must_use]
    pub fn of_map(labels: &BTreeMap<String, String>) -> Self {
        Self::of(|name| labels.get(name).map(String::as_str))
    }

    /// Returns whether no label is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Watchtower {
    /// Returns whether it replaces a running container with this name and these labels when its image's tag changes.
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

/// Returns whether the image behind an image name may change. A digest or an identifier always means the same image.
#[must_use]
pub fn is_movable(image_reference: &str) -> bool {
    !image_reference.contains('@') && !image_reference.starts_with("sha256:")
}

/// Returns whether Go's `strconv.ParseBool` reads a text as true.
#[must_use]
pub fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// Returns whether a name equals the pattern, or matches it as a whole.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern = pattern.trim_start_matches('/');
    let whole = || RegexBuilder::new(&format!("^{pattern}$")).size_limit(PATTERN_LIMIT).build();
    pattern == name || whole().is_ok_and(|whole| whole.is_match(name))
}
