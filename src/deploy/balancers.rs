//! Queries and changes all load balancers together: every one of them must get the same changes.

use futures_util::future::join_all;

use super::agents;
use super::{Direction, Executor, StepError, Tracked};
use crate::model::ids::ServerId;
use crate::observation::{AdminState, LoadBalancerState, ServerState};
use crate::plan::{Lane, LbQuorum};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, LoadBalancerError, Prober, WallClock};
use crate::run::event::EventKind;
use crate::site::fleet::ProcessChange;

/// The states of all load balancers at one moment.
pub(super) struct BalancerStates {
    /// The states of those that answered.
    pub all: Vec<LoadBalancerState>,
    /// Whether one of them runs a new process, which does not know what was set.
    pub is_new: bool,
}

/// Returns the state of one load balancer, if it answered.
pub(super) fn state_from<'a>(
    all: &'a [LoadBalancerState],
    load_balancer: &impl LoadBalancer,
) -> Option<&'a LoadBalancerState> {
    all.iter().find(|seen| seen.name == load_balancer.name())
}

impl BalancerStates {
    /// Returns every load balancer's state of a server. Fails if one does not know the server, unless a lane is being
    /// undone: a server that a reload removed needs no undo.
    pub fn server(&self, id: &ServerId, is_undoing: bool) -> Result<Vec<&ServerState>, StepError> {
        if !is_undoing {
            require_known(&self.all, [id])?;
        }
        Ok(self.all.iter().filter_map(|seen| seen.server(id)).collect())
    }
}

/// Fails if a load balancer does not know one of these servers.
pub(super) fn require_known<'a>(
    seen: &[LoadBalancerState],
    ids: impl IntoIterator<Item = &'a ServerId>,
) -> Result<(), StepError> {
    let mut ids = ids.into_iter();
    match ids.find(|id| seen.iter().any(|it| it.server(id).is_none())) {
        Some(server) => Err(StepError::Vanished { server: server.clone() }),
        None => Ok(()),
    }
}

