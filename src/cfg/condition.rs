//! Conditions of `.if` and `.elif`: `defined(STAGE) && !streq("$STAGE",test)`.

use std::cmp::Ordering;

use nom::branch::alt;
use nom::bytes::complete::{tag, take, take_while, take_while1};
use nom::combinator::{all_consuming, map, opt, verify};
use nom::multi::{fold_many0, separated_list0, separated_list1};
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};

use super::build::numbers;
use super::environment::Environment;
use super::version::Version;

/// The most parentheses that may be open at once. HAProxy 2.6 and 3.4 read 340. This reader stops earlier,
/// because each one takes some kilobytes of its stack.
const MAX_DEPTH: usize = 64;

/// A condition as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A number; an empty condition is false too.
    Constant(bool),
    /// `!a`.
    Not(Box<Condition>),
    /// `a && b`, at least two.
    All(Vec<Condition>),
    /// `a || b`, at least two.
    Any(Vec<Condition>),
    /// `name(argument,argument)`.
    Predicate {
        /// `defined`, `streq`, …
        name: String,
        /// The arguments, without their quotes.
        arguments: Vec<String>,
    },
}

/// A condition that cannot be parsed from this byte on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "invalid condition from byte {offset} on: expected predicates such as defined(NAME), joined by && or ||"
)]
pub struct Unreadable {
    /// The offset in the condition.
    pub offset: usize,
}

/// The reason why a predicate is treated as false.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Undecided {
    /// The predicate asks about the build or the state of the process.
    #[error(
        "drainswap treats `{name}()` as false: it depends on the HAProxy binary, not on the file. Check it with `haproxy -cc`"
    )]
    AboutTheBinary {
        name: String,
        /// The predicate with its arguments, in the form that `haproxy -cc` accepts.
        question: String,
    },
    /// The predicate is in no version that drainswap knows.
    #[error(
        "drainswap treats the unknown predicate `{name}()` as false. Check its spelling, or check it with `haproxy -cc`"
    )]
    Unknown {
        name: String,
        /// The predicate with its arguments, in the form that `haproxy -cc` accepts.
        question: String,
    },
    /// The predicate has too few or too many arguments, which `HAProxy` refuses.
    #[error("invalid `{name}()`: expected {expected} argument{}", if *.expected == 1 { "" } else { "s" })]
    Arguments { name: String, expected: usize },
}

/// The result of a condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether the branch is taken.
    pub holds: bool,
    /// The predicates that could not be decided.
    pub undecided: Vec<Undecided>,
}

type Parsed<'a, T> = IResult<&'a [u8], T>;

impl Condition {
    /// Parses a condition: the words of its line, joined with single blanks.
    ///
    /// # Errors
    /// Returns the offset at which the condition stops making sense.
    pub fn parse(text: &[u8]) -> Result<Self, Unreadable> {
        if text.iter().all(|b| is_blank(*b)) {
            return Ok(Self::Constant(false));
        }
        let whole = terminated(|input| any(0, input), blanks);
        match all_consuming(whole).parse(text) {
            Ok((_, condition)) => Ok(condition),
            Err(nom::Err::Error(error) | nom::Err::Failure(error)) => {
                Err(Unreadable { offset: text.len() - error.input.len() })
            }
            Err(nom::Err::Incomplete(_)) => Err(Unreadable { offset: text.len() }),
        }
    }

    /// Decides the condition. Stops as soon as the result is known: `false && x` does not evaluate `x`.
    #[must_use]
    pub fn decide(&self, environment: &Environment) -> Decision {
        let mut outcome = Decision::default();
        outcome.holds = self.holds(environment, &mut outcome.undecided);
        outcome
    }

    fn holds(&self, environment: &Environment, undecided: &mut Vec<Undecided>) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Not(inner) => !inner.holds(environment, undecided),
            Self::All(parts) => parts.iter().all(|part| part.holds(environment, undecided)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(environment, undecided)),
            Self::Predicate { name, arguments } => {
                predicate(name, arguments, environment).unwrap_or_else(|reason| {
                    undecided.push(reason);
                    false
                })
            }
        }
    }
}

