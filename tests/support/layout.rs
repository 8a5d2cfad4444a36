//! The servers of a stage and its haproxy.cfg.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

/// The name of the backend on every stage.
pub const BACKEND: &str = "mobile";

/// A server of a layout, before it gets its port.
#[derive(Clone, Copy)]
struct Slot {
    name: &'static str,
    host: Ipv4Addr,
    offset: u16,
    backup: bool,
}

/// The servers of a stage.
#[derive(Clone)]
pub struct Layout(Vec<Slot>);

impl Layout {
    /// Returns two hosts with a primary and a backup each: `app1`, `app1b`, `app2`, `app2b`.
    pub fn origin() -> Self {
        let mut slots = Self::pair().0;
        let second = Ipv4Addr::new(127, 0, 0, 2);
        slots.push(Slot { name: "app2", host: second, offset: 0, backup: false });
        slots.push(Slot { name: "app2b", host: second, offset: 1, backup: true });
        Self(slots)
    }

    /// Returns one host with a primary and a backup: `app1`, `app1b`.
    pub fn pair() -> Self {
        let first = Ipv4Addr::LOCALHOST;
        Self(vec![
            Slot { name: "app1", host: first, offset: 0, backup: false },
            Slot { name: "app1b", host: first, offset: 1, backup: true },
        ])
    }

    /// Returns two hosts with five primaries and their backups each.
    pub fn fleet() -> Self {
        const NAMES: [[&str; 2]; 10] = [
            ["app1", "app1b"],
            ["app2", "app2b"],
            ["app3", "app3b"],
            ["app4", "app4b"],
            ["app5", "app5b"],
            ["app6", "app6b"],
            ["app7", "app7b"],
            ["app8", "app8b"],
            ["app9", "app9b"],
            ["app10", "app10b"],
        ];
        let slot = |(offset, names): (u16, [&'static str; 2])| {
            let host = if offset < 5 { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(127, 0, 0, 2) };
            [(names[0], 2 * (offset % 5), false), (names[1], 2 * (offset % 5) + 1, true)]
                .map(|(name, offset, backup)| Slot { name, host, offset, backup })
        };
        Self((0..).zip(NAMES).flat_map(slot).collect())
    }

    /// Returns the number of ports that the servers need on a host.
    pub fn ports(&self) -> u16 {
        self.0.iter().map(|slot| slot.offset + 1).max().unwrap_or(0)
    }

    /// Returns two hosts with a primary each: `app1`, `app2`.
    pub fn primaries() -> Self {
        Self(Self::origin().0.into_iter().filter(|slot| !slot.backup).collect())
    }

    /// Returns one host with only a primary: `app1`.
    pub fn single() -> Self {
        Self(Self::pair().0.into_iter().take(1).collect())
    }

    /// Assigns an address to every server, from `port` upwards.
    pub fn place(&self, port: u16) -> Vec<Server> {
        let place = |slot: &Slot| Server {
            name: slot.name,
            address: SocketAddrV4::new(slot.host, port + slot.offset),
            backup: slot.backup,
        };
        self.0.iter().map(place).collect()
    }
}

/// A server of a stage: a line in haproxy.cfg and a container that publishes its address.
#[derive(Clone, Debug)]
pub struct Server {
    /// The name in haproxy.cfg: `app1`.
    pub name: &'static str,
    /// The address that the container publishes.
    pub address: SocketAddrV4,
    pub backup: bool,
}

/// HAProxy's `mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Http,
    Tcp,
}

/// The variable parts of haproxy.cfg.
#[derive(Clone)]
pub struct Config {
    pub mode: Mode,
    pub stats_level: String,
    pub default_server: String,
    /// Whether the backend has `option httpchk GET /health`; without it, a check only connects.
    pub http_check: bool,
    pub backend_lines: Vec<String>,
    /// Whether the file has a `server-state-file`, with which a reload keeps the servers' states.
    pub state_file: bool,
    pub extra: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Http,
            stats_level: "admin".to_owned(),
            default_server: "inter 500ms fall 3 rise 2".to_owned(),
            http_check: true,
            backend_lines: Vec::new(),
            state_file: false,
            extra: String::new(),
        }
    }
}

impl Config {
    /// Returns the text of haproxy.cfg for the given servers.
    pub fn render(&self, socket: &Path, frontend: SocketAddrV4, servers: &[Server]) -> String {
        let mode = match self.mode {
            Mode::Http => "mode http\n    option httplog",
            Mode::Tcp => "mode tcp\n    option tcplog",
        };
        let (kept_in, loaded) = if self.state_file {
            let file = socket.with_file_name("states");
            (
                format!("    server-state-file {}\n", file.display()),
                "\n    load-server-state-from-file global",
            )
        } else {
            (String::new(), "")
        };
        let check = if self.http_check { "    option httpchk GET /health\n" } else { "" };
        let mut text = format!(
            "global\n    stats socket {} mode 600 level {}\n    log stdout format raw daemon\n    maxconn 2000\n{kept_in}\n\
             defaults\n    {mode}{loaded}\n    log global\n    option dontlog-normal\n    timeout connect 5s\n    \
             timeout client 30s\n    timeout server 30s\n\n\
             frontend www\n    bind {frontend}\n    default_backend {BACKEND}\n\n\
             backend {BACKEND}\n{check}    default-server {}\n",
            socket.display(),
            self.stats_level,
            self.default_server,
        );
        for line in &self.backend_lines {
            writeln!(text, "    {line}").expect("writing to a String never fails");
        }
        for Server { name, address, backup } in servers {
            let backup = if *backup { " backup" } else { "" };
            writeln!(text, "    server {name} {address} check{backup}")
                .expect("writing to a String never fails");
        }
        text + &self.extra_for(servers)
    }

    /// Returns the extra text, with `{app1}` replaced by the address of `app1`.
    fn extra_for(&self, servers: &[Server]) -> String {
        let fill = |text: String, server: &Server| {
            text.replace(&format!("{{{}}}", server.name), &server.address.to_string())
        };
        servers.iter().fold(self.extra.clone(), fill)
    }
}
