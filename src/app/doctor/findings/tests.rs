use super::*;
use crate::observation::watchtower::Watchtower;
use crate::observation::{AdminBits, OldServer, OldWorker};
use crate::testing::World;

fn examined(world: &World, kept: &SavedStates, runs: &RunRecords) -> Vec<DoctorFinding> {
    let typed = CommandLine::default();
    examine(&world.configuration, kept, &world.observation, &world.topology(), runs, &typed)
}

fn kinds(world: &World, open: &[OpenRun]) -> Vec<(FindingKind, String)> {
    let runs = RunRecords { open: open.to_vec(), ..RunRecords::default() };
    let findings = examined(world, &None, &runs);
    findings.into_iter().map(|finding| (finding.kind, finding.fix)).collect()
}

#[test]
fn a_healthy_site_has_no_findings() {
    assert_eq!(kinds(&World::origin(), &[]), []);
}

#[test]
fn a_server_that_was_left_out_and_a_state_that_a_reload_forgets_are_found() {
    let world = World::origin().server("mobile/app1", |it| it.admin = AdminBits(1));
    let found = kinds(&world, &[]);
    assert_eq!(found[0], (FindingKind::LeftOut, "drainswap ready mobile/app1".to_owned()));
    assert_eq!(found[1].0, FindingKind::ForgottenByReload);
    assert_eq!(found.len(), 2);
    let mut kept = world.clone();
    kept.configuration.server_state_file = Some("/var/lib/haproxy/state".into());
    kept.configuration.proxies[0].keeps_state = true;
    let id = ServerId::new("mobile", "app1");
    for (in_file, findings) in [(Some(AdminState::Maint), 1), (Some(AdminState::Ready), 2), (None, 2)] {
        let file = Some(in_file.map(|state| (id.clone(), state)).into_iter().collect());
        let found = examined(&kept, &file, &RunRecords::default());
        assert_eq!(found.len(), findings, "{in_file:?}");
        assert!(found.iter().skip(1).all(|it| it.fix.starts_with("drainswap maint mobile/app1")));
    }
    // A run that is under way or was killed is the only finding.
    let run = OpenRun {
        run: RunId("20261123T221500.000Z".to_owned()),
        backend: "mobile".to_owned(),
        left: OpenState::Unfinished { touches: vec!["mobile".to_owned()] },
    };
    let fix = "drainswap resume mobile, or to roll it back: drainswap resume mobile --undo".to_owned();
    assert_eq!(kinds(&world, &[run]), [(FindingKind::UnfinishedRun, fix)]);
}

#[test]
fn an_agent_that_is_off_is_found_and_turned_on_by_the_command_that_puts_its_server_back() {
    let off = |it: &mut ServerState| it.checks.agent = Checking::Off;
    let world = World::origin().server("mobile/app1", off);
    let fix = "drainswap ready mobile/app1 --agent on".to_owned();
    assert_eq!(kinds(&world, &[]), [(FindingKind::AgentOff, fix.clone())]);
    let found = kinds(&world.maint("mobile/app1"), &[]);
    assert_eq!(found[0], (FindingKind::LeftOut, fix));
    assert!(found.iter().all(|(kind, _)| *kind != FindingKind::AgentOff));
}

#[test]
fn a_watchtower_that_would_replace_servers_containers_is_one_finding() {
    let settings = Watchtower { disabled: vec!["tablet-two".to_owned()], ..Watchtower::default() };
    let world = World::shared().watched(settings);
    let found = examined(&world, &None, &RunRecords::default());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, FindingKind::Updater);
    assert_eq!(
        found[0].what,
        "the Watchtower watchtower replaces mobile-app1, mobile-app2 without draining when the image's tag changes"
    );
    assert!(found[0].fix.contains("WATCHTOWER_DISABLE_CONTAINERS"), "{}", found[0].fix);
    let by_digest = |it: &mut Container| it.image_reference = format!("mobile@sha256:{}", "1".repeat(64));
    let world = world.container("mobile-app1", by_digest);
    let world = world.container("mobile-app2", |it| it.state = ContainerState::Stopped);
    assert!(examined(&world, &None, &RunRecords::default()).iter().all(|it| it.kind != FindingKind::Updater));
}

#[test]
fn a_server_at_another_address_than_configured_is_found() {
    let world = World::pair().server("mobile/app1", |it| it.address = "127.0.0.1:50000".parse().ok());
    assert_eq!(kinds(&world, &[]), []);
    let world = world.server("mobile/app1", |it| it.address = "127.0.0.1:50008".parse().ok());
    let found = kinds(&world, &[]);
    let (_, fix) = found.iter().find(|(kind, _)| *kind == FindingKind::OtherAddress).expect("a finding");
    assert!(fix.contains("`set server mobile/app1 addr 127.0.0.1 port 50000`"), "{fix}");
}

