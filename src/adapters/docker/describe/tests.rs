//! Descriptions, and the literal requests to the engine.

use serde_json::{Value, json};

use super::*;
use crate::service::Service;

const BEFORE_1_44: ApiVersion = (1, 41);
const AFTER_1_44: ApiVersion = (1, 44);

#[derive(serde::Deserialize)]
struct File {
    #[serde(deserialize_with = "crate::service::services")]
    services: BTreeMap<String, Service>,
}

pub(in crate::adapters::docker) fn described(text: &str) -> Container {
    let head = "[services.mobile]\nhosts = [\"10.0.0.1\"]\nprimary_port = 50000\n";
    let mut file: File = toml::from_str(&format!("{head}{text}\n")).unwrap();
    file.services.remove("mobile").unwrap().container
}

fn asked(text: &str, publish: Option<Published>) -> Value {
    let wanted = described(text);
    let blueprint = blueprint(&wanted, &wanted.environment, "mobile:v2", publish, BEFORE_1_44);
    assert_eq!(blueprint.connect, []);
    serde_json::to_value(&blueprint.body).unwrap()
}

fn published(ip: &str) -> Published {
    Published { ip: ip.parse().unwrap(), port: 50000, container_port: 8080 }
}

#[test]
fn undescribed_settings_are_left_to_the_image_and_the_engine() {
    assert_eq!(asked("", None), json!({ "Image": "mobile:v2", "HostConfig": {} }));
    assert_eq!(
        asked("command = []\nentrypoint = []", None),
        json!({ "Image": "mobile:v2", "Cmd": [], "Entrypoint": [], "HostConfig": {} })
    );
}

