//! The meaning of a configuration, in types: everything inherited and expanded, in the order of the files.

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
    /// The `stats timeout` of `global`.
    pub stats_timeout: Option<Duration>,
    /// The `server-state-file` of `global`, below its `server-state-base`: a reload passes these states to
    /// the new worker.
    pub server_state_file: Option<PathBuf>,
    /// The `mworker-max-reloads` of `global`: the master ends an old worker after this many reloads.
    pub max_reloads: Option<u32>,
    /// All problems, lexical and semantic, in the order of the files.
    pub problems: Vec<Problem>,
}

impl Configuration {
    /// Returns whether `HAProxy` would refuse the configuration, as far as drainswap can tell.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Returns the `server-state-file` from which a reload restores states, if a section reads it.
    #[must_use]
    pub fn saved_states_file(&self) -> Option<&Path> {
        let is_read = self.proxies.iter().any(|proxy| proxy.keeps_state);
        self.server_state_file.as_deref().filter(|_| is_read)
    }

    /// Returns every file from which a reload restores server states.
    #[must_use]
    pub fn state_files(&self) -> BTreeSet<PathBuf> {
        let own = self.proxies.iter().filter_map(|proxy| proxy.own_state_file.clone());
        self.saved_states_file().map(Path::to_owned).into_iter().chain(own).collect()
    }

    /// Returns the backend or listen section with this name.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<&Proxy> {
        self.proxies.iter().find(|proxy| proxy.kind.holds_servers() && proxy.name == name)
    }
}

/// A line of a file. Prints as `path:line`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Place {
    /// The path of the file, as given to drainswap.
    pub path: Arc<Path>,
    /// The line, counted from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// The kind of a proxy section.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyKind {
    Frontend,
    Backend,
    Listen,
}

impl ProxyKind {
    /// Returns whether the section may have `server` lines.
    #[must_use]
    pub fn holds_servers(self) -> bool {
        matches!(self, Self::Backend | Self::Listen)
    }

    /// Returns whether the section accepts connections.
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

/// The value of `mode`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
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

/// A frontend, backend or listen section, with the settings that it inherits from `defaults`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is one keyword of the section, present or not")]
pub struct Proxy {
    pub kind: ProxyKind,
    pub name: String,
    pub place: Place,
    pub mode: Mode,
    /// The balance algorithm: the word after `balance`, or `HAProxy`'s default.
    pub balance: String,
    /// `hash-type consistent`: a hash selects the server in a way that few clients notice when servers come and go.
    pub hashes_consistently: bool,
    /// `option allbackups`: all backup servers share the traffic, not only the first usable one.
    pub all_backups: bool,
    /// The name of the cookie that ties a client to a server.
    pub cookie: Option<String>,
    /// Whether a `stick` rule ties clients to servers.
    pub sticks: bool,
    /// The `use_backend` rules of a frontend or a listen section, in order.
    pub use_backends: Vec<UseBackend>,
    /// The backend for connections that match no rule.
    pub default_backend: Option<UseBackend>,
    /// The `use-server` rules, in order.
    pub use_servers: Vec<UseServer>,
    /// `option persist` or `force-persist`: a client goes to its server even if the server is down.
    pub persist: bool,
    /// The section's `disabled`: no server in it gets traffic.
    pub disabled: bool,
    /// `load-server-state-from-file global`: a reload restores the states of its servers from the global
    /// state file.
    pub keeps_state: bool,
    /// `load-server-state-from-file local`: the same from a file of the section, below the
    /// `server-state-base`.
    pub own_state_file: Option<PathBuf>,
    /// The health check, for servers that have `check`.
    pub check: HealthCheck,
    /// `timeout check`: how long a check may take after it has connected.
    pub timeout_check: Option<Duration>,
    /// The servers, in order; a `server-template` is expanded to single servers.
    pub servers: Vec<Server>,
}

/// A `use_backend` rule, or the `default_backend` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseBackend {
    /// The backend, or a log-format expression (`%[…]`) that selects one.
    pub backend: String,
    /// The rest of the line: `if …`, `unless …`, or empty.
    pub condition: String,
    pub place: Place,
}

/// A `use-server` rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseServer {
    /// The server, or a log-format expression (`%[…]`) that selects one.
    pub server: String,
    /// The rest of the line: `if …` or `unless …`.
    pub condition: String,
    pub place: Place,
}

/// A server, with the settings that it inherits from the `default-server` lines before it.
///
/// Its settings read like fields of the server: `server.weight`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub name: String,
    /// The line of the server; the template's for a server of a `server-template`.
    pub place: Place,
    pub address: Address,
    /// All other settings; servers with equal settings share them.
    pub settings: Arc<ServerSettings>,
}

impl Deref for Server {
    type Target = ServerSettings;

    fn deref(&self) -> &ServerSettings {
        &self.settings
    }
}

