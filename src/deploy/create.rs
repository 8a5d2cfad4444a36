//! Pulls the images and creates the new containers, while every server is still in rotation.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;

use super::{Executor, ReplacementOnEngine, StepError, millis};
use crate::model::ids::ContainerId;
use crate::model::image::Image;
use crate::observation::RestartPolicy;
use crate::plan::{Replacement, Step, other_runs};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, PullProgress, WallClock};
use crate::run::event::{EnginePull, EventKind};
use crate::run::journal::Record;
use crate::site::unanswered::TrackedEngine;

/// How many containers are created at once.
const AT_ONCE: usize = 8;

impl<'a, L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'a, L, E, P, C, H, J>
{
    pub(super) async fn pull(&self, image: &Image) -> Result<(), StepError> {
        let begun = Instant::now();
        self.emit_run(EventKind::PullStarted { image: image.clone() });
        let (sender, mut receiver) = tokio::sync::watch::channel(Vec::<PullProgress>::new());
        let sender = &sender;
        let creates = |(it, _): &ReplacementOnEngine<'_, E>| it.is_created() && it.image == *image;
        let engines = self.engines(creates);
        let names: BTreeSet<&str> = engines.keys().copied().collect();
        let platform =
            self.site.descriptions.get(&self.plan.goal.backend).and_then(|it| it.platform.as_ref());
        let pulls = engines.values().enumerate().map(|(index, engine)| async move {
            let progress = move |progress| {
                sender.send_if_modified(|all| {
                    all.resize(all.len().max(index + 1), PullProgress::default());
                    std::mem::replace(&mut all[index], progress) != progress
                });
            };
            engine.pull(image, platform, &progress).await
        });
        let pulling = try_join_all(pulls);
        tokio::pin!(pulling);
        let mut has_broken_off = false;
        loop {
            tokio::select! {
                biased;
                pulled = &mut pulling => break pulled.map(drop)?,
                () = self.stop.asked.cancelled() => return Err(StepError::Stopped),
                Ok(()) = receiver.changed() => {
                    let now = receiver.borrow_and_update().clone();
                    if !has_broken_off && now.iter().any(|it| it.is_retrying) {
                        has_broken_off = true;
                        let message =
                            format!("the registry closed the connection while the engine pulled {image}; the engine retries");
                        self.emit_run(EventKind::Warned { message });
                    }
                    self.emit_run(pull_progress(&names, &now));
                }
            }
        }
        self.emit_run(EventKind::Pulled { image: image.clone(), took_ms: millis(begun) });
        Ok(())
    }

    /// Returns the engines of the selected replacements, by name.
    pub(super) fn engines(
        &self,
        is_meant: impl Fn(&ReplacementOnEngine<'a, E>) -> bool,
    ) -> BTreeMap<&'a str, &'a TrackedEngine<E>> {
        let meant = self.lanes.iter().filter_map(|lane| lane.swap).filter(is_meant);
        meant.map(|(replacement, engine)| (replacement.like.engine.as_str(), engine)).collect()
    }

    /// Creates every new container, several at a time: they are only created, so their order does not matter.
    pub(super) async fn create_all(&self) -> Result<(), StepError> {
        let creating = self.all_lanes().filter(|lane| self.lane_of(*lane).steps.contains(&Step::Create));
        let creating: Vec<_> = creating.filter_map(|lane| Some((lane, self.at(lane).swap?))).collect();
        for (lane, _) in &creating {
            self.record_begun(*lane, Step::Create).await?;
        }
        let creations = creating.iter().map(|(lane, swap)| self.create_candidate(*lane, *swap));
        let created: Vec<_> = stream::iter(creations).buffered(AT_ONCE).collect().await;
        let mut failed = Ok(());
        for ((lane, (replacement, _)), result) in creating.into_iter().zip(created) {
            match result {
                Ok(container) => self.record_created(lane, replacement, container).await?,
                Err(failure) if failed.is_ok() => failed = Err(failure),
                Err(_) => {}
            }
        }
        failed
    }

    /// Checks that no other run is about to replace the same containers. Every run checks after it has created its own,
    /// so that of two runs which began at once at least one sees the other.
    pub(super) async fn check_no_concurrent_run(&self) -> Result<(), StepError> {
        for (name, engine) in self.engines(|_| true) {
            let containers = engine.containers().await?;
            if let Some(refusal) = other_runs::competing_run(self.plan, name, &containers) {
                return Err(refusal.into());
            }
        }
        Ok(())
    }

    async fn create_candidate(
        &self,
        lane: usize,
        (replacement, engine): ReplacementOnEngine<'_, E>,
    ) -> Result<ContainerId, StepError> {
        let description = self.site.descriptions.get(&self.lane_of(lane).name().backend);
        let recipe = replacement.create_spec(&self.plan.run, description);
        let container = engine.create(&recipe).await?;
        // Until a new container has answered it is not restarted, so that its exit code shows why it exited.
        engine.set_restart(&container, &RestartPolicy::never()).await?;
        Ok(container)
    }

    async fn record_created(
        &self,
        lane: usize,
        replacement: &Replacement,
        container: ContainerId,
    ) -> Result<(), StepError> {
        self.ledger.record_anyway(&Record::Created { lane, container }).await?;
        self.record_done(lane, Step::Create).await?;
        let (container, like) = (replacement.candidate_name(&self.plan.run), replacement.like.name.clone());
        let servers = self.lane_of(lane).ids();
        self.emit(lane, EventKind::Created { servers, container, like });
        Ok(())
    }
}

/// Returns the pull progress of the engines with these names.
fn pull_progress(names: &BTreeSet<&str>, now: &[PullProgress]) -> EventKind {
    let each = names.iter().zip(now).map(|(name, it)| EnginePull {
        engine: (*name).to_owned(),
        received: it.received,
        expected: it.expected,
    });
    EventKind::PullProgressed {
        received: now.iter().map(|it| it.received).fold(0, u64::saturating_add),
        expected: now.iter().map(|it| it.expected).fold(0, u64::saturating_add),
        engines: each.filter(|_| names.len() > 1).collect(),
    }
}

#[cfg(test)]
mod tests;