#[test]
fn a_stuck_run_is_reported_until_everything_is_repaired() {
    let run = RunId("20261123T221500.000Z".to_owned());
    let servers = ["app1", "app1b"].map(|name| (ServerId::new("mobile", name), AdminState::Ready));
    let commands = ["docker start a1", "drainswap ready mobile/app1"].map(str::to_owned);
    let left = OpenState::Stuck { servers: servers.to_vec(), commands: commands.to_vec() };
    let stuck = OpenRun { run: run.clone(), backend: "mobile".to_owned(), left };
    let told = |world: &World| {
        let runs = RunRecords { open: vec![stuck.clone()], ..RunRecords::default() };
        examined(world, &None, &runs)
    };
    let well = World::origin();
    assert_eq!(told(&well), []);
    let open = told(&well.clone().maint("mobile/app1").silent("mobile/app1"));
    assert!(open[0].what.ends_with("put everything back: mobile/app1 is in MAINT and does not answer"));
    let fix = "drainswap resume mobile, or to roll it back: drainswap resume mobile --undo; or by hand: ";
    assert_eq!(
        (open[0].kind, &*open[0].fix),
        (FindingKind::UnfinishedRun, &*(fix.to_owned() + &commands.join("; ")))
    );
    // The servers that it left are reported like any other.
    let open = told(&well.clone().maint("mobile/app1"));
    assert_eq!((open[0].kind, open[1].kind), (FindingKind::UnfinishedRun, FindingKind::LeftOut));
    assert_eq!(open[1].fix, "drainswap ready mobile/app1");
    // Then the containers that it put aside are no longer needed.
    let aside = ContainerRole::Candidate.name("mobile-app1", &run);
    let with = |world: World| world.another("mobile-app1", &aside, |it| it.state = ContainerState::Stopped);
    assert_eq!(told(&with(well.clone()))[0].kind, FindingKind::LeftOver);
    assert!(told(&with(well.down("mobile/app1"))).iter().all(|it| it.kind != FindingKind::LeftOver));
}

#[test]
fn containers_that_were_put_aside_are_found_and_only_idle_ones_may_go() {
    let run = RunId("20261123T221500.000Z".to_owned());
    let runs = RunRecords { over: BTreeSet::from([run]), ..RunRecords::default() };
    let mut world = World::origin();
    let mut old = world.observation.containers[0].clone();
    (old.name, old.id) =
        ("mobile-app1.old-20261123T221500.000Z".to_owned(), crate::model::ids::ContainerId("f".repeat(64)));
    old.state = ContainerState::Stopped;
    world.observation.containers.push(old);
    let found = examined(&world, &None, &runs);
    assert_eq!(found[0].fix, "docker rm mobile-app1.old-20261123T221500.000Z");
    assert!(found[0].left_over.is_some());
    let of_compose =
        |it: &mut Container| it.owner = Some(crate::observation::Owner::Compose("shop".to_owned()));
    let project = world.clone().container("mobile-app1.old-20261123T221500.000Z", of_compose);
    let found = examined(&project, &None, &RunRecords { keep: 1, ..runs.clone() });
    assert_eq!(found[0].kind, FindingKind::LeftOver, "of a Compose project none is kept");
    let place = (String::new(), "mobile-app1.old-20261123T221500.000Z".to_owned());
    let server = ServerId::new("mobile", "app1");
    let runs_of = |keep| {
        let last_aside = BTreeMap::from([(place.clone(), server.clone())]);
        RunRecords { keep, last_aside, ..runs.clone() }
    };
    let previous_of = |world: &World, runs: &RunRecords| {
        let found = examined(world, &None, runs);
        found[0].left_over.as_ref().expect("it may go").previous_of.clone()
    };
    assert_eq!(previous_of(&project, &runs_of(1)).as_ref(), Some(&server), "a rollback needs its image");
    assert_eq!(previous_of(&project, &runs_of(0)), None, "nothing is kept");
    assert_eq!(previous_of(&world, &runs_of(0)), None);
    assert_eq!(previous_of(&project, &RunRecords { keep: 1, ..runs.clone() }), None, "a later run followed");
    assert_eq!(
        examined(&world, &None, &RunRecords { keep: 1, ..runs.clone() }),
        [],
        "it is kept for a rollback"
    );
    let mut alone = world.clone();
    alone.observation.containers[0].state = ContainerState::Stopped;
    let found = examined(&alone, &None, &runs);
    assert!(found.iter().all(|finding| finding.left_over.is_none()), "it has no successor");
    let found = examined(&world, &None, &RunRecords::default());
    assert!(found[0].left_over.is_none(), "the run is unknown here");
    world.observation.containers.last_mut().unwrap().state = ContainerState::Running;
    let found = examined(&world, &None, &runs);
    assert_eq!((found[0].kind, &found[0].left_over), (FindingKind::LeftOver, &None));
}

