use insta::assert_snapshot;

use super::*;
use crate::observation::{AdminBits, ContainerState, LabelSource, Operational, SurgeLabel};
use crate::testing::World;

/// One server with a host name, resolved to an address of this host, so that every rule can find its container.
const NAMED: &str = "backend mobile\n mode http\n server app1 app.internal:50000 check\n";

/// Returns what is behind `mobile/app1`.
fn found(world: &World) -> String {
    let topology = world.topology();
    match &topology.backends[0].servers[0].behind {
        MatchResult::Container(found) => found.container.name.clone(),
        MatchResult::Described { name, .. } => format!("described {name}"),
        MatchResult::Gone { like, publish, name } => {
            let Published { ip, port, container_port } = publish;
            format!("gone; {name} like {} publishes {ip}:{port} for {container_port}", like.name)
        }
        MatchResult::Unmatched { candidates, .. } => format!("none of {candidates:?}"),
        MatchResult::Ambiguous { candidates } => format!("one of {candidates:?}"),
    }
}

/// Returns a change that makes a container match by this rule alone.
fn fitting(rule: MatchRule) -> impl Fn(&mut Container) {
    let published = |ip: &str| Published { ip: ip.parse().unwrap(), port: 50000, container_port: 8080 };
    move |container| {
        container.published.clear();
        container.networks[0].addresses = vec!["172.17.0.99".parse().unwrap()];
        match rule {
            // The name is enough.
            MatchRule::Settings => {}
            MatchRule::Label => container.claims = vec!["mobile/app1".to_owned()],
            MatchRule::ImageLabel => {
                container.claims = vec!["mobile/app1".to_owned()];
                container.claimed_by = LabelSource::Image;
            }
            MatchRule::Published => container.published = vec![published("127.0.0.1")],
            MatchRule::PublishedEverywhere => container.published = vec![published("0.0.0.0")],
            MatchRule::OwnAddress => container.networks[0].addresses = vec!["127.0.0.1".parse().unwrap()],
            MatchRule::Name => container.networks[0].aliases = vec!["app.internal".to_owned()],
            MatchRule::HostNetwork => {
                container.host_network = true;
                container.exposed = vec![50000];
            }
        }
    }
}

const STRONGEST_FIRST: [MatchRule; 8] = [
    MatchRule::Settings,
    MatchRule::Label,
    MatchRule::Published,
    MatchRule::PublishedEverywhere,
    MatchRule::OwnAddress,
    MatchRule::Name,
    MatchRule::HostNetwork,
    MatchRule::ImageLabel,
];

/// Makes `[servers]` in drainswap.toml name the container of `mobile/app1`.
fn named(mut world: World, name: &str) -> World {
    world.observation.named.insert("mobile/app1".parse().unwrap(), name.to_owned());
    world
}

/// Returns the server [`NAMED`] and, for each of these rules, a container that matches by it alone.
fn world(rules: &[MatchRule]) -> World {
    let spare = "backend spare\n mode http\n server spare 192.0.2.1:1 check\n";
    let mut world = World::of(&format!("{NAMED}{spare}"));
    world.observation.host_addresses.insert("127.0.0.1".parse().unwrap());
    world = world.server("mobile/app1", |server| server.address = Some("127.0.0.1:50000".parse().unwrap()));
    for rule in rules {
        world = world.another("spare-spare", &format!("{rule:?}"), fitting(*rule));
        if *rule == MatchRule::Settings {
            world = named(world, "Settings");
        }
    }
    world.gone("spare-spare")
}

#[test]
fn a_container_is_found_by_every_rule() {
    for rule in STRONGEST_FIRST {
        let world = world(&[rule]);
        assert_eq!(found(&world), format!("{rule:?}"));
        assert_eq!(world.topology().backends[0].servers[0].rule(), Some(rule));
    }
}

#[test]
fn the_strongest_rule_decides() {
    for (index, strongest) in STRONGEST_FIRST.iter().enumerate() {
        let mut rules = STRONGEST_FIRST[index..].to_vec();
        // A label and an address on two containers are ambiguous, which another test covers.
        rules.retain(|rule| *strongest != MatchRule::Label || !rule.has_address());
        assert_eq!(found(&world(&rules)), format!("{strongest:?}"));
        rules.reverse();
        assert_eq!(found(&world(&rules)), format!("{strongest:?}"), "in the other order");
    }
}

