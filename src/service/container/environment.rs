//! The environment of a container. Its values are secrets: they reach the engine and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::env_file;
use super::form::{MapOrList, OneOrMany};
use crate::service::interpolate::Variables;

/// A text that is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Secret {
    /// The text itself, for the engine.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(hidden)")
    }
}

/// `environment`: names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema, Serialize)]
#[serde(try_from = "MapOrList")]
#[serde(into = "BTreeMap<String, Secret>")]
#[schemars(with = "MapOrList")]
pub struct Environment(pub BTreeMap<String, Secret>);

impl From<Environment> for BTreeMap<String, Secret> {
    fn from(environment: Environment) -> Self {
        environment.0
    }
}

impl TryFrom<MapOrList> for Environment {
    type Error = String;

    fn try_from(written: MapOrList) -> Result<Self, String> {
        let pairs = written.pairs(&['=']).map_err(|reason| {
            format!("{reason}; a variable of this host is not passed on: write it out, or into an env_file")
        })?;
        if pairs.iter().any(|(_, value)| value.contains('\0')) {
            return Err("a variable's value holds a NUL byte, which none may: leave it out".to_owned());
        }
        if pairs.iter().any(|(name, _)| name.is_empty() || name.contains(['=', '\0'])) {
            return Err("a variable's name is empty, or holds `=`: write NAME = \"VALUE\"".to_owned());
        }
        Ok(Self(pairs.into_iter().map(|(name, value)| (name, Secret(value))).collect()))
    }
}

impl Environment {
    /// What a file of `env_file` says: `NAME=VALUE` lines, quotes, `#` comments. Where nobody gives variables, a `$`
    /// outside of single quotes is refused: it would mean one thing to Compose and another one here.
    ///
    /// # Errors
    /// The first entry that is not understood, by its number.
    pub fn of_file(text: &str, variables: Option<&Variables>) -> Result<Self, String> {
        env_file::read(text, variables).map(Self)
    }

    /// What holds when another one is put over this one.
    #[must_use]
    pub fn under(mut self, upper: &Self) -> Self {
        self.0.extend(upper.0.clone());
        self
    }
}

/// One file of `env_file`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvFile {
    /// Where it is, on the host that drainswap runs on.
    pub path: PathBuf,
    /// Whether its absence is an error.
    #[serde(default = "yes")]
    pub required: bool,
    /// What its `$NAME` mean; they mean nothing in drainswap.toml.
    #[serde(skip)]
    pub variables: Option<Arc<Variables>>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "write a path, or a table of path and required")]
enum Written {
    Path(PathBuf),
    Whole(EnvFile),
}

/// `env_file`: files of variables, a later one over an earlier one, and `environment` over all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(from = "Forms")]
pub struct EnvFiles(pub Vec<EnvFile>);

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "write a path, or a list of paths and of tables of path and required")]
enum Forms {
    Texts(OneOrMany),
    Many(Vec<Written>),
}

impl From<Forms> for EnvFiles {
    fn from(written: Forms) -> Self {
        let whole = |path| EnvFile { path, required: true, variables: None };
        Self(match written {
            Forms::Texts(OneOrMany::One(path)) => vec![whole(path.into())],
            Forms::Texts(OneOrMany::Many(paths)) => paths.into_iter().map(|it| whole(it.into())).collect(),
            Forms::Many(many) => many
                .into_iter()
                .map(|it| match it {
                    Written::Path(path) => whole(path),
                    Written::Whole(file) => file,
                })
                .collect(),
        })
    }
}
