use std::path::Path;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;

fn service(text: &str) -> Service {
    toml::from_str(text).unwrap()
}

fn rendered(text: &str) -> Result<String, String> {
    render("mobile", &service(text), TEMPLATE, Version::new(2, 6)).map_err(|error| error.to_string())
}

/// Compares every description in `fixtures/render` with the expected backend or refusal.
#[test]
fn fixtures_render_as_expected() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/render");
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(paths.len() >= 5);
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let service = service(&std::fs::read_to_string(&path).unwrap());
        let found = match render(name, &service, TEMPLATE, Version::new(2, 6)) {
            Ok(text) => text,
            Err(error) => format!("refused: {error}\n"),
        };
        let expected = path.with_extension("expected");
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            std::fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&expected).unwrap_or_default(), "{}", path.display());
    }
}

#[test]
fn a_custom_template_may_add_lines_but_not_drop_or_change_any() {
    let service = service(
        "hosts = [\"10.0.0.1\"]\nprimary_port = 80\nbackup_port = 81\nbalance = \"leastconn\"\nmode = \"http\"\ncookie = \"SRV\"\ncheck = \"/health\"\n",
    );
    let with = |template: &str| {
        render("mobile", &service, template, Version::new(2, 6)).map_err(|error| error.to_string())
    };
    let added = TEMPLATE.replace("\n{%- for server", "\n    http-reuse always # ours\n{%- for server");
    assert!(with(&added).unwrap().contains("http-reuse always # ours"));
    let servers = "\n{%- for server in servers %}";
    let before = |line: &str| format!("\n    {line}{servers}");
    let after = |line: &str| format!("backend {{{{ backend }}}}\n    {line}");
    for (from, to, reason) in [
        (servers, before("default-server backup").as_str(), "another line changes `server app1`"),
        (servers, &before("default-server disabled"), "another line changes `server app1`"),
        (servers, &before("balance source"), "another line changes its `balance`"),
        (servers, &before("mode tcp"), "another line changes its `mode`"),
        (servers, &before("cookie OTHER rewrite"), "another line changes its `cookie`"),
        (servers, &before("option tcp-check"), "another line changes its `option httpchk`"),
        (servers, &before("http-check send meth PUT"), "another line changes its `option httpchk`"),
        (servers, &before("server-template x 3 10.6.6.6:80"), "it has `server-template x"),
        (servers, &before("disabled"), "it is disabled"),
        (servers, &before(".if !defined(NEVER)\n    .endif"), "depends on the running HAProxy"),
        ("backend {{ backend }}", &after("mode health"), "HAProxy 2.6 refuses its line 2"),
        (
            " {{ option }}",
            "",
            "it has `server app1 10.0.0.1:80`, not `server app1 10.0.0.1:80 check cookie app1`",
        ),
        ("{{ word }}", "{{ word }}x", "`optionx`"),
        ("{%- for line in lines %}", "{%- for line in [] %}", "it lacks `mode http`"),
        ("backend {{ backend }}", "listen {{ backend }}", "it starts with `listen mobile`"),
        ("backend {{ backend }}", "backend x\nbackend {{ backend }}", "it has 2 sections"),
        ("{{ server.name }}", "{{ server.nam }}", "cannot render the template"),
    ] {
        assert!(TEMPLATE.contains(from), "{from}");
        let error = with(&TEMPLATE.replace(from, to)).unwrap_err();
        assert!(error.contains(reason), "{to}: {error}");
    }
}

#[test]
fn every_value_stays_one_word() {
    let text = "hosts = [\"10.0.0.1\"]\nprimary_port = 80\n\
                check = { uri = \"/x\", headers = { Host = \"a b # ' \\\" $HOME\" } }\n";
    let rendered = rendered(text).unwrap();
    assert!(rendered.contains(r#"hdr Host "a b # ' \" \$HOME""#), "{rendered}");
}

/// Returns a word that is mostly valid and sometimes hostile.
fn value(well: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        40 => prop::sample::select(well).prop_map(str::to_owned),
        1 => "[a-c'\"\\\\$#{}. \t\r\n\0é;-]{0,12}",
        1 => prop::sample::select(&["backend x", "server x 1.2.3.4:5", "${HOME}", "\"$HOME\"", ".if 1", "[x]", "é ü", ""][..])
            .prop_map(str::to_owned),
    ]
}

fn description() -> impl Strategy<Value = Service> {
    let hosts = prop::collection::vec(value(&["10.0.0.1", "10.0.0.2", "::1", "web.local"]), 1..4);
    let extra = prop::collection::vec(
        value(&[
            "http-reuse always",
            "option forwardfor",
            "timeout server 5s",
            "http-request set-header X 'a $b'",
        ]),
        0..3,
    );
    let options = prop::collection::vec(value(&["inter 2s", "rise 2", "weight 10", "maxconn 5"]), 0..3);
    let check = prop_oneof![
        any::<bool>().prop_map(super::super::Check::Connect),
        value(&["GET /health", "/health", "HEAD /x?a=b"]).prop_map(super::super::Check::Short),
    ];
    let balance = prop::option::of(value(&["roundrobin", "leastconn", "uri depth 3", "hdr(x)"]));
    let cookie = prop::option::of(value(&["SRV", "c"]));
    let name = prop::option::of(value(&["mobile", "web.1", "a:b"]));
    (hosts, extra, options, check, balance, cookie, name, any::<(u16, Option<u16>)>()).prop_map(
        |(
            hosts,
            extra_lines,
            server_options,
            check,
            balance,
            cookie,
            backend,
            (primary_port, backup_port),
        )| Service {
            backend,
            hosts: super::super::Hosts::Numbered(hosts),
            server_prefix: "app".to_owned(),
            primary_port,
            backup_port,
            mode: Some("http".to_owned()),
            balance,
            check,
            cookie,
            server_options,
            extra_lines,
            container: crate::service::Container::default(),
        },
    )
}

/// Checks that any description is refused with a reason or reads back unchanged.
#[test]
fn hostile_descriptions_are_refused_or_read_back() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut taken, mut all) = (0, 0);
    for _ in 0..1500 {
        let service = description().new_tree(&mut runner).unwrap().current();
        all += 1;
        for version in [(2, 2), (2, 6), (3, 2), (3, 3)] {
            let version = Version::new(version.0, version.1);
            let Ok(text) = render("mobile", &service, TEMPLATE, version) else { continue };
            taken += 1;
            let wanted = service.backend_spec("mobile", version).unwrap();
            let file = SourceFile { path: "h.cfg".into(), bytes: text.clone().into_bytes() };
            let document =
                read(vec![file], &Environment::new([("HOME".into(), "/x".into())].into(), version));
            let configuration = interpret(&document);
            assert_eq!(configuration.problems, [], "{text}");
            assert_eq!(configuration.proxies.len(), 1, "{text}");
            let servers: Vec<_> = configuration.proxies[0]
                .servers
                .iter()
                .map(|server| (server.name.as_str(), server.address.to_string(), server.backup, server.check))
                .collect();
            let expected: Vec<_> = wanted
                .servers
                .iter()
                .map(|server| {
                    let has = |word: &str| server.options.iter().any(|option| option == word);
                    (server.name.as_str(), server.address.clone(), has("backup"), has("check"))
                })
                .collect();
            assert_eq!(servers, expected, "{text}");
        }
    }
    assert!(taken * 3 > all * 4, "only {taken} of {} were accepted: the test shows nothing", all * 4);
}
