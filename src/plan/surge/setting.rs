//! The setting that says whether surge servers join.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whether surge servers join a run (`--surge`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum SurgeSetting {
    /// One joins where floor or headroom would not hold otherwise.
    #[default]
    Auto,
    /// None ever joins.
    Never,
    /// So many join.
    Servers(NonZeroUsize),
}

impl SurgeSetting {
    /// Returns whether this is the default.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for SurgeSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Never => f.write_str("never"),
            Self::Servers(number) => number.fmt(f),
        }
    }
}

/// The error for a text that is not a [`SurgeSetting`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid number of surge servers `{0}`: expected auto, never, or a number from 1")]
pub struct NotASurgeSetting(pub String);

impl FromStr for SurgeSetting {
    type Err = NotASurgeSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "never" => Ok(Self::Never),
            number => number.parse().map(Self::Servers).map_err(|_| NotASurgeSetting(text.to_owned())),
        }
    }
}

impl From<SurgeSetting> for String {
    fn from(setting: SurgeSetting) -> Self {
        setting.to_string()
    }
}

impl TryFrom<String> for SurgeSetting {
    type Error = NotASurgeSetting;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl schemars::JsonSchema for SurgeSetting {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SurgeSetting".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(auto|never|[1-9][0-9]*)$",
            "examples": ["auto", "never", "1"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_prints_as_it_is_written() {
        for text in ["auto", "never", "1", "12"] {
            assert_eq!(text.parse::<SurgeSetting>().unwrap().to_string(), text);
        }
        for bad in ["", "0", "-1", "always", "1.5", "+ 1"] {
            assert_eq!(bad.parse::<SurgeSetting>(), Err(NotASurgeSetting(bad.to_owned())));
        }
    }
}
