//! Compose files with their services, and the errors for invalid ones.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::service::container::{Environment, Volume, VolumeKind};

const OURS_BELOW: &str = "\n    x-drainswap:\n      hosts: [10.0.0.1]\n      primary_port: 50000\n";

#[derive(serde::Deserialize)]
struct File {
    #[serde(deserialize_with = "crate::service::services")]
    services: BTreeMap<String, Service>,
}

fn read_all(text: &str) -> Result<BTreeMap<String, Service>, String> {
    let process =
        [("SECRET", "hunter2"), ("PORT", "50001"), ("EMPTY", ""), ("YES", "true"), ("NET", "front")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let variables = Variables::new(process, "TAG=v2\n").unwrap();
    services(text, Path::new("/srv/My Shop!"), variables).map_err(|error| error.to_string())
}

/// Reads a service with the given keys, a minimal `x-drainswap` and the given top-level keys.
fn with(keys: &str, top: &str) -> Result<Service, String> {
    let keys = keys.replace('\n', "\n    ");
    let text = format!("services:\n  mobile:\n    {keys}{OURS_BELOW}{top}");
    read_all(&text).map(|mut all| all.remove("mobile").unwrap())
}

fn read(keys: &str) -> Service {
    with(keys, "").unwrap()
}

fn refused(keys: &str) -> String {
    with(keys, "").unwrap_err()
}

fn networks(service: &Service) -> Vec<&str> {
    service.container.networks.0.keys().map(String::as_str).collect()
}

#[test]
fn a_service_equals_its_description_in_drainswap_toml() {
    let compose = r#"
        name: shop
        x-base: &base
          restart: unless-stopped
          environment: { LOG: info }
        services:
          db:
            image: ${NOT_SET}
            secrets: [x]
          mobile:
            <<: *base
            image: registry.example.org/mobile:${TAG}
            build: .
            command: serve --port $$PORT
            environment:
              PORT: 8080
              TOKEN: ${SECRET}
              DEBUG: true
            ports: ["80:8080"]
            networks: { front: { aliases: [m] } }
            volumes: ["./data:/data:ro", "cache:/cache"]
            stop_grace_period: 10s
            ulimits: { nofile: "1024" }
            read_only: yes
            x-other: [1]
            x-drainswap:
              hosts: { app1: 10.0.0.1, app2: 10.0.0.2 }
              primary_port: 50000
              backup_port: ${PORT}
              check: { uri: /health, status: 200 }
              container_name: "mobile-{server}"
              extra_lines: ["http-reuse always"]
        networks: { front: { external: true } }
        volumes: { cache: }
    "#;
    let file: File = toml::from_str(
        r#"
        [services.mobile]
        hosts = { app1 = "10.0.0.1", app2 = "10.0.0.2" }
        primary_port = 50000
        backup_port = 50001
        check = { uri = "/health", status = "200" }
        extra_lines = ["http-reuse always"]
        image = "registry.example.org/mobile:v2"
        container_name = "mobile-{server}"
        container_port = 8080
        command = "serve --port $PORT"
        environment = { PORT = 8080, TOKEN = "hunter2", DEBUG = true }
        networks.front.aliases = ["m"]
        volumes = ["/srv/My Shop!/data:/data:ro", "shop_cache:/cache"]
        restart = "unless-stopped"
        stop_grace_period = "10s"
        ulimits.nofile = 1024
        read_only = true
        "#,
    )
    .unwrap();
    assert_eq!(read_all(compose).unwrap(), file.services);
}

#[test]
fn the_error_for_a_file_without_our_services_has_an_example() {
    let error = read_all("services: { db: { image: x } }").unwrap_err();
    assert!(error.starts_with("no service has the key x-drainswap: add it under services.db\n"), "{error}");
    for text in ["", "services:", "services: {}", "name: x"] {
        assert!(read_all(text).unwrap_err().contains("x-drainswap"), "{text}");
    }
    assert_eq!(read_all("[]").unwrap_err(), "the file: expected a mapping");
    assert_eq!(read_all("service: {}").unwrap_err(), "service: unknown key: remove it");
    assert!(read_all("include: [x]").unwrap_err().starts_with("include: unsupported key"));
    assert!(read_all("a: 1\na: 2").unwrap_err().starts_with("line 2: duplicate key `a`"));
}

#[test]
fn mistakes_are_named_by_the_path_of_their_key() {
    for (keys, says) in [
        ("imag: x", "services.mobile.imag: unknown key: did you mean `image`?"),
        ("secrets: [x]", "services.mobile.secrets: unsupported key: mount the file with `volumes`"),
        ("pid: host", "services.mobile.pid: unsupported key that would change the container"),
        ("extends: { service: a }", "services.mobile.extends: unsupported key: write the keys out"),
        ("deploy: { replicas: 2 }", "services.mobile.deploy: unsupported key: use `mem_limit`"),
        ("hosts: [a]", "services.mobile.hosts: this is not a Compose key: move it into x-drainswap"),
        ("container_port: 1", "services.mobile.container_port: this is not a Compose key"),
        ("mem_limit: lots", "services.mobile.mem_limit: invalid size `lots`"),
        ("healthcheck: { retries: many }", "services.mobile.healthcheck.retries: invalid type"),
        ("healthcheck: { retries: }", "services.mobile.healthcheck.retries: missing value"),
        ("command: [a, ]", ""),
        ("command: [a, ~]", "services.mobile.command[1]: missing value"),
        ("volumes: [{ type: npipe, target: /a }]", "services.mobile.volumes[0].type: unknown variant"),
        ("container_name: mobile", "services.mobile.container_name: every server needs its own container"),
        ("labels: { V: 1.10 }", "services.mobile.labels.V: YAML reads this as a number or a boolean"),
        ("env_file: { a: 1 }", "services.mobile.env_file: expected a path"),
    ] {
        match with(keys, "") {
            Ok(_) => assert_eq!(says, "", "{keys}"),
            Err(error) => assert!(!says.is_empty() && error.starts_with(says), "{error}"),
        }
    }
    let ours =
        |keys: &str| read_all(&format!("services: {{ mobile: {{ x-drainswap: {keys} }} }}")).unwrap_err();
    for (keys, says) in [
        ("", "services.mobile.x-drainswap: missing field `hosts`"),
        ("yes", "services.mobile.x-drainswap: expected a mapping with hosts and primary_port"),
        ("{ hosts: [a] }", "services.mobile.x-drainswap: missing field `primary_port`"),
        ("{ hosts: [a], primary_port: x }", "services.mobile.x-drainswap.primary_port: invalid type"),
        ("{ host: [a] }", "services.mobile.x-drainswap.host: unknown key: did you mean `hosts`?"),
        (
            "{ image: a }",
            "services.mobile.x-drainswap.image: this is a Compose key: move it next to x-drainswap",
        ),
        (
            "{ hosts: [a], primary_port: 1, container_port: 0 }",
            "services.mobile.x-drainswap.container_port: invalid port 0",
        ),
        ("{ hosts: [~] }", "services.mobile.x-drainswap.hosts[0]: missing value"),
    ] {
        let error = ours(keys);
        assert!(error.starts_with(says), "{error}");
    }
}

#[test]
fn keys_that_do_not_change_the_container_are_ignored() {
    let keys = "build: $NOT_SET\ndepends_on: [db]\ndevelop: {}\npull_policy: always\nprofiles: [x]\nattach: no\n\
                image:\ncommand:\nsecrets:\nnetworks:\nx-mine: ${NOT_SET}";
    assert_eq!(read(keys), read("tty: ~"));
}

#[test]
fn the_error_for_an_unset_variable_names_its_key() {
    assert_eq!(
        refused("image: a:${VERSION}"),
        "services.mobile.image: the variable VERSION is not set: set it, for example in .env, or write \
         ${VERSION:-DEFAULT}"
    );
    assert!(
        refused("image: ${EMPTY:?tell the version}")
            .contains("image: the variable EMPTY is required: tell the")
    );
    assert!(
        refused("command: [a, \"$\"]").starts_with("services.mobile.command[1]: `$` without a variable name")
    );
    assert!(
        refused("labels: { a: [\"${X}\"] }").starts_with("services.mobile.labels.a[0]: the variable X is")
    );
    // A secret may contain a dollar sign: the error does not repeat the text after it.
    assert!(!refused("environment: { TOKEN: pa$hunter2 }").contains("hunter2"));
    let service = read(
        "image: a:${VERSION:-${TAG}}\ninit: ${YES}\npids_limit: \"${NONE-12}\"\nlabels: { a: $$b, $c: d }",
    );
    assert_eq!(service.container.image, Some("a:v2".parse().unwrap()));
    assert_eq!((service.container.init, service.container.pids_limit), (Some(true), Some(12)));
    assert_eq!(
        service.container.labels.0,
        [("$c", "d"), ("a", "$b")].map(|(a, b)| (a.into(), b.into())).into()
    );
}

#[test]
fn values_of_variables_are_never_shown() {
    for keys in [
        "mem_limit: ${SECRET}",
        "mem_limit: ${EMPTY:-$SECRET}",
        "pids_limit: $SECRET",
        "restart: x${SECRET}",
        "volumes: [\"${SECRET}:x\"]",
        "volumes: [\"a:${SECRET}\"]",
        "networks: [\"$SECRET\"]",
        "network_mode: [\"$SECRET\"]",
        "ports: [\"$SECRET\"]",
        "ports: [\"80/$SECRET\"]",
        "healthcheck: { interval: \"$SECRET\" }",
        "extra_hosts: [\"a:$SECRET\"]",
        "extra_hosts: [\"${SECRET}\"]",
        "security_opt: [\"seccomp:${SECRET}\"]",
        "environment: [\"$SECRET\"]",
        "environment: { A: [\"$SECRET\"] }",
        "command: \"'$SECRET\"",
        "devices: [\"$SECRET\"]",
        "user: { a: $SECRET }",
    ] {
        let error = refused(keys);
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.starts_with("services.mobile."), "{error}");
    }
    assert!(refused("mem_limit: ${SECRET}").contains("mem_limit: invalid size `${SECRET}`"));
    let service = read("environment: { A: $SECRET }\nenv_file: a.env");
    assert!(!format!("{service:?}").contains("hunter2"));
}

