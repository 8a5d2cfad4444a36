//! The part of a container's configuration that comes from its image and not from the user.

use bollard::models::{ContainerConfig, HealthConfig, ImageConfig};

/// Compose compares its own labels with its file, so they stay even if an image has the same ones.
const COMPOSE_LABELS: &str = "com.docker.compose.";

/// Returns the configuration without the values from the image.
pub(super) fn subtract(mut config: ContainerConfig, image: &ImageConfig) -> ContainerConfig {
    config.user = differing(config.user, image.user.as_ref());
    config.working_dir = differing(config.working_dir, image.working_dir.as_ref());
    config.stop_signal = differing(config.stop_signal, image.stop_signal.as_ref());
    config.shell = differing(config.shell, image.shell.as_ref());
    config.env = without(config.env, image.env.as_ref());
    config.volumes = without(config.volumes, image.volumes.as_ref());
    config.exposed_ports = without(config.exposed_ports, image.exposed_ports.as_ref());
    config.healthcheck = config.healthcheck.and_then(|check| healthcheck(check, image.healthcheck.as_ref()));
    // A command only makes sense with its entrypoint: if the user set the entrypoint, the command stays too.
    if is_same(config.entrypoint.as_deref(), image.entrypoint.as_deref()) {
        config.entrypoint = None;
        if is_same(config.cmd.as_deref(), image.cmd.as_deref()) {
            config.cmd = None;
        }
    }
    if let (Some(labels), Some(defaults)) = (&mut config.labels, &image.labels) {
        labels.retain(|name, value| name.starts_with(COMPOSE_LABELS) || defaults.get(name) != Some(value));
    }
    config
}

/// Returns the value unless it comes from the image.
fn differing<T: PartialEq>(value: Option<T>, default: Option<&T>) -> Option<T> {
    value.filter(|value| Some(value) != default)
}

/// Returns the entries that do not come from the image.
fn without(entries: Option<Vec<String>>, defaults: Option<&Vec<String>>) -> Option<Vec<String>> {
    let mut entries = entries?;
    entries.retain(|entry| !defaults.is_some_and(|defaults| defaults.contains(entry)));
    (!entries.is_empty()).then_some(entries)
}

/// Returns whether two lists are equal. To Docker, an empty list and a missing one are the same.
fn is_same(one: Option<&[String]>, other: Option<&[String]>) -> bool {
    one.unwrap_or_default() == other.unwrap_or_default()
}

/// Returns the part of a healthcheck that the user set. Docker completes a healthcheck field by field, so each field
/// is compared separately.
pub(super) fn healthcheck(check: HealthConfig, default: Option<&HealthConfig>) -> Option<HealthConfig> {
    let Some(default) = default else { return Some(check) };
    let own = HealthConfig {
        test: differing(check.test, default.test.as_ref()),
        interval: differing(check.interval, default.interval.as_ref()),
        timeout: differing(check.timeout, default.timeout.as_ref()),
        retries: differing(check.retries, default.retries.as_ref()),
        start_period: differing(check.start_period, default.start_period.as_ref()),
        start_interval: differing(check.start_interval, default.start_interval.as_ref()),
    };
    (own != HealthConfig::default()).then_some(own)
}
