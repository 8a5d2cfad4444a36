//! Finds obstacles to starting a container in place of another. The engine would only report them at the start, when
//! the old container is already down.

use std::fmt;
use std::net::SocketAddr;

use super::runs;
use crate::model::command_line::shell;
use crate::model::ids::ContainerId;
use crate::observation::{Container, Described, Host, Observation, PinnedAddress, Published};
use crate::plan::Replacement;
use crate::plan::refusal::Refusal;
use crate::topology::Server;

/// An obstacle to starting a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StartObstacle {
    /// One of its networks was removed, or another one has that name now.
    NetworkGone { network: String },
    /// The container whose namespace it uses is not running, or is gone.
    OwnerDown {
        /// The beginning of the identifier.
        owner: String,
    },
    /// A running container has a port or an address that it needs.
    Taken(ResourceHolder),
    /// Its host lacks a device or a mounted path.
    PathGone { path: String },
}

/// A running container, and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResourceHolder {
    name: String,
    /// What another container needs too.
    what: HeldResource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HeldResource {
    Port(Published),
    UdpPort(Published),
    Address(PinnedAddress),
}

impl fmt::Display for StartObstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NetworkGone { network } => {
                write!(f, "its network {network} was removed, or recreated under the same name")
            }
            Self::OwnerDown { owner } => {
                write!(f, "container {owner}, whose namespace it uses, is not running")
            }
            Self::Taken(ResourceHolder { name, what }) => write!(f, "container {name} has {what}"),
            Self::PathGone { path } => write!(f, "{path} does not exist"),
        }
    }
}

impl fmt::Display for HeldResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(Published { ip, port, .. }) => write!(f, "port {}", SocketAddr::new(*ip, *port)),
            Self::UdpPort(Published { ip, port, .. }) => {
                write!(f, "UDP port {}", SocketAddr::new(*ip, *port))
            }
            Self::Address(PinnedAddress { network, address }) => {
                write!(f, "address {address} in network {network}")
            }
        }
    }
}

/// Returns what prevents a kept container from being started again in place of `old`.
pub(super) fn of_kept(
    kept: &Container,
    old: Option<&Container>,
    observation: &Observation,
) -> Option<StartObstacle> {
    let all = &observation.containers;
    if let Some(lost) = kept.networks.iter().find(|it| it.is_gone) {
        return Some(StartObstacle::NetworkGone { network: lost.network.clone() });
    }
    let on_engine = || all.iter().filter(|it| it.engine == kept.engine);
    let is_down = |owner: &&ContainerId| !on_engine().any(|it| it.id == **owner && runs(it));
    if let Some(owner) = kept.lives_in.iter().find(is_down) {
        return Some(StartObstacle::OwnerDown { owner: owner.short().to_owned() });
    }
    let wanted =
        RequestedResources { ports: &kept.published, udp_ports: &kept.published_udp, addresses: given(kept) };
    let host = observation.hosts.get(&kept.engine);
    find_holder(kept, &wanted, old, all)
        .map(StartObstacle::Taken)
        .or_else(|| path_gone(&kept.needs_paths, host).map(|path| StartObstacle::PathGone { path }))
}

/// Returns why the new container of these servers cannot be started.
pub(super) fn of_new(
    replacement: &Replacement,
    servers: &[&Server],
    described: Option<&Described>,
    observation: &Observation,
) -> Option<Refusal> {
    let (old, like) = (replacement.old.as_ref(), &replacement.like);
    let described = described.filter(|_| replacement.described);
    // A running container has all of it itself until the new one takes over.
    let idle = old.filter(|old| old.state.is_idle());
    // A description publishes one TCP port and no UDP port.
    let (ports, udp_ports): (&[_], &[_]) = match (idle, old) {
        (Some(_), _) if described.is_some() => (replacement.publish.as_slice(), &[]),
        (Some(idle), _) => (&idle.published, &idle.published_udp),
        (None, None) => (replacement.publish.as_slice(), &[]),
        (None, Some(_)) => (&[], &[]),
    };
    let addresses = match described {
        Some(described) => described.addresses.clone(),
        None => idle.map_or(Vec::new(), given),
    };
    let wanted = RequestedResources { ports, udp_ports, addresses };
    let (server, container) = (servers[0].id.clone(), replacement.name.clone());
    if let Some(ResourceHolder { name, what }) = find_holder(like, &wanted, old, &observation.containers) {
        return Some(Refusal::ResourceTaken { server, container, what: what.to_string(), holder: name });
    }
    let host = observation.hosts.get(&like.engine);
    let needed = described.map_or(&like.needs_paths, |it| &it.needs_paths);
    let what = network_missing(like)
        .filter(|_| described.is_none())
        .or_else(|| path_gone(needed, host).map(bring_back))?;
    Some(Refusal::WouldNotStart { server, container, what })
}

fn bring_back(path: String) -> String {
    format!("{}. Restore it, or recreate the container without it", StartObstacle::PathGone { path })
}

