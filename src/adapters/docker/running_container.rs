//! The container that holds a process: its identity, and where its files are on this host.

use std::path::PathBuf;

use bollard::models::ContainerInspectResponse;

use super::{DockerEngine, inspect};
use crate::model::ids::ContainerId;
use crate::ports::EngineError;

/// A running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningContainer {
    pub name: String,
    /// The PID of its first process on the engine's host.
    pub pid: u32,
    /// The files and directories of the host that it sees.
    pub mounts: Vec<HostMount>,
}

/// A file or directory of the engine's host that a container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMount {
    /// Its path on the host.
    pub source: PathBuf,
    /// Its path in the container.
    pub destination: PathBuf,
}

impl DockerEngine {
    /// Returns the running container with this identifier; `None` if the engine has none.
    pub async fn running_container(&self, id: &ContainerId) -> Result<Option<RunningContainer>, EngineError> {
        Ok(self.find("inspect", &id.0).await?.as_ref().and_then(running_container))
    }
}

fn running_container(inspect: &ContainerInspectResponse) -> Option<RunningContainer> {
    let pid = inspect.state.as_ref()?.pid?;
    let mounts = inspect.mounts.iter().flatten().filter_map(|mount| {
        // A mount in memory has no source.
        let source = PathBuf::from(mount.source.as_deref().filter(|source| source.starts_with('/'))?);
        Some(HostMount { source, destination: mount.destination.as_deref()?.into() })
    });
    let pid = u32::try_from(pid).ok().filter(|pid| *pid != 0)?;
    Some(RunningContainer { name: inspect::name(inspect), pid, mounts: mounts.collect() })
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerState, MountPoint};

    use super::*;

    #[test]
    fn only_a_container_that_runs_holds_a_process() {
        let mount = |source: &str, destination: &str| MountPoint {
            source: Some(source.to_owned()),
            destination: Some(destination.to_owned()),
            ..Default::default()
        };
        let inspect = |pid| ContainerInspectResponse {
            name: Some("/lb\u{1b}[2J".to_owned()),
            state: Some(ContainerState { pid: Some(pid), ..Default::default() }),
            mounts: Some(vec![mount("/srv/run", "/run/haproxy"), mount("", "/tmp")]),
            ..Default::default()
        };
        let mounts = vec![HostMount { source: "/srv/run".into(), destination: "/run/haproxy".into() }];
        let expected = RunningContainer { name: "lb\u{fffd}[2J".to_owned(), pid: 12, mounts };
        assert_eq!(running_container(&inspect(12)), Some(expected));
        assert_eq!(running_container(&inspect(0)), None);
    }
}
