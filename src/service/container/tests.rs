//! Valid descriptions of containers, and the errors for invalid ones.

use std::time::Duration;

use super::*;
use crate::service::Service;
use crate::service::interpolate::Variables;

const HEAD: &str = "[services.mobile]\nhosts = [\"10.0.0.1\"]\nprimary_port = 50000\n";

#[derive(Debug, Deserialize)]
struct File {
    #[serde(deserialize_with = "crate::service::services")]
    services: BTreeMap<String, Service>,
}

fn read(text: &str) -> Result<Container, String> {
    let file: Result<File, _> = toml::from_str(&format!("{HEAD}{text}\n"));
    let mut file = file.map_err(|error| error.message().to_owned())?;
    Ok(file.services.remove("mobile").unwrap().container)
}

fn refused(text: &str) -> String {
    read(text).unwrap_err()
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_command_is_a_list_or_is_split_by_the_rules_of_the_shell() {
    let command = |text: &str| read(text).unwrap().command.unwrap().0;
    assert_eq!(
        command(r#"command = "serve --name 'two words' a\\ b""#),
        ["serve", "--name", "two words", "a b"]
    );
    assert_eq!(command(r#"command = ["serve", "a b"]"#), ["serve", "a b"]);
    assert_eq!(command("command = []"), [""; 0]);
    assert_eq!(read("").unwrap().command, None);
    assert!(refused(r#"entrypoint = "sh -c 'x""#).starts_with("services.mobile.entrypoint: unclosed quote"));
}

#[test]
fn a_platform_is_an_operating_system_and_a_processor() {
    let platform = |text: &str| read(text).unwrap().platform.map(|it| it.to_string());
    assert_eq!(platform("platform = \"linux/aarch64\"").as_deref(), Some("linux/arm64"));
    assert_eq!(platform(""), None);
    assert!(
        refused("platform = \"arm64\"").starts_with("services.mobile.platform: expected an operating system")
    );
}

#[test]
fn pairs_are_a_table_or_a_list() {
    let table = read("environment = { A = \"x=y\", B = 2, C = true }").unwrap().environment;
    let list = read(r#"environment = ["A=x=y", "B=2", "C=true"]"#).unwrap().environment;
    assert_eq!(table, list);
    assert_eq!(table.0["A"].reveal(), "x=y");
    let labels = read(r#"labels = ["a=1", "mark"]"#).unwrap().labels.0;
    assert_eq!(labels, BTreeMap::from([("a".into(), "1".into()), ("mark".into(), String::new())]));
    assert_eq!(read("sysctls = { \"net.core.somaxconn\" = 1024 }").unwrap().sysctls.0.len(), 1);
    let hosts =
        read(r#"extra_hosts = ["db=10.0.0.9", "up:host-gateway", "six:[::1]"]"#).unwrap().extra_hosts.0;
    let hosts: Vec<(&str, &str)> = hosts.iter().map(|(name, address)| (&**name, &**address)).collect();
    assert_eq!(hosts, [("db", "10.0.0.9"), ("up", "host-gateway"), ("six", "::1")]);
}

#[test]
fn values_of_the_environment_are_never_shown() {
    let container = read("environment = { TOKEN = \"hunter2\" }").unwrap();
    let shown = format!("{container:?} {}", serde_json::to_string(&container.environment).unwrap());
    assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    for wrong in [
        "environment = \"TOKEN=hunter2\"",
        "environment = { TOKEN = [\"hunter2\"] }",
        "environment = [\"=hunter2\"]",
        "environment = [[\"hunter2\"]]",
        "environment = [\"hunter2\"]",
    ] {
        let reason = refused(wrong);
        assert!(reason.starts_with("services.mobile.environment: "), "{reason}");
        assert!(!reason.contains("hunter2"), "{reason}");
    }
}

#[test]
fn the_environment_overrides_env_files() {
    let files = |text: &str| read(text).unwrap().env_file.0;
    let whole = |path: &str, required| EnvFile { path: path.into(), required, variables: None };
    assert_eq!(files("env_file = \"/a.env\""), [whole("/a.env", true)]);
    assert_eq!(
        files("env_file = [\"/a.env\", { path = \"/b.env\", required = false }]"),
        [whole("/a.env", true), whole("/b.env", false)]
    );
    let file = Environment::of_file("# said\nA=1\nB='x y'\n", None).unwrap();
    let upper = read("environment = { A = 2 }").unwrap().environment;
    let both = file.under(&upper).0;
    assert_eq!((both["A"].reveal(), both["B"].reveal()), ("2", "x y"));
    let reason = Environment::of_file("A=1\nsecret hunter2\n", None).unwrap_err();
    assert_eq!(reason, "invalid entry 2: expected NAME=VALUE");
}

#[test]
fn an_env_file_is_read_by_the_rules_of_compose() {
    let text = "\u{feff}# said\r\n\nA=one two \t# said\nexport B=b#b\r\nC: 'it\\'s $A \\n' # said\nD=\"say \\\"hi\\\"\\t\\\\ \
                \\$A \\x\"\nE=\nF=\"two\nlines\"\nG = #said\nH=#fff\nI.j-k='two\n# lines'";
    let read = |variables: Option<&Variables>| Environment::of_file(text, variables).map(|it| it.0);
    let expected = [
        ("A", "one two"),
        ("B", "b#b"),
        ("C", "it's $A \\n"),
        ("D", "say \"hi\"\t\\ $A \\x"),
        ("E", ""),
        ("F", "two\nlines"),
        ("G", ""),
        ("H", "#fff"),
        ("I.j-k", "two\n# lines"),
    ];
    let found = read(Some(&Variables::default())).unwrap();
    let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (&**name, value.reveal())).collect();
    assert_eq!(found, expected);
    for (wrong, says) in [
        ("A=1\n=hunter2", "invalid entry 2: expected NAME=VALUE"),
        ("A='hunter2", "invalid entry 1: expected NAME=VALUE"),
        ("A=\"hunter2\" hunter2", "invalid entry 1: expected NAME=VALUE"),
        ("A=\"hunter2\\", "invalid entry 1: expected NAME=VALUE"),
        ("hunter2", "invalid entry 1: expected NAME=VALUE"),
        ("é\0=", "invalid entry 1: expected NAME=VALUE"),
    ] {
        assert_eq!(Environment::of_file(wrong, None).unwrap_err(), says, "{wrong}");
    }
}

#[test]
fn a_dollar_in_an_env_file_needs_variables_or_single_quotes() {
    let variables = Variables::new([("HOST".to_owned(), "hunter2".to_owned())], "").unwrap();
    let read = |text: &str| Environment::of_file(text, Some(&variables)).map(|it| it.0);
    let found = read("HOST\nA=${HOST}:${B_NOT}\nB='$HOST'\nC=$B").unwrap_err();
    assert_eq!(
        found,
        "invalid entry 2: the variable B_NOT is not set: set it, for example in .env, or write ${B_NOT:-DEFAULT}"
    );
    let found = read("HOST\nA=<${HOST}>\nB='$HOST'\nC=$B\nD=\"$$A\"").unwrap();
    let found: Vec<&str> = found.values().map(Secret::reveal).collect();
    assert_eq!(found, ["<hunter2>", "$HOST", "$HOST", "$A", "hunter2"]);
    for text in ["A=pa$word", "A=\"pa$word\"", "A=\"pa\\$word\""] {
        let reason = Environment::of_file(text, None).unwrap_err();
        assert!(reason.contains("in single quotes") && !reason.contains("word"), "{reason}");
    }
    assert_eq!(Environment::of_file("A='pa$word'", None).unwrap().0["A"].reveal(), "pa$word");
}

#[test]
fn volumes_are_short_or_long() {
    let text = r#"volumes = [
        "/srv:/data:ro,z", "cache:/cache", "/fresh",
        { type = "bind", source = "/etc/app", target = "/app", bind = { create_host_path = false } },
        { type = "volume", source = "cache", target = "/c", read_only = true, volume = { nocopy = true } },
        { type = "tmpfs", target = "/run", tmpfs = { size = "64m", mode = 0o1777 } },
    ]"#;
    let volume = |target: &str, read_only, kind| Volume { target: target.into(), read_only, kind };
    let bind = |source: &str, options: &[&str], create_host_path| VolumeKind::Bind {
        source: source.into(),
        options: texts(options),
        create_host_path,
    };
    let named = |name: Option<&str>, nocopy| VolumeKind::Volume { name: name.map(str::to_owned), nocopy };
    assert_eq!(
        read(text).unwrap().volumes,
        [
            volume("/data", true, bind("/srv", &["z"], true)),
            volume("/cache", false, named(Some("cache"), false)),
            volume("/fresh", false, named(None, false)),
            volume("/app", false, bind("/etc/app", &[], false)),
            volume("/c", true, named(Some("cache"), true)),
            volume("/run", false, VolumeKind::Tmpfs { size: Some(Bytes(64 << 20)), mode: Some(0o1777) }),
        ]
    );
    for (wrong, says) in [
        (
            r#"["./src:/app"]"#,
            "services.mobile.volumes[0]: invalid volume `./src:/app`: expected an absolute path",
        ),
        (r#"["/ok", "a:b"]"#, "services.mobile.volumes[1]: invalid target `b`"),
        (r#"["a:/b:rx"]"#, "unknown option"),
        (r#"["/a", "b:/a"]"#, "services.mobile.volumes: two mounts have the same target"),
        (r#"[{ type = "bind", target = "/a" }]"#, "a bind mount needs a source"),
        (
            r#"[{ type = "tmpfs", target = "/a", tmpfs = { size = "9x" } }]"#,
            "volumes[0].tmpfs.size: invalid size `9x`",
        ),
        (r#"["/a:/b:nocopy"]"#, "nocopy is only allowed for a volume"),
        (
            r#"[{ type = "bind", source = "/s", target = "/a", bind = { propagation = "some" } }]"#,
            "services.mobile.volumes[0].bind.propagation: unknown variant",
        ),
        (r#"[{ type = "npipe", target = "/a" }]"#, "volumes[0].type: unknown variant"),
    ] {
        let reason = refused(&format!("volumes = {wrong}"));
        assert!(reason.contains(says), "{reason}");
    }
}

#[test]
fn a_healthcheck_becomes_the_form_of_the_engine() {
    let whole = "healthcheck = { test = \"curl -f localhost\", interval = \"1m30s\", timeout = \"2.5s\", \
                retries = 3, start_period = \"500ms\" }";
    let check = read(whole).unwrap().healthcheck.unwrap();
    assert_eq!(check.test.unwrap().0, ["CMD-SHELL", "curl -f localhost"]);
    assert_eq!(check.interval, Some(Span(Duration::from_secs(90))));
    assert_eq!(check.timeout, Some(Span(Duration::from_millis(2500))));
    assert_eq!(check.start_period, Some(Span(Duration::from_millis(500))));
    let test = |text: &str| read(&format!("healthcheck.test = {text}")).unwrap().healthcheck.unwrap().test;
    assert_eq!(test(r#"["CMD", "/app", "ok"]"#).unwrap().0, ["CMD", "/app", "ok"]);
    assert_eq!(test("\"NONE\"").unwrap().0, ["NONE"]);
    assert!(
        refused("healthcheck.test = [\"/app\"]")
            .starts_with("services.mobile.healthcheck.test: expected a shell command")
    );
    assert!(
        refused("healthcheck.disable = true\nhealthcheck.test = \"x\"")
            .contains("healthcheck.disable: disable and test")
    );
    let soon = refused("healthcheck.interval = \"soon\"");
    assert_eq!(
        soon,
        "services.mobile.healthcheck.interval: invalid duration `soon`: expected 90s, 1m30s or 500ms"
    );
}

#[test]
fn quantities_are_read_as_in_compose() {
    for (text, bytes) in
        [("4096", 4096), ("\"64m\"", 64 << 20), ("\"1.5gb\"", 3 << 29), ("\"10 kB\"", 10240), ("\"7b\"", 7)]
    {
        assert_eq!(read(&format!("mem_limit = {text}")).unwrap().mem_limit, Some(Bytes(bytes)), "{text}");
    }
    for (text, billionths) in [("0.5", 500_000_000), ("2", 2_000_000_000), ("\"1.25\"", 1_250_000_000)] {
        assert_eq!(read(&format!("cpus = {text}")).unwrap().cpus, Some(Cpus(billionths)), "{text}");
    }
    for (text, seconds) in [("1h5m", 3900), ("90s", 90), ("1m30s", 90)] {
        let span = read(&format!("stop_grace_period = \"{text}\"")).unwrap().stop_grace_period;
        assert_eq!(span, Some(Span(Duration::from_secs(seconds))), "{text}");
    }
    for wrong in [
        "stop_grace_period = 90",
        "stop_grace_period = \"-1s\"",
        "stop_grace_period = \"PT1M\"",
        "shm_size = \"64q\"",
        "shm_size = -1",
        "mem_limit = \"9999999999g\"",
        "mem_limit = \"\"",
        "cpus = \"many\"",
    ] {
        assert!(refused(wrong).contains(": expected "), "{wrong}");
    }
}

#[test]
fn networks_are_a_list_or_a_table() {
    let list = read("networks = [\"front\", \"back\"]").unwrap().networks.0;
    assert!(list.keys().eq(["back", "front"]));
    let table =
        read("networks.front = { aliases = [\"m\"], ipv4_address = \"10.9.0.5\" }\nnetworks.back = {}");
    let table = table.unwrap().networks.0;
    assert_eq!(table["front"].aliases, ["m"]);
    assert_eq!(table["front"].ipv4_address, "10.9.0.5".parse().ok());
    assert!(
        refused("networks = [\"a\"]\nnetwork_mode = \"host\"").starts_with("services.mobile.network_mode:")
    );
    assert!(
        refused("networks.front.ipv4_address = \"here\"")
            .contains("services.mobile.networks: expected a list")
    );
}

#[test]
fn all_other_keys_are_read_in_all_forms() {
    let text = r#"
        expose = [8080, "9000-9002/udp"]
        restart = "on-failure:3"
        ulimits = { nofile = { soft = 1024, hard = 2048 }, nproc = 99 }
        logging = { driver = "json-file", options = { max-file = 3 } }
        user = 1000
        devices = ["/dev/null:/dev/none:r", "/dev/zero"]
        dns = "10.0.0.53"
        tmpfs = ["/tmp:size=1m"]
        security_opt = ["no-new-privileges"]
    "#;
    let container = read(text).unwrap();
    assert_eq!((container.expose[1].first, container.expose[1].last), (9000, 9002));
    assert_eq!(container.restart, Some(Restart::OnFailure(3)));
    assert_eq!(container.ulimits["nproc"], Ulimit { soft: 99, hard: 99 });
    assert_eq!(container.logging.unwrap().options["max-file"], Text("3".into()));
    assert_eq!(container.user, Some(Text("1000".into())));
    assert_eq!(
        (container.devices[0].permissions.as_str(), container.devices[1].permissions.as_str()),
        ("r", "rwm")
    );
    assert_eq!((container.dns.0.len(), container.tmpfs.0.len()), (1, 1));
    for wrong in ["expose = [0]", "expose = [\"9-8\"]", "restart = \"sometimes\"", "devices = [\"null\"]"] {
        assert!(refused(wrong).contains(": expected "), "{wrong}");
    }
    assert!(
        refused("security_opt = [\"seccomp=/p.json\"]")
            .contains("services.mobile.security_opt[0]: cannot use a seccomp profile")
    );
    assert!(refused("container_port = 0").starts_with("services.mobile.container_port:"));
}

#[test]
fn unknown_keys_are_refused_at_every_depth() {
    assert_eq!(refused("comand = \"x\""), "services.mobile.comand: unknown key: did you mean `command`?");
    assert_eq!(refused("ports = [80]"), "services.mobile.ports: unknown key: remove it");
    assert!(
        refused("healthcheck.intervall = \"1s\"").contains("services.mobile.healthcheck.intervall: unknown")
    );
    assert!(refused("logging.drivr = \"x\"").contains("services.mobile.logging.drivr: unknown field"));
    let missing = toml::from_str::<File>("[services.mobile]\nhosts = []\n").unwrap_err();
    assert_eq!(missing.message(), "services.mobile: missing field `primary_port`");
}
