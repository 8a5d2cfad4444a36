//! Tests of the settings.

use std::str::FromStr;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::cli::ReloadWhen;
use crate::service::container::Environment;
use crate::service::interpolate::Variables;
use crate::testing::bytes::damaged;

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("drainswap.toml");
    std::fs::write(
        &path,
        "haproxy_config = \"/a.cfg\"\nsocket = \"/file.sock\"\nfloor = 2\ndrain_timeout = \"2m\"\n",
    )
    .unwrap();
    let globals =
        Globals { settings: Some(path), socket: vec!["/flag.sock".to_owned()], ..Globals::default() };
    let settings = Settings::read(&globals).unwrap();
    assert_eq!(settings.haproxy_config, [PathBuf::from("/a.cfg")]);
    assert_eq!(settings.sockets, ["/flag.sock"]);
    assert_eq!(settings.state_dir, Path::new("/var/lib/drainswap"));
    let policy = settings.policy(&PolicyFlags { floor: Some(3), ..PolicyFlags::default() });
    assert_eq!((policy.floor, policy.drain_timeout), (3, Duration::from_secs(120)));
    assert_eq!(policy.ready_timeout, Duration::from_secs(60));
}

#[test]
fn a_reload_is_set_by_flags_or_the_file() {
    let file = File::from_str("reload = \"never\"\nreload_by = \"systemd\"\nreload_timeout = \"9s\"\n");
    let settings =
        Settings { reloading: file.unwrap().reloading, ..Settings::read(&Globals::default()).unwrap() };
    let flags = ReloadFlags { reload: Some(ReloadWhen::Always), ..ReloadFlags::default() };
    let reloading = settings.reloading(&flags);
    assert_eq!((reloading.when, reloading.by.as_deref()), (ReloadWhen::Always, Some("systemd")));
    assert_eq!(reloading.timeout, Duration::from_secs(9));
    assert_eq!(settings.reloading(&ReloadFlags::default()).when, ReloadWhen::Never);
}

fn wrong(text: &str) -> String {
    File::from_str(text).unwrap_err().to_string()
}

