use bollard::models::{DeviceMapping, ImageConfig, MountBindOptions};

use super::super::fixture;
use super::*;

fn port(ip: &str, port: u16, container_port: u16) -> Published {
    Published { ip: ip.parse().unwrap(), port, container_port }
}

/// Returns an image with this label, if any.
fn with_label(label: Option<&str>) -> SeenImage {
    let labels = label.map(|label| [(CLAIM_LABEL.to_owned(), label.to_owned())].into());
    let config = ImageConfig { labels, ..ImageConfig::default() };
    SeenImage::Known(Box::new(ImageInspect { config: Some(config), ..ImageInspect::default() }))
}

#[test]
fn a_label_is_the_container_s_own_where_its_image_lacks_it_or_has_another_value() {
    let source = |image: &SeenImage| container(&fixture::inspect("running.json"), image).claimed_by;
    for (image, expected) in [
        (with_label(None), LabelSource::Container),
        (with_label(Some("mobile/app2")), LabelSource::Container),
        (with_label(Some("mobile/app1")), LabelSource::Image),
        (SeenImage::Gone, LabelSource::Unknown),
        (SeenImage::Unreadable, LabelSource::Unknown),
    ] {
        assert_eq!(source(&image), expected, "{image:?}");
    }
}

#[test]
fn a_running_container_as_the_engine_shows_it() {
    let running = container(&fixture::inspect("running.json"), &with_label(None));
    assert_eq!((running.name.as_str(), running.image_reference.as_str()), ("app1", "mobile:v1"));
    assert_eq!((running.state, running.health), (ContainerState::Running, Some(Health::Healthy)));
    assert_eq!(running.published, [port("0.0.0.0", 57913, 8080), port("127.0.0.1", 57914, 8081)]);
    assert_eq!(running.exposed, [8080, 8081]);
    assert_eq!(running.claims, ["mobile/app1"]);
    assert_eq!(running.restart, RestartPolicy { name: "unless-stopped".into(), maximum_retries: 0 });
    assert_eq!(running.owner, Some(Owner::Compose("shop".into())));
    let front = Attachment {
        network: "front".into(),
        addresses: vec!["172.29.7.9".parse().unwrap()],
        given: vec!["172.29.7.9".parse().unwrap()],
        is_gone: false,
        is_missing: false,
        aliases: vec!["web".into(), "67e7a6c29d15".into(), "app1".into()],
    };
    assert_eq!((running.networks.len(), &running.networks[1]), (2, &front));
}

#[test]
fn udp_ports_and_required_paths_are_reported() {
    let mut inspect: ContainerInspectResponse = fixture::inspect("running.json");
    let told = |inspect: &ContainerInspectResponse| {
        let told = container(inspect, &SeenImage::Gone);
        (told.published.len(), told.published_udp, told.needs_paths)
    };
    let (tcp, udp, paths) = told(&inspect);
    assert_eq!((tcp, udp, paths), (2, vec![], vec![]));
    let binding = PortBinding { host_ip: Some("127.0.0.1".into()), host_port: Some("53".into()) };
    let ports = inspect.network_settings.as_mut().unwrap().ports.as_mut().unwrap();
    ports.insert("53/udp".into(), Some(vec![binding]));
    let bind = |source: &str, is_made| Mount {
        typ: Some(MountType::BIND),
        source: Some(source.into()),
        bind_options: Some(MountBindOptions { create_mountpoint: is_made, ..Default::default() }),
        ..Mount::default()
    };
    let device = |path: &str| DeviceMapping { path_on_host: Some(path.into()), ..Default::default() };
    let host = inspect.host_config.as_mut().unwrap();
    host.mounts = Some(vec![bind("/srv/data", None), bind("/srv/made", Some(true))]);
    host.devices = Some(vec![device("/dev/video0"), device("vendor.example/gpu=all")]);
    let needed = vec!["/dev/video0".to_owned(), "/srv/data".to_owned()];
    assert_eq!(told(&inspect), (2, vec![port("127.0.0.1", 53, 53)], needed));
}

#[test]
fn volumes_are_reported_with_what_the_image_declares() {
    let image = SeenImage::Known(Box::new(fixture::inspect("image.json")));
    let running = container(&fixture::inspect("running.json"), &image);
    assert_eq!(running.named_volumes, ["files"]);
    let unnamed = running.unnamed_volumes.unwrap();
    assert!(unnamed.iter().all(|it| it.name.len() == 64));
    let mut targets: Vec<(&str, bool)> = unnamed.iter().map(|it| (it.target.as_str(), it.by_image)).collect();
    targets.sort_unstable();
    assert_eq!(targets, [("/anon", false), ("/image-volume", true), ("/m2", false)]);
    // A list entry shows no mounts, which does not mean that there are none.
    let listed = container(&ContainerInspectResponse::default(), &SeenImage::Gone);
    assert_eq!(listed.unnamed_volumes, None);
}

