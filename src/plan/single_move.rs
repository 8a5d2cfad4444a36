//! The plan of a single move: one lane without a container, whose servers get the state that an operator asks for.
//!
//! A run gives its servers back, so its steps undo themselves. A move leaves them where the operator wants them, so its
//! plan is a value of its own, which no journal stores and no resume finishes.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::ServerId;
use crate::model::probe::Probe;
use crate::model::weight::Weight;
use crate::observation::{AdminState, Checker, Checking, LoadBalancerState, ServerState};
use crate::plan::refusal::Refusal;
use crate::plan::server_change::ServerChange;
use crate::plan::{Policy, floor};
use crate::topology::traffic::{Balance, Forecast};

/// What an operator asks of a server.
#[derive(Clone, Debug)]
pub struct MoveGoal {
    /// The server in every backend that is meant, with the weight that haproxy.cfg gives it there.
    pub servers: BTreeMap<ServerId, u32>,
    pub state: AdminState,
    /// The checks to turn on or off.
    pub checks: Vec<(Checker, bool)>,
    pub weight: Option<Weight>,
    /// Whether the servers drain, and their sessions end, before they get their state.
    pub drain_first: bool,
    pub shutdown_sessions: bool,
    /// Whether to wait for the effect: the end of the last session, or a server that is up.
    pub wait: bool,
    /// The servers whose own checks alone decide whether they serve.
    pub own_checked: BTreeSet<ServerId>,
    pub policy: Policy,
}

/// One step of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveStep {
    /// Make a change of these servers at every load balancer, or at none.
    Set { servers: Vec<ServerId>, change: ServerChange },
    /// Wait until no session is in flight on any server. They are in this state.
    AwaitIdle(AdminState),
    /// End the remaining sessions.
    ShutDownSessions,
    /// Wait until every server is up.
    AwaitUp,
}

/// Everything that a move will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleMove {
    /// The servers, with the weight that haproxy.cfg gives each of them.
    pub servers: BTreeMap<ServerId, u32>,
    /// The state that they get.
    pub state: AdminState,
    pub policy: Policy,
    pub steps: Vec<MoveStep>,
    /// Where the traffic goes, for each server that leaves and each load balancer.
    pub forecasts: Vec<Forecast>,
    /// The servers that take over from each server that leaves. They must answer first.
    pub takeover: BTreeMap<ServerId, BTreeSet<ServerId>>,
    /// The probes of the servers.
    pub probes: Vec<(ServerId, Probe)>,
    /// Whether servers that come back must answer first. Otherwise a silent one is only reported.
    pub must_answer: bool,
    /// Notes for the operator that do not stop the move.
    pub warnings: Vec<String>,
}

/// A reason against a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveRefusal {
    /// The server's line has no such check to turn on.
    NotChecked { server: ServerId, checker: Checker },
    /// The remaining servers cannot take the traffic.
    Capacity(Refusal),
}

impl MoveGoal {
    /// Returns the goal of a plain change of state, without a wait.
    #[must_use]
    pub fn new(servers: BTreeMap<ServerId, u32>, state: AdminState, policy: Policy) -> Self {
        Self {
            servers,
            state,
            checks: Vec::new(),
            weight: None,
            drain_first: false,
            shutdown_sessions: false,
            wait: false,
            own_checked: BTreeSet::new(),
            policy,
        }
    }

    /// Returns the changes to make to each server, in order: checks are disabled before a server leaves and re-enabled
    /// after it returns.
    fn changes(&self) -> Vec<ServerChange> {
        let turned = |on: bool| {
            let these = self.checks.iter().filter(move |(_, wanted)| *wanted == on);
            these.map(move |(checker, _)| ServerChange::Check(*checker, on))
        };
        let weight = self.weight.map(ServerChange::Weight);
        turned(false).chain([ServerChange::State(self.state)]).chain(turned(true)).chain(weight).collect()
    }

    /// Returns the servers that get no new traffic any more; at most one of each backend.
    #[must_use]
    pub fn leaving(&self) -> BTreeSet<ServerId> {
        let changes = self.changes();
        let leaves = |weight: u32| changes.iter().any(|change| change.takes_out(weight));
        self.servers.iter().filter(|(_, weight)| leaves(**weight)).map(|(id, _)| id.clone()).collect()
    }

    /// Returns the steps of the move.
    fn steps(&self, seen: &[LoadBalancerState]) -> Vec<MoveStep> {
        let mut steps = Vec::new();
        let all = || self.servers.keys().cloned();
        if self.drain_first {
            // A server in maint has already left.
            let is_ready = |id: &ServerId| states(seen, id).any(|it| it.admin.state() == AdminState::Ready);
            let servers = all().filter(is_ready).collect();
            steps.push(MoveStep::Set { servers, change: ServerChange::State(AdminState::Drain) });
            steps.push(MoveStep::AwaitIdle(AdminState::Drain));
        }
        for change in self.changes() {
            let is_proven_by_check = self.wait && change == ServerChange::State(AdminState::Ready);
            let (unproven, servers): (Vec<_>, Vec<_>) = all()
                .partition(|id| is_proven_by_check && self.own_checked.contains(id) && is_unproven(seen, id));
            steps.push(MoveStep::Set { servers: unproven, change: ServerChange::ReadyWhenProven });
            steps.push(MoveStep::Set { servers, change });
        }
        steps.retain(|step| !matches!(step, MoveStep::Set { servers, .. } if servers.is_empty()));
        if self.shutdown_sessions {
            steps.push(MoveStep::ShutDownSessions);
        }
        if self.wait {
            steps.push(match self.state {
                AdminState::Ready => MoveStep::AwaitUp,
                state @ (AdminState::Drain | AdminState::Maint) => MoveStep::AwaitIdle(state),
            });
        }
        steps
    }

