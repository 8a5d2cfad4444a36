//! Backends rendered from descriptions that somebody could mean badly: real HAProxy takes what was not refused.

use drainswap::cfg::Version;
use drainswap::service::Service;
use drainswap::service::render::{TEMPLATE, render};
use serde_json::{Value, json};

use crate::corpus::Sample;
use crate::tokens::Random;

/// So many backends stand in a file.
const BACKENDS: usize = 25;
const FILES: usize = 12;

/// What may stand anywhere, and hardly ever should.
const HOSTILE: &[&str] = &[
    "",
    " ",
    "a b",
    "it's",
    "say \"x\"",
    "# no comment",
    "$HOME",
    "${NOPE}",
    "\"${NOPE-x}\"",
    "\\",
    "a\\",
    "x\ny",
    "x\r\n    server evil 10.6.6.6:80",
    "tab\there",
    "größe",
    "日本",
    "backend evil",
    ".if 1",
    "[scope]",
    "a;b",
    "%[src]",
    "%%",
    "a,b",
    "{ x }",
    "\u{1}\u{7f}",
    "0",
    "-1",
    "99999",
    "'",
    "\"",
];

fn value(random: &mut Random, well: &[&str]) -> String {
    if random.below(12) == 0 { HOSTILE[random.below(HOSTILE.len())] } else { well[random.below(well.len())] }
        .to_owned()
}

fn some(random: &mut Random, well: &[&str]) -> Value {
    if random.below(2) == 0 { Value::Null } else { json!(value(random, well)) }
}

fn description(random: &mut Random, number: usize) -> Value {
    let list = |random: &mut Random, most: usize, well: &[&str]| -> Vec<String> {
        (0..random.below(most + 1)).map(|_| value(random, well)).collect()
    };
    let headers = [(value(random, &["Host", "X-A"]), value(random, &["www.example.org", "a b"]))];
    let checks = [
        json!(true),
        json!(false),
        json!(value(random, &["GET /health", "/h?a=b", "HEAD /"])),
        json!({ "uri": value(random, &["/h"]), "version": some(random, &["HTTP/1.1"]), "status": some(random, &["200", "200-299"]),
                "headers": headers.into_iter().collect::<std::collections::BTreeMap<_, _>>() }),
    ];
    let hosts: Vec<String> = (0..=random.below(3))
        .map(|_| value(random, &["10.0.0.1", "127.0.0.1", "::1", "0:0:0:0:0:0:0:2"]))
        .collect();
    let mut description = json!({
        "backend": if random.below(9) == 0 { HOSTILE[random.below(HOSTILE.len())].to_owned() } else { format!("b{number}") },
        "hosts": hosts,
        "primary_port": random.below(65536),
        "backup_port": 1 + random.below(65535),
        "mode": some(random, &["http", "tcp"]),
        "balance": some(random, &["roundrobin", "leastconn", "source", "uri depth 3"]),
        "check": checks[random.below(4)],
        "cookie": some(random, &["SRV"]),
        "server_options": list(random, 3, &["inter 2s", "rise 2", "weight 7", "maxconn 9", "on-marked-down shutdown-sessions"]),
        "extra_lines": list(random, 2, &["timeout server 5s", "option allbackups", "description 'it # is'", "retries 2"]),
    });
    description.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    description
}

/// The files, and how many descriptions were taken and tried.
pub fn samples(version: Version) -> (Vec<Sample>, usize, usize) {
    let mut random = Random::default();
    let (mut taken, mut tried, mut samples) = (0, 0, Vec::new());
    for file in 0..FILES {
        let mut text =
            "defaults\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n\n".to_owned();
        let mut backends = 0;
        while backends < BACKENDS {
            tried += 1;
            let service: Service =
                serde_json::from_value(description(&mut random, tried)).expect("a description");
            if let Ok(backend) = render("service", &service, TEMPLATE, version) {
                text += &backend;
                text.push('\n');
                (taken, backends) = (taken + 1, backends + 1);
            }
        }
        samples.push(Sample::new(format!("rendered file {file}"), text.into_bytes()));
    }
    (samples, taken, tried)
}
