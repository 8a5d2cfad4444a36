//! Rendering of a description to the text of a backend, and verification of the result.

use std::collections::BTreeMap;

use tera::{Context, Tera};

use super::{BackendSpec, Service, ServiceRefused};
use crate::cfg::{
    Configuration, Document, Environment, File, HealthCheck, Proxy, ProxyKind, Severity, SourceFile, Version,
    interpret, quote, read,
};

/// The template's name, which is also the file name of a custom template.
pub const TEMPLATE_NAME: &str = "backend.cfg.tera";

/// The default template.
pub const TEMPLATE: &str = include_str!("../../templates/backend.cfg.tera");

/// The error for a description that could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error(transparent)]
    Refused(#[from] ServiceRefused),
    #[error("service {service}: cannot render the template {TEMPLATE_NAME}: {reason}. Correct the template")]
    Template { service: String, reason: String },
    /// The rendered text differs from the description; the reason is the first difference.
    #[error(
        "service {service}: the output of {TEMPLATE_NAME} does not match the description: {reason}. Correct the template"
    )]
    Differs { service: String, reason: String },
}

/// Returns the text of the backend, which ends with a line feed.
///
/// Every value goes through the template engine's escape hook, so that it stays one word. The output is parsed as this
/// version of `HAProxy` parses it, and is refused if it does not match the description.
///
/// # Errors
/// Reports a problem of the description or of the template.
pub fn render(
    name: &str,
    service: &Service,
    template: &str,
    version: Version,
) -> Result<String, RenderError> {
    let wanted = service.backend_spec(name, version)?;
    let text = fill(template, &wanted).map_err(|error| {
        let reason = with_causes(&error);
        RenderError::Template { service: name.to_owned(), reason }
    })?;
    let text = format!("{}\n", text.trim_end_matches('\n'));
    check_text(&text, &wanted, version)
        .map_err(|reason| RenderError::Differs { service: name.to_owned(), reason })?;
    Ok(text)
}

fn fill(template: &str, wanted: &BackendSpec) -> tera::TeraResult<String> {
    let mut tera = Tera::new();
    // The engine escapes only templates with these suffixes; its default list contains HTML.
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

/// Checks that the text is this backend. A template may add lines, but no servers or sections, and no line that changes
/// a part of the description.
fn check_text(text: &str, wanted: &BackendSpec, version: Version) -> Result<(), String> {
    let (document, proxy) = backend(text, version)?;
    if proxy.kind != ProxyKind::Backend || proxy.name != wanted.backend {
        return Err(format!(
            "it starts with `{} {}`, not with `backend {}`",
            proxy.kind, proxy.name, wanted.backend
        ));
    }
    let servers: Vec<Vec<String>> = wanted.servers.iter().map(super::ServerSpec::line).collect();
    let lines = lines(&document);
    if let Some(line) = lines.iter().find(|line| line[0].starts_with('.')) {
        return Err(format!(
            "`{}` depends on the running HAProxy: use a condition of the template instead",
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
    check_effect(&proxy, wanted, version)
}

/// Checks that the words have the described effect, which lines before or after them could change.
fn check_effect(proxy: &Proxy, wanted: &BackendSpec, version: Version) -> Result<(), String> {
    for (server, wanted) in proxy.servers.iter().zip(&wanted.servers) {
        let same = server.backup == wanted.backup
            && server.check == wanted.check
            && server.cookie == wanted.cookie
            && !server.disabled;
        if !same {
            return Err(format!("another line changes `server {}`", wanted.name));
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
            return Err(format!("another line changes its `{keyword}`"));
        }
    }
    if proxy.disabled { Err("it is disabled".to_owned()) } else { Ok(()) }
}

/// Parses the text, which must consist of one section.
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

/// Renders the description without a template.
fn plain(wanted: &BackendSpec) -> String {
    let mut text = format!("backend {}\n", wanted.backend);
    for line in wanted.lines.iter().cloned().chain(wanted.servers.iter().map(super::ServerSpec::line)) {
        // Filling the template already refused words that cannot be written.
        let words = line.iter().map(|word| quote::word(word).unwrap_or_default());
        text.push_str(&words.collect::<Vec<_>>().join(" "));
        text.push('\n');
    }
    text
}

fn adds_servers(line: &[String]) -> bool {
    ["server", "server-template"].contains(&line[0].as_str())
}

/// Returns the words of all non-empty lines.
fn lines(document: &Document) -> Vec<Vec<String>> {
    let lines = document.files.iter().flat_map(File::lines);
    let words = lines.map(|line| line.words().map(|word| word.text().into_owned()).collect::<Vec<_>>());
    words.filter(|words| !words.is_empty()).collect()
}

#[cfg(test)]
mod tests;
