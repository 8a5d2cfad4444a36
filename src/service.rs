//! A service as described in `drainswap.toml`, and the backend that it renders to.

mod balance;
mod by_type;
pub mod check;
pub mod compose;
pub mod container;
pub mod create_spec;
pub mod interpolate;
mod line;
mod names;
mod option;
mod read;
pub mod render;
mod words;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Deserializer, Serialize};

use crate::cfg::Version;
use by_type::by_type;
pub use check::Check;
pub use container::Container;
use line::BackendContext;
use names::{legal_host, legal_name, legal_port};
pub(crate) use read::keys;
pub use read::services;

/// The maximum number of hosts of a service. A service with backups renders twice as many servers at once.
const MOST_HOSTS: usize = 10_000;

/// A `[services.NAME]` table: the hosts of a service, the load balancing between them, and the container on each host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The backend's name; the default is the name of the service.
    pub backend: Option<String>,
    /// The hosts on which the containers run.
    pub hosts: Hosts,
    /// The prefix of numbered server names, if `hosts` is a list.
    #[serde(default = "app")]
    pub server_prefix: String,
    /// The port of the primary on every host.
    pub primary_port: u16,
    /// The port of the backup on every host; without it, the service has no backups.
    pub backup_port: Option<u16>,
    /// `http` or `tcp`; the default comes from the `defaults` section.
    pub mode: Option<String>,
    /// The balance algorithm with its arguments; the default comes from the `defaults` section.
    pub balance: Option<String>,
    /// The health check of the servers.
    #[serde(default)]
    pub check: Check,
    /// The name of the cookie that binds a client to a server.
    pub cookie: Option<String>,
    /// Options of every server in `HAProxy`'s syntax: `inter 2s`.
    #[serde(default)]
    pub server_options: Vec<String>,
    /// Additional lines of the backend in `HAProxy`'s syntax.
    #[serde(default)]
    pub extra_lines: Vec<String>,
    /// The container of the service. In the file, its keys are next to the other keys; [`services`] separates them.
    #[serde(skip)]
    pub container: Container,
}

/// A service with its backend and its container.
// Only for the JSON Schema: `services` parses the table.
#[derive(schemars::JsonSchema)]
#[schemars(deny_unknown_fields, rename = "DescribedService")]
#[expect(dead_code, reason = "only its JSON Schema is used")]
pub(crate) struct ServiceKeys {
    #[schemars(flatten)]
    service: Service,
    #[schemars(flatten)]
    container: Container,
}

fn app() -> String {
    "app".to_owned()
}

/// The hosts on which the containers of a service run.
#[derive(Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(untagged)]
pub enum Hosts {
    /// Addresses; the servers are numbered: `app1`, `app2`.
    Numbered(Vec<String>),
    /// Addresses by server name.
    Named(BTreeMap<String, String>),
}

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        by_type(from, "a list of addresses, or a table of server names and addresses", |value| {
            if value.is_table() {
                value.try_into().ok().map(Self::Named)
            } else {
                value.try_into().ok().map(Self::Numbered)
            }
        })
    }
}

/// The error for a description that cannot become a backend.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("service {service}, {key}: {reason}")]
pub struct ServiceRefused {
    pub service: String,
    /// The key in the description.
    pub key: String,
    /// The problem and its fix.
    pub reason: String,
}

/// The backend that a service requires: its lines, word by word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendSpec {
    pub backend: String,
    /// The lines before the servers.
    pub lines: Vec<Vec<String>>,
    /// The servers, in order.
    pub servers: Vec<ServerSpec>,
}

/// A server of a [`BackendSpec`] backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerSpec {
    pub name: String,
    /// The address with its port.
    pub address: String,
    /// Whether the server gets traffic only if no primary is available.
    pub backup: bool,
    pub check: bool,
    /// The cookie value that refers to the server.
    pub cookie: Option<String>,
    /// All options of the server, including `backup`, `check` and `cookie`.
    pub options: Vec<String>,
}

impl ServerSpec {
    /// Returns the words of the server line.
    pub(crate) fn line(&self) -> Vec<String> {
        let head = ["server", &self.name, &self.address].map(str::to_owned);
        head.into_iter().chain(self.options.iter().cloned()).collect()
    }
}

