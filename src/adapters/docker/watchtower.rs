//! Which containers a Watchtower on the same engine would replace when their tag gets another image. Pure.
//!
//! What it takes and leaves is what containrrr/watchtower and its successor nicholas-fedor/watchtower do (`pkg/filters`,
//! `internal/flags`): where they differ, a container counts as taken.

use std::collections::HashMap;

use bollard::models::ContainerInspectResponse;
use regex::RegexBuilder;

use super::look;
use crate::observation::ContainerState;

/// Its image has the label, by which Watchtower knows itself.
const LABEL: &str = "com.centurylinklabs.watchtower";
/// Whether a container is to be updated.
const ENABLE_LABEL: &str = "com.centurylinklabs.watchtower.enable";
/// Whether a container's new image is only reported.
const MONITOR_LABEL: &str = "com.centurylinklabs.watchtower.monitor-only";
/// Which Watchtower is meant, where there are several.
const SCOPE_LABEL: &str = "com.centurylinklabs.watchtower.scope";
/// The scope of those without one.
const NO_SCOPE: &str = "none";

/// The flags that take no value: what follows them may be a container's name.
const SWITCHES: [&str; 30] = [
    "-v",
    "-c",
    "-e",
    "-d",
    "-m",
    "-R",
    "-S",
    "--tlsverify",
    "--no-pull",
    "--no-restart",
    "--no-startup-message",
    "--cleanup",
    "--remove-volumes",
    "--label-enable",
    "--label-take-precedence",
    "--debug",
    "--trace",
    "--monitor-only",
    "--run-once",
    "--include-restarting",
    "--include-stopped",
    "--revive-stopped",
    "--enable-lifecycle-hooks",
    "--rolling-restart",
    "--http-api-update",
    "--http-api-metrics",
    "--http-api-periodic-polls",
    "--no-color",
    "--notification-report",
    "--notification-log-stdout",
];

/// The most that a pattern of names may take in memory.
const PATTERN_LIMIT: usize = 1 << 16;

/// A Watchtower that runs, and its settings.
#[derive(Debug, Default, PartialEq, Eq)]
struct Watchtower {
    name: String,
    /// Patterns of the names that it is for; none for all.
    only: Vec<String>,
    /// Patterns of the names that it leaves out.
    disabled: Vec<String>,
    needs_label: bool,
    only_monitors: bool,
    /// Whether a container's own label decides whether it is only monitored.
    label_decides: bool,
    scope: String,
}

/// The name of the Watchtower that would replace each of these containers, by the container's identifier.
pub(super) fn updaters(all: &[ContainerInspectResponse]) -> HashMap<String, String> {
    let watchtowers: Vec<Watchtower> = all.iter().filter_map(Watchtower::read).collect();
    let updater = |it: &ContainerInspectResponse| {
        let watchtower = watchtowers.iter().find(|watchtower| watchtower.would_replace(it))?;
        Some((it.id.clone()?, watchtower.name.clone()))
    };
    all.iter().filter_map(updater).collect()
}

