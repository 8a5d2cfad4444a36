//! What would keep a container from being started in the place of another one. The engine finds it at the start only,
//! when the old container is down.

use std::fmt;
use std::net::IpAddr;

use super::runs;
use crate::ids::ContainerId;
use crate::observation::{Container, Described, PinnedAddress, Published};
use crate::plan::Replacement;
use crate::plan::refusal::Refusal;
use crate::topology::Server;

/// What is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// One of its networks was removed, or another one has that name by now.
    NetworkGone {
        /// Its name.
        network: String,
    },
    /// The container whose namespace it uses does not run, or is gone.
    OwnerDown {
        /// The beginning of that one's identifier.
        owner: String,
    },
    /// A container that runs has a port or an address that it would have.
    Taken(Holder),
}

/// A container that runs, and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// Its name.
    name: String,
    /// What another container would have too.
    what: Held,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    Port(Published),
    Address(PinnedAddress),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NetworkGone { network } => {
                write!(f, "its network {network} was removed, or made anew under the same name")
            }
            Self::OwnerDown { owner } => {
                write!(f, "the container {owner}, whose namespace it uses, does not run")
            }
            Self::Taken(Holder { name, what }) => write!(f, "the container {name} has {what}"),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(Published { ip: IpAddr::V6(ip), port, .. }) => write!(f, "the port [{ip}]:{port}"),
            Self::Port(Published { ip, port, .. }) => write!(f, "the port {ip}:{port}"),
            Self::Address(PinnedAddress { network, address }) => {
                write!(f, "the address {address} in the network {network}")
            }
        }
    }
}

/// What keeps a container that an earlier run has kept from being started again in this one's place.
pub(super) fn of_kept(kept: &Container, old: Option<&Container>, all: &[Container]) -> Option<Obstacle> {
    if let Some(lost) = kept.networks.iter().find(|it| it.is_gone) {
        return Some(Obstacle::NetworkGone { network: lost.network.clone() });
    }
    let on_engine = || all.iter().filter(|it| it.engine == kept.engine);
    let is_down = |owner: &&ContainerId| !on_engine().any(|it| it.id == **owner && runs(it));
    if let Some(owner) = kept.lives_in.iter().find(is_down) {
        return Some(Obstacle::OwnerDown { owner: owner.short().to_owned() });
    }
    taken(kept, &kept.published, &given(kept), old, all).map(Obstacle::Taken)
}

/// Why the new container of these servers could not be started.
pub(super) fn of_new(
    replacement: &Replacement,
    servers: &[&Server],
    described: Option<&Described>,
    all: &[Container],
) -> Option<Refusal> {
    let old = replacement.old.as_ref();
    // One that is up has all of it itself, until the new one gets it.
    let idle = old.filter(|old| old.state.is_idle());
    let ports = idle.map_or(&[][..], |old| &old.published);
    let addresses = if replacement.described {
        described.map_or(Vec::new(), |it| it.addresses.clone())
    } else {
        idle.map_or(Vec::new(), given)
    };
    let Holder { name, what } = taken(&replacement.like, ports, &addresses, old, all)?;
    Some(Refusal::Taken {
        server: servers[0].id.clone(),
        container: replacement.name.clone(),
        what: what.to_string(),
        holder: name,
    })
}

fn given(container: &Container) -> Vec<PinnedAddress> {
    let given = container.networks.iter().flat_map(|it| {
        it.given.iter().map(|address| PinnedAddress { network: it.network.clone(), address: *address })
    });
    given.collect()
}

/// The container of the same engine that runs and has one of these ports or addresses; the old one gives them up.
fn taken(
    container: &Container,
    ports: &[Published],
    addresses: &[PinnedAddress],
    old: Option<&Container>,
    all: &[Container],
) -> Option<Holder> {
    let is_other =
        |it: &&Container| it.engine == container.engine && runs(it) && old.is_none_or(|old| old.id != it.id);
    all.iter().filter(is_other).find_map(|other| {
        let port = ports.iter().find(|port| other.published.iter().any(|it| meet(port, it)));
        let has = |it: &&PinnedAddress| {
            let there = other.networks.iter().find(|network| network.network == it.network);
            there.is_some_and(|network| network.addresses.contains(&it.address))
        };
        let port = port.map(|port| Held::Port(*port));
        let what = port.or_else(|| addresses.iter().find(has).cloned().map(Held::Address))?;
        Some(Holder { name: other.name.clone(), what })
    })
}

