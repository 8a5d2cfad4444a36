//! Random descriptions that are mostly valid, with one or two hostile values.

use std::collections::BTreeMap;

use drainswap::cfg::keywords;
use serde_json::{Value, json};

use crate::tokens::Random;

/// Values that are possible anywhere, but rarely valid.
const HOSTILE: &[&str] = &[
    "",
    " ",
    "a b",
    "it's",
    "say \"x\"",
    "# no comment",
    "a#b",
    "$HOME",
    "${NOPE}",
    "\"$HOME\"",
    "\"${NOPE-x}\"",
    "'$HOME'",
    "\\",
    "a\\",
    "\\x00",
    "x\ny",
    "x\r\n    server evil 10.6.6.6:80",
    "a\0b",
    "tab\there",
    "größe",
    "日本",
    "\u{feff}a",
    "backend evil",
    "server evil 10.6.6.6:80",
    ".if 1",
    "[scope]",
    "a;b",
    "%[src]",
    "%[",
    "%%",
    "a,b",
    "{ x }",
    "\u{1}\u{7f}",
    "0",
    "-1",
    "99999",
    "99999999999999999999",
    "'",
    "\"",
    "backup",
    "check",
    "no",
    "0x7f.1",
    "127.1",
    "::",
    "*",
    "unix@/x",
    "/x",
    "a:80",
];

const BALANCE: &[&str] =
    &["roundrobin", "leastconn", "source", "first", "static-rr", "random(2)", "random", "rdp-cookie(x)"];
const HTTP_BALANCE: &[&str] = &["uri", "uri depth 3", "hdr(X-User)", "url_param id", "uri whole len 9"];
const BAD_BALANCE: &[&str] =
    &["uri depth", "hdr", "hdr()", "random(0)", "roundrobin x", "rondrobin", "log-hash x"];

const OPTIONS: &[&str] = &[
    "inter 2s",
    "fastinter 500ms",
    "rise 2",
    "fall 5",
    "weight 7",
    "maxconn 9",
    "slowstart 1m",
    "on-marked-down shutdown-sessions",
    "observe layer4",
    "on-error mark-down",
    "init-addr last,libc,none",
    "source 127.0.0.9",
    "addr 127.0.0.9",
    "port 8080",
    "send-proxy-v2",
    "resolve-prefer ipv4",
    "agent-send 'a # \"b\"'",
    "verifyhost 'it # is'",
];

const LINES: &[&str] = &[
    "timeout server 5s",
    "timeout queue 1m",
    "option allbackups",
    "no option abortonclose",
    "option redispatch 3",
    "retries 2",
    "fullconn 100",
    "description 'it # is' \"a\\nb\" größe",
    "hash-type consistent sdbm avalanche",
    "log 127.0.0.1 local0",
    "acl local src 127.0.0.0/8",
    "tcp-request content reject if { src 10.9.9.9 }",
    "use-server app1 if { src 10.9.9.8 }",
    "option tcp-check",
    "retry-on conn-failure 503",
];

const HTTP_LINES: &[&str] = &[
    "http-request set-header X-A 'a # b' if { path_reg '^/a$' }",
    "http-request return status 200 content-type text/plain string \"it's \\\"well\\\"\"",
    "http-response set-header X-B \"%[str(a)] \\$HOME\"",
    "option forwardfor except 127.0.0.0/8 header X-Client",
    "http-reuse always",
    "http-send-name-header X-Server",
];

const BAD_LINES: &[&str] = &[
    "balance source",
    "mode tcp",
    "cookie OTHER rewrite",
    "default-server backup",
    "server-template x 3 10.6.6.6:80",
    "dispatch 10.6.6.6:80",
    "disabled",
    "option banana",
    "option httpchk GET /other",
    "http-check send meth PUT",
    "http-check expect status 299-200",
    "timeout banana 5s",
    "timeout server 5x",
    "retries 2x",
    "hash-type x",
    "log '$HOME' local0",
    "bind :80",
    "no server app1 10.6.6.6:80",
    "\"back\"end evil",
    "back\\x65nd evil",
];

fn one<'t>(random: &mut Random, texts: &[&'t str]) -> &'t str {
    texts[random.below(texts.len())]
}

fn hostile(random: &mut Random) -> String {
    match random.below(12) {
        // Longer than HAProxy's line buffer, or more words than a line may have.
        0 => "x".repeat(1 + random.below(40_000)),
        1 => vec!["a"; 1 + random.below(130)].join(" "),
        _ => one(random, HOSTILE).to_owned(),
    }
}

