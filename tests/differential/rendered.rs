//! Backends rendered from random and hostile descriptions: real HAProxy must accept those that drainswap does not
//! refuse.

mod checks;
mod description;

use drainswap::cfg::{Configuration, Version};
use drainswap::service::Service;
use drainswap::service::render::{TEMPLATE, render};
use serde_json::Value;

pub use checks::compare as compare_checks;
use description::description;

use crate::corpus::Sample;
use crate::tokens::Random;

/// The number of backends in a file.
const BACKENDS: usize = 25;
const FILES: usize = 16;

/// The timeouts that HAProxy requires.
const DEFAULTS: &str = "defaults\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n    timeout check 1s\n\n";

/// A file with backends, and their descriptions.
pub struct Rendered {
    pub sample: Sample,
    descriptions: Vec<Value>,
}

/// Returns the files, and the numbers of accepted and of tried descriptions.
pub fn all(version: Version) -> (Vec<Rendered>, usize, usize) {
    let mut random = Random::default();
    let (mut tried, mut files) = (0, Vec::new());
    for file in 0..FILES {
        let (mut text, mut descriptions) = (DEFAULTS.to_owned(), Vec::new());
        while descriptions.len() < BACKENDS {
            tried += 1;
            let description = description(&mut random, tried);
            let service: Service = serde_json::from_value(description.clone()).expect("a description");
            // Two descriptions may get the same name, which a file must contain only once.
            if descriptions.iter().any(|known: &Value| known["backend"] == description["backend"]) {
                continue;
            }
            if let Ok(backend) = render("service", &service, TEMPLATE, version) {
                text += &backend;
                text.push('\n');
                descriptions.push(description);
            }
        }
        let sample = Sample::new(format!("rendered file {file}"), text.into_bytes());
        files.push(Rendered { sample, descriptions });
    }
    (files, BACKENDS * FILES, tried)
}

impl AsRef<Sample> for Rendered {
    fn as_ref(&self) -> &Sample {
        &self.sample
    }
}

impl Rendered {
    /// Compares the backends with their descriptions, without the code that rendered them.
    pub fn matches(&self, configuration: &Configuration) -> Result<(), String> {
        let proxies = &configuration.proxies;
        if proxies.len() != self.descriptions.len() {
            return Err(format!("{} backends of {} descriptions", proxies.len(), self.descriptions.len()));
        }
        for (proxy, described) in proxies.iter().zip(&self.descriptions) {
            let servers: Vec<_> = proxy
                .servers
                .iter()
                .map(|server| {
                    (
                        server.name.clone(),
                        server.address.to_string(),
                        server.backup,
                        server.check,
                        server.cookie.clone(),
                    )
                })
                .collect();
            let expected = expected_servers(described);
            let says = |key: &str, value: &str| described[key].as_str().is_none_or(|said| said == value);
            let way =
                described["balance"].as_str().map(|balance| balance.split(' ').next().unwrap_or_default());
            let same = proxy.name == described["backend"]
                && servers == expected
                && says("mode", &proxy.mode.to_string())
                && way.is_none_or(|way| way == proxy.balance)
                && described["cookie"].as_str() == proxy.cookie.as_deref();
            if !same {
                return Err(format!("{described}\n  became {proxy:?}"));
            }
        }
        Ok(())
    }
}

type ExpectedServer = (String, String, bool, bool, Option<String>);

fn expected_servers(described: &Value) -> Vec<ExpectedServer> {
    let port = |key: &str| described[key].as_u64();
    let prefix = described["server_prefix"].as_str().unwrap_or("app");
    let mut servers = Vec::new();
    for (number, host) in described["hosts"].as_array().into_iter().flatten().enumerate() {
        let host = host.as_str().expect("a host");
        let host = match host.parse::<std::net::Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]"),
            Err(_) => host.to_owned(),
        };
        let ports = [(port("primary_port"), "", false), (port("backup_port"), "b", true)];
        for (port, suffix, backup) in ports.into_iter().filter_map(|(port, s, b)| Some((port?, s, b))) {
            let name = format!("{prefix}{}{suffix}", number + 1);
            let cookie = described["cookie"].is_string().then(|| name.clone());
            servers.push((name, format!("{host}:{port}"), backup, described["check"] != false, cookie));
        }
    }
    servers
}
