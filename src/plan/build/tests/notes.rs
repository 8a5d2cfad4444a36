//! What a plan warns of and notes, without refusing.

use std::collections::BTreeMap;

use super::*;
use crate::model::ids::ContainerId;
use crate::model::run_kind::RunKind;
use crate::observation::watchtower::{UpdateLabels, Watchtower};
use crate::observation::{ContainerState, Described, OldServer, OldWorker, Owner, Published, RestartPolicy};
use crate::plan::{OnDrainTimeout, RollbackTarget, Step, Target};

/// Returns the notes of a deploy of v2.
fn warnings(world: &World) -> String {
    world.plan("v2").unwrap().warnings.join("\n")
}

#[test]
fn a_policy_that_ends_sessions_is_noted() {
    let mut world = World::pair();
    world.policy.on_drain_timeout = OnDrainTimeout::Maint;
    assert_eq!(warnings(&world), "");
    world.policy.on_drain_timeout = OnDrainTimeout::Shutdown;
    assert_snapshot!(warnings(&world), @"sessions that have not ended after 300 s will be ended within 10 s (--on-drain-timeout shutdown)");
    world.policy.on_drain_timeout = OnDrainTimeout::Force;
    assert_snapshot!(warnings(&world), @"sessions that have not ended after 300 s will be cut (--on-drain-timeout force)");
}

#[test]
fn a_backend_that_content_switching_leaves_out_is_a_note_and_no_request_is_expected() {
    let mut world = World::pair();
    assert!(world.plan("v2").unwrap().lanes[0].servers[0].takes_traffic);
    world.observation.load_balancers[0].unpublished = ["mobile".to_owned()].into();
    assert_snapshot!(warnings(&world), @"backend mobile is unpublished: HAProxy gives it no new requests until `publish backend mobile`");
    assert!(!world.plan("v2").unwrap().lanes[0].servers[0].takes_traffic);
}

#[test]
fn a_healthy_server_without_traffic_is_noted() {
    let world = World::origin().runs("mobile-app1", "v2").server("mobile/app1", |server| {
        server.operational = Operational::Stopped;
        server.status = "DOWN".to_owned();
    });
    assert_snapshot!(warnings(&world), @"mobile/app1 runs the wanted image, but HAProxy reports it as DOWN");
}

#[test]
fn sessions_of_old_workers_are_noted_and_so_is_a_missing_master_socket() {
    let mut world = World::pair();
    let held = |server: &str, sessions| OldServer { id: server.parse().unwrap(), address: None, sessions };
    let workers = vec![
        OldWorker { pid: 4000, servers: vec![held("mobile/app1", 3), held("else/where", 9)] },
        OldWorker { pid: 4100, servers: vec![] },
    ];
    world.observation.load_balancers[0].old_workers = Some(workers);
    assert_snapshot!(warnings(&world), @"HAProxy's old worker 4000 still holds 3 sessions to mobile/app1, which the drain waits for");
    world.observation.load_balancers[0].old_workers = None;
    assert_snapshot!(warnings(&world), @"cannot see the sessions of HAProxy's old workers after a reload: no master socket is known (haproxy -S, --master-socket). A reload during the run will abort it");
    let put_back = world.maint("mobile/app1").runs("mobile-app1", "v2").runs("mobile-app1b", "v2");
    let put_back = put_back.left_out("mobile/app1");
    assert!(!warnings(&put_back).contains("old workers"), "nothing is stopped: {}", warnings(&put_back));
}

#[test]
fn a_container_that_could_open_more_files_is_a_note() {
    let with = |had, now| {
        let mut world = World::pair().container("mobile-app1", move |it| it.open_files = had);
        let host = crate::observation::Host { open_files: now, ..Default::default() };
        world.observation.hosts.insert(String::new(), host);
        world.plan("v2").unwrap().warnings
    };
    assert_eq!(
        with(Some(1_048_576), Some(1024)),
        [
            "mobile-app1 can open 1048576 files, but the replacement can open only 1024, containerd's current limit. Set LimitNOFILE=1048576 in containerd.service, or --ulimit nofile=1048576, to keep the old limit"
        ]
    );
    for (had, now) in
        [(Some(1024), Some(1024)), (Some(1024), Some(4096)), (None, Some(1024)), (Some(4096), None)]
    {
        assert_eq!(with(had, now), [""; 0], "{had:?} {now:?}");
    }
}

