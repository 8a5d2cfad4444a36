//! Translation of a Compose service's networks and volumes to names and paths on the engine.

use std::path::Path;

use toml::{Table, Value};

use super::ComposeError;
use super::project::{Kind, Project};
use super::value::{KeyPath, Values};

/// Replaces the networks' names by those on the engine. Without networks, adds Compose's default network.
pub(super) fn networks(
    table: &mut Table,
    service: &KeyPath,
    project: &Project<'_>,
    values: &Values<'_>,
) -> Result<(), ComposeError> {
    let at = service.key("networks");
    let name = |name: &str| project.engine_name(Kind::Networks, name, &at, values);
    let networks = match table.remove("networks") {
        None if table.contains_key("network_mode") => return Ok(()),
        None => Value::Array(vec![Value::String(name("default")?)]),
        Some(Value::Array(list)) => {
            let named = list.into_iter().map(|entry| match entry.as_str() {
                Some(text) => name(text).map(Value::String),
                None => Ok(entry),
            });
            Value::Array(named.collect::<Result<_, _>>()?)
        }
        Some(Value::Table(networks)) => {
            let named = networks.into_iter().map(|(key, endpoint)| name(&key).map(|name| (name, endpoint)));
            Value::Table(named.collect::<Result<_, _>>()?)
        }
        Some(other) => other,
    };
    table.insert("networks".to_owned(), networks);
    Ok(())
}

/// Replaces the volumes' names by those on the engine, and relative paths by absolute ones.
pub(super) fn volumes(
    table: &mut Table,
    service: &KeyPath,
    project: &Project<'_>,
    values: &Values<'_>,
) -> Result<(), ComposeError> {
    let Some(Value::Array(volumes)) = table.get_mut("volumes") else { return Ok(()) };
    for (index, volume) in volumes.iter_mut().enumerate() {
        let at = service.key("volumes").entry(index);
        let name = |name: &str| project.engine_name(Kind::Volumes, name, &at, values);
        match volume {
            Value::String(text) => {
                let Some((source, rest)) = text.split_once(':') else { continue };
                let source = match source.chars().next() {
                    Some('.') => path(project, source, &at)?,
                    // The reader of volumes refuses invalid ones with its own message.
                    None | Some('/' | '~') => continue,
                    Some(_) => name(source)?,
                };
                *text = format!("{source}:{rest}");
            }
            Value::Table(long) => {
                let is_bind = long.get("type").and_then(Value::as_str) == Some("bind");
                let Some(Value::String(source)) = long.get_mut("source") else { continue };
                if !is_bind {
                    *source = name(source)?;
                } else if !source.is_empty() && !source.starts_with('~') {
                    *source = path(project, source, &at)?;
                }
            }
            Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => {}
        }
    }
    Ok(())
}

fn path(project: &Project<'_>, path: &str, at: &KeyPath) -> Result<String, ComposeError> {
    let whole = project.path(Path::new(path));
    let text = whole.to_str().filter(|text| !text.contains(':'));
    text.map(str::to_owned).ok_or_else(|| {
        at.wrong("the path of the file's folder contains a `:` or is not UTF-8: use an absolute path")
    })
}
