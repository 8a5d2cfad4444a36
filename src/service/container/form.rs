//! The alternative forms of a Compose value: a string or a list, a table or a list of pairs.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A string, or a number or a boolean that Compose accepts as a string.
#[derive(Clone, Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "expected a string, a number, true or false")]
pub(super) enum Scalar {
    Text(String),
    Integer(i64),
    Float(f64),
    Truth(bool),
}

impl Scalar {
    pub(super) fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
        }
    }
}

/// A string, which may be written as a number or a boolean.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(from = "Scalar")]
pub struct Text(pub String);

impl From<Scalar> for Text {
    fn from(written: Scalar) -> Self {
        Self(written.text())
    }
}

/// A string or a list of strings.
#[derive(Clone, Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A list of strings; a single entry needs no brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(from = "OneOrMany")]
pub struct Texts(pub Vec<String>);

impl From<OneOrMany> for Texts {
    fn from(written: OneOrMany) -> Self {
        match written {
            OneOrMany::One(one) => Self(vec![one]),
            OneOrMany::Many(many) => Self(many),
        }
    }
}

/// The words of a command; a string is split by the shell's rules, without a shell.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "OneOrMany")]
pub struct Words(pub Vec<String>);

impl TryFrom<OneOrMany> for Words {
    type Error = &'static str;

    fn try_from(written: OneOrMany) -> Result<Self, Self::Error> {
        match written {
            OneOrMany::One(text) => {
                let words = shlex::split(&text).map(Self);
                words.ok_or("unclosed quote or trailing backslash: close it, or use a list of words")
            }
            OneOrMany::Many(words) => Ok(Self(words)),
        }
    }
}

/// Names and values. Errors do not repeat the text, because it may be a secret.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "expected a table of names and values, or a list of \"NAME=VALUE\"")]
pub(super) enum MapOrList {
    Map(BTreeMap<String, Scalar>),
    List(Vec<String>),
}

impl MapOrList {
    /// Returns the pairs; splits the entries of a list at the first of the separators.
    pub(super) fn pairs(self, separators: &[char]) -> Result<Vec<(String, String)>, String> {
        match self {
            Self::Map(map) => Ok(map.into_iter().map(|(name, value)| (name, value.text())).collect()),
            Self::List(list) => (1..)
                .zip(list)
                .map(|(number, entry)| match entry.split_once(separators) {
                    Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
                    _ => Err(format!("invalid entry {number}: expected \"NAME=VALUE\"")),
                })
                .collect(),
        }
    }
}

/// Names with their values: `labels`, `sysctls`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "MapOrList")]
pub struct Pairs(pub BTreeMap<String, String>);

impl TryFrom<MapOrList> for Pairs {
    type Error = String;

    fn try_from(written: MapOrList) -> Result<Self, String> {
        // A label may have no value.
        let written = match written {
            MapOrList::List(list) => MapOrList::List(
                list.into_iter().map(|it| if it.contains('=') { it } else { it + "=" }).collect(),
            ),
            MapOrList::Map(map) => MapOrList::Map(map),
        };
        Ok(Self(written.pairs(&['='])?.into_iter().collect()))
    }
}
