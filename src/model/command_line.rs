//! The commands that drainswap prints for people: they work as printed, on the same haproxy.cfg, sockets and journals.

use std::borrow::Cow;

/// The command line that drainswap was called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    program: String,
    /// The options, from flags or variables, that select the site. The settings file has the rest.
    options: Vec<(&'static str, String)>,
}

impl Default for CommandLine {
    fn default() -> Self {
        Self::new("drainswap", Vec::new())
    }
}

impl CommandLine {
    /// Creates a command line from the program as it was called and the options that select the site.
    #[must_use]
    pub fn new(program: impl Into<String>, options: Vec<(&'static str, String)>) -> Self {
        Self { program: program.into(), options }
    }

    /// Returns a command for the same site: `drainswap ready mobile/app1 -f /srv/haproxy.cfg`.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> String {
        let program = [self.program.as_str()].into_iter();
        shell(&program.chain(words.iter().copied()).chain(self.words()).collect::<Vec<_>>())
    }

    /// Returns the options, word by word.
    fn words(&self) -> impl Iterator<Item = &str> {
        self.options.iter().flat_map(|(option, value)| [*option, value.as_str()])
    }

    /// Completes the commands in a text (`` `drainswap status` ``) so that they work on the same site: a command
    /// without any of the options gets all of them.
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

/// Joins words for a shell, each quoted if necessary. A NUL, which no word can contain, is left out.
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
    fn a_command_repeats_the_options() {
        assert_eq!(CommandLine::default().command(&["status"]), "drainswap status");
        let options = vec![("-f", "/srv/two words.cfg".to_owned()), ("--socket", "lb2:9999".to_owned())];
        let typed = CommandLine::new("target/drainswap", options);
        assert_eq!(
            typed.command(&["resume", "mobile", "--undo"]),
            "target/drainswap resume mobile --undo -f '/srv/two words.cfg' --socket lb2:9999"
        );
    }

    #[test]
    fn commands_in_a_text_get_the_options() {
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
    fn no_word_becomes_a_shell_command() {
        for word in ["r.io$(id)/m:v1", "a;b", "a'b", "", "a b", "`id`", "*", "a\nb", "~", "a\0b"] {
            let line = CommandLine::default().command(&["deploy", "mobile", "--image", word]);
            let words = shlex::split(&line).unwrap();
            assert_eq!(words, ["drainswap", "deploy", "mobile", "--image", &word.replace('\0', "")]);
        }
    }
}