#[test]
fn two_containers_that_match_equally_well_are_ambiguous() {
    // Two containers of an engine cannot have the same name, so the first rule is left out.
    for rule in &STRONGEST_FIRST[1..] {
        let world = world(&[*rule]).another(&format!("{rule:?}"), "twin", |_| {});
        assert_eq!(
            found(&world),
            format!("one of {:?}", [format!("{rule:?} ({rule})"), format!("twin ({rule})")])
        );
    }
}

/// Other slots of a `server-template` have the containers of that name.
#[test]
fn a_name_without_an_address_in_haproxy_proves_nothing() {
    let world = world(&[MatchRule::Name]).unresolved("mobile/app1");
    assert!(found(&world).starts_with("none of"));
    assert!(world.topology().backends[0].servers[0].is_spare());
}

#[test]
fn a_container_s_own_name_is_as_good_as_an_alias() {
    let world = world(&[MatchRule::Name]).container("Name", |container| {
        container.networks[0].aliases.clear();
        "app.internal".clone_into(&mut container.name);
    });
    assert_eq!(found(&world), "app.internal");
}

#[test]
fn a_name_counts_if_the_address_is_unknown() {
    let world = world(&[MatchRule::Name]).server("mobile/app1", |server| server.address = None);
    assert_eq!(found(&world), "Name");
}

#[test]
fn a_container_that_names_another_server_is_behind_no_other() {
    let elsewhere = |container: &mut Container| container.claims = vec!["mobile/app9".to_owned()];
    assert!(found(&World::pair().container("mobile-app1", elsewhere)).starts_with("none of"));
}

#[test]
fn a_label_may_name_several_servers() {
    let both = |container: &mut Container| {
        container.claims = vec!["mobile/app1".to_owned(), "mobile/app1b".to_owned()];
    };
    let world = World::pair().gone("mobile-app1b").container("mobile-app1", both);
    let topology = world.topology();
    let names = topology.backends[0].servers.iter().map(|server| &server.container().unwrap().name);
    assert_eq!(names.collect::<Vec<_>>(), ["mobile-app1", "mobile-app1"]);
}

/// The new container must be reachable in the same way, which a label does not show.
#[test]
fn the_address_decides_the_rule_of_a_labelled_container_that_has_it() {
    let world = world(&[MatchRule::Published])
        .container("Published", |container| container.claims = vec!["mobile/app1".to_owned()]);
    assert_eq!(world.topology().backends[0].servers[0].rule(), Some(MatchRule::Published));
}

/// The label may come from another team's image.
#[test]
fn a_label_that_may_be_the_image_s_is_the_weakest_rule() {
    for source in [LabelSource::Image, LabelSource::Unknown] {
        let labelled = |container: &mut Container| {
            fitting(MatchRule::ImageLabel)(container);
            container.claimed_by = source;
            container.networks[0].aliases.clear();
            (container.host_network, container.exposed) = (false, Vec::new());
        };
        for rule in &STRONGEST_FIRST[..7] {
            let world = world(&[*rule]).another(&format!("{rule:?}"), "blog-app1", labelled);
            assert_eq!(found(&world), format!("{rule:?}"), "{source:?}");
        }
        // The container with the address is stopped, but that is no reason to take another team's.
        let stopped = |container: &mut Container| container.state = ContainerState::Stopped;
        let world = world(&[MatchRule::Published]).container("Published", stopped);
        assert_eq!(found(&world.another("Published", "blog-app1", labelled)), "Published");
    }
}

#[test]
fn a_label_that_may_be_the_image_s_does_not_hide_the_container_from_its_own_server() {
    let labelled = |container: &mut Container| {
        container.claims = vec!["pay/app1".to_owned()];
        container.claimed_by = LabelSource::Image;
    };
    assert_eq!(found(&World::pair().container("mobile-app1", labelled)), "mobile-app1");
}

