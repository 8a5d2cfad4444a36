//! The containers that runs have kept for a rollback.

use crate::observation::{Container, Published};
use crate::topology::matching::ContainerRole;

/// Returns the containers that runs kept of the container with this name, the latest first. A running container does
/// not count as kept, nor one that a run created beside another one.
#[must_use]
pub fn kept<'a>(containers: &'a [Container], name: &str) -> Vec<&'a Container> {
    let run = |container: &'a Container| {
        let (of, run) = ContainerRole::Previous.read(&container.name)?;
        let is_kept = container.state.is_idle() && container.surge.run().is_none();
        (of == name && is_kept).then_some((run, container))
    };
    let mut kept: Vec<(&str, &Container)> = containers.iter().filter_map(run).collect();
    kept.sort_by(|(a, _), (b, _)| b.cmp(a));
    kept.into_iter().map(|(_, container)| container).collect()
}

/// Returns the kept containers of one name, the latest first, that exceed the number to keep for each place.
#[must_use]
pub fn surplus<'a>(kept: &[&'a Container], keep: usize) -> Vec<&'a Container> {
    let is_surplus = |(index, container): &(usize, &&Container)| {
        let newer = kept[..*index].iter().filter(|newer| may_share_place(container, &newer.published));
        newer.count() >= keep
    };
    kept.iter().enumerate().filter(is_surplus).map(|(_, container)| *container).collect()
}

/// Returns whether a kept container may come from the place with these published ports. An operator can swap the names
/// of two servers' containers, but each keeps its ports. Without ports on both sides only the name counts.
#[must_use]
pub fn may_share_place(kept: &Container, ports: &[Published]) -> bool {
    let is_same = |one: &Published, other: &Published| {
        let is_everywhere = one.ip.is_unspecified() || other.ip.is_unspecified();
        one.port == other.port && (one.ip == other.ip || is_everywhere)
    };
    let is_there = |it: &Published| ports.iter().any(|port| is_same(port, it));
    kept.published.is_empty() || ports.is_empty() || kept.published.iter().any(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::RunId;
    use crate::observation::{ContainerState, SurgeLabel};
    use crate::testing::World;

    #[test]
    fn containers_of_swapped_names_do_not_displace_each_other() {
        let model = &World::pair().observation.containers[0];
        let port = |port| Published { port, ..model.published[0] };
        let kept = |name: &str, ports: &[Published]| Container {
            name: name.to_owned(),
            published: ports.to_vec(),
            ..model.clone()
        };
        let all =
            [kept("new", &[port(1)]), kept("other", &[port(2)]), kept("old", &[port(1)]), kept("any", &[])];
        let kept: Vec<&Container> = all.iter().collect();
        let names = |keep| surplus(&kept, keep).iter().map(|it| it.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names(1), ["old", "any"]);
        assert_eq!(names(2), ["any"]);
        assert_eq!(names(0), ["new", "other", "old", "any"]);
    }

    #[test]
    fn kept_containers_are_idle_and_the_latest_comes_first() {
        let mut world = World::pair();
        let model = world.observation.containers[0].clone();
        for (name, state) in [
            ("mobile-app1.old-20261123T221500.000Z", ContainerState::Stopped),
            ("mobile-app1.old-20261124T221500.000Z", ContainerState::Stopped),
            ("mobile-app1.old-20261125T221500.000Z", ContainerState::Running),
            ("mobile-app2.old-20261126T221500.000Z", ContainerState::Stopped),
            ("mobile-app1.new-20261126T221500.000Z", ContainerState::Created),
        ] {
            world.observation.containers.push(Container { name: name.to_owned(), state, ..model.clone() });
        }
        let surge = SurgeLabel::Of(RunId("20261127T221500.000Z".to_owned()));
        world.observation.containers.push(Container {
            name: "mobile-app1.old-20261127T221500.000Z".to_owned(),
            state: ContainerState::Stopped,
            surge,
            ..model.clone()
        });
        let kept = kept(&world.observation.containers, "mobile-app1");
        let runs: Vec<&str> = kept.iter().map(|it| it.name.rsplit_once('-').unwrap().1).collect();
        assert_eq!(runs, ["20261124T221500.000Z", "20261123T221500.000Z"]);
    }

    #[test]
    fn a_kept_container_shares_a_place_if_both_publish_a_port_of_the_same_address() {
        let model = &World::pair().observation.containers[0];
        let port = |address: &str| {
            let address: std::net::SocketAddr = address.parse().unwrap();
            Published { ip: address.ip(), port: address.port(), ..model.published[0] }
        };
        let shares = |one: &str, other: &str| {
            let kept = Container { published: vec![port(one)], ..model.clone() };
            may_share_place(&kept, &[port(other)])
        };
        assert!(shares("127.0.0.1:80", "127.0.0.1:80"));
        assert!(!shares("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!shares("127.0.0.1:80", "127.0.0.2:80"));
        assert!(shares("0.0.0.0:80", "127.0.0.2:80") && shares("127.0.0.1:80", "0.0.0.0:80"));
        assert!(may_share_place(&Container { published: vec![port("127.0.0.1:80")], ..model.clone() }, &[]));
    }
}
