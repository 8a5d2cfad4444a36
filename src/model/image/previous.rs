//! The name that keeps an image on its engine for a rollback if the container that ran the image is not kept.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use crate::model::ids::ServerId;

/// The namespace of these names. drainswap asks no registry for it.
const NAMESPACE: &str = "drainswap";

/// The suffix of the tags.
const END: &str = "-previous";

/// The maximum length of each part. The limit comes from the tag, which has at most 128 letters including its suffix.
const LONGEST: usize = 100;

/// Returns the name under which the engine keeps a server's previous image: `drainswap/shop:app1-previous`.
///
/// `HAProxy` allows more characters in names than Docker allows in image names. Other characters become `-`, and a
/// hash of the whole name keeps similar names apart.
#[must_use]
pub fn name(server: &ServerId) -> String {
    let repository = part(&server.backend, |c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let tag = part(&server.server, |c| c.is_ascii_alphanumeric() || "._-".contains(c));
    format!("{NAMESPACE}/{repository}:{tag}{END}")
}

/// Returns whether an image name is one of these names. Podman prefixes them with `localhost/`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let Some((repository, tag)) = name.rsplit_once(':') else { return false };
    tag.ends_with(END) && is_repository(repository)
}

/// Returns whether a repository is one of those that [`name`] uses.
#[must_use]
pub fn is_repository(repository: &str) -> bool {
    repository.rsplit('/').nth(1) == Some(NAMESPACE)
}

/// Returns the text if all of its characters are legal, or else a legal replacement.
fn part(text: &str, may_stand: impl Fn(char) -> bool) -> String {
    let is_edge = |c: char| c.is_ascii_alphanumeric();
    let is_whole = !text.is_empty()
        && text.len() <= LONGEST
        && text.starts_with(is_edge)
        && text.ends_with(is_edge)
        && text.chars().all(|c| may_stand(c) || c == '-');
    if is_whole {
        return text.to_owned();
    }
    let mut hasher = FxHasher::default();
    text.hash(&mut hasher);
    let letter = |c: char| if may_stand(c.to_ascii_lowercase()) { c.to_ascii_lowercase() } else { '-' };
    let plain: String = text.chars().take(LONGEST).map(letter).collect();
    format!("{}-{:016x}", plain.trim_matches(['-', '.', '_']), hasher.finish())
        .trim_start_matches('-')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::image::ImageReference;

    #[test]
    fn a_server_name_becomes_an_image_name() {
        assert_eq!(name(&ServerId::new("shop", "app1")), "drainswap/shop:app1-previous");
        assert_eq!(name(&ServerId::new("shop-api", "App_1.b")), "drainswap/shop-api:App_1.b-previous");
        let long = "x".repeat(300);
        let odd = ["Shop", "shop_", "shop..api", "-shop", ":", "_", long.as_str(), "läden"];
        for text in odd {
            let named = name(&ServerId::new(text, text));
            assert!(named.len() < 300 && named.parse::<ImageReference>().is_ok(), "{named}");
            assert!(is_name(&named), "{named}");
        }
        assert_ne!(name(&ServerId::new("Shop", "a")), name(&ServerId::new("shop", "a")));
        assert_ne!(name(&ServerId::new("s:a", "a")), name(&ServerId::new("s.a", "a")));
    }

    #[test]
    fn other_names_are_not_ours() {
        for other in [
            "shop:v1",
            "drainswap/shop:v1",
            "drainswap:app1-previous",
            "shop:app1-previous",
            "drainswap/shop",
        ] {
            assert!(!is_name(other), "{other}");
        }
        assert!(is_name("localhost/drainswap/shop:app1-previous"));
    }
}
