use std::borrow::Cow;

use super::*;
use crate::cfg::Version;

fn words(line: &str) -> Vec<Cow<'_, str>> {
    line.split_ascii_whitespace().map(Cow::Borrowed).collect()
}

/// Reads `option …` and `http-check …` lines, separated by `;`.
fn rules(start: CheckRules, lines: &str) -> Result<CheckRules, String> {
    let mut rules = start;
    for line in lines.split(';') {
        let words = words(line);
        match &*words[0] {
            "option" => rules.choose(&words[1], &words[2..], Version::new(2, 6))?,
            _ => rules.add(&words[1..])?,
        }
    }
    Ok(rules)
}

fn http(start: CheckRules, lines: &str) -> HttpCheck {
    match rules(start, lines).unwrap().build() {
        HealthCheck::Http(check) => check,
        other @ (HealthCheck::None | HealthCheck::TcpCheck { .. } | HealthCheck::Other(_)) => {
            panic!("{lines} gave {other:?}")
        }
    }
}

/// The expected requests are those that `HAProxy` 2.6 was observed to send.
#[test]
fn requests_are_merged_as_haproxy_sends_them() {
    let none = CheckRules::default;
    let option = || rules(none(), "option httpchk GET /d").unwrap().inherit();
    let both = || rules(none(), "option httpchk GET /d;http-check send hdr Host d").unwrap().inherit();
    for (start, lines, request, headers) in [
        (none(), "option httpchk", "OPTIONS / HTTP/1.0", 0),
        (none(), "option httpchk /h", "OPTIONS /h HTTP/1.0", 0),
        (none(), "option httpchk GET /h HTTP/1.1", "GET /h HTTP/1.1", 0),
        (none(), "http-check send uri /s;option httpchk GET /o", "GET /o HTTP/1.0", 0),
        (none(), "http-check send meth GET uri /s ver HTTP/1.1;option httpchk", "GET /s HTTP/1.1", 0),
        (
            none(),
            "http-check send meth GET uri /s ver HTTP/1.1;option httpchk HEAD /h",
            "HEAD /h HTTP/1.1",
            0,
        ),
        (none(), "option httpchk GET /a;option httpchk HEAD /b", "HEAD /b HTTP/1.0", 0),
        (
            none(),
            "option httpchk GET /a;http-check send hdr Host w;option httpchk HEAD /b",
            "HEAD /b HTTP/1.0",
            1,
        ),
        (
            none(),
            "option httpchk GET /o HTTP/1.1;http-check send ver HTTP/1.0;option httpchk",
            "GET /o HTTP/1.0",
            0,
        ),
        (
            none(),
            "option httpchk GET /o HTTP/1.1;http-check connect;http-check send uri /c",
            "GET /c HTTP/1.1",
            0,
        ),
        (
            none(),
            "option httpchk GET /o;http-check set-var(check.x) int(1);http-check send uri /s",
            "GET /s HTTP/1.0",
            0,
        ),
        (option(), "http-check send hdr X y;option httpchk", "OPTIONS / HTTP/1.0", 1),
        (option(), "http-check send hdr X y", "OPTIONS / HTTP/1.0", 1),
        (option(), "option tcp-check;option httpchk", "OPTIONS / HTTP/1.0", 0),
        (option(), "http-check send-state", "GET /d HTTP/1.0", 0),
        (both(), "http-check send uri /u", "OPTIONS /u HTTP/1.0", 0),
        (both(), "option httpchk HEAD /z", "HEAD /z HTTP/1.0", 0),
        (both(), "http-check disable-on-404", "GET /d HTTP/1.0", 1),
    ] {
        let check = http(start, lines);
        let found = format!("{} {} {}", check.method, check.uri, check.version);
        assert_eq!((found.as_str(), check.headers.len()), (request, headers), "{lines}");
    }
}

#[test]
fn what_haproxy_refuses_is_refused() {
    for lines in [
        "option httpchk GET / HTTP/1.1 www",
        "option httpchk;http-check expect status 200;http-check send uri /",
        "option httpchk;http-check send uri /;http-check send uri /",
        "option httpchk;http-check expect status 200;http-check connect",
        "http-check",
        "http-check expect",
        "http-check expect status",
        "http-check expect status 200-",
        "http-check expect shape round",
        "http-check send hdr Host",
        "http-check send colour red",
    ] {
        assert!(rules(CheckRules::default(), lines).is_err(), "{lines} was accepted");
    }
}

#[test]
fn rules_that_do_nothing_are_odd() {
    let code = |start, lines| rules(start, lines).unwrap().lint().is_some();
    let inherited = || rules(CheckRules::default(), "option httpchk").unwrap().inherit();
    assert!(code(CheckRules::default(), "http-check expect status 200"));
    assert!(code(inherited(), "http-check expect status 200"));
    assert!(!code(inherited(), "http-check send-state"));
    assert!(!code(inherited(), "option httpchk;http-check expect status 200"));
    assert!(!code(CheckRules::default(), "option httpchk;option tcp-check"));
}

#[test]
fn a_reply_is_judged_as_far_as_it_can_be() {
    let judge = |lines: &str, status, body: &str| {
        http(CheckRules::default(), &format!("option httpchk{lines}")).accepts(status, body.as_bytes())
    };
    assert_eq!(judge("", 200, ""), Verdict::Pass);
    assert_eq!(judge("", 399, ""), Verdict::Pass);
    assert_eq!(judge("", 404, ""), Verdict::Fail);
    assert_eq!(judge("", 199, ""), Verdict::Fail);
    assert_eq!(judge(";http-check expect status 200,300-310", 305, ""), Verdict::Pass);
    assert_eq!(judge(";http-check expect status 200,300-310", 201, ""), Verdict::Fail);
    assert_eq!(judge(";http-check expect ! status 500-599", 404, ""), Verdict::Pass);
    assert_eq!(judge(";http-check expect string ok", 500, "all ok"), Verdict::Pass);
    assert_eq!(judge(";http-check expect !string bad", 200, "bad"), Verdict::Fail);
    assert_eq!(judge(";http-check expect rstatus ^2", 200, ""), Verdict::Undecided);
    let both = ";http-check expect min-recv 10 comment c rstring x;http-check expect status 200";
    assert_eq!((judge(both, 200, ""), judge(both, 500, "")), (Verdict::Undecided, Verdict::Fail));
}

#[test]
fn headers_hidden_in_the_version_are_found_until_2_7() {
    let arguments = ["GET", "/", "HTTP/1.1\r\nHost: www"].map(Cow::Borrowed);
    let mut rules = CheckRules::default();
    rules.choose("httpchk", &arguments, Version::new(2, 6)).unwrap();
    let HealthCheck::Http(check) = rules.build() else { panic!() };
    assert_eq!(check.version, "HTTP/1.1");
    assert_eq!(check.headers, [("Host".to_owned(), "www".to_owned())]);
    assert!(CheckRules::default().choose("httpchk", &arguments, Version::new(2, 7)).is_err());
}
