//! Lines that start with a dot: `.if` and related directives, and messages.

use super::super::branch::{Blocks, BranchError};
use super::super::code;
use super::super::condition::{Condition, Undecided};
use super::super::diagnostic::{Diagnostic, LineLocation};
use super::super::keywords;
use super::super::syntax::Word;
use super::Reader;

impl Reader {
    /// Applies a directive. Returns whether its own line is active.
    pub(super) fn directive(
        &mut self,
        spot: &LineLocation<'_>,
        words: &[Word<'_>],
        blocks: &mut Blocks,
    ) -> bool {
        let first = words[0].span.clone();
        let active = blocks.active();
        let done = match &*words[0].text() {
            ".if" => {
                let done = blocks.open((spot.line, first.clone()), || self.decide(spot, words));
                done.map(|()| active)
            }
            ".elif" => {
                blocks.begin_elif(spot.line, || self.decide(spot, words)).map(|()| blocks.active_outside())
            }
            ".else" => blocks.begin_else(spot.line).map(|()| blocks.active_outside()),
            ".endif" => blocks.close(spot.line).map(|()| blocks.active()),
            _ if !active => Ok(false),
            name => {
                self.message(spot, name, words);
                Ok(true)
            }
        };
        done.unwrap_or_else(|misfit| {
            let code = if misfit == BranchError::TooDeep { code::DEEP_NESTING } else { code::LONE_DIRECTIVE };
            let message = format!("unexpected `{}`: {misfit}", words[0].text());
            self.problems.push(spot.problem(first, Diagnostic::error(code, message)));
            active
        })
    }

    fn decide(&mut self, spot: &LineLocation<'_>, words: &[Word<'_>]) -> bool {
        let Some(arguments) = words.get(1..).filter(|arguments| !arguments.is_empty()) else { return false };
        let joined = arguments.iter().map(|word| word.bytes).collect::<Vec<_>>().join(&b' ');
        let span = arguments[0].span.start..arguments[arguments.len() - 1].span.end;
        let condition = match Condition::parse(&joined) {
            Ok(condition) => condition,
            Err(unreadable) => {
                let readable = String::from_utf8_lossy(&joined[..unreadable.offset]);
                let message = format!(
                    "invalid condition after `{readable}`: expected predicates such as defined(NAME), joined by && or ||"
                );
                self.problems.push(spot.problem(span, Diagnostic::error(code::CONDITION, message)));
                return false;
            }
        };
        let outcome = condition.decide(&self.environment);
        for undecided in &outcome.undecided {
            let finding = match undecided {
                Undecided::Arguments { .. } => Diagnostic::error(code::CONDITION, undecided.to_string()),
                Undecided::AboutTheBinary { question, .. } | Undecided::Unknown { question, .. } => {
                    self.questions.insert(question.clone());
                    Diagnostic::warning(code::UNDECIDED_CONDITION, undecided.to_string())
                }
            };
            self.problems.push(spot.problem(span.clone(), finding));
        }
        outcome.holds
    }

    /// Handles `.alert` and related directives: they take one argument, and `.alert` and `.warning` are
    /// problems.
    fn message(&mut self, spot: &LineLocation<'_>, name: &str, words: &[Word<'_>]) {
        let said = words.get(1).map(|word| word.text().into_owned()).unwrap_or_default();
        let finding = match name {
            ".alert" | ".warning" | ".notice" | ".diag" if words.len() != 2 => {
                let message = format!("`{name}` takes exactly one argument; quote the message");
                Some(Diagnostic::error(code::DIRECTIVE_ARGUMENT, message))
            }
            ".alert" => Some(Diagnostic::error(code::ALERT, said)),
            ".warning" => Some(Diagnostic::warning(code::CONFIGURED_WARNING, said)),
            ".notice" | ".diag" => None,
            _ => {
                let known = [".if", ".elif", ".else", ".endif", ".diag", ".notice", ".warning", ".alert"];
                let nearest = keywords::nearest(name, known);
                Some(
                    Diagnostic::error(code::UNKNOWN_DIRECTIVE, format!("unknown directive `{name}`"))
                        .suggest(nearest),
                )
            }
        };
        self.problems.extend(finding.map(|finding| spot.problem(words[0].span.clone(), finding)));
    }
}
