use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::*;
use crate::cfg::{Environment, SourceFile, Version};
use crate::observation::Operational;
use crate::testing::markdown::assert_generated;
use crate::testing::{World, configuration};

/// Returns why the check of this server line decides, given the lines of its backend; `None` if it does not.
fn why(lines: &str, server: &str) -> Option<String> {
    let text = format!("backend b\n {lines}\n server s {server}\n");
    let file = SourceFile { path: "haproxy.cfg".into(), bytes: text.into_bytes() };
    let environment = Environment::new(BTreeMap::new(), Version::new(3, 4));
    let configuration = cfg::interpret(&cfg::read(vec![file], &environment));
    assert!(!configuration.has_errors(), "{:?}", configuration.problems);
    let proxy = &configuration.proxies[0];
    own_check(&configuration, proxy, &proxy.servers[0]).map(|it| it.why)
}

const HTTPCHK: &str = "mode http\n option httpchk GET /health";

#[test]
fn a_probe_is_used_where_it_can_check() {
    for (lines, server) in [
        ("mode http", "10.0.0.1:80 check"),
        ("mode tcp", "10.0.0.1:80 check"),
        ("mode tcp", "10.0.0.1:80 check send-proxy"),
        ("mode tcp\n option tcp-check", "10.0.0.1:80 check"),
        (HTTPCHK, "10.0.0.1:80 check"),
        (HTTPCHK, "10.0.0.1:80 check port 9000"),
        (HTTPCHK, "10.0.0.1:80 check ssl verify none"),
        (HTTPCHK, "10.0.0.1:80 check proto h1"),
        ("mode http", "10.0.0.1:80 check port 9000"),
        ("mode http\n option httpchk\n http-check expect rstatus ^2[0-9]{2}$", "10.0.0.1:80 check"),
        // HAProxy does not check.
        ("mode tcp\n option redis-check", "10.0.0.1:80"),
    ] {
        assert_eq!(why(lines, server), None, "{lines} / {server}");
    }
}

#[test]
fn the_own_check_decides_where_a_probe_cannot() {
    for (lines, server, expected) in [
        ("mode tcp\n option redis-check", "10.0.0.1:80 check", "option redis-check"),
        ("mode tcp\n option external-check", "10.0.0.1:80 check", "option external-check"),
        (
            "mode tcp\n option tcp-check\n tcp-check expect string +PONG",
            "10.0.0.1:80 check",
            "tcp-check rules",
        ),
        ("mode tcp", "10.0.0.1:80 check check-ssl verify none", "a TLS handshake"),
        ("mode tcp", "10.0.0.1:80 check port 9000", "an address that differs from the traffic's"),
        ("mode tcp", "10.0.0.1:80 check healthcheck shop", "healthcheck shop"),
        (HTTPCHK, "10.0.0.1:80 check healthcheck shop", "healthcheck shop"),
        (HTTPCHK, "10.0.0.1:80 check send-proxy", "httpchk behind a PROXY line"),
        (HTTPCHK, "10.0.0.1:80 check proto h2", "HTTP/2"),
        (HTTPCHK, "10.0.0.1:80 check check-proto h2 proto h1", "HTTP/2"),
        (HTTPCHK, "10.0.0.1:80 check ssl verify none alpn h2,http/1.1", "HTTP/2"),
        (HTTPCHK, "10.0.0.1:80 check ssl verify none crt /c.pem", "a client certificate"),
        (HTTPCHK, "10.0.0.1:80 check ssl verify none check-sni shop.example.org", "check-sni"),
        (HTTPCHK, "10.0.0.1:80 check ssl verify required ca-file /ca.pem", "a certificate that is verified"),
        ("mode http\n option httpchk OPTIONS *", "10.0.0.1:80 check", "a URI that is not a path"),
        (
            "mode http\n option httpchk GET http://shop.example.org/",
            "10.0.0.1:80 check",
            "a URI that is not a path",
        ),
        (
            "mode http\n option httpchk\n http-check send meth GET uri-lf /%[srv_name]",
            "10.0.0.1:80 check",
            "a request that HAProxy computes",
        ),
        (
            "mode http\n option httpchk\n http-check connect port 9000\n http-check send meth GET uri /",
            "10.0.0.1:80 check",
            "http-check connect",
        ),
        (
            "mode http\n option httpchk\n http-check expect rstring ^(?!down)",
            "10.0.0.1:80 check",
            "an http-check expect rule that only HAProxy can judge",
        ),
        (
            "mode http\n option httpchk\n http-check expect hdr name x-ready value yes",
            "10.0.0.1:80 check",
            "an http-check expect rule that only HAProxy can judge",
        ),
    ] {
        assert_eq!(why(lines, server).as_deref(), Some(expected), "{lines} / {server}");
    }
}

