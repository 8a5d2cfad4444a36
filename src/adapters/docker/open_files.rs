//! How many files a container's process may open where a person did not say: it has the limit of the containerd that made it,
//! and a container that is created anew has the one of today. With containerd 2.1 that fell from 1048576 to 1024
//! (<https://github.com/moby/moby/issues/51485>).

use std::fs;
use std::path::{Path, PathBuf};

use bollard::models::ContainerInspectResponse;

/// Where Docker's settings are.
const SETTINGS: &str = "/etc/docker/daemon.json";

/// The limit of a running container's first process, where it was given none and its process is to be seen from here.
pub(super) fn of(container: &ContainerInspectResponse) -> Option<u64> {
    let host = container.host_config.as_ref()?;
    let is_given = |limit: &bollard::models::ResourcesUlimits| limit.name.as_deref() == Some("nofile");
    if host.ulimits.iter().flatten().any(is_given) {
        return None;
    }
    let id = container.id.as_deref().filter(|id| !id.is_empty())?;
    let pid = container.state.as_ref()?.pid.filter(|pid| *pid > 0)?;
    let process = PathBuf::from(format!("/proc/{pid}"));
    // A number of another host, or of another namespace, is another process here.
    let groups = fs::read_to_string(process.join("cgroup")).ok()?;
    groups.contains(id).then(|| limit(&process)).flatten()
}

/// The limit of a container that this engine creates now; `None` where the engine has one of its own for all of them, or it
/// is not to be seen.
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
    // Of several it is not known which one is this engine's.
    limits.all(|other| other == Some(first)).then_some(first)
}

/// A process's own limit, the soft one.
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
    fn a_process_that_is_another_one_here_says_nothing() {
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
        // Its path holds this in every hierarchy.
        assert!(of("/", None).is_some());
        let given = ResourcesUlimits { name: Some("nofile".to_owned()), ..ResourcesUlimits::default() };
        assert_eq!(of("/", Some(vec![given])), None);
    }
}
