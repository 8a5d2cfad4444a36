//! Other tools that manage a container.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The other tool that a container belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", content = "name")]
pub enum Owner {
    /// A Swarm service.
    Swarm(String),
    /// A Compose project, whose next `up` recreates the container from its file.
    Compose(String),
    /// A systemd unit in which Podman runs the container, from Quadlet or from `podman generate systemd`.
    Systemd(String),
    /// A Kubernetes pod: its namespace and its name, separated by a slash.
    Kubernetes(String),
    /// A Nomad allocation, by its identifier.
    Nomad(String),
}

impl Owner {
    /// Returns how to change the image of its containers if the tool starts another container as soon as one stops;
    /// `None` if it leaves a replacement alone until a person runs it.
    #[must_use]
    pub fn update_method(&self) -> Option<String> {
        match self {
            Self::Compose(_) => None,
            Self::Swarm(service) => Some(format!("Use `docker service update --image IMAGE {service}`")),
            Self::Systemd(unit) => Some(format!(
                "Change the image in the unit's file (Image= in a .container file of Quadlet), then use `systemctl daemon-reload` and `systemctl restart {unit}`, with --user where Podman runs rootless"
            )),
            Self::Kubernetes(_) => Some(
                "Use `kubectl set image` or `kubectl rollout restart` on the workload that has the pod"
                    .to_owned(),
            ),
            Self::Nomad(allocation) => Some(format!(
                "Change the image in its job, which `nomad alloc status {allocation}` names, and use `nomad job run`"
            )),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name) = match self {
            Self::Swarm(name) => ("Swarm service", name),
            Self::Compose(name) => ("Compose project", name),
            Self::Systemd(name) => ("systemd unit", name),
            Self::Kubernetes(name) => ("Kubernetes pod", name),
            Self::Nomad(name) => ("Nomad allocation", name),
        };
        write!(f, "the {what} {name}")
    }
}
