//! Inspections of a real engine (20.10), and the containers created from them.

use bollard::models::{ContainerInspectResponse, HealthConfig, ImageInspect, Mount, MountPoint, MountType};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::layers::Layers;
use super::super::{
    fixture,
    inspect::{self, COMPOSE_LABELS},
};
use super::*;
use crate::model::ids::ContainerId;
use crate::model::image::Image;
use crate::observation::ContainerChange;
use crate::observation::Pinned;
use crate::service::create_spec::SpecSource;
use crate::testing::bytes::damaged;

const BEFORE_1_44: Dialect = Dialect { api: (1, 41), is_podman: false };
const AFTER_1_44: Dialect = Dialect { api: (1, 47), is_podman: false };

fn recipe(publish: Option<Published>) -> CreateSpec {
    CreateSpec {
        platform: None,
        model: SpecSource::CopyOf(ContainerId("67e7a6c29d15".into())),
        image: Image::Local { reference: "mobile:v2".into(), id: "sha256:02".into() },
        name: "app1.new-20261123T221500Z".into(),
        publish,
        pinned: Pinned::default(),
        renew_volumes: false,
        beside: None,
    }
}

fn image() -> ImageInspect {
    fixture::inspect("image.json")
}

fn running() -> ContainerInspectResponse {
    fixture::inspect("running.json")
}

/// Returns the running container with a changed inspection.
fn changed(change: impl FnOnce(&mut HostConfig, &mut ContainerConfig)) -> ContainerInspectResponse {
    let mut old = running();
    change(old.host_config.as_mut().unwrap(), old.config.as_mut().unwrap());
    old
}

fn create(old: &ContainerInspectResponse, publish: Option<Published>) -> Blueprint {
    blueprint(old, RawSettings::default(), Some(&image()), BEFORE_1_44, &recipe(publish)).unwrap()
}

fn endpoints(blueprint: &Blueprint) -> &HashMap<String, EndpointSettings> {
    let config = blueprint.body.networking_config.as_ref().unwrap();
    config.endpoints_config.as_ref().unwrap()
}

#[test]
fn only_the_user_s_settings_are_carried_over() {
    let blueprint = create(&running(), None);
    let body = serde_json::to_value(&blueprint.body).unwrap();
    assert_eq!(body, fixture::inspect::<Value>("create.json"));
    let connect = serde_json::to_value(&blueprint.connect).unwrap();
    assert_eq!(connect, json!([["back", { "Aliases": ["webb"], "DriverOpts": {} }]]));
}

#[test]
fn a_newer_engine_accepts_all_networks_and_a_chosen_mac_address() {
    let mut old = running();
    let networks = old.network_settings.as_mut().and_then(|settings| settings.networks.as_mut()).unwrap();
    for (name, endpoint) in networks {
        endpoint.mac_address =
            Some(if name == "back" { "02:11:22:33:44:55" } else { "02:66:22:33:44:55" }.into());
    }
    let of = |dialect, chosen: Option<&str>| {
        let mut raw = RawSettings::default();
        raw.mac_address = chosen.map(str::to_owned);
        let blueprint = blueprint(&old, raw, Some(&image()), dialect, &recipe(None)).unwrap();
        let mac = |name: &str| endpoints(&blueprint).get(name)?.mac_address.clone();
        (mac("front"), mac("back"), blueprint.connect.len())
    };
    let other = Some("02:11:22:33:44:55".to_owned());
    let given = Some("02:66:22:33:44:55");
    assert_eq!(of(AFTER_1_44, given), (given.map(str::to_owned), other.clone(), 0));
    // If the mode names a network by its identifier, the engine does not report the choice, but the IP address
    // reveals it.
    assert_eq!(of(AFTER_1_44, None), (given.map(str::to_owned), other, 0));
    // This engine generates addresses at random, and reports only for the main network which one was chosen.
    let random = Dialect { api: (1, 51), is_podman: false };
    assert_eq!(of(random, None), (None, None, 0));
    assert_eq!(of(random, given), (given.map(str::to_owned), None, 0));
    // Accepted for the container as a whole.
    assert_eq!(of(BEFORE_1_44, given), (None, None, 1));
    assert_eq!(of(Dialect { is_podman: true, ..AFTER_1_44 }, None), (None, None, 0));
}