#[test]
fn entries_of_the_environment_may_have_no_value() {
    let environment = |keys: &str| read(keys).container.environment;
    let expected: Environment = environment("environment: { SECRET: hunter2, TAG: v2, A: b }");
    assert_eq!(environment("environment: [SECRET, TAG, A=b]"), expected);
    assert_eq!(environment("environment: { SECRET: , TAG: null, A: b }"), expected);
    let reason = "missing value, and no such variable is set";
    assert!(refused("environment: [A]").starts_with(&format!("services.mobile.environment[0]: {reason}")));
    assert!(refused("environment: { A: }").starts_with(&format!("services.mobile.environment.A: {reason}")));
}

#[test]
fn the_published_port_becomes_the_container_port() {
    let port = |ports: &str| read(&format!("ports: {ports}")).container.container_port;
    for ports in [
        "[8080]",
        "[\"8080\"]",
        "[\"80:8080\"]",
        "[\"127.0.0.1:80:8080/tcp\"]",
        "[\"127.0.0.1::8080\"]",
        "[\"[::1]:80:8080\"]",
        "[\"8000-8010:8080\"]",
        "[{ target: 8080, published: \"80\", protocol: tcp, host_ip: 127.0.0.1, mode: host, name: web }]",
    ] {
        assert_eq!(port(ports), Some(8080), "{ports}");
    }
    assert_eq!(port("[]"), None);
    for (ports, says) in [
        ("[80, 81]", "drainswap publishes one port per container"),
        ("[80-81]", "drainswap publishes one port per container"),
        ("[80/udp]", "HAProxy cannot reach a udp port"),
        ("[80/ip]", "invalid protocol `ip`"),
        ("[\"80:x\"]", "invalid port `x`"),
        ("[0]", "invalid port `0`"),
        ("[{ published: 1 }]", "expected \"8080\""),
        ("[{ target: 1, host: 1 }]", "unknown key `host`"),
        ("[[80]]", "expected \"8080\""),
        ("80", "expected a list"),
    ] {
        let error = refused(&format!("ports: {ports}"));
        assert!(error.starts_with(&format!("services.mobile.ports: {says}")), "{error}");
    }
    let both = |ports: &str, inside: &str| {
        read_all(&format!(
            "services: {{ m: {{ ports: [{ports}], x-drainswap: {{ hosts: [a], primary_port: 1, container_port: {inside} }} }} }}"
        ))
    };
    assert_eq!(both("80", "80").unwrap()["m"].container.container_port, Some(80));
    assert!(
        both("80", "81")
            .unwrap_err()
            .starts_with("services.m.ports: x-drainswap.container_port is a different")
    );
}

