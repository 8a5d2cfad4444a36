//! Inspections of a real engine (20.10), compared with descriptions.

use bollard::models::{ContainerInspectResponse, ImageInspect};

use super::super::describe::{blueprint, succeed, tests::described};
use super::super::fixture;
use super::super::inspect::SeenImage;
use super::*;
use crate::observation::Published;

/// All the settings that `fixtures/docker/running.json` was created with.
const AS_IT_RUNS: &str = r#"
    command = ["8080", "extra"]
    environment = { A = "b", PATH = "/custom" }
    expose = ["8081", "9090/udp"]
    healthcheck = { interval = "3s" }
    labels = { color = "blue" }
    stop_grace_period = "3s"
    stop_signal = "SIGKILL"
    user = "0:0"
    volumes = ["/srv/app:/bind:ro", "files:/named", "/anon", { type = "volume", target = "/m2" }]
    tmpfs = "/t:size=1m"
    cap_add = ["NET_ADMIN"]
    dns = "1.1.1.1"
    extra_hosts = ["h:1.2.3.4"]
    init = true
    logging = { driver = "json-file", options = { max-file = 3, max-size = "1m" } }
    mem_limit = "64m"
    networks = { back = { aliases = ["webb"] }, front = { aliases = ["web"], ipv4_address = "172.29.7.9" } }
    restart = "unless-stopped"
    security_opt = ["no-new-privileges"]
    shm_size = "32m"
    sysctls = { "net.core.somaxconn" = 200 }
    ulimits = { nofile = { soft = 1000, hard = 2000 } }
"#;

/// Returns how the container differs from a description, if it publishes only the described port.
fn drifted(text: &str, change: impl FnOnce(&mut HostConfig)) -> Vec<String> {
    let (mut old, image): (ContainerInspectResponse, ImageInspect) =
        (fixture::inspect("running.json"), fixture::inspect("image.json"));
    let host = old.host_config.as_mut().unwrap();
    host.port_bindings.as_mut().unwrap().remove("8081/tcp");
    change(host);
    let (wanted, image) = (described(text), image.config.unwrap());
    let publish = Published { ip: "0.0.0.0".parse().unwrap(), port: 57913, container_port: 8080 };
    let mut new = blueprint(&wanted, &wanted.environment, "mobile:v1", Some(publish), (1, 41));
    succeed(&mut new, &old, &SeenImage::Gone, &image, false);
    let defaults = EngineDefaults {
        log_driver: "json-file".to_owned(),
        runtime: "runc".to_owned(),
        cgroup_namespace: "host",
    };
    drift(&old, &new, &image, &defaults).iter().map(ToString::to_string).collect()
}

#[test]
fn a_container_that_is_as_described_has_not_drifted() {
    // Compose's labels cannot be described: drainswap takes the container over.
    assert_eq!(drifted(AS_IT_RUNS, |_| {}), ["what makes it a container of Compose is removed"]);
}

