//! Handles containers that another tool replaced during the run: the replacement serves, and drainswap must not remove
//! it.

use super::container::Asked;
use super::recovery::TakenBack;
use super::{Executor, Failure, Mark};
use crate::event::Fact;
use crate::observation::{Container, ContainerState};
use crate::outcome::list;
use crate::plan::Step;
use crate::plan::place::Place;
use crate::ports::{ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, Prober, WallClock};

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Returns the container that another tool put in the place of a lane's old one: it runs under the old container's
    /// name, and according to the engine it has the address of each of the lane's servers.
    async fn replaced_by(&self, lane: usize) -> Result<Option<Container>, Failure> {
        let Some((old, engine)) = self.old(lane) else { return Ok(None) };
        let new = self.created(lane);
        let is_another =
            |it: &Container| it.id != old.id && Some(&it.id) != new.as_ref() && it.name == old.name;
        let has_place = |it: &Container| {
            let mut servers = self.lane_of(lane).servers.iter();
            it.state == ContainerState::Running
                && servers.all(|server| server.place_of(it, Some(old)) == Place::There)
        };
        let all = engine.containers().await?;
        Ok(all.into_iter().find(|it| is_another(it) && has_place(it)))
    }

    /// Returns that container if the old one is gone or was put aside, and the new one does not run.
    pub(super) async fn put_there(&self, lane: usize, failure: &Failure) -> Option<Container> {
        let may_serve = self.at(lane).is(Mark::TakenOver) || !self.has_begun(lane, Step::Start);
        if !may_serve || !matches!(failure, Failure::Drifted { .. }) {
            return None;
        }
        let look = self.replaced_by(lane);
        self.guarded(lane, look).await.unwrap_or(None)
    }

    /// Explains an engine's refusal: another tool may have put its own container there, which has the name or the port.
    pub(super) async fn or_replaced(&self, lane: usize, failure: Failure) -> Failure {
        let is_refused = matches!(failure, Failure::Engine(EngineError::Refused { .. }));
        match self.old(lane) {
            Some((old, _)) if is_refused && matches!(self.is_taken_over(lane).await, Ok(true)) => {
                self.drifted(lane, old)
            }
            Some(_) | None => failure,
        }
    }

    /// Explains that a lane's old container is missing: the run had put it aside, and no other tool has replaced it.
    pub(super) fn or_kept_gone(&self, lane: usize, failure: Failure) -> Failure {
        match (failure, self.at(lane).swap) {
            (Failure::Drifted { server, .. }, Some((replacement, _)))
                if !self.at(lane).is(Mark::TakenOver) =>
            {
                Failure::KeptGone { server, container: replacement.kept_name(&self.plan.run) }
            }
            (failure, _) => failure,
        }
    }

    /// Returns whether another tool put its own container in the place of a lane's old one, and remembers it if so.
    pub(super) async fn is_taken_over(&self, lane: usize) -> Result<bool, Failure> {
        let is_taken_over = self.replaced_by(lane).await?.is_some();
        if is_taken_over {
            self.at(lane).mark(Mark::TakenOver);
        }
        Ok(is_taken_over)
    }

    /// Puts a lane's servers back in service with the container that took the place of the old one, if it answers.
    pub(super) async fn leave_to(
        &self,
        lane: usize,
        other: &Container,
        failure: Failure,
    ) -> Result<TakenBack, Failure> {
        // Guard the servers only until it answers: from then on they are in service.
        if !self.guarded(lane, self.comes_to_answer(lane, Asked::Old)).await {
            return Err(failure);
        }
        self.insist_on(lane, Step::PutBack).await?;
        self.at(lane).mark(Mark::TakenOver);
        let discarded = self.simply(lane, Step::Discard).await;
        self.warn_unless(discarded, lane, "cannot discard a container that was never started");
        let message = format!(
            "put {} back in service with container {} ({}), which another tool put there during this run: it has the address and answers",
            list(&self.lane_of(lane).ids()),
            other.name,
            other.id.short()
        );
        self.tell(Fact::Warned { message });
        Ok(TakenBack::Undone)
    }
}