/// The settings that follow a server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is one keyword of the line, present or not")]
pub struct ServerSettings {
    /// How they are written, in the `default-server` lines and in its own line.
    pub written: Written,
    /// Whether it gets traffic only when no other server can.
    pub backup: bool,
    /// Its share of the traffic, 0 to 256; 0 means no new sessions. The default is 1.
    pub weight: u32,
    /// Whether `HAProxy` checks it.
    pub check: bool,
    /// Whether `HAProxy` queries an agent on it, which may change the server's weight and state.
    pub agent_check: bool,
    /// `agent-addr` and `agent-port` as written. A `server-state-file` stores them.
    pub agent_place: [Option<String>; 2],
    /// Whether it starts in maintenance.
    pub disabled: bool,
    /// The value of the section's cookie that selects this server.
    pub cookie: Option<String>,
    /// `[BACKEND/]SERVER` whose state it follows.
    pub track: Option<String>,
    /// The most concurrent sessions; `None` means no limit.
    pub maxconn: Option<u32>,
    /// The time between two checks; `HAProxy`'s default is 2 s.
    pub inter: Option<Duration>,
    /// The time between two checks while the server goes up or down.
    pub fastinter: Option<Duration>,
    /// The time between two checks while the server is down.
    pub downinter: Option<Duration>,
    /// The number of checks that must pass before it is up; `HAProxy`'s default is 2.
    pub rise: Option<u32>,
    /// The number of checks that must fail before it is down; `HAProxy`'s default is 3.
    pub fall: Option<u32>,
    /// Whether traffic to it is encrypted.
    pub ssl: bool,
    /// `verify required` or `verify none`; `None` leaves it to the global `ssl-server-verify`, which requires it.
    pub verify: Option<bool>,
    /// The multiplexer of its traffic, and of checks without one: `h1`, `h2`.
    pub proto: Option<String>,
    /// The protocols (ALPN) that `HAProxy` offers to it over TLS, also in checks without `check-alpn`.
    pub alpn: Option<String>,
    /// Whether `HAProxy` presents a client certificate to it (`crt`).
    pub has_client_certificate: bool,
    /// `check-ssl` or `no-check-ssl`. Without either, checks are encrypted if `ssl` is set and neither `addr`
    /// nor `port` is.
    pub check_ssl: Option<bool>,
    /// `addr`: the address to check instead of the server's own; see [`Server::checked_address`].
    pub check_address: Option<Address>,
    /// `port`: the port to check instead of the server's own.
    pub check_port: Option<u16>,
    /// `healthcheck`, since 3.4: the section that defines its check, in place of the backend's check.
    pub healthcheck: Option<String>,
    /// The server name (SNI) that a check sends over TLS.
    pub check_sni: Option<String>,
    /// The protocols that a check offers over TLS.
    pub check_alpn: Option<String>,
    /// The multiplexer of checks: `h1`, `h2`.
    pub check_proto: Option<String>,
    /// Whether connections start with a PROXY line, of any version.
    pub send_proxy: bool,
    /// Whether checks start with a PROXY line. If false, they still do if `send_proxy` is set and neither
    /// `addr` nor `port` is.
    pub check_send_proxy: bool,
    /// `on-marked-down shutdown-sessions`: `HAProxy` cuts its sessions when it goes down.
    pub cuts_sessions_when_down: bool,
    /// `on-marked-up shutdown-backup-sessions`: `HAProxy` cuts the sessions of backup servers when it comes
    /// up.
    pub cuts_backup_sessions_when_up: bool,
    /// How long its weight grows after it comes up.
    pub slowstart: Option<Duration>,
    /// `init-addr` as written: how its name is resolved at the start.
    pub init_addr: Option<String>,
    /// Whether it has `resolvers`, with which `HAProxy` keeps its address up to date.
    pub has_resolvers: bool,
    /// `namespace`: the network namespace of its address.
    pub namespace: Option<String>,
    /// `socks4`: the proxy for connections to it.
    pub socks4: Option<String>,
    /// `init-state`, since 3.2: `up`, `down`, `fully-up`, `fully-down`.
    pub init_state: Option<String>,
}

/// The words of settings, in order, one a line. Settings that mean the same are equal however they are written.
#[derive(Clone, Debug, Default)]
pub struct Written(pub String);

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

impl Default for ServerSettings {
    /// Returns the defaults of `HAProxy`.
    fn default() -> Self {
        Self {
            written: Written::default(),
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
    /// Returns the address that `HAProxy` checks: the host of `addr` or the server's own, and the port of
    /// `port`, `addr` or the server's own.
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
    pub address: SocketAddress,
    /// The level of its clients.
    pub level: Level,
    pub place: Place,
}

/// The rights of a client of the runtime API.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Reads what is not sensitive.
    User,
    /// Reads everything and changes nothing. The default.
    Operator,
    /// Reads and changes everything.
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
