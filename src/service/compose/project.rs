//! The project of a Compose file. What it calls its networks and volumes is not what the engine calls them.

use std::path::{Component, Path, PathBuf};

use toml::Value;

use super::ComposeError;
use super::value::{Place, Values};
use super::yaml::{Map, Node};
use crate::service::interpolate::Variables;

/// The variable that gives the project its name, over all else.
pub(super) const NAME: &str = "COMPOSE_PROJECT_NAME";

/// What the names of a file mean.
pub(super) struct Project<'f> {
    /// Its name; none where the folder's has no letter that may stand in one.
    pub name: Option<String>,
    pub folder: &'f Path,
    pub top: &'f Map,
}

/// Something that has two names.
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

/// The project's name, as Compose finds it: the variable's, the file's, the folder's.
pub(super) fn name(top: &Map, folder: &Path, variables: &Variables) -> Result<Option<String>, ComposeError> {
    let place = Place::new("name".to_owned());
    let given = match (variables.get(NAME).filter(|it| !it.is_empty()), top.get("name")) {
        (Some(name), _) => Some((Place::new(NAME.to_owned()), name.to_owned())),
        (None, Some(Node::Scalar(scalar))) => {
            Some((place.clone(), Values::new(variables).text(scalar, &place)?))
        }
        (None, Some(_)) => return Err(place.wrong("write a text")),
        (None, None) => None,
    };
    if let Some((place, name)) = given.filter(|(_, name)| !name.is_empty()) {
        // Compose does not mend what was written, only what it finds.
        if normal(&name) != name {
            return Err(
                place.wrong("it holds more than small letters, digits, - and _, or begins with - or _")
            );
        }
        return Ok(Some(name));
    }
    let found = normal(&folder.file_name().unwrap_or_default().to_string_lossy());
    Ok(Some(found).filter(|name| !name.is_empty()))
}

/// The name without what may not stand in one.
fn normal(name: &str) -> String {
    let lower = name.to_lowercase();
    let kept =
        lower.chars().filter(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || "_-".contains(*it));
    kept.collect::<String>().trim_start_matches(['_', '-']).to_owned()
}

impl Project<'_> {
    /// What the engine calls a network or a volume. `at` is where the file names it.
    pub(super) fn engine_name(
        &self,
        kind: Kind,
        name: &str,
        at: &Place,
        values: &Values<'_>,
    ) -> Result<String, ComposeError> {
        let scoped = || match &self.name {
            Some(project) => Ok(format!("{project}_{name}")),
            None => {
                Err(at.wrong("the project has no name, and its networks and volumes neither: write `name:`"))
            }
        };
        let all = self.top.get(kind.key()).and_then(Node::map);
        let Some(meaning) = all.and_then(|all| all.get(name)) else {
            if (kind, name) == (Kind::Networks, "default") {
                return scoped();
            }
            return Err(at.wrong(format!(
                "`{}` does not stand under the file's own {}: write it there",
                name.escape_debug(),
                kind.key()
            )));
        };
        if meaning.is_null() {
            return scoped();
        }
        let place = Place::new(kind.key().to_owned()).head(name);
        let Some(meaning) = meaning.map() else { return Err(place.wrong("write a mapping, or nothing")) };
        let value = |map: &Map, place: &Place, key: &str| match map.get(key) {
            Some(node) => values.value(node, &place.key(key)),
            None => Ok(None),
        };
        let text = |value: Option<Value>, place: &Place| match value {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(place.key("name").wrong("write a text")),
        };
        let own = text(value(meaning, &place, "name")?, &place)?;
        let external = match meaning.get("external") {
            // The older form.
            Some(Node::Map(older)) => {
                let place = place.key("external");
                let older = text(value(older, &place, "name")?, &place)?;
                return Ok(older.or(own).unwrap_or_else(|| name.to_owned()));
            }
            Some(node) => match values.value(node, &place.key("external"))? {
                Some(Value::Boolean(external)) => external,
                _ => return Err(place.key("external").wrong("write true or false")),
            },
            None => false,
        };
        if external {
            return Ok(own.unwrap_or_else(|| name.to_owned()));
        }
        let has_settings =
            ["driver", "driver_opts"].iter().find(|key| meaning.get(**key).is_some_and(|it| !it.is_null()));
        if let (Kind::Volumes, Some(key)) = (kind, has_settings) {
            // The engine makes a volume that is missing, and a plain one.
            return Err(place.key(key).wrong(
                "drainswap creates no volume of a kind: create it, and write `external: true` in the place of this",
            ));
        }
        own.map_or_else(scoped, Ok)
    }

    /// The path from the file's folder on; the engine wants whole ones.
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
