//! What Podman shows otherwise than it takes it.

use bollard::models::{ContainerConfig, HealthConfig, HostConfig, ImageConfig};

/// What Podman fills in where an image's healthcheck says nothing, in nanoseconds and times. From its source,
/// `pkg/specgen/generate` and `libpod/healthcheck.go`.
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
    // What systemd is stopped with.
    ("RTMIN+3", "37"),
];

/// The settings of a container as Podman takes them.
pub(super) fn host(host: &mut HostConfig) {
    for limit in host.ulimits.iter_mut().flatten() {
        limit.name = limit.name.as_deref().map(ulimit_name);
    }
    // It shows no permissions, and takes none for a mistake.
    for device in host.devices.iter_mut().flatten() {
        device.cgroup_permissions =
            device.cgroup_permissions.take().filter(|it| !it.is_empty()).or(Some("rwm".to_owned()));
    }
    // It shows the time that `--cpus` amounts to as well, and takes only one of the two.
    if host.nano_cpus.is_some_and(|cpus| cpus > 0) {
        (host.cpu_period, host.cpu_quota) = (None, None);
    }
    // Another's shared memory has a size of its own.
    if host.ipc_mode.as_deref().is_some_and(|mode| mode == "host" || mode.starts_with("container:")) {
        host.shm_size = None;
    }
}

/// Gives a user other than root what its predecessor's process may do; root has its own by itself.
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

/// `RLIMIT_NOFILE`, as Podman shows it, is `nofile`, as it takes it.
pub(in crate::adapters::docker) fn ulimit_name(shown: &str) -> String {
    shown.strip_prefix("RLIMIT_").map_or_else(|| shown.to_owned(), str::to_lowercase)
}

/// What an image gives to a container, with what Podman adds to that.
pub(super) fn defaults(image: &ImageConfig, container: &ContainerConfig, short_id: &str) -> ImageConfig {
    let mut defaults = image.clone();
    let signal = defaults.stop_signal.as_deref().map_or("15", number);
    // Every container shows a number.
    defaults.stop_signal = match container.stop_signal.as_deref() {
        Some(shown) if number(shown) == signal => Some(shown.to_owned()),
        _ => Some(signal.to_owned()),
    };
    let environment = defaults.env.get_or_insert_default();
    let hostname = container.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(short_id);
    environment.push(format!("HOSTNAME={hostname}"));
    // The home of a user that no image needs to know.
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

/// A healthcheck with its command: Podman takes none without.
pub(super) fn whole(own: HealthConfig, shown: &HealthConfig) -> HealthConfig {
    HealthConfig { test: own.test.or_else(|| shown.test.clone()), ..own }
}

/// A signal's number, where its name is a common one.
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
    fn what_podman_adds_is_no_person_s() {
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
    fn a_user_keeps_what_its_process_may_do() {
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
    fn of_two_ways_to_say_the_same_one_is_taken() {
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
