//! `drainswap config show`: the settings of haproxy.cfg, with inherited ones resolved.

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Value, json};

use super::super::loaded_config::LoadedConfig;
use super::super::{App, print, print_object};
use crate::app::error::{Error, nearest};
use crate::app::exit::Exit;
use crate::cfg::{Address, Configuration, HealthCheck, Port, Proxy, Server, reports};
use crate::cli::Output;

impl App {
    pub(super) async fn config_show(&self, names: &[String]) -> Result<Exit, Error> {
        let LoadedConfig { document, configuration, .. } = self.load_config().await?;
        for name in names {
            known(&configuration, name)?;
        }
        let shown = |proxy: &&Proxy| names.is_empty() || names.contains(&proxy.name);
        let proxies = configuration.proxies.iter().filter(shown);
        match self.output {
            Output::Json => {
                let proxies: Vec<Value> = proxies.map(proxy).collect();
                print_object(&json!({ "version": 1, "proxies": proxies }))?;
            }
            Output::Text => {
                let texts: Vec<String> = proxies.map(text).collect();
                print(&texts.join("\n"))?;
            }
        }
        for report in reports(&configuration.problems, &document) {
            self.note(&report);
        }
        Ok(if configuration.has_errors() { Exit::Configuration } else { Exit::Done })
    }
}

fn known(configuration: &Configuration, name: &str) -> Result<(), Error> {
    if configuration.proxies.iter().any(|proxy| proxy.name == name) {
        return Ok(());
    }
    let known: Vec<String> = configuration.proxies.iter().map(|proxy| proxy.name.clone()).collect();
    Err(Error::NoBackend { name: name.to_owned(), nearest: nearest(name, &known), known })
}

fn text(proxy: &Proxy) -> String {
    let mut facts = vec![format!("mode {}", proxy.mode)];
    if proxy.kind.holds_servers() {
        facts.push(format!("balance {}", proxy.balance));
        facts.extend(check(&proxy.check));
        facts.extend(proxy.cookie.iter().map(|cookie| format!("cookie {cookie}")));
        facts.extend(proxy.all_backups.then(|| "option allbackups".to_owned()));
    }
    if proxy.kind.takes_connections() {
        let rules =
            proxy.use_backends.iter().map(|rule| format!("use_backend {} {}", rule.backend, rule.condition));
        facts.extend(rules);
        facts.extend(proxy.default_backend.iter().map(|rule| format!("default_backend {}", rule.backend)));
    }
    facts.extend(proxy.disabled.then(|| "disabled".to_owned()));
    let mut table = Table::new();
    table.load_style(NOTHING);
    for server in &proxy.servers {
        let place = server.place.to_string();
        table.add_row([&server.name, &server.address.to_string(), &settings(server), &place]);
    }
    // Trailing blanks would wrap on a narrow terminal.
    let table = table.to_string();
    let rows = table.lines().filter(|line| !line.trim().is_empty());
    let rows: String = rows.flat_map(|line| ["  ", line.trim_end(), "\n"]).collect();
    format!("{} {}  ({})\n  {}\n{rows}", proxy.kind, proxy.name, proxy.place, facts.join(" · "))
}

/// Returns the health check without its headers, which may contain a secret.
fn check(check: &HealthCheck) -> Option<String> {
    match check {
        HealthCheck::None => None,
        HealthCheck::TcpCheck { .. } => Some("option tcp-check".to_owned()),
        HealthCheck::Http(check) => Some(format!("check {} {}", check.method, check.uri)),
        HealthCheck::Other(option) => Some(format!("option {option}")),
    }
}

fn settings(server: &Server) -> String {
    let mut facts = vec![format!("weight {}", server.weight)];
    let flags = [
        ("check", server.check),
        ("backup", server.backup),
        ("disabled", server.disabled),
        ("ssl", server.ssl),
    ];
    facts.extend(flags.into_iter().filter(|(_, set)| *set).map(|(flag, _)| flag.to_owned()));
    facts.extend(server.cookie.iter().map(|cookie| format!("cookie {cookie}")));
    facts.extend(server.track.iter().map(|track| format!("track {track}")));
    facts.extend(server.maxconn.map(|limit| format!("maxconn {limit}")));
    facts.join(" ")
}

fn proxy(proxy: &Proxy) -> Value {
    json!({
        "kind": proxy.kind,
        "name": proxy.name,
        "file": proxy.place.path,
        "line": proxy.place.line,
        "mode": proxy.mode.to_string(),
        "balance": proxy.balance,
        "check": check(&proxy.check),
        "cookie": proxy.cookie,
        "allbackups": proxy.all_backups,
        "disabled": proxy.disabled,
        "default_backend": proxy.default_backend.as_ref().map(|rule| &rule.backend),
        "use_backend": proxy.use_backends.iter().map(|rule| &rule.backend).collect::<Vec<_>>(),
        "servers": proxy.servers.iter().map(server).collect::<Vec<_>>(),
    })
}

fn server(server: &Server) -> Value {
    // A port that follows the client's is 0 or the distance, as `show servers state` has it.
    let (address, port) = match &server.address {
        Address::Inet { host, port } | Address::Datagram { host, port } | Address::Quic { host, port } => (
            host.to_string(),
            match port {
                Port::Fixed(port) => i32::from(*port),
                Port::Client => 0,
                Port::ClientOffset(offset) => *offset,
            },
        ),
        other @ (Address::Unix(_) | Address::Other(_)) => (other.to_string(), 0),
    };
    json!({
        "name": server.name,
        "address": address,
        "port": port,
        "weight": server.weight,
        "backup": server.backup,
        "disabled": server.disabled,
        "check": server.check,
        "cookie": server.cookie,
        "maxconn": server.maxconn,
        "track": server.track,
        "ssl": server.ssl,
        "line": server.place.line,
    })
}