impl Watchtower {
    /// The settings of a container, if it is a Watchtower that runs.
    fn read(found: &ContainerInspectResponse) -> Option<Self> {
        if look::state(found) != ContainerState::Running || !is_true(label(found, LABEL)?) {
            return None;
        }
        let mut told = Self { name: look::name(found), ..Self::default() };
        let variables = found.config.as_ref().and_then(|config| config.env.as_deref()).unwrap_or_default();
        for (variable, value) in variables.iter().filter_map(|it| it.split_once('=')) {
            if let Some(setting) = variable.strip_prefix("WATCHTOWER_") {
                told.set(&setting.to_lowercase().replace('_', "-"), value);
            }
        }
        let mut words = found.args.iter().flatten().map(String::as_str);
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                told.only.push(word.to_owned());
                continue;
            }
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag, value),
                None if SWITCHES.contains(&word) => (word, "true"),
                None => (word, words.next().unwrap_or_default()),
            };
            told.set(flag.trim_start_matches('-'), value);
        }
        Some(told)
    }

    /// Takes a setting, by the name of its flag.
    fn set(&mut self, flag: &str, value: &str) {
        match flag {
            "label-enable" | "e" => self.needs_label = is_true(value),
            "monitor-only" | "m" => self.only_monitors = is_true(value),
            "label-take-precedence" => self.label_decides = is_true(value),
            "scope" => value.clone_into(&mut self.scope),
            "disable-containers" | "x" => {
                let names = value.split([',', ' ']).filter(|name| !name.is_empty());
                self.disabled.extend(names.map(str::to_owned));
            }
            _ => {}
        }
    }

    /// Whether it replaces a container whose tag has got another image.
    fn would_replace(&self, found: &ContainerInspectResponse) -> bool {
        let name = look::name(found);
        let image = found.config.as_ref().and_then(|config| config.image.as_deref()).unwrap_or_default();
        // An image by its digest never changes.
        let has_tag = !image.contains('@') && !image.starts_with("sha256:");
        let enabled = label(found, ENABLE_LABEL).map(is_true);
        let is_enabled = enabled.unwrap_or(!self.needs_label);
        let monitored = label(found, MONITOR_LABEL).map(is_true);
        let is_monitored = match monitored {
            Some(monitored) if self.label_decides => monitored,
            monitored => self.only_monitors || monitored == Some(true),
        };
        let scope = label(found, SCOPE_LABEL).filter(|scope| !scope.is_empty()).unwrap_or(NO_SCOPE);
        look::state(found) == ContainerState::Running
            && label(found, LABEL).is_none()
            && has_tag
            && is_enabled
            && !is_monitored
            && (self.scope.is_empty() || self.scope == scope)
            && (self.only.is_empty() || self.only.iter().any(|pattern| matches(pattern, &name)))
            && !self.disabled.iter().any(|pattern| matches(pattern, &name))
    }
}

fn label<'a>(found: &'a ContainerInspectResponse, name: &str) -> Option<&'a str> {
    found.config.as_ref()?.labels.as_ref()?.get(name).map(String::as_str)
}

