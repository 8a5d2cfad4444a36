use super::*;
use crate::model::ids::ContainerId;
use crate::observation::{Attachment, Published};
use crate::testing::World;

const ADDRESS: &str = "172.18.0.7:8080";

/// Returns a server line whose container was found by this rule, and that container.
fn line(rule: MatchRule, host_name: Option<&str>) -> (LaneServer, Container) {
    let plan = World::pair().plan("v2").unwrap();
    let lane = plan.lanes[0].clone();
    let host_name = host_name.map(|name| HostName { name: name.to_owned(), is_resolved: false });
    let address = Some(ADDRESS.parse().unwrap());
    let server = LaneServer { rule: Some(rule), address, host_name, ..lane.servers[0].clone() };
    (server, lane.replacement.unwrap().old.unwrap())
}

fn publishes(mut container: Container, addresses: &[&str]) -> Container {
    let published = |text: &&str| {
        let address: SocketAddr = text.parse().unwrap();
        Published { ip: address.ip(), port: address.port(), container_port: 8080 }
    };
    container.published = addresses.iter().map(published).collect();
    container.networks.clear();
    container
}

fn is_in(mut container: Container, network: &str, address: &str) -> Container {
    container.published.clear();
    container.networks = vec![Attachment {
        network: network.to_owned(),
        addresses: vec![address.parse().unwrap()],
        given: Vec::new(),
        is_gone: false,
        is_missing: false,
        aliases: vec!["app1".to_owned()],
    }];
    container
}

#[test]
fn a_published_address_is_published_again() {
    let (server, old) = line(MatchRule::Published, None);
    let place = |addresses: &[&str]| server.place_of(&publishes(old.clone(), addresses), Some(&old));
    assert_eq!(place(&[ADDRESS]), ContainerPlace::AtAddress);
    assert_eq!(place(&["0.0.0.0:8080"]), ContainerPlace::AtAddress);
    assert_eq!(place(&["172.18.0.7:8081"]), ContainerPlace::Elsewhere);
    assert_eq!(place(&[]), ContainerPlace::Elsewhere);
    // An address in a network is weaker evidence than a published address.
    assert_eq!(
        server.place_of(&is_in(old.clone(), "front", "172.18.0.7"), Some(&old)),
        ContainerPlace::Elsewhere
    );
}

#[test]
fn a_container_keeps_its_own_address_or_is_followed_by_name() {
    let (server, old) = line(MatchRule::OwnAddress, None);
    let old = is_in(old, "front", "172.18.0.7");
    let same = is_in(old.clone(), "front", "172.18.0.7");
    let other = is_in(old.clone(), "front", "172.18.0.8");
    assert_eq!(server.place_of(&same, Some(&old)), ContainerPlace::AtAddress);
    assert_eq!(server.place_of(&other, Some(&old)), ContainerPlace::Elsewhere);

    for rule in [MatchRule::OwnAddress, MatchRule::Name] {
        let (server, _) = line(rule, Some("app1"));
        let now = |text: &str| ContainerPlace::ByHostName(text.parse().unwrap());
        assert_eq!(server.place_of(&other, Some(&old)), now("172.18.0.8:8080"));
        assert_eq!(server.place_of(&same, Some(&old)), now(ADDRESS));
        // Only the network of the old container counts, not every network with that name.
        assert_eq!(
            server.place_of(&is_in(old.clone(), "back", "172.19.0.8"), Some(&old)),
            ContainerPlace::Elsewhere
        );
    }
}

#[test]
fn a_container_matched_only_by_label_or_settings_must_have_all_of_the_old_one() {
    for rule in [MatchRule::Settings, MatchRule::Label, MatchRule::ImageLabel] {
        everything_is_as_it_was(rule);
    }
}

fn everything_is_as_it_was(rule: MatchRule) {
    let (server, old) = line(rule, None);
    let new = Container { id: ContainerId("f".repeat(64)), ..old.clone() };
    let old = publishes(old, &["0.0.0.0:1", "0.0.0.0:2"]);
    let place = |addresses: &[&str]| server.place_of(&publishes(new.clone(), addresses), Some(&old));
    assert_eq!(place(&["0.0.0.0:1", "0.0.0.0:2", "0.0.0.0:3"]), ContainerPlace::AtAddress);
    assert_eq!(place(&["0.0.0.0:1"]), ContainerPlace::Elsewhere);
    let old = is_in(old, "front", "172.18.0.7");
    assert_eq!(
        server.place_of(&is_in(new.clone(), "front", "172.18.0.7"), Some(&old)),
        ContainerPlace::AtAddress
    );
    let other = is_in(new, "front", "172.18.0.8");
    assert_eq!(server.place_of(&other, Some(&old)), ContainerPlace::Elsewhere);
    // The label means the old container itself, wherever it has come back to.
    assert_eq!(
        server.place_of(&Container { id: old.id.clone(), ..other }, Some(&old)),
        ContainerPlace::AtAddress
    );
}

#[test]
fn a_first_container_must_publish_the_address() {
    let (server, container) = line(MatchRule::Published, None);
    let server = LaneServer { rule: None, ..server };
    assert_eq!(server.place_of(&publishes(container.clone(), &[ADDRESS]), None), ContainerPlace::AtAddress);
    assert_eq!(
        server.place_of(&publishes(container.clone(), &["0.0.0.0:1"]), None),
        ContainerPlace::Elsewhere
    );
    // An earlier plan does not record where traffic goes, or how the old container was found.
    let earlier = LaneServer { address: None, ..server.clone() };
    assert_eq!(earlier.place_of(&publishes(container.clone(), &[]), None), ContainerPlace::AtAddress);
    assert_eq!(
        server.place_of(&publishes(container.clone(), &[]), Some(&container)),
        ContainerPlace::AtAddress
    );
}

#[test]
fn a_name_that_another_network_knows_leads_there_if_the_old_container_was_elsewhere() {
    let (server, old) = line(MatchRule::Name, Some("app1"));
    let old = is_in(old, "front", "172.18.0.99");
    let now = is_in(old.clone(), "back", "172.19.0.8");
    let there = ContainerPlace::ByHostName("172.19.0.8:8080".parse().unwrap());
    assert_eq!(server.place_of(&now, Some(&old)), there);
    let mut nameless = now;
    nameless.networks[0].aliases.clear();
    assert_eq!(server.place_of(&nameless, Some(&old)), ContainerPlace::Elsewhere);
}

#[test]
fn a_network_without_an_address_does_not_have_to_be_the_same() {
    let (server, old) = line(MatchRule::Label, None);
    let new = Container { id: ContainerId("f".repeat(64)), ..old.clone() };
    let mut old = is_in(old, "front", "172.18.0.7");
    old.networks[0].addresses.clear();
    let new = is_in(new, "back", "172.19.0.8");
    assert_eq!(server.place_of(&new, Some(&old)), ContainerPlace::AtAddress);
}
