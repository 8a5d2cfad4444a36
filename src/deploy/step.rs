//! The effect of each step.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::wait::{Waited, until};
use super::{Deploy, Failure, millis};
use crate::event::{Fact, FirstRequest};
use crate::ids::{ContainerId, ServerId};
use crate::image::Image;
use crate::observation::{
    AdminState, Answer, ContainerState, Health, LoadBalancerState, Operational, RestartPolicy,
};
use crate::plan::{Lane, LaneServer, OnDrainTimeout, Replacement, Step, floor};
use crate::ports::{ContainerEngine, Journal, LoadBalancer, Prober, Recipe, WallClock};

/// How often the load balancer is asked while a server drains or comes up. One question takes it
/// about 0.1 ms.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often a new container is asked whether it answers.
const ASK_EVERY: Duration = Duration::from_millis(25);

/// How long zero sessions must hold, with no new one counted, before a server counts as idle: a request
/// that was balanced just before the drain is counted only when it is connected.
const SETTLE: Duration = Duration::from_millis(100);

/// How long a server that is up again is watched for its first request. A quiet night is no failure.
const WATCH: Duration = Duration::from_secs(1);

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, J: Journal> Deploy<'_, L, E, P, C, J> {
    /// Does a step of a lane.
    pub(super) async fn effect(&mut self, lane: usize, step: Step) -> Result<(), Failure> {
        match step {
            Step::Create => self.create(lane).await,
            Step::Verify => self.verify(lane).await,
            Step::Drain => self.drain(lane).await,
            Step::AwaitIdle => self.await_idle(lane).await,
            Step::Maint => self.maint(lane).await,
            Step::Settle => self.settle(lane).await,
            Step::Keep => self.keep(lane).await,
            Step::Start => self.start(lane).await,
            Step::Prove => self.prove(lane, self.created.get(&lane).cloned()).await,
            Step::Ready => self.ready(lane).await,
            Step::Confirm => self.confirm(lane).await,
            Step::Remove => self.remove(lane).await,
            Step::Discard => self.discard(lane).await,
            Step::Return => self.return_old(lane).await,
            Step::ProveOld => {
                let old = self.replacement(lane).and_then(|it| it.old.as_ref()).map(|old| old.id.clone());
                self.prove(lane, old).await
            }
            Step::PutBack => self.put_back(lane).await,
        }
    }

    fn lane_of(&self, lane: usize) -> &Lane {
        &self.plan.lanes[lane]
    }

    pub(super) fn replacement(&self, lane: usize) -> Option<&Replacement> {
        self.plan.lanes[lane].replacement.as_ref()
    }

    pub(super) async fn pull(&mut self, image: &Image) -> Result<(), Failure> {
        let begun = Instant::now();
        self.tell(Fact::PullStarted { image: image.clone() });
        let (sender, mut receiver) = tokio::sync::watch::channel(crate::ports::PullProgress::default());
        let progress = move |progress| {
            sender.send_replace(progress);
        };
        let pulling = self.world.engine.pull(image, &progress);
        tokio::pin!(pulling);
        loop {
            tokio::select! {
                biased;
                pulled = &mut pulling => break pulled?,
                () = self.stop.asked.cancelled() => return Err(Failure::Stopped),
                Ok(()) = receiver.changed() => {
                    let now = *receiver.borrow_and_update();
                    self.tell(Fact::PullProgressed { received: now.received, expected: now.expected });
                }
            }
        }
        self.tell(Fact::Pulled { image: image.clone(), took_ms: millis(begun) });
        Ok(())
    }

    async fn create(&mut self, lane: usize) -> Result<(), Failure> {
        let Some(replacement) = self.replacement(lane) else { return Ok(()) };
        let recipe = Recipe {
            like: replacement.like.id.clone(),
            image: replacement.image.clone(),
            name: replacement.candidate_name(&self.plan.run),
            publish: replacement.publish,
        };
        let like = replacement.like.name.clone();
        let container = self.world.engine.create(&recipe).await?;
        self.created.insert(lane, container.clone());
        self.journal.append(&crate::journal::Record::Created { lane, container }).await?;
        // Until it is proved a new container that ends stays ended: its exit code is what tells why.
        if let Some(new) = self.created.get(&lane) {
            self.world.engine.set_restart(new, &RestartPolicy::never()).await?;
        }
        let servers = self.lane_of(lane).ids();
        self.tell(Fact::Created { servers, container: recipe.name, like });
        Ok(())
    }

    /// The floor on a fresh look, and the servers that will carry the traffic asked once more.
    async fn verify(&mut self, lane: usize) -> Result<(), Failure> {
        let out = self.lane_of(lane).id_set();
        let seen = self.look(lane).await?;
        let mut carriers = Vec::new();
        for balance in self.plan.balances.iter().filter(|b| b.servers.iter().any(|(id, _)| out.contains(id)))
        {
            let forecast = floor::check_fresh(balance, &seen, &out, self.plan.policy.floor)?;
            for share in forecast.shares {
                let Some(probe) = self.plan.probe(&share.server) else { continue };
                if let Answer::NotReady(answer) = self.world.prober.probe(probe).await {
                    let server = self.lane_of(lane).name().clone();
                    return Err(crate::plan::refusal::Refusal::CarrierSilent {
                        server,
                        carrier: share.server,
                        answer,
                    }
                    .into());
                }
                carriers.push(share.server);
            }
        }
        self.tell(Fact::Verified { carriers });
        Ok(())
    }

    async fn drain(&mut self, lane: usize) -> Result<(), Failure> {
        // A server in maint gets no traffic already, and drain would give persistent clients back to it.
        let seen = self.look_anew(lane).await?;
        let in_maint =
            |id: &ServerId| seen.server(id).is_some_and(|state| state.admin.state() == AdminState::Maint);
        let mut servers = self.lane_of(lane).ids();
        servers.retain(|id| !in_maint(id));
        self.left_rotation.get_or_insert_with(Instant::now);
        self.tell(Fact::DrainStarted { servers: servers.clone() });
        for server in &servers {
            self.world.load_balancer.set_admin_state(server, AdminState::Drain).await?;
        }
        Ok(())
    }

    async fn await_idle(&mut self, lane: usize) -> Result<(), Failure> {
        let servers = self.lane_of(lane).ids();
        match self.until_idle(lane, SETTLE).await {
            Ok(()) => {
                let took_ms = self.timing.drain_ms;
                self.tell(Fact::Drained { servers, took_ms });
                Ok(())
            }
            Err(Failure::DrainTimedOut { sessions, .. }) if self.is_forced() => {
                self.tell(Fact::DrainForced { servers, sessions });
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    async fn settle(&mut self, lane: usize) -> Result<(), Failure> {
        if self.is_forced() {
            let seen = self.look(lane).await?;
            return self.sessions(lane, &seen).map(|_| ());
        }
        self.until_idle(lane, LOOK_EVERY).await
    }

    fn is_forced(&self) -> bool {
        self.plan.policy.on_drain_timeout == OnDrainTimeout::Force
    }

    /// Waits until no session is in flight on the lane's servers, and that has held for `settle` with no new
    /// one counted.
    async fn until_idle(&mut self, lane: usize, settle: Duration) -> Result<(), Failure> {
        let begun = Instant::now();
        let servers = self.lane_of(lane).ids();
        let limit = self.plan.policy.drain_timeout;
        let stop = self.stop.asked.clone();
        let mut sessions = 0;
        let mut zero_since: Option<(Instant, u64)> = None;
        let waited = until(LOOK_EVERY, limit, &stop, async || {
            self.hear_stop();
            let seen = self.look(lane).await?;
            let (now, total) = self.sessions(lane, &seen)?;
            if now != sessions {
                sessions = now;
                let after_ms = millis(begun);
                self.tell(Fact::SessionsLeft { servers: servers.clone(), sessions, after_ms });
            }
            zero_since = match zero_since {
                _ if now > 0 => None,
                Some((since, counted)) if counted == total => Some((since, counted)),
                Some(_) | None => Some((Instant::now(), total)),
            };
            Ok::<_, Failure>(zero_since.filter(|(since, _)| since.elapsed() >= settle).map(|_| ()))
        });
        let waited = waited.await?;
        self.timing.drain_ms = self.left_rotation.map_or_else(|| millis(begun), millis);
        match waited {
            Waited::Done(()) => Ok(()),
            Waited::TimedOut => Err(Failure::DrainTimedOut { sessions, limit }),
            Waited::Stopped => {
                self.hear_stop();
                Err(Failure::Stopped)
            }
        }
    }

    /// The sessions in flight on the lane's servers, and how many there ever were.
    fn sessions(&self, lane: usize, seen: &LoadBalancerState) -> Result<(u64, u64), Failure> {
        let (mut now, mut total) = (0, 0);
        for LaneServer { id, .. } in &self.lane_of(lane).servers {
            let state = seen.server(id).ok_or_else(|| Failure::Vanished { server: id.clone() })?;
            let found = state.admin.state();
            if found == AdminState::Ready {
                return Err(Failure::TakenOver { server: id.clone(), found });
            }
            now += state.sessions;
            total += state.sessions_total;
        }
        Ok((now, total))
    }

    async fn maint(&mut self, lane: usize) -> Result<(), Failure> {
        self.left_rotation.get_or_insert_with(Instant::now);
        for server in self.lane_of(lane).ids() {
            self.world.load_balancer.set_admin_state(&server, AdminState::Maint).await?;
        }
        Ok(())
    }

    /// Stops the old container and puts it aside. Its restart policy is switched off, so that no restart
    /// of the engine starts it beside its successor.
    async fn keep(&mut self, lane: usize) -> Result<(), Failure> {
        let begun = Instant::now();
        let Some(replacement) = self.replacement(lane) else { return Ok(()) };
        let Some(old) = &replacement.old else { return Ok(()) };
        let (container, as_name) = (old.name.clone(), replacement.kept_name(&self.plan.run));
        let engine = &self.world.engine;
        engine.set_restart(&old.id, &RestartPolicy::never()).await?;
        engine.stop(&old.id).await?;
        engine.rename(&old.id, &as_name).await?;
        let took_ms = millis(begun);
        self.timing.engine_ms += took_ms;
        self.tell(Fact::ContainerKept { container, as_name, took_ms });
        Ok(())
    }

    async fn start(&mut self, lane: usize) -> Result<(), Failure> {
        let begun = Instant::now();
        let (Some(new), Some(replacement)) = (self.created.get(&lane), self.replacement(lane)) else {
            return Ok(());
        };
        let name = replacement.name.clone();
        self.world.engine.rename(new, &name).await?;
        self.world.engine.start(new).await?;
        let took_ms = millis(begun);
        self.timing.engine_ms += took_ms;
        self.tell(Fact::ContainerStarted { container: name, took_ms });
        Ok(())
    }

    /// Waits until the container runs, is healthy where Docker checks it, and answers on every line. Fails
    /// at once when it ends or is started again.
    async fn prove(&mut self, lane: usize, container: Option<ContainerId>) -> Result<(), Failure> {
        let begun = Instant::now();
        let limit = self.plan.policy.ready_timeout;
        let stop = self.stop.now.clone();
        let (mut last, mut booted_after) = (String::from("it was not asked"), 0);
        let waited = until(ASK_EVERY, limit, &stop, async || {
            self.hear_stop();
            self.keep_out(lane).await;
            let answer = self.ask(lane, container.as_ref()).await?;
            if let Answer::NotReady(why) = &answer {
                booted_after = millis(begun);
                if *why != last {
                    last.clone_from(why);
                    let server = self.lane_of(lane).name().clone();
                    self.tell(Fact::NotReadyYet { server, answer: why.clone() });
                }
            }
            Ok::<_, Failure>(Some(answer).filter(Answer::is_ready))
        });
        match waited.await? {
            Waited::Done(answer) => {
                self.timing.boot_ms = booted_after;
                let servers = self.lane_of(lane).ids();
                self.tell(Fact::BecameReady {
                    servers,
                    answer: answer.detail().to_owned(),
                    took_ms: millis(begun),
                });
                Ok(())
            }
            Waited::TimedOut => Err(Failure::NeverReady { limit, last_answer: last }),
            Waited::Stopped => {
                self.hear_stop();
                Err(Failure::Stopped)
            }
        }
    }

    /// Sets maint again where it was lost while the container boots: a reload forgets it, and would give the server
    /// requests that nobody answers yet. A load balancer that is being restarted is asked again in a moment.
    async fn keep_out(&mut self, lane: usize) {
        let lane = &self.plan.lanes[lane];
        if lane.replacement.is_none() {
            return;
        }
        let Ok(seen) = self.world.load_balancer.look(&lane.backends()).await else { return };
        let is_out =
            |id: &ServerId| seen.server(id).is_none_or(|state| state.admin.state() == AdminState::Maint);
        for server in lane.ids().into_iter().filter(|id| !is_out(id)) {
            if self.world.load_balancer.set_admin_state(&server, AdminState::Maint).await.is_ok() {
                let message = format!("{server} was put into rotation meanwhile, and is in maint again");
                self.tell(Fact::Warned { message });
            }
        }
    }

    /// One look at a container, and one probe of each of its lines.
    async fn ask(&self, lane: usize, container: Option<&ContainerId>) -> Result<Answer, Failure> {
        if let Some(id) = container {
            let pulse = self.world.engine.pulse(id).await?;
            if !pulse.running {
                return Err(Failure::Died { exit_code: pulse.exit_code, out_of_memory: pulse.out_of_memory });
            }
            match pulse.health {
                Some((Health::Starting, _)) => {
                    return Ok(Answer::NotReady("Docker's healthcheck is starting".to_owned()));
                }
                Some((Health::Unhealthy, output)) => {
                    return Ok(Answer::NotReady(format!("Docker's healthcheck says unhealthy: {output}")));
                }
                Some((Health::Healthy, _)) | None => {}
            }
        }
        let mut answer = Answer::NotReady("no server line to ask".to_owned());
        for server in &self.lane_of(lane).servers {
            answer = self.world.prober.probe(&server.probe).await;
            if !answer.is_ready() {
                break;
            }
        }
        Ok(answer)
    }

    async fn ready(&mut self, lane: usize) -> Result<(), Failure> {
        self.count_sessions(lane).await?;
        let servers = self.lane_of(lane).ids();
        for server in &servers {
            self.world.load_balancer.set_admin_state(server, AdminState::Ready).await?;
        }
        if let Some(left) = self.left_rotation {
            self.timing.out_of_rotation_ms = millis(left);
        }
        self.tell(Fact::Enabled { servers });
        Ok(())
    }

    /// Remembers how many sessions there were, so that the first one after is noticed.
    async fn count_sessions(&mut self, lane: usize) -> Result<(), Failure> {
        let seen = self.look_anew(lane).await?;
        let counted: BTreeMap<_, _> =
            seen.servers.into_iter().map(|server| (server.id, server.sessions_total)).collect();
        self.sessions_before_ready = counted;
        Ok(())
    }

    /// Waits until `HAProxy` has the servers up, and for a while until each that should take traffic does.
    async fn confirm(&mut self, lane: usize) -> Result<(), Failure> {
        let begun = Instant::now();
        let stop = self.stop.now.clone();
        let container = self.created.get(&lane).cloned();
        let mut down = None;
        let waited = until(LOOK_EVERY, self.plan.policy.ready_timeout, &stop, async || {
            self.hear_stop();
            let seen = self.look_anew(lane).await?;
            let states = || {
                self.lane_of(lane)
                    .servers
                    .iter()
                    .filter_map(|server| Some((server, seen.server(&server.id)?)))
            };
            down = states()
                .find(|(_, state)| !matches!(state.operational, Operational::Running | Operational::Starting))
                .map(|(server, state)| (server.id.clone(), state.status.clone()));
            if down.is_some() {
                return Ok(None);
            }
            let untaken = states().filter(|(server, _)| server.takes_traffic).any(|(server, state)| {
                self.sessions_before_ready
                    .get(&server.id)
                    .is_some_and(|before| state.sessions_total <= *before)
            });
            let due = self.lane_of(lane).servers.iter().any(|server| server.takes_traffic);
            let first_request = match (due, untaken) {
                (false, _) => FirstRequest::NotDue,
                (true, false) => FirstRequest::Taken,
                (true, true) if begun.elapsed() >= WATCH => FirstRequest::NotYet,
                (true, true) => return Ok(None),
            };
            Ok::<_, Failure>(Some(first_request))
        });
        match waited.await? {
            Waited::Done(first_request) => {
                if let Answer::NotReady(answer) = self.ask(lane, container.as_ref()).await? {
                    return Err(Failure::FellSilent { answer });
                }
                if let (Some(new), Some(replacement)) = (&container, self.replacement(lane)) {
                    self.world.engine.set_restart(new, &replacement.like.restart).await?;
                }
                self.tell(Fact::Confirmed { servers: self.lane_of(lane).ids(), first_request });
                Ok(())
            }
            Waited::TimedOut => {
                let (server, status) =
                    down.unwrap_or_else(|| (self.lane_of(lane).name().clone(), String::new()));
                Err(Failure::NotUp { server, status })
            }
            Waited::Stopped => {
                self.hear_stop();
                Err(Failure::Stopped)
            }
        }
    }

    async fn remove(&mut self, lane: usize) -> Result<(), Failure> {
        let Some(replacement) = self.replacement(lane) else { return Ok(()) };
        let Some(old) = &replacement.old else { return Ok(()) };
        let container = replacement.kept_name(&self.plan.run);
        self.world.engine.remove(&old.id).await?;
        self.tell(Fact::Removed { container });
        Ok(())
    }

    /// Removes the new container, also where it was created and the answer that named it was lost.
    async fn discard(&mut self, lane: usize) -> Result<(), Failure> {
        let Some(replacement) = self.replacement(lane) else { return Ok(()) };
        let mut new = self.created.get(&lane).cloned();
        if new.is_none() {
            let candidate = replacement.candidate_name(&self.plan.run);
            let all = self.world.engine.containers().await?;
            new = all.into_iter().find(|container| container.name == candidate).map(|container| container.id);
        }
        if let Some(new) = new {
            self.world.engine.remove(&new).await?;
        }
        Ok(())
    }

    /// Gives the old container its name back, and starts it if it ran before.
    async fn return_old(&mut self, lane: usize) -> Result<(), Failure> {
        let Some(replacement) = self.replacement(lane) else { return Ok(()) };
        let Some(old) = &replacement.old else { return Ok(()) };
        let engine = &self.world.engine;
        engine.rename(&old.id, &old.name).await?;
        engine.set_restart(&old.id, &old.restart).await?;
        if matches!(old.state, ContainerState::Running | ContainerState::Restarting) {
            engine.start(&old.id).await?;
        }
        Ok(())
    }

    async fn put_back(&mut self, lane: usize) -> Result<(), Failure> {
        let lane = self.lane_of(lane);
        for server in &lane.servers {
            self.world.load_balancer.set_admin_state(&server.id, lane.state_after_undo(server)).await?;
        }
        Ok(())
    }

    /// A look at the lane's backends, whatever process answers.
    async fn look_anew(&self, lane: usize) -> Result<LoadBalancerState, Failure> {
        Ok(self.world.load_balancer.look(&self.lane_of(lane).backends()).await?)
    }

    /// A look at the lane's backends that is sure to be of the process that the plan was made for: what a
    /// process before it still holds is counted by nobody.
    async fn look(&self, lane: usize) -> Result<LoadBalancerState, Failure> {
        let seen = self.look_anew(lane).await?;
        let was = self.plan.haproxy_pid;
        if seen.pid == was { Ok(seen) } else { Err(Failure::Reloaded { was, is: seen.pid }) }
    }
}
