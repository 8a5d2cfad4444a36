//! Sanitizing of text from engines, registries, HAProxy, hooks and containers.
//!
//! drainswap sanitizes foreign text on input, so that the text can neither move a terminal's cursor nor look like a
//! line of drainswap's output. Output through [`printable`] and [`json`] is safe for any text, including settings and
//! stored files.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;
use std::str::Chars;

/// The maximum length of a line or a name, in characters.
pub const MOST: usize = 1000;

/// Returns prose as one line of at most [`MOST`] characters: removes terminal sequences and control characters, and
/// replaces line ends and tabs by spaces.
#[must_use]
pub fn line(text: &str) -> String {
    short_line(text, MOST)
}

/// Returns prose as one line like [`line`], with at most `most` characters; a longer text ends with `…`.
#[must_use]
pub fn short_line(text: &str, most: usize) -> String {
    let mut letters = text.trim().chars();
    let mut kept = String::new();
    let mut length = 0;
    while let Some(letter) = letters.next() {
        if length == most {
            kept.push('…');
            break;
        }
        match letter {
            '\u{1b}' => skip_sequence(&mut letters),
            // The C1 form of `ESC [`.
            '\u{9b}' => skip_control_sequence(&mut letters),
            letter if is_blank(letter) => {
                kept.push(' ');
                length += 1;
            }
            letter if is_unsafe(letter) => {}
            letter => {
                kept.push(letter);
                length += 1;
            }
        }
    }
    kept
}

/// Returns a name or a label's value in which every unsafe character is `U+FFFD`, so that no name turns into another
/// one that is in use.
#[must_use]
pub fn name(text: &str) -> String {
    let is_long = text.chars().nth(MOST).is_some();
    let letters = text.chars().take(MOST).map(|letter| if is_unsafe(letter) { '\u{fffd}' } else { letter });
    letters.chain(is_long.then_some('…')).collect()
}

/// Returns a foreign path, sanitized like a [`name`].
#[must_use]
pub fn path(path: &Path) -> String {
    name(&path.display().to_string())
}

/// Returns a table or a log of several lines without unsafe characters other than line ends.
#[must_use]
pub fn lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if !text.chars().any(|letter| letter != '\n' && is_unsafe(letter)) {
        return text.into_owned();
    }
    let kept = |letter: char| match letter {
        '\n' => Some('\n'),
        letter if is_blank(letter) => Some(' '),
        letter => (!is_unsafe(letter)).then_some(letter),
    };
    text.chars().filter_map(kept).collect()
}

/// Returns drainswap's own text for printing: keeps line ends and colours, and removes every other unsafe character.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|letter| letter != '\n' && is_unsafe(letter)) {
        return text.into();
    }
    let mut kept = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\n' => kept.push('\n'),
            '\u{1b}' => {
                let rest = letters.as_str();
                if let Some(length) = colour(rest) {
                    kept.push('\u{1b}');
                    kept.push_str(&rest[..length]);
                    letters = rest[length..].chars();
                } else {
                    skip_sequence(&mut letters);
                }
            }
            letter if is_blank(letter) => kept.push(' '),
            letter if is_unsafe(letter) => {}
            letter => kept.push(letter),
        }
    }
    kept.into()
}

/// Escapes every unsafe character in the strings of a JSON text, which changes no value. Outside of strings JSON is
/// ASCII; line ends stay. `##[` is escaped too, because a CI system takes it for a command anywhere in a line.
#[must_use]
pub fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() && letter != '\u{7f}' || !is_unsafe(letter) {
            escaped.push(letter);
        } else {
            // All unsafe characters are in the first plane, so one escape is enough.
            let _never_fails = write!(escaped, "\\u{:04x}", u32::from(letter));
        }
    }
    escaped.replace("##[", "##\\u005b")
}

