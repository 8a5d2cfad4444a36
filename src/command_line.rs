//! The command to type: what is printed for a person works as it stands, on the same haproxy.cfg, sockets and journals.

use std::borrow::Cow;

/// How drainswap was called here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    program: String,
    /// What was typed, or set by a variable, to lead to what is worked on. The settings file says the rest.
    options: Vec<(&'static str, String)>,
}

impl Default for CommandLine {
    fn default() -> Self {
        Self::new("drainswap", Vec::new())
    }
}

impl CommandLine {
    /// The program as it was called, and the options that lead to the same place.
    #[must_use]
    pub fn new(program: impl Into<String>, options: Vec<(&'static str, String)>) -> Self {
        Self { program: program.into(), options }
    }

    /// A command for the same place: `drainswap ready mobile/app1 -f /srv/haproxy.cfg`.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> String {
        let program = [self.program.as_str()].into_iter();
        shell(&program.chain(words.iter().copied()).chain(self.words()).collect::<Vec<_>>())
    }

    /// The options, word by word.
    fn words(&self) -> impl Iterator<Item = &str> {
        self.options.iter().flat_map(|(option, value)| [*option, value.as_str()])
    }

    /// A text whose commands (`` `drainswap status` ``) lead to the same place: those without any of the options get all of
    /// them.
    #[must_use]
    pub fn completed(&self, text: &str) -> String {
        let options = shell(&self.words().collect::<Vec<_>>());
        let is_bare = |command: &str| {
            command.starts_with("drainswap ")
                && !self.options.iter().any(|(option, _)| command.split(' ').any(|word| word == *option))
        };
        let parts = text.split('`').enumerate().map(|(index, part)| {
            if index % 2 == 1 && !options.is_empty() && is_bare(part) {
                Cow::Owned(format!("{part} {options}"))
            } else {
                Cow::Borrowed(part)
            }
        });
        parts.collect::<Vec<_>>().join("`")
    }
}

/// The words as a shell takes them, each quoted where it has to be. No word can hold a NUL; where one does, it is left out.
#[must_use]
pub fn shell(words: &[&str]) -> String {
    let quoted = words.iter().map(|word| word.replace('\0', ""));
    let quoted = quoted.map(|word| shlex::try_quote(&word).map_or_else(|_| String::new(), Cow::into_owned));
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_typed_again() {
        assert_eq!(CommandLine::default().command(&["status"]), "drainswap status");
        let options = vec![("-f", "/srv/two words.cfg".to_owned()), ("--socket", "lb2:9999".to_owned())];
        let typed = CommandLine::new("target/drainswap", options);
        assert_eq!(
            typed.command(&["resume", "mobile", "--undo"]),
            "target/drainswap resume mobile --undo -f '/srv/two words.cfg' --socket lb2:9999"
        );
    }

    #[test]
    fn the_commands_in_a_text_lead_to_the_same_place() {
        let text = "set `x` with `drainswap ready b/a`, or `drainswap resume b -f /other.cfg`";
        assert_eq!(CommandLine::default().completed(text), text);
        let typed = CommandLine::new("drainswap", vec![("-f", "/srv/two words.cfg".to_owned())]);
        assert_eq!(
            typed.completed(text),
            "set `x` with `drainswap ready b/a -f '/srv/two words.cfg'`, or `drainswap resume b -f /other.cfg`"
        );
        assert_eq!(typed.completed("a ` alone"), "a ` alone");
    }

    #[test]
    fn no_word_is_a_command_of_its_own() {
        for word in ["r.io$(id)/m:v1", "a;b", "a'b", "", "a b", "`id`", "*", "a\nb", "~", "a\0b"] {
            let line = CommandLine::default().command(&["deploy", "mobile", "--image", word]);
            let words = shlex::split(&line).unwrap();
            assert_eq!(words, ["drainswap", "deploy", "mobile", "--image", &word.replace('\0', "")]);
        }
    }
}