/// Sets the states of servers. While a lane is being undone, skips servers that a reload removed.
pub(super) async fn set_known_states(
    load_balancer: &impl LoadBalancer,
    states: &[(ServerId, AdminState)],
    is_undoing: bool,
) -> Result<(), LoadBalancerError> {
    let set = load_balancer.set_admin_states(states).await;
    if !is_undoing || set.as_ref().err().is_none_or(LoadBalancerError::is_silence) {
        return set;
    }
    let seen = load_balancer.state(&[]).await?;
    let known: Vec<_> = states.iter().filter(|(id, _)| seen.server(id).is_some()).cloned().collect();
    if known.len() == states.len() {
        return set;
    }
    load_balancer.set_admin_states(&known).await
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Sets the states of servers everywhere. Waits for a load balancer that is restarting. One that was silent the
    /// last time only gets servers back in service: nothing leaves there before it has been checked.
    pub(super) async fn set(&self, lane: usize, states: &[(ServerId, AdminState)]) -> Result<(), StepError> {
        let is_undoing = self.is_undoing(lane);
        let set = async |it: &Tracked<L>| {
            if self.at(lane).processes.borrow().contains_key(&it.name()) {
                set_known_states(it, states, is_undoing).await
            } else {
                let ready = states.iter().filter(|(_, state)| *state == AdminState::Ready);
                set_known_states(it, &ready.cloned().collect::<Vec<_>>(), is_undoing).await
            }
        };
        self.on_all(lane, set).await.map(drop)
    }

    /// Queries the lane's backends, whatever processes answer. Waits for a load balancer that is restarting.
    pub(super) async fn lane_states(&self, lane: usize) -> Result<Vec<LoadBalancerState>, StepError> {
        let (backends, is_undoing) = (self.lane_of(lane).backends(), self.is_undoing(lane));
        let look = async |it: &Tracked<L>| match it.full_state(&backends).await {
            Err(LoadBalancerError::NoSuchBackend { .. }) if is_undoing => it.full_state(&[]).await,
            // Before anything else, because it may be all that serves.
            // One that cannot be added again must not keep a lane from going back: the next look tries again.
            Ok(seen) if self.restore_surge(it, &seen).await.unwrap_or(false) => {
                it.full_state(&backends).await
            }
            seen => seen,
        };
        let all = self.on_all(lane, look).await?;
        self.note_agents(lane, &all);
        self.record_outages(lane, &all);
        Ok(all)
    }

    /// Explains why a step of the lane failed: for a server that a reload removed, `HAProxy` replies only that it
    /// cannot execute the command.
    pub(super) async fn explain_failure(&self, lane: usize, failure: StepError) -> StepError {
        let StepError::LoadBalancer { error } = &failure else { return failure };
        if error.is_silence() {
            return failure;
        }
        match self.on_all(lane, async |it: &Tracked<L>| it.state(&[]).await).await {
            Ok(all) => require_known(&all, &self.lane_of(lane).ids()).err().unwrap_or(failure),
            Err(_) => failure,
        }
    }

    /// Calls all load balancers at once, for a lane. Fails if one does not answer, unless it may miss the call: then
    /// that is recorded.
    pub(super) async fn on_all<T>(
        &self,
        lane: usize,
        call: impl AsyncFn(&Tracked<L>) -> Result<T, LoadBalancerError>,
    ) -> Result<Vec<T>, StepError> {
        let results = self.fleet.call_all(&self.plan.backends(), call).await;
        let may_miss = match self.at(lane).direction.get() {
            Direction::Undo { needs_all: false } => true,
            Direction::Undo { needs_all: true } | Direction::Forward => {
                self.plan.goal.policy.lb_quorum == LbQuorum::Reachable
            }
        };
        let (mut answers, mut missing) = (Vec::new(), None);
        for (load_balancer, result) in self.site.load_balancers.iter().zip(results) {
            match result {
                Err(error) if may_miss && error.is_silence() => {
                    self.mark_stale(&load_balancer.name());
                    missing = Some(error);
                }
                result => answers.push(result?),
            }
        }
        // An undo goes on as long as one load balancer answers.
        match missing.filter(|_| answers.is_empty()) {
            Some(error) => Err(error.into()),
            None => Ok(answers),
        }
    }

    /// Records that a load balancer missed a change: when it comes back, in whatever process, it does not have that
    /// change.
    fn mark_stale(&self, name: &str) {
        for lane in &self.lanes {
            lane.processes.borrow_mut().remove(name);
        }
        self.watch.forget(name);
        if self.fleet.mark_stale(name) {
            let message = format!("{name} does not answer; the run goes on with the other load balancers");
            self.emit_run(EventKind::Warned { message });
        }
    }

    /// Queries the lane's backends and detects reloads. After a reload, only the master can report what the process
    /// that the plan was made for still holds.
    pub(super) async fn refresh(&self, lane: usize) -> Result<BalancerStates, StepError> {
        let mut all = self.lane_states(lane).await?;
        if self.fleet.is_any_stale(&all) && self.resync(Some(lane)).await {
            all = self.lane_states(lane).await?;
        }
        let mut is_new = false;
        for seen in &all {
            let known = self.at(lane).processes.borrow().get(&seen.name).copied();
            match ProcessChange::of(known, seen) {
                ProcessChange::None => continue,
                ProcessChange::ReloadedUnseen { was } => {
                    return Err(StepError::Reloaded { was, is: seen.pid });
                }
                ProcessChange::Reloaded { was } if self.fleet.reports_reload(&seen.name, seen.pid) => {
                    self.emit_run(EventKind::HaproxyReloaded { was, is: seen.pid });
                }
                ProcessChange::Reloaded { .. } | ProcessChange::Appeared => {}
            }
            self.sees_process(lane, seen);
            is_new = true;
        }
        Ok(BalancerStates { all, is_new })
    }

    /// Takes over the process that answers at a load balancer as the one that the lane knows.
    pub(super) fn sees_process(&self, lane: usize, seen: &LoadBalancerState) {
        self.at(lane).processes.borrow_mut().insert(seen.name.clone(), seen.pid);
        self.fleet.answers(&seen.name);
        if !self.is_undoing(lane) {
            self.fleet.has_process(&seen.name, seen.pid);
        }
    }

    /// Puts finished servers in service at load balancers that missed that, and returns whether that changed any. Skips
    /// the lane in progress.
    pub(super) async fn resync(&self, but: Option<usize>) -> bool {
        let plan = self.plan;
        let through = self.all_lanes().filter(|lane| Some(*lane) != but && self.is_confirmed(*lane));
        let through: Vec<&Lane> = through.map(|lane| &plan.lanes[lane]).collect();
        let servers = through.iter().flat_map(|lane| lane.enabled_ids());
        let states: Vec<_> = servers.map(|server| (server, AdminState::Ready)).collect();
        let mut has_changed = false;
        for load_balancer in self.site.load_balancers.iter().filter(|_| !states.is_empty()) {
            if !self.fleet.is_stale(&load_balancer.name()) {
                continue;
            }
            let set = load_balancer.set_admin_states(&states).await;
            let turn_on =
                async |lane: &&Lane| agents::set_agents(load_balancer, lane, &lane.ids(), true).await;
            let turned_on = join_all(through.iter().map(turn_on)).await;
            if set.is_ok() && turned_on.iter().all(Result::is_ok) {
                has_changed |= self.fleet.is_resynced(&load_balancer.name());
            }
        }
        has_changed
    }
}
