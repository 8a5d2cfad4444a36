//! The container side of a lane: creates the new container, keeps the old one, proves that the new one answers, and
//! cleans up.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;

use super::recovery::{TRY_EVERY, TRY_FOR};
use super::{Executor, Mark, ReplacementOnEngine, StepError, millis};
use crate::model::command_line::shell;
use crate::model::ids::{ContainerId, LaneId};
use crate::model::image::{Image, previous};
use crate::model::probe::{Probe, distinct};
use crate::model::words::list;
use crate::observation::{Answer, Container, ContainerState, Health, RestartPolicy};
use crate::plan::{LaneServer, Replacement, Step, other_runs};
use crate::ports::{
    ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, Prober, PullProgress, WallClock,
};
use crate::run::event::{EnginePull, EventKind};
use crate::run::journal::Record;
use crate::site::unanswered::TrackedEngine;
use crate::site::wait::{Waited, retry, until, wait_with_ticks};
use crate::topology::matching::ContainerRole;

/// How many containers are created at once.
const AT_ONCE: usize = 8;

/// The minimum time that an old container gets when it is started again.
pub(super) const OLD_LIMIT: Duration = Duration::from_secs(60);

/// The container that must answer. It determines which lines are probed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeSubject {
    New,
    Old,
    /// The existing container, where nothing is replaced.
    Same,
}

/// How long an answer to a change may take before a warning.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often stop requests are checked while an answer is awaited.
const TICK: Duration = Duration::from_secs(1);

