//! The forms in which Compose lets a person write one thing: a text or a list, a table or a list of pairs.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What stands for a text: YAML's readers take numbers and truths for it too.
#[derive(Clone, Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "write a text, a number, true or false")]
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

/// A text, which may be written as a number or a truth.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(from = "Scalar")]
pub struct Text(pub String);

impl From<Scalar> for Text {
    fn from(written: Scalar) -> Self {
        Self(written.text())
    }
}

/// One text, or several.
#[derive(Clone, Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "write a text, or a list of texts")]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A list whose only entry may stand without brackets.
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

/// The words of a command: a text is split by the shell's rules, without a shell.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "OneOrMany")]
pub struct Words(pub Vec<String>);

impl TryFrom<OneOrMany> for Words {
    type Error = &'static str;

    fn try_from(written: OneOrMany) -> Result<Self, Self::Error> {
        match written {
            OneOrMany::One(text) => {
                let words = shlex::split(&text).map(Self);
                words.ok_or("a quote is not closed, or a backslash ends it; write a list of words")
            }
            OneOrMany::Many(words) => Ok(Self(words)),
        }
    }
}

/// Names and values. What is written is not repeated in an error: it may be a secret.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "write a table of names and values, or a list of \"NAME=VALUE\"")]
pub(super) enum MapOrList {
    Map(BTreeMap<String, Scalar>),
    List(Vec<String>),
}

impl MapOrList {
    /// The pairs; those of a list are split at the first of the separators.
    pub(super) fn pairs(self, separators: &[char]) -> Result<Vec<(String, String)>, String> {
        match self {
            Self::Map(map) => Ok(map.into_iter().map(|(name, value)| (name, value.text())).collect()),
            Self::List(list) => (1..)
                .zip(list)
                .map(|(number, entry)| match entry.split_once(separators) {
                    Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
                    _ => Err(format!("entry {number} has no name and value: write \"NAME=VALUE\"")),
                })
                .collect(),
        }
    }
}

/// Names with a value each: `labels`, `sysctls`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "MapOrList")]
pub struct Pairs(pub BTreeMap<String, String>);

impl TryFrom<MapOrList> for Pairs {
    type Error = String;

    fn try_from(written: MapOrList) -> Result<Self, String> {
        // A label may stand alone, as a mark.
        let written = match written {
            MapOrList::List(list) => MapOrList::List(
                list.into_iter().map(|it| if it.contains('=') { it } else { it + "=" }).collect(),
            ),
            MapOrList::Map(map) => MapOrList::Map(map),
        };
        Ok(Self(written.pairs(&['='])?.into_iter().collect()))
    }
}
