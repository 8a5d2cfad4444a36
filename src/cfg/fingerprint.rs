//! Fingerprints of a text, and of the meaning that a file has for `HAProxy`, in 64 digits.

use std::fmt::Write;

use ring::digest::{Context, SHA256};

use super::document::File;

/// Returns the SHA-256 of the words that `HAProxy` reads in a file, without quotes and with variables expanded.
/// Comments, blanks, `.if` lines and the branches that they drop make no difference.
#[must_use]
pub fn fingerprint(file: &File) -> String {
    let mut digest = Context::new(&SHA256);
    for line in file.lines().filter(|line| line.is_active()) {
        if line.word(0).is_none_or(|word| word.bytes.first() == Some(&b'.')) {
            continue;
        }
        for word in line.read_words() {
            // Lengths separate words, and line feeds separate lines.
            digest.update(&word.bytes.len().to_be_bytes());
            digest.update(word.bytes);
        }
        digest.update(b"\n");
    }
    hexadecimal(digest)
}

/// Returns the SHA-256 of a text or of a file's bytes, in hexadecimal digits.
#[must_use]
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    let mut digest = Context::new(&SHA256);
    digest.update(bytes.as_ref());
    hexadecimal(digest)
}

fn hexadecimal(digest: Context) -> String {
    digest.finish().as_ref().iter().fold(String::new(), |mut digits, byte| {
        let _never_fails = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cfg::{Environment, SourceFile, Version, read};

    fn of(text: &str) -> String {
        let file = SourceFile { path: "h.cfg".into(), bytes: text.as_bytes().to_vec() };
        let variables = [("PORT".to_owned(), "80".to_owned())];
        fingerprint(&read(vec![file], &Environment::new(variables.into(), Version::new(2, 6))).files[0])
    }

    #[test]
    fn what_means_the_same_has_the_same_fingerprint() {
        let plain = of("backend b\n    server app1 10.0.0.1:80 check\n");
        for same in [
            "backend b\n\n  server  app1 10.0.0.1:80 check # the first\n",
            "backend \"b\"\n    server app1 10.0.0.1:\"$PORT\" check\n",
            "backend b\n.if 1\n server app1 10.0.0.1:80 check\n.else\n server app1 10.0.0.9:80\n.endif\n",
        ] {
            assert_eq!(of(same), plain, "{same}");
        }
        for other in [
            "backend b\n    server app1 10.0.0.1:81 check\n",
            "backend b\n    server app1 10.0.0.1:80check\n",
            "backend b server\n    app1 10.0.0.1:80 check\n",
            "backend b\n.if 0\n server app1 10.0.0.1:80 check\n.endif\n",
        ] {
            assert_ne!(of(other), plain, "{other}");
        }
        assert_eq!(plain.len(), 64);
    }
}
