//! Image references and the images that they resolve to.

mod platform;
pub mod previous;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::ids::ImageId;
use crate::model::secret::redact;

pub use platform::Platform;

/// An image reference as an operator writes it: `127.0.0.1:5000/mobile:v2`, `mobile@sha256:…`.
///
/// A reference without a tag and a digest has the tag `latest`, as in Docker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub struct ImageReference {
    /// The registry and the path as written: `127.0.0.1:5000/mobile`, `mobile`.
    pub repository: String,
    /// The tag; absent only if the reference has a digest and no tag.
    pub tag: Option<String>,
    /// The manifest digest, `sha256:` and 64 hexadecimal digits, if the reference has one.
    pub digest: Option<String>,
}

impl ImageReference {
    /// Returns the registry's address, or `None` for Docker Hub's short names.
    ///
    /// Docker's rule: the part before the first `/` is a registry if it contains a `.` or a `:`, or is `localhost`.
    #[must_use]
    pub fn registry(&self) -> Option<&str> {
        let (first, _) = self.repository.split_once('/')?;
        (first.contains(['.', ':']) || first == "localhost").then_some(first)
    }
}

/// The error for a text that is not an [`ImageReference`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid image reference `{text}`: {reason}")]
pub struct NotAnImageReference {
    pub text: String,
    pub reason: &'static str,
}

impl FromStr for ImageReference {
    type Err = NotAnImageReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(NotAnImageReference { text: redact(text), reason });
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // A colon after the last slash starts the tag; a colon before it belongs to the registry's port.
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
            return fail("expected NAME:TAG or REGISTRY/NAME:TAG");
        }
        if !path.chars().all(path_letter) {
            return fail("a repository name consists of lower-case letters, digits and . _ - /");
        }
        if repository.contains(char::is_whitespace) {
            return fail("a registry name cannot contain spaces");
        }
        let tag_letter = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if tag.is_some_and(|t| t.is_empty() || t.len() > 128 || !t.chars().all(tag_letter)) {
            return fail("a tag consists of up to 128 letters, digits and . _ -");
        }
        if digest.is_some_and(|d| !is_digest(d)) {
            return fail("a digest consists of sha256: and 64 hexadecimal digits");
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

/// Returns whether a text is a manifest digest: `sha256:` and 64 hexadecimal digits.
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

/// Exactly one image. A reference is resolved to an image once, before a run changes anything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Image {
    /// A manifest in a registry. Only the digest identifies the image; its tag may have moved.
    Registry {
        /// The requested reference.
        reference: ImageReference,
        /// The manifest digest that the registry returned.
        digest: String,
    },
    /// An image that only this engine has: built locally, or kept from an earlier deploy.
    Local {
        /// The requested reference, or the reference from which the container that ran the image was created.
        reference: String,
        /// The engine's identifier of the image.
        id: ImageId,
    },
}

impl Image {
    /// Returns the reference to send to the engine, which identifies exactly this image.
    #[must_use]
    pub fn pinned(&self) -> String {
        match self {
            Self::Registry { reference, digest } => {
                ImageReference { digest: Some(digest.clone()), ..reference.clone() }.to_string()
            }
            Self::Local { id, .. } => id.to_string(),
        }
    }

    /// Returns the requested reference unless it has a digest. Containers are created from this name if it refers to
    /// this
    /// image on the engine.
    #[must_use]
    pub fn asked_for(&self) -> Option<String> {
        match self {
            Self::Registry { reference, .. } if reference.digest.is_none() => Some(reference.to_string()),
            Self::Registry { .. } => None,
            Self::Local { reference, .. } => Some(reference.clone()),
        }
    }

    /// Returns whether a container runs this image, given the identifier and the repository digests of the container's
    /// image.
    ///
    /// The repository does not matter: a digest identifies the same bytes in every repository.
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
    /// Formats the image for people: the tag and the first twelve digits of the digest or identifier.
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

/// Returns the first twelve hexadecimal digits of a digest or of an image's identifier.
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
    fn a_port_is_not_read_as_a_tag() {
        let image: ImageReference = "127.0.0.1:5000/mobile".parse().unwrap();
        assert_eq!(image.registry(), Some("127.0.0.1:5000"));
        assert_eq!(
            (image.repository.as_str(), image.tag.as_deref()),
            ("127.0.0.1:5000/mobile", Some("latest"))
        );
    }

    #[test]
    fn a_reference_prints_as_written() {
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
    fn references_that_docker_would_refuse_are_refused() {
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
    fn the_digest_identifies_the_running_image() {
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
