//! The command to type: what is printed for a person works as it stands, on the same haproxy.cfg, sockets and journals.

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
    pub fn command(&self, words: &str) -> String {
        let mut line = format!("{} {words}", quoted(&self.program));
        for (option, value) in &self.options {
            line.extend([" ", option, " ", &quoted(value)]);
        }
        line
    }
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_typed_again() {
        assert_eq!(CommandLine::default().command("status"), "drainswap status");
        let options = vec![("-f", "/srv/two words.cfg".to_owned()), ("--socket", "lb2:9999".to_owned())];
        let typed = CommandLine::new("target/drainswap", options);
        assert_eq!(
            typed.command("resume mobile --undo"),
            "target/drainswap resume mobile --undo -f '/srv/two words.cfg' --socket lb2:9999"
        );
    }
}
