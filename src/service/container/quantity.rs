//! Durations, sizes in bytes and numbers of CPUs in Compose's notation.

use std::time::Duration;

use serde::Deserialize;

use super::form::Scalar;

/// A duration: `1m30s`, `500ms`, `2.5s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Scalar")]
#[schemars(rename = "ContainerSpan")]
pub struct Span(pub Duration);

impl TryFrom<Scalar> for Span {
    type Error = String;

    fn try_from(written: Scalar) -> Result<Self, String> {
        let text = written.text();
        let bad = || format!("invalid duration `{}`: expected 90s, 1m30s or 500ms", text.escape_debug());
        let is_plain = text.chars().all(|it| it.is_ascii_digit() || ".hmsuµn".contains(it));
        let length = text.parse::<jiff::SignedDuration>().ok().filter(|_| is_plain).ok_or_else(bad)?;
        let length = Duration::try_from(length).map_err(|_| bad())?;
        // The engine stores nanoseconds in 63 bits.
        i64::try_from(length.as_nanos()).map_err(|_| bad())?;
        Ok(Self(length))
    }
}

impl Span {
    /// Returns the duration in nanoseconds, the engine's unit.
    #[must_use]
    pub fn nanoseconds(self) -> i64 {
        i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// A size in bytes: `64m`, `1.5gb`, `4096`. The units are powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Scalar")]
pub struct Bytes(pub i64);

impl TryFrom<Scalar> for Bytes {
    type Error = String;

    fn try_from(written: Scalar) -> Result<Self, String> {
        let text = written.text();
        let bad = || format!("invalid size `{}`: expected 64m, 1.5g or 4096", text.escape_debug());
        let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(bad()),
        };
        scaled(number, 1 << shift).map(Self).ok_or_else(bad)
    }
}

/// A number of CPUs, stored in billionths: `0.5`, `2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Scalar")]
pub struct Cpus(pub i64);

impl TryFrom<Scalar> for Cpus {
    type Error = String;

    fn try_from(written: Scalar) -> Result<Self, String> {
        let text = written.text();
        let billionths = scaled(&text, 1_000_000_000);
        billionths
            .map(Self)
            .ok_or_else(|| format!("invalid number of CPUs `{}`: expected 0.5 or 2", text.escape_debug()))
    }
}

/// Multiplies a decimal number by a unit and rounds down, without floating-point errors.
fn scaled(decimal: &str, unit: i64) -> Option<i64> {
    let (whole, part) = decimal.split_once('.').unwrap_or((decimal, ""));
    let is_number = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
    if whole.is_empty() || part.len() > 9 || !is_number(whole) || !is_number(part) {
        return None;
    }
    let digits = u32::try_from(part.len()).ok()?;
    let part = if part.is_empty() { 0 } else { part.parse::<i128>().ok()? };
    let part = part * i128::from(unit) / 10_i128.pow(digits);
    let whole = i128::from(whole.parse::<i64>().ok()?) * i128::from(unit);
    i64::try_from(whole + part).ok()
}
