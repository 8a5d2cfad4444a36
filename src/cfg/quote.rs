//! Quoting: writes a word so that `HAProxy` reads exactly that word.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The reason why a word cannot be written.
#[derive(Copy, Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unquotable {
    /// An empty word ends the line in every version, and newer versions refuse it.
    #[error("an empty word ends its line")]
    Empty,
    /// HAProxy's words are C strings.
    #[error("it contains a NUL byte, which ends a word")]
    Nul,
}

/// The bytes that need no quoting, besides letters, digits and bytes outside ASCII.
const PLAIN: &[u8] = b"_.:/@,+=*%()[]{}<>!?&^|~;-";

/// Writes a word: as it is if possible, else in single quotes, else in double quotes with escapes.
///
/// Quoting does not help a word at the start of a line that begins with `.` (a directive) or `[` (a scope).
///
/// # Errors
/// Empty words and words with NUL bytes cannot be written.
pub fn word(text: &str) -> Result<Cow<'_, str>, Unquotable> {
    if text.is_empty() {
        return Err(Unquotable::Empty);
    }
    if text.contains('\0') {
        return Err(Unquotable::Nul);
    }
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii() || PLAIN.contains(&byte)) {
        return Ok(Cow::Borrowed(text));
    }
    // Single quotes remove every special meaning, but a line break still ends the line there.
    if !text.contains(['\'', '\r', '\n']) {
        return Ok(Cow::Owned(format!("'{text}'")));
    }
    Ok(Cow::Owned(double_quoted(text)))
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' | '$' => {
                quoted.push('\\');
                quoted.push(letter);
            }
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_ascii_control() => {
                // Writing into a String never fails.
                let _infallible = write!(quoted, "\\x{:02x}", u32::from(control));
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cfg::{Environment, SourceFile, Version, read};

    #[test]
    fn the_plainest_writing_is_taken() {
        for (text, written) in [
            ("app1", "app1"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("größe", "größe"),
            ("a b", "'a b'"),
            ("a#b", "'a#b'"),
            ("${X}", "'${X}'"),
            ("it's", "\"it's\""),
            ("'$\\\"", "\"'\\$\\\\\\\"\""),
            ("a\r\n'\x01", "\"a\\r\\n'\\x01\""),
        ] {
            assert_eq!(word(text).unwrap(), written, "{text:?}");
        }
        assert_eq!((word(""), word("a\0")), (Err(Unquotable::Empty), Err(Unquotable::Nul)));
    }

    proptest! {
        #[test]
        fn every_word_is_read_back_by_every_version(text in "\\PC{1,20}|[a-c'\"\\\\$#{} \\t\r\n\x01-\x1f\x7f]{1,20}") {
            let written = word(&text).unwrap();
            for version in [(2, 2), (2, 6), (3, 0), (3, 2), (3, 3)] {
                let line = format!("first {written} last\n").into_bytes();
                let variables = [("a".to_owned(), "wrong".to_owned())].into();
                let environment = Environment::new(variables, Version::new(version.0, version.1));
                let document = read(vec![SourceFile { path: "h.cfg".into(), bytes: line }], &environment);
                let line = document.files[0].line(1).unwrap();
                let words: Vec<_> = line.words().map(|word| word.text().into_owned()).collect();
                prop_assert_eq!(words, ["first", text.as_str(), "last"]);
            }
        }
    }
}
