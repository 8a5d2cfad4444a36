//! The `HAProxy` version that a configuration is read as.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A branch of `HAProxy`: `2.6`, `3.0`. The meaning of a line can differ between branches, but not within one.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
#[schemars(extend("pattern" = r"^[0-9]+\.[0-9]+([.+~-].*)?$"))]
pub struct Version {
    pub major: u16,
    pub minor: u16,
}

impl Version {
    /// Creates a version from the two numbers of its branch.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The error for a text that is not a [`Version`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid HAProxy version `{0}`: expected MAJOR.MINOR, for example 2.6")]
pub struct NotAVersion(pub String);

impl FromStr for Version {
    type Err = NotAVersion;

    /// Reads `2.6` and every longer form that `haproxy -v` prints: `2.6.12-1+deb12u4`, `3.5-dev5`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || NotAVersion(text.to_owned());
        let (major, rest) = text.split_once('.').ok_or_else(fail)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (minor, rest) = rest.split_at(digits);
        if !rest.is_empty() && !rest.starts_with(['.', '-', '+', '~']) {
            return Err(fail());
        }
        Ok(Self { major: major.parse().map_err(|_| fail())?, minor: minor.parse().map_err(|_| fail())? })
    }
}

impl TryFrom<String> for Version {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_s_version_is_its_branch() {
        for (text, branch) in
            [("2.6", "2.6"), ("2.6.12-1+deb12u4", "2.6"), ("3.5-dev5", "3.5"), ("3.0.11", "3.0")]
        {
            assert_eq!(text.parse::<Version>().unwrap().to_string(), branch);
        }
    }

    #[test]
    fn other_texts_are_no_version() {
        for text in ["", "2", "2.", ".6", "2.6x", "two.six", "99999999.1"] {
            assert_eq!(text.parse::<Version>(), Err(NotAVersion(text.to_owned())));
        }
    }

    #[test]
    fn branches_are_ordered_by_number() {
        assert!(Version::new(2, 10) > Version::new(2, 9) && Version::new(3, 0) > Version::new(2, 10));
    }
}
