//! Detects runs of other state directories, on this host or another. They hold none of this site's locks, so only the
//! containers that they put aside reveal them.

use std::collections::BTreeSet;

use super::{Lane, Plan, Replacement};
use crate::model::ids::{RunId, ServerId};
use crate::observation::{AdminState, Container, Observation};
use crate::plan::refusal::Refusal;
use crate::topology::matching::{ContainerRole, MatchResult};
use crate::topology::{Server, Topology};

/// Returns a refusal for every lane on which another run is at work, or was killed.
///
/// A new container that has not been started yet always reveals its run, by its temporary name. A container named
/// `.old-` counts only while its run has such a new container on any server, or while one of the lane's servers is
/// out of service; otherwise it is merely kept for a rollback. Runs of this state directory are left to their
/// journals and locks.
#[must_use]
pub fn refusals(lanes: &[Lane], observation: &Observation) -> Vec<Refusal> {
    let (all, known) = (&observation.containers, &observation.known_runs);
    let refusal = |lane: &Lane| {
        let place = lane.replacement.as_ref()?;
        let goes_on = |run: &str| {
            all.iter().any(|it| ContainerRole::Candidate.read(&it.name).is_some_and(|(_, its)| its == run))
        };
        let is_at_work = |container: &&Container| {
            let Some((of, run)) = put_aside_by_unknown_run(container, known) else { return false };
            let is_here = container.engine == place.like.engine && of == place.name;
            let is_new = ContainerRole::Candidate.read(&container.name).is_some();
            is_here && (is_new || is_out(lane, observation) || goes_on(run))
        };
        all.iter().find(is_at_work).map(|container| other_run(lane, container))
    };
    lanes.iter().filter_map(refusal).collect()
}

/// Returns the servers whose containers were put aside by a run that is not `known` here. Such servers were not taken
/// out of service by hand.
#[must_use]
pub fn servers_in_flight(
    topology: &Topology,
    observation: &Observation,
    known: &BTreeSet<RunId>,
) -> BTreeSet<ServerId> {
    let all = observation.containers.iter();
    let aside: BTreeSet<(&str, &str)> =
        all.filter_map(|it| Some((it.engine.as_str(), put_aside_by_unknown_run(it, known)?.0))).collect();
    let is_in_hand = |server: &&Server| match &server.behind {
        MatchResult::Container(found) => aside.contains(&(&*found.container.engine, &*found.container.name)),
        MatchResult::Gone { like, name, .. } | MatchResult::Described { like, name, .. } => {
            aside.contains(&(&*like.engine, &**name))
        }
        MatchResult::Unmatched { .. } | MatchResult::Ambiguous { .. } => false,
    };
    let servers = topology.backends.iter().flat_map(|backend| &backend.servers);
    servers.filter(is_in_hand).map(|server| server.id.clone()).collect()
}

/// Returns the place that a container was put aside for and the run that did so, unless the run is `known` here.
fn put_aside_by_unknown_run<'c>(
    container: &'c Container,
    known: &BTreeSet<RunId>,
) -> Option<(&'c str, &'c str)> {
    let aside = ContainerRole::Candidate
        .read(&container.name)
        .or_else(|| ContainerRole::Previous.read(&container.name));
    aside.filter(|(_, run)| !known.iter().any(|known| known.0 == *run))
}

/// Returns a refusal if another run has put a container of a lane aside since the plan was made. Called once the
/// plan's own new containers exist on `engine`.
#[must_use]
pub fn competing_run(plan: &Plan, engine: &str, containers: &[Container]) -> Option<Refusal> {
    plan.lanes.iter().find_map(|lane| {
        let place = lane.replacement.as_ref().filter(|place| place.like.engine == engine)?;
        let other = containers.iter().find(|container| is_put_aside(plan, place, container))?;
        Some(other_run(lane, other))
    })
}

/// Returns whether another run put the container aside: as its new container for that place, or as the old one that
/// this run replaces.
fn is_put_aside(plan: &Plan, place: &Replacement, container: &Container) -> bool {
    let is_of_another = |aside: ContainerRole| {
        aside.read(&container.name).is_some_and(|(of, run)| of == place.name && run != plan.run.0)
    };
    let is_replaced =
        place.old.as_ref().is_some_and(|old| old.id == container.id && old.name != container.name);
    is_of_another(ContainerRole::Candidate) || is_replaced && is_of_another(ContainerRole::Previous)
}

fn is_out(lane: &Lane, observation: &Observation) -> bool {
    let ids = lane.ids();
    let mut states = observation.load_balancers.iter().flat_map(|seen| &seen.servers);
    states.any(|state| ids.contains(&state.id) && state.admin.state() != AdminState::Ready)
}

