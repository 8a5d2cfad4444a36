//! Differences between what Podman shows and what it accepts.

use bollard::models::{ContainerConfig, ContainerInspectResponse, HealthConfig, HostConfig, ImageConfig};

use super::volumes::{is_same, points};

/// The values that Podman fills in if an image's healthcheck lacks them. Durations are in nanoseconds. From Podman's
/// source, `pkg/specgen/generate` and `libpod/healthcheck.go`.
const INTERVAL: i64 = 30_000_000_000;
const TIMEOUT: i64 = 30_000_000_000;
const RETRIES: i64 = 3;

/// Common stop signals, by name and number.
const SIGNALS: &[(&str, &str)] = &[
    ("HUP", "1"),
    ("INT", "2"),
    ("QUIT", "3"),
    ("KILL", "9"),
    ("USR1", "10"),
    ("USR2", "12"),
    ("TERM", "15"),
    ("WINCH", "28"),
    // The stop signal of systemd.
    ("RTMIN+3", "37"),
];

/// Converts the settings of a container to the form that Podman accepts.
pub(super) fn host(host: &mut HostConfig) {
    for limit in host.ulimits.iter_mut().flatten() {
        limit.name = limit.name.as_deref().map(ulimit_name);
    }
    // It shows empty permissions but rejects them as a mistake.
    for device in host.devices.iter_mut().flatten() {
        device.cgroup_permissions =
            device.cgroup_permissions.take().filter(|it| !it.is_empty()).or(Some("rwm".to_owned()));
    }
    // It also shows the CPU quota that `--cpus` results in, but accepts only one of the two.
    if host.nano_cpus.is_some_and(|cpus| cpus > 0) {
        (host.cpu_period, host.cpu_quota) = (None, None);
    }
    // The shared memory of the host or of another container has its own size.
    if host.ipc_mode.as_deref().is_some_and(|mode| mode == "host" || mode.starts_with("container:")) {
        host.shm_size = None;
    }
}

/// Gives a user other than root the capabilities of its predecessor's process; root has its own by default.
pub(super) fn allow(host: &mut HostConfig, user: Option<&str>, capabilities: &[String]) {
    let user = user.and_then(|user| user.split(':').next()).unwrap_or_default();
    if matches!(user, "" | "0" | "root") || host.privileged == Some(true) {
        return;
    }
    let added = host.cap_add.get_or_insert_default();
    let plain = |name: &str| name.strip_prefix("CAP_").unwrap_or(name).to_owned();
    for name in capabilities.iter().map(|name| plain(name)) {
        if !added.iter().any(|it| plain(it) == name) {
            added.push(name);
        }
    }
}

/// Converts the name of a limit: Podman shows `RLIMIT_NOFILE` but accepts `nofile`.
pub(in crate::adapters::docker) fn ulimit_name(shown: &str) -> String {
    shown.strip_prefix("RLIMIT_").map_or_else(|| shown.to_owned(), str::to_lowercase)
}

/// Returns an image's defaults, with what Podman adds to them.
pub(super) fn defaults(image: &ImageConfig, container: &ContainerConfig, short_id: &str) -> ImageConfig {
    let mut defaults = image.clone();
    let signal = defaults.stop_signal.as_deref().map_or("15", number);
    // Every container shows the signal as a number.
    defaults.stop_signal = match container.stop_signal.as_deref() {
        Some(shown) if number(shown) == signal => Some(shown.to_owned()),
        _ => Some(signal.to_owned()),
    };
    let environment = defaults.env.get_or_insert_default();
    let hostname = container.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(short_id);
    environment.push(format!("HOSTNAME={hostname}"));
    // The home directory of a user that the image need not define.
    let user = container.user.as_deref().unwrap_or_default();
    let is_number = user.split(':').next().is_some_and(|id| id.parse::<u32>().is_ok_and(|id| id > 0));
    if let Some(directory) = container.working_dir.as_ref().filter(|_| is_number) {
        environment.push(format!("HOME={directory}"));
    }
    if let Some(check) = &mut defaults.healthcheck {
        let filled = |value: Option<i64>, by: i64| value.filter(|it| *it > 0).or(Some(by));
        check.interval = filled(check.interval, INTERVAL);
        check.timeout = filled(check.timeout, TIMEOUT);
        check.retries = filled(check.retries, RETRIES);
    }
    defaults
}