#[test]
fn a_sibling_gets_its_own_port_and_nothing_of_the_other_container() {
    let mut old = changed(|_, config| config.hostname = Some("web-1.example".into()));
    let networks = old.network_settings.as_mut().and_then(|settings| settings.networks.as_mut()).unwrap();
    networks.get_mut("front").unwrap().aliases.as_mut().unwrap().push("web-1.example".into());
    let publish = Published { ip: "0.0.0.0".parse().unwrap(), port: 57915, container_port: 8080 };
    let blueprint = create(&old, Some(publish));
    let host = blueprint.body.host_config.as_ref().unwrap();
    let bindings = serde_json::to_value(&host.port_bindings).unwrap();
    assert_eq!(bindings, json!({ "8080/tcp": [{ "HostIp": "", "HostPort": "57915" }] }));
    assert_eq!(host.mounts, running().host_config.unwrap().mounts);
    assert_eq!(host.binds, running().host_config.unwrap().binds);
    assert_eq!(blueprint.body.hostname, None);
    let labels = blueprint.body.labels.as_ref().unwrap();
    assert!(!labels.contains_key(CLAIM_LABEL) && labels.keys().all(|name| !name.starts_with(COMPOSE_LABELS)));
    assert_eq!(endpoints(&blueprint)["front"].ipam_config, None);
    // A shared alias stays; the hostname belongs to the sibling alone.
    assert_eq!(endpoints(&blueprint)["front"].aliases, Some(vec!["web".to_owned()]));
    let own = create(&old, None).body.labels.unwrap();
    assert!(own.keys().any(|name| name.starts_with(COMPOSE_LABELS)), "it stays the project's");
}

#[test]
fn anonymous_volumes_are_renewed_on_request() {
    let carried = create(&running(), None).body.host_config;
    for mounts in [running().host_config.unwrap().mounts, carried.unwrap().mounts] {
        let mut mounts = mounts.unwrap();
        mounts[0].read_only = mounts[0].source.is_some().then_some(true);
        let old = changed(|host, _| host.mounts = Some(mounts));
        let recipe = CreateSpec { renew_volumes: true, ..recipe(None) };
        let host = blueprint(&old, RawSettings::default(), Some(&image()), BEFORE_1_44, &recipe)
            .unwrap()
            .body
            .host_config
            .unwrap();
        let mounts = host.mounts.unwrap();
        assert!(mounts.iter().all(|mount| mount.source.is_none() && mount.read_only != Some(true)));
        assert_eq!(host.binds, running().host_config.unwrap().binds, "a named one is never renewed");
    }
}

#[test]
fn volumes_of_a_missing_lender_become_the_container_s_own() {
    let lent = |typ: &str, name: Option<&str>, target: &str| MountPoint {
        typ: Some(typ.to_owned()),
        name: name.map(str::to_owned),
        source: Some("/srv/lent".into()),
        destination: Some(target.into()),
        rw: Some(typ == "volume"),
        ..MountPoint::default()
    };
    let (unnamed, gone) = ("ab".repeat(32), ["files-1".to_owned()]);
    let mut old = changed(|host, _| {
        host.volumes_from = Some(vec!["files-1:ro".into(), "there".into()]);
    });
    let mounts = old.mounts.as_mut().unwrap();
    mounts.extend([lent("volume", Some(&unnamed), "/lent"), lent("bind", None, "/lent-bind")]);
    assert_eq!(volumes::lenders(&old), ["files-1", "there"]);
    assert!(volumes::unnamed(&old).contains(&unnamed) && !volumes::own(&old).contains(&unnamed));
    assert_eq!(volumes::own(&old).len(), 3, "/anon, /image-volume and /m2");
    let own = volumes::without_lenders(&old, &gone);
    // A sibling, and a container that gets new volumes, still has all of them.
    let publish = Published { ip: "0.0.0.0".parse().unwrap(), port: 57915, container_port: 8080 };
    for recipe in [recipe(None), recipe(Some(publish)), CreateSpec { renew_volumes: true, ..recipe(None) }] {
        let host = blueprint(&own, RawSettings::default(), Some(&image()), BEFORE_1_44, &recipe)
            .unwrap()
            .body
            .host_config
            .unwrap();
        assert_eq!(host.volumes_from, Some(vec!["there".to_owned()]));
        let binds = host.binds.unwrap();
        assert_eq!(binds, ["/srv/app:/bind:ro", "files:/named", &format!("{unnamed}:/lent")]);
        let mounts = host.mounts.unwrap();
        assert!(!mounts.iter().any(|mount| mount.target.as_deref() == Some("/lent")), "not twice");
        let bind = mounts.iter().find(|mount| mount.target.as_deref() == Some("/lent-bind")).unwrap();
        assert_eq!((bind.source.as_deref(), bind.read_only), (Some("/srv/lent"), Some(true)));
    }
    // An existing lender lends its volumes again, and they are not the borrower's own.
    let host = create(&old, None).body.host_config.unwrap();
    assert!(!host.mounts.unwrap().iter().any(|mount| mount.target.as_deref() == Some("/lent")));
    assert_eq!(*volumes::without_lenders(&old, &[]), old);
}

