//! The smallest parts of a line, inside and outside of `"…"`.

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take, take_while, take_while_m_n, take_while1};
use nom::character::complete::one_of;
use nom::combinator::{map, value};
use nom::sequence::{preceded, terminated};

use super::super::variable::{Variable, variable};
use super::super::version::Version;
use super::{Parsed, SplitError, SyntaxError, fatal, is_blank};

/// A part of a line. A quoted text has several parts if it contains escapes or variables.
#[derive(Clone, Debug)]
pub(super) enum Piece<'a> {
    /// A run of blanks, which ends a word.
    Blanks,
    Comment,
    /// A carriage return or line feed as a token, which ends the line whatever follows.
    End,
    Bytes(&'a [u8]),
    Byte(u8),
    DoubleQuote,
    Variable(Variable<'a>),
}

fn is_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

fn escape(quoted: bool, input: &[u8]) -> Parsed<'_, u8> {
    let same: &str = if quoted { " \\#'\"$" } else { " \\#'\"" };
    let (rest, _) = tag("\\")(input)?;
    if rest.first() == Some(&b'x') {
        return hexadecimal(input);
    }
    let known: Parsed<'_, u8> = alt((
        map(one_of(same), |c| u8::try_from(c).unwrap_or(b'\\')),
        value(b'\n', tag("n")),
        value(b'\r', tag("r")),
        value(b'\t', tag("t")),
    ))
    .parse(rest);
    // Any other combination is not an escape: the backslash stays, and the next byte is read separately.
    known.or(Ok((rest, b'\\')))
}

fn hexadecimal(input: &[u8]) -> Parsed<'_, u8> {
    let digits = take_while_m_n::<_, _, SyntaxError>(2, 2, |b: u8| b.is_ascii_hexdigit());
    let Ok((rest, digits)) = preceded(tag("\\x"), digits).parse(input) else {
        return fatal(input, SplitError::Hexadecimal);
    };
    let byte = std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
    byte.map_or_else(|| fatal(input, SplitError::Hexadecimal), |byte| Ok((rest, byte)))
}

fn single_quoted(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, _) = tag("'")(input)?;
    let inside = take_while(|b| b != b'\'' && !is_end(b));
    terminated(inside, tag("'"))
        .parse(rest)
        .or_else(|_: nom::Err<SyntaxError>| fatal(input, SplitError::UnmatchedQuote))
}

/// Parses the next part outside of `"…"`.
pub(super) fn unquoted(input: &[u8]) -> Parsed<'_, Piece<'_>> {
    let plain = take_while1(|b| !is_blank(b) && !is_end(b) && !b"#\"'\\".contains(&b));
    alt((
        map(plain, Piece::Bytes),
        value(Piece::End, one_of("\r\n\0")),
        value(Piece::Blanks, take_while1(is_blank)),
        value(Piece::Comment, tag("#")),
        value(Piece::DoubleQuote, tag("\"")),
        map(single_quoted, Piece::Bytes),
        map(|input| escape(false, input), Piece::Byte),
    ))
    .parse(input)
}

/// Parses the next part inside `"…"`.
pub(super) fn quoted(version: Version, input: &[u8]) -> Parsed<'_, Piece<'_>> {
    let plain = take_while1(|b| !is_end(b) && !b"\"\\$".contains(&b));
    alt((
        map(plain, Piece::Bytes),
        value(Piece::End, one_of("\r\n\0")),
        value(Piece::DoubleQuote, tag("\"")),
        map(|input| variable(version, input), Piece::Variable),
        map(|input| escape(true, input), Piece::Byte),
        map(take(1usize), Piece::Bytes),
    ))
    .parse(input)
}