#[test]
fn networks_have_their_names_on_the_engine() {
    let named = |keys: &str, top: &str| with(keys, top).map(|service| networks(&service).join(" "));
    assert_eq!(named("", "").as_deref(), Ok("myshop_default"));
    assert_eq!(named("", "name: shop").as_deref(), Ok("shop_default"));
    assert_eq!(named("", "name: s-$TAG").as_deref(), Ok("s-v2_default"));
    assert_eq!(named("", "networks: { default: { name: $NET } }").as_deref(), Ok("front"));
    assert_eq!(named("network_mode: bridge", "").as_deref(), Ok(""));
    let top = "networks:\n  a:\n  b: { driver: bridge }\n  c: { name: x }\n  d: { external: true }\n  \
               e: { external: true, name: \"${NET}\" }\n  f: { external: { name: y } }\n  g: { external: false }";
    assert_eq!(
        named("networks: [a, b, c, d, e, f, g]", top).as_deref(),
        Ok("d front myshop_a myshop_b myshop_g x y")
    );
    assert_eq!(named("networks: { a: , c: { aliases: [n] } }", top).as_deref(), Ok("myshop_a x"));
    for (keys, top, says) in [
        ("networks: [z]", "", "services.mobile.networks: `z` is missing in the file's top-level networks"),
        ("networks: [a]", "networks: { a: [] }", "networks.a: expected a mapping or nothing"),
        (
            "networks: [a]",
            "networks: { a: { external: maybe } }",
            "networks.a.external: expected true or false",
        ),
        (
            "networks: [a]",
            "networks: { a: { name: \"${NO}\" } }",
            "networks.a.name: the variable NO is not set",
        ),
        ("", "name: Shop", "name: invalid project name"),
        ("", "name: [a]", "name: expected a string"),
    ] {
        let error = named(keys, top).unwrap_err();
        assert!(error.starts_with(says), "{error}");
    }
    let variables = Variables::new([(project::NAME.to_owned(), "other".to_owned())], "").unwrap();
    let text = format!("name: shop\nservices:\n  mobile:\n    image: $COMPOSE_PROJECT_NAME{OURS_BELOW}");
    let found = services(&text, Path::new("/"), variables).unwrap();
    assert_eq!(networks(&found["mobile"]), ["other_default"]);
    let nameless = services(
        &text.replace("name: shop\n", "").replace("$COMPOSE_PROJECT_NAME", "x"),
        Path::new("/"),
        Variables::default(),
    );
    assert!(nameless.unwrap_err().to_string().contains("add `name:`"));
}

