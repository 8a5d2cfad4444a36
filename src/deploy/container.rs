//! The container side of a lane: stops and keeps the old container, starts the new one, and cleans up.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::{Executor, Mark, ReplacementOnEngine, StepError, millis};
use crate::model::command_line::shell;
use crate::model::ids::{ContainerId, LaneId};
use crate::model::image::previous;
use crate::observation::{Container, RestartPolicy};
use crate::plan::Step;
use crate::ports::{ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::EventKind;
use crate::site::unanswered::TrackedEngine;
use crate::site::wait::wait_with_ticks;

/// How long an answer to a change may take before a warning.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often stop requests are checked while an answer is awaited.
const TICK: Duration = Duration::from_secs(1);

impl<'a, L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'a, L, E, P, C, H, J>
{
    /// Returns the new container of a lane, once it exists, and its engine.
    pub(super) fn new_container(&self, lane: usize) -> Option<(ContainerId, &'a TrackedEngine<E>)> {
        self.created(lane).zip(self.at(lane).swap).map(|(new, (_, engine))| (new, engine))
    }

    /// Waits for the answer to a change of a container. Its servers are out, and stay out until the answer comes. Warns
    /// if that takes long.
    pub(super) async fn await_answer<T>(
        &self,
        lane: usize,
        call: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let mut seconds = 0;
        wait_with_ticks(TICK, call, || {
            self.report_stop_requests();
            seconds += TICK.as_secs();
            if seconds == PATIENCE.as_secs() {
                let message = format!(
                    "the engine has not answered for {seconds} s: drainswap does nothing else until it does, for ten minutes at most"
                );
                self.emit(lane, EventKind::Warned { message });
            }
        })
        .await
    }

    /// Waits until a lane's engine has answered its earlier calls, or can no longer carry them out.
    pub(super) async fn wait_for_lane_engine(&self, lane: usize) -> Result<(), StepError> {
        match self.at(lane).swap {
            Some((_, engine)) => self.wait_for_engine(Some(lane), engine).await,
            None => Ok(()),
        }
    }

    /// Waits for the same from an engine, for one lane or for the run.
    pub(super) async fn wait_for_engine(
        &self,
        lane: Option<usize>,
        engine: &TrackedEngine<E>,
    ) -> Result<(), StepError> {
        for call in engine.unanswered() {
            let message = format!(
                "the engine has not answered the call to {call}, and may still carry it out: drainswap does not touch that container until this is settled"
            );
            self.emitter.emit(lane.map(LaneId::at), EventKind::Warned { message });
        }
        Ok(engine.settle().await?)
    }

    /// Waits until a container that may be stopping has stopped, before it is started: otherwise that stop would end it
    /// afterwards. Does nothing while its servers are in service.
    pub(super) async fn finish_pending_stop(
        &self,
        lane: usize,
        engine: &TrackedEngine<E>,
        container: &ContainerId,
    ) -> Result<(), StepError> {
        if engine.is_stopping(container) && self.at(lane).is(Mark::Out) {
            self.await_answer(lane, engine.stop(container)).await?;
        }
        Ok(())
    }

    /// Stops the old container and puts it aside. Switches its restart policy off, so that a restart of the engine does
    /// not start it beside its successor.
    pub(super) async fn stop_and_keep(
        &self,
        lane: usize,
        (replacement, engine): ReplacementOnEngine<'_, E>,
        old: &Container,
    ) -> Result<(), StepError> {
        let begun = Instant::now();
        let (container, as_name) = (old.name.clone(), replacement.kept_name(&self.plan.run));
        self.await_answer(lane, engine.set_restart(&old.id, &RestartPolicy::never())).await?;
        self.await_answer(lane, engine.stop(&old.id)).await?;
        self.await_answer(lane, engine.rename(&old.id, &as_name)).await?;
        let took_ms = millis(begun);
        self.at(lane).time(|timing| timing.engine_ms += took_ms);
        self.emit(lane, EventKind::ContainerStopped { container, as_name, took_ms });
        Ok(())
    }

    pub(super) async fn start(
        &self,
        lane: usize,
        (replacement, engine): ReplacementOnEngine<'_, E>,
        new: &ContainerId,
    ) -> Result<(), StepError> {
        let begun = Instant::now();
        self.finish_pending_stop(lane, engine, new).await?;
        let name = replacement.name.clone();
        self.await_answer(lane, engine.rename(new, &name)).await?;
        self.await_answer(lane, engine.start(new)).await?;
        let took_ms = millis(begun);
        self.at(lane).time(|timing| timing.engine_ms += took_ms);
        self.emit(lane, EventKind::ContainerStarted { container: name, took_ms });
        Ok(())
    }

    /// Gives a new container the restart policy of its predecessor, because it is trusted from now on.
    pub(super) async fn restore_restart(&self, lane: usize) -> Result<(), StepError> {
        let Some((new, (replacement, engine))) = self.created(lane).zip(self.at(lane).swap) else {
            return Ok(());
        };
        Ok(engine.set_restart(&new, replacement.restart_of_new()).await?)
    }

    pub(super) async fn remove(
        &self,
        lane: usize,
        (replacement, engine): ReplacementOnEngine<'_, E>,
    ) -> Result<(), StepError> {
        let plan = self.plan;
        if let Some(image) = replacement.image_kept(plan.goal.policy.keep) {
            engine.tag(image, &previous::name(self.lane_of(lane).name())).await?;
        }
        for (id, container) in replacement.removed(&plan.run, plan.goal.policy.keep) {
            // A running container is in use, whatever its name says. A missing one needs no removal.
            if matches!(engine.status(id).await, Ok(pulse) if pulse.running) {
                let is_old = replacement.old.as_ref().is_some_and(|old| old.id == *id);
                if !(is_old && self.at(lane).is(Mark::RunsAgain)) {
                    self.emit(
                        lane,
                        EventKind::Warned {
                            message: format!("{container} is running, so it is not removed"),
                        },
                    );
                }
                continue;
            }
            engine.remove(id).await?;
            self.emit(lane, EventKind::Removed { container });
        }
        Ok(())
    }

    /// Removes the new container, even if the answer that named it was lost. A container that an earlier run had kept
    /// is put aside again instead.
    pub(super) async fn discard(
        &self,
        lane: usize,
        (replacement, engine): ReplacementOnEngine<'_, E>,
        mut new: Option<ContainerId>,
    ) -> Result<(), StepError> {
        if let Some(kept) = &replacement.returning {
            engine.set_restart(&kept.id, &RestartPolicy::never()).await?;
            engine.stop(&kept.id).await?;
            return Ok(engine.rename(&kept.id, &kept.name).await?);
        }
        if new.is_none() {
            let candidate = replacement.candidate_name(&self.plan.run);
            let all = engine.containers().await?;
            new = all.into_iter().find(|container| container.name == candidate).map(|container| container.id);
        }
        if let Some(new) = new {
            if self.has_begun(lane, Step::Ready) {
                // It has served, so let it finish its work. It may be gone already.
                match self.await_answer(lane, engine.stop(&new)).await {
                    Ok(()) | Err(EngineError::Refused { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            // If it never served, its new volumes hold nothing of value. Otherwise clients may have written to them.
            let description = self.site.descriptions.get(&self.lane_of(lane).name().backend);
            let has_served = self.has_begun(lane, Step::Ready);
            match replacement.volumes_before(description) {
                Some(before) if !has_served => {
                    self.await_answer(lane, engine.remove_with_volumes(&new, &before)).await?;
                }
                before => {
                    self.note_volumes(engine, &new, before).await;
                    self.await_answer(lane, engine.remove(&new)).await?;
                }
            }
        }
        Ok(())
    }

    /// Remembers the volumes that were created with a container and stay when it is removed. `before` are those that
    /// existed before it. It may be gone already.
    async fn note_volumes(
        &self,
        engine: &TrackedEngine<E>,
        container: &ContainerId,
        before: Option<BTreeSet<String>>,
    ) {
        let Some(before) = before else { return };
        if let Ok(found) = engine.container(container).await {
            let new = found.unnamed_volume_names().filter(|name| !before.contains(*name));
            self.volumes_left.borrow_mut().extend(new.map(str::to_owned));
        }
    }

    /// Names the volumes that this run has left, with the command that removes them.
    pub(super) fn name_volumes_left(&self) {
        let left = self.volumes_left.borrow();
        if left.is_empty() {
            return;
        }
        let names = left.iter().map(String::as_str);
        let remove = shell(&["docker", "volume", "rm"].into_iter().chain(names).collect::<Vec<_>>());
        let message = format!(
            "new containers that had served were removed, but not their volumes, because clients may have written data there. To remove that data: {remove}"
        );
        self.emit_run(EventKind::Warned { message });
    }
}
