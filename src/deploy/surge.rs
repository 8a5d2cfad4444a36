//! The surge servers of a run: they join before anything leaves rotation, come back where `HAProxy` forgets them, and
//! leave at the end.

mod leave;

use std::net::SocketAddr;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::rotation::LOOK_EVERY;
use super::{Executor, StepError, Tracked, millis};
use crate::model::ids::{ContainerId, ServerId};
use crate::model::probe::{Probe, distinct};
use crate::observation::{AdminState, Answer, Checker, Health, LoadBalancerState};
use crate::plan::surge::{Surge, SurgeServer, Way};
use crate::plan::{LbQuorum, Step};
use crate::ports::{
    ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, LoadBalancerError, Prober, WallClock,
};
use crate::run::event::EventKind;
use crate::run::journal::{Record, SurgeProgress, SurgeStep};
use crate::site::unanswered::TrackedEngine;
use crate::site::wait::{Waited, until};

/// How often a new container is probed.
const ASK_EVERY: std::time::Duration = std::time::Duration::from_millis(25);

/// How much of a failed container's log is shown: at most one screen, so that the failure itself stays visible.
const LOG_LINES: usize = 15;

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Creates the containers of the surge servers, without starting them.
    pub(super) async fn create_surge(&self) -> Result<(), StepError> {
        for (index, surge) in self.plan.surge.iter().enumerate() {
            self.record_surge(index, SurgeStep::Create).await?;
            let container = self.engine_of(surge)?.create(&self.surge_spec(surge)).await?;
            let created = self.surge_record(index, SurgeStep::Created { container });
            self.ledger.record_anyway(&created).await?;
        }
        Ok(())
    }

    /// Starts the surge servers' containers, proves that they answer, and puts them in service everywhere.
    pub(super) async fn join_surge(&self) -> Result<(), StepError> {
        let join = async |(index, surge)| {
            let joined = self.join_one(index, surge).await;
            if let Some(failure) = joined.as_ref().err().filter(|failure| **failure != StepError::Stopped) {
                self.report_not_joined(index, surge, failure.to_string()).await;
            }
            joined
        };
        // All come to an end, so that the journal knows how far each one came.
        let joined = join_all(self.plan.surge.iter().enumerate().map(join)).await;
        joined.into_iter().collect()
    }

    /// Reports why a surge server did not join, with the end of its container's log.
    async fn report_not_joined(&self, index: usize, surge: &Surge, reason: String) {
        let (mut log, mut health) = (Vec::new(), Vec::new());
        if let (Some(container), Ok(engine)) = (self.surge_container(index), self.engine_of(surge)) {
            log = engine.log_tail(&container, LOG_LINES).await.unwrap_or_default();
            health = engine.status(&container).await.map(|pulse| pulse.health_log).unwrap_or_default();
        }
        self.emit_run(EventKind::StepFailed { servers: surge.ids(), step: Step::Prove, reason, log, health });
    }

    async fn join_one(&self, index: usize, surge: &Surge) -> Result<(), StepError> {
        let begun = Instant::now();
        let engine = self.engine_of(surge)?;
        let Some(container) = self.surge_container(index) else { return Ok(()) };
        self.check_stop()?;
        self.emit_run(EventKind::SurgeStarted {
            servers: surge.ids(),
            stands_in_for: surge.servers.iter().map(|it| it.stands_in_for.clone()).collect(),
            container: surge.container_name(&self.plan.run),
        });
        engine.start(&container).await?;
        let addresses = self.wait_for_surge_answer(surge, engine, &container).await?;
        self.check_stop()?;
        self.record_surge(index, SurgeStep::Join { addresses: addresses.clone() }).await?;
        let prove = async |it: &Tracked<L>| {
            let missing = prove(it, surge, &addresses).await;
            self.gets_surge_unless_away(it, missing)
        };
        self.until_everywhere(surge, prove).await?;
        let enable = async |it: &Tracked<L>| {
            let missing = enable(it, surge, &addresses).await;
            self.gets_surge_unless_away(it, missing)
        };
        self.until_everywhere(surge, enable).await?;
        self.record_surge(index, SurgeStep::Joined).await?;
        self.surge_in_service.borrow_mut().insert(index);
        self.emit_run(EventKind::SurgeJoined {
            servers: surge.ids(),
            address: addresses[0],
            took_ms: millis(begun),
        });
        Ok(())
    }

    /// Waits until a surge server's container answers, and returns where the traffic of each of its servers goes.
    async fn wait_for_surge_answer(
        &self,
        surge: &Surge,
        engine: &TrackedEngine<E>,
        container: &ContainerId,
    ) -> Result<Vec<SocketAddr>, StepError> {
        let policy = &self.plan.goal.policy;
        let (mut last, mut in_a_row) = ("it was never probed".to_owned(), 0);
        let waited = until(ASK_EVERY, policy.ready_timeout, &self.stop.asked, async || {
            let pulse = engine.status(container).await?;
            if !pulse.running {
                let (exit_code, out_of_memory) = (pulse.exit_code, pulse.out_of_memory);
                return Err(StepError::Exited { exit_code, out_of_memory });
            }
            let now = engine.container(container).await?;
            let addresses: Option<Vec<(&SurgeServer, SocketAddr)>> =
                surge.servers.iter().map(|it| Some((it, it.place.address_of(&now)?))).collect();
            let Some(addresses) =
                addresses.filter(|_| matches!(pulse.health, None | Some((Health::Healthy, _))))
            else {
                "its address is not known yet, or Docker's healthcheck has not passed".clone_into(&mut last);
                return Ok(None);
            };
            let also = policy.probe.as_ref();
            let probes = addresses.iter().flat_map(|(server, address)| {
                let also = also.map(|url| url.of(*address, server.probe.tls, server.probe.timeout));
                std::iter::once(server.probe_at(*address)).chain(also)
            });
            let probes: Vec<Probe> = probes.collect();
            for probe in distinct(&probes) {
                if let Answer::NotReady(why) = self.site.prober.probe(probe).await {
                    (last, in_a_row) = (why, 0);
                    return Ok(None);
                }
            }
            in_a_row += 1;
            Ok((in_a_row >= policy.rise).then(|| addresses.into_iter().map(|(_, address)| address).collect()))
        });
        match waited.await? {
            Waited::Done(addresses) => Ok(addresses),
            Waited::Stopped => Err(StepError::Stopped),
            Waited::TimedOut => Err(StepError::NeverReady { limit: policy.ready_timeout, last_answer: last }),
        }
    }

    /// Repeats a step of the join at every load balancer until it is done: `HAProxy` may be restarted in between.
    async fn until_everywhere(
        &self,
        surge: &Surge,
        step: impl AsyncFn(&Tracked<L>) -> Result<Option<String>, LoadBalancerError>,
    ) -> Result<(), StepError> {
        let limit = self.plan.goal.policy.ready_timeout;
        let mut status = String::new();
        let waited = until(LOOK_EVERY, limit, &self.stop.asked, async || {
            let missing = self.on_fleet(surge, async |it: &Tracked<L>| step(it).await).await?;
            let missing = missing.into_iter().flatten().next();
            let is_done = missing.is_none();
            status = missing.unwrap_or_default();
            Ok::<_, StepError>(is_done.then_some(()))
        });
        match waited.await? {
            Waited::Done(()) => Ok(()),
            Waited::Stopped => Err(StepError::Stopped),
            Waited::TimedOut => {
                Err(StepError::CheckNeverPassed { server: surge.name().clone(), status, limit })
            }
        }
    }

    /// Puts the surge servers that have joined in service again at a load balancer that has forgotten them. Returns
    /// whether it had.
    pub(super) async fn restore_surge(
        &self,
        load_balancer: &Tracked<L>,
        seen: &LoadBalancerState,
    ) -> Result<bool, LoadBalancerError> {
        let mut has_changed = false;
        for (index, surge) in self.plan.surge.iter().enumerate() {
            let addresses = self.joined_at(index);
            let is_forgotten = |(server, address): &(&SurgeServer, SocketAddr)| {
                let was_asked = seen.servers.iter().any(|it| it.id.backend == server.id.backend);
                was_asked
                    && seen.server(&server.id).is_none_or(|state| {
                        state.address != Some(*address) || state.admin.state() != AdminState::Ready
                    })
            };
            let forgotten: Vec<(&SurgeServer, SocketAddr)> =
                surge.servers.iter().zip(addresses).filter(is_forgotten).collect();
            if forgotten.is_empty() {
                continue;
            }
            self.gets_surge(load_balancer);
            for (server, address) in &forgotten {
                add(load_balancer, server, *address).await?;
            }
            let ids: Vec<ServerId> = forgotten.iter().map(|(server, _)| server.id.clone()).collect();
            let ready: Vec<_> = ids.iter().map(|id| (id.clone(), AdminState::Ready)).collect();
            load_balancer.set_admin_states(&ready).await?;
            has_changed = true;
            self.emit_run(EventKind::SurgeRestored { servers: ids, load_balancer: load_balancer.name() });
        }
        Ok(has_changed)
    }

    /// Returns the probes of the surge servers that have joined, at their own addresses.
    pub(super) fn surge_probes(&self) -> Vec<(ServerId, Probe)> {
        let all = self.plan.surge.iter().enumerate();
        let joined = all.flat_map(|(index, surge)| surge.servers.iter().zip(self.joined_at(index)));
        joined.map(|(server, address)| (server.id.clone(), server.probe_at(address))).collect()
    }

    /// Returns where the traffic of each of a surge server's servers goes; nothing unless it has joined and is to stay.
    fn joined_at(&self, index: usize) -> Vec<SocketAddr> {
        if !self.surge_in_service.borrow().contains(&index) {
            return Vec::new();
        }
        let progress = self.ledger.progress();
        progress.surge.get(&index).map(|it| it.addresses.clone()).unwrap_or_default()
    }

    /// Finds out which surge servers of an unfinished run are still needed: those that had joined, and whose container
    /// runs.
    pub(super) async fn adopt_surge(&self) -> Result<(), StepError> {
        self.site.load_balancers.iter().for_each(|it| self.gets_surge(it));
        for (index, surge) in self.plan.surge.iter().enumerate() {
            let had_joined = self.ledger.progress().surge.get(&index).is_some_and(SurgeProgress::has_joined);
            let Some(container) = self.surge_container(index).filter(|_| had_joined) else { continue };
            if matches!(self.engine_of(surge)?.status(&container).await, Ok(pulse) if pulse.running) {
                self.surge_in_service.borrow_mut().insert(index);
            }
        }
        Ok(())
    }

    /// Queries the backends of a surge server at every load balancer, with the old workers.
    pub(super) async fn surge_states(&self, surge: &Surge) -> Result<Vec<LoadBalancerState>, StepError> {
        self.on_fleet(surge, async |it: &Tracked<L>| it.full_state(&surge.backends()).await).await
    }

    /// Calls all load balancers at once for a surge server. One that does not answer is an error unless the policy goes
    /// on without it, and it never got the surge server: it would go on sending it requests.
    pub(super) async fn on_fleet<T>(
        &self,
        surge: &Surge,
        call: impl AsyncFn(&Tracked<L>) -> Result<T, LoadBalancerError>,
    ) -> Result<Vec<T>, StepError> {
        let may_miss = self.plan.goal.policy.lb_quorum == LbQuorum::Reachable;
        let results = self.fleet.call_all(&surge.backends(), call).await;
        let has_it = |load_balancer: &Tracked<L>| self.surge_is_at.borrow().contains(&load_balancer.name());
        let answered = self.site.load_balancers.iter().zip(results).filter(|(load_balancer, result)| {
            let is_silent = result.as_ref().is_err_and(LoadBalancerError::is_silence);
            !(is_silent && may_miss && !has_it(load_balancer))
        });
        Ok(answered.map(|(_, result)| result).collect::<Result<_, _>>()?)
    }

    /// Notes the same after a call that reached the load balancer.
    fn gets_surge_unless_away<T>(
        &self,
        load_balancer: &Tracked<L>,
        result: Result<T, LoadBalancerError>,
    ) -> Result<T, LoadBalancerError> {
        if !matches!(result, Err(LoadBalancerError::Unreachable { .. })) {
            self.gets_surge(load_balancer);
        }
        result
    }

    /// Notes that a load balancer may have a surge server from now on.
    fn gets_surge(&self, load_balancer: &Tracked<L>) {
        self.surge_is_at.borrow_mut().insert(load_balancer.name());
    }

    pub(super) fn engine_of(&self, surge: &Surge) -> Result<&TrackedEngine<E>, EngineError> {
        self.site.engines.named(&surge.like.engine)
    }

    fn surge_spec(&self, surge: &Surge) -> crate::service::create_spec::CreateSpec {
        surge.create_spec(&self.plan.run, self.site.descriptions.get(&surge.name().backend))
    }

    pub(super) fn surge_container(&self, index: usize) -> Option<ContainerId> {
        self.ledger.progress().surge.get(&index).and_then(|it| it.container.clone())
    }

    fn surge_record(&self, surge: usize, step: SurgeStep) -> Record {
        Record::Surge { at: self.site.clock.now(), surge, step }
    }

    /// Records a step that brings the site back to what it was, even if the record cannot be made durable: a resume would
    /// repeat the step.
    pub(super) async fn record_anyway(&self, surge: usize, step: SurgeStep) {
        if let Err(error) = self.ledger.record_anyway(&self.surge_record(surge, step)).await {
            self.emit_run(EventKind::Warned { message: error.to_string() });
        }
    }

    pub(super) async fn record_surge(&self, surge: usize, step: SurgeStep) -> Result<(), StepError> {
        Ok(self.ledger.record(&self.surge_record(surge, step)).await?)
    }
}

