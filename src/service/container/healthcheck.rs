//! The engine's own check of a container.

use std::time::Duration;

use serde::Deserialize;

use super::form::OneOrMany;
use super::quantity::Span;
use crate::millis::YEAR;
use crate::observation;

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

impl Healthcheck {
    /// What a plan must know of it; `None` where there is no check, or only the image tells when it is asked.
    pub(super) fn observed(&self) -> Option<observation::Healthcheck> {
        let length = |span: Option<Span>| {
            let nanoseconds = span.and_then(|it| u64::try_from(it.nanoseconds()).ok());
            nanoseconds.filter(|it| *it > 0).map(Duration::from_nanos)
        };
        let is_off = |test: &Test| test.0.first().is_some_and(|word| word == "NONE");
        if self.disable || self.test.as_ref().is_some_and(is_off) {
            return None;
        }
        let interval = length(self.interval)?;
        // An engine before Docker 25 does not ask sooner, but which one it will be is not known here.
        let within_start = length(self.start_period)
            .map(|_| length(self.start_interval).unwrap_or(observation::START_INTERVAL).min(interval));
        let first_check = within_start.unwrap_or(interval).min(YEAR);
        Some(observation::Healthcheck { first_check, is_given: self.test.is_some() })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// When a described container is asked first, in seconds, and whether its image has no say in it.
    fn observed(text: &str) -> Option<(u64, bool)> {
        let found = toml::from_str::<Healthcheck>(text).unwrap().observed()?;
        Some((found.first_check.as_secs(), found.is_given))
    }

    #[test]
    fn a_description_tells_when_its_container_is_asked_first() {
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
