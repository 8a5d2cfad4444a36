//! The changes that a move makes to a server: each at every load balancer, or none at any.

use super::Servers;
use crate::adapters::haproxy::command::Command;
use crate::app::error::Error;
use crate::model::ids::ServerId;
use crate::model::weight::Weight;
use crate::observation::{AdminState, Checker, Checking, LoadBalancerState, ServerState};
use crate::ports::{LoadBalancer, LoadBalancerError};

/// One change of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerChange {
    State(AdminState),
    /// Ready, but without requests until its own check has risen: out of maint it would get some at once.
    ReadyWhenProven,
    Weight(Weight),
    /// Turns a check on or off.
    Check(Checker, bool),
}

impl ServerChange {
    /// Returns whether the server is already so. A state that comes from elsewhere, such as a tracked server, is set
    /// anyway.
    fn is_applied(self, now: &ServerState, written: u32) -> bool {
        match self {
            Self::State(state) => now.admin.state() == state && !now.admin.is_inherited(),
            Self::ReadyWhenProven => Self::State(AdminState::Ready).is_applied(now, written),
            Self::Weight(weight) => now.weight == weight.of(written),
            Self::Check(checker, true) => now.checks.of(checker) == Checking::On,
            Self::Check(checker, false) => now.checks.of(checker) != Checking::On,
        }
    }

    /// Returns whether a server with this weight in haproxy.cfg gets no balanced traffic after the change.
    pub fn takes_out(self, written: u32) -> bool {
        match self {
            Self::State(state) => state != AdminState::Ready,
            Self::Weight(weight) => weight.of(written) == 0,
            Self::Check(..) | Self::ReadyWhenProven => false,
        }
    }

    /// Returns the change that restores the earlier state.
    fn inverse(self, before: &ServerState) -> Self {
        match self {
            Self::State(_) | Self::ReadyWhenProven => Self::State(before.admin.state()),
            Self::Weight(_) => Self::Weight(Weight::Absolute(before.weight)),
            Self::Check(checker, _) => Self::Check(checker, before.checks.of(checker) == Checking::On),
        }
    }

    /// Updates a state to what it will be after the change.
    pub fn preview(self, now: &mut ServerState, written: u32) {
        match self {
            Self::State(state) if now.admin.state() == state => {}
            Self::State(state) => {
                now.admin = state.bits();
                let status = match state {
                    AdminState::Ready => "UP",
                    AdminState::Drain => "DRAIN",
                    AdminState::Maint => "MAINT",
                };
                status.clone_into(&mut now.status);
            }
            Self::ReadyWhenProven => Self::State(AdminState::Ready).preview(now, written),
            Self::Weight(weight) => now.weight = weight.of(written),
            Self::Check(checker, on) => {
                let checking = match checker {
                    Checker::Health => &mut now.checks.health,
                    Checker::Agent => &mut now.checks.agent,
                };
                if *checking != Checking::Absent {
                    *checking = if on { Checking::On } else { Checking::Off };
                }
            }
        }
    }

    /// Returns whether one command line sets both, as it does for the states of several servers.
    fn is_set_with(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::State(_), Self::State(_)) | (Self::ReadyWhenProven, Self::ReadyWhenProven)
        )
    }

    /// Returns the command for HAProxy.
    pub fn command(self, server: &ServerId) -> String {
        match self {
            Self::State(state) => Command::SetServerState(server, state).to_string(),
            Self::ReadyWhenProven => Command::SetServerState(server, AdminState::Ready).to_string(),
            Self::Weight(weight) => Command::SetServerWeight(server, weight).to_string(),
            Self::Check(checker, on) => Command::SetChecking(server, checker, on).to_string(),
        }
    }
}

/// The changes that were made: load balancer, server and change, in order.
#[derive(Debug, Default)]
pub(super) struct Applied(pub Vec<(String, ServerId, ServerChange)>);

/// Makes the changes of one group.
async fn apply(
    load_balancer: &impl LoadBalancer,
    group: impl Iterator<Item = (ServerId, ServerChange)>,
) -> Result<(), LoadBalancerError> {
    let (mut states, mut unproven) = (Vec::new(), Vec::new());
    for (server, act) in group {
        match act {
            ServerChange::State(state) => states.push((server, state)),
            ServerChange::ReadyWhenProven => unproven.push((server, AdminState::Ready)),
            ServerChange::Weight(weight) => load_balancer.set_weight(&server, weight).await?,
            ServerChange::Check(checker, on) => load_balancer.set_checking(&server, checker, on).await?,
        }
    }
    load_balancer.set_unproven(&unproven).await?;
    load_balancer.set_admin_states(&states).await
}

/// Returns the changes that are still to be made at some load balancer: the first change for all servers, then the
/// next.
pub(super) fn pending(
    servers: &Servers,
    acts: &[ServerChange],
    seen: &[LoadBalancerState],
) -> Vec<(ServerId, ServerChange)> {
    let all =
        acts.iter().flat_map(|act| servers.iter().map(move |(server, written)| (server, written, *act)));
    let is_so = |server: &ServerId, written: u32, act: ServerChange| {
        seen.iter().all(|seen| seen.server(server).is_some_and(|now| act.is_applied(now, written)))
    };
    let left = all.filter(|(server, written, act)| !is_so(server, **written, *act));
    left.map(|(server, _, act)| (server.clone(), act)).collect()
}

/// Makes all changes at all load balancers, or restores the earlier state at all of them.
pub(super) async fn apply_on_all<L: LoadBalancer>(
    load_balancers: &[L],
    before: &[LoadBalancerState],
    acts: &[(ServerId, ServerChange)],
    done: &mut Applied,
) -> Result<(), Error> {
    for group in acts.chunk_by(|(_, one), (_, next)| one.is_set_with(*next)) {
        for load_balancer in load_balancers {
            // The load balancer that fails may have made the change and lost the answer.
            let name = load_balancer.name();
            done.0.extend(group.iter().map(|(server, act)| (name.clone(), server.clone(), *act)));
            let mut performed = apply(load_balancer, group.iter().cloned()).await;
            if matches!(performed, Err(LoadBalancerError::Unanswered { .. })) {
                // A repetition does no harm, whether or not the first command takes effect.
                performed = apply(load_balancer, group.iter().cloned()).await;
            }
            let Err(failure) = performed else { continue };
            let failure = failure.at(name, load_balancers.len());
            let left = undo(load_balancers, before, done).await;
            if left.is_empty() {
                return Err(failure.into());
            }
            let servers = group.iter().map(|(server, _)| server.clone()).collect();
            return Err(Error::MovePartlyApplied { servers, left, failure });
        }
    }
    Ok(())
}

/// Undoes all changes, the last one first. Returns the load balancers that fail to do so.
async fn undo<L: LoadBalancer>(
    load_balancers: &[L],
    before: &[LoadBalancerState],
    done: &Applied,
) -> Vec<String> {
    let mut left = Vec::new();
    let are_together = |one: &(String, ServerId, ServerChange), next: &(String, ServerId, ServerChange)| {
        one.0 == next.0 && one.2.is_set_with(next.2)
    };
    for group in done.0.chunk_by(are_together).rev() {
        let name = &group[0].0;
        let seen = before.iter().find(|seen| seen.name == *name);
        let Some((load_balancer, was)) = load_balancers.iter().find(|it| it.name() == *name).zip(seen) else {
            continue;
        };
        let back = group
            .iter()
            .filter_map(|(_, server, act)| Some((server.clone(), act.inverse(was.server(server)?))));
        if apply(load_balancer, back).await.is_err() && !left.contains(name) {
            left.push(name.clone());
        }
    }
    left
}