#[test]
fn a_sibling_gets_new_volumes_even_where_the_other_s_were_carried_before() {
    let carried = create(&running(), None).body.host_config;
    let old = changed(|host, _| host.mounts = carried.unwrap().mounts);
    let publish = Published { ip: "0.0.0.0".parse().unwrap(), port: 57915, container_port: 8080 };
    let mounts = create(&old, Some(publish)).body.host_config.unwrap().mounts.unwrap();
    assert_eq!(mounts.len(), 3);
    assert!(mounts.iter().all(|mount| mount.source.is_none()));
}

#[test]
fn a_place_is_mounted_once_however_it_was_typed() {
    for typed in ["/named/", "//named", "/./named", "/x/../named"] {
        let old = changed(|host, _| host.binds = Some(vec![format!("files:{typed}")]));
        let host = create(&old, None).body.host_config.unwrap();
        assert_eq!(host.binds, Some(vec![format!("files:{typed}")]));
        let targets: Vec<String> =
            host.mounts.unwrap().into_iter().filter_map(|mount| mount.target).collect();
        assert!(!targets.contains(&"/named".to_owned()), "{typed}: {targets:?}");

        let mount = Mount { typ: Some(MountType::VOLUME), target: Some(typed.into()), ..Mount::default() };
        let old = changed(|host, _| (host.binds, host.mounts) = (None, Some(vec![mount])));
        let mounts = create(&old, None).body.host_config.unwrap().mounts.unwrap();
        let there: Vec<&Mount> =
            mounts.iter().filter(|it| it.target.as_ref().is_some_and(|it| it.contains("named"))).collect();
        assert_eq!(there.len(), 1, "{typed}: {there:?}");
        assert_eq!(there[0].source.as_deref(), Some("files"), "{typed}: its data is carried");
    }
}

#[test]
fn the_sibling_s_address_is_kept_where_one_was_named() {
    let publish = Published { ip: "127.0.0.1".parse().unwrap(), port: 57915, container_port: 8080 };
    let host = create(&running(), Some(publish)).body.host_config.unwrap();
    let bindings = serde_json::to_value(&host.port_bindings).unwrap();
    assert_eq!(bindings["8080/tcp"][0]["HostIp"], "127.0.0.1");
}

#[test]
fn a_container_that_could_not_be_rolled_back_is_refused() {
    let refused = |old: &ContainerInspectResponse| {
        let error =
            blueprint(old, RawSettings::default(), Some(&image()), BEFORE_1_44, &recipe(None)).unwrap_err();
        assert!(matches!(error, EngineError::Refused { action: "create", .. }));
        error.to_string()
    };
    assert!(refused(&changed(|host, _| host.auto_remove = Some(true))).contains("--rm"));
    // A Quadlet unit has --rm in its command.
    let unit = changed(|host, config| {
        host.auto_remove = Some(true);
        config.labels.as_mut().unwrap().insert("PODMAN_SYSTEMD_UNIT".into(), "web.service".into());
    });
    assert!(refused(&unit).contains("`systemctl restart web.service`"));
}

#[test]
fn without_the_old_image_everything_is_carried() {
    let blueprint = blueprint(&running(), RawSettings::default(), None, BEFORE_1_44, &recipe(None)).unwrap();
    assert_eq!(blueprint.body.env, running().config.unwrap().env);
    assert_eq!(blueprint.body.entrypoint, Some(vec!["/sleeper".to_owned()]));
}

#[test]
fn the_command_goes_with_its_entrypoint() {
    let own_entrypoint = changed(|_, config| {
        config.entrypoint = Some(vec!["/other".into()]);
        config.cmd = Some(vec!["8080".into()]);
    });
    assert_eq!(create(&own_entrypoint, None).body.cmd, Some(vec!["8080".to_owned()]));
    let all_from_the_image = changed(|_, config| config.cmd = Some(vec!["8080".into()]));
    let body = create(&all_from_the_image, None).body;
    assert_eq!((body.cmd, body.entrypoint), (None, None));
}

#[test]
fn a_healthcheck_is_carried_as_far_as_it_was_given() {
    let check = create(&running(), None).body.healthcheck.unwrap();
    assert_eq!(check, HealthConfig { interval: Some(3_000_000_000), ..HealthConfig::default() });
    let none = changed(|_, config| {
        config.healthcheck =
            Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() });
    });
    assert_eq!(create(&none, None).body.healthcheck.unwrap().test, Some(vec!["NONE".to_owned()]));
    let image_s = changed(|_, config| config.healthcheck = image().config.unwrap().healthcheck);
    assert_eq!(create(&image_s, None).body.healthcheck, None);
}

