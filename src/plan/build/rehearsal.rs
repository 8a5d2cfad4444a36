//! The servers while the lanes run one after the other.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::LaneDraft;
use super::admin;
use super::no_address;
use super::touched;
use crate::model::ids::ServerId;
use crate::model::probe::ProbeUrl;
use crate::observation::AdminState;
use crate::observation::Checking;
use crate::observation::LoadBalancerState;
use crate::observation::Observation;
use crate::observation::ServerState;
use crate::plan::Goal;
use crate::plan::Lane;
use crate::plan::LaneServer;
use crate::plan::Policy;
use crate::plan::RunKind;
use crate::plan::before::Before;
use crate::plan::before::is_dead;
use crate::plan::floor;
use crate::plan::refusal::Refusal;
use crate::topology::Server;
use crate::topology::Topology;
use crate::topology::own_check::OwnCheck;
use crate::topology::traffic::Balance;
use crate::topology::traffic::Forecast;

/// The state of the servers while the lanes run one after the other.
pub(super) struct Simulation<'a> {
    pub(super) balances: &'a [Balance],
    pub(super) load_balancers: &'a [LoadBalancerState],
    pub(super) policy: &'a Policy,
    pub(super) left_out: &'a BTreeSet<ServerId>,
    pub(super) purpose: RunKind,
    /// The servers of those backends, by identifier.
    pub(super) servers: BTreeMap<&'a ServerId, &'a Server>,
    /// The weight of every usable server, for each load balancer.
    pub(super) usable: Vec<BTreeMap<ServerId, u32>>,
    /// The servers that an earlier lane has proved.
    pub(super) proved: BTreeSet<ServerId>,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(
        topology: &'a Topology,
        balances: &'a [Balance],
        (load_balancers, observation): (&'a [LoadBalancerState], &'a Observation),
        goal: &'a Goal,
    ) -> Self {
        let servers = touched(topology, balances).map(|server| (&server.id, server)).collect();
        let usable = |seen: &LoadBalancerState| {
            let usable = seen.servers.iter().filter(|server| server.is_usable());
            usable.map(|server| (server.id.clone(), server.weight)).collect()
        };
        let usable = load_balancers.iter().map(usable).collect();
        Self {
            balances,
            load_balancers,
            policy: &goal.policy,
            left_out: &observation.left_out,
            purpose: goal.purpose,
            usable,
            servers,
            proved: BTreeSet::new(),
        }
    }

    /// Returns where each load balancer would send a backend's traffic.
    pub(super) fn forecasts(&self, balance: &Balance, out: &BTreeSet<ServerId>) -> Vec<Forecast> {
        self.usable.iter().map(|usable| balance.share(|id| usable.get(id).copied(), out)).collect()
    }

    /// Returns whether floor and headroom hold without these servers.
    pub(super) fn spares(&self, out: &BTreeSet<ServerId>) -> bool {
        self.balances.iter().filter(|balance| balance.has_any(out)).all(|balance| {
            let before = self.forecasts(balance, &BTreeSet::new());
            let after = self.forecasts(balance, out);
            self.load_balancers.iter().zip(before).zip(after).all(|((seen, before), after)| {
                floor::check(balance, &before, &after, out, self.policy.floor).is_ok()
                    && floor::check_room(balance, &before, &after, seen, self.policy).is_ok()
            })
        })
    }

    /// Takes the lane's servers out, checks the consequences, and puts the new ones in.
    pub(super) fn lane(&mut self, draft: LaneDraft) -> Result<Lane, Refusal> {
        let out: BTreeSet<ServerId> = draft.servers.iter().map(|server| server.id.clone()).collect();
        let (dead, alive): (Vec<&Server>, Vec<&Server>) =
            draft.servers.iter().partition(|server| is_dead(server, &draft.servers));
        // Dead servers do not serve, so nothing depends on them.
        for usable in &mut self.usable {
            for server in &dead {
                usable.remove(&server.id);
            }
        }
        let forecasts = self.without(&draft, &out)?;
        self.put_in(&alive);
        let takers = self.takers();
        let servers = draft.servers.iter().map(|server| self.lane_server(server, &out, &takers));
        Ok(Lane {
            servers: servers.collect::<Result<_, _>>()?,
            role: draft.role(),
            steps: draft.steps(self.policy.keep),
            cause: draft.cause,
            replacement: draft.replacement,
            forecasts,
        })
    }

    /// Checks that the other servers can carry the traffic of a lane, and returns where it goes.
    fn without(&self, draft: &LaneDraft, out: &BTreeSet<ServerId>) -> Result<Vec<Forecast>, Refusal> {
        let mut forecasts = Vec::new();
        for balance in self.balances.iter().filter(|b| b.has_any(out)) {
            let before = self.forecasts(balance, &BTreeSet::new());
            let after = self.forecasts(balance, out);
            for ((seen, before), after) in self.load_balancers.iter().zip(before).zip(after) {
                floor::check(balance, &before, &after, out, self.policy.floor)
                    .map_err(|refusal| self.with_out_of_service_servers(refusal))?;
                floor::check_room(balance, &before, &after, seen, self.policy)?;
                let takeover = floor::takeover_servers(&before, &after, self.policy.floor);
                self.takeover_servers_answer(draft, takeover)?;
                if !forecasts.contains(&after) {
                    forecasts.push(after);
                }
            }
        }
        Ok(forecasts)
    }

    /// Puts the servers of a lane in rotation, as they are after it.
    fn put_in(&mut self, servers: &[&Server]) {
        let back: Vec<&&Server> = servers.iter().filter(|server| self.kept_state(server).is_none()).collect();
        for server in back {
            // A weight of 0 stays, and a new container may not change what an agent says.
            let is_down_by_agent = server.state.as_ref().is_some_and(ServerState::is_down_by_agent);
            if weight(server) > 0 && !is_down_by_agent {
                for usable in &mut self.usable {
                    usable.insert(server.id.clone(), weight(server));
                }
            }
        }
        self.proved.extend(servers.iter().map(|server| server.id.clone()));
    }

    /// Returns the servers that get traffic now.
    fn takers(&self) -> BTreeSet<ServerId> {
        let is_published =
            |balance: &&Balance| self.load_balancers.iter().any(|seen| balance.is_published(seen));
        let published = self.balances.iter().filter(is_published);
        let everywhere = published.flat_map(|balance| self.forecasts(balance, &BTreeSet::new()));
        everywhere.flat_map(|forecast| forecast.shares).map(|share| share.server).collect()
    }

    /// Returns the state out of service in which a server stays.
    fn kept_state(&self, server: &Server) -> Option<AdminState> {
        self.policy.scope.kept_state(server, self.left_out)
    }

    /// Returns a server of a lane whose servers are `out`; `takers` get traffic after it.
    fn lane_server(
        &self,
        server: &Server,
        out: &BTreeSet<ServerId>,
        takers: &BTreeSet<ServerId>,
    ) -> Result<LaneServer, Refusal> {
        // The previous version may not know this probe.
        let also = self.policy.probe.as_ref().filter(|_| self.purpose == RunKind::Deploy);
        let silence = self.policy.silence_check.is_made_for(&server.id.backend);
        let line = lane_server(server, also, takers.contains(&server.id))?;
        // The check of another container says nothing about this one.
        let is_its_own = |check: &OwnCheck| check.tracks.as_ref().is_none_or(|tracked| out.contains(tracked));
        Ok(LaneServer {
            silence: line.silence.filter(|_| silence),
            own_check: line.own_check.filter(is_its_own),
            agents: with_agent(self.load_balancers, &server.id, Checking::On),
            agents_off: if self.left_out.contains(&server.id) {
                // The run that left it out turned the agent off.
                Vec::new()
            } else {
                with_agent(self.load_balancers, &server.id, Checking::Off)
            },
            stays: self.kept_state(server),
            ..line
        })
    }

    /// Adds the servers that `--enable` could put in service, if too few would serve.
    pub(super) fn with_out_of_service_servers(&self, mut refusal: Refusal) -> Refusal {
        if let Refusal::Floor { backend, out, stays_out, .. } = &mut refusal {
            let others =
                self.servers.values().filter(|it| it.id.backend == *backend && !out.contains(&it.id));
            let kept = |it: &&&Server| self.kept_state(it).is_some();
            let with_container = others.filter(|it| it.container().is_some() && !it.has_agent()).filter(kept);
            stays_out.extend(with_container.map(|it| it.id.clone()));
        }
        refusal
    }

    pub(super) fn takeover_servers_answer<'c>(
        &self,
        draft: &LaneDraft,
        carriers: impl Iterator<Item = &'c ServerId>,
    ) -> Result<(), Refusal> {
        for carrier in carriers.filter(|carrier| !self.proved.contains(*carrier)) {
            // A surge server is proved before it joins.
            let Some(carrier) = self.servers.get(carrier) else { continue };
            if self.policy.scope.is_haproxys(carrier) {
                continue;
            }
            if let (false, Some(answer)) = (carrier.answers(), &carrier.answer) {
                return Err(Refusal::TakeoverServerDown {
                    server: draft.servers[0].id.clone(),
                    carrier: carrier.id.clone(),
                    answer: answer.detail().to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// Returns the load balancers at which the server's agent has this status.
pub(super) fn with_agent(
    load_balancers: &[LoadBalancerState],
    server: &ServerId,
    agent: Checking,
) -> Vec<String> {
    let has_it =
        |seen: &&LoadBalancerState| seen.server(server).is_some_and(|state| state.checks.agent == agent);
    load_balancers.iter().filter(has_it).map(|seen| seen.name.clone()).collect()
}

pub(super) fn weight(server: &Server) -> u32 {
    server.state.as_ref().map_or(0, |state| state.weight)
}

pub(super) fn lane_server(
    server: &Server,
    also: Option<&ProbeUrl>,
    takes_traffic: bool,
) -> Result<LaneServer, Refusal> {
    let probe = server.probe.clone().ok_or_else(|| no_address(server))?;
    Ok(LaneServer {
        id: server.id.clone(),
        also: also.zip(server.address()).map(|(url, address)| url.of(address, server.tls, probe.timeout)),
        probe,
        own_check: server.own_check.clone(),
        silence: server.silence.clone(),
        was: admin(server),
        stays: None,
        agents: Vec::new(),
        agents_off: Vec::new(),
        sessions: server.state.as_ref().map_or(0, |state| state.sessions),
        served: server.is_usable() && server.answers(),
        before: Some(Before::of(server)),
        takes_traffic,
        rule: server.rule(),
        address: server.address(),
        host_name: server.host_name.clone(),
    })
}
