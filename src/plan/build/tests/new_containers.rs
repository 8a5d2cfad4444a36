//! What replaces a container: a described one, a copy, or one that an earlier run kept; and what is removed.

use std::collections::BTreeMap;

use super::*;
use crate::model::ids::ContainerId;
use crate::model::run_kind::RunKind;
use crate::observation::{ContainerChange, ContainerState, Described, Owner, Published, RestartPolicy};
use crate::plan::{Cause, Policy, Replacement, RollbackTarget, Step, Target};

#[test]
fn the_replaced_container_is_recorded_if_there_is_one() {
    let replaced = |world: World| {
        let plan = world.plan("v2").unwrap();
        let lane = plan.lanes.into_iter().find(|lane| lane.name().server == "app2").unwrap();
        let Replacement { old, like, publish, name, .. } = lane.replacement.unwrap();
        let publish = publish.map(|it| format!("{}:{} for {}", it.ip, it.port, it.container_port));
        format!("{name}: old {:?}, like {}, publishes {publish:?}", old.map(|old| old.name), like.name)
    };
    assert_snapshot!(replaced(World::origin()), @r#"mobile-app2: old Some("mobile-app2"), like mobile-app2, publishes None"#);
    assert_snapshot!(replaced(World::origin().down("mobile/app2").gone("mobile-app2")), @r#"mobile-app2: old None, like mobile-app1, publishes Some("127.0.0.2:50000 for 8080")"#);
    assert_snapshot!(replaced(World::origin().down("mobile/app2").stopped("mobile-app2")), @r#"mobile-app2: old Some("mobile-app2"), like mobile-app2, publishes None"#);
}

#[test]
fn a_description_wins_over_the_container_that_runs() {
    let mut world = World::pair();
    let restart = RestartPolicy { name: "always".to_owned(), maximum_retries: 0 };
    let described = Described { name: None, port: 9090, restart: restart.clone(), ..Described::default() };
    world.observation.described.insert("mobile".to_owned(), described);
    let plan = world.plan("v2").unwrap();
    let replacement = plan.lanes[0].replacement.as_ref().unwrap();
    assert!(replacement.described);
    assert_eq!(replacement.name, "mobile-app1");
    let publish = Published { ip: "127.0.0.1".parse().unwrap(), port: 50000, container_port: 9090 };
    assert_eq!(replacement.publish, Some(publish));
    assert_eq!(replacement.like.restart, restart);
    assert_ne!(replacement.old.as_ref().unwrap().restart, restart, "taken back, it is as it was");

    assert!(world.plan("v1").unwrap().is_empty(), "nothing differs");
    let drift = vec![ContainerChange::Hidden { field: "command".into() }];
    let id = world.observation.containers[0].id.clone();
    world.observation.drift.insert(id, drift);
    let plan = world.plan("v1").unwrap();
    assert_eq!(plan.lanes.iter().map(|lane| lane.name().to_string()).collect::<Vec<_>>(), ["mobile/app1"]);
    assert_eq!(plan.lanes[0].cause, Cause::Drifted);
}

#[test]
fn a_described_container_that_other_lines_reach_at_another_port_is_refused() {
    let world = World::of(
        "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
backend admin
    mode http
    server one 127.0.0.1:50009 check
    server two 127.0.0.2:50009 check
",
    );
    let mut world = world.gone("admin-one").container("mobile-app1", |it| {
        it.claims = vec!["mobile/app1".to_owned(), "admin/one".to_owned()];
    });
    assert!(world.plan("v2").is_ok());
    let described =
        Described { name: None, port: 9090, restart: RestartPolicy::never(), ..Described::default() };
    world.observation.described.insert("mobile".to_owned(), described);
    let refused = world.plan("v2").unwrap_err();
    assert!(refused[0].to_string().contains("at another port, behind admin/one"), "{}", refused[0]);
}

#[test]
fn a_rollback_brings_the_previous_container_back_even_with_the_same_image() {
    let mut world = World::pair();
    let running = world.observation.containers[0].clone();
    let id = ContainerId("e".repeat(64));
    let kept_name = format!("{}.old-20261122T100000.000000Z", running.name);
    let state = ContainerState::Stopped;
    let kept = Container { id, name: kept_name, state, ..running.clone() };
    world.observation.containers.push(kept.clone());
    // The current description does not count, nor does a port that it would not have.
    let described =
        Described { name: None, port: 1, restart: RestartPolicy::never(), ..Described::default() };
    world.observation.described.insert("mobile".to_owned(), described);
    let returned =
        RollbackTarget { image: image("v1"), container: Some(kept.clone()), engine: String::new() };
    let app1 = ServerId::new("mobile", "app1");
    let target = Target::Each(BTreeMap::from([(app1.clone(), returned)]));
    let plan = world.plan_for(RunKind::Rollback, target.clone()).unwrap();
    assert_eq!(plan.lanes.len(), 1);
    assert_eq!((plan.lanes[0].name(), &plan.lanes[0].cause), (&app1, &Cause::Superseded));
    let replacement = plan.lanes[0].replacement.as_ref().unwrap();
    assert_eq!(replacement.returning.as_ref().map(|it| &it.id), Some(&kept.id));
    assert!(!replacement.described);
    // If the engine would choose another port at the start, a new container is created.
    world.observation.containers.last_mut().unwrap().published.clear();
    let plan = world.plan_for(RunKind::Rollback, target.clone()).unwrap();
    let replacement = plan.lanes[0].replacement.as_ref().unwrap();
    assert!(replacement.is_created() && plan.lanes[0].steps.contains(&Step::Create));
    world.observation.containers.pop();
    assert!(world.plan_for(RunKind::Rollback, target).unwrap().is_empty(), "it is not kept any more");
}

#[test]
fn the_address_that_is_published_stays_where_there_are_several() {
    let world = World::pair().container("mobile-app1", |it| {
        let own = it.published[0];
        it.published.insert(0, Published { ip: "127.0.0.9".parse().unwrap(), ..own });
    });
    let described =
        Described { name: None, port: 8080, restart: RestartPolicy::never(), ..Described::default() };
    let old = &world.observation.containers[0];
    let publish = |address: &str| {
        Replacement::described(old, &described, address.parse().ok(), &image("v2"))
            .publish
            .map(|it| it.ip.to_string())
    };
    assert_eq!(publish("127.0.0.1:50000").as_deref(), Some("127.0.0.1"));
    assert_eq!(publish("127.0.0.9:50000").as_deref(), Some("127.0.0.9"));
    assert_eq!(publish("127.0.0.9:1"), None);
    let everywhere =
        world.clone().container("mobile-app1", |it| it.published[1].ip = "0.0.0.0".parse().unwrap());
    let old = &everywhere.observation.containers[0];
    let replacement = Replacement::described(old, &described, "127.0.0.7:50000".parse().ok(), &image("v2"));
    assert_eq!(replacement.publish.map(|it| it.ip.to_string()).as_deref(), Some("0.0.0.0"));
}

#[test]
fn a_server_without_a_container_gets_the_described_one() {
    let mut world = World::pair().down("mobile/app1").gone("mobile-app1");
    let described =
        Described { name: None, port: 9090, restart: RestartPolicy::never(), ..Described::default() };
    world.observation.described.insert("mobile".to_owned(), described);
    let plan = world.plan("v2").unwrap();
    assert_eq!(
        (plan.lanes[0].name().to_string().as_str(), &plan.lanes[0].cause),
        ("mobile/app1", &Cause::NotYetThere)
    );
    let replacement = plan.lanes[0].replacement.as_ref().unwrap();
    assert!(replacement.described && replacement.old.is_none());
    assert_eq!(replacement.publish.map(|it| (it.port, it.container_port)), Some((50000, 9090)));
}

#[test]
fn a_rollback_ignores_the_current_description() {
    let mut world = World::pair();
    let id = world.observation.containers[0].id.clone();
    world.observation.drift.insert(id, vec![ContainerChange::Hidden { field: "command".into() }]);
    assert_eq!(world.plan("v1").unwrap().lanes[0].cause, Cause::Drifted);
    assert!(world.plan_rollback(&[("mobile/app1", "v1"), ("mobile/app1b", "v1")]).unwrap().is_empty());
}

#[test]
fn a_rollback_may_name_any_of_two_lines_to_one_container() {
    let world = World::of(
        "
backend mobile
    mode http
    server app1 127.0.0.1:50000 check
    server same 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
",
    );
    assert!(world.plan_rollback(&[("mobile/same", "v1")]).unwrap().is_empty());
    assert_eq!(world.plan_rollback(&[("mobile/same", "v0")]).unwrap().lanes[0].ids().len(), 2);
}

#[test]
fn containers_on_another_engine_share_no_namespace() {
    let lodger = |engine: &str, name: &str, state| {
        let mut world = World::pair();
        let owner = world.observation.containers[0].clone();
        let mut lodger = Container { name: name.to_owned(), published: vec![], state, ..owner.clone() };
        lodger.id = ContainerId("d".repeat(64));
        lodger.lives_in = vec![owner.id];
        engine.clone_into(&mut lodger.engine);
        world.observation.containers.push(lodger);
        world.plan("v2").map(|plan| plan.warnings.len())
    };
    assert!(lodger("", "sidecar", ContainerState::Running).is_err());
    assert_eq!(lodger("web-b", "sidecar", ContainerState::Running), Ok(0));
    assert_eq!(lodger("", "sidecar", ContainerState::Stopped), Ok(1));
    assert_eq!(lodger("web-b", "sidecar", ContainerState::Stopped), Ok(0));
    // It was put aside itself.
    assert_eq!(lodger("", "sidecar.old-20261101T000000.000000Z", ContainerState::Stopped), Ok(0));
}

/// Its labels would make the project's next `up` start it.
#[test]
fn only_the_image_of_a_compose_container_is_kept() {
    let compose = |it: &mut Container| it.owner = Some(Owner::Compose("shop".to_owned()));
    let kept = "mobile-app1.old-20261101T000000.000Z";
    let world = World::pair().another("mobile-app1", kept, |it| it.state = ContainerState::Stopped);
    let mut world = world.container("mobile-app1", compose);
    world.policy.keep = 3;
    let plan = world.plan("v2").unwrap();
    let [project, other] = [0, 1].map(|lane| plan.lanes[lane].replacement.as_ref().unwrap());
    assert_eq!((project.kept(3), other.kept(3)), (0, 3));
    let old = &project.old.as_ref().unwrap().image;
    assert_eq!((project.image_kept(3), project.image_kept(0)), (Some(old), None));
    assert_eq!(other.image_kept(3), None);
    let removed: Vec<String> = project.removed(&plan.run, 3).map(|(_, name)| name).collect();
    assert_eq!(removed, [project.kept_name(&plan.run), kept.to_owned()]);
    assert!(plan.lanes[0].steps.contains(&Step::Remove) && !plan.lanes[1].steps.contains(&Step::Remove));
    let text = plan.to_string();
    assert!(text.contains("  keep       mobile-app1b.old-"), "{text}");
    assert!(text.contains(", the image drainswap/mobile:app1-previous\n"), "{text}");
}

/// An operator may have swapped the names of two servers' containers.
#[test]
fn the_kept_container_of_another_place_is_not_removed() {
    let kept = "mobile-app1.old-20261101T000000.000Z";
    let removes = |like: &str, change: &dyn Fn(&mut Container)| {
        let world = World::pair().another(like, kept, |it| {
            it.state = ContainerState::Stopped;
            change(it);
        });
        let plan = World { policy: Policy { keep: 1, ..world.policy.clone() }, ..world }.plan("v2").unwrap();
        plan.lanes[0].replacement.as_ref().unwrap().removed(&plan.run, 1).count()
    };
    assert_eq!(removes("mobile-app1", &|_| {}), 1);
    assert_eq!(removes("mobile-app1b", &|_| {}), 0, "it has the port of another server");
    assert_eq!(removes("mobile-app1b", &|it| it.published.clear()), 1, "it has the name");
    assert_eq!(removes("mobile-app1", &|it| it.engine = "ssh://app9".to_owned()), 0, "on another engine");
}

/// This is what `docker compose up` leaves of a project whose old containers were kept.
#[test]
fn the_successor_of_a_restarted_kept_container_gets_the_original_name() {
    let aside = "mobile-app1.old-20261101T000000.000Z";
    let name = |world: &World| world.plan("v2").unwrap().lanes[0].replacement.as_ref().unwrap().name.clone();
    let started = World::pair().another("mobile-app1", aside, |_| {}).gone("mobile-app1");
    assert_eq!(name(&started), "mobile-app1");
    let taken = started.another("mobile-app1b", "mobile-app1", |it| {
        it.published.clear();
        it.networks.clear();
    });
    assert_eq!(name(&taken), aside, "another container has it");
}

#[test]
fn the_volumes_before_a_new_container_are_those_of_its_models() {
    let world = World::pair()
        .container("mobile-app1", |it| it.unnamed_volumes = Some(vec![volume('1', "/data", true)]));
    let before = |world: &World| {
        let plan = world.plan("v2").unwrap();
        plan.lanes[0].replacement.as_ref().unwrap().volumes_before(None)
    };
    assert_eq!(before(&world), Some(BTreeSet::from(["1".repeat(64)])));
    let unknown = world.container("mobile-app1", |it| it.unnamed_volumes = None);
    assert_eq!(before(&unknown), None);
}

#[test]
fn a_server_that_is_only_put_back_gets_no_container() {
    let world = World::pair().runs("mobile-app1", "v2").maint("mobile/app1").left_out("mobile/app1");
    let goal = Goal::new("mobile", RunKind::Deploy, Target::Everywhere(image("v2")), world.policy.clone());
    let draft = build(&world.topology(), &world.observation, &goal).unwrap();
    let created: Vec<&str> = draft.created().map(|(_, replacement)| replacement.name.as_str()).collect();
    assert_eq!(created, ["mobile-app1b"]);
}

/// Returns two servers whose lines name the addresses of their containers in this network.
fn by_own_address(network: &str) -> World {
    let lines = "
backend mobile
    mode http
    server app1 172.17.0.2:8080 check
    server app2 172.17.0.3:8080 check
";
    ["mobile-app1", "mobile-app2"].into_iter().fold(World::of(lines), |world, name| {
        world.container(name, |it| {
            it.published.clear();
            network.clone_into(&mut it.networks[0].network);
        })
    })
}

#[test]
fn a_container_that_is_reached_by_its_own_address_must_be_able_to_keep_it() {
    let refused = by_own_address("bridge").plan("v2").unwrap_err();
    assert!(
        matches!(&refused[0], Refusal::AddressNotKept { container, .. } if container == "mobile-app1"),
        "{refused:?}"
    );
    let plan = by_own_address("front").plan("v2").unwrap();
    let pinned = &plan.lanes[0].replacement.as_ref().unwrap().pinned;
    assert_eq!(pinned.addresses[0].address, "172.17.0.2".parse::<std::net::IpAddr>().unwrap());
}

#[test]
fn a_name_that_a_container_on_another_engine_has_is_free() {
    let aside = "mobile-app1.old-20261101T000000.000Z";
    let world = World::pair().another("mobile-app1", aside, |_| {}).gone("mobile-app1");
    let world = world.another("mobile-app1b", "mobile-app1", |it| {
        it.engine = "ssh://app9".to_owned();
        it.networks.clear();
    });
    let plan = world.plan("v2").unwrap();
    assert_eq!(plan.lanes[0].replacement.as_ref().unwrap().name, "mobile-app1");
}

/// The container of a Compose project is not kept, so its volumes are those of the project.
#[test]
fn an_old_container_with_the_only_copy_of_its_data_is_not_removed() {
    let kept = "mobile-app1.old-20261101T000000.000Z";
    let removed = |owner: Option<Owner>| {
        let world = World::pair().another("mobile-app1", kept, |it| {
            (it.state, it.owner) = (ContainerState::Stopped, owner);
            it.unnamed_volumes = Some(vec![volume('a', "/data", true)]);
        });
        let plan = world.plan("v2").unwrap();
        plan.lanes[0].replacement.as_ref().unwrap().removed(&plan.run, 0).any(|(_, name)| name == kept)
    };
    assert!(!removed(None));
    assert!(removed(Some(Owner::Compose("shop".to_owned()))));
}
