//! What a move does to a server: each act at every load balancer, or none at any.

use super::Servers;
use crate::adapters::haproxy::command::Command;
use crate::error::Error;
use crate::ids::ServerId;
use crate::observation::{AdminState, Checker, Checking, LoadBalancerState, ServerState};
use crate::ports::{LoadBalancer, LoadBalancerError};
use crate::weight::Weight;

/// One thing that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The administrative state.
    State(AdminState),
    /// The weight.
    Weight(Weight),
    /// Whether it is asked.
    Check(Checker, bool),
}

impl Act {
    /// Whether it is so already. What comes from elsewhere is set all the same.
    fn is_so(self, now: &ServerState, written: u32) -> bool {
        match self {
            Self::State(state) => now.admin.state() == state && !now.admin.is_inherited(),
            Self::Weight(weight) => now.weight == weight.of(written),
            Self::Check(checker, true) => now.checks.of(checker) == Checking::On,
            Self::Check(checker, false) => now.checks.of(checker) != Checking::On,
        }
    }

    /// Whether a server that is written with this weight gets no balanced traffic any more.
    pub fn takes_out(self, written: u32) -> bool {
        match self {
            Self::State(state) => state != AdminState::Ready,
            Self::Weight(weight) => weight.of(written) == 0,
            Self::Check(..) => false,
        }
    }

    /// The same as it was.
    fn back(self, before: &ServerState) -> Self {
        match self {
            Self::State(_) => Self::State(before.admin.state()),
            Self::Weight(_) => Self::Weight(Weight::Absolute(before.weight)),
            Self::Check(checker, _) => Self::Check(checker, before.checks.of(checker) == Checking::On),
        }
    }

    /// Makes a state what it will be.
    pub fn foretell(self, now: &mut ServerState, written: u32) {
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

    async fn perform(
        self,
        load_balancer: &impl LoadBalancer,
        server: &ServerId,
    ) -> Result<(), LoadBalancerError> {
        match self {
            Self::State(state) => load_balancer.set_admin_state(server, state).await,
            Self::Weight(weight) => load_balancer.set_weight(server, weight).await,
            Self::Check(checker, on) => load_balancer.set_checking(server, checker, on).await,
        }
    }

    /// What `HAProxy` is told.
    pub fn command(self, server: &ServerId) -> String {
        match self {
            Self::State(state) => Command::SetServerState(server, state).to_string(),
            Self::Weight(weight) => Command::SetServerWeight(server, weight).to_string(),
            Self::Check(checker, on) => Command::SetChecking(server, checker, on).to_string(),
        }
    }
}

/// What was done: at which load balancer, to which server, in order.
#[derive(Debug, Default)]
pub(super) struct Done(pub Vec<(String, ServerId, Act)>);

/// Of these acts those that are not so yet, somewhere.
pub(super) fn undone(servers: &Servers, acts: &[Act], seen: &[LoadBalancerState]) -> Vec<(ServerId, Act)> {
    let all =
        servers.iter().flat_map(|(server, written)| acts.iter().map(move |act| (server, written, *act)));
    let is_so = |server: &ServerId, written: u32, act: Act| {
        seen.iter().all(|seen| seen.server(server).is_some_and(|now| act.is_so(now, written)))
    };
    let left = all.filter(|(server, written, act)| !is_so(server, **written, *act));
    left.map(|(server, _, act)| (server.clone(), act)).collect()
}

/// Does it all at all load balancers, or leaves everything at all of them as it was.
pub(super) async fn everywhere<L: LoadBalancer>(
    load_balancers: &[L],
    before: &[LoadBalancerState],
    acts: Vec<(ServerId, Act)>,
    done: &mut Done,
) -> Result<(), Error> {
    for (server, act) in acts {
        for load_balancer in load_balancers {
            // The one that fails may have taken it, and its answer was lost.
            done.0.push((load_balancer.name(), server.clone(), act));
            let mut performed = act.perform(load_balancer, &server).await;
            if matches!(performed, Err(LoadBalancerError::Unanswered { .. })) {
                // The same once more does no harm, whether or not the first one comes.
                performed = act.perform(load_balancer, &server).await;
            }
            let Err(failure) = performed else { continue };
            let failure = failure.at(load_balancer.name(), load_balancers.len());
            let left = take_back(load_balancers, before, done).await;
            if left.is_empty() {
                return Err(failure.into());
            }
            return Err(Error::MoveHalfDone { server, left, failure });
        }
    }
    Ok(())
}

/// Takes everything back, the last first, and names the load balancers that do not take it.
async fn take_back<L: LoadBalancer>(
    load_balancers: &[L],
    before: &[LoadBalancerState],
    done: &Done,
) -> Vec<String> {
    let mut left = Vec::new();
    for (name, server, act) in done.0.iter().rev() {
        let was = before.iter().find(|seen| seen.name == *name).and_then(|seen| seen.server(server));
        let load_balancer = load_balancers.iter().find(|it| it.name() == *name);
        let Some((load_balancer, was)) = load_balancer.zip(was) else { continue };
        if act.back(was).perform(load_balancer, server).await.is_err() && !left.contains(name) {
            left.push(name.clone());
        }
    }
    left
}
