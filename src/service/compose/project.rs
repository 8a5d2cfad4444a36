//! The project of a Compose file, which maps the file's names of networks and volumes to their names on the engine.

use std::path::{Component, Path, PathBuf};

use toml::Value;

use super::ComposeError;
use super::value::{KeyPath, Values};
use super::yaml::{Map, Node};
use crate::service::interpolate::Variables;

/// The variable that overrides the project's name.
pub(super) const NAME: &str = "COMPOSE_PROJECT_NAME";

/// The project of a Compose file.
pub(super) struct Project<'f> {
    /// The project's name; absent if the folder's name has no legal character.
    pub name: Option<String>,
    pub folder: &'f Path,
    pub top: &'f Map,
}

/// A kind of object that has different names in the file and on the engine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Networks,
    Volumes,
}

impl Kind {
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Networks => "networks",
            Self::Volumes => "volumes",
        }
    }
}

/// Returns the project's name by Compose's rules: from the variable, the file or the folder.
pub(super) fn name(top: &Map, folder: &Path, variables: &Variables) -> Result<Option<String>, ComposeError> {
    let place = KeyPath::new("name".to_owned());
    let given = match (variables.get(NAME).filter(|it| !it.is_empty()), top.get("name")) {
        (Some(name), _) => Some((KeyPath::new(NAME.to_owned()), name.to_owned())),
        (None, Some(Node::Scalar(scalar))) => {
            Some((place.clone(), Values::new(variables).text(scalar, &place)?))
        }
        (None, Some(_)) => return Err(place.wrong("expected a string")),
        (None, None) => None,
    };
    if let Some((place, name)) = given.filter(|(_, name)| !name.is_empty()) {
        // Compose normalizes the folder's name, but not a name that was given.
        if normal(&name) != name {
            return Err(place.wrong(
                "invalid project name: expected lower-case letters, digits, - and _ after a letter or digit",
            ));
        }
        return Ok(Some(name));
    }
    let found = normal(&folder.file_name().unwrap_or_default().to_string_lossy());
    Ok(Some(found).filter(|name| !name.is_empty()))
}

/// Normalizes a name: lower-case, without illegal characters.
fn normal(name: &str) -> String {
    let lower = name.to_lowercase();
    let kept =
        lower.chars().filter(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || "_-".contains(*it));
    kept.collect::<String>().trim_start_matches(['_', '-']).to_owned()
}

/// Returns the `name` in a mapping.
fn own_name(map: &Map, place: &KeyPath, values: &Values<'_>) -> Result<Option<String>, ComposeError> {
    let Some(node) = map.get("name") else { return Ok(None) };
    let place = place.key("name");
    match values.value(node, &place)? {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(place.wrong("expected a string")),
    }
}

impl Project<'_> {
    /// Returns the name of a network or a volume on the engine. `at` is its place in the file.
    pub(super) fn engine_name(
        &self,
        kind: Kind,
        name: &str,
        at: &KeyPath,
        values: &Values<'_>,
    ) -> Result<String, ComposeError> {
        let scoped = || match &self.name {
            Some(project) => Ok(format!("{project}_{name}")),
            None => Err(at.wrong("its name on the engine needs a project name: add `name:` to the file")),
        };
        let all = self.top.get(kind.key()).and_then(Node::map);
        let Some(meaning) = all.and_then(|all| all.get(name)) else {
            if (kind, name) == (Kind::Networks, "default") {
                return scoped();
            }
            return Err(at.wrong(format!(
                "`{}` is missing in the file's top-level {}: add it there",
                name.escape_debug(),
                kind.key()
            )));
        };
        if meaning.is_null() {
            return scoped();
        }
        let place = KeyPath::new(kind.key().to_owned()).head(name);
        let Some(meaning) = meaning.map() else { return Err(place.wrong("expected a mapping or nothing")) };
        let own = own_name(meaning, &place, values)?;
        let external = match meaning.get("external") {
            // The old form `external: { name: … }`.
            Some(Node::Map(older)) => {
                let place = place.key("external");
                let older = own_name(older, &place, values)?;
                return Ok(older.or(own).unwrap_or_else(|| name.to_owned()));
            }
            Some(node) => match values.value(node, &place.key("external"))? {
                Some(Value::Boolean(external)) => external,
                _ => return Err(place.key("external").wrong("expected true or false")),
            },
            None => false,
        };
        if external {
            return Ok(own.unwrap_or_else(|| name.to_owned()));
        }
        let has_settings =
            ["driver", "driver_opts"].iter().find(|key| meaning.get(**key).is_some_and(|it| !it.is_null()));
        if let (Kind::Volumes, Some(key)) = (kind, has_settings) {
            // The engine creates a missing volume with its default driver.
            return Err(place.key(key).wrong(
                "drainswap does not create volumes with a driver: create it, and use `external: true` instead",
            ));
        }
        own.map_or_else(scoped, Ok)
    }

    /// Resolves a path relative to the file's folder, because the engine needs absolute paths.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        let mut whole = PathBuf::new();
        for part in self.folder.join(path).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => {
                    whole.pop();
                }
                Component::Prefix(_) | Component::RootDir | Component::Normal(_) => whole.push(part),
            }
        }
        whole
    }
}
