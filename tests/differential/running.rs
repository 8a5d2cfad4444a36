//! Comparison of the servers of every backend with those of the running HAProxy.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use drainswap::cfg::{Address, Configuration, Port, Proxy, Server};

use crate::Skipped;
use crate::binary::{Binary, reason};
use crate::corpus::Sample;

/// An HAProxy that stops with its test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _code = self.0.wait();
    }
}

pub fn compare(binary: &Binary, sample: &Sample, configuration: &Configuration) -> Result<usize, Skipped> {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let extra = directory.path().join("extra.cfg");
    let text = format!("global\n    stats socket {} level admin\n", socket.display());
    std::fs::write(&extra, text).expect("a file");
    let file = sample.write();
    let mut command = binary.command();
    command.args(["-db", "-dr", "-f"]).arg(&extra).arg("-f").arg(file.path());
    let said = directory.path().join("stderr");
    let stderr = std::fs::File::create(&said).expect("a file");
    let child = command.stdout(Stdio::null()).stderr(stderr).spawn().expect("HAProxy starts");
    let mut running = Running(child);
    let Some(state) = ask(&mut running, &socket, "show servers state\n") else {
        let text = std::fs::read_to_string(&said).unwrap_or_default();
        return Err(Skipped::Because(format!("does not start: {}", reason(text.lines()))));
    };
    let Some(stat) = ask(&mut running, &socket, "show stat\n") else {
        return Err(Skipped::Because("does not go on".to_owned()));
    };
    let theirs = theirs(&state, &stat);
    let ours = ours(configuration, &theirs);
    if ours == theirs {
        return Ok(theirs.values().map(|backend| backend.servers.len()).sum());
    }
    let differs = ours.iter().filter(|(name, backend)| theirs.get(*name) != Some(backend));
    let missing = theirs.iter().filter(|(name, _)| !ours.contains_key(*name));
    let text: Vec<String> = differs
        .map(|(name, backend)| {
            format!("  {name}\n    here    {backend:?}\n    HAProxy {:?}", theirs.get(name))
        })
        .chain(missing.map(|(name, backend)| format!("  {name} is missing here: {backend:?}")))
        .collect();
    Err(Skipped::Differs(format!("\n{}", text.join("\n"))))
}

/// Returns the complete answer, or `None` if HAProxy exits earlier.
fn ask(running: &mut Running, socket: &Path, line: &str) -> Option<String> {
    loop {
        if running.0.try_wait().expect("a process").is_some() {
            return None;
        }
        if let Ok(mut stream) = UnixStream::connect(socket) {
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
            stream.write_all(line.as_bytes()).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            return Some(answer);
        }
        // HAProxy does not report when it listens, so the connection is retried.
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// The properties of a server that both sides report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    name: String,
    address: String,
    /// The host name of the address, or `-`.
    host: String,
    port: u32,
    weight: String,
    backup: bool,
    disabled: bool,
    cookie: String,
}

/// The properties of a backend that both sides report: the mode, the balance algorithm and the servers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Backend {
    mode: String,
    balance: String,
    servers: Vec<Seen>,
}

type Backends = BTreeMap<String, Backend>;

fn rows(table: &str, separator: char) -> Vec<BTreeMap<&str, &str>> {
    let start = table.find("# ").map_or(table.len(), |at| at + 2);
    let mut records = records(&table[start..], separator).into_iter();
    let columns = records.next().unwrap_or_default();
    let rows = records.filter(|fields| fields.len() >= columns.len());
    rows.map(|fields| columns.iter().copied().zip(fields).collect()).collect()
}

