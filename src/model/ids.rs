//! The names and identifiers that all modules share.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A server line, identified by the name of its backend (or listen section) and the name of the server.
///
/// Prints and parses as `mobile/app1`, the form that `HAProxy`'s runtime API uses. Both parts are case-sensitive and
/// consist of `[A-Za-z0-9_.:-]`.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(into = "String", try_from = "String")]
#[schemars(extend("pattern" = "^[A-Za-z0-9_.:-]+/[A-Za-z0-9_.:-]+$"))]
pub struct ServerId {
    /// The name of the backend or listen section that contains the server.
    pub backend: String,
    /// The server's name in that backend.
    pub server: String,
}

impl ServerId {
    /// Creates the identifier of a server.
    pub fn new(backend: impl Into<String>, server: impl Into<String>) -> Self {
        Self { backend: backend.into(), server: server.into() }
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.server)
    }
}

/// The error for a text that is not a [`ServerId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid server name `{0}`: expected BACKEND/SERVER, such as mobile/app1")]
pub struct NotAServerId(pub String);

impl FromStr for ServerId {
    type Err = NotAServerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |part: &str| {
            let letter = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
            !part.is_empty() && part.chars().all(letter)
        };
        match text.split_once('/') {
            Some((backend, server)) if legal(backend) && legal(server) => Ok(Self::new(backend, server)),
            _ => Err(NotAServerId(text.to_owned())),
        }
    }
}

/// A lane of a plan, identified by its number. The first lane is 1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct LaneId(NonZeroUsize);

impl LaneId {
    /// Returns the identifier of the lane at this index in the plan.
    #[must_use]
    pub fn at(index: usize) -> Self {
        Self(NonZeroUsize::MIN.saturating_add(index))
    }

    /// Returns the lane's index in the plan.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.get() - 1
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A server name as an operator types it: in one backend, or in every backend that has a server with this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    /// The backend; without it, the name refers to servers in every backend.
    pub backend: Option<String>,
    pub server: String,
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.backend.iter().try_for_each(|backend| write!(f, "{backend}/"))?;
        f.write_str(&self.server)
    }
}

impl FromStr for ServerName {
    type Err = NotAServerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let whole = if text.contains('/') { text.to_owned() } else { format!("any/{text}") };
        let id: ServerId = whole.parse().map_err(|_| NotAServerId(text.to_owned()))?;
        let backend = text.contains('/').then_some(id.backend);
        Ok(Self { backend, server: id.server })
    }
}

impl TryFrom<String> for ServerId {
    type Error = NotAServerId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ServerId> for String {
    fn from(id: ServerId) -> Self {
        id.to_string()
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

identifier! {
    /// An engine's identifier of a container: 64 hexadecimal digits. It does not change when the container is renamed.
    ContainerId
}
identifier! {
    /// An engine's identifier of an image: `sha256:` and 64 hexadecimal digits.
    ImageId
}
identifier! {
    /// The identifier of a run: its start time in UTC, as `20261123T221500.000000Z`. Container names include it. Two
    /// runs with different state directories do not know of each other and may start in the same millisecond, so the
    /// identifier has microseconds.
    RunId
}

impl RunId {
    const FORM: &str = "%Y%m%dT%H%M%S.%6fZ";
    /// Reads any precision: versions up to 0.1 wrote milliseconds.
    const READ: &str = "%Y%m%dT%H%M%S.%fZ";

    /// Returns the identifier of a run that starts at the given moment.
    #[must_use]
    pub fn opened_at(moment: Timestamp) -> Self {
        Self(moment.strftime(Self::FORM).to_string())
    }

    /// Returns the identifier that a text is, if it is one.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        DateTime::strptime(Self::READ, text).is_ok().then(|| Self(text.to_owned()))
    }

    /// Returns this identifier if it sorts after another run's, or else the other run's moment plus one millisecond.
    ///
    /// The clock may have been set back, but runs are ordered by their names, and a killed run must stay the last one
    /// until it is finished. A whole millisecond is added because versions up to 0.1 wrote names with fewer digits,
    /// which sort after all microseconds of the same millisecond.
    #[must_use]
    pub fn after(self, other: &Self) -> Self {
        let next = || {
            let moment = DateTime::strptime(Self::READ, &other.0).ok()?.to_zoned(TimeZone::UTC).ok()?;
            Some(Self::opened_at(moment.timestamp().checked_add(SignedDuration::from_millis(1)).ok()?))
        };
        if self > *other { self } else { next().unwrap_or(self) }
    }
}

impl ContainerId {
    /// Returns the first twelve digits, as shown by `docker ps`.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_id_prints_as_it_parses() {
        let id: ServerId = "mobile/app1".parse().unwrap();
        assert_eq!(id, ServerId::new("mobile", "app1"));
        assert_eq!(id.to_string(), "mobile/app1");
    }

    #[test]
    fn a_server_may_be_named_without_its_backend() {
        for (text, backend, server) in [("mobile/app1", Some("mobile"), "app1"), ("app1", None, "app1")] {
            let name: ServerName = text.parse().unwrap();
            assert_eq!((name.backend.as_deref(), name.server.as_str()), (backend, server));
            assert_eq!(name.to_string(), text);
        }
        for bad in ["", "/app1", "mobile/", "app 1", "a/b/c"] {
            assert_eq!(bad.parse::<ServerName>(), Err(NotAServerId(bad.to_owned())));
        }
    }

    #[test]
    fn a_run_sorts_after_known_runs_even_if_the_clock_was_set_back() {
        let run = |name: &str| RunId(name.to_owned());
        let now = RunId::opened_at("2026-11-23T22:15:00.000123Z".parse().unwrap());
        assert_eq!(now, run("20261123T221500.000123Z"));
        for (other, expected) in [
            ("20261123T221459.999999Z", "20261123T221500.000123Z"),
            ("20261123T221500.000123Z", "20261123T221500.001123Z"),
            ("20261231T235959.999000Z", "20270101T000000.000000Z"),
            // Names from version 0.1, in milliseconds.
            ("20261123T221459.999Z", "20261123T221500.000123Z"),
            ("20261123T221500.000Z", "20261123T221500.001000Z"),
            // Names that are not times.
            ("renamed", "20261123T221500.000123Z"),
            ("99991231T235959.999999Z", "20261123T221500.000123Z"),
        ] {
            assert_eq!(now.clone().after(&run(other)), run(expected), "after {other}");
        }
    }

    #[test]
    fn names_that_haproxy_would_refuse_are_refused() {
        for bad in
            ["", "mobile", "/app1", "mobile/", "mobile/app1;shutdown", "mobile/a b", "a/b/c", "mobile/app\n"]
        {
            assert_eq!(bad.parse::<ServerId>(), Err(NotAServerId(bad.to_owned())));
        }
    }
}