/// Returns the error for a network that the new container needs and the engine lacks. A network recreated under the
/// same name is fine.
fn network_missing(like: &Container) -> Option<String> {
    let missing = like.networks.iter().find(|it| it.is_missing)?;
    let create = shell(&["docker", "network", "create", &missing.network]);
    Some(format!("its network {} was removed. Recreate it: {create}", missing.network))
}

/// Returns a needed path that the host lacks.
fn path_gone(needed: &[String], host: Option<&Host>) -> Option<String> {
    needed.iter().find(|path| host.is_some_and(|host| host.missing.contains(*path))).cloned()
}

/// What a container needs for itself alone.
struct RequestedResources<'a> {
    ports: &'a [Published],
    udp_ports: &'a [Published],
    addresses: Vec<PinnedAddress>,
}

fn given(container: &Container) -> Vec<PinnedAddress> {
    let given = container.networks.iter().flat_map(|it| {
        it.given.iter().map(|address| PinnedAddress { network: it.network.clone(), address: *address })
    });
    given.collect()
}

/// Returns the running container on the same engine that has one of these ports or addresses. The old container gives
/// its own up.
fn find_holder(
    container: &Container,
    wanted: &RequestedResources<'_>,
    old: Option<&Container>,
    all: &[Container],
) -> Option<ResourceHolder> {
    let is_other =
        |it: &&Container| it.engine == container.engine && runs(it) && old.is_none_or(|old| old.id != it.id);
    all.iter().filter(is_other).find_map(|other| {
        let port = wanted.ports.iter().find(|port| other.published.iter().any(|it| overlap(port, it)));
        let udp_port =
            wanted.udp_ports.iter().find(|port| other.published_udp.iter().any(|it| overlap(port, it)));
        let has = |it: &&PinnedAddress| {
            let there = other.networks.iter().find(|network| network.network == it.network);
            there.is_some_and(|network| network.addresses.contains(&it.address))
        };
        let what = (port.map(|port| HeldResource::Port(*port)))
            .or_else(|| udp_port.map(|port| HeldResource::UdpPort(*port)))
            .or_else(|| wanted.addresses.iter().find(has).cloned().map(HeldResource::Address))?;
        Some(ResourceHolder { name: other.name.clone(), what })
    })
}

