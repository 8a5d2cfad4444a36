//! Servers that other lines name: `track` and `use-server`.

use super::super::code;
use super::super::diagnostic::{Finding, Problem};
use super::super::document::Document;
use super::super::model::Proxy;
use super::problem_at;

/// Adds a problem for each name that no server has.
pub(super) fn check(document: &Document, proxies: &[Proxy], problems: &mut Vec<Problem>) {
    for proxy in proxies {
        for rule in &proxy.use_servers {
            // A log-format expression names its server only when a request is there.
            if !rule.server.contains('%') && !has(proxy, &rule.server) {
                let message =
                    format!("`use-server` names `{}`, which `{}` does not hold", rule.server, proxy.name);
                let finding = Finding::error(code::UNKNOWN_SERVER, message);
                problems.extend(problem_at(document, &rule.place, &rule.server, finding));
            }
        }
        for server in &proxy.servers {
            let Some(track) = &server.track else { continue };
            let (backend, tracked) = track.split_once('/').unwrap_or((&proxy.name, track));
            let held = |other: &&Proxy| other.kind.holds_servers() && other.name == backend;
            let mut servers = proxies.iter().filter(held).flat_map(|other| &other.servers);
            let finding = match servers.find(|other| other.name == tracked) {
                Some(other) if other.check || other.agent_check || other.track.is_some() => continue,
                Some(_) => {
                    let message = format!("`track` names `{track}`, which is not checked itself");
                    Finding::error(code::TRACK, message).help("give that server `check`")
                }
                None => {
                    let message = format!("`track` names `{track}`, which does not exist");
                    Finding::error(code::UNKNOWN_SERVER, message)
                }
            };
            problems.extend(problem_at(document, &server.place, track, finding));
        }
    }
}

fn has(proxy: &Proxy, server: &str) -> bool {
    proxy.servers.iter().any(|known| known.name == server)
}