impl Service {
    /// Returns the backend for the service in the syntax of an `HAProxy` version.
    ///
    /// # Errors
    /// Reports the first value that cannot be written or that would change its meaning.
    pub fn backend_spec(&self, name: &str, version: Version) -> Result<BackendSpec, ServiceRefused> {
        let refuse = |key: &'static str| {
            move |reason: String| ServiceRefused { service: name.to_owned(), key: key.to_owned(), reason }
        };
        let backend = self.backend.as_deref().unwrap_or(name);
        legal_name(backend).map_err(refuse("backend"))?;
        let is_http = self.mode.as_deref() == Some("http");
        let mut lines = Vec::new();
        if let Some(mode) = &self.mode {
            legal_mode(mode).map_err(refuse("mode"))?;
            lines.push(vec!["mode".to_owned(), mode.clone()]);
        }
        if let Some(balance) = &self.balance {
            let words = balance::balance(balance, is_http, version).map_err(refuse("balance"))?;
            lines.push(["balance".to_owned()].into_iter().chain(words).collect());
        }
        if let Some(cookie) = &self.cookie {
            legal_cookie(cookie, is_http).map_err(refuse("cookie"))?;
            lines.push(["cookie", cookie, "insert", "indirect", "nocache"].map(str::to_owned).to_vec());
        }
        lines.extend(self.check.lines().map_err(refuse("check"))?);
        let around = BackendContext { is_http, has_http_check: self.check.is_http(), version };
        for line in &self.extra_lines {
            lines.push(line::extra_line(line, around).map_err(refuse("extra_lines"))?);
        }
        let options = option::options(&self.server_options, is_http, version);
        let options = options.map_err(refuse("server_options"))?;
        let ports = self.ports().map_err(refuse("primary_port, backup_port"))?;
        let servers = self.servers(ports, &options).map_err(refuse("hosts"))?;
        Ok(BackendSpec { backend: backend.to_owned(), lines, servers })
    }

    fn ports(&self) -> Result<(u16, Option<u16>), String> {
        let primary = legal_port(self.primary_port)?;
        let backup = self.backup_port.map(legal_port).transpose()?;
        if backup == Some(primary) {
            return Err(format!("invalid backup_port {primary}: it is already the primary_port"));
        }
        Ok((primary, backup))
    }

    /// Returns the primary and then the backup of every host.
    fn servers(
        &self,
        (primary, backup): (u16, Option<u16>),
        options: &[String],
    ) -> Result<Vec<ServerSpec>, String> {
        let hosts: Vec<(String, &String)> = match &self.hosts {
            Hosts::Numbered(addresses) => (1..)
                .zip(addresses)
                .map(|(number, host)| (format!("{}{number}", self.server_prefix), host))
                .collect(),
            Hosts::Named(hosts) => hosts.iter().map(|(name, host)| (name.clone(), host)).collect(),
        };
        if hosts.is_empty() || hosts.len() > MOST_HOSTS {
            return Err(format!("expected 1–{MOST_HOSTS} hosts, got {}", hosts.len()));
        }
        let mut servers = Vec::new();
        let mut known = HashSet::new();
        for (name, host) in hosts {
            legal_name(&name)?;
            let host = legal_host(host)?;
            if !known.insert(host.clone()) {
                return Err(format!("duplicate host `{host}`: two servers would share one container"));
            }
            servers.push(self.server(name.clone(), &host, primary, false, options));
            servers.extend(backup.map(|port| self.server(format!("{name}b"), &host, port, true, options)));
        }
        Ok(servers)
    }

    fn server(&self, name: String, host: &str, port: u16, backup: bool, options: &[String]) -> ServerSpec {
        let check = self.check.is_on();
        let cookie = self.cookie.is_some().then(|| name.clone());
        let first = check.then(|| "check".to_owned()).into_iter();
        let cookie_words = cookie.iter().flat_map(|value| ["cookie".to_owned(), value.clone()]);
        let last = backup.then(|| "backup".to_owned());
        let options = first.chain(cookie_words).chain(options.iter().cloned()).chain(last).collect();
        ServerSpec { name, address: format!("{host}:{port}"), backup, check, cookie, options }
    }
}

fn legal_mode(mode: &str) -> Result<(), String> {
    if ["http", "tcp"].contains(&mode) {
        return Ok(());
    }
    Err(format!("invalid mode `{}`: expected http or tcp", mode.escape_debug()))
}

fn legal_cookie(name: &str, is_http: bool) -> Result<(), String> {
    legal_name(name)?;
    if is_http { Ok(()) } else { Err("a cookie needs HTTP: also set mode = \"http\"".to_owned()) }
}