#[test]
fn volumes_have_their_names_and_paths_on_the_engine() {
    let keys = "volumes:\n  - ./a/../b:/b\n  - ../c:/c:ro\n  - /d:/d\n  - cache:/e:nocopy\n  - /f\n  \
                - { type: bind, source: g, target: /g }\n  - { type: volume, source: cache, target: /h }\n  \
                - { type: volume, target: /i }\n  - { type: tmpfs, target: /j, tmpfs: { mode: 0o1777 } }\n\
                env_file: [a.env, { path: ../b.env, required: no }]";
    let service = with(keys, "volumes: { cache: { driver: local } }");
    assert_eq!(service.unwrap_err().split(": ").next(), Some("volumes.cache.driver"));
    let service = with(keys, "volumes: { cache: { labels: [x] } }").unwrap();
    let sources = service.container.volumes.iter().map(|it: &Volume| match &it.kind {
        VolumeKind::Bind { source, .. } => source.as_str(),
        VolumeKind::Volume { name, .. } => name.as_deref().unwrap_or("new"),
        VolumeKind::Tmpfs { mode, .. } => {
            if *mode == Some(0o1777) {
                "memory"
            } else {
                "?"
            }
        }
    });
    assert_eq!(
        sources.collect::<Vec<_>>(),
        [
            "/srv/My Shop!/b",
            "/srv/c",
            "/d",
            "myshop_cache",
            "new",
            "/srv/My Shop!/g",
            "myshop_cache",
            "new",
            "memory"
        ]
    );
    let files: Vec<_> =
        service.container.env_file.0.iter().map(|it| (it.path.clone(), it.required)).collect();
    assert_eq!(files, [(PathBuf::from("/srv/My Shop!/a.env"), true), (PathBuf::from("/srv/b.env"), false)]);
    let variables = service.container.env_file.0[0].variables.as_ref().unwrap();
    assert_eq!(variables.get("TAG"), Some("v2"));
    assert!(
        refused("volumes: [\"~/a:/a\"]")
            .contains("volumes[0]: invalid volume `~/a:/a`: expected an absolute path")
    );
    assert!(
        refused("volumes: [\"data:/a\"]").contains("volumes[0]: `data` is missing in the file's top-level")
    );
    let external = with("volumes: [\"a:/a\"]", "volumes: { a: { external: true, name: nfs } }").unwrap();
    assert!(
        matches!(&external.container.volumes[0].kind, VolumeKind::Volume { name: Some(name), .. } if name == "nfs")
    );
}

