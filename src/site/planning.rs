//! Plans on a site: queries what the observation leaves open before the plan is finished.

use std::collections::BTreeMap;

use super::Site;
use crate::observation::Observation;
use crate::plan::refusal::Refusal;
use crate::plan::{Goal, Plan, build};
use crate::ports::{ContainerEngine, EngineError, Hooks, LoadBalancer, Prober, WallClock};
use crate::topology::Topology;

/// The reason why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Every reason against the goal.
    #[error("refused: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Refusal>),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks> Site<L, E, P, C, H> {
    /// Plans a goal, with the differences between every new container and the one that it replaces.
    ///
    /// # Panics
    /// If the topology does not have the goal's backend.
    pub async fn plan(
        &self,
        topology: &Topology,
        observation: &Observation,
        goal: &Goal,
    ) -> Result<Plan, PlanError> {
        let draft = build::build(topology, observation, goal).map_err(PlanError::Refused)?;
        let mut changes = BTreeMap::new();
        for (lane, new) in draft.created() {
            let spec = new.create_spec(draft.run(), self.descriptions.get(&goal.backend));
            let of_lane = self.engines.of(&new.like)?.changes(&spec).await?;
            changes.extend(of_lane.map(|it| (lane, it)));
        }
        Ok(draft.finish(changes))
    }
}
