//! Reads every file under `fixtures/cfg` and compares the result: a summary of the valid files, the problems
//! of the others.
//!
//! `HAProxy` 2.6 accepts the valid files and refuses the others (with `HOST=10.0.0.5`).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Configuration, Environment, HealthCheck, Proxy, Server, SourceFile, Version, interpret, read};

fn directory(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cfg").join(kind)
}

/// Returns the `.cfg` files of a directory, each with its expected result.
fn fixtures(kind: &str) -> Vec<(PathBuf, Vec<u8>, String)> {
    let entries = std::fs::read_dir(directory(kind)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "cfg")).collect();
    paths.sort();
    let load = |path: PathBuf| {
        let expected = std::fs::read_to_string(path.with_extension("expected")).unwrap_or_default();
        (path.clone(), std::fs::read(path).unwrap(), expected)
    };
    paths.into_iter().map(load).collect()
}

fn environment() -> Environment {
    let variables = [("HOST".to_owned(), "10.0.0.5".to_owned())].into();
    Environment::new(variables, Version::new(2, 6))
}

fn configuration(path: &Path, bytes: &[u8]) -> Configuration {
    let name = path.file_name().unwrap();
    let document = read(vec![SourceFile { path: name.into(), bytes: bytes.to_vec() }], &environment());
    assert_eq!(document.bytes(0), bytes, "{} is not reproduced byte for byte", path.display());
    interpret(&document)
}

fn problems(configuration: &Configuration) -> String {
    let mut text = String::new();
    for problem in &configuration.problems {
        let line = problem.to_string();
        let (_, place) = line.split_once(':').unwrap();
        writeln!(text, "{place}").unwrap();
    }
    text
}

fn summary(configuration: &Configuration) -> String {
    let mut text = String::new();
    for socket in &configuration.stats_sockets {
        writeln!(text, "socket {} {}", socket.address, socket.level).unwrap();
    }
    for proxy in &configuration.proxies {
        proxy_summary(&mut text, proxy);
    }
    text
}

fn proxy_summary(text: &mut String, proxy: &Proxy) {
    write!(text, "{} {} at {}: {} {}", proxy.kind, proxy.name, proxy.place.line, proxy.mode, proxy.balance)
        .unwrap();
    for (fact, holds) in [
        ("allbackups", proxy.all_backups),
        ("sticks", proxy.sticks),
        ("persist", proxy.persist),
        ("disabled", proxy.disabled),
    ] {
        if holds {
            write!(text, " {fact}").unwrap();
        }
    }
    if let Some(cookie) = &proxy.cookie {
        write!(text, " cookie={cookie}").unwrap();
    }
    if let Some(timeout) = proxy.timeout_check {
        write!(text, " timeout-check={timeout:?}").unwrap();
    }
    for rule in &proxy.use_servers {
        write!(text, " use-server={} ({})", rule.server, rule.condition).unwrap();
    }
    writeln!(text).unwrap();
    match &proxy.check {
        HealthCheck::None => {}
        HealthCheck::Http(check) => writeln!(text, "  {check:?}").unwrap(),
        HealthCheck::TcpCheck { .. } | HealthCheck::Other(_) => {
            writeln!(text, "  {:?}", proxy.check).unwrap();
        }
    }
    for server in &proxy.servers {
        server_summary(text, server);
    }
}

fn server_summary(text: &mut String, server: &Server) {
    write!(text, "  {} {} weight {}", server.name, server.address, server.weight).unwrap();
    for (fact, holds) in [
        ("check", server.check),
        ("backup", server.backup),
        ("disabled", server.disabled),
        ("ssl", server.ssl),
        ("send-proxy", server.send_proxy),
        ("check-send-proxy", server.check_send_proxy),
        ("cuts-sessions-when-down", server.cuts_sessions_when_down),
    ] {
        if holds {
            write!(text, " {fact}").unwrap();
        }
    }
    let times = [
        ("inter", server.inter),
        ("fastinter", server.fastinter),
        ("downinter", server.downinter),
        ("slowstart", server.slowstart),
    ];
    for (name, time) in times.into_iter().filter_map(|(name, time)| Some((name, time?))) {
        write!(text, " {name} {time:?}").unwrap();
    }
    let numbers = [("rise", server.rise), ("fall", server.fall), ("maxconn", server.maxconn)];
    for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, number?))) {
        write!(text, " {name} {number}").unwrap();
    }
    for (name, word) in
        [("cookie", &server.cookie), ("track", &server.track), ("check-sni", &server.check_sni)]
    {
        if let Some(word) = word {
            write!(text, " {name} {word}").unwrap();
        }
    }
    if server.check_address.is_some() || server.check_port.is_some() {
        write!(text, " checked at {}", server.checked_address()).unwrap();
    }
    writeln!(text).unwrap();
}

/// Compares the result with the expected one, or writes it if `UPDATE_FIXTURES` is set.
fn compare(path: &Path, found: &str, expected: &str) {
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(path.with_extension("expected"), found).unwrap();
    } else {
        assert_eq!(found, expected, "{}", path.display());
    }
}

#[test]
fn valid_files_are_read_without_a_problem() {
    let fixtures = fixtures("valid");
    assert!(fixtures.len() >= 10);
    for (path, bytes, expected) in fixtures {
        let configuration = configuration(&path, &bytes);
        assert_eq!(problems(&configuration), "", "{}", path.display());
        compare(&path, &summary(&configuration), &expected);
    }
}

#[test]
fn every_problem_of_the_invalid_files_is_found_at_its_place() {
    let fixtures = fixtures("invalid");
    assert!(fixtures.len() >= 10);
    for (path, bytes, expected) in fixtures {
        let configuration = configuration(&path, &bytes);
        assert!(configuration.has_errors(), "{} is accepted", path.display());
        compare(&path, &problems(&configuration), &expected);
    }
}

/// Every code must be tested by an invalid file, with two exceptions. HAProxy reads lines that are too long
/// for this reader and uses up all memory for them, so `document/tests.rs` tests that code. HAProxy 2.6 still
/// has every keyword that was removed later.
#[test]
fn the_invalid_files_show_every_code() {
    let fixtures = fixtures("invalid");
    let found = fixtures.iter().flat_map(|(path, bytes, _)| configuration(path, bytes).problems);
    let found: std::collections::BTreeSet<_> = found.map(|problem| problem.code).collect();
    let missing = super::code::ALL.iter().map(|(code, _)| *code).filter(|code| !found.contains(code));
    assert_eq!(missing.collect::<Vec<_>>(), [super::code::TOO_LONG, super::code::REMOVED_KEYWORD]);
}
