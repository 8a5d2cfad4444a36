use insta::assert_snapshot;

use super::*;
use crate::testing::{World, configuration};
use crate::topology::own_check::own_check;

/// Returns the probe of a server, given the lines of its backend and the words of its server line.
fn probe_of(lines: &str, server: &str) -> Option<Probe> {
    let configuration = configuration(&format!("backend b\n {lines}\n server s {server}\n"));
    let proxy = &configuration.proxies[0];
    let own_check = own_check(&configuration, proxy, &proxy.servers[0]);
    probe(proxy, &proxy.servers[0], None, own_check.as_ref())
}

/// Returns the probe as the plan prints it.
fn asked(lines: &str, server: &str) -> String {
    probe_of(lines, server).unwrap().to_string()
}

const HTTPCHK: &str = "mode http\n option httpchk GET /health";

#[test]
fn the_backend_s_own_check_is_the_question() {
    for (lines, question) in [
        ("mode http\n option httpchk", "OPTIONS http://10.0.0.1:80/"),
        ("mode http\n option httpchk /health", "OPTIONS http://10.0.0.1:80/health"),
        ("mode http\n option httpchk HEAD /health", "HEAD http://10.0.0.1:80/health"),
        (
            "mode http\n option httpchk\n http-check send meth GET uri /up?deep=1",
            "GET http://10.0.0.1:80/up?deep=1",
        ),
        ("mode tcp\n option httpchk GET /health", "GET http://10.0.0.1:80/health"),
        ("mode http", "GET http://10.0.0.1:80/"),
        ("mode http\n option tcp-check", "GET http://10.0.0.1:80/"),
        ("mode tcp", "connect to 10.0.0.1:80"),
        ("mode tcp\n option mysql-check", "connect to 10.0.0.1:80"),
    ] {
        assert_eq!(asked(lines, "10.0.0.1:80 check"), question, "{lines}");
    }
}

#[test]
fn silence_is_probed_where_the_traffic_goes() {
    let silence_of = |lines: &str, server: &str| {
        let configuration = configuration(&format!("backend b\n {lines}\n server s {server}\n"));
        let proxy = &configuration.proxies[0];
        let probe = silence(proxy, &proxy.servers[0], None, None).unwrap();
        (probe.to_string(), probe.tls, probe.timeout)
    };
    let asked = |question: &str, tls| (question.to_owned(), tls, AT_ONCE);
    assert_eq!(silence_of(HTTPCHK, "10.0.0.1:80 check"), asked("GET http://10.0.0.1:80/health", false));
    let elsewhere = "10.0.0.1:80 check port 9000 ssl verify none";
    assert_eq!(silence_of(HTTPCHK, elsewhere), asked("GET https://10.0.0.1:80/", true));
    let connected = ("connect to 10.0.0.1:80".to_owned(), false, AT_ONCE_TCP);
    assert_eq!(silence_of("mode tcp", "10.0.0.1:80 check"), connected);
}

#[test]
fn a_server_without_check_is_probed_anyway() {
    assert_eq!(asked(HTTPCHK, "10.0.0.1:80"), "GET http://10.0.0.1:80/health");
}

#[test]
fn headers_body_and_timeout_are_the_check_s() {
    let lines = "mode http
 timeout check 700ms
 option httpchk
 http-check send meth POST uri /up hdr Host shop.example.org hdr X-Check 1 body ping";
    let probe = probe_of(lines, "10.0.0.1:80 check").unwrap();
    assert_eq!(probe.timeout, Duration::from_millis(700));
    let Question::Http { headers, body, expect, .. } = probe.question else { panic!("{probe}") };
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(headers, [header("Host", "shop.example.org"), header("X-Check", "1")]);
    assert_eq!((body.as_deref(), expect.len()), (Some("ping"), 0));
    for (server, timeout) in [
        ("10.0.0.1:80", TIMEOUT),
        ("10.0.0.1:80 check inter 200ms", TIMEOUT),
        ("10.0.0.1:80 check inter 5s", Duration::from_secs(5)),
        ("10.0.0.1:80 inter 5s", TIMEOUT),
    ] {
        assert_eq!(probe_of("mode tcp", server).unwrap().timeout, timeout, "{server}");
    }
}

