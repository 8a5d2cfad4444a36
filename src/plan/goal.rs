//! What a run is to reach.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Approved, Policy};
use crate::model::hook::HookPoint;
use crate::model::ids::RunId;
use crate::model::ids::ServerId;
use crate::model::image::Image;
use crate::model::run_kind::RunKind;
use crate::observation::Container;

/// What to deploy or roll back, where, and under which policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    pub backend: String,
    pub purpose: RunKind,
    pub target: Target,
    /// The deploys to roll back, newest first.
    pub takes_back: Vec<RunId>,
    pub policy: Policy,
    /// How many lanes may run at the same time, at least 1.
    pub parallel: usize,
    /// The points of the run at which a hook command is configured.
    pub hooks: Vec<HookPoint>,
    /// The unfinished run that the plan continues; the first of them if there are several.
    pub continues: Option<RunId>,
    /// The approved plan file that the plan applies.
    pub approved: Option<Approved>,
    /// Notes about the goal itself, for the operator.
    pub notes: Vec<String>,
}

impl Goal {
    /// Creates a goal under this policy: one lane at a time, and without hooks.
    #[must_use]
    pub fn new(backend: &str, purpose: RunKind, target: Target, policy: Policy) -> Self {
        Self {
            backend: backend.to_owned(),
            purpose,
            target,
            takes_back: Vec::new(),
            policy,
            parallel: 1,
            hooks: Vec::new(),
            continues: None,
            approved: None,
            notes: Vec::new(),
        }
    }
}

/// The image that each server gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Every server gets this image.
    Everywhere(Image),
    /// Each server gets what it ran before. Servers that are not named stay unchanged.
    Each(BTreeMap<ServerId, RollbackTarget>),
    /// The plan does not say it: an earlier version made the plan, or it undoes a run.
    #[default]
    Unknown,
}

/// The image and container that a server ran before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RollbackTarget {
    /// The image.
    pub image: Image,
    /// The container that ran it, with the name under which it was kept.
    pub container: Option<Container>,
    /// The engine, which is empty for the default one.
    pub engine: String,
}

impl Target {
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    pub(super) fn image(&self, server: &ServerId) -> Option<&Image> {
        match self {
            Self::Everywhere(image) => Some(image),
            Self::Each(_) => self.rollback_target(server).map(|returned| &returned.image),
            Self::Unknown => None,
        }
    }

    pub(super) fn rollback_target(&self, server: &ServerId) -> Option<&RollbackTarget> {
        match self {
            Self::Everywhere(_) | Self::Unknown => None,
            Self::Each(each) => each.get(server),
        }
    }
}

impl RollbackTarget {
    /// Returns the kept container, unless it has been removed, renamed or started since.
    #[must_use]
    pub fn kept_among<'a>(&self, containers: &'a [Container]) -> Option<&'a Container> {
        let kept = self.container.as_ref()?;
        containers.iter().find(|it| it.id == kept.id && it.name == kept.name && it.state.is_idle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::image;

    #[test]
    fn a_server_gets_an_image_only_if_the_target_names_one_for_it() {
        let (app1, app2): (ServerId, ServerId) = ("web/app1".parse().unwrap(), "web/app2".parse().unwrap());
        let target = RollbackTarget { image: image("v1"), container: None, engine: String::new() };
        let each = Target::Each([(app1.clone(), target.clone())].into());
        assert_eq!((each.image(&app1), each.image(&app2)), (Some(&image("v1")), None));
        assert_eq!((each.rollback_target(&app1), each.rollback_target(&app2)), (Some(&target), None));
        let everywhere = Target::Everywhere(image("v2"));
        assert_eq!((everywhere.image(&app2), everywhere.rollback_target(&app2)), (Some(&image("v2")), None));
        assert_eq!((Target::Unknown.image(&app1), Target::Unknown.rollback_target(&app1)), (None, None));
    }
}
