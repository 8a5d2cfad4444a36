//! The alternative forms of a Compose value: a string or a list, a table or a list of pairs.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use toml::Value;

use crate::service::by_type::by_type;

/// A string, or a number or a boolean that Compose accepts as a string.
#[derive(Clone, schemars::JsonSchema)]
#[schemars(untagged)]
pub(super) enum Scalar {
    Text(String),
    Integer(i64),
    Float(f64),
    Truth(bool),
}

impl Scalar {
    fn of(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text)),
            Value::Integer(number) => Some(Self::Integer(number)),
            Value::Float(number) => Some(Self::Float(number)),
            Value::Boolean(truth) => Some(Self::Truth(truth)),
            Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
        }
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        by_type(from, "a string, a number, true or false", Self::of)
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
#[derive(Clone, schemars::JsonSchema)]
#[schemars(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn of(value: Value) -> Option<Self> {
        if let Value::String(one) = value {
            return Some(Self::One(one));
        }
        value.try_into().ok().map(Self::Many)
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        by_type(from, "a string or a list of strings", Self::of)
    }
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
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
pub(super) enum MapOrList {
    Map(BTreeMap<String, Scalar>),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for MapOrList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        by_type(from, "a table of names and values, or a list of \"NAME=VALUE\"", Self::of)
    }
}

impl MapOrList {
    fn of(value: Value) -> Option<Self> {
        if value.is_table() {
            value.try_into().ok().map(Self::Map)
        } else {
            value.try_into().ok().map(Self::List)
        }
    }

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