#[test]
fn the_expectations_are_the_check_s() {
    let lines = "mode http
 option httpchk
 http-check expect status 200,300-310
 http-check expect ! rstatus ^5
 http-check expect string fine
 http-check expect ! rstring (?i)error
 http-check expect hdr name x-up value 1";
    // With `check` HAProxy itself would judge the header.
    let probe = probe_of(lines, "10.0.0.1:80").unwrap();
    let Question::Http { expect, .. } = probe.question else { panic!("{probe}") };
    let rules: Vec<String> = expect.iter().map(ToString::to_string).collect();
    assert_snapshot!(rules.join("\n"), @r#"
    status 200,300-310
    not a status matching ^5
    a body with "fine"
    not a body matching (?i)error
    "#);
}

#[test]
fn a_check_that_is_sent_elsewhere_is_probed_there() {
    for (server, question) in [
        ("10.0.0.1:80 check port 8081", "GET http://10.0.0.1:8081/health"),
        ("10.0.0.1:80 check addr 10.0.0.2", "GET http://10.0.0.2:80/health"),
        ("10.0.0.1:80 check addr 10.0.0.2:8081", "GET http://10.0.0.2:8081/health"),
        ("10.0.0.1:80 check addr 10.0.0.2:8081 port 8082", "GET http://10.0.0.2:8082/health"),
        ("10.0.0.1:80 check addr health.internal", "GET http://10.0.0.1:80/health"),
    ] {
        assert_eq!(asked(HTTPCHK, server), question, "{server}");
    }
}

#[test]
fn without_a_check_the_traffic_s_own_address_is_probed() {
    assert_eq!(asked("mode http", "10.0.0.1:80 check port 8081"), "GET http://10.0.0.1:80/");
    assert_eq!(asked("mode tcp", "10.0.0.1:80 check addr 10.0.0.2"), "connect to 10.0.0.1:80");
}

#[test]
fn a_check_is_encrypted_as_haproxy_encrypts_it() {
    for (server, question) in [
        ("10.0.0.1:443 check ssl verify none", "GET https://10.0.0.1:443/health"),
        ("10.0.0.1:443 check check-ssl verify none", "GET https://10.0.0.1:443/health"),
        ("10.0.0.1:443 check ssl no-check-ssl verify none", "GET http://10.0.0.1:443/health"),
        ("10.0.0.1:443 check ssl verify none port 8081", "GET http://10.0.0.1:8081/health"),
        ("10.0.0.1:443 check ssl verify none port 443", "GET http://10.0.0.1:443/health"),
        ("10.0.0.1:443 check ssl check-ssl verify none port 8443", "GET https://10.0.0.1:8443/health"),
    ] {
        assert_eq!(asked(HTTPCHK, server), question, "{server}");
    }
}

#[test]
fn the_traffic_s_own_address_is_probed_like_the_traffic() {
    for (server, question) in [
        ("10.0.0.1:443 ssl verify none", "GET https://10.0.0.1:443/"),
        ("10.0.0.1:443 check ssl no-check-ssl verify none", "GET https://10.0.0.1:443/"),
        ("10.0.0.1:80 check check-ssl verify none port 8443", "GET http://10.0.0.1:80/"),
    ] {
        assert_eq!(asked("mode http", server), question, "{server}");
    }
}

#[test]
fn a_server_that_expects_the_proxy_protocol_gets_no_http_probe() {
    for (server, question) in [
        ("10.0.0.1:80 check send-proxy", "connect to 10.0.0.1:80"),
        ("10.0.0.1:80 check send-proxy-v2", "connect to 10.0.0.1:80"),
        ("10.0.0.1:80 check send-proxy port 8081", "GET http://10.0.0.1:8081/health"),
        ("10.0.0.1:80 check send-proxy check-send-proxy port 8081", "connect to 10.0.0.1:80"),
        ("10.0.0.1:80 check check-send-proxy port 8081", "connect to 10.0.0.1:80"),
    ] {
        assert_eq!(asked(HTTPCHK, server), question, "{server}");
    }
}

#[test]
fn a_server_without_a_known_address_is_not_probed() {
    for server in ["unix@/run/app.sock check", "app.internal:80 check", "10.0.0.1 check"] {
        assert_eq!(probe_of(HTTPCHK, server), None, "{server}");
    }
}

#[test]
fn a_name_is_probed_at_the_address_that_haproxy_resolved() {
    let world = World::of("backend mobile\n mode http\n server app1 app.internal:80 check\n");
    let world = world.server("mobile/app1", |server| server.address = Some("10.0.0.7:80".parse().unwrap()));
    let probes = crate::topology::probes(&world.configuration, &world.observation.load_balancers[0]);
    assert_eq!(probes[0].1.to_string(), "GET http://10.0.0.7:80/");
}