fn predicate(name: &str, arguments: &[String], environment: &Environment) -> Result<bool, Undecided> {
    let wrong = |expected| Undecided::Arguments { name: name.to_owned(), expected };
    let one = || if let [only] = arguments { Ok(only) } else { Err(wrong(1)) };
    let two = || if let [a, b] = arguments { Ok((a, b)) } else { Err(wrong(2)) };
    let question = || format!("{name}({})", arguments.join(","));
    let unknown = || Undecided::AboutTheBinary { name: name.to_owned(), question: question() };
    let answer = || environment.build.as_ref()?.answers.get(&question()).copied();
    let build = || environment.build.as_ref().ok_or_else(unknown);
    let order = || one().map(|asked| compare(environment, asked));
    // A binary without TLS has no TLS library, so no version matches.
    let tls = |holds: fn(Ordering) -> bool| {
        let (asked, library) = (numbers(one()?), build()?.tls_version());
        Ok(library.is_some_and(|library| holds(library.cmp(&asked))))
    };
    match name {
        "defined" => Ok(environment.variables.contains_key(one()?)),
        "streq" => two().map(|(a, b)| a == b),
        "strneq" => two().map(|(a, b)| a != b),
        "strstr" => two().map(|(text, part)| text.contains(part.as_str())),
        "version_atleast" => order().map(Ordering::is_ge),
        "version_before" => order().map(Ordering::is_lt),
        "feature" => Ok(build()?.features.contains(one()?)),
        "openssl_version_atleast" => tls(Ordering::is_ge),
        "openssl_version_before" => tls(Ordering::is_lt),
        "ssllib_name_startswith" => {
            let start = one()?;
            Ok(build()?.tls_library.as_ref().is_some_and(|library| library.starts_with(start.as_str())))
        }
        "enabled" | "awslc_api_atleast" | "awslc_api_before" | "fips_mode" => answer().ok_or_else(unknown),
        _ => answer().ok_or_else(|| Undecided::Unknown { name: name.to_owned(), question: question() }),
    }
}

/// Compares the version with one from a condition: `2.6`, `2.6.5`, `3.0-dev3`. A text that is not a version
/// is older than every version.
///
/// If only the branch is known, a patch level of the same branch counts as reached.
fn compare(environment: &Environment, text: &str) -> Ordering {
    let branch = environment.version;
    match &environment.build {
        Some(build) if build.version.parse() == Ok(branch) => numbers(&build.version).cmp(&numbers(text)),
        Some(_) | None => branch.cmp(&text.parse().unwrap_or(Version::new(0, 0))),
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn blanks(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while(is_blank).parse(input)
}

/// Parses a disjunction: `||` binds weakest.
fn any(depth: usize, input: &[u8]) -> Parsed<'_, Condition> {
    let parts = separated_list1(preceded(blanks, tag("||")), |input| all(depth, input));
    map(parts, |parts| one_or(parts, Condition::Any)).parse(input)
}

fn all(depth: usize, input: &[u8]) -> Parsed<'_, Condition> {
    let parts = separated_list1(preceded(blanks, tag("&&")), |input| term(depth, input));
    map(parts, |parts| one_or(parts, Condition::All)).parse(input)
}

fn one_or(mut parts: Vec<Condition>, many: impl Fn(Vec<Condition>) -> Condition) -> Condition {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => Condition::Constant(false),
    }
}

fn term(depth: usize, input: &[u8]) -> Parsed<'_, Condition> {
    let mut negations = fold_many0(preceded(blanks, tag("!")), || false, |negated: bool, _| !negated);
    let (rest, negated) = negations.parse(input)?;
    let group = delimited(tag("("), |input| nested(depth + 1, input), preceded(blanks, tag(")")));
    let (rest, condition) = preceded(blanks, alt((number, group, call))).parse(rest)?;
    Ok((rest, if negated { Condition::Not(Box::new(condition)) } else { condition }))
}

fn nested(depth: usize, input: &[u8]) -> Parsed<'_, Condition> {
    if depth > MAX_DEPTH {
        return Err(nom::Err::Failure(nom::error::Error::new(input, nom::error::ErrorKind::TooLarge)));
    }
    any(depth, input)
}

fn number(input: &[u8]) -> Parsed<'_, Condition> {
    let digits = take_while1(|b: u8| b.is_ascii_digit());
    map(digits, |digits: &[u8]| Condition::Constant(digits.iter().any(|d| *d != b'0'))).parse(input)
}

fn call(input: &[u8]) -> Parsed<'_, Condition> {
    let name = take_while1(|b: u8| b.is_ascii_alphanumeric() || b == b'_');
    let arguments = delimited(tag("("), separated_list0(tag(","), argument), tag(")"));
    let (rest, (name, mut arguments)) = (name, arguments).parse(input)?;
    if arguments.len() == 1 && arguments[0].is_empty() {
        arguments.clear();
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let arguments = arguments.iter().map(|argument| text(argument)).collect();
    Ok((rest, Condition::Predicate { name: text(name), arguments }))
}

/// Parses one argument, up to `,` or `)`. Blanks in it count. Quotes and `\` are resolved a second time,
/// after those of the line.
fn argument(input: &[u8]) -> Parsed<'_, Vec<u8>> {
    let plain = take_while1(|b| !b"\"'\\,)".contains(&b));
    let single = delimited(tag("'"), take_while(|b| b != b'\''), tag("'"));
    let part = alt((map(plain, <[u8]>::to_vec), map(single, <[u8]>::to_vec), double, escape));
    collect(part, input)
}

