//! The platform of an image or an engine: an operating system and a processor architecture.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::model::sanitize;

/// A platform such as `linux/arm64` or `linux/arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
pub struct Platform {
    /// The operating system: `linux`.
    pub os: String,
    /// The processor architecture by Docker's name: `amd64`, `arm64`.
    pub architecture: String,
    /// The variant of the architecture, such as `v7`; without it, any variant.
    pub variant: Option<String>,
}

impl Platform {
    /// Returns the platform that an image or an engine reports, or `None` if the report is incomplete.
    #[must_use]
    pub fn of_parts(os: Option<&str>, architecture: Option<&str>, variant: Option<&str>) -> Option<Self> {
        let architecture = match known(architecture)? {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        // Every 64-bit ARM processor is a v8, with or without the variant.
        let variant = known(variant).filter(|variant| (architecture, *variant) != ("arm64", "v8"));
        Some(Self {
            os: sanitize::name(known(os)?),
            architecture: sanitize::name(architecture),
            variant: variant.map(sanitize::name),
        })
    }

    /// Returns whether an image for this platform runs on the wanted one. Variants are compared only if both have one.
    #[must_use]
    pub fn suits(&self, wanted: &Self) -> bool {
        let variants = self.variant.as_ref().zip(wanted.variant.as_ref());
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && variants.is_none_or(|(is, wanted)| is == wanted)
    }
}

/// Returns a value unless it is empty or `unknown`. Attestations in an image index have the platform `unknown`.
fn known(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty() && *text != "unknown")
}

impl FromStr for Platform {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str =
            "expected an operating system and an architecture such as linux/arm64 or linux/arm/v7";
        let parts: Vec<&str> = text.split('/').collect();
        let legal = |part: &&str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(legal) {
            return Err(FORM);
        }
        Self::of_parts(Some(parts[0]), Some(parts[1]), parts.get(2).copied()).ok_or(FORM)
    }
}

impl TryFrom<String> for Platform {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_as_docker_writes_them() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm/v7", "linux/arm/v7"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), shown);
        }
        for text in ["", "linux", "linux/", "linux/arm/v7/x", "linux/arm 64", "unknown/unknown"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
        assert_eq!(Platform::of_parts(Some("linux"), Some(""), None), None);
    }

    #[test]
    fn variants_are_compared_if_both_platforms_have_one() {
        let suits = |is: &str, wanted: &str| {
            is.parse::<Platform>().unwrap().suits(&wanted.parse::<Platform>().unwrap())
        };
        assert!(suits("linux/amd64", "linux/amd64") && !suits("linux/arm64", "linux/amd64"));
        assert!(suits("linux/arm/v7", "linux/arm") && !suits("linux/arm/v7", "linux/arm/v6"));
        assert!(!suits("windows/amd64", "linux/amd64"));
    }
}