/// Returns any existing option, with any value or none.
fn any_option(random: &mut Random) -> String {
    // Only HAProxy can validate files, expressions and references to other sections.
    let asks_haproxy = [
        "ca-file",
        "crl-file",
        "crt",
        "sni",
        "pool-conn-name",
        "resolvers",
        "redir",
        "ciphers",
        "ciphersuites",
        "curves",
        "sigalgs",
        "client-sigalgs",
        "npn",
        "alpn",
        "check-alpn",
        "quic-cc-algo",
    ];
    let keyword = keywords::SERVER[random.below(keywords::SERVER.len())].word;
    if asks_haproxy.contains(&keyword) || keyword.contains("tlv") || keyword.starts_with("force-") {
        return "weight 1".to_owned();
    }
    match random.below(3) {
        0 => keyword.to_owned(),
        1 => format!("{keyword} {}", one(random, OPTIONS)),
        _ => format!("{keyword} {}", hostile(random)),
    }
}

fn some(random: &mut Random, well: &[&str]) -> Value {
    if random.below(2) == 0 { Value::Null } else { json!(one(random, well)) }
}

fn list(random: &mut Random, most: usize, well: &[&str]) -> Vec<String> {
    (0..random.below(most + 1)).map(|_| one(random, well).to_owned()).collect()
}

/// Returns a valid description.
fn well_meant(random: &mut Random, number: usize) -> Value {
    let is_http = random.below(2) == 0;
    let both = |plain: &[&'static str], http: &[&'static str]| {
        plain.iter().chain(http.iter().filter(|_| is_http)).copied().collect::<Vec<_>>()
    };
    let hosts = ["10.0.0.1", "127.0.0.1", "::1", "0:0:0:0:0:0:0:2", "10.255.255.254"];
    let first = random.below(hosts.len());
    let count = 1 + random.below(3);
    let hosts: Vec<&str> = hosts.iter().cycle().skip(first).take(count).copied().collect();
    let headers: BTreeMap<&str, &str> =
        [("Host", one(random, &["www.example.org", "a b", "it's \"$HOME\" # 100%"]))].into();
    let check = match random.below(5) {
        0 => json!(true),
        1 => json!(false),
        2 | 3 => json!(one(random, &["GET /health", "/h?a=b", "HEAD /'#\"$HOME\\"])),
        _ => json!({ "uri": "/h", "version": "HTTP/1.1", "status": "200-299,304", "headers": headers }),
    };
    let has_http_check = check.is_string() || check.is_object();
    let mut lines = list(random, 3, &both(LINES, HTTP_LINES));
    lines.retain(|line| !has_http_check || line != "option tcp-check");
    lines.sort();
    lines.dedup();
    let primary = 1 + random.below(65534);
    json!({
        "backend": format!("b{number}"),
        "hosts": hosts,
        "primary_port": primary,
        "backup_port": if random.below(3) == 0 { Value::Null } else { json!(primary + 1) },
        "mode": if is_http { json!("http") } else { some(random, &["tcp"]) },
        "balance": some(random, &both(BALANCE, HTTP_BALANCE)),
        "check": check,
        "cookie": if is_http { some(random, &["SRV", "a.b:c-d_e"]) } else { Value::Null },
        "server_options": list(random, 4, OPTIONS),
        "extra_lines": lines,
    })
}

/// Replaces one value by a hostile one.
fn spoil(random: &mut Random, description: &mut Value) {
    let texts = ["backend", "server_prefix", "mode", "balance", "cookie"];
    match random.below(12) {
        0..5 => description[texts[random.below(5)]] = json!(hostile(random)),
        5 => description["balance"] = json!(one(random, BAD_BALANCE)),
        6 => description["hosts"][0] = json!(hostile(random)),
        7 => description["primary_port"] = json!(random.below(3)),
        8 => description["server_options"] = json!([any_option(random), "inter 2s"]),
        9 => description["server_options"] = json!([any_option(random)]),
        10 => description["extra_lines"] = json!([hostile(random)]),
        _ => description["extra_lines"] = json!([one(random, BAD_LINES)]),
    }
    if random.below(4) == 0 {
        let value = hostile(random);
        description["check"] = match random.below(6) {
            0 => json!(value),
            1 => json!({ "method": value, "uri": "/" }),
            2 => json!({ "uri": format!("/{value}") }),
            3 => json!({ "uri": "/", "version": value }),
            4 => json!({ "uri": "/", "status": value }),
            _ => json!({ "uri": "/", "headers": { "X-A": value } }),
        };
    }
}

pub fn description(random: &mut Random, number: usize) -> Value {
    let mut description = well_meant(random, number);
    if random.below(3) > 0 {
        spoil(random, &mut description);
    }
    description.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    description
}
