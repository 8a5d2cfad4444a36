//! The proof that a container is behind its servers: when it stops, their addresses fall silent.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::wait::until;
use super::{Deploy, Failure, Swap, millis};
use crate::event::Fact;
use crate::observation::Container;
use crate::outcome::list;
use crate::plan::{LaneServer, Step};
use crate::ports::{ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::probe::{Probe, Question, distinct};

/// How long an address may go on answering after the stop, and how often it is asked.
const ANSWERS_FOR: Duration = Duration::from_secs(1);
const ASK_EVERY: Duration = Duration::from_millis(25);

/// How long a connection to an address that has no answer may take, and then the proof that it stays open.
const CONNECTS_WITHIN: Duration = Duration::from_millis(250);

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Deploy<'_, L, E, P, C, H, J>
{
    /// Fails where one of the lane's servers goes on answering although its container has stopped. The first question
    /// ends it in the ordinary case: the connection is refused.
    pub(super) async fn falls_silent(
        &mut self,
        lane: usize,
        swap: Swap<'_, E>,
        old: &Container,
    ) -> Result<(), Failure> {
        // A step that is repeated meets the new container.
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
        self.timing.engine_ms += millis(begun);
        Ok(())
    }

    /// Whether the probe fails, now or within [`ANSWERS_FOR`]. An answer that is only late proves nothing: another process
    /// may take its time. Then a connection must not stay open either.
    async fn is_silent(&self, probe: &Probe) -> bool {
        let never_cancelled = CancellationToken::new();
        let connection = Probe { question: Question::Tcp, timeout: CONNECTS_WITHIN, ..probe.clone() };
        let mut answered = true;
        let asked = until(ASK_EVERY, ANSWERS_FOR, &never_cancelled, async || {
            let (prober, asked_at) = (&self.world.prober, Instant::now());
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

    /// Who answers there, as far as the engine tells.
    async fn still_answers(
        &mut self,
        lane: usize,
        server: &LaneServer,
        probe: &Probe,
        (_, engine): Swap<'_, E>,
        old: &Container,
    ) -> Result<Failure, Failure> {
        let (server, container) = (server.id.clone(), old.name.clone());
        if runs_again(engine, old).await? {
            return Ok(Failure::StartedAgain { server, container });
        }
        if self.is_taken_over(lane).await? {
            return Ok(self.drifted(lane, old));
        }
        Ok(Failure::StillAnswers { server, container, address: probe.address })
    }

    /// Why the new container cannot be started, ends or does not answer: the old one may run again, and boot, so that it
    /// answered nothing yet, or was started again only now. It then has the port, or what the new one needs for itself.
    /// Or another tool has put its own there, which has no answer yet, or is asked for none.
    pub(super) async fn or_started_again(&mut self, lane: usize, failure: Failure) -> Failure {
        let Some((old, engine)) = self.old(lane) else { return failure };
        let may_be_that = matches!(
            failure,
            Failure::Engine(EngineError::Refused { .. })
                | Failure::Died { .. }
                | Failure::NeverReady { .. }
                | Failure::NotFollowed { .. }
        );
        if may_be_that && matches!(runs_again(engine, old).await, Ok(true)) {
            let server = self.lane_of(lane).name().clone();
            return Failure::StartedAgain { server, container: old.name.clone() };
        }
        self.or_replaced(lane, failure).await
    }

    /// Says of which lanes the old container runs again beside the new one.
    pub(super) async fn warn_of_restarted(&mut self, lanes: &[usize]) {
        for &lane in lanes {
            let Some((old, engine)) = self.old(lane) else { continue };
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
            self.runs_again.insert(lane);
            self.tell(Fact::Warned { message });
        }
    }
}

/// Whether the old container runs although it was stopped.
async fn runs_again(engine: &impl ContainerEngine, old: &Container) -> Result<bool, Failure> {
    match engine.pulse(&old.id).await {
        Ok(pulse) => Ok(pulse.running),
        // It was removed.
        Err(EngineError::Refused { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
