//! How `HAProxy` was built: the part that conditions in a configuration can ask about.

use std::collections::{BTreeMap, BTreeSet};

/// The build information that `haproxy -vv` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// The version, with the suffix of a distribution or a snapshot: `2.6.12`, `2.6.12-1+deb12u4`,
    /// `3.5-dev5`.
    pub version: String,
    /// The compiled-in features, as `feature()` names them: `OPENSSL`, `LUA`.
    pub features: BTreeSet<String>,
    /// The TLS library that the binary was built with: `OpenSSL 3.0.22 25 Aug 2026`.
    pub tls_library: Option<String>,
    /// The answers to conditions that only the binary can decide (`haproxy -cc`), by their text:
    /// `enabled(SPLICE)`.
    pub answers: BTreeMap<String, bool>,
}

impl Build {
    /// Reads the output of `haproxy -vv`. Returns `None` if it names no version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let version = text.lines().next()?.split_once("version ")?.1.split_whitespace().next()?.to_owned();
        let after = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)?.split_once(": "));
        let features = after("Feature list ").map_or("", |(_, list)| list);
        let features =
            features.split_whitespace().filter_map(|word| Some(word.strip_prefix('+')?.to_owned()));
        // 3.2 calls it the "SSL library".
        let tls = after("Built with OpenSSL version ").or_else(|| after("Built with SSL library version "));
        let tls_library = tls.map(|(_, library)| library.to_owned());
        Some(Self { version, features: features.collect(), tls_library, answers: BTreeMap::new() })
    }

    /// Returns the library's version as numbers: `3.0.22`, `1.1.1w`.
    pub(super) fn tls_version(&self) -> Option<Vec<u32>> {
        let version = self.tls_library.as_ref()?.split_whitespace().nth(1)?;
        Some(numbers(version))
    }
}

/// Returns the numbers of a version, for comparison one by one. A letter counts after its number: `1.1.1w`.
///
/// A development version sorts before the release: `3.5-dev5` is older than `3.5` and than `3.5-dev6`.
pub(super) fn numbers(version: &str) -> Vec<u32> {
    let (release, snapshot) = version.split_once("-dev").map_or((version, None), |(a, b)| (a, Some(b)));
    let release = release.split(['-', '+', '~']).next().unwrap_or_default();
    let mut numbers = Vec::new();
    for part in release.split('.') {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        numbers.push(part[..digits].parse().unwrap_or(0));
        if let Some(letter) = part[digits..].bytes().next() {
            numbers.push(u32::from(letter));
        }
    }
    numbers.resize(4, 0);
    let snapshot = snapshot.map_or(u32::MAX, |number| {
        let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        number[..digits].parse().unwrap_or(0)
    });
    numbers.push(snapshot);
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n\
        Feature list : -51DEGREES +ACCEPT4 +OPENSSL -ZLIB\n\
        Built with OpenSSL version : OpenSSL 3.0.22 25 Aug 2026\n";

    #[test]
    fn what_the_binary_prints_is_read() {
        let build = Build::parse(PRINTED).unwrap();
        assert_eq!(build.version, "2.6.12-1+deb12u4");
        assert_eq!(build.features.iter().collect::<Vec<_>>(), ["ACCEPT4", "OPENSSL"]);
        assert_eq!(build.tls_version(), Some(numbers("3.0.22")));
        let newer = PRINTED.replace("Built with OpenSSL version", "Built with SSL library version");
        assert_eq!(Build::parse(&newer), Some(build));
        assert_eq!(Build::parse("HA-Proxy version 2.2.9-2 2023\n").unwrap().version, "2.2.9-2");
        assert_eq!(Build::parse("bash: haproxy: not found"), None);
    }

    #[test]
    fn versions_are_compared_number_by_number() {
        let sorted = ["2.6", "2.6.9", "2.6.12-1+deb12u4", "3.0-dev2", "3.0-dev11", "3.0", "3.0.1"];
        assert!(sorted.is_sorted_by_key(|version| numbers(version)));
        assert!(numbers("1.1.1k") < numbers("1.1.1w") && numbers("1.1.1w") < numbers("3.0.0"));
    }
}