#[test]
fn errors_have_a_position() {
    assert!(wrong("version = 2\nnew = 1\n").starts_with("1:11: unsupported version 2"));
    assert_snapshot!(wrong("keep = 1\n  floor = \"x\"\n"), @r#"2:11: invalid type: string "x", expected usize"#);
    assert_snapshot!(wrong("drain_timeout = \"5 parsecs\"\n"), @"1:17: invalid duration `5 parsecs`: expected 90s, 5m or 1m 30s");
    assert_snapshot!(wrong("reload = \"perhaps\""), @"1:10: unknown variant `perhaps`, expected one of `auto`, `always`, `never`");
    assert_snapshot!(wrong("docker = \"ü\" floor"), @"1:14: unexpected key or value, expected newline, `#`");
    let service = "hosts = [\"10.0.0.1\"]\nprimary_port = 1\n";
    let misplaced = wrong(&format!("[services.a]\n{service}[services.b]\n{service}chekc = true\n"));
    assert_snapshot!(misplaced, @"7:1: services.b.chekc: unknown key: did you mean `check`?");
    let login = "username = \"u\"\npassword = \"hunter2\"\n";
    assert!(wrong(&format!("[registries.\"r.io\"]\n{login}")).starts_with("1:13: registries.\"r.io\": "));
    let secret = "floor = 1\n[services.a]\nenvironment = { TOKEN = \"hunter2 }\n";
    assert!(wrong(secret).starts_with("3:") && !wrong(secret).contains("hunter2"), "{}", wrong(secret));
}

#[test]
fn the_policy_has_servers_to_leave_alone_and_those_of_flags() {
    let file: File =
        "[backends.web]\nleave = [\"sorry\"]\n[backends.pay]\nleave = [\"vm\"]\n".parse().unwrap();
    let settings = Settings::of(&Globals::default(), file);
    let flags = PolicyFlags { only: vec!["app1".to_owned()], enable: true, ..PolicyFlags::default() };
    let scope = settings.policy(&flags).scope;
    let leave: Vec<String> = scope.leave.iter().map(ToString::to_string).collect();
    assert_eq!((leave.join(" ").as_str(), scope.only.len()), ("pay/vm web/sorry", 1));
    assert!(scope.enable && !scope.no_create);
    // A resumed run keeps its policy unless a flag overrides it.
    let resumed = PolicyFlags::default().over(settings.policy(&flags));
    assert_eq!(resumed.scope, scope);
    let typed = PolicyFlags { only: vec!["app2".to_owned()], ..PolicyFlags::default() };
    assert!(typed.over(resumed).scope.only.contains("app2"));
    assert!(wrong("[backends.web]\nleaves = [\"sorry\"]\n").contains("leaves"));
}

#[test]
fn a_similar_key_is_suggested() {
    assert_snapshot!(wrong("keep = 1\n\nflor = 2\n"), @"3:1: unknown key `flor`; did you mean `floor`?");
    assert_snapshot!(wrong("haproxy-config = \"/a\"\n"), @"1:1: unknown key `haproxy-config`; did you mean `haproxy_config`?");
    assert_snapshot!(wrong("[hooks]\nbefore_rnu = \"x\"\n"), @"2:1: unknown key `hooks.before_rnu`; did you mean `hooks.before_run`?");
    assert_snapshot!(wrong("colour = \"blue\"\n"), @"1:1: unknown key `colour`: remove it, or see `drainswap schema settings` for all keys");
}

#[test]
fn services_of_a_compose_file_join_those_of_the_settings() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("drainswap.toml");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let read = || {
        let globals = Globals { settings: Some(path.clone()), ..Globals::default() };
        let read = Settings::read(&globals).and_then(|it| it.described().map(|()| it.services));
        read.map_err(|error| error.to_string())
    };
    let service = "hosts = [\"10.0.0.2\"]\nprimary_port = 1\n";
    write("drainswap.toml", &format!("compose = \"compose.yaml\"\n[services.web]\n{service}"));
    let missing = read().unwrap_err();
    assert!(missing.contains("cannot read /") && missing.contains("compose.yaml: no such file"), "{missing}");
    write(
        "compose.yaml",
        "name: shop\nservices:\n  mobile:\n    image: ${IMAGE_OF_MOBILE}\n    \
         x-drainswap: { hosts: [10.0.0.1], primary_port: 50000 }\n",
    );
    let unset = read().unwrap_err();
    assert!(unset.contains("compose.yaml: services.mobile.image: the variable IMAGE_OF_MOBILE"), "{unset}");
    let globals = Globals { settings: Some(path.clone()), ..Globals::default() };
    assert!(Settings::read(&globals).is_ok(), "the settings themselves are valid");
    write(".env", "# said\nIMAGE_OF_MOBILE='mobile:v2'\n");
    let services = read().unwrap();
    assert_eq!(services["mobile"].container.image, Some("mobile:v2".parse().unwrap()));
    assert!(services.keys().eq(["mobile", "web"]));
    write(".env", "IMAGE_OF_MOBILE='hunter2");
    let wrong = read().unwrap_err();
    assert!(wrong.ends_with(".env: invalid entry 1: expected NAME=VALUE. Correct it"), "{wrong}");
    write(".env", "IMAGE_OF_MOBILE=a");
    write("drainswap.toml", &format!("compose = \"compose.yaml\"\n[services.mobile]\n{service}"));
    let twice = read().unwrap_err();
    assert!(
        twice.starts_with("duplicate service mobile: remove services.mobile")
            && twice.contains("compose.yaml"),
        "{twice}"
    );
    write("compose.yaml", &"#".repeat((1 << 20) + 1));
    assert!(read().unwrap_err().contains("compose.yaml: longer than 1048576 bytes"));
    std::fs::write(dir.path().join("compose.yaml"), b"a: \xff").unwrap();
    assert!(read().unwrap_err().contains("compose.yaml: not UTF-8"));
}

#[test]
fn settings_of_version_1_are_read() {
    let file: File = include_str!("../../fixtures/settings/version-1.toml").parse().unwrap();
    assert_eq!((file.policy.floor, file.own.services.len(), file.policy.keep), (Some(2), 1, Some(2)));
}

proptest! {
    #[test]
    fn no_settings_make_the_parser_panic(bytes in damaged(include_bytes!("../../fixtures/settings/version-1.toml"))) {
        let _either = File::from_str(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_env_file_makes_the_parser_panic(bytes in damaged(include_bytes!("../../fixtures/settings/compose.env"))) {
        let text = String::from_utf8_lossy(&bytes);
        let variables = Variables::new([("TAG".to_owned(), "v1".to_owned())], &text).ok();
        let _either = Environment::of_file(&text, variables.as_ref());
    }
}

#[test]
fn durations_are_read_in_common_notations() {
    for (text, seconds) in [("90", 90), ("90s", 90), ("5m", 300), ("1m 30s", 90), ("1h", 3600)] {
        assert_eq!(text.parse(), Ok(DurationArg(Duration::from_secs(seconds))), "{text}");
    }
    assert!("-5s".parse::<DurationArg>().is_err());
    assert!("18446744073709551615".parse::<DurationArg>().is_err());
}