#[test]
fn a_check_rises_within_its_longest_intervals() {
    let within = |words: &str| {
        let configuration = configuration(&format!(
            "backend b\n mode tcp\n option redis-check\n server s 10.0.0.1:6379 check {words}\n"
        ));
        let proxy = &configuration.proxies[0];
        own_check(&configuration, proxy, &proxy.servers[0]).unwrap().within
    };
    assert_eq!(within(""), Duration::from_secs(4));
    assert_eq!(within("inter 500ms rise 3"), Duration::from_millis(1500));
    assert_eq!(within("inter 500ms downinter 10s fastinter 1s rise 3"), Duration::from_secs(30));
}

#[test]
fn a_line_that_tracks_another_follows_its_check() {
    let configuration = configuration(
        "backend a\n mode tcp\n option redis-check\n server one 10.0.0.1:6379 check\n server two 10.0.0.1:6379 track one
backend b\n mode tcp\n server one 10.0.0.1:6379 track a/two\n server lost 10.0.0.1:6379\n",
    );
    let checked = |backend: &str, server: usize| {
        let proxy = configuration.backend(backend).unwrap();
        own_check(&configuration, proxy, &proxy.servers[server])
    };
    let tracks = |backend, server| checked(backend, server).map(|it| it.tracks.map(|it| it.to_string()));
    assert_eq!(tracks("a", 0), Some(None));
    assert_eq!(tracks("a", 1), Some(Some("a/one".to_owned())));
    assert_eq!(tracks("b", 0), Some(Some("a/one".to_owned())));
    assert_eq!(tracks("b", 1), None);
}

#[test]
fn the_result_of_the_check_counts_if_there_is_one() {
    let check =
        OwnCheck { why: "option redis-check".to_owned(), within: Duration::from_secs(4), tracks: None };
    let probed = Some(Answer::Ready("connected".to_owned()));
    let said = |operational, check_says: &str, admin: AdminState| {
        let mut state =
            World::pair().observation.load_balancers.remove(0).servers.iter().next().unwrap().clone();
        state.checks.health = Checking::On;
        (state.operational, state.check, state.admin) = (operational, check_says.to_owned(), admin.bits());
        "DOWN".clone_into(&mut state.status);
        answer(Some(&check), Some(&state), probed.as_ref()).unwrap().detail().to_owned()
    };
    let (up, down) = (Operational::Running, Operational::Stopped);
    assert_eq!(said(up, "L7OK", AdminState::Ready), "HAProxy's own check reports it up (L7OK)");
    assert_eq!(said(down, "L7STS", AdminState::Ready), "HAProxy's own check reports it DOWN (L7STS)");
    assert_eq!(said(up, "", AdminState::Ready), "connected", "it has not checked yet");
    assert_eq!(said(down, "", AdminState::Maint), "connected", "it does not check in maint");
    assert_eq!(answer(None, None, probed.as_ref()), probed);
}

/// A way to decide whether a server serves, and what it costs.
type Decision = (&'static str, &'static str);

const PROBE: Decision = ("drainswap's own probe", "nothing");
const HAPROXY: Decision = ("HAProxy", "`rise` checks");

/// A kind of check, what decides there, and lines of that kind: those of the backend, and the server's.
type Kind = (&'static str, Decision, Vec<(String, &'static str)>);

