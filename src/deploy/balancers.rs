//! All load balancers at once: every one of them must do what is said to one.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::agents;
use super::rotation::LOOK_EVERY;
use super::wait::{OUTAGE, insist};
use super::{Deploy, Failure, Tracked};
use crate::event::Fact;
use crate::ids::ServerId;
use crate::observation::{AdminState, LoadBalancerState, ServerState};
use crate::plan::{Lane, LbQuorum};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, LoadBalancerError, Prober, WallClock};

/// How long one that was silent the last time may take to answer.
const BRIEFLY: Duration = Duration::from_millis(250);

/// What all load balancers said at one moment.
pub(super) struct Seen {
    /// Each that answered.
    pub all: Vec<LoadBalancerState>,
    /// Whether one of them is another process than before, which knows nothing of what was set.
    pub is_new: bool,
}

/// What one of them said, if it answered.
pub(super) fn said_by<'a>(
    all: &'a [LoadBalancerState],
    load_balancer: &impl LoadBalancer,
) -> Option<&'a LoadBalancerState> {
    all.iter().find(|seen| seen.name == load_balancer.name())
}

impl Seen {
    /// Every load balancer's state of a server; fails where one does not know it, unless a lane is taken back: what a
    /// reload has removed has nothing to be taken back.
    pub fn server(&self, id: &ServerId, is_undoing: bool) -> Result<Vec<&ServerState>, Failure> {
        if !is_undoing {
            all_known(&self.all, [id])?;
        }
        Ok(self.all.iter().filter_map(|seen| seen.server(id)).collect())
    }
}

/// Fails where a load balancer does not know one of these servers.
pub(super) fn all_known<'a>(
    seen: &[LoadBalancerState],
    ids: impl IntoIterator<Item = &'a ServerId>,
) -> Result<(), Failure> {
    let mut ids = ids.into_iter();
    match ids.find(|id| seen.iter().any(|it| it.server(id).is_none())) {
        Some(server) => Err(Failure::Vanished { server: server.clone() }),
        None => Ok(()),
    }
}

