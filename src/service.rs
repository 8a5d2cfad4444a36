//! A service as `drainswap.toml` describes it, and what a backend must say to be it.

pub mod check;
pub mod render;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cfg::{Environment, SourceFile, Version, keywords, read};
pub use check::Check;

/// The most primaries of a service; so many servers twice over are read and rendered at once.
const MOST_HOSTS: usize = 10_000;

/// `[services.NAME]`: the hosts of a service and how `HAProxy` balances between them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
    /// `mode`; what `defaults` say if it is not given.
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
}

fn app() -> String {
    "app".to_owned()
}

/// Where the containers of a service run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
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
    /// Its settings.
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
        let mut lines = Vec::new();
        if let Some(mode) = &self.mode {
            lines.push(vec!["mode".to_owned(), mode.clone()]);
        }
        if let Some(balance) = &self.balance {
            let words = words(balance, version).map_err(refuse("balance"))?;
            lines.push(["balance".to_owned()].into_iter().chain(words).collect());
        }
        if let Some(cookie) = &self.cookie {
            legal_name(cookie).map_err(refuse("cookie"))?;
            lines.push(["cookie", cookie, "insert", "indirect", "nocache"].map(str::to_owned).to_vec());
        }
        lines.extend(self.check.lines().map_err(refuse("check"))?);
        for line in &self.extra_lines {
            lines.push(extra_line(line, version).map_err(refuse("extra_lines"))?);
        }
        let mut options = Vec::new();
        for option in &self.server_options {
            options.extend(server_option(option, version).map_err(refuse("server_options"))?);
        }
        let servers = self.servers(&options).map_err(refuse("hosts"))?;
        Ok(Wanted { backend: backend.to_owned(), lines, servers })
    }

    /// On every host its primary and then its backup.
    fn servers(&self, options: &[String]) -> Result<Vec<WantedServer>, String> {
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
        for (name, host) in hosts {
            legal_name(&name)?;
            let host = legal_host(host)?;
            let server = |name: String, port: u16, role: Option<&str>| {
                let check = self.check.is_on().then(|| "check".to_owned());
                let cookie = self.cookie.iter().flat_map(|_| ["cookie".to_owned(), name.clone()]);
                let words = check.into_iter().chain(cookie).chain(options.iter().cloned());
                let options = words.chain(role.map(str::to_owned)).collect();
                WantedServer { address: format!("{host}:{port}"), options, name }
            };
            servers.push(server(name.clone(), legal_port(self.primary_port)?, None));
            if let Some(port) = self.backup_port {
                servers.push(server(format!("{name}b"), legal_port(port)?, Some("backup")));
            }
        }
        Ok(servers)
    }
}

fn legal_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    match name.chars().find(|c| !legal(*c)) {
        None if name.is_empty() => Err("a name cannot be empty".to_owned()),
        None => Ok(()),
        Some(bad) => Err(format!(
            "the name `{}` holds `{}`; letters, digits and _ . : - may stand in it",
            name.escape_debug(),
            bad.escape_debug()
        )),
    }
}

/// An address or a name as it stands before a port. What every server would answer at is no host.
fn legal_host(host: &str) -> Result<String, String> {
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Err(format!("`{host}` is every address; write the one of the host")),
        Ok(IpAddr::V6(ip)) => Ok(format!("[{ip}]")),
        Ok(IpAddr::V4(ip)) => Ok(ip.to_string()),
        Err(_) => {
            let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            let numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
            let name = !numeric && host.len() <= 255 && host.chars().all(legal);
            if name {
                Ok(host.to_owned())
            } else {
                Err(format!("`{}` is neither an address nor a host's name", host.escape_debug()))
            }
        }
    }
}

fn legal_port(port: u16) -> Result<u16, String> {
    if port == 0 {
        Err("port 0 means the port that the client came to; write the container's".to_owned())
    } else {
        Ok(port)
    }
}

/// The words of a text that `HAProxy` would split; quotes and escapes count, variables are refused.
fn words(text: &str, version: Version) -> Result<Vec<String>, String> {
    let shown = text.escape_debug();
    if text.contains(['\n', '\r', '\0']) {
        return Err(format!("`{shown}` is more than one line"));
    }
    if text.contains('"') && text.contains('$') {
        return Err(format!("`{shown}` would be expanded; put `$` in single quotes"));
    }
    let file = SourceFile { path: "line".into(), bytes: format!("{text}\n").into_bytes() };
    let document = read(vec![file], &Environment::new(BTreeMap::new(), version));
    if let Some(problem) = document.problems.first() {
        return Err(format!("`{shown}`: {}", problem.message));
    }
    let line = document.files.first().and_then(|file| file.line(1));
    let Some(line) = line.filter(|line| line.comment().is_none()) else {
        return Err(format!("`{shown}` holds a comment; quote `#` if it is meant"));
    };
    let words: Vec<String> = line.words().map(|word| word.text().into_owned()).collect();
    if words.is_empty() || words.iter().any(String::is_empty) {
        return Err(format!("`{shown}` is empty, or holds an empty word"));
    }
    Ok(words)
}

/// A setting of a server with its values.
fn server_option(text: &str, version: Version) -> Result<Vec<String>, String> {
    let words = words(text, version)?;
    if keywords::server(&words[0]).is_some() {
        return Ok(words);
    }
    let nearest = keywords::nearest(&words[0], keywords::SERVER.iter().map(|keyword| keyword.word));
    let hint = nearest.map_or(String::new(), |nearest| format!("; did you mean `{nearest}`?"));
    Err(format!("`{}` is no setting of a server{hint}", words[0].escape_debug()))
}

/// A line of the backend, which neither ends the section nor adds servers.
fn extra_line(text: &str, version: Version) -> Result<Vec<String>, String> {
    let words = words(text, version)?;
    let first = words[0].as_str();
    let shown = first.escape_debug();
    if keywords::section::naming(first.as_bytes(), Version::new(u16::MAX, 0)).is_some()
        || keywords::section::words().any(|section| section == first)
    {
        return Err(format!("`{shown}` starts a section; only lines of the backend stand here"));
    }
    if first.starts_with(['.', '[']) {
        return Err(format!("`{shown}` is a directive or a scope; only lines of the backend stand here"));
    }
    if ["server", "server-template"].contains(&first) {
        return Err(format!("`{shown}` adds servers; they come from hosts"));
    }
    if !keywords::proxy::is_known(first) {
        return Err(format!("`{shown}` is no keyword of a backend"));
    }
    Ok(words)
}