#[test]
fn a_hostname_that_docker_made_up_is_not_carried() {
    let hostname = |name: &str, mode: &str, uts: &str| {
        let old = changed(|host, config| {
            config.hostname = Some(name.into());
            (host.network_mode, host.uts_mode) = (Some(mode.into()), Some(uts.into()));
        });
        create(&old, None).body.hostname
    };
    assert_eq!(hostname("67e7a6c29d15", "front", ""), None);
    assert_eq!(hostname("web", "front", "").as_deref(), Some("web"));
    assert_eq!(hostname("web", "front", "host"), None);
    assert_eq!(hostname("web", "container:0123", ""), None);
}

#[test]
fn a_container_in_another_s_network_has_no_ports_and_no_networks_of_its_own() {
    let old = changed(|host, _| host.network_mode = Some("container:0123".into()));
    let blueprint = create(&old, None);
    assert_eq!((blueprint.body.exposed_ports, blueprint.body.networking_config), (None, None));
    assert_eq!(namespace_owners(&old), [("network", "0123".to_owned())]);
}

#[test]
fn what_podman_shows_is_written_as_it_takes_it() {
    let old = changed(|host, _| {
        host.ulimits.as_mut().unwrap()[0].name = Some("RLIMIT_NOFILE".into());
        host.devices = Some(vec![bollard::models::DeviceMapping {
            cgroup_permissions: Some(String::new()),
            ..Default::default()
        }]);
    });
    let podman = Dialect { is_podman: true, ..BEFORE_1_44 };
    let created = blueprint(&old, RawSettings::default(), Some(&image()), podman, &recipe(None)).unwrap();
    let host = created.body.host_config.unwrap();
    assert_eq!(host.ulimits.unwrap()[0].name.as_deref(), Some("nofile"));
    assert_eq!(host.devices.unwrap()[0].cgroup_permissions.as_deref(), Some("rwm"));
}

#[test]
fn the_additions_of_podman_are_no_changes() {
    let id = short_id(&running()).to_owned();
    let mut old = changed(|_, config| {
        (config.stop_signal, config.volumes, config.healthcheck) = (Some("15".to_owned()), None, None);
        config.env.get_or_insert_default().push(format!("HOSTNAME={id}"));
    });
    old.mounts.get_or_insert_default().push(MountPoint {
        typ: Some("volume".to_owned()),
        name: Some("0".repeat(64)),
        destination: Some("/data".to_owned()),
        ..MountPoint::default()
    });
    let image_with = |volumes: &[&str]| {
        let mut image = image();
        let config = image.config.get_or_insert_default();
        config.volumes = Some(volumes.iter().map(|target| (*target).to_owned()).collect());
        (config.stop_signal, config.healthcheck) = (None, None);
        image
    };
    let podman = Dialect { is_podman: true, ..BEFORE_1_44 };
    let created =
        blueprint(&old, RawSettings::default(), Some(&image_with(&["/data"])), podman, &recipe(None))
            .unwrap();
    let changes = |volumes: &[&str]| {
        let (config, defaults) = comparable(&old, image_with(volumes).config.unwrap(), true);
        changes::changes(&config, &created.body, &defaults)
    };
    assert_eq!(changes(&["/data"]), []);
    let new = ContainerChange::Added { field: "volume".into(), name: "/new".to_owned() };
    assert_eq!(changes(&["/data", "/new"]), [new]);
}

#[test]
fn links_are_written_as_they_are_typed() {
    assert_eq!(plain_link("/db:/app1/database"), "db:database");
    assert_eq!(plain_link("db:database"), "db:database");
}

#[test]
fn an_empty_list_of_masked_paths_is_not_the_default_one() {
    let unconfined = changed(|host, _| host.masked_paths = Some(vec![]));
    let body = serde_json::to_value(create(&unconfined, None).body).unwrap();
    assert_eq!(body["HostConfig"]["MaskedPaths"], json!([]));
    let privileged = changed(|host, _| host.masked_paths = None);
    let body = serde_json::to_value(create(&privileged, None).body).unwrap();
    assert_eq!(body["HostConfig"].get("MaskedPaths"), None);
}

