//! The engine's health check of a container.

use std::time::Duration;

use serde::Deserialize;

use super::form::OneOrMany;
use super::quantity::Span;
use crate::model::healthcheck;
use crate::model::millis::YEAR;

/// The `healthcheck` key. The image determines everything that is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Healthcheck {
    /// The command that checks the container.
    pub test: Option<Test>,
    /// The time between the end of a check and the start of the next one.
    pub interval: Option<Span>,
    /// The maximum duration of a check.
    pub timeout: Option<Span>,
    /// The number of consecutive failures after which the container is unhealthy.
    pub retries: Option<u32>,
    /// The time after the start in which failures do not count.
    pub start_period: Option<Span>,
    /// The time between checks during the start period.
    pub start_interval: Option<Span>,
    /// Whether to disable the image's health check.
    pub disable: bool,
}

impl Healthcheck {
    /// Returns the properties that a plan needs, or `None` if the check is off or only the image knows its interval.
    pub(super) fn observed(&self) -> Option<healthcheck::Healthcheck> {
        let length = |span: Option<Span>| {
            let nanoseconds = span.and_then(|it| u64::try_from(it.nanoseconds()).ok());
            nanoseconds.filter(|it| *it > 0).map(Duration::from_nanos)
        };
        let is_off = |test: &Test| test.0.first().is_some_and(|word| word == "NONE");
        if self.disable || self.test.as_ref().is_some_and(is_off) {
            return None;
        }
        let interval = length(self.interval)?;
        // Engines before Docker 25 have no start interval, but the engine's version is not known here.
        let within_start = length(self.start_period)
            .map(|_| length(self.start_interval).unwrap_or(healthcheck::START_INTERVAL).min(interval));
        let first_check = within_start.unwrap_or(interval).min(YEAR);
        Some(healthcheck::Healthcheck { first_check, is_given: self.test.is_some() })
    }
}

/// The command of a health check in the engine's form: `NONE`, `CMD …` or `CMD-SHELL …`.
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
            (_, _) => Err("expected a shell command, [\"CMD\", \"word\", …], [\"CMD-SHELL\", \"command\"] \
                     or [\"NONE\"]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the time of the first check in seconds, and whether the description sets the test.
    fn observed(text: &str) -> Option<(u64, bool)> {
        let found = toml::from_str::<Healthcheck>(text).unwrap().observed()?;
        Some((found.first_check.as_secs(), found.is_given))
    }

    #[test]
    fn the_first_check_follows_from_the_description() {
        assert_eq!(observed("test = \"ok\"\ninterval = \"90s\""), Some((90, true)));
        assert_eq!(observed("interval = \"90s\""), Some((90, false)), "the test is the image's");
        assert_eq!(observed("test = \"ok\""), None, "the times are the image's");
        let start = "test = \"ok\"\ninterval = \"90s\"\nstart_period = \"20s\"";
        assert_eq!(observed(start), Some((5, true)));
        assert_eq!(observed(&format!("{start}\nstart_interval = \"2s\"")), Some((2, true)));
        for off in ["disable = true\ninterval = \"90s\"", "test = \"NONE\"\ninterval = \"90s\""] {
            assert_eq!(observed(off), None, "{off}");
        }
    }
}