/// Returns the kinds of HTTP checks, after the line without a check of its own.
fn http_checks() -> Vec<Kind> {
    let rule = |rule: &str| format!("{HTTPCHK}\n {rule}");
    let http = |server: &'static str| (HTTPCHK.to_owned(), server);
    vec![
        (
            "none, in mode http or tcp",
            PROBE,
            vec![("mode http".to_owned(), "10.0.0.1:80 check"), ("mode tcp".to_owned(), "10.0.0.1:80")],
        ),
        (
            "`option httpchk` with a path, status, text and patterns",
            PROBE,
            vec![
                http("10.0.0.1:80 check"),
                (rule("http-check expect status 200"), "10.0.0.1:80 check"),
                (rule("http-check expect string ok"), "10.0.0.1:80 check"),
                (rule("http-check expect rstring ^ok"), "10.0.0.1:80 check"),
            ],
        ),
        (
            "the same with a PROXY line, HTTP/2, a client certificate, `check-sni` or a certificate that is verified",
            HAPROXY,
            vec![
                http("10.0.0.1:80 check send-proxy"),
                http("10.0.0.1:80 check proto h2"),
                http("10.0.0.1:80 check ssl verify none crt /c.pem"),
                http("10.0.0.1:80 check ssl verify none check-sni shop.example.org"),
                http("10.0.0.1:80 check ssl verify required ca-file /ca.pem"),
            ],
        ),
        (
            "the same with `http-check connect`, `uri-lf`, `body-lf`, `%` in a header, `OPTIONS *`, a rule on a header, look-around in a pattern",
            HAPROXY,
            vec![
                (rule("http-check connect port 81"), "10.0.0.1:80 check"),
                (rule("http-check send uri-lf /%[str(a)]"), "10.0.0.1:80 check"),
                (rule("http-check send body-lf %[str(a)]"), "10.0.0.1:80 check"),
                (rule("http-check send hdr x %[str(a)]"), "10.0.0.1:80 check"),
                ("mode http\n option httpchk OPTIONS *".to_owned(), "10.0.0.1:80 check"),
                (rule("http-check expect hdr name x"), "10.0.0.1:80 check"),
                (rule("http-check expect rstring ^(?!ready)"), "10.0.0.1:80 check"),
            ],
        ),
    ]
}

/// Returns the kinds of checks of other protocols.
fn other_checks() -> Vec<Kind> {
    let tcp = |option: &str| (format!("mode tcp\n option {option}"), "10.0.0.1:80 check");
    vec![
        (
            "`tcp-check` rules; redis, mysql, pgsql, smtp, ldap, ssl-hello, spop, external",
            HAPROXY,
            vec![
                (
                    "mode tcp\n option tcp-check\n tcp-check expect string +PONG".to_owned(),
                    "10.0.0.1:80 check",
                ),
                tcp("redis-check"),
                tcp("mysql-check"),
                tcp("pgsql-check user a"),
                tcp("smtpchk"),
                tcp("ldap-check"),
                tcp("ssl-hello-chk"),
                tcp("external-check"),
            ],
        ),
        (
            "a TLS handshake, or another port, in mode tcp",
            HAPROXY,
            vec![
                ("mode tcp".to_owned(), "10.0.0.1:80 check check-ssl verify none"),
                ("mode tcp".to_owned(), "10.0.0.1:80 check port 9000"),
            ],
        ),
        (
            "`healthcheck NAME`, a section of HAProxy 3.4",
            HAPROXY,
            vec![(HTTPCHK.to_owned(), "10.0.0.1:80 check healthcheck shop")],
        ),
    ]
}

/// The table of docs/concepts/readiness.md: each row with lines of its kind.
#[test]
fn the_page_says_which_check_decides() {
    let mut table = "| check of the server line | decided by | cost |\n|---|---|---|\n".to_owned();
    for (kind, (decides, cost), lines) in http_checks().into_iter().chain(other_checks()) {
        for (lines, server) in lines {
            assert_eq!(
                why(&lines, server).is_some(),
                decides == HAPROXY.0,
                "{kind}: {lines}\n server {server}"
            );
        }
        writeln!(table, "| {kind} | {decides} | {cost} |").unwrap();
    }
    table += "| `track` | the line that it tracks | as there |\n";
    assert_generated("docs/concepts/readiness.md", "cargo test --lib own_check", &table);
}