    /// Returns the notes for the operator.
    fn warnings(&self, seen: &[LoadBalancerState]) -> Vec<String> {
        let mut warnings = Vec::new();
        // HAProxy rounds a percentage of a small weight down.
        if let Some(weight @ Weight::Percent(1..)) = self.weight {
            let lost = self.servers.iter().filter(|(_, written)| **written > 0 && weight.of(**written) == 0);
            warnings.extend(lost.map(|(server, written)| {
                format!("{weight} of the weight {written} of {server} in haproxy.cfg is 0: it gets no new traffic. Use larger weights in haproxy.cfg")
            }));
        }
        // An agent with "ready" ends a drain or a maint, and with "drain" or "maint" takes out a server that was put
        // back.
        if self.checks.contains(&(Checker::Agent, false)) {
            return warnings;
        }
        for server in self.leaving().iter().filter(|id| states(seen, id).any(ServerState::asks_agent)) {
            warnings.push(format!("the agent (agent-check) of {server} is on, and puts the server back when it reports \"ready\": --agent off turns it off, `ready --agent on` turns it on again"));
        }
        if self.state == AdminState::Ready {
            let may_be_out = |id: &&ServerId| states(seen, id).any(ServerState::may_be_out_by_agent);
            for server in self.servers.keys().filter(may_be_out) {
                warnings.push(format!("the agent (agent-check) of {server} is on, and may have taken it out of service: it does so again if it still reports \"drain\" or \"maint\""));
            }
        }
        warnings
    }
}

/// Returns the state of a server at each load balancer that knows it.
fn states<'a>(seen: &'a [LoadBalancerState], id: &'a ServerId) -> impl Iterator<Item = &'a ServerState> {
    seen.iter().filter_map(|seen| seen.server(id))
}

/// Returns whether a server is in maint everywhere with its check on, so that the check can prove it.
fn is_unproven(seen: &[LoadBalancerState], id: &ServerId) -> bool {
    states(seen, id).all(|it| it.admin.state() == AdminState::Maint && it.checks.health == Checking::On)
}

/// Plans a move. `balances` are those of the servers' backends, and `probes` those of all servers.
///
/// # Errors
/// A check that does not exist would be turned on, or the remaining servers cannot take the traffic. Nothing has been
/// changed.
pub fn build(
    goal: &MoveGoal,
    balances: &[Balance],
    probes: Vec<(ServerId, Probe)>,
    seen: &[LoadBalancerState],
) -> Result<SingleMove, MoveRefusal> {
    let is_absent =
        |id: &ServerId, checker| states(seen, id).any(|it| it.checks.of(checker) == Checking::Absent);
    for (checker, _) in goal.checks.iter().filter(|(_, on)| *on) {
        if let Some(server) = goal.servers.keys().find(|id| is_absent(id, *checker)) {
            return Err(MoveRefusal::NotChecked { server: server.clone(), checker: *checker });
        }
    }
    let out = goal.leaving();
    let (mut forecasts, mut takeover) = (Vec::new(), BTreeMap::new());
    for server in &out {
        let balances = balances.iter().filter(|it| it.backend == server.backend);
        let after = floor::require_capacity(balances, seen, &out, &BTreeSet::new(), &goal.policy);
        let after = after.map_err(MoveRefusal::Capacity)?;
        forecasts.extend(after.forecasts);
        takeover.insert(server.clone(), after.carriers);
    }
    Ok(SingleMove {
        servers: goal.servers.clone(),
        state: goal.state,
        policy: goal.policy.clone(),
        steps: goal.steps(seen),
        forecasts,
        takeover,
        probes,
        must_answer: goal.wait,
        warnings: goal.warnings(seen),
    })
}

impl SingleMove {
    /// Returns those of the servers for which a change is still to be made at some load balancer.
    #[must_use]
    pub fn pending(
        &self,
        servers: &[ServerId],
        change: ServerChange,
        seen: &[LoadBalancerState],
    ) -> Vec<ServerId> {
        let is_so = |seen: &LoadBalancerState, id: &ServerId| {
            seen.server(id).is_some_and(|now| change.is_applied(now, self.written(id)))
        };
        servers.iter().filter(|id| !seen.iter().all(|seen| is_so(seen, id))).cloned().collect()
    }

    /// Returns the weight that haproxy.cfg gives a server.
    #[must_use]
    pub fn written(&self, server: &ServerId) -> u32 {
        self.servers.get(server).copied().unwrap_or_default()
    }

    /// Returns the identifiers of the servers.
    #[must_use]
    pub fn ids(&self) -> Vec<ServerId> {
        self.servers.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
