//! A service as `drainswap.toml` describes it, and what a backend must say to be it.

mod balance;
pub mod check;
pub mod compose;
pub mod container;
pub mod interpolate;
mod line;
mod names;
mod option;
mod read;
pub mod render;
mod words;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::cfg::Version;
pub use check::Check;
pub use container::Container;
use line::Around;
use names::{legal_host, legal_name, legal_port};
pub(crate) use read::keys;
pub use read::services;

/// The most primaries of a service; so many servers twice over are read and rendered at once.
const MOST_HOSTS: usize = 10_000;

/// `[services.NAME]`: the hosts of a service, how `HAProxy` balances between them, and the container on each.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The backend's name; the service's own if none is given.
    pub backend: Option<String>,
    /// Where its containers run.
    pub hosts: Hosts,
    /// What the servers of a list of hosts are called, before their number.
    #[serde(default = "app")]
    pub server_prefix: String,
    /// The port of the primary on every host.
    pub primary_port: u16,
    /// The port of the backup on every host; without it there are no backups.
    pub backup_port: Option<u16>,
    /// `http` or `tcp`; what `defaults` say if it is not given.
    pub mode: Option<String>,
    /// `balance`, with its arguments; what `defaults` say if it is not given.
    pub balance: Option<String>,
    /// How the servers are checked.
    #[serde(default)]
    pub check: Check,
    /// The name of the cookie that ties a client to a server.
    pub cookie: Option<String>,
    /// Settings of every server, in `HAProxy`'s words: `inter 2s`.
    #[serde(default)]
    pub server_options: Vec<String>,
    /// More lines of the backend, in `HAProxy`'s words.
    #[serde(default)]
    pub extra_lines: Vec<String>,
    /// Its container, whose keys stand beside these in the file: [`services`] reads them.
    #[serde(skip)]
    pub container: Container,
}

/// The keys of `[services.NAME]`, for those who ask for its form: [`services`] reads them.
#[derive(schemars::JsonSchema)]
#[schemars(deny_unknown_fields, rename = "DescribedService")]
#[expect(dead_code, reason = "its form is all that is wanted")]
pub(crate) struct Keys {
    #[schemars(flatten)]
    service: Service,
    #[schemars(flatten)]
    container: Container,
}

fn app() -> String {
    "app".to_owned()
}

/// Where the containers of a service run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "a list of addresses, or a table of servers' names and addresses")]
pub enum Hosts {
    /// Addresses, of servers that are numbered: `app1`, `app2`.
    Numbered(Vec<String>),
    /// Addresses by their servers' names.
    Named(BTreeMap<String, String>),
}

/// Why a description cannot become a backend.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("service {service}, {key}: {reason}")]
pub struct Refused {
    /// The service.
    pub service: String,
    /// The key of its description.
    pub key: String,
    /// What is wrong with it, and what to write.
    pub reason: String,
}

/// What a backend must say to be the service: its lines, word by word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// The backend's name.
    pub backend: String,
    /// Its lines before the servers.
    pub lines: Vec<Vec<String>>,
    /// Its servers, in order.
    pub servers: Vec<WantedServer>,
}

/// One server of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WantedServer {
    /// Its name.
    pub name: String,
    /// Its address and port.
    pub address: String,
    /// Whether it only gets traffic when no primary can.
    pub backup: bool,
    /// Whether HAProxy checks it.
    pub check: bool,
    /// The value of the cookie that means it.
    pub cookie: Option<String>,
    /// All its settings, those three among them.
    pub options: Vec<String>,
}

impl WantedServer {
    /// The whole line.
    pub(crate) fn line(&self) -> Vec<String> {
        let head = ["server", &self.name, &self.address].map(str::to_owned);
        head.into_iter().chain(self.options.iter().cloned()).collect()
    }
}

impl Service {
    /// The backend that the service is, as this version of `HAProxy` writes it.
    ///
    /// # Errors
    /// The first value that cannot be written, or would mean something else.
    pub fn wanted(&self, name: &str, version: Version) -> Result<Wanted, Refused> {
        let refuse = |key: &'static str| {
            move |reason: String| Refused { service: name.to_owned(), key: key.to_owned(), reason }
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
        let around = Around { is_http, has_http_check: self.check.is_http(), version };
        for line in &self.extra_lines {
            lines.push(line::extra_line(line, around).map_err(refuse("extra_lines"))?);
        }
        let options = option::options(&self.server_options, is_http, version);
        let options = options.map_err(refuse("server_options"))?;
        let ports = self.ports().map_err(refuse("primary_port, backup_port"))?;
        let servers = self.servers(ports, &options).map_err(refuse("hosts"))?;
        Ok(Wanted { backend: backend.to_owned(), lines, servers })
    }

    fn ports(&self) -> Result<(u16, Option<u16>), String> {
        let primary = legal_port(self.primary_port)?;
        let backup = self.backup_port.map(legal_port).transpose()?;
        if backup == Some(primary) {
            return Err(format!("the backup at port {primary} would be the primary itself"));
        }
        Ok((primary, backup))
    }

    /// On every host its primary and then its backup.
    fn servers(
        &self,
        (primary, backup): (u16, Option<u16>),
        options: &[String],
    ) -> Result<Vec<WantedServer>, String> {
        let hosts: Vec<(String, &String)> = match &self.hosts {
            Hosts::Numbered(addresses) => (1..)
                .zip(addresses)
                .map(|(number, host)| (format!("{}{number}", self.server_prefix), host))
                .collect(),
            Hosts::Named(hosts) => hosts.iter().map(|(name, host)| (name.clone(), host)).collect(),
        };
        if hosts.is_empty() || hosts.len() > MOST_HOSTS {
            return Err(format!("there are {}; a service has 1 to {MOST_HOSTS}", hosts.len()));
        }
        let mut servers = Vec::new();
        let mut known = HashSet::new();
        for (name, host) in hosts {
            legal_name(&name)?;
            let host = legal_host(host)?;
            if !known.insert(host.clone()) {
                return Err(format!("`{host}` stands twice: two servers would be one container"));
            }
            servers.push(self.server(name.clone(), &host, primary, false, options));
            servers.extend(backup.map(|port| self.server(format!("{name}b"), &host, port, true, options)));
        }
        Ok(servers)
    }

    fn server(&self, name: String, host: &str, port: u16, backup: bool, options: &[String]) -> WantedServer {
        let check = self.check.is_on();
        let cookie = self.cookie.is_some().then(|| name.clone());
        let first = check.then(|| "check".to_owned()).into_iter();
        let cookie_words = cookie.iter().flat_map(|value| ["cookie".to_owned(), value.clone()]);
        let last = backup.then(|| "backup".to_owned());
        let options = first.chain(cookie_words).chain(options.iter().cloned()).chain(last).collect();
        WantedServer { name, address: format!("{host}:{port}"), backup, check, cookie, options }
    }
}

fn legal_mode(mode: &str) -> Result<(), String> {
    if ["http", "tcp"].contains(&mode) {
        return Ok(());
    }
    Err(format!("`{}` is no mode of a service: write http or tcp", mode.escape_debug()))
}

fn legal_cookie(name: &str, is_http: bool) -> Result<(), String> {
    legal_name(name)?;
    if is_http { Ok(()) } else { Err("a cookie needs HTTP: write mode = \"http\" too".to_owned()) }
}
