//! What a server's weight is set to.

use std::fmt;
use std::str::FromStr;

/// The largest weight that `HAProxy` knows.
const LARGEST: u32 = 256;

/// Beyond this many per cent `HAProxy` itself reads no further: one of 1 is 256 then.
const MOST_PERCENT: u32 = 25_600;

/// A weight, or a share of the one that is written in haproxy.cfg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// `128`: from 0, which takes no balanced traffic, to 256.
    Absolute(u32),
    /// `50%`: half of what is written.
    Percent(u32),
}

impl Weight {
    /// The number that it amounts to, for a server that is written with this weight.
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

/// Why a text is no [`Weight`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no weight: write a number from 0 to 256, or a share of what haproxy.cfg says, such as 50%")]
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
    fn a_share_is_one_of_what_is_written() {
        for (text, written, weight) in [("7", 100, 7), ("50%", 10, 5), ("50%", 1, 0), ("300%", 100, 256)] {
            let read: Weight = text.parse().unwrap();
            assert_eq!((read.to_string().as_str(), read.of(written)), (text, weight));
        }
    }

    #[test]
    fn what_haproxy_would_not_take_is_refused() {
        for bad in ["", "%", "-1", "+5", "257", "25601%", "5 0", "50%%", "1;show env", "99999999999"] {
            assert_eq!(bad.parse::<Weight>(), Err(NotAWeight(bad.to_owned())));
        }
    }
}
