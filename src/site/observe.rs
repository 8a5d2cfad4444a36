//! A timestamped snapshot of the load balancers, engines and servers, taken through the ports.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use futures_util::future::{join_all, try_join_all};

use super::Site;
use crate::cfg::Configuration;
use crate::model::ids::{ContainerId, RunId, ServerId};
use crate::model::image::Image;
use crate::model::probe::{Probe, distinct};
use crate::observation::ContainerChange;
use crate::observation::{Answer, Container, Described, Host, LoadBalancerState, Observation};
use crate::plan::{Goal, LbQuorum, Replacement, RunKind, other_runs};
use crate::ports::{ContainerEngine, EngineError, Hooks, LoadBalancer, LoadBalancerError, Prober, WallClock};
use crate::service::create_spec::CreateSpec;
use crate::topology::matching::MatchResult;
use crate::topology::places::Places;
use crate::topology::{self, Backend, Topology};

/// What the journals tell of earlier runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastRuns {
    /// The servers that runs of this site have left out of service.
    pub left_out: BTreeSet<ServerId>,
    /// The runs in this state directory.
    pub known: BTreeSet<RunId>,
}

/// An error while taking a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObserveError {
    #[error(transparent)]
    LoadBalancer(#[from] LoadBalancerError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks> Site<L, E, P, C, H> {
    /// Collects the state of everything, and interprets it for the configuration. `places` maps each server to its
    /// engine, and to its container if the settings name one.
    pub async fn observe(
        &self,
        configuration: &Configuration,
        places: &Places,
        quorum: LbQuorum,
    ) -> Result<(Observation, Topology), ObserveError> {
        let at = self.clock.now();
        let load_balancers = load_balancer_states(&self.load_balancers, quorum).await?;
        let engines = topology::engines(configuration, &load_balancers, places);
        let containers = self.containers().await?;
        // If the settings assign a server's host to an engine, they assign its address too.
        let mut host_addresses: BTreeSet<IpAddr> = load_balancers
            .iter()
            .flat_map(|seen| engines.keys().filter_map(|id| Some(seen.server(id)?.address?.ip())))
            .collect();
        if let Ok(engine) = self.engines.named("") {
            let addresses =
                load_balancers.iter().flat_map(|seen| topology::addresses(configuration, seen)).collect();
            host_addresses.extend(engine.host_addresses(addresses).await?);
        }
        let described: BTreeMap<String, Described> = self
            .descriptions
            .iter()
            .filter_map(|(backend, it)| Some((backend.clone(), it.described()?)))
            .collect();
        let hosts = self.hosts(&containers, &described).await;
        let probes = topology::probes(configuration, &load_balancers[0]);
        let answered = self.answers(probes.iter().map(|(_, probe)| probe)).await;
        let answers = probes.iter().map(|(server, probe)| (server.clone(), answered[probe].clone()));
        let mut observation = Observation {
            at,
            load_balancers,
            containers,
            engines,
            named: places.servers.names(),
            described,
            drift: BTreeMap::new(),
            host_addresses,
            answers: answers.collect(),
            occupied: BTreeSet::new(),
            hosts,
            left_out: BTreeSet::new(),
            known_runs: BTreeSet::new(),
        };
        let mut topology = Topology::new(configuration, &observation);
        observation.occupied = self.occupied(&topology).await;
        if !observation.occupied.is_empty() {
            topology = Topology::new(configuration, &observation);
        }
        Ok((observation, topology))
    }

    /// Observes everything that the plan of a goal depends on. `past` is what the journals tell of earlier runs.
    pub async fn observe_for(
        &self,
        configuration: &Configuration,
        places: &Places,
        goal: &Goal,
        past: PastRuns,
    ) -> Result<(Observation, Topology), ObserveError> {
        let (observation, topology) = self.observe(configuration, places, goal.policy.lb_quorum).await?;
        let PastRuns { mut left_out, known } = past;
        left_out.extend(other_runs::servers_in_flight(&topology, &observation, &known));
        let described = topology.backend(&goal.backend).filter(|_| goal.purpose == RunKind::Deploy);
        let drift = self.drift(described.into_iter()).await?;
        Ok((Observation { drift, left_out, known_runs: known, ..observation }, topology))
    }

    /// Returns the servers for which a container could be created but whose address accepts connections: a program
    /// that does not answer as the server should may still be another program.
    async fn occupied(&self, topology: &Topology) -> BTreeSet<ServerId> {
        let servers = topology.backends.iter().flat_map(|backend| &backend.servers);
        let free = servers
            .filter(|it| matches!(it.behind, MatchResult::Gone { .. } | MatchResult::Described { .. }));
        let probes: Vec<(&ServerId, Probe)> =
            free.filter_map(|server| Some((&server.id, Probe::connects(server.address()?)))).collect();
        let answered = self.answers(probes.iter().map(|(_, probe)| probe)).await;
        probes.iter().filter(|(_, probe)| answered[probe].is_ready()).map(|(id, _)| (*id).clone()).collect()
    }

    /// Returns the answer to each probe. Sends all probes at once, and each distinct one only once.
    async fn answers<'p>(&self, probes: impl Iterator<Item = &'p Probe>) -> HashMap<&'p Probe, Answer> {
        let asked = distinct(probes).map(async |probe| (probe, self.prober.probe(probe).await));
        join_all(asked).await.into_iter().collect()
    }

    /// Returns every container of every engine.
    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        let containers = self.engines.all().map(async |(name, engine)| {
            let mut containers = engine.containers().await?;
            for container in &mut containers {
                name.clone_into(&mut container.engine);
            }
            Ok::<_, EngineError>(containers)
        });
        Ok(try_join_all(containers).await?.into_iter().flatten().collect())
    }

    /// Returns what is certain about each engine's host and matters to one of these containers.
    async fn hosts(
        &self,
        containers: &[Container],
        described: &BTreeMap<String, Described>,
    ) -> BTreeMap<String, Host> {
        let hosts = self.engines.all().map(async |(name, engine)| {
            let of_engine = containers.iter().filter(|it| it.engine == name);
            let needed = of_engine.flat_map(|it| &it.needs_paths);
            // It does not matter on which of the engines a described container runs.
            let paths = needed.chain(described.values().flat_map(|it| &it.needs_paths)).cloned().collect();
            (name.to_owned(), engine.host(paths).await)
        });
        join_all(hosts).await.into_iter().collect()
    }

    /// Returns how each container behind a described backend differs from its description.
    pub async fn drift<'a>(
        &self,
        backends: impl Iterator<Item = &'a Backend>,
    ) -> Result<BTreeMap<ContainerId, Vec<ContainerChange>>, EngineError> {
        let mut all = BTreeMap::new();
        for backend in backends {
            let Some(wanted) = self.descriptions.get(&backend.name) else { continue };
            let Some(described) = wanted.described() else { continue };
            for (server, container) in backend.servers.iter().filter_map(|it| Some((it, it.container()?))) {
                let image = Image::Local {
                    reference: container.image_reference.clone(),
                    id: container.image.clone(),
                };
                let replacement = Replacement::described(container, &described, server.address(), &image);
                let recipe = replacement.create_spec(&RunId(String::new()), Some(wanted));
                let recipe = CreateSpec { name: container.name.clone(), ..recipe };
                let changes = self.engines.of(container)?.changes(&recipe).await?;
                all.extend(changes.map(|changes| (container.id.clone(), changes)));
            }
        }
        Ok(all)
    }
}

/// Returns the state of each load balancer. One that does not answer is an error, or is left out if the quorum allows
/// it.
pub async fn load_balancer_states<L: LoadBalancer>(
    load_balancers: &[L],
    quorum: LbQuorum,
) -> Result<Vec<LoadBalancerState>, LoadBalancerError> {
    let mut seen = Vec::new();
    let mut missing = None;
    for load_balancer in load_balancers {
        match load_balancer.full_state(&[]).await {
            Err(error @ LoadBalancerError::Unreachable { .. }) if quorum == LbQuorum::Reachable => {
                missing = Some(error);
            }
            result => {
                let named = |error: LoadBalancerError| error.at(load_balancer.name(), load_balancers.len());
                seen.push(result.map_err(named)?);
            }
        }
    }
    match missing {
        Some(error) if seen.is_empty() => Err(error),
        Some(_) | None => Ok(seen),
    }
}
