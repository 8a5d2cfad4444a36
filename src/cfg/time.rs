//! Times in `HAProxy`'s notation: `500`, `2s`, `1m`, `250us`.

use std::time::Duration;

use super::code;
use super::diagnostic::Diagnostic;

/// The longest time: `HAProxy` counts milliseconds in 31 bits.
const MAX_MILLISECONDS: u64 = i32::MAX as u64;

/// The reason why a text is not a time.
#[derive(Copy, Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotATime {
    #[error("expected a number and a unit, such as 10s")]
    NoNumber,
    /// Something other than a unit follows the number.
    #[error("expected the unit us, ms, s, m, h or d")]
    Unit,
    #[error("expected at most 2147483647 ms, about 24.8 days")]
    TooLong,
}

/// The units. Where one unit starts with another one, the longer one comes first.
const UNITS: &[(&str, u64)] = &[
    ("us", 1),
    ("ms", 1000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

/// The help for a unit that a blank separates from its number.
pub(super) const ONE_WORD: &str = "write a number and its unit as one word, such as `5s`";

/// Returns whether a word is a unit alone, which a blank has separated from its number.
#[must_use]
pub fn is_unit(word: &str) -> bool {
    UNITS.iter().any(|(unit, _)| *unit == word)
}

/// A time as `HAProxy` reads it, with the part that it ignores.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Time<'t> {
    pub length: Duration,
    /// The text after the unit: of `1m30s` only the minute counts.
    pub ignored: &'t str,
}

impl Time<'_> {
    /// Returns a warning about the part that `HAProxy` ignores, for a value of this setting. `HAProxy` plans to
    /// refuse such values in a later version.
    pub(super) fn doubt(&self, setting: &str, text: &str) -> Option<Diagnostic> {
        let Self { length, ignored } = self;
        let message = || format!("`{setting} {text}` counts as {length:?}: HAProxy ignores the `{ignored}`");
        (!ignored.is_empty()).then(|| Diagnostic::warning(code::TIME_TAIL, message()).label("this value"))
    }
}

/// Reads a time as `HAProxy` does. Without a unit it is in milliseconds. Microseconds are rounded up to
/// milliseconds.
///
/// # Errors
/// Returns what is wrong with the time.
pub fn read(text: &str) -> Result<Time<'_>, NotATime> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(NotATime::NoNumber);
    }
    let number: u64 = number.parse().map_err(|_| NotATime::TooLong)?;
    let unit = UNITS.iter().find_map(|(unit, length)| Some((rest.strip_prefix(unit)?, *length)));
    let (ignored, microseconds) = match unit {
        Some(unit) => unit,
        None if rest.is_empty() => ("", 1000),
        None => return Err(NotATime::Unit),
    };
    let milliseconds = number.checked_mul(microseconds).ok_or(NotATime::TooLong)?.div_ceil(1000);
    if milliseconds > MAX_MILLISECONDS {
        return Err(NotATime::TooLong);
    }
    Ok(Time { length: Duration::from_millis(milliseconds), ignored })
}

/// Parses a time that has nothing after its unit.
///
/// # Errors
/// Returns what is wrong with the time.
pub fn parse(text: &str) -> Result<Duration, NotATime> {
    match read(text)? {
        Time { length, ignored: "" } => Ok(length),
        Time { .. } => Err(NotATime::Unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_haproxy_s() {
        for (text, milliseconds) in [
            ("0", 0),
            ("500", 500),
            ("500ms", 500),
            ("2s", 2000),
            ("1m", 60_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("1us", 1),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_follows_the_unit_does_not_count() {
        for (text, milliseconds, ignored) in [
            ("1m30s", 60_000, "30s"),
            ("5sec", 5000, "ec"),
            ("500mss", 500, "s"),
            ("1h30", 3_600_000, "30"),
            ("5us9", 1, "9"),
            ("5s", 5000, ""),
        ] {
            let length = Duration::from_millis(milliseconds);
            assert_eq!(read(text), Ok(Time { length, ignored }), "{text}");
            assert_eq!(parse(text).is_ok(), ignored.is_empty(), "{text}");
        }
        assert_eq!(read("5 s"), Err(NotATime::Unit));
        assert_eq!(read("5u"), Err(NotATime::Unit));
        assert!(is_unit("s") && !is_unit("sec"));
    }

    #[test]
    fn other_texts_are_no_time() {
        assert_eq!(parse(""), Err(NotATime::NoNumber));
        assert_eq!(parse("s"), Err(NotATime::NoNumber));
        assert_eq!(parse("-1s"), Err(NotATime::NoNumber));
        assert_eq!(parse("5x"), Err(NotATime::Unit));
        assert_eq!(parse("25d"), Err(NotATime::TooLong));
        assert_eq!(parse("99999999999999999999d"), Err(NotATime::TooLong));
    }
}
