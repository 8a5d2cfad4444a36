//! The environment of a container. Its values are secrets, which drainswap sends only to the engine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Value;

use super::env_file;
use super::form::{MapOrList, OneOrMany};
use crate::service::by_type::by_type;
use crate::service::interpolate::Variables;

/// A text that drainswap never shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Secret {
    /// Returns the text for the engine.
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

/// The `environment` key: names and values of variables.
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
            format!(
                "{reason}; drainswap does not pass on variables of this host: write the value here or in \
                 an env_file"
            )
        })?;
        if pairs.iter().any(|(_, value)| value.contains('\0')) {
            return Err("the value of a variable contains a NUL byte: remove it".to_owned());
        }
        if pairs.iter().any(|(name, _)| name.is_empty() || name.contains(['=', '\0'])) {
            return Err(
                "invalid variable name: expected a non-empty name without `=`, as in NAME = \"VALUE\""
                    .to_owned(),
            );
        }
        Ok(Self(pairs.into_iter().map(|(name, value)| (name, Secret(value))).collect()))
    }
}

impl Environment {
    /// Parses an `env_file` file: `NAME=VALUE` lines, quotes and `#` comments. Without `variables`, a `$` outside of
    /// single quotes is refused, because Compose would substitute a variable for it.
    ///
    /// # Errors
    /// Reports the first invalid entry by its number.
    pub fn of_file(text: &str, variables: Option<&Variables>) -> Result<Self, String> {
        env_file::read(text, variables).map(Self)
    }

    /// Returns this environment, overridden by another one.
    #[must_use]
    pub fn under(mut self, upper: &Self) -> Self {
        self.0.extend(upper.0.clone());
        self
    }
}

/// An entry of `env_file`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvFile {
    /// The file's path on the host on which drainswap runs.
    pub path: PathBuf,
    /// Whether a missing file is an error.
    #[serde(default = "yes")]
    pub required: bool,
    /// The variables to substitute; drainswap.toml has none.
    #[serde(skip)]
    pub variables: Option<Arc<Variables>>,
}

fn yes() -> bool {
    true
}

#[derive(schemars::JsonSchema)]
#[schemars(untagged, rename = "Written")]
enum EnvFileForm {
    Path(PathBuf),
    Whole(EnvFile),
}

impl EnvFileForm {
    fn of(value: Value) -> Option<Self> {
        if let Value::String(path) = value {
            return Some(Self::Path(path.into()));
        }
        value.try_into().ok().map(Self::Whole)
    }
}

/// The `env_file` key: files with variables. Later files override earlier ones, and `environment` overrides all files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(from = "Forms")]
pub struct EnvFiles(pub Vec<EnvFile>);

#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
enum Forms {
    Texts(OneOrMany),
    Many(Vec<EnvFileForm>),
}

impl Forms {
    fn of(value: Value) -> Option<Self> {
        if let Some(texts) = OneOrMany::of(value.clone()) {
            return Some(Self::Texts(texts));
        }
        let Value::Array(files) = value else { return None };
        files.into_iter().map(EnvFileForm::of).collect::<Option<_>>().map(Self::Many)
    }
}

impl<'de> Deserialize<'de> for Forms {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        by_type(from, "a path, or a list of paths and of tables with path and required", Self::of)
    }
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
                    EnvFileForm::Path(path) => whole(path),
                    EnvFileForm::Whole(file) => file,
                })
                .collect(),
        })
    }
}