/// Splits a table into records. A quoted field, such as a description, may contain separators and line feeds.
fn records(text: &str, separator: char) -> Vec<Vec<&str>> {
    let (mut records, mut fields, mut start, mut quoted) = (Vec::new(), Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '\n' => {
                fields.push(&text[start..at]);
                records.push(std::mem::take(&mut fields));
                start = at + 1;
            }
            letter if letter == separator => {
                fields.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    records
}

fn theirs(state: &str, stat: &str) -> Backends {
    let stat = rows(stat, ',');
    let mut backends = Backends::new();
    for row in rows(state, ' ') {
        let bits: u32 = row["srv_admin_state"].parse().expect("bits");
        let of_stat =
            stat.iter().find(|stat| stat["pxname"] == row["be_name"] && stat["svname"] == row["srv_name"]);
        let text = |column| of_stat.map_or("", |stat| stat[column]).to_owned();
        backends.entry(row["be_name"].to_owned()).or_default().servers.push(Seen {
            name: row["srv_name"].to_owned(),
            address: row["srv_addr"].to_owned(),
            host: if row["srv_fqdn"] == "-" { row["srvrecord"] } else { row["srv_fqdn"] }.to_owned(),
            port: row["srv_port"].parse().expect("a port"),
            weight: row["srv_iweight"].to_owned(),
            backup: text("bck") == "1",
            disabled: bits & 0x04 != 0,
            cookie: text("cookie"),
        });
    }
    for row in stat.iter().filter(|row| row["svname"] == "BACKEND") {
        if let Some(backend) = backends.get_mut(row["pxname"]) {
            (backend.mode, backend.balance) = (row["mode"].to_owned(), row["algo"].to_owned());
        }
    }
    backends
}

/// Returns the backends that HAProxy also reports, which are those with servers.
fn ours(configuration: &Configuration, theirs: &Backends) -> Backends {
    let with_servers = configuration.proxies.iter().filter(|proxy| !proxy.servers.is_empty());
    let seen = with_servers.map(|proxy| {
        let known = theirs.get(&proxy.name);
        let server = |(index, server)| seen(proxy, server, known.and_then(|known| known.servers.get(index)));
        let servers = proxy.servers.iter().enumerate().map(server).collect();
        // HAProxy does not name some algorithms, and does not report a disabled backend.
        let told = |ours: String, theirs: Option<&str>| match theirs {
            Some(theirs @ ("" | "unknown")) if ours != "roundrobin" => theirs.to_owned(),
            Some("") => String::new(),
            _ => ours,
        };
        let mode = told(mode(proxy), known.map(|known| &*known.mode));
        let balance = told(balance(proxy), known.map(|known| &*known.balance));
        (proxy.name.clone(), Backend { mode, balance, servers })
    });
    seen.collect()
}

/// Returns the mode of a backend. HAProxy reports `mode log` under another name.
fn mode(proxy: &Proxy) -> String {
    match proxy.mode.to_string() {
        log if log == "log" => "syslog".to_owned(),
        mode => mode,
    }
}

/// Returns the balance algorithm of a backend without arguments.
fn balance(proxy: &Proxy) -> String {
    proxy.balance.split('(').next().unwrap_or_default().to_owned()
}

fn seen(proxy: &Proxy, server: &Server, theirs: Option<&Seen>) -> Seen {
    let (address, port) = match &server.address {
        Address::Inet { host, port } | Address::Datagram { host, port } | Address::Quic { host, port } => {
            let port = match port {
                Port::Fixed(port) => u32::from(*port),
                Port::Client => 0,
                // HAProxy prints a negative number as an unsigned one.
                Port::ClientOffset(offset) => offset.cast_unsigned(),
            };
            (host.to_string(), port)
        }
        Address::Unix(_) | Address::Other(_) => ("-".to_owned(), 0),
    };
    // The address of a name, or of a short form that counts as a name, depends on HAProxy's resolver.
    let (address, host) = match theirs {
        Some(theirs) if address == theirs.host => (theirs.address.clone(), address),
        Some(theirs) => (address, theirs.host.clone()),
        None => (address.clone(), address),
    };
    // `show stat` omits a disabled backend and its servers.
    let told = !proxy.disabled;
    Seen {
        name: server.name.clone(),
        address,
        host,
        port,
        weight: server.weight.to_string(),
        backup: told && server.backup,
        disabled: server.disabled,
        cookie: if told { server.cookie.clone().unwrap_or_default() } else { String::new() },
    }
}
