//! The image defaults that a container uses, and what another image changes about them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{ContainerConfig, ContainerCreateBody, HealthConfig, ImageConfig};

use crate::observation::ContainerChange;

/// Returns the differences between a container now and after it gets the new image's defaults. Everything else is
/// carried over. Values of environment variables and labels may be secret and are not shown.
pub(in crate::adapters::docker) fn changes(
    old: &ContainerConfig,
    new: &ContainerCreateBody,
    image: &ImageConfig,
) -> Vec<ContainerChange> {
    let mut changes = Vec::new();
    let mut differs = |field: &'static str, from: String, to: String| {
        if from != to {
            changes.push(ContainerChange::Value { field: field.into(), from, to });
        }
    };
    let (entrypoint, cmd) = command(new, image);
    differs("entrypoint", words(old.entrypoint.as_ref()), words(entrypoint));
    differs("command", words(old.cmd.as_ref()), words(cmd));
    differs("user", text(old.user.as_ref()), text(given(new.user.as_ref()).or(image.user.as_ref())));
    differs(
        "working directory",
        text(old.working_dir.as_ref()),
        text(given(new.working_dir.as_ref()).or(image.working_dir.as_ref())),
    );
    differs(
        "stop signal",
        text(old.stop_signal.as_ref()),
        text(given(new.stop_signal.as_ref()).or(image.stop_signal.as_ref())),
    );
    // Compared part by part: a test that the user set stays, and may hold a secret.
    let was = old.healthcheck.clone().unwrap_or_default();
    let is = healthcheck(new.healthcheck.clone(), image.healthcheck.clone()).unwrap_or_default();
    differs("healthcheck", words(was.test.as_ref()), words(is.test.as_ref()));
    differs("healthcheck interval", seconds(was.interval), seconds(is.interval));
    differs("healthcheck timeout", seconds(was.timeout), seconds(is.timeout));
    differs("healthcheck start period", seconds(was.start_period), seconds(is.start_period));
    differs("healthcheck start interval", seconds(was.start_interval), seconds(is.start_interval));
    differs("healthcheck retries", number(was.retries), number(is.retries));

    let env = variables(image.env.as_ref()).into_iter().chain(variables(new.env.as_ref())).collect();
    changes.extend(entries("environment variable", &variables(old.env.as_ref()), &env));
    let labels = pairs(image.labels.as_ref()).into_iter().chain(pairs(new.labels.as_ref())).collect();
    changes.extend(entries("label", &pairs(old.labels.as_ref()), &labels));
    // `-P` publishes the exposed ports. The new container gets the ports that the old one published this way by
    // number.
    let publishes_all = new.host_config.as_ref().is_some_and(|host| host.publish_all_ports == Some(true));
    let port = if publishes_all { "exposed port (published by -P)" } else { "exposed port" };
    for (field, old, new, image) in [
        (port, &old.exposed_ports, &new.exposed_ports, &image.exposed_ports),
        ("volume", &old.volumes, &new.volumes, &image.volumes),
    ] {
        let names = |list: &Option<Vec<String>>| list.iter().flatten().cloned().collect::<BTreeSet<_>>();
        let after: BTreeSet<String> = names(new).union(&names(image)).cloned().collect();
        let as_map = |set: BTreeSet<String>| set.into_iter().map(|name| (name, String::new())).collect();
        changes.extend(entries(field, &as_map(names(old)), &as_map(after)));
    }
    changes
}

/// Returns labels in the order of their names.
fn pairs(labels: Option<&HashMap<String, String>>) -> BTreeMap<String, String> {
    labels.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Returns the entrypoint and the command. A command only makes sense with its entrypoint: if the user set an
/// entrypoint, the image's command does not apply.
fn command<'a>(
    new: &'a ContainerCreateBody,
    image: &'a ImageConfig,
) -> (Option<&'a Vec<String>>, Option<&'a Vec<String>>) {
    match (&new.entrypoint, &new.cmd) {
        (Some(entrypoint), cmd) => (Some(entrypoint), cmd.as_ref()),
        (None, cmd) => (image.entrypoint.as_ref(), cmd.as_ref().or(image.cmd.as_ref())),
    }
}

/// Completes a healthcheck as Docker does: each field that the user left out comes from the image.
fn healthcheck(own: Option<HealthConfig>, image: Option<HealthConfig>) -> Option<HealthConfig> {
    let (Some(own), Some(image)) = (own.clone(), image.clone()) else { return own.or(image) };
    Some(HealthConfig {
        test: own.test.or(image.test),
        interval: own.interval.or(image.interval),
        timeout: own.timeout.or(image.timeout),
        retries: own.retries.or(image.retries),
        start_period: own.start_period.or(image.start_period),
        start_interval: own.start_interval.or(image.start_interval),
    })
}

fn given(value: Option<&String>) -> Option<&String> {
    value.filter(|value| !value.is_empty())
}

fn text(value: Option<&String>) -> String {
    value.cloned().unwrap_or_default()
}

fn words(list: Option<&Vec<String>>) -> String {
    list.map(|list| list.join(" ")).unwrap_or_default()
}

fn number(value: Option<i64>) -> String {
    value.filter(|value| *value > 0).map(|value| value.to_string()).unwrap_or_default()
}

/// Formats a duration in seconds. The engine counts in nanoseconds.
fn seconds(value: Option<i64>) -> String {
    number(value.map(|value| value / 1_000_000_000)) + if value.unwrap_or(0) > 0 { " s" } else { "" }
}

/// Splits `NAME=value` entries into names and values.
fn variables(env: Option<&Vec<String>>) -> BTreeMap<String, String> {
    let split = |entry: &String| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        (name.to_owned(), value.to_owned())
    };
    env.into_iter().flatten().map(split).collect()
}

/// Returns the entries that are added, removed, or change their value.
pub(in crate::adapters::docker) fn entries(
    field: impl Into<Cow<'static, str>>,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Vec<ContainerChange> {
    let field = field.into();
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |name: &String| {
        let name = name.clone();
        match (old.get(&name), new.get(&name)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(_), Some(_)) => Some(ContainerChange::Changed { field: field.clone(), name }),
            (Some(_), None) => Some(ContainerChange::Gone { field: field.clone(), name }),
            (None, _) => Some(ContainerChange::Added { field: field.clone(), name }),
        }
    };
    names.into_iter().filter_map(change).collect()
}