#[test]
fn a_container_that_another_server_line_reaches_is_not_taken_by_its_image_s_label() {
    let two = "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
backend blog
    mode http
    server app1 127.0.0.1:50001 check
";
    let labelled = |container: &mut Container| {
        container.claims = vec!["mobile/app1".to_owned()];
        container.claimed_by = LabelSource::Image;
    };
    let world = World::of(two).gone("mobile-app1").container("blog-app1", labelled);
    assert_snapshot!(found(&world), @r#"none of ["blog-app1 (publishes 127.0.0.1:50001, its image labelled drainswap.server=mobile/app1)"]"#);
}

#[test]
fn a_label_and_the_address_on_two_containers_are_ambiguous() {
    for rule in [MatchRule::Published, MatchRule::PublishedEverywhere, MatchRule::OwnAddress] {
        let world = world(&[MatchRule::Label, rule]);
        let both = [format!("Label ({})", MatchRule::Label), format!("{rule:?} ({rule})")];
        assert_eq!(found(&world), format!("one of {both:?}"));
        assert_eq!(found(&named(world.clone(), "Label")), "Label");
        assert_eq!(found(&named(world.clone(), &format!("{rule:?}"))), format!("{rule:?}"));
        // If the labelled container has the address too, nothing contradicts it.
        let has_it = world.container("Label", fitting(MatchRule::Published)).container("Label", |it| {
            it.claims = vec!["mobile/app1".to_owned()];
        });
        assert_eq!(found(&has_it), "Label");
        // A stopped container has no address.
        let stopped = |container: &mut Container| container.state = ContainerState::Stopped;
        assert_eq!(found(&world_stopped(rule, stopped)), "Label");
    }
}

fn world_stopped(rule: MatchRule, stopped: impl FnOnce(&mut Container)) -> World {
    world(&[MatchRule::Label, rule]).container(&format!("{rule:?}"), stopped)
}

#[test]
fn a_container_that_the_settings_name_and_the_engine_lacks_is_not_guessed() {
    let world = named(World::pair(), "elsewhere");
    assert!(found(&world).starts_with("none of"), "{}", found(&world));
    let mut far = named(World::pair(), "mobile-app1");
    far.observation.engines.insert("mobile/app1".parse().unwrap(), "context:far".to_owned());
    assert!(found(&far).starts_with("none of"), "a container of that name on another engine is another one");
}

#[test]
fn a_name_resolved_to_another_machine_proves_nothing() {
    let world = || world(&[MatchRule::Name]);
    let elsewhere = |server: &mut ServerState| server.address = Some("192.0.2.7:50000".parse().unwrap());
    let mut remote = world().server("mobile/app1", elsewhere);
    let answer = Answer::Ready("connected".to_owned());
    remote.observation.answers.insert("mobile/app1".parse().unwrap(), answer);
    assert!(found(&remote).starts_with("none of"));
    // A stopped container has no address to compare with, so the answer comes from another one.
    let stopped = |container: &mut Container| container.state = ContainerState::Stopped;
    let stopped = remote.container("Name", stopped);
    assert!(found(&stopped).starts_with("none of"), "another machine answers");
    assert_eq!(found(&stopped.silent("mobile/app1")), "Name");
    assert_eq!(found(&world()), "Name", "this host is not another machine");
}

#[test]
fn an_address_in_another_network_proves_nothing() {
    for setting in ["namespace blue", "socks4 127.0.0.1:1080"] {
        let config = format!(
            "backend mobile
 mode http
 server app1 127.0.0.1:50000 check {setting}
"
        );
        let world = World::of(&config);
        assert!(found(&world).starts_with("none of"), "{setting}");
        let claims = |container: &mut Container| container.claims = vec!["mobile/app1".to_owned()];
        let labelled = world.clone().container("mobile-app1", claims);
        assert_eq!(found(&labelled), "mobile-app1", "{setting}");
        let of_image = labelled.container("mobile-app1", |it| it.claimed_by = LabelSource::Image);
        assert!(found(&of_image).starts_with("none of"), "{setting}");
        let named = named(world.clone(), "mobile-app1");
        assert_eq!(found(&named), "mobile-app1", "{setting}");
        assert_eq!(named.topology().backends[0].servers[0].rule(), Some(MatchRule::Settings));
        let gone = world.gone("mobile-app1").down("mobile/app1");
        assert!(found(&gone).starts_with("none of"), "{setting}: a published port would not be reached");
    }
}

#[test]
fn a_running_container_comes_before_a_stopped_one() {
    let stopped = |container: &mut Container| {
        container.state = ContainerState::Stopped;
        container.claims = vec!["mobile/app1".to_owned()];
    };
    let world = World::pair().another("mobile-app1", "left-over", stopped);
    assert_eq!(found(&world), "mobile-app1");
    assert_eq!(found(&world.gone("mobile-app1")), "left-over");
}

/// `docker run` leaves such a container behind if the port is taken.
#[test]
fn a_container_that_was_never_started_is_as_good_as_stopped() {
    let created = |container: &mut Container| container.state = ContainerState::Created;
    let world = World::pair().another("mobile-app1", "second-try", created);
    assert_eq!(found(&world), "mobile-app1");
    assert_eq!(found(&world.gone("mobile-app1")), "second-try");
}

#[test]
fn a_paused_or_restarting_container_still_matches() {
    for state in [ContainerState::Paused, ContainerState::Restarting] {
        let world = World::pair().container("mobile-app1", |container| container.state = state);
        assert_eq!(found(&world), "mobile-app1", "{state:?}");
    }
}

#[test]
fn a_container_that_was_put_aside_does_not_match() {
    for aside in [ContainerRole::Previous, ContainerRole::Candidate] {
        let run = RunId::from("20261123T221500.000Z");
        let name = aside.name("mobile-app1", &run);
        assert!(ContainerRole::is_name(&name), "{name}");
        let world = World::pair().another("mobile-app1", &name, |it| it.state = ContainerState::Stopped);
        assert_eq!(found(&world), "mobile-app1");
        assert!(found(&world.gone("mobile-app1")).starts_with("none of"));
    }
}

#[test]
fn a_container_that_a_run_created_beside_another_one_is_behind_no_server() {
    for rule in STRONGEST_FIRST {
        let name = format!("{rule:?}");
        let labelled = |label| found(&world(&[rule]).container(&name, |it| it.surge = label));
        assert_eq!(labelled(SurgeLabel::Of(RunId::from("20261123T221500.000Z"))), "none of []");
        assert_eq!(labelled(SurgeLabel::Never), name);
    }
}

/// `docker compose up` does this with a container of its project.
#[test]
fn a_container_that_was_put_aside_and_serves_again_is_behind_its_server() {
    let aside = "mobile-app1.old-20261123T221500.000Z";
    let started = World::pair().gone("mobile-app1").another("mobile-app1b", aside, |it| {
        it.published[0].port = 50000;
        it.networks.clear();
    });
    assert_eq!(found(&started), aside);
    assert_eq!(found(&started.clone().stopped(aside)), found(&World::pair().gone("mobile-app1")));
    let elsewhere = started.container(aside, |it| {
        it.published.clear();
        it.claims = vec!["mobile/app1".to_owned()];
    });
    assert_ne!(found(&elsewhere), aside, "a label alone does not bring it back");
}

#[test]
fn only_our_own_names_are_put_aside() {
    for name in [
        "mobile-app1",
        "app.old-fashioned-but-running",
        "app.new-20261123",
        "app.old-",
        "a.old-été🙂🙂🙂🙂🙂",
    ] {
        assert!(!ContainerRole::is_name(name), "{name}");
    }
    assert!(ContainerRole::is_name("app.old-1.new-20261123T221500Z"));
}

#[test]
fn a_port_on_every_address_reaches_only_this_host() {
    let everywhere = |container: &mut Container| container.published[0].ip = "0.0.0.0".parse().unwrap();
    let mut world = World::pair().container("mobile-app1", everywhere);
    assert_eq!(found(&world), "mobile-app1");
    let any_v6 = |container: &mut Container| container.published[0].ip = "::".parse().unwrap();
    assert_eq!(found(&world.clone().container("mobile-app1", any_v6)), "mobile-app1");
    world.observation.host_addresses.clear();
    assert!(found(&world).starts_with("none of"));
}

/// `127.0.0.1` means `HAProxy`'s own host in haproxy.cfg, but the engine's host in a container's ports.
#[test]
fn a_loopback_address_of_another_host_is_another_address() {
    let mut world = World::pair();
    world.observation.host_addresses.clear();
    assert!(found(&world).starts_with("none of"));
}

#[test]
fn the_running_address_counts_rather_than_the_configured_one() {
    let world = World::origin().server("mobile/app1", |server| {
        server.address = Some("127.0.0.2:50001".parse().unwrap());
    });
    assert_eq!(found(&world), "mobile-app2b");
}

#[test]
fn the_configured_address_counts_if_haproxy_reports_none() {
    let world = World::pair().server("mobile/app1", |server| server.address = None);
    assert_eq!(found(&world), "mobile-app1");
}

#[test]
fn the_candidates_are_the_closest_containers() {
    let mut world = World::origin();
    world.observation.host_addresses.remove(&"127.0.0.1".parse().unwrap());
    let world = world.gone("mobile-app1b").gone("mobile-app2b").stopped("mobile-app2");
    let stranger = |container: &mut Container| container.published.clear();
    let world = world.another("mobile-app1", "batch", stranger);
    assert_snapshot!(found(&world), @r#"none of ["mobile-app1 (publishes 127.0.0.1:50000)"]"#);
    let elsewhere = |container: &mut Container| {
        container.published.clear();
        container.claims = vec!["web/app1".to_owned()];
    };
    let world = world.gone("mobile-app1").another("batch", "paper", elsewhere);
    assert_snapshot!(found(&world), @r#"none of ["paper (publishes nothing, labelled drainswap.server=web/app1)"]"#);
    let world = world.gone("paper").another("batch", "old_app1", stranger);
    assert_snapshot!(found(&world), @r#"none of ["old_app1 (publishes nothing)"]"#);
    assert_snapshot!(found(&world.gone("old_app1")), @"none of []");
}

/// Returns a world in which the container of `mobile/app1` is certainly gone.
fn gone() -> World {
    World::origin().down("mobile/app1").gone("mobile-app1")
}

#[test]
fn a_container_that_is_gone_gets_a_sibling_s_settings() {
    assert_snapshot!(found(&gone()), @"gone; mobile-app1 like mobile-app2 publishes 127.0.0.1:50000 for 8080");
    let other_name = gone().container("mobile-app2", |container| "frosty".clone_into(&mut container.name));
    assert_snapshot!(found(&other_name), @"gone; mobile-app1 like frosty publishes 127.0.0.1:50000 for 8080");
    assert_snapshot!(found(&gone().gone("mobile-app2")), @"gone; mobile-app1 like mobile-app1b publishes 127.0.0.1:50000 for 8080");
}

#[test]
fn a_container_is_gone_only_if_everything_indicates_it() {
    let up = |server: &mut ServerState| {
        server.operational = Operational::Running;
        server.admin = AdminBits(0);
    };
    let unasked = |mut world: World| {
        world.observation.answers.pop_first();
        world
    };
    let no_sibling = ["mobile-app1b", "mobile-app2", "mobile-app2b"].into_iter().fold(gone(), World::gone);
    let mut elsewhere = gone();
    elsewhere.observation.host_addresses.remove(&"127.0.0.1".parse().unwrap());
    let silent = |container: &mut Container| container.published.clear();
    let named_alike = gone().another("mobile-app2", "mobile-app1", silent);
    let answers = World::origin().maint("mobile/app1").gone("mobile-app1");
    let mut used_elsewhere = gone();
    used_elsewhere.observation.load_balancers.extend(World::origin().observation.load_balancers);
    let mut occupied = gone();
    occupied.observation.occupied.insert("mobile/app1".parse().unwrap());
    let mut disabled = gone();
    std::sync::Arc::make_mut(&mut disabled.configuration.proxies[0].servers[0].settings).disabled = true;
    for (why, world) in [
        ("HAProxy uses it", gone().server("mobile/app1", up)),
        ("another HAProxy uses it", used_elsewhere),
        ("it answers", answers),
        ("no sibling shows what it was like", no_sibling),
        ("another host", elsewhere),
        ("another container has its name", named_alike),
        ("no address", gone().server("mobile/app1", |server| server.address = None)),
        ("a placeholder's port", gone().server("mobile/app1", |it| it.address = "127.0.0.1:1".parse().ok())),
        ("something else listens there", occupied),
        ("disabled", disabled),
    ] {
        assert!(found(&world).starts_with("none of"), "{why}: {}", found(&world));
    }
    assert!(found(&unasked(gone())).starts_with("gone"));
}

#[test]
fn a_container_on_another_engine_is_behind_no_server_of_this_one() {
    let mut world = World::of(
        "
backend mobile
    server app1 10.0.0.1:50000 check
    server app2 10.0.0.2:50000 check
",
    );
    let far = "ssh://deploy@10.0.0.2";
    world.observation.engines.insert("mobile/app2".parse().unwrap(), far.to_owned());
    // Both engines publish the port on every address of their hosts.
    for container in &mut world.observation.containers {
        container.published[0].ip = "0.0.0.0".parse().unwrap();
    }
    let behind = |world: &World| -> Vec<Option<String>> {
        let topology = world.topology();
        let servers = &topology.backend("mobile").unwrap().servers;
        servers.iter().map(|server| server.container().map(|it| it.name.clone())).collect()
    };
    world.observation.containers[1].engine = far.to_owned();
    assert_eq!(behind(&world), [Some("mobile-app1".to_owned()), Some("mobile-app2".to_owned())]);
    world.observation.containers[1].engine = String::new();
    assert_eq!(behind(&world)[1], None, "it is not where the settings say");
}
