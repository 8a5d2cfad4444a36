//! Proves that a container is behind its servers: when it stops, their addresses must stop answering.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Executor, Mark, ReplacementOnEngine, StepError, millis};
use crate::model::probe::{Probe, Question, distinct};
use crate::model::words::list;
use crate::observation::Container;
use crate::plan::{LaneServer, Step};
use crate::ports::{ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::EventKind;
use crate::site::wait::until;

/// How long an address may keep answering after the stop, and how often it is probed.
const ANSWERS_FOR: Duration = Duration::from_secs(1);
const ASK_EVERY: Duration = Duration::from_millis(25);

/// How long the connection to an address without an answer may take, and how long drainswap then checks that it stays
/// open.
const CONNECTS_WITHIN: Duration = Duration::from_millis(250);

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Fails if one of the lane's servers keeps answering although its container has stopped. In the ordinary case the
    /// first probe settles it: the connection is refused.
    pub(super) async fn wait_silent(
        &self,
        lane: usize,
        swap: ReplacementOnEngine<'_, E>,
        old: &Container,
    ) -> Result<(), StepError> {
        // A repeated step would probe the new container.
        if self.has_begun(lane, Step::Start) {
            return Ok(());
        }
        let (plan, begun) = (self.plan, Instant::now());
        let servers = &plan.lanes[lane].servers;
        for probe in distinct(servers.iter().filter_map(|server| server.silence.as_ref())) {
            if !self.is_silent(probe).await
                && let Some(server) = servers.iter().find(|server| server.silence.as_ref() == Some(probe))
            {
                return Err(self.still_answers(lane, server, probe, swap, old).await?);
            }
        }
        self.at(lane).time(|timing| timing.engine_ms += millis(begun));
        Ok(())
    }

    /// Returns whether the probe fails, now or within [`ANSWERS_FOR`]. An answer that is only late proves nothing,
    /// because another process may be slow. In that case a connection must not stay open either.
    async fn is_silent(&self, probe: &Probe) -> bool {
        let never_cancelled = CancellationToken::new();
        let connection = Probe { question: Question::Tcp, timeout: CONNECTS_WITHIN, ..probe.clone() };
        let mut answered = true;
        let asked = until(ASK_EVERY, ANSWERS_FOR, &never_cancelled, async || {
            let (prober, asked_at) = (&self.site.prober, Instant::now());
            answered = prober.probe(probe).await.is_ready();
            let is_late = !answered && asked_at.elapsed() >= probe.timeout;
            if is_late && probe.question != Question::Tcp {
                answered = prober.probe(&connection).await.is_ready();
            }
            Ok::<_, Infallible>((!answered).then_some(()))
        });
        let Ok(_) = asked.await;
        !answered
    }

    /// Returns why the address still answers, if the engine can tell.
    async fn still_answers(
        &self,
        lane: usize,
        server: &LaneServer,
        probe: &Probe,
        (_, engine): ReplacementOnEngine<'_, E>,
        old: &Container,
    ) -> Result<StepError, StepError> {
        let (server, container) = (server.id.clone(), old.name.clone());
        if runs_again(engine, old).await? {
            return Ok(StepError::OldRestarted { server, container });
        }
        if self.is_taken_over(lane).await? {
            return Ok(self.drift_error(lane, old));
        }
        Ok(StepError::StillAnswers { server, container, address: probe.address })
    }

    /// Explains why the new container cannot be started, exits or does not answer. The old one may run again: it may
    /// have been silent while it booted, or was started only now, and then holds the port or another resource that the
    /// new one needs. Or another tool put its own container there, which does not answer yet or has no probe.
    pub(super) async fn explain_restarted(&self, lane: usize, failure: StepError) -> StepError {
        let Some((old, engine)) = self.old_container(lane) else { return failure };
        let may_be_that = matches!(
            failure,
            StepError::Engine(EngineError::Refused { .. })
                | StepError::Exited { .. }
                | StepError::NeverReady { .. }
                | StepError::AddressNotUpdated { .. }
        );
        if may_be_that && matches!(runs_again(engine, old).await, Ok(true)) {
            let server = self.lane_of(lane).name().clone();
            return StepError::OldRestarted { server, container: old.name.clone() };
        }
        self.explain_replaced(lane, failure).await
    }

    /// Warns about lanes whose old container runs again beside the new one.
    pub(super) async fn warn_of_restarted(&self, lanes: &[usize]) {
        for &lane in lanes {
            let Some((old, engine)) = self.old_container(lane) else { continue };
            if !matches!(runs_again(engine, old).await, Ok(true)) {
                continue;
            }
            let lane_of = self.lane_of(lane);
            let (kept, servers) = (lane_of.kept(&self.plan.run), list(&lane_of.ids()));
            let is_to_go = lane_of.steps.contains(&Step::Remove);
            let remedy = if is_to_go { "It is not removed: take" } else { "Take" };
            let message = format!(
                "the old container {kept} of {servers} was stopped and runs again: a supervisor (systemd, supervisord, another deploy tool) restarts it. {remedy} it out of that supervisor, then stop it"
            );
            self.at(lane).mark(Mark::RunsAgain);
            self.emit(lane, EventKind::Warned { message });
        }
    }
}

/// Returns whether the old container runs although it was stopped.
async fn runs_again(engine: &impl ContainerEngine, old: &Container) -> Result<bool, StepError> {
    match engine.status(&old.id).await {
        Ok(pulse) => Ok(pulse.running),
        // It was removed.
        Err(EngineError::Refused { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
