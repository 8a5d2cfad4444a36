//! The limit of open files of a container's process, if the user did not set one. It is the limit of the containerd
//! that started the process, so a recreated container gets the current limit. With containerd 2.1 that fell from
//! 1048576 to 1024 (<https://github.com/moby/moby/issues/51485>).

use std::fs;
use std::path::{Path, PathBuf};

use bollard::models::ContainerInspectResponse;

/// Docker's settings file.
const SETTINGS: &str = "/etc/docker/daemon.json";

/// Returns the limit of a running container's first process, if the user did not set one and the process is visible
/// from here.
pub(super) fn of(container: &ContainerInspectResponse) -> Option<u64> {
    let host = container.host_config.as_ref()?;
    let is_given = |limit: &bollard::models::ResourcesUlimits| limit.name.as_deref() == Some("nofile");
    if host.ulimits.iter().flatten().any(is_given) {
        return None;
    }
    let id = container.id.as_deref().filter(|id| !id.is_empty())?;
    let pid = container.state.as_ref()?.pid.filter(|pid| *pid > 0)?;
    let process = PathBuf::from(format!("/proc/{pid}"));
    // A number from another host or another namespace belongs to a different process here.
    let groups = fs::read_to_string(process.join("cgroup")).ok()?;
    groups.contains(id).then(|| limit(&process)).flatten()
}

/// Returns the limit of a container that this engine creates now; `None` if the engine has its own limit for all of
/// them, or if the limit is not visible.
pub(super) fn of_new(engine: &Path) -> Option<u64> {
    let arguments = fs::read_to_string(engine.join("cmdline")).ok()?;
    let settings = fs::read_to_string(SETTINGS).unwrap_or_default();
    if arguments.contains("default-ulimit") || settings.contains("default-ulimits") {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let is_containerd =
        |process: &PathBuf| fs::read_to_string(process.join("comm")).is_ok_and(|name| name == "containerd\n");
    let mut limits = processes.filter(is_containerd).map(|process| limit(&process));
    let first = limits.next()??;
    // With several, it is unknown which one belongs to this engine.
    limits.all(|other| other == Some(first)).then_some(first)
}

/// Returns a process's own (soft) limit.
fn limit(process: &Path) -> Option<u64> {
    let limits = fs::read_to_string(process.join("limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerState, HostConfig, ResourcesUlimits};

    use super::*;

    #[test]
    fn a_different_process_of_the_same_number_is_ignored() {
        assert!(limit(Path::new("/proc/self")).is_some_and(|limit| limit > 0));
        let own = i64::from(std::process::id());
        let of = |id: &str, ulimits| {
            of(&ContainerInspectResponse {
                id: Some(id.to_owned()),
                state: Some(ContainerState { pid: Some(own), ..ContainerState::default() }),
                host_config: Some(HostConfig { ulimits, ..HostConfig::default() }),
                ..ContainerInspectResponse::default()
            })
        };
        assert_eq!(of("0123456789abcdef", None), None);
        // Its cgroup path contains this in every hierarchy.
        assert!(of("/", None).is_some());
        let given = ResourcesUlimits { name: Some("nofile".to_owned()), ..ResourcesUlimits::default() };
        assert_eq!(of("/", Some(vec![given])), None);
    }
}