/// How often a new container is probed.
const ASK_EVERY: Duration = Duration::from_millis(25);

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

    /// Waits until a container that may be stopping has stopped, before it is started: otherwise that stop would end it
    /// afterwards. Does nothing while its servers are in service.
    async fn finish_pending_stop(
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

    /// Returns whether a stop of the lane's old container may be under way.
    pub(super) fn old_may_be_stopping(&self, lane: usize) -> bool {
        self.old_container(lane).is_some_and(|(old, engine)| engine.is_stopping(&old.id))
    }

    /// Waits the same for an engine, for one lane or for the run.
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

    /// Waits until the container runs, is healthy if Docker checks it, and answers on every line. Fails at once if it
    /// exits or is restarted. An old container that answers counts as back, whatever Docker reports when the time is
    /// up.
    pub(super) async fn wait_ready(
        &self,
        lane: usize,
        container: Option<ContainerId>,
    ) -> Result<(), StepError> {
        let begun = Instant::now();
        self.check_addresses(lane, container.as_ref()).await?;
        let policy = &self.plan.goal.policy;
        // The old container gets more time: there is nothing else to return to.
        let asked = self.probe_subject(lane, container.as_ref());
        let (limit, rise) = match asked {
            ProbeSubject::New => (policy.ready_timeout, policy.rise),
            ProbeSubject::Old | ProbeSubject::Same => (self.old_limit(), 1),
        };
        let stop = self.stop_at_once(lane);
        let (mut last, mut booted_after, mut in_a_row) = (String::from("it was never probed"), 0, 0);
        let waited = until(ASK_EVERY, limit, &stop, async || {
            self.report_lane_stop(lane);
            let answer = self.check_container(lane, container.as_ref()).await?;
            if let Answer::NotReady(why) = &answer {
                // The old one was up when it was stopped, so waiting for it restores service sooner.
                if asked == ProbeSubject::New {
                    self.check_promise(lane)?;
                }
                (booted_after, in_a_row) = (millis(begun), 0);
                if *why != last {
                    last.clone_from(why);
                    let server = self.lane_of(lane).name().clone();
                    self.emit(lane, EventKind::NotReadyYet { server, answer: why.clone() });
                }
            }
            if answer.is_ready() {
                in_a_row += 1;
                last = format!("{}, but only {in_a_row} of {rise} times in a row (--rise)", answer.detail());
            }
            Ok::<_, StepError>(Some(answer).filter(|_| in_a_row >= rise))
        });
        let mut waited = waited.await?;
        if asked == ProbeSubject::Old && waited == Waited::TimedOut {
            let answer = self.probe_lines(lane, asked).await;
            if answer.is_ready() {
                let (servers, within) = (list(&self.lane_of(lane).ids()), limit.as_secs_f64());
                let message = format!(
                    "{servers}: Docker did not report the old container healthy again within {within} s ({last}). It answers, so it is put back in service"
                );
                self.emit(lane, EventKind::Warned { message });
                waited = Waited::Done(answer);
            }
        }
        match waited {
            Waited::Done(answer) => {
                self.at(lane).time(|timing| timing.boot_ms = booted_after);
                let servers = self.lane_of(lane).ids();
                self.emit(
                    lane,
                    EventKind::BecameReady {
                        servers,
                        answer: answer.detail().to_owned(),
                        took_ms: millis(begun),
                    },
                );
                Ok(())
            }
            Waited::TimedOut => Err(StepError::NeverReady { limit, last_answer: last }),
            Waited::Stopped => {
                self.report_lane_stop(lane);
                Err(StepError::Stopped)
            }
        }
    }

    /// Returns the container that a lane replaces, unless it is gone, and its engine.
    pub(super) fn old_container(&self, lane: usize) -> Option<(&'a Container, &'a TrackedEngine<E>)> {
        self.at(lane).swap.and_then(|(replacement, engine)| replacement.old.as_ref().map(|old| (old, engine)))
    }

    /// Returns the new container of a lane, once it exists, and its engine.
    pub(super) fn new_container(&self, lane: usize) -> Option<(ContainerId, &'a TrackedEngine<E>)> {
        self.created(lane).zip(self.at(lane).swap).map(|(new, (_, engine))| (new, engine))
    }

    fn probe_subject(&self, lane: usize, container: Option<&ContainerId>) -> ProbeSubject {
        match container {
            None => ProbeSubject::Same,
            Some(_) if container == self.created(lane).as_ref() => ProbeSubject::New,
            Some(_) => ProbeSubject::Old,
        }
    }

    /// Returns whether Docker's healthcheck counts in addition to an answer. For an old container it counts only if
    /// that was healthy before the run and can be healthy again in time: there is nothing else to return to, and its
    /// servers are out until then.
    fn uses_healthcheck(&self, lane: usize, container: Option<&ContainerId>) -> bool {
        let limit = self.old_limit();
        match self.probe_subject(lane, container) {
            ProbeSubject::New | ProbeSubject::Same => true,
            ProbeSubject::Old => {
                self.old_container(lane).is_some_and(|(old, _)| old.is_healthy_again_within(limit))
            }
        }
    }

    /// Returns how long an old container may take until it is back.
    fn old_limit(&self) -> Duration {
        self.plan.goal.policy.ready_timeout.max(OLD_LIMIT)
    }

    /// Inspects a container once, and probes each of its lines once.
    pub(super) async fn check_container(
        &self,
        lane: usize,
        container: Option<&ContainerId>,
    ) -> Result<Answer, StepError> {
        if let Some((id, (_, engine))) = container.zip(self.at(lane).swap) {
            let pulse = engine.status(id).await?;
            if !pulse.running {
                return Err(StepError::Exited {
                    exit_code: pulse.exit_code,
                    out_of_memory: pulse.out_of_memory,
                });
            }
            match pulse.health.filter(|_| self.uses_healthcheck(lane, Some(id))) {
                Some((Health::Starting, _)) => {
                    return Ok(Answer::NotReady("Docker's healthcheck is starting".to_owned()));
                }
                Some((Health::Unhealthy, output)) => {
                    return Ok(Answer::NotReady(format!("Docker's healthcheck says unhealthy: {output}")));
                }
                Some((Health::Healthy, _)) | None => {}
            }
        }
        Ok(self.probe_lines(lane, self.probe_subject(lane, container)).await)
    }

    /// Probes each line on which that container must answer; a new container also gets the probes that apply only to
    /// new ones.
    pub(super) async fn probe_lines(&self, lane: usize, asked: ProbeSubject) -> Answer {
        let (index, lane) = (lane, self.lane_of(lane));
        let servers: Vec<&LaneServer> = match asked {
            ProbeSubject::New | ProbeSubject::Same => lane.alive().collect(),
            ProbeSubject::Old => lane.asked_of_old().collect(),
        };
        let probes = servers.into_iter().flat_map(|it| {
            let also = it.also.iter().filter(|_| asked == ProbeSubject::New);
            std::iter::once(&it.probe).chain(also).map(|probe| self.probe_of(index, it, probe))
        });
        let probes: Vec<Cow<'_, Probe>> = probes.collect();
        let mut answer = Answer::NotReady("no server line to probe".to_owned());
        for probe in distinct(probes.iter().map(AsRef::as_ref)) {
            answer = self.site.prober.probe(probe).await;
            if !answer.is_ready() {
                break;
            }
        }
        answer
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

    /// Gives a new container the restart policy of its predecessor, because it is trusted from now on.
    pub(super) async fn restore_restart(&self, lane: usize) -> Result<(), StepError> {
        let Some((new, (replacement, engine))) = self.created(lane).zip(self.at(lane).swap) else {
            return Ok(());
        };
        Ok(engine.set_restart(&new, replacement.restart_of_new()).await?)
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