/// A file with every kind of value, which the tests cut and garble.
const WHOLE: &str = "x-a: &a { tty: true, labels: { a: $TAG } }\nname: ${EMPTY:-shop}\nservices:\n  mobile:\n    <<: *a\n    \
    image: 'a:${TAG:?no}'\n    ports: [\"80:8080\"]\n    volumes: [\"./a:/b\", \"c:/d\"]\n    environment:\n      - A=${SECRET}\n    \
    networks: { f: { aliases: [\"m\"] } }\n    x-drainswap: { hosts: [10.0.0.1], primary_port: $PORT }\nnetworks: { f: { name: g } }\n\
    volumes: { c: }\n";

#[test]
fn no_part_of_a_file_makes_the_reader_panic() {
    assert!(read_all(WHOLE).is_ok());
    for end in 0..WHOLE.len() {
        let _either = read_all(&WHOLE[..end]);
        let _either = read_all(&WHOLE[end..]);
    }
}

proptest! {
    #[test]
    fn no_garbled_file_makes_the_reader_panic(places in prop::collection::vec((0..WHOLE.len(), "[-:{}\\[\\]&*$<>|'\"#a \n\t,~?!\u{e9}]{0,3}"), 1..4)) {
        let mut text = WHOLE.to_owned();
        for (place, word) in places {
            let place = place.min(text.len());
            if text.is_char_boundary(place) {
                text.insert_str(place, &word);
            }
        }
        if let Err(error) = read_all(&text) {
            prop_assert!(!error.contains("hunter2"), "{}", error);
        }
    }
}
