//! Durations as an operator writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::model::millis::YEAR;

/// A duration: `90s`, `5m`, `1m 30s`; a bare number means seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = r"^\s*[+]?[Pp0-9]"))]
#[schemars(rename = "Span")]
pub struct DurationArg(pub Duration);

impl DurationArg {
    fn bounded(length: Duration) -> Result<Self, String> {
        if length > YEAR {
            Err("invalid duration: expected at most one year".to_owned())
        } else {
            Ok(Self(length))
        }
    }
}

impl FromStr for DurationArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(seconds) = text.parse() {
            return Self::bounded(Duration::from_secs(seconds));
        }
        let parsed: Result<SignedDuration, _> = text.parse();
        let length = parsed.ok().and_then(|length| Duration::try_from(length).ok());
        let length =
            length.ok_or_else(|| format!("invalid duration `{text}`: expected 90s, 5m or 1m 30s"))?;
        Self::bounded(length)
    }
}

impl fmt::Display for DurationArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A duration is at most one year long.
        write!(f, "{:#}", SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX))
    }
}

impl From<DurationArg> for String {
    fn from(duration: DurationArg) -> Self {
        duration.to_string()
    }
}

impl TryFrom<String> for DurationArg {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