/// Adds a surge server at a load balancer, out of service, or points its slot at it.
async fn add(
    load_balancer: &impl LoadBalancer,
    server: &SurgeServer,
    address: SocketAddr,
) -> Result<(), LoadBalancerError> {
    match server.new_server(address) {
        Some(new) => {
            load_balancer.join_server(&new).await?;
            if server.is_checked {
                unless_forgotten(load_balancer.set_checking(&server.id, Checker::Health, true).await)?;
            }
            Ok(())
        }
        None => load_balancer.set_address(&server.id, address).await,
    }
}

/// Adds a surge server's servers at a load balancer, out of service, and returns the status of one that `HAProxy`'s own
/// check has not passed yet, where there is a check.
async fn prove(
    load_balancer: &impl LoadBalancer,
    surge: &Surge,
    addresses: &[SocketAddr],
) -> Result<Option<String>, LoadBalancerError> {
    let seen = load_balancer.state(&surge.backends()).await?;
    for (server, address) in surge.servers.iter().zip(addresses) {
        let state = seen.server(&server.id).filter(|state| state.address == Some(*address));
        let Some(state) = state else {
            add(load_balancer, server, *address).await?;
            if server.is_checked && matches!(server.way, Way::Slot { .. }) {
                // In maint, a server of haproxy.cfg is not checked.
                load_balancer.set_unproven(&[(server.id.clone(), AdminState::Drain)]).await?;
            }
            return Ok(Some("not checked yet".to_owned()));
        };
        let is_proved = match server.way {
            Way::Added { .. } => state.has_passed_a_check(),
            Way::Slot { .. } => state.operational.is_up(),
        };
        if server.is_checked && !is_proved {
            return Ok(Some(state.status.clone()));
        }
    }
    Ok(None)
}