/// Returns whether a character may do more than appear: C0, DEL and C1, the line and paragraph separators, and the
/// twelve characters that Unicode lists as `Bidi_Control`.
#[must_use]
pub fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns whether an unsafe character separates words.
fn is_blank(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Returns the length of a colour sequence after its escape character: `[1;31m`.
fn colour(rest: &str) -> Option<usize> {
    let digits = rest.strip_prefix('[')?;
    let end = digits.find(|letter: char| !letter.is_ascii_digit() && letter != ';')?;
    digits[end..].starts_with('m').then_some(end + 2)
}

/// Skips the rest of an escape sequence: `[…letter` (colours, cursor), `]…BEL` and similar (titles), or one character.
fn skip_sequence(letters: &mut Chars<'_>) {
    match letters.next() {
        Some('[') => skip_control_sequence(letters),
        Some(']' | 'P' | 'X' | '^' | '_') => {
            // An unterminated sequence must not swallow the rest of the text.
            let mut ahead = letters.clone();
            if ahead.any(|letter| matches!(letter, '\u{7}' | '\u{1b}' | '\u{9c}')) {
                *letters = ahead;
                let mut end = letters.clone();
                if end.next() == Some('\\') {
                    *letters = end;
                }
            }
        }
        _ => {}
    }
}

/// Skips digits and punctuation up to the letter that ends an `ESC [` sequence.
fn skip_control_sequence(letters: &mut Chars<'_>) {
    loop {
        let mut ahead = letters.clone();
        match ahead.next() {
            Some(' '..='?') => *letters = ahead,
            Some('@'..='~') => {
                *letters = ahead;
                return;
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_safe_for_a_terminal_and_short() {
        for (text, clean) in [
            ("\u{1b}[31mred\u{1b}[0m\t\u{fffd}\u{1b}]0;title\u{7}!\u{8}", "red \u{fffd}!"),
            ("\u{9b}31mred\u{9b}0m", "red"),
            ("a\u{1b}]8;;http://x\u{1b}\\b", "ab"),
            // An unterminated sequence hides nothing.
            ("denied\u{1b}]0;", "denied0;"),
            ("denied\u{1b}[31", "denied"),
            ("denied\u{1b}[\u{202e}31mx", "denied31mx"),
            ("one\r\ntwo\u{2028}three\u{85}four", "one two three four"),
            ("\u{202e}devorppa\u{2066}\u{200f}\u{61c}", "devorppa"),
        ] {
            assert_eq!(line(text), clean, "{text:?}");
        }
        let long = short_line(&"ä".repeat(500), 400);
        assert_eq!((long.chars().count(), long.ends_with('…')), (401, true));
    }

    #[test]
    fn a_sanitized_name_never_equals_another_name() {
        assert_eq!(name("mobile-app1"), "mobile-app1");
        assert_eq!(name("app1\u{202e}\u{1b}[0m"), "app1\u{fffd}\u{fffd}[0m");
        assert_ne!(name(&"a".repeat(MOST + 1)), name(&"a".repeat(MOST)));
    }

    #[test]
    fn colours_stay_and_cursor_movements_are_removed() {
        let styled = "\u{1b}[1m\u{1b}[31merror\u{1b}[0m: x\n";
        assert_eq!(printable(styled), styled);
        assert_eq!(printable("a\u{1b}[2Jb\u{1b}[1;1Hc\u{1b}[31m\r\u{9b}d\u{202e}"), "abc\u{1b}[31md");
    }

    #[test]
    fn a_json_text_keeps_its_values() {
        let value = serde_json::json!({ "a": "\u{9b}2J\u{202e}x\u{7f}\u{1b}", "##[error]": "##[group]" });
        let text = json(&format!("{value}\n"));
        assert!(text.trim_end().chars().all(|letter| !is_unsafe(letter)) && !text.contains("##["), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    proptest! {
        #[test]
        fn no_text_leaves_with_unsafe_characters(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            prop_assert!(!line(&text).chars().any(is_unsafe));
            prop_assert!(!name(&text).chars().any(is_unsafe));
            prop_assert!(!lines(&bytes).chars().any(|letter| letter != '\n' && is_unsafe(letter)));
            let printed = anstream::adapter::strip_str(&printable(&text)).to_string();
            prop_assert!(!printed.chars().any(|letter| letter != '\n' && is_unsafe(letter)));
            prop_assert!(line(&text).chars().count() <= MOST + 1);
        }
    }
}
