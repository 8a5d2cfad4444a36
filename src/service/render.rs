//! From a description to the text of a backend, and back to be sure.

use std::collections::BTreeMap;

use tera::{Context, Tera};

use super::{Refused, Service, Wanted};
use crate::cfg::{
    Configuration, Document, Environment, File, HealthCheck, Proxy, ProxyKind, Severity, SourceFile, Version,
    interpret, quote, read,
};

/// The template's name, also as a file in a folder of one's own.
pub const TEMPLATE_NAME: &str = "backend.cfg.tera";

/// The template that is used where no other is given.
pub const TEMPLATE: &str = include_str!("../../templates/backend.cfg.tera");

/// Why no text came of a description.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The description.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The template.
    #[error("service {service}: the template {TEMPLATE_NAME} does not work: {reason}")]
    Template {
        /// The service.
        service: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// What the template made says something else than the description.
    #[error("service {service}: what {TEMPLATE_NAME} makes of it is not the service: {reason}")]
    Differs {
        /// The service.
        service: String,
        /// The first difference.
        reason: String,
    },
}

/// The text of the backend, which ends with a line feed.
///
/// Every value goes through the template engine's escape hook, so that none leaves its word. What comes out is read
/// as this version of `HAProxy` reads it, and must say what the description says, or it is refused.
///
/// # Errors
/// What is wrong with the description or with the template.
pub fn render(
    name: &str,
    service: &Service,
    template: &str,
    version: Version,
) -> Result<String, RenderError> {
    let wanted = service.wanted(name, version)?;
    let text = fill(template, &wanted).map_err(|error| {
        let reason = with_causes(&error);
        RenderError::Template { service: name.to_owned(), reason }
    })?;
    let text = format!("{}\n", text.trim_end_matches('\n'));
    says(&text, &wanted, version)
        .map_err(|reason| RenderError::Differs { service: name.to_owned(), reason })?;
    Ok(text)
}

fn fill(template: &str, wanted: &Wanted) -> tera::TeraResult<String> {
    let mut tera = Tera::new();
    // Only what is named here is escaped; the engine's own list has HTML on it.
    tera.autoescape_on(vec![TEMPLATE_NAME]);
    tera.set_escape_fn(|text, out| {
        let word = quote::word(text).map_err(std::io::Error::other)?;
        out.write_all(word.as_bytes())
    });
    tera.add_raw_template(TEMPLATE_NAME, template)?;
    tera.render(TEMPLATE_NAME, &Context::from_serialize(wanted)?)
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Whether the text is exactly this backend. A template may add lines, but neither servers nor sections, and none
/// that changes what the description says.
fn says(text: &str, wanted: &Wanted, version: Version) -> Result<(), String> {
    let (document, proxy) = backend(text, version)?;
    if proxy.kind != ProxyKind::Backend || proxy.name != wanted.backend {
        return Err(format!("it starts `{} {}`, not `backend {}`", proxy.kind, proxy.name, wanted.backend));
    }
    let servers: Vec<Vec<String>> = wanted.servers.iter().map(super::WantedServer::line).collect();
    let lines = lines(&document);
    if let Some(line) = lines.iter().find(|line| line[0].starts_with('.')) {
        return Err(format!(
            "`{}` depends on the HAProxy that runs; templates have conditions of their own",
            line[0]
        ));
    }
    let written: Vec<&Vec<String>> = lines.iter().filter(|line| adds_servers(line)).collect();
    for (written, wanted) in written.iter().zip(&servers) {
        if *written != wanted {
            return Err(format!("it has `{}`, not `{}`", written.join(" "), wanted.join(" ")));
        }
    }
    if written.len() != servers.len() {
        return Err(format!("it has {} servers, not {}", written.len(), servers.len()));
    }
    let mut rest = lines.iter();
    if let Some(missing) = wanted.lines.iter().find(|wanted| !rest.any(|line| line == *wanted)) {
        return Err(format!("it lacks `{}`", missing.join(" ")));
    }
    does(&proxy, wanted, version)
}

/// Whether the words mean what they are to mean: other lines, before or after, could have changed that.
fn does(proxy: &Proxy, wanted: &Wanted, version: Version) -> Result<(), String> {
    for (server, wanted) in proxy.servers.iter().zip(&wanted.servers) {
        let same = server.backup == wanted.backup
            && server.check == wanted.check
            && server.cookie == wanted.cookie
            && !server.disabled;
        if !same {
            return Err(format!("another line changes what `server {}` is", wanted.name));
        }
    }
    let (_, plain) = backend(&plain(wanted), version)?;
    let says = |keyword: &str| wanted.lines.iter().any(|line| line[0] == keyword);
    let has_check = matches!(plain.check, HealthCheck::Http(_));
    for (keyword, same) in [
        ("mode", !says("mode") || proxy.mode == plain.mode),
        ("balance", !says("balance") || proxy.balance == plain.balance),
        ("cookie", !says("cookie") || proxy.cookie == plain.cookie),
        ("option httpchk", !has_check || proxy.check == plain.check),
    ] {
        if !same {
            return Err(format!("another line changes what its `{keyword}` says"));
        }
    }
    if proxy.disabled { Err("it is disabled".to_owned()) } else { Ok(()) }
}

/// The one backend that the text is.
fn backend(text: &str, version: Version) -> Result<(Document, Proxy), String> {
    let file = SourceFile { path: TEMPLATE_NAME.into(), bytes: text.as_bytes().to_vec() };
    let document = read(vec![file], &Environment::new(BTreeMap::new(), version));
    let Configuration { proxies, problems, .. } = interpret(&document);
    if let Some(problem) = problems.iter().max_by_key(|problem| problem.severity) {
        let severity = if problem.severity == Severity::Error { "refuses" } else { "misreads" };
        return Err(format!("HAProxy {version} {severity} its line {}: {}", problem.line, problem.message));
    }
    let count = proxies.len();
    let only: Result<[Proxy; 1], _> = proxies.try_into();
    only.map(|[proxy]| (document, proxy)).map_err(|_| format!("it has {count} sections"))
}

/// The description without any template.
fn plain(wanted: &Wanted) -> String {
    let mut text = format!("backend {}\n", wanted.backend);
    for line in wanted.lines.iter().cloned().chain(wanted.servers.iter().map(super::WantedServer::line)) {
        // What cannot be written was refused when the template was filled.
        let words = line.iter().map(|word| quote::word(word).unwrap_or_default());
        text.push_str(&words.collect::<Vec<_>>().join(" "));
        text.push('\n');
    }
    text
}

fn adds_servers(line: &[String]) -> bool {
    ["server", "server-template"].contains(&line[0].as_str())
}

/// The words of the lines that have any.
fn lines(document: &Document) -> Vec<Vec<String>> {
    let lines = document.files.iter().flat_map(File::lines);
    let words = lines.map(|line| line.words().map(|word| word.text().into_owned()).collect::<Vec<_>>());
    words.filter(|words| !words.is_empty()).collect()
}

#[cfg(test)]
mod tests;