/// Sets the states of servers. While a lane is taken back those that a reload has removed are left out.
pub(super) async fn set_known(
    load_balancer: &impl LoadBalancer,
    states: &[(ServerId, AdminState)],
    is_undoing: bool,
) -> Result<(), LoadBalancerError> {
    let set = load_balancer.set_admin_states(states).await;
    if !is_undoing || set.as_ref().err().is_none_or(LoadBalancerError::is_silence) {
        return set;
    }
    let seen = load_balancer.glance(&[]).await?;
    let known: Vec<_> = states.iter().filter(|(id, _)| seen.server(id).is_some()).cloned().collect();
    if known.len() == states.len() {
        return set;
    }
    load_balancer.set_admin_states(&known).await
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Deploy<'_, L, E, P, C, H, J>
{
    /// Sets the states of servers everywhere. A load balancer that is just being started anew is waited for; one that was
    /// silent at the last look is looked at before anything leaves there.
    pub(super) async fn set(&mut self, states: &[(ServerId, AdminState)]) -> Result<(), Failure> {
        let seen: BTreeSet<String> = self.workers.keys().cloned().collect();
        let is_undoing = self.is_undoing;
        let set = async |it: &Tracked<L>| {
            if seen.contains(&it.name()) {
                set_known(it, states, is_undoing).await
            } else {
                let ready = states.iter().filter(|(_, state)| *state == AdminState::Ready);
                set_known(it, &ready.cloned().collect::<Vec<_>>(), is_undoing).await
            }
        };
        self.everywhere(set).await.map(drop)
    }

    /// A look at the lane's backends, whatever processes answer. A load balancer that is just being started anew is
    /// waited for.
    pub(super) async fn look_anew(&mut self, lane: usize) -> Result<Vec<LoadBalancerState>, Failure> {
        let (backends, is_undoing) = (self.lane_of(lane).backends(), self.is_undoing);
        let look = async |it: &Tracked<L>| match it.look(&backends).await {
            Err(LoadBalancerError::NoSuchBackend { .. }) if is_undoing => it.look(&[]).await,
            seen => seen,
        };
        let all = self.everywhere(look).await?;
        self.note_agents(lane, &all);
        self.show(lane, &all);
        Ok(all)
    }

    /// Why a step of the lane failed: of a server that a reload has removed `HAProxy` only says that it takes no command.
    pub(super) async fn explained(&mut self, lane: usize, failure: Failure) -> Failure {
        let Failure::LoadBalancer(error) = &failure else { return failure };
        if error.is_silence() {
            return failure;
        }
        match self.everywhere(async |it: &Tracked<L>| it.glance(&[]).await).await {
            Ok(all) => all_known(&all, &self.lane_of(lane).ids()).err().unwrap_or(failure),
            Err(_) => failure,
        }
    }

    /// Asks all load balancers at once. Those that do not answer have missed it, where that may be.
    pub(super) async fn everywhere<T>(
        &mut self,
        call: impl AsyncFn(&Tracked<L>) -> Result<T, LoadBalancerError>,
    ) -> Result<Vec<T>, Failure> {
        let all = &self.world.load_balancers;
        let results = join_all(all.iter().map(|it| self.patiently(it, async || call(it).await))).await;
        let may_miss =
            self.is_undoing && !self.needs_all || self.plan.policy.lb_quorum == LbQuorum::Reachable;
        let (mut answers, mut missing) = (Vec::new(), None);
        for (load_balancer, result) in all.iter().zip(results) {
            match result {
                Err(error) if may_miss && error.is_silence() => {
                    self.has_missed(&load_balancer.name());
                    missing = Some(error);
                }
                result => answers.push(result?),
            }
        }
        // What is taken back is taken back wherever somebody answers.
        match missing.filter(|_| answers.is_empty()) {
            Some(error) => Err(error.into()),
            None => Ok(answers),
        }
    }

    /// Whatever it is when it comes back, it does not know what was set meanwhile.
    fn has_missed(&mut self, name: &str) {
        let answered_before = self.workers.remove(name).is_some();
        let is_first = self.behind.insert(name.to_owned());
        self.watch.forget(name);
        if answered_before || is_first {
            let message = format!("{name} does not answer; the others go on without it");
            self.tell(Fact::Warned { message });
        }
    }

    /// A look at the lane's backends that misses nothing: what the process that the plan was made for still holds after
    /// a reload is told by the master, or by nobody.
    pub(super) async fn look(&mut self, lane: usize) -> Result<Seen, Failure> {
        let mut all = self.look_anew(lane).await?;
        if all.iter().any(|seen| self.behind.contains(&seen.name)) && self.catch_up(Some(lane)).await {
            all = self.look_anew(lane).await?;
        }
        let mut is_new = false;
        for seen in &all {
            let was = self.workers.insert(seen.name.clone(), seen.pid);
            match was {
                Some(was) if was == seen.pid => continue,
                Some(was) if seen.old_workers.is_none() => {
                    self.workers.insert(seen.name.clone(), was);
                    return Err(Failure::Reloaded { was, is: seen.pid });
                }
                Some(was) => self.tell(Fact::HaproxyReloaded { was, is: seen.pid }),
                None => {}
            }
            is_new = true;
        }
        Ok(Seen { all, is_new })
    }

    /// Puts the servers that are through in service at load balancers that have missed that, and says whether that
    /// changed any. The lane that is worked on is not looked at here.
    pub(super) async fn catch_up(&mut self, but: Option<usize>) -> bool {
        let (world, plan) = (self.world, self.plan);
        let through = (0..plan.lanes.len()).filter(|lane| Some(*lane) != but && self.is_through(*lane));
        let through: Vec<&Lane> = through.map(|lane| &plan.lanes[lane]).collect();
        let servers = through.iter().flat_map(|lane| lane.enabled_ids());
        let states: Vec<_> = servers.map(|server| (server, AdminState::Ready)).collect();
        let mut has_changed = false;
        for load_balancer in world.load_balancers.iter().filter(|_| !states.is_empty()) {
            if !self.behind.contains(&load_balancer.name()) {
                continue;
            }
            let set = load_balancer.set_admin_states(&states).await;
            let turn_on = async |lane: &&Lane| agents::turn(load_balancer, lane, &lane.ids(), true).await;
            let turned_on = join_all(through.iter().map(turn_on)).await;
            if set.is_ok() && turned_on.iter().all(Result::is_ok) {
                has_changed |= self.behind.remove(&load_balancer.name());
            }
        }
        has_changed
    }

    /// Asks a load balancer. One that is just being started anew is waited for; one that was silent the last time is not,
    /// so that it does not keep the others from being looked at.
    async fn patiently<T>(
        &self,
        load_balancer: &Tracked<L>,
        mut call: impl AsyncFnMut() -> Result<T, LoadBalancerError>,
    ) -> Result<T, LoadBalancerError> {
        let name = load_balancer.name();
        let result = if self.workers.contains_key(&name) {
            insist(LOOK_EVERY, OUTAGE, LoadBalancerError::is_silence, call).await
        } else {
            let reason = "it did not answer before, and does not now".to_owned();
            let silence = || LoadBalancerError::Unreachable { socket: name, reason };
            let backends = self.plan.backends();
            let look = timeout(BRIEFLY, load_balancer.glance(&backends));
            // Only a look may be cut: a change that nothing waits for may still take effect.
            match look.await.unwrap_or_else(|_| Err(silence())) {
                Ok(_) => call().await,
                Err(error) => Err(error),
            }
        };
        let among = self.world.load_balancers.len();
        result.map_err(|error| error.at(load_balancer.name(), among))
    }
}
