//! The old container of a lane: checks that it is still there, and brings it back.

use super::recovery::{TRY_EVERY, TRY_FOR};
use super::{Executor, Mark, ReplacementOnEngine, StepError};
use crate::model::ids::ContainerId;
use crate::observation::{Container, ContainerState, RestartPolicy};
use crate::ports::{ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::EventKind;
use crate::site::unanswered::TrackedEngine;
use crate::site::wait::retry;
use crate::topology::matching::ContainerRole;

impl<'a, L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'a, L, E, P, C, H, J>
{
    /// Returns the container that a lane replaces, unless it is gone, and its engine.
    pub(super) fn old_container(&self, lane: usize) -> Option<(&'a Container, &'a TrackedEngine<E>)> {
        self.at(lane).swap.and_then(|(replacement, engine)| replacement.old.as_ref().map(|old| (old, engine)))
    }

    /// Checks that the container to be replaced is still the one that the plan was made for.
    pub(super) async fn old_is_there(&self, lane: usize) -> Result<(), StepError> {
        let Some((old, engine)) = self.old_container(lane) else { return Ok(()) };
        match engine.status(&old.id).await {
            Err(EngineError::Refused { .. }) => Err(self.drift_error(lane, old)),
            answer => Ok(answer.map(|_| ())?),
        }
    }

    /// Checks the same, and that no other tool put its own container there. Retries while the engine may be restarting.
    pub(super) async fn old_is_still_in_place(&self, lane: usize) -> Result<(), StepError> {
        retry(TRY_EVERY, TRY_FOR, StepError::is_outage, async || self.old_is_there(lane).await).await?;
        match self.old_container(lane).filter(|_| self.at(lane).is(Mark::TakenOver)) {
            Some((old, _)) => Err(self.drift_error(lane, old)),
            None => Ok(()),
        }
    }

    pub(super) fn drift_error(&self, lane: usize, old: &Container) -> StepError {
        StepError::Drifted { server: self.lane_of(lane).name().clone(), container: old.name.clone() }
    }

    /// Returns whether a stop of the lane's old container may be under way.
    pub(super) fn old_may_be_stopping(&self, lane: usize) -> bool {
        self.old_container(lane).is_some_and(|(old, engine)| engine.is_stopping(&old.id))
    }

    /// Gives the old container its name back, and starts it if it ran before. An engine may choose other ports at each
    /// start: if it does, the old container is kept, and a copy with the former ports takes its place.
    pub(super) async fn restore_old(
        &self,
        lane: usize,
        swap: ReplacementOnEngine<'_, E>,
        old: &Container,
    ) -> Result<(), StepError> {
        let (replacement, engine) = swap;
        if let Some(copy) = self.copy_of(engine, old).await? {
            engine.set_restart(&copy, &old.restart).await?;
            engine.start(&copy).await?;
            self.record_stand_in(lane, copy, old, &replacement.kept_name(&self.plan.run));
            return Ok(());
        }
        self.finish_pending_stop(lane, engine, &old.id).await?;
        self.await_answer(lane, engine.rename(&old.id, &old.name)).await?;
        self.await_answer(lane, engine.set_restart(&old.id, &old.restart)).await?;
        if matches!(old.state, ContainerState::Running | ContainerState::Restarting) {
            self.await_answer(lane, engine.start(&old.id)).await?;
        }
        let (tcp, udp) = (&replacement.pinned.ports, &replacement.pinned.udp_ports);
        let has_all = |now: &Container| {
            tcp.iter().all(|it| now.published.contains(it))
                && udp.iter().all(|it| now.published_udp.contains(it))
        };
        match engine.container(&old.id).await? {
            now if now.state == ContainerState::Running && !has_all(&now) => {
                self.create_stand_in(lane, swap, old).await
            }
            _ => Ok(()),
        }
    }

    /// Returns the copy that an earlier attempt made of an old container: it has the old container's name and image.
    async fn copy_of(
        &self,
        engine: &TrackedEngine<E>,
        old: &Container,
    ) -> Result<Option<ContainerId>, StepError> {
        let all = engine.containers().await?;
        let is_kept = |it: &Container| it.id == old.id && ContainerRole::Previous.read(&it.name).is_some();
        let is_copy = |it: &&Container| it.id != old.id && it.name == old.name && it.image == old.image;
        let copy = all.iter().find(is_copy).filter(|_| all.iter().any(is_kept));
        Ok(copy.map(|copy| copy.id.clone()))
    }

    /// Puts the old container aside again, and starts a copy that requests its former ports.
    async fn create_stand_in(
        &self,
        lane: usize,
        (replacement, engine): ReplacementOnEngine<'_, E>,
        old: &Container,
    ) -> Result<(), StepError> {
        engine.set_restart(&old.id, &RestartPolicy::never()).await?;
        engine.stop(&old.id).await?;
        let copy = engine.create(&replacement.copy_spec(old, &self.plan.run)).await?;
        let kept = replacement.kept_name(&self.plan.run);
        engine.rename(&old.id, &kept).await?;
        engine.rename(&copy, &old.name).await?;
        engine.set_restart(&copy, &old.restart).await?;
        engine.start(&copy).await?;
        self.record_stand_in(lane, copy, old, &kept);
        Ok(())
    }

    fn record_stand_in(&self, lane: usize, copy: ContainerId, old: &Container, kept: &str) {
        *self.at(lane).stand_in.borrow_mut() = Some(copy);
        let message = format!(
            "{} could not get its port back, because the engine chooses a new one at each start (-p without a host port, or a range). A copy that requests the old port replaces it, and the original is kept as {kept}",
            old.name
        );
        self.emit(lane, EventKind::Warned { message });
    }
}