#[test]
fn containers_that_other_sites_put_aside_are_one_finding() {
    let run = RunId("20261123T221500.000Z".to_owned());
    let aside = |world: World, number: u8| {
        let name = ContainerRole::Previous.name(&format!("other-app{number}"), &run);
        world.another("mobile-app1", &name, |it| {
            (it.state, it.id) =
                (ContainerState::Stopped, crate::model::ids::ContainerId(number.to_string().repeat(64)));
            it.published.clear();
        })
    };
    let world = (1..=2).fold(World::origin(), aside);
    let found = kinds(&world, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    let many = examined(&(3..=6).fold(world, aside), &None, &RunRecords::default());
    assert_eq!(many.len(), 1, "{many:?}");
    assert!(
        many[0].what.starts_with("6 containers were put aside by runs that are not in this state directory")
    );
    assert!(many[0].what.ends_with(" and 2 more"), "{}", many[0].what);
}

/// A listen section that was removed from haproxy.cfg without a reload.
#[test]
fn a_container_that_haproxy_still_uses_is_never_removed() {
    let run = RunId("20261123T221500.000Z".to_owned());
    let runs = RunRecords { over: BTreeSet::from([run.clone()]), ..RunRecords::default() };
    for name in ["mobile-app9".to_owned(), ContainerRole::Previous.name("mobile-app1", &run)] {
        let elsewhere = |it: &mut Container| it.published[0].port = 50002;
        let world = World::pair().another("mobile-app1", &name, elsewhere);
        let advice = |world: &World| -> Vec<(FindingKind, String)> {
            let found = examined(world, &None, &runs);
            found.into_iter().map(|finding| (finding.kind, finding.fix)).collect()
        };
        assert!(advice(&world).iter().any(|(_, fix)| fix.contains("docker rm")), "{name}");
        let unlisted = world.clone().unlisted("old/app1", "127.0.0.1:50002");
        let found = advice(&unlisted);
        assert!(found.iter().all(|(_, fix)| !fix.contains("docker rm")), "{name}: {found:?}");
        assert_eq!(found[0].0, FindingKind::Unlisted, "{found:?}");
        let mut replaced = world.clone();
        let address = Some("127.0.0.1:50002".parse().unwrap());
        let held = OldServer { id: ServerId::new("old", "app1"), address, sessions: 1 };
        replaced.observation.load_balancers[0].old_workers =
            Some(vec![OldWorker { pid: 4700, servers: vec![held] }]);
        let found = advice(&replaced);
        assert!(found.iter().all(|(_, fix)| !fix.contains("docker rm")), "{name}: {found:?}");
    }
}

#[test]
fn old_workers_and_unreached_containers_are_found() {
    let mut world = World::pair();
    let held = OldServer { id: ServerId::new("mobile", "app1"), address: None, sessions: 2 };
    let old = OldWorker { pid: 4700, servers: vec![held] };
    world.observation.load_balancers[0].old_workers = Some(vec![old]);
    let mut stray = world.observation.containers[0].clone();
    (stray.name, stray.id) = ("mobile-app9".to_owned(), crate::model::ids::ContainerId("e".repeat(64)));
    stray.published[0].port = 50002;
    world.observation.containers.push(stray);
    let found = examined(&world, &None, &RunRecords::default());
    assert_eq!(
        found[0].what,
        "HAProxy's worker 4700 was replaced by a reload, and still holds 2 sessions to mobile/app1"
    );
    assert_eq!(
        found[1].what,
        "the container mobile-app9 publishes 127.0.0.1:50002, and no server line reaches it"
    );
    assert_eq!(found.len(), 2);

    world.observation.load_balancers[0].version = "3.4.7".to_owned();
    let limited = &examined(&world, &None, &RunRecords::default())[0].what;
    assert!(
        limited.ends_with(
            "; HAProxy kills it and its sessions after 50 reloads (`mworker-max-reloads` in global)"
        ),
        "{limited}"
    );
    world.configuration.max_reloads = Some(3);
    assert!(examined(&world, &None, &RunRecords::default())[0].what.contains("after 3 reloads"));
}
