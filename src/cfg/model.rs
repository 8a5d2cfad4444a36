//! What a configuration says, in types: everything inherited and expanded, in the order of the files.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::address::{Address, Port, SocketAddress};
use super::check::HealthCheck;
use super::diagnostic::{Problem, Severity};

/// The typed view of a [`super::Document`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Frontends, backends and listen sections, in the order of the files.
    pub proxies: Vec<Proxy>,
    /// The `stats socket` lines of all `global` sections.
    pub stats_sockets: Vec<StatsSocket>,
    /// The `stats timeout` of `global`, if there is one.
    pub stats_timeout: Option<Duration>,
    /// The `server-state-file` of `global`, below its `server-state-base`: what a reload gives to the new worker.
    pub server_state_file: Option<PathBuf>,
    /// The `mworker-max-reloads` of `global`, if there is one: after so many reloads the master ends an old worker.
    pub max_reloads: Option<u32>,
    /// Everything that is wrong, lexical and semantic, in the order of the files.
    pub problems: Vec<Problem>,
}

impl Configuration {
    /// Whether `HAProxy` would refuse it, as far as can be known.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// The `server-state-file` that a reload takes states from: a section reads it.
    #[must_use]
    pub fn kept_states(&self) -> Option<&Path> {
        let is_read = self.proxies.iter().any(|proxy| proxy.keeps_state);
        self.server_state_file.as_deref().filter(|_| is_read)
    }

    /// Every file that a reload takes states of servers from.
    #[must_use]
    pub fn state_files(&self) -> BTreeSet<PathBuf> {
        let own = self.proxies.iter().filter_map(|proxy| proxy.own_state_file.clone());
        self.kept_states().map(Path::to_owned).into_iter().chain(own).collect()
    }

    /// The backend or listen section of this name.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<&Proxy> {
        self.proxies.iter().find(|proxy| proxy.kind.holds_servers() && proxy.name == name)
    }
}

/// A line of a file. Prints as `path:line`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Place {
    /// The file, as it was given.
    pub path: Arc<Path>,
    /// The line, from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// What a proxy section is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyKind {
    /// Takes connections.
    Frontend,
    /// Holds servers.
    Backend,
    /// Both.
    Listen,
}

impl ProxyKind {
    /// Whether the section may hold `server` lines.
    #[must_use]
    pub fn holds_servers(self) -> bool {
        matches!(self, Self::Backend | Self::Listen)
    }

    /// Whether the section takes connections.
    #[must_use]
    pub fn takes_connections(self) -> bool {
        matches!(self, Self::Frontend | Self::Listen)
    }
}

impl fmt::Display for ProxyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Listen => "listen",
        })
    }
}

/// What `mode` says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `http`.
    Http,
    /// `tcp`, the default.
    Tcp,
    /// `health`, `log`, `spop`.
    Other(String),
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Other(mode) => mode,
        })
    }
}

/// A frontend, backend or listen section, with what it inherits from `defaults`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is one keyword of the section, present or not")]
pub struct Proxy {
    /// What it is.
    pub kind: ProxyKind,
    /// Its name.
    pub name: String,
    /// Its first line.
    pub place: Place,
    /// What it speaks.
    pub mode: Mode,
    /// How it chooses a server: the word after `balance`, or `HAProxy`'s default.
    pub balance: String,
    /// `option allbackups`: all backup servers share the traffic, not only the first usable one.
    pub all_backups: bool,
    /// The name of the cookie that ties a client to a server.
    pub cookie: Option<String>,
    /// Whether a `stick` rule ties clients to servers.
    pub sticks: bool,
    /// The `use_backend` rules of a frontend or a listen section, in order.
    pub use_backends: Vec<UseBackend>,
    /// Where its connections go if no rule holds.
    pub default_backend: Option<UseBackend>,
    /// The `use-server` rules, in order.
    pub use_servers: Vec<UseServer>,
    /// `option persist` or `force-persist`: a client goes to its server even if that is down.
    pub persist: bool,
    /// The section's `disabled`: none of its servers gets traffic.
    pub disabled: bool,
    /// `load-server-state-from-file global`: a reload keeps what the state file says of its servers.
    pub keeps_state: bool,
    /// `load-server-state-from-file local`: the same of a file of its own, below the `server-state-base`.
    pub own_state_file: Option<PathBuf>,
    /// How its servers are checked, for those that have `check`.
    pub check: HealthCheck,
    /// `timeout check`: how long a check may take once connected.
    pub timeout_check: Option<Duration>,
    /// Its servers, in order; those of a `server-template` one by one.
    pub servers: Vec<Server>,
}

/// A `use_backend` rule, or the `default_backend` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseBackend {
    /// The backend, or a log-format expression (`%[…]`) that names one.
    pub backend: String,
    /// The rest of the line: `if …`, `unless …`, or nothing.
    pub condition: String,
    /// Its line.
    pub place: Place,
}

/// A `use-server` rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseServer {
    /// The server, or a log-format expression (`%[…]`) that names one.
    pub server: String,
    /// The rest of the line: `if …` or `unless …`.
    pub condition: String,
    /// Its line.
    pub place: Place,
}

/// A server, with what it inherits from the `default-server` lines before it.
///
/// Its settings read like its own fields: `server.weight`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its line; the template's for a server of a `server-template`.
    pub place: Place,
    /// Where it listens.
    pub address: Address,
    /// Everything else; servers that are set alike share it.
    pub settings: Arc<ServerSettings>,
}

impl Deref for Server {
    type Target = ServerSettings;

    fn deref(&self) -> &ServerSettings {
        &self.settings
    }
}

