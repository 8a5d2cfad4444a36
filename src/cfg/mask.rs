//! A file as it may be shown: what only HAProxy should know is hidden.

use std::ops::Range;

use super::document::{File, Line};
use super::syntax::Word;

/// What stands for a secret.
const HIDDEN: &[u8] = b"***";

/// The words behind which a secret stands.
const BEFORE_A_SECRET: &[&str] = &["password", "insecure-password", "auth", "key", "dynamic-cookie-key"];

/// The headers that hold one.
const SECRET_HEADERS: &[&str] =
    &["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"];

/// The file's bytes with a `*` for every byte of a secret, so that spans still fit.
pub(super) fn same_length(file: &File) -> Vec<u8> {
    let mut bytes = file.bytes.clone();
    for secret in file.lines().flat_map(secrets) {
        bytes[secret].fill(b'*');
    }
    bytes
}

/// The file's text with its secrets hidden: passwords of `userlist`, `stats auth` and mailers, the values of
/// environment variables, and those of headers that authorise.
#[must_use]
pub fn shown(file: &File) -> String {
    let mut out = Vec::with_capacity(file.bytes.len());
    let mut done = 0;
    for secret in file.lines().flat_map(secrets) {
        if secret.start >= done {
            out.extend_from_slice(&file.bytes[done..secret.start]);
            out.extend_from_slice(HIDDEN);
            done = secret.end;
        }
    }
    out.extend_from_slice(&file.bytes[done..]);
    String::from_utf8_lossy(&out).into_owned()
}

fn secrets(line: Line<'_>) -> Vec<Range<usize>> {
    let words: Vec<Word<'_>> = line.words().collect();
    let sets_variable = words.first().is_some_and(|word| word.is("setenv") || word.is("presetenv"));
    let is_secret = |index: &usize| {
        let Some(before) = index.checked_sub(1).map(|before| &words[before]) else { return false };
        let named = BEFORE_A_SECRET.iter().any(|word| before.is(word));
        let header = SECRET_HEADERS.iter().any(|header| before.bytes.eq_ignore_ascii_case(header.as_bytes()));
        named || header || (sets_variable && *index == 2)
    };
    (1..words.len()).filter(is_secret).map(|index| words[index].span.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cfg::{Environment, SourceFile, Version, read};

    #[test]
    fn secrets_are_hidden_and_the_rest_is_shown() {
        let text = "global\n setenv TOKEN s3cret # c\nuserlist u\n user a password $5$s3cret groups g\n \
                    user b insecure-password \"s3cret\"\nbackend b\n stats auth admin:s3cret\n \
                    http-request set-header Authorization \"Basic s3cret\" if x\n server a 10.0.0.1:80\n";
        let file = SourceFile { path: "h.cfg".into(), bytes: text.as_bytes().to_vec() };
        let document = read(vec![file], &Environment::new([].into(), Version::new(2, 6)));
        let shown = shown(&document.files[0]);
        assert!(!shown.contains("s3cret"), "{shown}");
        assert_eq!(shown.matches("***").count(), 5);
        let same = same_length(&document.files[0]);
        assert_eq!(same.len(), text.len());
        assert!(!String::from_utf8(same).unwrap().contains("s3cret"));
        for kept in ["setenv TOKEN *** # c", "groups g", "stats auth ***", "*** if x", "server a 10.0.0.1:80"]
        {
            assert!(shown.contains(kept), "{shown}");
        }
    }
}
