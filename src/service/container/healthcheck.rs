//! The engine's own check of a container.

use serde::Deserialize;

use super::form::OneOrMany;
use super::quantity::Span;

/// `healthcheck`; what it leaves open is the image's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Healthcheck {
    /// What is run.
    pub test: Option<Test>,
    /// How long after the last run the next one begins.
    pub interval: Option<Span>,
    /// How long a run may take.
    pub timeout: Option<Span>,
    /// How many failures in a row mean unhealthy.
    pub retries: Option<u32>,
    /// How long after the start failures do not count.
    pub start_period: Option<Span>,
    /// How often it is run in that time.
    pub start_interval: Option<Span>,
    /// Whether the image's own check is switched off.
    pub disable: bool,
}

/// The test in the engine's words: `NONE`, `CMD …` or `CMD-SHELL …`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "OneOrMany")]
pub struct Test(pub Vec<String>);

impl TryFrom<OneOrMany> for Test {
    type Error = &'static str;

    fn try_from(written: OneOrMany) -> Result<Self, Self::Error> {
        let words = match written {
            OneOrMany::One(text) if text == "NONE" => vec![text],
            OneOrMany::One(text) => vec!["CMD-SHELL".to_owned(), text],
            OneOrMany::Many(words) => words,
        };
        match (words.first().map(String::as_str), words.len()) {
            (Some("NONE"), 1) | (Some("CMD-SHELL"), 2) | (Some("CMD"), 2..) => Ok(Self(words)),
            (_, _) => {
                Err("write a command of the shell, [\"CMD\", \"word\", …], [\"CMD-SHELL\", \"command\"] \
                     or [\"NONE\"]")
            }
        }
    }
}