/// What the words after a server's address say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is one keyword of the line, present or not")]
pub struct ServerSettings {
    /// Whether it only gets traffic when no other server can.
    pub backup: bool,
    /// Its share of the traffic, 0 to 256; 0 means no new sessions. 1 if not given.
    pub weight: u32,
    /// Whether `HAProxy` checks it.
    pub check: bool,
    /// Whether an agent on it is asked; it may change the server's weight and state.
    pub agent_check: bool,
    /// `agent-addr` and `agent-port` as written, which a `server-state-file` keeps.
    pub agent_place: [Option<String>; 2],
    /// Whether it starts in maintenance.
    pub disabled: bool,
    /// The value of the section's cookie that means this server.
    pub cookie: Option<String>,
    /// `[BACKEND/]SERVER` whose state it follows.
    pub track: Option<String>,
    /// The most sessions at once; `None` means no limit.
    pub maxconn: Option<u32>,
    /// Time between two checks; `HAProxy`'s default is 2 s.
    pub inter: Option<Duration>,
    /// The same while the server goes up or down.
    pub fastinter: Option<Duration>,
    /// The same while it is down.
    pub downinter: Option<Duration>,
    /// Checks that must pass before it is up; `HAProxy`'s default is 2.
    pub rise: Option<u32>,
    /// Checks that must fail before it is down; `HAProxy`'s default is 3.
    pub fall: Option<u32>,
    /// Whether traffic to it is encrypted.
    pub ssl: bool,
    /// `verify required` or `verify none`; `None` leaves it to the global `ssl-server-verify`, which requires it.
    pub verify: Option<bool>,
    /// The multiplexer of its traffic, and of checks without one of their own: `h1`, `h2`.
    pub proto: Option<String>,
    /// The protocols that its traffic over TLS offers, and checks without any of their own.
    pub alpn: Option<String>,
    /// Whether it is shown a client certificate (`crt`).
    pub has_client_certificate: bool,
    /// `check-ssl` or `no-check-ssl`. Without it checks are encrypted if `ssl` is set and neither `addr` nor `port` is.
    pub check_ssl: Option<bool>,
    /// `addr`: what is checked instead of the server's own address; see [`Server::checked_address`].
    pub check_address: Option<Address>,
    /// `port`: what is checked instead of the server's own port.
    pub check_port: Option<u16>,
    /// `healthcheck`, since 3.4: the section that says how it is checked, in the place of its backend's check.
    pub healthcheck: Option<String>,
    /// The name that a check over TLS asks for.
    pub check_sni: Option<String>,
    /// The protocols that a check over TLS offers.
    pub check_alpn: Option<String>,
    /// The multiplexer of checks: `h1`, `h2`.
    pub check_proto: Option<String>,
    /// Whether connections start with a PROXY line, of any version.
    pub send_proxy: bool,
    /// Whether checks do; without it they do if `send_proxy` is set and neither `addr` nor `port` is.
    pub check_send_proxy: bool,
    /// `on-marked-down shutdown-sessions`: its sessions are cut when it goes down.
    pub cuts_sessions_when_down: bool,
    /// `on-marked-up shutdown-backup-sessions`: the sessions of backup servers are cut when it comes up.
    pub cuts_backup_sessions_when_up: bool,
    /// Over how long its weight grows after it came up.
    pub slowstart: Option<Duration>,
    /// How its name becomes an address at the start, as written.
    pub init_addr: Option<String>,
    /// Whether it has `resolvers`, which `HAProxy` goes on asking for its address.
    pub has_resolvers: bool,
    /// `namespace`: the network namespace that its address is meant in.
    pub namespace: Option<String>,
    /// `socks4`: the proxy that connections to it go through.
    pub socks4: Option<String>,
    /// `init-state`, since 3.2: `up`, `down`, `fully-up`, `fully-down`.
    pub init_state: Option<String>,
}

impl Default for ServerSettings {
    /// What `HAProxy` itself starts from.
    fn default() -> Self {
        Self {
            backup: false,
            weight: 1,
            check: false,
            agent_check: false,
            disabled: false,
            cookie: None,
            track: None,
            maxconn: None,
            inter: None,
            fastinter: None,
            downinter: None,
            rise: None,
            fall: None,
            ssl: false,
            verify: None,
            proto: None,
            alpn: None,
            has_client_certificate: false,
            check_ssl: None,
            check_address: None,
            healthcheck: None,
            agent_place: [None, None],
            check_port: None,
            check_sni: None,
            check_alpn: None,
            check_proto: None,
            send_proxy: false,
            check_send_proxy: false,
            cuts_sessions_when_down: false,
            cuts_backup_sessions_when_up: false,
            slowstart: None,
            init_addr: None,
            has_resolvers: false,
            namespace: None,
            socks4: None,
            init_state: None,
        }
    }
}

impl Server {
    /// Where `HAProxy` connects to for a check: the host of `addr` or its own, the port of `port`, `addr` or its own.
    #[must_use]
    pub fn checked_address(&self) -> Address {
        let base = self.check_address.as_ref().unwrap_or(&self.address);
        let Address::Inet { host, port } = base else { return base.clone() };
        let own = if let Address::Inet { port, .. } = self.address { port } else { Port::Client };
        let given = if *port == Port::Client { own } else { *port };
        let port = self.check_port.map_or(given, Port::Fixed);
        Address::Inet { host: host.clone(), port }
    }
}

/// A `stats socket` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsSocket {
    /// Where it listens.
    pub address: SocketAddress,
    /// What it lets its clients do.
    pub level: Level,
    /// Its line.
    pub place: Place,
}

/// What a client of the runtime API may do.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Only what is not sensitive.
    User,
    /// Everything that changes nothing, the default.
    Operator,
    /// Everything.
    Admin,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}