#[test]
fn files_of_the_new_image_hidden_by_a_carried_volume_are_noted() {
    let with = |by_image| {
        let of = |digit| {
            move |it: &mut Container| it.unnamed_volumes = Some(vec![volume(digit, "/data", by_image)])
        };
        World::pair().container("mobile-app1", of('1')).container("mobile-app1b", of('2'))
    };
    assert_eq!(
        with(true).plan("v2").unwrap().warnings,
        [
            "the data of mobile-app1, mobile-app1b at /data is carried over in anonymous volumes, which hide the new image's files there. Use --renew-anon-volumes to get new volumes"
        ]
    );
    // A volume that a person asked for (-v /data) gets no files from the image.
    assert_eq!(with(false).plan("v2").unwrap().warnings, [""; 0]);
    // The same image has no other files.
    let mut same = with(true);
    same.observation.containers[0].state = ContainerState::Stopped;
    assert!(
        !same.down("mobile/app1").plan("v1").is_ok_and(|plan| plan.to_string().contains("anonymous volumes"))
    );
    let mut described = with(true);
    let mounts = vec!["/data".to_owned()];
    let wanted = Described { port: 8080, restart: RestartPolicy::never(), mounts, ..Described::default() };
    described.observation.described.insert("mobile".to_owned(), wanted);
    assert_eq!(
        described.plan("v2").unwrap().warnings,
        [""; 0],
        "the description mounts something else there"
    );
}

#[test]
fn renewed_volumes_are_noted_and_the_old_data_is_kept() {
    let mut world = World::pair()
        .container("mobile-app1", |it| it.unnamed_volumes = Some(vec![volume('1', "/data", true)]));
    let removes = |world: &World| {
        let plan = world.plan("v2").unwrap();
        let first = plan.lanes[0].replacement.as_ref().unwrap();
        let removed = first.removed(&plan.run, plan.goal.policy.keep).count();
        assert_eq!(plan.lanes[0].steps.contains(&Step::Remove), removed > 0);
        removed
    };
    // The new container keeps using its data.
    assert_eq!(removes(&world), 1);
    world.policy.renew_anon_volumes = true;
    assert_eq!(removes(&world), 0);
    let plan = world.plan("v2").unwrap();
    assert!(plan.warnings[0].starts_with("mobile-app1 will get new volumes at /data"), "{:?}", plan.warnings);
    assert!(plan.lanes[0].replacement.as_ref().unwrap().create_spec(&plan.run, None).renew_volumes);

    // No container of a Compose project is kept, whatever its volumes hold.
    let mut of_compose = world.clone();
    of_compose.observation.containers[0].owner = Some(Owner::Compose("shop".to_owned()));
    assert_eq!(removes(&of_compose), 1);
    let warnings = of_compose.plan("v2").unwrap().warnings;
    assert!(
        warnings.iter().any(|it| it.contains("in volumes that no container uses any more")),
        "{warnings:?}"
    );

    // A container that an earlier run kept: its volume is either unique or shared with the running one.
    let model = world.observation.containers[0].clone();
    let (name, state) = ("mobile-app1.old-20261101T000000.000Z".to_owned(), ContainerState::Stopped);
    let unnamed_volumes = Some(vec![volume('0', "/data", true)]);
    let kept = Container { id: ContainerId("0".repeat(64)), name, state, unnamed_volumes, ..model.clone() };
    world.observation.containers.push(kept);
    assert_eq!(removes(&world), 0);
    world.observation.containers.last_mut().unwrap().unnamed_volumes = model.unnamed_volumes;
    assert_eq!(removes(&world), 1);
}

#[test]
fn links_to_the_old_container_are_noted() {
    let linked = |engine: &str, name: &str| {
        let mut world = World::pair();
        let model = world.observation.containers[0].clone();
        let mut linked = Container { name: name.to_owned(), published: vec![], ..model.clone() };
        (linked.id, linked.links) = (ContainerId("d".repeat(64)), vec![model.name]);
        engine.clone_into(&mut linked.engine);
        world.observation.containers.push(linked);
        world.plan("v2").unwrap().warnings
    };
    assert_eq!(
        linked("", "worker"),
        [
            "worker links to mobile-app1 (--link): it will not reach the new container and cannot start without the old one. Recreate it after the deploy"
        ]
    );
    assert_eq!(linked("web-b", "worker"), [""; 0]);
    assert_eq!(linked("", "worker.old-20261101T000000.000000Z"), [""; 0]);
}

#[test]
fn settings_shared_with_a_sibling_are_noted() {
    let world = World::origin().down("mobile/app2").gone("mobile-app2").container("mobile-app1", |it| {
        it.hostname = Some("first".to_owned());
        it.named_volumes = vec!["files".to_owned(), "cache".to_owned()];
        it.networks[0].aliases = vec!["web".to_owned(), "first".to_owned(), "mobile-app1".to_owned()];
        it.published.push(Published { ip: "127.0.0.1".parse().unwrap(), port: 9000, container_port: 9090 });
    });
    let plan = world.plan("v2").unwrap();
    assert!(
        plan.warnings.contains(&"mobile-app2 is created with the settings of mobile-app1: it shares the volume cache and files, alias web; it does not get the hostname first, published port 127.0.0.1:9000:9090".to_owned()),
        "{:?}", plan.warnings
    );
}