/// Returns the configuration with those of the image's volumes that the container has: Podman shows them only as mounts.
pub(super) fn with_volumes(
    config: ContainerConfig,
    container: &ContainerInspectResponse,
    image: &ImageConfig,
) -> ContainerConfig {
    let is_mounted = |target: &&String| points(container).any(|(_, it)| is_same(it, target));
    let mut volumes = config.volumes.unwrap_or_default();
    volumes.extend(image.volumes.iter().flatten().filter(is_mounted).cloned());
    ContainerConfig { volumes: Some(volumes), ..config }
}

/// Adds the command to a healthcheck: Podman rejects a healthcheck without it.
pub(super) fn complete_healthcheck(own: HealthConfig, shown: &HealthConfig) -> HealthConfig {
    HealthConfig { test: own.test.or_else(|| shown.test.clone()), ..own }
}

/// Returns a signal's number if its name is a common one.
fn number(signal: &str) -> &str {
    let name = signal.strip_prefix("SIG").unwrap_or(signal);
    SIGNALS.iter().find(|(known, _)| *known == name).map_or(signal, |(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(signal: &str) -> ContainerConfig {
        ContainerConfig {
            stop_signal: Some(signal.to_owned()),
            working_dir: Some("/app".to_owned()),
            user: Some("1000:1000".to_owned()),
            ..ContainerConfig::default()
        }
    }

    #[test]
    fn a_signal_is_a_name_in_the_image_and_a_number_in_the_container() {
        let of = |image: Option<&str>, shown: &str| {
            let image = ImageConfig { stop_signal: image.map(str::to_owned), ..ImageConfig::default() };
            defaults(&image, &container(shown), "0123456789ab").stop_signal.as_deref() == Some(shown)
        };
        assert!(of(Some("SIGINT"), "2") && of(Some("QUIT"), "3") && of(Some("34"), "34") && of(None, "15"));
        assert!(!of(Some("SIGINT"), "15") && !of(None, "2"));
    }

    #[test]
    fn podman_s_additions_count_as_defaults() {
        let check = HealthConfig { retries: Some(0), interval: Some(7), ..HealthConfig::default() };
        let image = ImageConfig { healthcheck: Some(check), ..ImageConfig::default() };
        let filled = defaults(&image, &container("15"), "0123456789ab");
        assert_eq!(filled.env.unwrap(), ["HOSTNAME=0123456789ab", "HOME=/app"]);
        let named = ContainerConfig { hostname: Some("web".into()), user: None, ..container("15") };
        assert_eq!(defaults(&image, &named, "0123456789ab").env.unwrap(), ["HOSTNAME=web"]);
        let check = filled.healthcheck.unwrap();
        assert_eq!((check.interval, check.timeout, check.retries), (Some(7), Some(TIMEOUT), Some(3)));
    }

    #[test]
    fn a_user_keeps_the_capabilities_of_its_process() {
        let with = |user| {
            let mut settings =
                HostConfig { cap_add: Some(vec!["NET_ADMIN".into()]), ..HostConfig::default() };
            allow(&mut settings, user, &["CAP_CHOWN".to_owned(), "CAP_NET_ADMIN".to_owned()]);
            settings.cap_add.unwrap()
        };
        assert_eq!(with(Some("3:4")), ["NET_ADMIN", "CHOWN"]);
        for root in [None, Some(""), Some("0"), Some("root:root")] {
            assert_eq!(with(root), ["NET_ADMIN"], "{root:?}");
        }
    }

    #[test]
    fn of_two_equivalent_settings_one_is_kept() {
        let mut settings = HostConfig {
            nano_cpus: Some(500_000_000),
            cpu_period: Some(100_000),
            cpu_quota: Some(50_000),
            ipc_mode: Some("host".to_owned()),
            shm_size: Some(65_536_000),
            ..HostConfig::default()
        };
        host(&mut settings);
        assert_eq!((settings.cpu_period, settings.cpu_quota, settings.shm_size), (None, None, None));
        let mut time =
            HostConfig { nano_cpus: Some(0), cpu_quota: Some(5), shm_size: Some(9), ..HostConfig::default() };
        host(&mut time);
        assert_eq!((time.cpu_quota, time.shm_size), (Some(5), Some(9)));
    }
}
