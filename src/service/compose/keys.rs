//! What becomes of the keys of a Compose service.

/// The key whose mapping makes a service drainswap's.
pub(super) const OURS: &str = "x-drainswap";

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is read as in drainswap.toml.
    Read,
    /// It says what is published.
    Ports,
    /// It does not change a container that drainswap creates.
    Passed,
    /// Without it the container would be another one, or the key stands in the wrong place.
    Refused(&'static str),
    /// Nobody knows it; the reader may know what is meant.
    Unknown,
}

/// What Compose does before there is a container, or with it afterwards.
const PASSED: [&str; 6] = ["attach", "build", "depends_on", "develop", "profiles", "pull_policy"];

const ELSEWHERE: &str =
    "drainswap does not know it, and without it the container would be another one: leave it out";

/// The rest of what Compose knows.
const REFUSED: [(&str, &str); 47] = [
    ("annotations", ELSEWHERE),
    ("blkio_config", ELSEWHERE),
    ("cgroup", ELSEWHERE),
    ("cgroup_parent", ELSEWHERE),
    ("configs", "drainswap does not know it: mount the file with `volumes`"),
    ("cpu_count", ELSEWHERE),
    ("cpu_percent", ELSEWHERE),
    ("cpu_period", "drainswap does not know it: write `cpus`"),
    ("cpu_quota", "drainswap does not know it: write `cpus`"),
    ("cpu_rt_period", ELSEWHERE),
    ("cpu_rt_runtime", ELSEWHERE),
    ("cpu_shares", ELSEWHERE),
    ("cpuset", ELSEWHERE),
    ("credential_spec", ELSEWHERE),
    (
        "deploy",
        "drainswap does not know it: what it limits is written as `mem_limit`, `cpus` and `pids_limit`, how it \
         restarts as `restart`, and the hosts of x-drainswap say how many there are",
    ),
    ("device_cgroup_rules", ELSEWHERE),
    ("dns_opt", ELSEWHERE),
    ("domainname", "drainswap does not know it: write it into `hostname`"),
    ("driver_opts", ELSEWHERE),
    ("extends", "drainswap does not follow it: write the keys out, or share them with a YAML anchor"),
    ("external_links", "drainswap does not know it: write `networks`, or `extra_hosts`"),
    ("gpus", ELSEWHERE),
    ("group_add", ELSEWHERE),
    ("ipc", ELSEWHERE),
    ("isolation", ELSEWHERE),
    ("label_file", "drainswap does not know it: write `labels`"),
    ("links", "drainswap does not know it: write `networks`, or `extra_hosts`"),
    ("mac_address", ELSEWHERE),
    ("mem_reservation", ELSEWHERE),
    ("mem_swappiness", ELSEWHERE),
    ("memswap_limit", ELSEWHERE),
    ("models", ELSEWHERE),
    ("oom_kill_disable", ELSEWHERE),
    ("oom_score_adj", ELSEWHERE),
    ("pid", ELSEWHERE),
    ("post_start", "drainswap does not know it: a hook, after_enable, comes nearest"),
    ("pre_stop", "drainswap does not know it: a hook, before_drain, comes nearest"),
    ("provider", "this is no container: leave x-drainswap out"),
    ("runtime", ELSEWHERE),
    ("scale", "the hosts of x-drainswap say how many there are: leave it out"),
    ("secrets", "drainswap does not know it: mount the file with `volumes`"),
    ("storage_opt", ELSEWHERE),
    ("use_api_socket", ELSEWHERE),
    ("userns_mode", ELSEWHERE),
    ("uts", ELSEWHERE),
    ("volumes_from", "drainswap does not know it: write `volumes`"),
    ("container_port", WRONG_PLACE),
];

const WRONG_PLACE: &str = "Compose does not know it: write it into x-drainswap";

/// What becomes of a key, if `own` are the keys that describe a service and not its container, and `container`
/// those of the container.
pub(super) fn fate(key: &str, own: &[&str], container: &[&str]) -> Fate {
    if let Some((_, reason)) = REFUSED.iter().find(|(known, _)| *known == key) {
        Fate::Refused(reason)
    } else if key == "ports" {
        Fate::Ports
    } else if PASSED.contains(&key) || key.starts_with("x-") {
        Fate::Passed
    } else if own.contains(&key) {
        Fate::Refused(WRONG_PLACE)
    } else if container.contains(&key) {
        Fate::Read
    } else {
        Fate::Unknown
    }
}

/// Whether a key of the container may stand in x-drainswap.
pub(super) fn is_ours_too(key: &str) -> bool {
    // Compose takes no {server} in a container's name, and drainswap no name without it.
    ["container_port", "container_name"].contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_has_two_fates() {
        let mut keys: Vec<&str> = REFUSED.iter().map(|(key, _)| *key).chain(PASSED).collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
        for (key, expected) in [
            ("x-other", Fate::Passed),
            ("image", Fate::Read),
            ("hosts", Fate::Refused(WRONG_PLACE)),
            ("imag", Fate::Unknown),
        ] {
            assert_eq!(fate(key, &["hosts"], &["image"]), expected, "{key}");
        }
        for key in PASSED {
            assert_eq!(fate(key, &[], &[]), Fate::Passed);
        }
    }
}