#[test]
fn every_difference_from_the_description_is_reported() {
    for (was, is, told) in [
        (r#"command = ["8080", "extra"]"#, r#"command = ["planted"]"#, "command differs"),
        (r#"A = "b""#, r#"A = "planted""#, "environment variable A has a new value"),
        (r#"A = "b", "#, "", "environment variable A is removed"),
        (r#""9090/udp""#, r#""9191/udp""#, "exposed port 9191/udp is new"),
        (r#"interval = "3s""#, r#"interval = "4s""#, "healthcheck interval: 3 s → 4 s"),
        (r#"interval = "3s""#, r#"test = ["CMD", "planted"], interval = "3s""#, "healthcheck differs"),
        (r#"color = "blue""#, r#"color = "planted""#, "label color has a new value"),
        (r#"stop_grace_period = "3s""#, "", "StopTimeout: 3 → nothing"),
        (r#"stop_signal = "SIGKILL""#, r#"stop_signal = "SIGINT""#, "stop signal: SIGKILL → SIGINT"),
        (r#"user = "0:0""#, r#"user = "1:1""#, "user: 0:0 → 1:1"),
        ("/bind:ro", "/bind", "mount /bind: /srv/app ro → /srv/app"),
        ("files:/named", "other:/named", "mount /named: files → other"),
        ("files:/named", "files:/elsewhere", "mount /elsewhere: nothing → files"),
        (r#""/anon","#, "", "mount /anon: a volume without a name → nothing"),
        ("size=1m", "size=2m", "mount /t: tmpfs size=1m → tmpfs size=2m"),
        (r#"["NET_ADMIN"]"#, r#"["SYS_TIME"]"#, "CapAdd SYS_TIME is new"),
        ("1.1.1.1", "9.9.9.9", "Dns 9.9.9.9 is new"),
        ("h:1.2.3.4", "h:1.2.3.5", "ExtraHosts h:1.2.3.4 is removed"),
        ("init = true", "", "Init: true → nothing"),
        ("max-file = 3", "max-file = 4", "log option max-file has a new value"),
        (r#"driver = "json-file""#, r#"driver = "local""#, "LogConfig: nothing → local"),
        ("64m", "65m", "Memory: 67108864 → 68157440"),
        (r#"["webb"]"#, r#"["other"]"#, "alias in network back, other is new"),
        ("172.29.7.9", "172.29.7.10", "address in network front: 172.29.7.9 → 172.29.7.10"),
        (r#"back = { aliases = ["webb"] },"#, "", "network back is removed"),
        ("unless-stopped", "on-failure:3", "RestartPolicy: unless-stopped → on-failure:3"),
        ("no-new-privileges", "label=disable", "SecurityOpt label=disable is new"),
        ("32m", "64m", "ShmSize: 33554432 → nothing"),
        ("200", "300", "Sysctls net.core.somaxconn has a new value"),
        ("hard = 2000", "hard = 3000", "Ulimits nofile=1000:3000 is new"),
    ] {
        let text = AS_IT_RUNS.replacen(was, is, 1);
        assert_ne!(text, AS_IT_RUNS, "{was}");
        let found = drifted(&text, |_| {});
        assert!(found.iter().any(|line| line == told), "{told} is missing in {found:?}");
        assert!(!found.iter().any(|line| line.contains("planted")), "{found:?}");
        assert!(found.len() <= 3, "only that was changed: {found:?}");
    }
}

#[test]
fn lost_settings_that_cannot_be_described_are_reported_too() {
    let change = |host: &mut HostConfig| {
        host.cpu_shares = Some(512);
        host.runtime = Some("kata".to_owned());
        host.memory_swap = Some(-1);
        host.group_add = Some(vec!["audio".to_owned()]);
    };
    let found = drifted(AS_IT_RUNS, change);
    for told in ["CpuShares: 512 → nothing", "Runtime: kata → nothing", "GroupAdd audio is removed"] {
        assert!(found.iter().any(|line| line == told), "{told} is missing in {found:?}");
    }
}

#[test]
fn data_in_anonymous_volumes_is_kept_where_such_a_volume_remains() {
    let (old, image): (ContainerInspectResponse, ImageInspect) =
        (fixture::inspect("running.json"), fixture::inspect("image.json"));
    let mounts = |text: &str| {
        let wanted = described(text);
        let mut new = blueprint(&wanted, &wanted.environment, "mobile:v2", None, (1, 41));
        succeed(&mut new, &old, &SeenImage::Gone, image.config.as_ref().unwrap(), false);
        let mounts = new.body.host_config.unwrap().mounts.unwrap_or_default();
        let found: BTreeMap<_, _> = mounts
            .into_iter()
            .map(|mount| (mount.target.unwrap(), mount.source.map(|source| source[..8].to_owned())))
            .collect();
        found
    };
    let some = |name: &str| Some(name.to_owned());
    let image_s = ("/image-volume".to_owned(), some("5447804a"));
    assert_eq!(mounts(""), BTreeMap::from([image_s.clone()]));
    let anon = ("/anon".to_owned(), some("d4caa1aa"));
    assert_eq!(mounts("volumes = [\"/anon/\"]"), BTreeMap::from([image_s, anon]));
    assert_eq!(mounts("volumes = [\"data:/image-volume\"]"), BTreeMap::new());
}
