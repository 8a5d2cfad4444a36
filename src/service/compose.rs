//! Reading of services from a Compose file. Only services with the key `x-drainswap` count; its value has the settings
//! that Compose does not have.
//!
//! Each service becomes a table like `[services.NAME]` in drainswap.toml and is read in the same way. Unsupported keys
//! that would change the container are refused; keys for work around a container, such as `build`, are ignored.

mod engine_names;
mod keys;
mod plain;
mod ports;
mod project;
#[cfg(test)]
mod tests;
mod value;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::{Table, Value};

use super::container::Container;
use super::interpolate::Variables;
use super::{Service, read};
use keys::{KeyHandling, OURS};
use project::Project;
use value::{KeyPath, Values};
use yaml::{Map, Node};
pub use yaml::{YamlError, YamlProblem};

/// The error for a Compose file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    #[error(transparent)]
    Yaml(#[from] YamlError),
    #[error("{path}: {reason}")]
    Key {
        /// The path of the key from the top of the file.
        path: String,
        /// The problem and its fix.
        reason: String,
    },
    /// No service has the key `x-drainswap`; the value is the name of some service, for the example.
    #[error(
        "no service has the key {OURS}: add it under services.{}\n    {OURS}:\n      hosts: [10.0.0.1]\n      primary_port: 50000",
        .0.as_deref().unwrap_or("NAME")
    )]
    NoService(Option<String>),
}

/// Reads the services that have the key `x-drainswap`. `folder` is the absolute path of the file's directory.
///
/// # Errors
/// Reports the first mistake. The message never repeats a value of `environment` or of a variable.
pub fn services(
    text: &str,
    folder: &Path,
    mut variables: Variables,
) -> Result<BTreeMap<String, Service>, ComposeError> {
    let top = yaml::read(text)?;
    let top = mapping(&top, &KeyPath::new("the file".to_owned()))?;
    check_top(top)?;
    let all = match top.get("services") {
        Some(all) if !all.is_null() => mapping(all, &KeyPath::new("services".to_owned()))?,
        _ => return Err(ComposeError::NoService(None)),
    };
    let name = project::name(top, folder, &variables)?;
    if let Some(name) = &name {
        variables.set(project::NAME, name.clone());
    }
    let variables = Arc::new(variables);
    let project = Project { name, folder, top };
    let mut services = BTreeMap::new();
    for (name, node) in all {
        if node.map().is_some_and(|keys| keys.contains_key(OURS)) {
            let place = KeyPath::new("services".to_owned()).head(name);
            let values = Values::new(&variables);
            let mut service = service(mapping(node, &place)?, &place, &project, &values)
                .map_err(|error| values.hide(error))?;
            for file in &mut service.container.env_file.0 {
                file.path = project.path(&file.path);
                file.variables = Some(Arc::clone(&variables));
            }
            services.insert(name.clone(), service);
        }
    }
    if services.is_empty() {
        return Err(ComposeError::NoService(all.keys().next().cloned()));
    }
    Ok(services)
}

fn mapping<'n>(node: &'n Node, place: &KeyPath) -> Result<&'n Map, ComposeError> {
    node.map().ok_or_else(|| place.wrong("expected a mapping"))
}

fn check_top(top: &Map) -> Result<(), ComposeError> {
    const KNOWN: [&str; 8] =
        ["configs", "models", "name", "networks", "secrets", "services", "version", "volumes"];
    for key in top.keys() {
        let place = KeyPath::new(key.clone());
        if key == "include" {
            return Err(place.wrong("unsupported key: move the services into this file"));
        }
        if !KNOWN.contains(&key.as_str()) && !key.starts_with("x-") {
            return Err(place.wrong("unknown key: remove it"));
        }
    }
    Ok(())
}

fn service(
    written: &Map,
    place: &KeyPath,
    project: &Project<'_>,
    values: &Values<'_>,
) -> Result<Service, ComposeError> {
    let (own, container) = (read::keys::<Service>(), read::keys::<Container>());
    let mut table = Table::new();
    let mut ports = Vec::new();
    for (key, node) in written {
        let at = place.key(key);
        match keys::key_handling(key, own, container) {
            KeyHandling::Passed => {}
            _ if node.is_null() => {}
            KeyHandling::Refused(reason) => return Err(at.wrong(reason)),
            KeyHandling::Ports => match values.value(node, &at)? {
                Some(Value::Array(list)) => ports = list,
                _ => return Err(at.wrong("expected a list of ports")),
            },
            KeyHandling::Read | KeyHandling::Unknown => {
                table.extend(values.value(node, &at)?.map(|value| (key.clone(), value)));
            }
        }
    }
    engine_names::networks(&mut table, place, project, values)?;
    engine_names::volumes(&mut table, place, project, values)?;
    let ours = read_extension(&written[OURS], &place.key(OURS), container, values)?;
    let inside = ports::inside(&ports).map_err(|reason| place.key("ports").wrong(reason))?;
    if let Some(port) = inside {
        let port = Value::Integer(port.into());
        if ours.get("container_port").is_some_and(|given| *given != port) {
            let reason = "x-drainswap.container_port is a different port, and drainswap publishes one port: remove one";
            return Err(place.key("ports").wrong(reason));
        }
        table.insert("container_port".to_owned(), port);
    }
    let is_ours = |key: &str| key.is_empty() || ours.contains_key(first(key));
    let wrong = |mistake: read::ServiceError| {
        let place = if is_ours(&mistake.key) { place.key(OURS) } else { place.clone() };
        place.at_path(&mistake.key).wrong(mistake.reason)
    };
    table.extend(ours.clone());
    read::service(table).map_err(wrong)
}

/// Reads the keys in x-drainswap.
fn read_extension(
    node: &Node,
    place: &KeyPath,
    container: &[&str],
    values: &Values<'_>,
) -> Result<Table, ComposeError> {
    let mut table = Table::new();
    if node.is_null() {
        return Ok(table);
    }
    let map = node.map().ok_or_else(|| place.wrong("expected a mapping with hosts and primary_port"))?;
    for (key, node) in map {
        let at = place.key(key);
        if container.contains(&key.as_str()) && !keys::is_ours_too(key) {
            return Err(at.wrong(format!("this is a Compose key: move it next to {OURS}")));
        }
        table.extend(values.value(node, &at)?.map(|value| (key.clone(), value)));
    }
    Ok(table)
}

/// Returns the first key of a path such as `.hosts[0]`.
fn first(path: &str) -> &str {
    let path = path.trim_start_matches('.');
    path.split(['.', '[']).next().unwrap_or(path)
}