fn other_run(lane: &Lane, container: &Container) -> Refusal {
    Refusal::ConcurrentRun { server: lane.name().clone(), container: container.name.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::ContainerState;
    use crate::testing::World;

    const RUN: &str = "20261123T220000.000Z";

    /// Returns the servers at which a deploy of v2 finds another run.
    fn found(world: &World, known: &[&str]) -> Vec<String> {
        let mut world = world.clone();
        world.observation.known_runs = known.iter().map(|run| RunId((*run).to_owned())).collect();
        let server = |refusal| {
            let Refusal::ConcurrentRun { server, .. } = refusal else { panic!("{refusal}") };
            server.to_string()
        };
        world.plan("v2").err().unwrap_or_default().into_iter().map(server).collect()
    }

    fn aside(world: World, like: &str, aside: ContainerRole) -> World {
        let name = aside.name(like, &RunId(RUN.to_owned()));
        world.another(like, &name, |it| it.state = ContainerState::Stopped)
    }

    #[test]
    fn a_new_container_of_another_run_reveals_all_that_the_run_put_aside() {
        assert_eq!(found(&World::origin(), &[]), [""; 0]);
        let world = aside(World::origin(), "mobile-app2", ContainerRole::Candidate);
        assert_eq!(found(&world, &[]), ["mobile/app2"]);
        assert_eq!(found(&world, &[RUN]), [""; 0], "a run of this site has a journal");
        assert_eq!(
            found(&aside(world, "mobile-app1", ContainerRole::Previous), &[]),
            ["mobile/app1", "mobile/app2"]
        );
    }

    /// A server that another run took out was not taken out by hand, so the plan is made and then refused for that
    /// run.
    #[test]
    fn servers_of_another_run_do_not_count_as_taken_out_by_hand() {
        let world = aside(World::pair().maint("mobile/app1"), "mobile-app1", ContainerRole::Candidate);
        assert!(matches!(world.plan("v2").unwrap_err()[..], [Refusal::Floor { .. }]), "app1 stays out");
        let in_hand = |known: &[RunId]| {
            servers_in_flight(&world.topology(), &world.observation, &known.iter().cloned().collect())
        };
        assert_eq!(in_hand(&[RunId(RUN.to_owned())]), BTreeSet::new());
        let name = ContainerRole::Candidate.name("mobile-app1", &RunId(RUN.to_owned()));
        let elsewhere = World::pair().maint("mobile/app1").another("mobile-app1", &name, |it| {
            (it.state, it.engine) = (ContainerState::Stopped, "ssh://app9".to_owned());
        });
        let of_another_engine =
            super::servers_in_flight(&elsewhere.topology(), &elsewhere.observation, &BTreeSet::new());
        assert_eq!(of_another_engine, BTreeSet::new(), "another engine has another container of that name");
        let mut left_out = aside(World::pair().maint("mobile/app1"), "mobile-app1", ContainerRole::Candidate);
        left_out.observation.left_out = in_hand(&[]);
        assert_eq!(found(&left_out, &[]), ["mobile/app1"]);
    }

    #[test]
    fn an_old_container_alone_is_kept_unless_its_server_is_out() {
        let kept = aside(World::origin(), "mobile-app1", ContainerRole::Previous);
        assert_eq!(found(&kept, &[]), [""; 0]);
        let out = kept.maint("mobile/app1");
        assert_eq!(found(&out, &[]), ["mobile/app1"]);
        assert_eq!(found(&out, &[RUN]), [""; 0], "a run of ours keeps it");
    }

    #[test]
    fn two_runs_that_start_at_once_see_each_other_but_not_themselves() {
        let world = World::pair();
        let plan = world.plan("v2").unwrap();
        let rival = |world: &World| competing_run(&plan, "", &world.observation.containers).is_some();
        let own = ContainerRole::Candidate.name("mobile-app1", &plan.run);
        let alone = world.another("mobile-app1", &own, |_| {});
        assert!(!rival(&alone));
        assert!(rival(&aside(alone, "mobile-app1b", ContainerRole::Candidate)));
    }

    #[test]
    fn containers_put_aside_are_found_after_the_other_run_has_ended() {
        let plan = World::pair().plan("v2").unwrap();
        let renamed = |name: String| {
            let world = World::pair().container("mobile-app1", |it| it.name = name);
            competing_run(&plan, "", &world.observation.containers).is_some()
        };
        assert!(renamed(ContainerRole::Previous.name("mobile-app1", &RunId(RUN.to_owned()))));
        assert!(!renamed(ContainerRole::Previous.name("mobile-app1", &plan.run)), "its own");
    }

    #[test]
    fn another_run_does_not_matter_if_no_container_is_replaced() {
        let put_back =
            |world: World| world.runs("mobile-app1", "v2").drain("mobile/app1").left_out("mobile/app1");
        let both = aside(
            aside(World::origin(), "mobile-app1", ContainerRole::Candidate),
            "mobile-app2",
            ContainerRole::Candidate,
        );
        assert_eq!(found(&put_back(both), &[]), ["mobile/app2"]);
        let world = put_back(aside(World::pair(), "mobile-app1", ContainerRole::Candidate));
        let plan = world.plan("v2").unwrap();
        assert_eq!(competing_run(&plan, "", &world.observation.containers), None);
    }

    #[test]
    fn a_container_of_that_name_on_another_engine_does_not_count() {
        let world = aside(World::origin(), "mobile-app1", ContainerRole::Candidate);
        let name = ContainerRole::Candidate.name("mobile-app1", &RunId(RUN.to_owned()));
        let elsewhere = world.container(&name, |it| it.engine = "ssh://elsewhere".to_owned());
        assert_eq!(found(&elsewhere, &[]), [""; 0]);
        let plan = World::origin().plan("v2").unwrap();
        assert_eq!(competing_run(&plan, "ssh://elsewhere", &elsewhere.observation.containers), None);
    }

    #[test]
    fn a_line_without_a_container_is_in_no_run_s_hands() {
        let lines = "backend mobile\n server app1 127.0.0.1:50000\n server vm 192.0.2.7:80\n";
        let mut world = aside(World::of(lines), "mobile-app1", ContainerRole::Candidate).gone("mobile-vm");
        world.observation.host_addresses.retain(std::net::IpAddr::is_loopback);
        let in_flight = servers_in_flight(&world.topology(), &world.observation, &BTreeSet::new());
        assert_eq!(in_flight, BTreeSet::from(["mobile/app1".parse().unwrap()]));
    }
}