#[test]
fn a_link_in_the_default_network_is_reported_by_its_target() {
    let mut inspect: ContainerInspectResponse = fixture::inspect("running.json");
    inspect.host_config.as_mut().unwrap().links = Some(vec!["/db:/app1/database".into()]);
    assert_eq!(container(&inspect, &with_label(None)).links, ["db"]);
}

#[test]
fn names_and_labels_contain_only_visible_characters() {
    let hostile = "a\u{1b}[2J\n::error::b\u{202e}\u{9b}0m";
    let mut inspect: ContainerInspectResponse = fixture::inspect("running.json");
    inspect.name = Some(format!("/{hostile}"));
    (inspect.id, inspect.image) = (Some(hostile.to_owned()), Some(hostile.to_owned()));
    let config = inspect.config.as_mut().unwrap();
    config.image = Some(hostile.to_owned());
    let labels = [CLAIM_LABEL, COMPOSE_LABEL].map(|name| (name.to_owned(), hostile.to_owned()));
    config.labels = Some(labels.into());
    let networks = inspect.network_settings.as_mut().and_then(|it| it.networks.as_mut()).unwrap();
    let mut endpoint = networks.values().next().cloned().unwrap();
    endpoint.aliases = Some(vec![hostile.to_owned()]);
    networks.insert(hostile.to_owned(), endpoint);
    let image = ImageInspect { repo_digests: Some(vec![hostile.to_owned()]), ..ImageInspect::default() };
    let seen = container(&inspect, &SeenImage::Known(Box::new(image)));
    let told = serde_json::to_string(&seen).unwrap();
    // JSON would escape the remaining C0 characters.
    assert!(
        !told.chars().any(sanitize::is_unsafe) && !told.contains("\\u") && !told.contains("\\n"),
        "{told}"
    );
    assert!(told.matches("::error::b").count() >= 9, "{told}");
}

#[test]
fn environment_values_end_here() {
    let shown = format!("{:?}", container(&fixture::inspect("running.json"), &with_label(None)));
    assert!(!shown.contains("/custom") && !shown.contains("IMAGE_ONLY"));
}

#[test]
fn a_stopped_container_shows_what_it_would_publish() {
    let stopped = container(&fixture::inspect("stopped.json"), &with_label(None));
    assert_eq!(stopped.state, ContainerState::Stopped);
    assert_eq!(stopped.published, [port("0.0.0.0", 57913, 8080), port("127.0.0.1", 57914, 8081)]);
    assert!(stopped.networks.iter().all(|network| network.addresses.is_empty()));
}

#[test]
fn labels_claim_and_own() {
    let labels = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(claims(&labels(&[(CLAIM_LABEL, "mobile/app1, api/app1,")])), ["mobile/app1", "api/app1"]);
    assert_eq!(owner(&labels(&[(COMPOSE_LABEL, "shop")])), Some(Owner::Compose("shop".into())));
    let with_compose = |pairs: &[(&str, &str)]| owner(&labels(&[pairs, &[(COMPOSE_LABEL, "shop")]].concat()));
    for (pairs, expected) in [
        (&[("com.docker.swarm.service.name", "web")][..], Owner::Swarm("web".into())),
        (&[("PODMAN_SYSTEMD_UNIT", "web.service")], Owner::Systemd("web.service".into())),
        (
            &[("io.kubernetes.pod.name", "web-1"), ("io.kubernetes.pod.namespace", "shop")],
            Owner::Kubernetes("shop/web-1".into()),
        ),
        (&[("com.hashicorp.nomad.alloc_id", "4243abe5")], Owner::Nomad("4243abe5".into())),
    ] {
        assert_eq!(with_compose(pairs), Some(expected), "{pairs:?}");
    }
}

#[test]
fn every_address_is_counted_once_and_udp_by_itself() {
    let map: PortMap = serde_json::from_str(
        r#"{"80/tcp":[{"HostIp":"","HostPort":"80"},{"HostIp":"::","HostPort":"80"},
            {"HostIp":"","HostPort":""}],"53/udp":[{"HostIp":"","HostPort":"53"}],"81/tcp":null}"#,
    )
    .unwrap();
    assert_eq!((ports(Some(&map), "tcp").len(), ports(Some(&map), "udp").len()), (2, 1));
}
