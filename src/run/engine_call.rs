//! A call that changes a container on an engine, and the check for its effect.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::ids::ContainerId;
use crate::observation::{Container, ContainerState, RestartPolicy};

/// A change to one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "call")]
pub enum EngineCall {
    Create { name: String },
    Start { container: ContainerId },
    Stop { container: ContainerId },
    Rename { container: ContainerId, name: String },
    SetRestart { container: ContainerId, policy: RestartPolicy },
    Remove { container: ContainerId },
}

impl EngineCall {
    /// Returns whether the call has taken effect, given all containers of the engine. A call whose container no longer
    /// exists can have no further effect and counts as done, except for a create.
    #[must_use]
    pub fn is_seen(&self, all: &[Container]) -> bool {
        let is_so = |id: &ContainerId, is_so: &dyn Fn(&Container) -> bool| {
            all.iter().find(|it| it.id == *id).is_none_or(is_so)
        };
        match self {
            Self::Create { name } => all.iter().any(|it| it.name == *name),
            Self::Start { container } => {
                is_so(container, &|it| !matches!(it.state, ContainerState::Created | ContainerState::Stopped))
            }
            Self::Stop { container } => {
                is_so(container, &|it| matches!(it.state, ContainerState::Created | ContainerState::Stopped))
            }
            Self::Rename { container, name } => is_so(container, &|it| it.name == *name),
            Self::SetRestart { container, policy } => is_so(container, &|it| it.restart.is_same(policy)),
            Self::Remove { container } => is_so(container, &|_| false),
        }
    }
}

impl fmt::Display for EngineCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { name } => write!(f, "create {name}"),
            Self::Start { container } => write!(f, "start {}", container.short()),
            Self::Stop { container } => write!(f, "stop {}", container.short()),
            Self::Rename { container, name } => write!(f, "rename {} to {name}", container.short()),
            Self::SetRestart { container, .. } => {
                write!(f, "set the restart policy of {}", container.short())
            }
            Self::Remove { container } => write!(f, "remove {}", container.short()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn an_effect_shows_in_the_containers_of_the_engine() {
        let all = World::pair().observation.containers;
        let (container, gone) = (all[0].id.clone(), ContainerId("gone".to_owned()));
        let stopped = {
            let mut all = all.clone();
            all[0].state = ContainerState::Stopped;
            all[0].name = "aside".to_owned();
            all[0].restart = RestartPolicy::never();
            all
        };
        let (name, policy) = ("aside".to_owned(), RestartPolicy::never());
        for (call, in_service, put_aside) in [
            (EngineCall::Create { name: name.clone() }, false, true),
            (EngineCall::Start { container: container.clone() }, true, false),
            (EngineCall::Stop { container: container.clone() }, false, true),
            (EngineCall::Rename { container: container.clone(), name: name.clone() }, false, true),
            (EngineCall::SetRestart { container: container.clone(), policy: policy.clone() }, false, true),
            (EngineCall::Remove { container }, false, false),
            (EngineCall::Start { container: gone.clone() }, true, true),
            (EngineCall::Rename { container: gone.clone(), name }, true, true),
            (EngineCall::SetRestart { container: gone.clone(), policy }, true, true),
            (EngineCall::Remove { container: gone.clone() }, true, true),
            (EngineCall::Stop { container: gone }, true, true),
        ] {
            assert_eq!((call.is_seen(&all), call.is_seen(&stopped)), (in_service, put_aside), "{call}");
        }
    }

    #[test]
    fn a_call_is_printed_as_what_it_does_to_which_container() {
        let container = ContainerId("c0ffee".repeat(8));
        let (name, policy) = ("app1".to_owned(), RestartPolicy::never());
        for (call, printed) in [
            (EngineCall::Create { name: name.clone() }, "create app1"),
            (EngineCall::Start { container: container.clone() }, "start c0ffeec0ffee"),
            (EngineCall::Stop { container: container.clone() }, "stop c0ffeec0ffee"),
            (EngineCall::Rename { container: container.clone(), name }, "rename c0ffeec0ffee to app1"),
            (
                EngineCall::SetRestart { container: container.clone(), policy },
                "set the restart policy of c0ffeec0ffee",
            ),
            (EngineCall::Remove { container }, "remove c0ffeec0ffee"),
        ] {
            assert_eq!(call.to_string(), printed);
        }
    }
}
