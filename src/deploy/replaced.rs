//! Handles containers that another tool replaced during the run: the replacement serves, and drainswap must not remove
//! it.

use super::readiness::ProbeSubject;
use super::recovery::LaneUndo;
use super::{Executor, Mark, StepError};
use crate::model::words::list;
use crate::observation::{Container, ContainerState};
use crate::plan::Step;
use crate::plan::place::ContainerPlace;
use crate::ports::{ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::EventKind;

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Returns the container that another tool put in the place of a lane's old one: it runs under the old container's
    /// name, and according to the engine it has the address of each of the lane's servers.
    async fn replaced_by(&self, lane: usize) -> Result<Option<Container>, StepError> {
        let Some((old, engine)) = self.old_container(lane) else { return Ok(None) };
        let new = self.created(lane);
        let is_another =
            |it: &Container| it.id != old.id && Some(&it.id) != new.as_ref() && it.name == old.name;
        let has_place = |it: &Container| {
            let mut servers = self.lane_of(lane).servers.iter();
            it.state == ContainerState::Running
                && servers.all(|server| server.place_of(it, Some(old)) == ContainerPlace::AtAddress)
        };
        let all = engine.containers().await?;
        Ok(all.into_iter().find(|it| is_another(it) && has_place(it)))
    }

    /// Returns that container if the old one is gone or was put aside, and the new one does not run.
    pub(super) async fn foreign_replacement(&self, lane: usize, failure: &StepError) -> Option<Container> {
        let may_serve = self.at(lane).is(Mark::TakenOver) || !self.has_begun(lane, Step::Start);
        if !may_serve || !matches!(failure, StepError::Drifted { .. }) {
            return None;
        }
        let look = self.replaced_by(lane);
        self.with_maint_held(lane, look).await.unwrap_or(None)
    }

    /// Explains an engine's refusal: another tool may have put its own container there, which has the name or the port.
    pub(super) async fn explain_replaced(&self, lane: usize, failure: StepError) -> StepError {
        let is_refused = matches!(failure, StepError::Engine(EngineError::Refused { .. }));
        match self.old_container(lane) {
            Some((old, _)) if is_refused && matches!(self.is_taken_over(lane).await, Ok(true)) => {
                self.drift_error(lane, old)
            }
            Some(_) | None => failure,
        }
    }

    /// Explains that a lane's old container is missing: the run had put it aside, and no other tool has replaced it.
    pub(super) fn or_kept_gone(&self, lane: usize, failure: StepError) -> StepError {
        match (failure, self.at(lane).swap) {
            (StepError::Drifted { server, .. }, Some((replacement, _)))
                if !self.at(lane).is(Mark::TakenOver) =>
            {
                StepError::KeptGone { server, container: replacement.kept_name(&self.plan.run) }
            }
            (failure, _) => failure,
        }
    }

    /// Returns whether another tool put its own container in the place of a lane's old one, and remembers it if so.
    pub(super) async fn is_taken_over(&self, lane: usize) -> Result<bool, StepError> {
        let is_taken_over = self.replaced_by(lane).await?.is_some();
        if is_taken_over {
            self.at(lane).mark(Mark::TakenOver);
        }
        Ok(is_taken_over)
    }

    /// Puts a lane's servers back in service with the container that took the place of the old one, if it answers.
    pub(super) async fn leave_to_foreign(
        &self,
        lane: usize,
        other: &Container,
        failure: StepError,
    ) -> Result<LaneUndo, StepError> {
        // Guard the servers only until it answers: from then on they are in service.
        if !self.with_maint_held(lane, self.wait_for_answer(lane, ProbeSubject::Old)).await {
            return Err(failure);
        }
        self.apply_with_retry(lane, Step::PutBack).await?;
        self.at(lane).mark(Mark::TakenOver);
        let discarded = self.apply_unguarded(lane, Step::Discard).await;
        self.warn_unless(discarded, lane, "cannot discard a container that was never started");
        let message = format!(
            "put {} back in service with container {} ({}), which another tool put there during this run: it has the address and answers",
            list(&self.lane_of(lane).ids()),
            other.name,
            other.id.short()
        );
        self.emit(lane, EventKind::Warned { message });
        Ok(LaneUndo::Undone)
    }
}
