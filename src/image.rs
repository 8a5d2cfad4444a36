//! Image references, and what a reference was resolved to.

mod platform;
pub mod previous;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::ImageId;
use crate::secret::shown;

pub use platform::Platform;

/// An image as a person writes it: `127.0.0.1:5000/mobile:v2`, `mobile@sha256:…`.
///
/// Without a tag and a digest the tag is `latest`, as Docker has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub struct ImageReference {
    /// Registry and path, as written: `127.0.0.1:5000/mobile`, `mobile`.
    pub repository: String,
    /// The tag, if one was written (or neither tag nor digest was).
    pub tag: Option<String>,
    /// The manifest digest, `sha256:` and 64 hexadecimal digits, if one was written.
    pub digest: Option<String>,
}

impl ImageReference {
    /// The registry's address, `None` for Docker Hub's short names.
    ///
    /// Docker's rule: the part before the first `/` is a registry when it holds a `.` or a
    /// `:` or is `localhost`.
    #[must_use]
    pub fn registry(&self) -> Option<&str> {
        let (first, _) = self.repository.split_once('/')?;
        (first.contains(['.', ':']) || first == "localhost").then_some(first)
    }
}

/// Why a text is no [`ImageReference`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an image reference: {reason}")]
pub struct NotAnImageReference {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl FromStr for ImageReference {
    type Err = NotAnImageReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(NotAnImageReference { text: shown(text), reason });
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // A colon after the last slash starts the tag; one before it belongs to the registry's port.
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (rest, None),
        };
        let path_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        let path = match repository.split_once('/') {
            Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => path,
            _ => repository,
        };
        if path.is_empty() || path.split('/').any(str::is_empty) {
            return fail("the repository's name is empty; write NAME:TAG or REGISTRY/NAME:TAG");
        }
        if !path.chars().all(path_letter) {
            return fail("a repository's name holds only lower-case letters, digits and . _ - /");
        }
        if repository.contains(char::is_whitespace) {
            return fail("a registry's name holds no blanks");
        }
        let tag_letter = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if tag.is_some_and(|t| t.is_empty() || t.len() > 128 || !t.chars().all(tag_letter)) {
            return fail("a tag holds up to 128 letters, digits and . _ -");
        }
        if digest.is_some_and(|d| !is_digest(d)) {
            return fail("a digest is sha256: and 64 hexadecimal digits");
        }
        let tag = match (tag, digest) {
            (None, None) => Some("latest"),
            (tag, _) => tag,
        };
        Ok(Self {
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

/// Whether a text is a manifest's digest: `sha256:` and 64 hexadecimal digits.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit()))
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for ImageReference {
    type Error = NotAnImageReference;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> Self {
        reference.to_string()
    }
}

/// Exactly one image: what a reference was resolved to, once, before anything is done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Image {
    /// A manifest in a registry. The digest decides, whatever has its name.
    Registry {
        /// What was asked for.
        reference: ImageReference,
        /// The manifest's digest that the registry named.
        digest: String,
    },
    /// An image that only this engine has: built here, or kept from before.
    Local {
        /// What was asked for, or what the container that ran it was created from.
        reference: String,
        /// The engine's identifier.
        id: ImageId,
    },
}

impl Image {
    /// The text that the engine is given: it can mean no other image.
    #[must_use]
    pub fn pinned(&self) -> String {
        match self {
            Self::Registry { reference, digest } => {
                ImageReference { digest: Some(digest.clone()), ..reference.clone() }.to_string()
            }
            Self::Local { id, .. } => id.to_string(),
        }
    }

    /// The name by which it was asked for, where that does not have a digest; a container is created by it where it means
    /// this image on the engine.
    #[must_use]
    pub fn asked_for(&self) -> Option<String> {
        match self {
            Self::Registry { reference, .. } if reference.digest.is_none() => Some(reference.to_string()),
            Self::Registry { .. } => None,
            Self::Local { reference, .. } => Some(reference.clone()),
        }
    }

    /// Whether a container runs this image, by its image's identifier and repository digests.
    ///
    /// The repository does not matter: the digest names the same bytes wherever they came from.
    #[must_use]
    pub fn is_run_by(&self, image: &ImageId, repo_digests: &[String]) -> bool {
        match self {
            Self::Registry { digest, .. } => {
                repo_digests.iter().any(|known| known.rsplit_once('@').is_some_and(|(_, d)| d == digest))
            }
            Self::Local { id, .. } => id == image,
        }
    }
}

impl fmt::Display for Image {
    /// For people: the tag and twelve digits of what it was resolved to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, hash) = match self {
            Self::Registry { reference, digest } => {
                (ImageReference { digest: None, ..reference.clone() }.to_string(), digest)
            }
            Self::Local { reference, id } => {
                (reference.split('@').next().unwrap_or_default().to_owned(), &id.0)
            }
        };
        write!(f, "{name} ({})", short_digest(hash))
    }
}

/// The first twelve hexadecimal digits of a digest or an image's identifier.
#[must_use]
pub fn short_digest(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_port_is_no_tag() {
        let image: ImageReference = "127.0.0.1:5000/mobile".parse().unwrap();
        assert_eq!(image.registry(), Some("127.0.0.1:5000"));
        assert_eq!(
            (image.repository.as_str(), image.tag.as_deref()),
            ("127.0.0.1:5000/mobile", Some("latest"))
        );
    }

    #[test]
    fn what_was_written_prints_again() {
        for text in [
            "mobile:v2",
            "127.0.0.1:5000/team/mobile:v2",
            &format!("mobile@sha256:{HEX}"),
            &format!("r.io/m:v2@sha256:{HEX}"),
        ] {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), text);
        }
        assert_eq!("library/mobile:v2".parse::<ImageReference>().unwrap().registry(), None);
    }

    #[test]
    fn what_docker_would_refuse_is_refused() {
        for text in [
            "",
            ":v2",
            "Mobile:v2",
            "mobile:",
            "mobile:a b",
            "mobile@sha256:12",
            "r.io//m",
            "r.io/",
            "mob ile:v1",
        ] {
            assert!(text.parse::<ImageReference>().is_err(), "{text} was taken");
        }
    }

    #[test]
    fn the_digest_decides_what_runs() {
        let image =
            Image::Registry { reference: "r.io/mobile:v2".parse().unwrap(), digest: format!("sha256:{HEX}") };
        assert_eq!(image.pinned(), format!("r.io/mobile:v2@sha256:{HEX}"));
        assert!(image.is_run_by(&"sha256:1".into(), &[format!("other.io/mobile@sha256:{HEX}")]));
        assert!(
            !image.is_run_by(&format!("sha256:{HEX}").as_str().into(), &["r.io/mobile@sha256:00".to_owned()])
        );
        assert_eq!(image.to_string(), "r.io/mobile:v2 (0123456789ab)");
    }
}