#[test]
fn the_port_is_published_at_its_address() {
    let host = |ip: &str| asked("expose = [\"9000-9001/udp\", 8080]", Some(published(ip)));
    assert_eq!(
        host("127.0.0.1"),
        json!({
            "Image": "mobile:v2",
            "ExposedPorts": { "8080/tcp": {}, "9000/udp": {}, "9001/udp": {} },
            "HostConfig": { "PortBindings": { "8080/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "50000" }] } },
        })
    );
    assert_eq!(host("0.0.0.0")["HostConfig"]["PortBindings"]["8080/tcp"][0]["HostIp"], "");
}

#[test]
fn the_process_gets_all_that_is_described() {
    let text = r#"
        command = "serve --port 8080"
        entrypoint = ["/app"]
        environment = { B = "x=y", A = 1 }
        healthcheck = { test = "ok", interval = "1m30s", timeout = "2s", retries = 3, start_period = "500ms" }
        hostname = "m"
        labels = ["tier=web"]
        stdin_open = true
        stop_grace_period = "1500ms"
        stop_signal = "SIGINT"
        tty = true
        user = "1000:1000"
        working_dir = "/srv"
    "#;
    assert_eq!(
        asked(text, None),
        json!({
            "Image": "mobile:v2",
            "Cmd": ["serve", "--port", "8080"],
            "Entrypoint": ["/app"],
            "Env": ["A=1", "B=x=y"],
            "Healthcheck": {
                "Test": ["CMD-SHELL", "ok"], "Interval": 90_000_000_000_i64, "Timeout": 2_000_000_000,
                "Retries": 3, "StartPeriod": 500_000_000,
            },
            "Hostname": "m",
            "Labels": { "tier": "web" },
            "OpenStdin": true,
            "StopTimeout": 2,
            "StopSignal": "SIGINT",
            "Tty": true,
            "User": "1000:1000",
            "WorkingDir": "/srv",
            "HostConfig": {},
        })
    );
    assert_eq!(asked("healthcheck.disable = true", None)["Healthcheck"], json!({ "Test": ["NONE"] }));
}

#[test]
fn the_engine_gets_all_that_is_described() {
    let text = r#"
        cap_add = ["NET_ADMIN"]
        cap_drop = ["ALL"]
        cpus = 0.5
        devices = ["/dev/null:/dev/none:r"]
        dns = "10.0.0.53"
        dns_search = ["example.org"]
        extra_hosts = { db = "10.0.0.9" }
        init = true
        logging = { driver = "json-file", options = { max-file = 3 } }
        mem_limit = "64m"
        network_mode = "host"
        pids_limit = 99
        privileged = true
        read_only = true
        restart = "on-failure:3"
        security_opt = ["no-new-privileges"]
        shm_size = "1m"
        sysctls = { "net.core.somaxconn" = 1024 }
        tmpfs = ["/run", "/tmp:size=1m"]
        ulimits = { nofile = { soft = 1024, hard = 2048 } }
    "#;
    assert_eq!(
        asked(text, None)["HostConfig"],
        json!({
            "CapAdd": ["NET_ADMIN"],
            "CapDrop": ["ALL"],
            "NanoCpus": 500_000_000,
            "Devices": [
                { "PathOnHost": "/dev/null", "PathInContainer": "/dev/none", "CgroupPermissions": "r" }
            ],
            "Dns": ["10.0.0.53"],
            "DnsSearch": ["example.org"],
            "ExtraHosts": ["db:10.0.0.9"],
            "Init": true,
            "LogConfig": { "Type": "json-file", "Config": { "max-file": "3" } },
            "Memory": 67_108_864,
            "NetworkMode": "host",
            "PidsLimit": 99,
            "Privileged": true,
            "ReadonlyRootfs": true,
            "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 },
            "SecurityOpt": ["no-new-privileges"],
            "ShmSize": 1_048_576,
            "Sysctls": { "net.core.somaxconn": "1024" },
            "Tmpfs": { "/run": "", "/tmp": "size=1m" },
            "Ulimits": [{ "Name": "nofile", "Soft": 1024, "Hard": 2048 }],
        })
    );
}

#[test]
fn volumes_have_the_form_that_compose_uses() {
    let text = r#"volumes = [
        "/srv:/data:ro,z", "cache:/cache", "/fresh",
        { type = "bind", source = "/etc/app", target = "/app", bind = { create_host_path = false, propagation = "rslave" } },
        { type = "volume", source = "seed", target = "/c", volume = { nocopy = true } },
        { type = "tmpfs", target = "/run", tmpfs = { size = "1m" } },
    ]"#;
    assert_eq!(
        asked(text, None)["HostConfig"],
        json!({
            "Binds": ["/srv:/data:ro,z", "cache:/cache:rw", "seed:/c:rw,nocopy"],
            "Mounts": [
                { "Type": "volume", "Target": "/fresh" },
                {
                    "Type": "bind", "Source": "/etc/app", "Target": "/app",
                    "BindOptions": { "Propagation": "rslave" },
                },
                { "Type": "tmpfs", "Target": "/run", "TmpfsOptions": { "SizeBytes": 1_048_576 } },
            ],
        })
    );
}

#[test]
fn an_older_engine_accepts_one_network_at_creation() {
    let wanted =
        described("networks.back = { aliases = [\"m\"] }\nnetworks.front = { ipv4_address = \"10.9.0.5\" }");
    let asked = |api| blueprint(&wanted, &wanted.environment, "mobile:v2", None, api);
    let networks = |blueprint: &Blueprint| {
        let body = serde_json::to_value(&blueprint.body).unwrap();
        assert_eq!(body["HostConfig"], json!({ "NetworkMode": "back" }));
        body["NetworkingConfig"]["EndpointsConfig"].clone()
    };
    let (back, front) = (json!({ "Aliases": ["m"] }), json!({ "IPAMConfig": { "IPv4Address": "10.9.0.5" } }));
    let older = asked(BEFORE_1_44);
    assert_eq!(networks(&older), json!({ "back": back }));
    assert_eq!(serde_json::to_value(&older.connect).unwrap(), json!([["front", front]]));
    let newer = asked(AFTER_1_44);
    assert_eq!(networks(&newer), json!({ "back": back, "front": front }));
    assert_eq!(newer.connect, []);
}