#[test]
fn a_port_that_the_new_image_exposes_comes_where_all_are_published() {
    let old = changed(|host, config| {
        host.publish_all_ports = Some(true);
        config.exposed_ports.get_or_insert_default().push("7070/udp".to_owned());
    });
    let mut old_image = image();
    let defaults = old_image.config.get_or_insert_default();
    defaults.exposed_ports.get_or_insert_default().push("7070/udp".to_owned());
    let new_image = bollard::models::ImageConfig {
        exposed_ports: Some(vec!["9090/tcp".to_owned(), "9090/udp".to_owned()]),
        ..bollard::models::ImageConfig::default()
    };
    let told = |recipe: &CreateSpec| -> Vec<String> {
        let blueprint =
            blueprint(&old, RawSettings::default(), Some(&old_image), BEFORE_1_44, recipe).unwrap();
        let changes = changes::changes(old.config.as_ref().unwrap(), &blueprint.body, &new_image);
        let told = changes.iter().map(ToString::to_string);
        told.filter(|it| it.starts_with("exposed port (published by -P) ")).collect()
    };
    let comes = "exposed port (published by -P) 9090/tcp is new";
    assert_eq!(told(&recipe(None)), ["exposed port (published by -P) 7070/udp is removed", comes]);
    let port = Published { ip: "0.0.0.0".parse().unwrap(), port: 32768, container_port: 7070 };
    let pinned = Pinned { udp_ports: vec![port], ..Pinned::default() };
    assert_eq!(told(&CreateSpec { pinned, ..recipe(None) }), [comes], "what was published stays so");
}

#[test]
fn changes_by_another_image_are_reported_without_secret_values() {
    let old = changed(|_, config| {
        let env = config.env.get_or_insert_default();
        env.extend(["TOKEN=planted".to_owned(), "LEVEL=planted".to_owned()]);
    });
    let mut old_image = image();
    let defaults = old_image.config.get_or_insert_default();
    defaults.env.get_or_insert_default().push("LEVEL=planted".to_owned());
    let mut new_image = old_image.config.clone().unwrap();
    new_image.exposed_ports.get_or_insert_default().push("9090/tcp".into());
    let env = new_image.env.get_or_insert_default();
    env.retain(|entry| !entry.starts_with("LEVEL="));
    env.extend([
        "LEVEL=other-planted".to_owned(),
        "TOKEN=image-planted".to_owned(),
        "KEY=planted".to_owned(),
    ]);
    let blueprint =
        blueprint(&old, RawSettings::default(), Some(&old_image), BEFORE_1_44, &recipe(None)).unwrap();
    let config = old.config.unwrap();
    let told = |image: &bollard::models::ImageConfig| -> Vec<String> {
        changes::changes(&config, &blueprint.body, image).iter().map(ToString::to_string).collect()
    };
    assert_eq!(told(&old_image.config.unwrap()), Vec::<String>::new(), "the same image changes nothing");
    let told = told(&new_image);
    // The user set TOKEN, whatever the image has.
    for line in [
        "environment variable KEY is new",
        "environment variable LEVEL has a new value",
        "exposed port 9090/tcp is new",
    ] {
        assert!(told.iter().any(|it| it == line), "{line} is missing in {told:?}");
    }
    assert!(!told.iter().any(|it| it.contains("planted") || it.contains("TOKEN")), "{told:?}");
}

proptest! {
    /// Any inspection that an engine returns can be read and recreated.
    #[test]
    fn any_inspection_is_handled(bytes in damaged(include_bytes!("../../../../fixtures/docker/running.json"))) {
        let Ok(found) = serde_json::from_slice(&bytes) else { return Ok(()) };
        let _container = inspect::container(&found, &inspect::SeenImage::Gone);
        for (dialect, image) in [(BEFORE_1_44, Some(image())), (AFTER_1_44, None)] {
            let Ok(blueprint) = blueprint(&found, RawSettings::default(), image.as_ref(), dialect, &recipe(None)) else { continue };
            let config = found.config.clone().unwrap_or_default();
            let _changes = changes::changes(&config, &blueprint.body, &image.unwrap_or_default().config.unwrap_or_default());
        }
    }

    #[test]
    fn any_image_is_handled(bytes in damaged(include_bytes!("../../../../fixtures/docker/image.json"))) {
        let Ok(image) = serde_json::from_slice(&bytes) else { return Ok(()) };
        let _blueprint = blueprint(&running(), RawSettings::default(), Some(&image), BEFORE_1_44, &recipe(None));
    }

    #[test]
    fn any_pull_progress_is_handled(bytes in damaged(include_bytes!("../../../../fixtures/docker/pull.jsonl"))) {
        let mut layers = Layers::default();
        for message in bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()) {
            layers.add(&message);
        }
    }
}
