//! Waits until a lane's container is ready: it runs, is healthy if Docker checks it, and answers on every line.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::Instant;

use super::{Executor, StepError, millis};
use crate::model::ids::ContainerId;
use crate::model::probe::{Probe, distinct};
use crate::model::words::list;
use crate::observation::{Answer, Health};
use crate::plan::LaneServer;
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::EventKind;
use crate::site::wait::{Waited, until};

/// The minimum time that an old container gets when it is started again.
pub(super) const OLD_LIMIT: Duration = Duration::from_secs(60);

/// How often a new container is probed.
const ASK_EVERY: Duration = Duration::from_millis(25);

/// The container that must answer. It determines which lines are probed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeSubject {
    New,
    Old,
    /// The existing container, where nothing is replaced.
    Same,
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
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
        let answer = match waited.await? {
            Waited::Done(answer) => answer,
            Waited::TimedOut => match self.answer_without_health(lane, asked, limit, &last).await {
                Some(answer) => answer,
                None => return Err(StepError::NeverReady { limit, last_answer: last }),
            },
            Waited::Stopped => {
                self.report_lane_stop(lane);
                return Err(StepError::Stopped);
            }
        };
        self.at(lane).time(|timing| timing.boot_ms = booted_after);
        let (servers, answer) = (self.lane_of(lane).ids(), answer.detail().to_owned());
        self.emit(lane, EventKind::BecameReady { servers, answer, took_ms: millis(begun) });
        Ok(())
    }

    /// Returns the answer of an old container that Docker did not report healthy in time, and warns of that. `None` if
    /// it does not answer either, or if the probe reaches another container.
    async fn answer_without_health(
        &self,
        lane: usize,
        asked: ProbeSubject,
        limit: Duration,
        last: &str,
    ) -> Option<Answer> {
        if asked != ProbeSubject::Old {
            return None;
        }
        let answer = self.probe_lines(lane, asked).await;
        if !answer.is_ready() {
            return None;
        }
        let (servers, within) = (list(&self.lane_of(lane).ids()), limit.as_secs_f64());
        let message = format!(
            "{servers}: Docker did not report the old container healthy again within {within} s ({last}). It answers, so it is put back in service"
        );
        self.emit(lane, EventKind::Warned { message });
        Some(answer)
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
}