/// Returns the containers that a Watchtower would replace, according to the plan.
fn watched(plan: Plan) -> Vec<String> {
    let warnings = plan.warnings.into_iter();
    let notes =
        warnings.filter_map(|it| it.strip_prefix("the Watchtower watchtower replaces ").map(str::to_owned));
    notes.map(|it| it.split(" without").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_watchtower_is_judged_by_what_the_containers_will_be() {
    let by_digest = |it: &mut Container| it.image_reference = format!("mobile@sha256:{}", "1".repeat(64));
    let world = World::pair().watched(Watchtower::default()).container("mobile-app1", by_digest);
    assert_eq!(watched(world.plan("v2").unwrap()), ["mobile-app1, mobile-app1b"], "created by the tag");
    // The first stays as it is.
    let half = world.clone().runs("mobile-app1", "v2").container("mobile-app1", by_digest);
    assert_eq!(watched(half.plan("v2").unwrap()), ["mobile-app1b"]);
    let digest = format!("sha256:{}", "2".repeat(64));
    let reference = format!("mobile@{digest}").parse().unwrap();
    let pinned = Target::Everywhere(Image::Registry { reference, digest });
    let plan = World::pair().watched(Watchtower::default()).plan_for(RunKind::Deploy, pinned);
    assert_eq!(watched(plan.unwrap()), [""; 0], "an image by its digest stays the same");

    let mut described = world;
    let labels = UpdateLabels { enable: Some(false), ..UpdateLabels::default() };
    let wanted = Described { port: 8080, update_labels: labels, ..Described::default() };
    described.observation.described.insert("mobile".to_owned(), wanted);
    assert_eq!(watched(described.plan("v2").unwrap()), [""; 0], "the description gives the label");
    let down = World::pair().down("mobile/app1b").stopped("mobile-app1b").watched(Watchtower::default());
    assert_eq!(watched(down.plan("v2").unwrap()), ["mobile-app1b, mobile-app1"], "the new one runs");
}

#[test]
fn a_kept_container_that_comes_back_is_judged_by_its_own_image() {
    const KEPT: &str = "mobile-app1.old-20261122T100000.000000Z";
    let plan = |image_reference: &str| {
        let only = Watchtower { only: vec!["mobile-app1".to_owned()], ..Watchtower::default() };
        let world = World::pair().runs("mobile-app1", "v2").watched(only);
        let world = world.another("mobile-app1", KEPT, |kept| {
            kept.state = ContainerState::Stopped;
            image_reference.clone_into(&mut kept.image_reference);
        });
        let kept = world.observation.containers.iter().find(|it| it.name == KEPT).cloned();
        let returned = RollbackTarget { image: image("v1"), container: kept, engine: String::new() };
        let target = Target::Each(BTreeMap::from([(ServerId::new("mobile", "app1"), returned)]));
        watched(world.plan_for(RunKind::Rollback, target).unwrap())
    };
    assert_eq!(plan("mobile:v1"), ["mobile-app1"]);
    assert_eq!(plan(&format!("mobile:v1@sha256:{}", "1".repeat(64))), [""; 0]);
}

#[test]
fn the_plan_says_where_haproxy_s_own_check_decides_and_how_long_it_may_take() {
    let plan = own_checked("").plan("v2").unwrap();
    let confirm = plan.to_string().lines().find(|line| line.contains("confirm")).unwrap().trim().to_owned();
    assert_eq!(
        confirm,
        "confirm    HAProxy's own check, which decides here (option redis-check), reports it up (63 s at most) and gives it traffic"
    );
    let stored: Plan = serde_json::from_value(serde_json::to_value(&plan).unwrap()).unwrap();
    assert_eq!(stored, plan);
}

#[test]
fn an_own_check_cannot_decide_if_clients_are_sent_to_servers_that_are_down() {
    for line in ["option persist", "force-persist if TRUE"] {
        let refusals = own_checked(line).plan("v2").unwrap_err();
        let text = refusals[0].to_string();
        assert!(text.contains("option persist") && text.contains("option redis-check"), "{text}");
    }
    let asked = "backend mobile\n mode http\n option persist\n server app1 127.0.0.1:50000 check\n server app2 127.0.0.1:50001 check\n";
    assert!(World::of(asked).plan("v2").is_ok(), "what can be asked is proven before");
}

#[test]
fn an_own_check_that_is_turned_off_is_a_note() {
    let world = own_checked("").server("mobile/app1", |state| state.checks.health = Checking::Off);
    let warnings = world.plan("v2").unwrap().warnings;
    assert!(
        warnings.iter().any(|it| it.contains("health check of mobile/app1 is turned off")),
        "{warnings:?}"
    );
}