fn double(input: &[u8]) -> Parsed<'_, Vec<u8>> {
    let plain = |input| map(take_while1(|b| !b"\"\\".contains(&b)), <[u8]>::to_vec).parse(input);
    delimited(tag("\""), |input| collect(alt((plain, escape)), input), tag("\"")).parse(input)
}

fn collect<'a>(
    part: impl Parser<&'a [u8], Output = Vec<u8>, Error = nom::error::Error<&'a [u8]>>,
    input: &'a [u8],
) -> Parsed<'a, Vec<u8>> {
    fold_many0(part, Vec::new, |mut whole: Vec<u8>, part: Vec<u8>| {
        whole.extend(part);
        whole
    })
    .parse(input)
}

fn escape(input: &[u8]) -> Parsed<'_, Vec<u8>> {
    let (rest, _) = tag("\\")(input)?;
    let escaped = verify(take(1usize), |next: &[u8]| b"\\ \"'rnt".contains(&next[0]));
    let (rest, next) = opt(escaped).parse(rest)?;
    let byte = match next {
        Some(b"r") => b'\r',
        Some(b"n") => b'\n',
        Some(b"t") => b'\t',
        Some(other) => other[0],
        None => b'\\',
    };
    Ok((rest, vec![byte]))
}

#[cfg(test)]
mod tests {
    use super::super::build::Build;
    use super::*;

    fn holds(text: &str) -> bool {
        let variables = [("STAGE".to_owned(), "production".to_owned())].into();
        let environment = Environment::new(variables, Version::new(2, 6));
        Condition::parse(text.as_bytes()).unwrap().decide(&environment).holds
    }

    #[test]
    fn conditions_are_decided_as_haproxy_does() {
        for (text, expected) in [
            ("", false),
            ("0", false),
            ("2", true),
            ("!0", true),
            ("!!0", false),
            ("defined(STAGE)", true),
            ("defined(NOPE)", false),
            ("streq(a,a)", true),
            ("streq('a,b',\"a,b\")", true),
            ("streq(a, a)", false),
            ("strneq(a,b)", true),
            ("strstr(production,duct)", true),
            ("version_atleast(2.6)", true),
            ("version_atleast(2.6.4)", true),
            ("version_before(2.6-dev3)", false),
            ("version_before(3.0)", true),
            ("0 && 1 || 1", true),
            ("0 && (1 || 1)", false),
            ("! ( 1 && 0 )", true),
        ] {
            assert_eq!(holds(text), expected, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_an_error_with_a_place() {
        for (text, offset) in [("foo", 3), ("(1", 2), ("1 1", 2), ("streq(a,b", 9), ("1 &&", 4), (")", 0)] {
            let found = Condition::parse(text.as_bytes());
            assert!(found.is_err(), "{text} gave {found:?}");
            assert!(found.unwrap_err().offset <= offset, "{text}");
        }
    }

    #[test]
    fn what_only_the_binary_knows_is_false_and_said() {
        let environment = Environment::new([].into(), Version::new(2, 6));
        let outcome = Condition::parse(b"feature(OPENSSL) || nonsense(1)").unwrap().decide(&environment);
        let (feature, nonsense) = ("feature".to_owned(), "nonsense".to_owned());
        let expected = vec![
            Undecided::AboutTheBinary { name: feature, question: "feature(OPENSSL)".to_owned() },
            Undecided::Unknown { name: nonsense, question: "nonsense(1)".to_owned() },
        ];
        assert_eq!(outcome, Decision { holds: false, undecided: expected });
        let decided_before = Condition::parse(b"1 || feature(OPENSSL)").unwrap().decide(&environment);
        assert_eq!(decided_before, Decision { holds: true, undecided: vec![] });
    }

    #[test]
    fn what_the_binary_has_answered_is_decided() {
        let mut environment = Environment::new([].into(), Version::new(3, 2));
        let answers = [("enabled(SPLICE)".to_owned(), true), ("nonsense(1,2)".to_owned(), false)];
        environment.build = Some(Build { answers: answers.into(), ..Build::default() });
        for (text, holds) in [("enabled(SPLICE)", true), ("!nonsense(1,2)", true), ("nonsense(1,2)", false)] {
            let outcome = Condition::parse(text.as_bytes()).unwrap().decide(&environment);
            assert_eq!(outcome, Decision { holds, undecided: vec![] }, "{text}");
        }
        let other = Condition::parse(b"enabled(POLL)").unwrap().decide(&environment);
        assert_eq!(other.undecided.len(), 1);
    }

    #[test]
    fn deep_parentheses_do_not_overflow() {
        let text = "(".repeat(100_000);
        assert!(Condition::parse(text.as_bytes()).is_err());
        let nested = |depth| "(".repeat(depth) + "1" + &")".repeat(depth);
        assert_eq!(Condition::parse(nested(MAX_DEPTH).as_bytes()), Ok(Condition::Constant(true)));
        assert!(Condition::parse(nested(MAX_DEPTH + 1).as_bytes()).is_err());
    }
}
