//! A server's weight as given on the command line.

use std::fmt;
use std::str::FromStr;

/// The largest weight that `HAProxy` accepts.
const LARGEST: u32 = 256;

/// The largest percentage that `HAProxy` accepts: it raises a weight of 1 to 256.
const MOST_PERCENT: u32 = 25_600;

/// A weight: a number, or a percentage of the weight in haproxy.cfg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// `128`: a number from 0 to 256. A server with weight 0 gets no balanced traffic.
    Absolute(u32),
    /// `50%`: half of the weight in haproxy.cfg.
    Percent(u32),
}

impl Weight {
    /// Returns the resulting number for a server that has the given weight in haproxy.cfg.
    #[must_use]
    pub fn of(self, written: u32) -> u32 {
        match self {
            Self::Absolute(weight) => weight,
            Self::Percent(percent) => (written.saturating_mul(percent) / 100).min(LARGEST),
        }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(weight) => write!(f, "{weight}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// The error for a text that is not a [`Weight`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid weight `{0}`: expected 0–256 or a percentage of the weight in haproxy.cfg, such as 50%")]
pub struct NotAWeight(pub String);

impl FromStr for Weight {
    type Err = NotAWeight;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str, most| {
            let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = if is_plain { digits.parse::<u32>().ok() } else { None };
            number.filter(|number| *number <= most)
        };
        let weight = match text.strip_suffix('%') {
            Some(digits) => number(digits, MOST_PERCENT).map(Self::Percent),
            None => number(text, LARGEST).map(Self::Absolute),
        };
        weight.ok_or_else(|| NotAWeight(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_refers_to_the_configured_weight() {
        for (text, written, weight) in [("7", 100, 7), ("50%", 10, 5), ("50%", 1, 0), ("300%", 100, 256)] {
            let read: Weight = text.parse().unwrap();
            assert_eq!((read.to_string().as_str(), read.of(written)), (text, weight));
        }
    }

    #[test]
    fn weights_that_haproxy_would_refuse_are_refused() {
        for bad in ["", "%", "-1", "+5", "257", "25601%", "5 0", "50%%", "1;show env", "99999999999"] {
            assert_eq!(bad.parse::<Weight>(), Err(NotAWeight(bad.to_owned())));
        }
    }
}