/// Whether two published ports cannot be listened on side by side.
fn meet(one: &Published, other: &Published) -> bool {
    let is_same_kind = one.ip.is_ipv4() == other.ip.is_ipv4();
    let overlaps = one.ip == other.ip || one.ip.is_unspecified() || other.ip.is_unspecified();
    one.port == other.port && is_same_kind && overlaps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ids::ServerId;
    use crate::observation::ContainerState;
    use crate::plan::{Purpose, Returned, Target};
    use crate::testing::{World, image};

    const KEPT: &str = "mobile-app1.old-20261122T100000.000000Z";

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Whether a rollback starts the kept container of mobile/app1 again, and what it says where it does not.
    fn comes_back(
        change: impl FnOnce(&mut Container),
        others: impl FnOnce(World) -> World,
    ) -> (bool, String) {
        let world = World::pair().runs("mobile-app1", "v2").another("mobile-app1", KEPT, |kept| {
            kept.state = ContainerState::Stopped;
            kept.networks.iter_mut().for_each(|network| network.addresses.clear());
            change(kept);
        });
        let kept = world.observation.containers.iter().find(|it| it.name == KEPT).cloned();
        let returned = Returned { image: image("v1"), container: kept, engine: String::new() };
        let target = Target::Each(BTreeMap::from([(ServerId::new("mobile", "app1"), returned)]));
        let plan = others(world).plan_for(Purpose::Rollback, target).unwrap();
        (plan.lanes[0].replacement.as_ref().unwrap().returning.is_some(), plan.warnings.join("\n"))
    }

    /// A container beside the others that runs.
    fn beside(world: World, change: impl FnOnce(&mut Container)) -> World {
        world.another("mobile-app1", "worker", |it| {
            it.published.clear();
            change(it);
        })
    }

    fn published(text: &str) -> Published {
        let address: std::net::SocketAddr = text.parse().unwrap();
        Published { ip: address.ip(), port: address.port(), container_port: 9090 }
    }

    #[test]
    fn a_kept_container_that_could_not_be_started_is_created_anew() {
        assert_eq!(comes_back(|_| {}, |world| world), (true, String::new()));
        let said = |why: &str| {
            (false, format!("{KEPT} cannot be started again ({why}): a new one is created in its place"))
        };
        let lost = comes_back(|kept| kept.networks[0].is_gone = true, |world| world);
        assert_eq!(lost, said("its network bridge was removed, or made anew under the same name"));
        let owner = ContainerId("cd".repeat(32));
        let lives_there = |kept: &mut Container| kept.lives_in = vec![owner.clone()];
        let down = "the container cdcdcdcdcdcd, whose namespace it uses, does not run";
        assert_eq!(comes_back(lives_there, |world| world), said(down));
        let vpn = |state| {
            let owner = owner.clone();
            move |world| beside(world, move |it| (it.id, it.state) = (owner, state))
        };
        assert_eq!(comes_back(lives_there, vpn(ContainerState::Stopped)), said(down));
        assert!(comes_back(lives_there, vpn(ContainerState::Running)).0);
        let two_ports = |kept: &mut Container| kept.published.push(published("127.0.0.1:9090"));
        let holds =
            |port: &'static str| move |world| beside(world, |it| it.published = vec![published(port)]);
        let taken = said("the container worker has the port 127.0.0.1:9090");
        assert_eq!(comes_back(two_ports, holds("127.0.0.1:9090")), taken);
        assert_eq!(comes_back(two_ports, holds("0.0.0.0:9090")), taken);
        for free in ["127.0.0.2:9090", "127.0.0.1:9091", "[::]:9090"] {
            assert!(comes_back(two_ports, holds(free)).0, "{free}");
        }
        let fixed = |kept: &mut Container| kept.networks[0].given = vec![address("172.17.0.99")];
        let has = |text: &'static str| {
            move |world| beside(world, |it| it.networks[0].addresses = vec![address(text)])
        };
        let taken = "the container worker has the address 172.17.0.99 in the network bridge";
        assert_eq!(comes_back(fixed, has("172.17.0.99")), said(taken));
        assert!(comes_back(fixed, has("172.17.0.98")).0);
        // The one that it takes the place of gives its own up.
        assert!(comes_back(|kept| kept.networks[0].given = vec![address("172.17.0.2")], |world| world).0);
        let elsewhere = |world| {
            beside(world, |it| {
                (it.published, it.engine) = (vec![published("127.0.0.1:9090")], "ssh://other".to_owned());
            })
        };
        assert!(comes_back(two_ports, elsewhere).0);
    }

    #[test]
    fn a_stopped_container_whose_port_another_has_by_now_is_not_replaced_by_one_that_would_want_it_too() {
        let two_ports = |it: &mut Container| it.published.push(published("127.0.0.1:9090"));
        let holds = |it: &mut Container| it.published = vec![published("0.0.0.0:9090")];
        let up = beside(World::pair().container("mobile-app1", two_ports), holds);
        assert!(up.plan("v2").is_ok(), "it has the port itself");
        let refusals = up.down("mobile/app1").stopped("mobile-app1").plan("v2").unwrap_err();
        assert_eq!(
            refusals.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "the new container mobile-app1 behind mobile/app1 could not be started: the container worker has the port 127.0.0.1:9090. Give one of the two another port or address, or stop worker if nothing needs it"
            ]
        );
    }

    #[test]
    fn an_address_that_is_described_and_that_another_container_has_is_refused() {
        let described = |text: &str| Described {
            port: 8080,
            addresses: vec![PinnedAddress { network: "bridge".to_owned(), address: address(text) }],
            ..Described::default()
        };
        let plan = |text: &str| {
            let mut world = World::pair();
            world.observation.described.insert("mobile".to_owned(), described(text));
            world.plan("v2").map_err(|refusals| refusals[0].to_string())
        };
        assert!(plan("172.17.0.99").is_ok());
        // It is that of the first server's container, which the second's would want too.
        let refused = plan("172.17.0.2").unwrap_err();
        assert_eq!(
            refused,
            "the new container mobile-app1b behind mobile/app1b could not be started: the container mobile-app1 has the address 172.17.0.2 in the network bridge. Give one of the two another port or address, or stop mobile-app1 if nothing needs it"
        );
    }
}
