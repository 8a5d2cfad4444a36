//! `http-check expect`.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::Verdict;

/// One `http-check expect` rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// Whether `!` precedes it.
    pub negated: bool,
    pub what: Expected,
}

/// The part of a reply that an expectation matches, with its pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// `status 200,300-310`.
    Status(Vec<RangeInclusive<u16>>),
    /// `rstatus`: a regular expression on the status.
    StatusRegex(String),
    /// `string`: a text that the body contains.
    String(String),
    /// `rstring`: a regular expression on the body.
    StringRegex(String),
    /// `hdr`, `fhdr`, `string-lf`, with their arguments, as written.
    Other(String),
}

impl Expect {
    /// Judges a reply by this expectation alone.
    #[must_use]
    pub fn accepts(&self, status: u16, body: &[u8]) -> Verdict {
        let matches = match &self.what {
            Expected::Status(ranges) => ranges.iter().any(|range| range.contains(&status)),
            Expected::String(text) => {
                text.is_empty() || body.windows(text.len()).any(|part| part == text.as_bytes())
            }
            Expected::StatusRegex(_) | Expected::StringRegex(_) | Expected::Other(_) => {
                return Verdict::Undecided;
            }
        };
        if matches == self.negated { Verdict::Fail } else { Verdict::Pass }
    }

    /// Reads the words after `expect`.
    pub(super) fn parse(words: &[Cow<'_, str>]) -> Result<Self, String> {
        let mut rest = words;
        while let [word, _, tail @ ..] = rest
            && TAKES_A_VALUE.contains(&&**word)
        {
            rest = tail;
        }
        let mut words = rest.to_vec();
        let mut negated = false;
        // `! status` and `!status` are the same, and two of them cancel each other out.
        while let Some(after) = words.first().and_then(|word| word.strip_prefix('!')).map(str::to_owned) {
            negated = !negated;
            if after.is_empty() {
                words.remove(0);
            } else {
                words[0] = after.into();
            }
        }
        what(&words).map(|what| Self { negated, what })
    }
}

/// The words that may precede the match, each with a value. They do not change which replies pass.
const TAKES_A_VALUE: &[&str] = &[
    "min-recv",
    "comment",
    "ok-status",
    "error-status",
    "tout-status",
    "on-success",
    "on-error",
    "status-code",
];

fn what(words: &[Cow<'_, str>]) -> Result<Expected, String> {
    let [kind, arguments @ ..] = words else { return Err("`expect` is missing what to match".to_owned()) };
    let Some(first) = arguments.first() else {
        return Err(format!("`expect {kind}` is missing its pattern"));
    };
    let pattern = || first.clone().into_owned();
    match &**kind {
        "status" => ranges(first).map(Expected::Status),
        "rstatus" => Ok(Expected::StatusRegex(pattern())),
        "string" => Ok(Expected::String(pattern())),
        "rstring" => Ok(Expected::StringRegex(pattern())),
        "hdr" | "fhdr" | "string-lf" => Ok(Expected::Other(words.join(" "))),
        _ => Err(format!(
            "unknown match `{kind}` in `expect`: expected status, rstatus, string, rstring, string-lf, hdr or fhdr"
        )),
    }
}

fn ranges(text: &str) -> Result<Vec<RangeInclusive<u16>>, String> {
    let code =
        |text: &str| text.parse::<u16>().map_err(|_| format!("invalid status `{text}`: expected a number"));
    text.split(',')
        .map(|part| match part.split_once('-') {
            Some((low, high)) => {
                let range = code(low)?..=code(high)?;
                if range.is_empty() {
                    Err(format!("invalid range `{part}`: expected the smaller status first"))
                } else {
                    Ok(range)
                }
            }
            None => code(part).map(|only| only..=only),
        })
        .collect()
}
