//! Checks of servers and backends that other lines name: `track`, `use-server`, `use_backend`,
//! `default_backend`.

use rustc_hash::FxHashMap;

use super::super::code;
use super::super::diagnostic::{Diagnostic, Problem};
use super::super::document::Document;
use super::super::keywords;
use super::super::model::{Place, Proxy};
use super::problem_at;

/// The proxies that have servers, by name.
struct Backends<'p>(FxHashMap<&'p str, &'p Proxy>);

/// Adds a problem for each name without a server or backend. `HAProxy` does not check disabled sections.
pub(super) fn check(document: &Document, proxies: &[Proxy], problems: &mut Vec<Problem>) {
    let holds_servers = proxies.iter().filter(|proxy| proxy.kind.holds_servers());
    let backends = Backends(holds_servers.map(|proxy| (proxy.name.as_str(), proxy)).collect());
    for proxy in proxies.iter().filter(|proxy| !proxy.disabled) {
        for (place, name, finding) in
            backends.rules(proxy).chain(servers(proxy)).chain(backends.tracks(proxy))
        {
            problems.extend(problem_at(document, place, name, finding));
        }
    }
}

/// The place of a name, the name, and the problem with it.
type NameProblem<'p> = (&'p Place, &'p str, Diagnostic);

impl<'p> Backends<'p> {
    fn rules(&self, proxy: &'p Proxy) -> impl Iterator<Item = NameProblem<'p>> {
        let taken = proxy.kind.takes_connections();
        let rules = proxy.use_backends.iter().chain(&proxy.default_backend).filter(move |_| taken);
        // A log-format expression selects its backend only when a request arrives.
        let unknown =
            rules.filter(|rule| !rule.backend.contains('%') && !self.0.contains_key(&*rule.backend));
        unknown.map(|rule| {
            let nearest = keywords::nearest(&rule.backend, self.0.keys().copied());
            let message =
                format!("`{}` sends requests to `{}`, which is not a backend", proxy.name, rule.backend);
            let finding = Diagnostic::error(code::UNKNOWN_BACKEND, message).label("no such backend");
            (&rule.place, &*rule.backend, finding.suggest(nearest))
        })
    }

    fn tracks(&self, proxy: &'p Proxy) -> impl Iterator<Item = NameProblem<'p>> {
        proxy.servers.iter().filter_map(|server| {
            let track = server.track.as_deref()?;
            let (backend, name) = track.split_once('/').unwrap_or((&proxy.name, track));
            let tracked =
                self.0.get(backend).and_then(|backend| backend.servers.iter().find(|it| it.name == name));
            let finding = match tracked {
                Some(other) if other.check || other.agent_check || other.track.is_some() => return None,
                Some(_) => {
                    let message = format!("`track` names `{track}`, which is not checked");
                    Diagnostic::error(code::TRACK, message).help("add `check` to that server")
                }
                None => {
                    let message = format!("`track` names `{track}`, which does not exist");
                    Diagnostic::error(code::UNKNOWN_SERVER, message)
                }
            };
            Some((&server.place, track, finding))
        })
    }
}

fn servers(proxy: &Proxy) -> impl Iterator<Item = NameProblem<'_>> {
    let known = |name: &str| proxy.servers.iter().any(|server| server.name == name);
    let unknown =
        proxy.use_servers.iter().filter(move |rule| !rule.server.contains('%') && !known(&rule.server));
    unknown.map(|rule| {
        let message =
            format!("`use-server` names `{}`, which is not a server of `{}`", rule.server, proxy.name);
        (&rule.place, &*rule.server, Diagnostic::error(code::UNKNOWN_SERVER, message))
    })
}
