//! The settings of a Watchtower container, from its variables and its command. Pure.
//!
//! The flags are those of containrrr/watchtower and its successor nicholas-fedor/watchtower (`internal/flags`).

use bollard::models::ContainerInspectResponse;

use super::inspect;
use crate::model::sanitize;
use crate::observation::ContainerState;
use crate::observation::watchtower::{UpdateLabels, Watchtower, is_true};

/// The label of Watchtower's image, by which Watchtower recognises itself.
const LABEL: &str = "com.centurylinklabs.watchtower";

/// The flags without a value: the word after one of them may be a container's name.
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

/// Returns the settings of a container if it is a running Watchtower.
pub(super) fn watchtower(found: &ContainerInspectResponse) -> Option<Watchtower> {
    if inspect::state(found) != ContainerState::Running || !is_true(label(found, LABEL)?) {
        return None;
    }
    let mut told = Watchtower::default();
    let variables = found.config.as_ref().and_then(|config| config.env.as_deref()).unwrap_or_default();
    for (variable, value) in variables.iter().filter_map(|it| it.split_once('=')) {
        if let Some(setting) = variable.strip_prefix("WATCHTOWER_") {
            set(&mut told, &setting.to_lowercase().replace('_', "-"), value);
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
        set(&mut told, flag.trim_start_matches('-'), value);
    }
    Some(told)
}

/// Returns the labels of a container that Watchtower respects. Its own containers count as disabled: it takes care of
/// itself.
pub(super) fn labels(found: &ContainerInspectResponse) -> UpdateLabels {
    let of_itself = label(found, LABEL).map(|_| false);
    let told = UpdateLabels::of(|name| label(found, name));
    let scope = told.scope.as_deref().map(sanitize::name);
    UpdateLabels { enable: of_itself.or(told.enable), scope, ..told }
}

/// Applies a setting, by the name of its flag.
fn set(told: &mut Watchtower, flag: &str, value: &str) {
    match flag {
        "label-enable" | "e" => told.needs_label = is_true(value),
        "monitor-only" | "m" => told.only_monitors = is_true(value),
        "label-take-precedence" => told.label_decides = is_true(value),
        "scope" => value.clone_into(&mut told.scope),
        "disable-containers" | "x" => {
            let names = value.split([',', ' ']).filter(|name| !name.is_empty());
            told.disabled.extend(names.map(str::to_owned));
        }
        _ => {}
    }
}

fn label<'a>(found: &'a ContainerInspectResponse, name: &str) -> Option<&'a str> {
    found.config.as_ref()?.labels.as_ref()?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, ContainerStateStatusEnum};

    use super::*;

    const ENABLE: &str = "com.centurylinklabs.watchtower.enable";
    const MONITOR: &str = "com.centurylinklabs.watchtower.monitor-only";
    const SCOPE: &str = "com.centurylinklabs.watchtower.scope";

    fn container(name: &str, labels: &[(&str, &str)]) -> ContainerInspectResponse {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let state = bollard::models::ContainerState {
            status: Some(ContainerStateStatusEnum::RUNNING),
            ..Default::default()
        };
        ContainerInspectResponse {
            name: Some(format!("/{name}")),
            state: Some(state),
            config: Some(ContainerConfig { labels: Some(labels), ..Default::default() }),
            ..Default::default()
        }
    }

    /// Returns whether a Watchtower with these words and variables replaces a container with these labels.
    fn replaces(words: &[&str], variables: &[&str], of_container: &[(&str, &str)]) -> bool {
        let mut found = container("watch", &[(LABEL, "true")]);
        found.args = Some(words.iter().map(|it| (*it).to_owned()).collect());
        let variables = variables.iter().map(|it| (*it).to_owned()).collect();
        found.config.as_mut().unwrap().env = Some(variables);
        let told = watchtower(&found).expect("it is one");
        assert!(!told.replaces("watch", &labels(&found)), "it takes care of itself");
        told.replaces("app1", &labels(&container("app1", of_container)))
    }

    #[test]
    fn a_running_watchtower_replaces_every_container() {
        assert!(replaces(&["--cleanup", "--interval", "30"], &["WATCHTOWER_SCOPE="], &[]));
        let mut found = container("watch", &[(LABEL, "true")]);
        assert!(watchtower(&found).is_some());
        found.state.as_mut().unwrap().status = Some(ContainerStateStatusEnum::EXITED);
        assert_eq!(watchtower(&found), None, "it is stopped");
        assert_eq!(watchtower(&container("app1", &[])), None);
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
    fn the_enable_label_is_respected() {
        let enable = |value| [(ENABLE, value)];
        assert!(!replaces(&[], &[], &enable("false")));
        for needs_it in [(&["--label-enable"][..], &[][..]), (&[], &["WATCHTOWER_LABEL_ENABLE=1"])] {
            assert!(!replaces(needs_it.0, needs_it.1, &[]), "{needs_it:?}");
            assert!(replaces(needs_it.0, needs_it.1, &enable("true")), "{needs_it:?}");
            assert!(!replaces(needs_it.0, needs_it.1, &enable("false")), "{needs_it:?}");
        }
        assert!(replaces(&["--label-enable=false"], &["WATCHTOWER_LABEL_ENABLE=true"], &[]), "a flag wins");
    }

    #[test]
    fn monitored_containers_are_not_replaced() {
        let monitor = |value| [(MONITOR, value)];
        assert!(!replaces(&["--monitor-only"], &[], &[]));
        assert!(!replaces(&[], &["WATCHTOWER_MONITOR_ONLY=true"], &monitor("false")));
        assert!(!replaces(&[], &[], &monitor("true")));
        let first = &["--label-take-precedence", "--monitor-only"];
        assert!(replaces(first, &[], &monitor("false")));
        assert!(!replaces(first, &[], &[]));
    }

    #[test]
    fn it_keeps_to_its_scope() {
        let scope = |value| [(SCOPE, value)];
        assert!(replaces(&["--scope", "shop"], &[], &scope("shop")));
        assert!(!replaces(&["--scope", "shop"], &[], &scope("other")));
        assert!(!replaces(&[], &["WATCHTOWER_SCOPE=shop"], &[]));
        assert!(replaces(&["--scope", "none"], &[], &[]));
        assert!(!replaces(&["--scope", "none"], &[], &scope("shop")));
        assert!(replaces(&[], &[], &scope("shop")), "the older one without a scope takes all");
    }
}