/// Puts a surge server's servers in service at a load balancer, and returns the status of one that takes no traffic yet.
async fn enable(
    load_balancer: &impl LoadBalancer,
    surge: &Surge,
    addresses: &[SocketAddr],
) -> Result<Option<String>, LoadBalancerError> {
    if let Some(status) = prove(load_balancer, surge, addresses).await? {
        return Ok(Some(status));
    }
    let seen = load_balancer.state(&surge.backends()).await?;
    let states = surge.servers.iter().filter_map(|server| seen.server(&server.id));
    let Some(out) = states.into_iter().find(|state| !state.is_usable()) else { return Ok(None) };
    if out.admin.state() != AdminState::Ready {
        unless_forgotten(load_balancer.set_admin_states(&with_state(surge, AdminState::Ready)).await)?;
    }
    Ok(Some(out.status.clone()))
}

/// Passes over a refusal: a reload may have removed the server that was just added, and the next look adds it again.
fn unless_forgotten(set: Result<(), LoadBalancerError>) -> Result<(), LoadBalancerError> {
    match set {
        Err(LoadBalancerError::Refused { .. }) => Ok(()),
        set => set,
    }
}

/// Returns a surge server's servers, all with the same state.
fn with_state(surge: &Surge, state: AdminState) -> Vec<(ServerId, AdminState)> {
    surge.ids().into_iter().map(|id| (id, state)).collect()
}