/// What Go's `strconv.ParseBool` takes for true.
fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// Whether a name is the pattern, or is matched by it as a whole.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern = pattern.trim_start_matches('/');
    let whole = || RegexBuilder::new(&format!("^{pattern}$")).size_limit(PATTERN_LIMIT).build();
    pattern == name || whole().is_ok_and(|whole| whole.is_match(name))
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, ContainerStateStatusEnum};

    use super::*;

    fn container(name: &str, image: &str, labels: &[(&str, &str)]) -> ContainerInspectResponse {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let state = bollard::models::ContainerState {
            status: Some(ContainerStateStatusEnum::RUNNING),
            ..Default::default()
        };
        ContainerInspectResponse {
            id: Some(name.to_owned()),
            name: Some(format!("/{name}")),
            state: Some(state),
            config: Some(ContainerConfig {
                image: Some(image.to_owned()),
                labels: Some(labels),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Whether a Watchtower with these words and variables replaces a container with these labels.
    fn replaces(words: &[&str], variables: &[&str], labels: &[(&str, &str)]) -> bool {
        replaces_image("mobile:v1", words, variables, labels)
    }

    fn replaces_image(image: &str, words: &[&str], variables: &[&str], labels: &[(&str, &str)]) -> bool {
        let mut watchtower = container("watch", "containrrr/watchtower", &[(LABEL, "true")]);
        watchtower.args = Some(words.iter().map(|it| (*it).to_owned()).collect());
        let variables = variables.iter().map(|it| (*it).to_owned()).collect();
        watchtower.config.as_mut().unwrap().env = Some(variables);
        let found = updaters(&[container("app1", image, labels), watchtower]);
        assert!(!found.contains_key("watch"), "it takes care of itself");
        assert!(found.values().all(|name| name == "watch"));
        found.contains_key("app1")
    }

    #[test]
    fn a_watchtower_takes_every_container_that_has_a_tag() {
        assert!(replaces(&["--cleanup", "--interval", "30"], &["WATCHTOWER_SCOPE="], &[]));
        for image in ["mobile:v1@sha256:0123", "sha256:0123"] {
            assert!(!replaces_image(image, &[], &[], &[]), "{image}");
        }
        let none = updaters(&[container("app1", "mobile:v1", &[]), container("other", "mobile:v1", &[])]);
        assert!(none.is_empty());
    }

    #[test]
    fn one_that_is_stopped_or_is_not_running_counts_for_nothing() {
        let mut all =
            [container("app1", "mobile:v1", &[]), container("watch", "watchtower", &[(LABEL, "true")])];
        assert_eq!(updaters(&all).len(), 1);
        for index in 0..2 {
            let mut all = all.clone();
            all[index].state.as_mut().unwrap().status = Some(ContainerStateStatusEnum::EXITED);
            assert!(updaters(&all).is_empty(), "{index}");
        }
        all[1].config.as_mut().unwrap().labels = None;
        assert!(updaters(&all).is_empty());
    }

    #[test]
    fn the_names_in_its_command_restrict_it() {
        for (words, is_replaced) in [
            (&["app1"][..], true),
            (&["app2"], false),
            (&["--interval", "30", "app2", "/app1"], true),
            (&["--cleanup", "app2"], false),
            (&["--schedule=0 0 4 * * *", "app.*"], true),
            (&["app"], false),
            (&["app2("], false),
            (&["--disable-containers", "app2,app1"], false),
            (&["-x", "app2"], true),
            (&["--disable-containers=app[12]"], false),
        ] {
            assert_eq!(replaces(words, &[], &[]), is_replaced, "{words:?}");
        }
        assert!(!replaces(&[], &["WATCHTOWER_DISABLE_CONTAINERS=app2 app1"], &[]));
    }

    #[test]
    fn the_label_decides_as_it_is_told_to() {
        let enable = |value| [(ENABLE_LABEL, value)];
        assert!(!replaces(&[], &[], &enable("false")));
        for needs_it in [(&["--label-enable"][..], &[][..]), (&[], &["WATCHTOWER_LABEL_ENABLE=1"])] {
            assert!(!replaces(needs_it.0, needs_it.1, &[]), "{needs_it:?}");
            assert!(replaces(needs_it.0, needs_it.1, &enable("true")), "{needs_it:?}");
            assert!(!replaces(needs_it.0, needs_it.1, &enable("false")), "{needs_it:?}");
        }
        assert!(replaces(&["--label-enable=false"], &["WATCHTOWER_LABEL_ENABLE=true"], &[]), "a flag wins");
    }

    #[test]
    fn what_it_only_monitors_it_does_not_replace() {
        let monitor = |value| [(MONITOR_LABEL, value)];
        assert!(!replaces(&["--monitor-only"], &[], &[]));
        assert!(!replaces(&[], &["WATCHTOWER_MONITOR_ONLY=true"], &monitor("false")));
        assert!(!replaces(&[], &[], &monitor("true")));
        let first = &["--label-take-precedence", "--monitor-only"];
        assert!(replaces(first, &[], &monitor("false")));
        assert!(!replaces(first, &[], &[]));
    }

    #[test]
    fn it_keeps_to_its_scope() {
        let scope = |value| [(SCOPE_LABEL, value)];
        assert!(replaces(&["--scope", "shop"], &[], &scope("shop")));
        assert!(!replaces(&["--scope", "shop"], &[], &scope("other")));
        assert!(!replaces(&[], &["WATCHTOWER_SCOPE=shop"], &[]));
        assert!(replaces(&["--scope", "none"], &[], &[]));
        assert!(!replaces(&["--scope", "none"], &[], &scope("shop")));
        assert!(replaces(&[], &[], &scope("shop")), "the older one without a scope takes all");
    }
}
