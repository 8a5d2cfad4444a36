//! The line of one record in a journal, with its checksum.
//!
//! The line is the record as JSON, with one more key at its end: `…,"sum":"<16 hexadecimal digits>"}`. The sum is the
//! beginning of the SHA-256 of the same JSON without that key.

use super::Record;
use crate::cfg::sha256;

/// How many digits of the SHA-256 are kept. Far fewer would detect damage, and forgery is not a concern here.
const DIGITS: usize = 16;

/// The text before and after the digits.
const BEFORE: &[u8] = b",\"sum\":\"";
const BEHIND: &[u8] = b"\"}";

/// Returns the record as a complete line, including the newline.
///
/// # Errors
/// Fails if the record cannot be written as JSON.
pub fn line(record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_string(record).map(with_checksum)
}

/// Returns a record, written as JSON, as a complete line.
fn with_checksum(mut line: String) -> Vec<u8> {
    let sum = sum(&line);
    // The brace at the end makes room for the key.
    line.pop();
    let mut line = line.into_bytes();
    line.extend([BEFORE, sum.as_bytes(), BEHIND, b"\n"].concat());
    line
}

/// The result of a checksum comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    Missing,
    Right,
    Wrong,
}

/// Compares a line, without its newline, with its checksum.
pub(super) fn check(line: &[u8]) -> Checksum {
    let split =
        line.strip_suffix(BEHIND).and_then(|rest| rest.split_at_checked(rest.len().checked_sub(DIGITS)?));
    let Some((Some(record), digits)) = split.map(|(rest, digits)| (rest.strip_suffix(BEFORE), digits)) else {
        return Checksum::Missing;
    };
    let is_right =
        std::str::from_utf8(record).is_ok_and(|record| sum(&format!("{record}}}")).as_bytes() == digits);
    if is_right { Checksum::Right } else { Checksum::Wrong }
}

fn sum(record: &str) -> String {
    let mut sum = sha256(record);
    sum.truncate(DIGITS);
    sum
}
