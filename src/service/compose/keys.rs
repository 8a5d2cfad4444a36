//! The handling of each key of a Compose service.

/// The key that marks a service for drainswap and holds its settings.
pub(super) const OURS: &str = "x-drainswap";

/// The handling of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyHandling {
    /// Read as in drainswap.toml.
    Read,
    /// Determines the published port.
    Ports,
    /// Ignored, because the key does not change the container.
    Passed,
    /// Refused, because the key would change the container or is in the wrong place.
    Refused(&'static str),
    /// Unknown; [`read::service`](crate::service::read) suggests a similar key.
    Unknown,
}

/// Keys for work that Compose does before a container exists or with the container afterwards.
const PASSED: [&str; 6] = ["attach", "build", "depends_on", "develop", "profiles", "pull_policy"];

const ELSEWHERE: &str = "unsupported key that would change the container: remove it";

/// All other keys of Compose.
const REFUSED: [(&str, &str); 47] = [
    ("annotations", ELSEWHERE),
    ("blkio_config", ELSEWHERE),
    ("cgroup", ELSEWHERE),
    ("cgroup_parent", ELSEWHERE),
    ("configs", "unsupported key: mount the file with `volumes`"),
    ("cpu_count", ELSEWHERE),
    ("cpu_percent", ELSEWHERE),
    ("cpu_period", "unsupported key: use `cpus`"),
    ("cpu_quota", "unsupported key: use `cpus`"),
    ("cpu_rt_period", ELSEWHERE),
    ("cpu_rt_runtime", ELSEWHERE),
    ("cpu_shares", ELSEWHERE),
    ("cpuset", ELSEWHERE),
    ("credential_spec", ELSEWHERE),
    (
        "deploy",
        "unsupported key: use `mem_limit`, `cpus` and `pids_limit` for limits and `restart` for restarts; the hosts of \
         x-drainswap determine the number of containers",
    ),
    ("device_cgroup_rules", ELSEWHERE),
    ("dns_opt", ELSEWHERE),
    ("domainname", "unsupported key: include the domain in `hostname`"),
    ("driver_opts", ELSEWHERE),
    ("extends", "unsupported key: write the keys out, or share them with a YAML anchor"),
    ("external_links", "unsupported key: use `networks` or `extra_hosts`"),
    ("gpus", ELSEWHERE),
    ("group_add", ELSEWHERE),
    ("ipc", ELSEWHERE),
    ("isolation", ELSEWHERE),
    ("label_file", "unsupported key: use `labels`"),
    ("links", "unsupported key: use `networks` or `extra_hosts`"),
    ("mac_address", ELSEWHERE),
    ("mem_reservation", ELSEWHERE),
    ("mem_swappiness", ELSEWHERE),
    ("memswap_limit", ELSEWHERE),
    ("models", ELSEWHERE),
    ("oom_kill_disable", ELSEWHERE),
    ("oom_score_adj", ELSEWHERE),
    ("pid", ELSEWHERE),
    ("post_start", "unsupported key: the closest replacement is the hook after_enable"),
    ("pre_stop", "unsupported key: the closest replacement is the hook before_drain"),
    ("provider", "a provider is not a container: remove x-drainswap"),
    ("runtime", ELSEWHERE),
    ("scale", "the hosts of x-drainswap determine the number of containers: remove it"),
    ("secrets", "unsupported key: mount the file with `volumes`"),
    ("storage_opt", ELSEWHERE),
    ("use_api_socket", ELSEWHERE),
    ("userns_mode", ELSEWHERE),
    ("uts", ELSEWHERE),
    ("volumes_from", "unsupported key: use `volumes`"),
    ("container_port", WRONG_PLACE),
];

const WRONG_PLACE: &str = "this is not a Compose key: move it into x-drainswap";

/// Returns the handling of a key. `own` are the keys of a service without its container, and `container` are the keys
/// of the container.
pub(super) fn key_handling(key: &str, own: &[&str], container: &[&str]) -> KeyHandling {
    if let Some((_, reason)) = REFUSED.iter().find(|(known, _)| *known == key) {
        KeyHandling::Refused(reason)
    } else if key == "ports" {
        KeyHandling::Ports
    } else if PASSED.contains(&key) || key.starts_with("x-") {
        KeyHandling::Passed
    } else if own.contains(&key) {
        KeyHandling::Refused(WRONG_PLACE)
    } else if container.contains(&key) {
        KeyHandling::Read
    } else {
        KeyHandling::Unknown
    }
}

/// Returns whether a key of the container is allowed in x-drainswap.
pub(super) fn is_ours_too(key: &str) -> bool {
    // Compose refuses {server} in a container's name, and drainswap requires it.
    ["container_port", "container_name"].contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_handled_in_one_way() {
        let mut keys: Vec<&str> = REFUSED.iter().map(|(key, _)| *key).chain(PASSED).collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
        for (key, expected) in [
            ("x-other", KeyHandling::Passed),
            ("image", KeyHandling::Read),
            ("hosts", KeyHandling::Refused(WRONG_PLACE)),
            ("imag", KeyHandling::Unknown),
        ] {
            assert_eq!(key_handling(key, &["hosts"], &["image"]), expected, "{key}");
        }
        for key in PASSED {
            assert_eq!(key_handling(key, &[], &[]), KeyHandling::Passed);
        }
    }
}
