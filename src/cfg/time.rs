//! Times as `HAProxy` writes them: `500`, `2s`, `1m`, `250us`.

use std::time::Duration;

/// The longest time: `HAProxy` counts milliseconds in 31 bits.
const MAX_MILLISECONDS: u64 = i32::MAX as u64;

/// Why a text is no time.
#[derive(Copy, Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotATime {
    /// It does not start with a digit.
    #[error("a time starts with a number")]
    NoNumber,
    /// The number is followed by something else than a unit.
    #[error("the unit is none of us, ms, s, m, h and d")]
    Unit,
    /// It is longer than 2147483647 milliseconds.
    #[error("the time is longer than 2147483647 ms, about 24.8 days")]
    TooLong,
}

/// Reads a time. Without a unit it is in milliseconds; microseconds are rounded up to them.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Duration, NotATime> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(NotATime::NoNumber);
    }
    let number: u64 = number.parse().map_err(|_| NotATime::TooLong)?;
    let milliseconds = match unit {
        "us" => Some(number.div_ceil(1000)),
        "" | "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => return Err(NotATime::Unit),
    };
    milliseconds.filter(|ms| *ms <= MAX_MILLISECONDS).map(Duration::from_millis).ok_or(NotATime::TooLong)
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
    fn other_texts_are_no_time() {
        assert_eq!(parse(""), Err(NotATime::NoNumber));
        assert_eq!(parse("s"), Err(NotATime::NoNumber));
        assert_eq!(parse("-1s"), Err(NotATime::NoNumber));
        assert_eq!(parse("5x"), Err(NotATime::Unit));
        assert_eq!(parse("25d"), Err(NotATime::TooLong));
        assert_eq!(parse("99999999999999999999d"), Err(NotATime::TooLong));
    }
}
