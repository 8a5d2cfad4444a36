//! A plan that lacks only what the engines say about its new containers.

use std::collections::BTreeMap;

use crate::model::ids::RunId;
use crate::observation::ContainerChange;
use crate::plan::{Plan, Replacement};

/// A plan before drainswap queries the engines for how its new containers will differ from those that they replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft(pub(super) Plan);

impl Draft {
    /// Returns the identifier of the run.
    #[must_use]
    pub fn run(&self) -> &RunId {
        &self.0.run
    }

    /// Returns the replacements whose container will be created, by the index of their lane.
    pub fn created(&self) -> impl Iterator<Item = (usize, &Replacement)> {
        let replacements =
            self.0.lanes.iter().enumerate().filter_map(|(lane, it)| Some((lane, it.replacement.as_ref()?)));
        replacements.filter(|(_, replacement)| replacement.is_created())
    }

    /// Returns the plan, with how the new containers will differ from those that they replace, by the index of their
    /// lane. This is unknown as long as an engine does not have the image.
    #[must_use]
    pub fn finish(self, mut changes: BTreeMap<usize, Vec<ContainerChange>>) -> Plan {
        let Self(mut plan) = self;
        for (index, lane) in plan.lanes.iter_mut().enumerate() {
            if let Some(replacement) = &mut lane.replacement {
                replacement.changes = changes.remove(&index);
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Goal, RunKind, Target, build};
    use crate::testing::{World, image};

    #[test]
    fn the_engines_are_asked_about_each_container_that_will_be_created() {
        let world = World::pair();
        let target = Target::Everywhere(image("v2"));
        let goal = Goal::new("mobile", RunKind::Deploy, target, world.policy.clone());
        let mut draft = build::build(&world.topology(), &world.observation, &goal).unwrap();
        let lanes = |draft: &Draft| draft.created().map(|(lane, _)| lane).collect::<Vec<_>>();
        assert_eq!(lanes(&draft), [0, 1]);
        let kept = world.observation.containers[0].clone();
        draft.0.lanes[0].replacement.as_mut().unwrap().returning = Some(kept);
        assert_eq!(lanes(&draft), [1], "a kept container has been created already");

        let known = vec![ContainerChange::Hidden { field: "command".into() }];
        let plan = draft.finish([(1, known.clone())].into());
        let changes = plan.lanes.iter().map(|lane| lane.replacement.as_ref().unwrap().changes.clone());
        assert_eq!(changes.collect::<Vec<_>>(), [None, Some(known)]);
    }
}
