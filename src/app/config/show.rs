//! config show: what haproxy.cfg says, resolved.

use serde_json::{Value, json};

use super::super::{App, print};
use crate::cfg::{Address, Port, Proxy, Server};
use crate::error::Error;
use crate::exit::Exit;

impl App {
    pub(super) fn config_show(&self, names: &[String]) -> Result<Exit, Error> {
        let (_, configuration) = self.document()?;
        let shown =
            configuration.proxies.iter().filter(|proxy| names.is_empty() || names.contains(&proxy.name));
        let proxies: Vec<Value> = shown.map(proxy).collect();
        print(&format!("{}\n", json!({ "version": 1, "proxies": proxies })))?;
        Ok(if configuration.has_errors() { Exit::Configuration } else { Exit::Done })
    }
}

fn proxy(proxy: &Proxy) -> Value {
    json!({
        "kind": proxy.kind,
        "name": proxy.name,
        "file": proxy.place.path,
        "line": proxy.place.line,
        "mode": proxy.mode.to_string(),
        "balance": proxy.balance,
        "servers": proxy.servers.iter().map(server).collect::<Vec<_>>(),
    })
}

fn server(server: &Server) -> Value {
    let (address, port) = match &server.address {
        Address::Inet { host, port } | Address::Datagram { host, port } => (
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
        "line": server.place.line,
    })
}