/// Returns whether two published ports conflict.
fn overlap(one: &Published, other: &Published) -> bool {
    let is_same_kind = one.ip.is_ipv4() == other.ip.is_ipv4();
    let overlaps = one.ip == other.ip || one.ip.is_unspecified() || other.ip.is_unspecified();
    one.port == other.port && is_same_kind && overlaps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::ids::ServerId;
    use crate::observation::ContainerState;
    use crate::plan::{RollbackTarget, RunKind, Target};
    use crate::testing::{World, image};

    const KEPT: &str = "mobile-app1.old-20261122T100000.000000Z";

    fn address(text: &str) -> std::net::IpAddr {
        text.parse().unwrap()
    }

    /// Returns whether a rollback starts the kept container of mobile/app1 again, and otherwise its warnings.
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
        let returned = RollbackTarget { image: image("v1"), container: kept, engine: String::new() };
        let target = Target::Each(BTreeMap::from([(ServerId::new("mobile", "app1"), returned)]));
        let plan = others(world).plan_for(RunKind::Rollback, target).unwrap();
        (plan.lanes[0].replacement.as_ref().unwrap().returning.is_some(), plan.warnings.join("\n"))
    }

    /// Adds another running container.
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
    fn a_kept_container_that_cannot_be_started_is_created_again() {
        assert_eq!(comes_back(|_| {}, |world| world), (true, String::new()));
        let said = |why: &str| {
            (false, format!("{KEPT} cannot be started again ({why}): a new one is created in its place"))
        };
        let lost = comes_back(|kept| kept.networks[0].is_gone = true, |world| world);
        assert_eq!(lost, said("its network bridge was removed, or recreated under the same name"));
        let owner = ContainerId("cd".repeat(32));
        let lives_there = |kept: &mut Container| kept.lives_in = vec![owner.clone()];
        let down = "container cdcdcdcdcdcd, whose namespace it uses, is not running";
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
        let taken = said("container worker has port 127.0.0.1:9090");
        assert_eq!(comes_back(two_ports, holds("127.0.0.1:9090")), taken);
        assert_eq!(comes_back(two_ports, holds("0.0.0.0:9090")), taken);
        for free in ["127.0.0.2:9090", "127.0.0.1:9091", "[::]:9090"] {
            assert!(comes_back(two_ports, holds(free)).0, "{free}");
        }
        let fixed = |kept: &mut Container| kept.networks[0].given = vec![address("172.17.0.99")];
        let has = |text: &'static str| {
            move |world| beside(world, |it| it.networks[0].addresses = vec![address(text)])
        };
        let taken = "container worker has address 172.17.0.99 in network bridge";
        assert_eq!(comes_back(fixed, has("172.17.0.99")), said(taken));
        assert!(comes_back(fixed, has("172.17.0.98")).0);
        let udp = |kept: &mut Container| kept.published_udp = vec![published("127.0.0.1:9090")];
        assert!(comes_back(udp, holds("127.0.0.1:9090")).0, "that is TCP");
        let holds_udp = |world| beside(world, |it| it.published_udp = vec![published("0.0.0.0:9090")]);
        assert_eq!(comes_back(udp, holds_udp), said("container worker has UDP port 127.0.0.1:9090"));
        // The container that it replaces gives its address up.
        assert!(comes_back(|kept| kept.networks[0].given = vec![address("172.17.0.2")], |world| world).0);
        let elsewhere = |world| {
            beside(world, |it| {
                (it.published, it.engine) = (vec![published("127.0.0.1:9090")], "ssh://other".to_owned());
            })
        };
        assert!(comes_back(two_ports, elsewhere).0);
    }

    #[test]
    fn a_stopped_container_whose_port_is_taken_is_refused() {
        let two_ports = |it: &mut Container| it.published.push(published("127.0.0.1:9090"));
        let holds = |it: &mut Container| it.published = vec![published("0.0.0.0:9090")];
        let up = beside(World::pair().container("mobile-app1", two_ports), holds);
        assert!(up.plan("v2").is_ok(), "it has the port itself");
        let refusals = up.down("mobile/app1").stopped("mobile-app1").plan("v2").unwrap_err();
        assert_eq!(
            refusals.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "cannot start the new container mobile-app1 behind mobile/app1: container worker has port 127.0.0.1:9090. Give one of the two another port or address, or stop worker if nothing needs it"
            ]
        );
    }

    #[test]
    fn a_described_address_that_another_container_has_is_refused() {
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
        // The first server's container has that address, and the second's would need it too.
        let refused = plan("172.17.0.2").unwrap_err();
        assert_eq!(
            refused,
            "cannot start the new container mobile-app1b behind mobile/app1b: container mobile-app1 has address 172.17.0.2 in network bridge. Give one of the two another port or address, or stop mobile-app1 if nothing needs it"
        );
    }

    /// Sets what is known of the default engine's host.
    fn on_host(mut world: World, missing: &str) -> World {
        let missing = missing.split_whitespace().map(str::to_owned).collect();
        world.observation.hosts.insert(String::new(), Host { missing, open_files: None });
        world
    }

    #[test]
    fn a_kept_container_whose_host_lacks_a_path_is_created_again() {
        let said = |why: &str| {
            (false, format!("{KEPT} cannot be started again ({why}): a new one is created in its place"))
        };
        let device = |kept: &mut Container| kept.needs_paths = vec!["/dev/video0".to_owned()];
        let lacks = |path: &'static str| move |world| on_host(world, path);
        assert_eq!(comes_back(device, lacks("/dev/video0")), said("/dev/video0 does not exist"));
        assert!(comes_back(device, lacks("/dev/video1")).0);
    }

    #[test]
    fn missing_host_paths_are_found_before_the_running_container_is_touched() {
        let refused = |world: World| match world.plan("v2") {
            Ok(_) => String::new(),
            Err(refusals) => refusals[0].to_string(),
        };
        let device = |it: &mut Container| it.needs_paths = vec!["/dev/video0".to_owned()];
        let world = |missing| on_host(World::pair(), missing).container("mobile-app1", device);
        assert_eq!(refused(world("/dev/video1")), "");
        assert_eq!(
            refused(world("/dev/video0")),
            "cannot start the new container mobile-app1 behind mobile/app1: /dev/video0 does not exist. Restore it, or recreate the container without it"
        );
        let mut described = world("/dev/video0 /srv/data");
        let wanted = Described { port: 8080, ..Described::default() };
        described.observation.described.insert("mobile".to_owned(), wanted.clone());
        assert_eq!(refused(described.clone()), "", "the description does without it");
        let wanted = Described { needs_paths: vec!["/srv/data".to_owned()], ..wanted };
        described.observation.described.insert("mobile".to_owned(), wanted);
        assert!(refused(described).contains("/srv/data does not exist"));
        let elsewhere = |it: &mut Container| it.engine = "ssh://other".to_owned();
        assert_eq!(refused(world("/dev/video0").container("mobile-app1", elsewhere)), "");
    }

    #[test]
    fn a_stopped_container_whose_network_was_removed_is_not_replaced() {
        let plan = |is_missing| {
            let lost = |it: &mut Container| {
                (it.networks[0].is_gone, it.networks[0].is_missing) = (true, is_missing);
                it.networks[0].network = "front".to_owned();
            };
            let world = World::pair().down("mobile/app1").stopped("mobile-app1");
            world.container("mobile-app1", lost).plan("v2").map_err(|refusals| refusals[0].to_string())
        };
        assert!(plan(false).is_ok(), "the new one gets that of the same name");
        assert_eq!(
            plan(true).unwrap_err(),
            "cannot start the new container mobile-app1 behind mobile/app1: its network front was removed. Recreate it: docker network create front"
        );
    }
}
