//! Comparison of the requests of HAProxy's checks with their descriptions, byte for byte.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use drainswap::service::Service;
use drainswap::service::render::{TEMPLATE, render};
use serde_json::json;

use super::DEFAULTS;
use crate::binary::Binary;
use crate::corpus::Sample;
use crate::running::Running;

/// A time limit that is longer than HAProxy's delay before the first check.
const LIMIT: Duration = Duration::from_secs(20);

/// Header values with special characters for HAProxy's word splitting or its log-format parser.
const VALUES: &[&str] = &[
    "www.example.org",
    "a b",
    "a  b   c",
    "a\u{a0}b",
    "it's",
    "say \"x\"",
    "it's \"x\"",
    "# no comment",
    "a#b",
    "$HOME ${HOME} \"$HOME\"",
    "\\",
    "a\\ b\\",
    "\\x41\\n",
    "100%",
    "%",
    "%%",
    "%[src] %ci %{+Q}o",
    "%[",
    "größe 日本",
    "{ x } [y] (z) <w> ~^;,|&!?*=+:@",
    "'\"$\\`%#",
];

const URIS: &[&str] = &[
    "/",
    "/health?full=1&a=%20b",
    "/'a'",
    "/\"q\"",
    "/it's\"",
    "/a#b",
    "/$HOME/${HOME}",
    "/\\",
    "/%[src]",
    "/%%",
    "/{x}[y](z)<w>",
];

/// A check with its own server.
struct Asked {
    listener: TcpListener,
    line: String,
    header: String,
}

/// Returns the number of requests that arrived as described, or the first one that did not.
pub fn compare(binary: &Binary) -> Result<usize, String> {
    let longest = "z".repeat(4000);
    let values = VALUES.iter().copied().chain([longest.as_str()]).map(|value| ("/", value));
    let uris = URIS.iter().map(|uri| (*uri, "plain"));
    let mut text = DEFAULTS.to_owned();
    let mut all = Vec::new();
    for (number, (uri, value)) in values.chain(uris).enumerate() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let service: Service = serde_json::from_value(json!({
            "hosts": ["127.0.0.1"],
            "primary_port": port,
            "check": { "uri": uri, "version": "HTTP/1.1", "headers": { "X-Odd": value } },
            "server_options": ["inter 1s"],
        }))
        .expect("a description");
        let backend = render(&format!("b{number}"), &service, TEMPLATE, binary.version);
        text += &backend.map_err(|error| error.to_string())?;
        all.push(Asked { listener, line: format!("GET {uri} HTTP/1.1"), header: format!("x-odd: {value}") });
    }
    let file = Sample::new("checks".to_owned(), text.into_bytes()).write();
    let mut command = binary.command();
    command.args(["-db", "-f"]).arg(file.path()).stdout(Stdio::null()).stderr(Stdio::null());
    // HAProxy exits at once without a listener.
    let frontend = tempfile::tempdir().expect("a directory");
    let extra = frontend.path().join("extra.cfg");
    let socket = frontend.path().join("s");
    std::fs::write(&extra, format!("global\n    stats socket {}\n", socket.display())).expect("a file");
    let _running = Running(command.arg("-f").arg(&extra).spawn().expect("HAProxy starts"));
    let mut right = 0;
    for asked in all {
        let request = answer(&asked.listener);
        let mut lines = request.split("\r\n");
        let is_right = lines.next() == Some(&asked.line) && lines.any(|line| line == asked.header);
        if !is_right {
            return Err(format!(
                "{:?} and {:?} were described, but arrived as\n{request:?}",
                asked.line, asked.header
            ));
        }
        right += 1;
    }
    Ok(right)
}

/// Accepts a request, answers it and returns its head.
fn answer(listener: &TcpListener) -> String {
    let mut stream = accept(listener);
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&part[..count]),
            _ => break,
        }
    }
    let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Accepts a connection within the time limit; `accept` itself has no timeout, so it is polled.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("a listener");
    let step = Duration::from_millis(5);
    for _ in 0..LIMIT.as_millis() / step.as_millis() {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).expect("a stream");
            return stream;
        }
        std::thread::park_timeout(step);
    }
    panic!("HAProxy sends no check within {} s", LIMIT.as_secs());
}
