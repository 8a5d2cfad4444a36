//! The environment variables and the version with which a configuration is read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::build::Build;
use super::syntax::Word;
use super::version::Version;

/// The environment of `HAProxy` when it reads its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The variables of the `HAProxy` process: those of its unit, not those of the shell that runs drainswap.
    pub variables: BTreeMap<String, String>,
    /// The version that the configuration is read as.
    pub version: Version,
    /// How the binary was built, if drainswap could ask it: conditions need this.
    pub build: Option<Build>,
}

impl Environment {
    /// Creates an environment with an unknown build.
    #[must_use]
    pub fn new(variables: BTreeMap<String, String>, version: Version) -> Self {
        Self { variables, version, build: None }
    }

    /// Returns this environment with the variables that `HAProxy` adds before it reads the first line.
    #[must_use]
    pub fn at_start(&self) -> Self {
        let mut environment = self.clone();
        environment.variables.insert("HAPROXY_BRANCH".to_owned(), self.version.to_string());
        environment
    }

    /// Applies `setenv`, `presetenv`, `unsetenv` and `resetenv`; other lines change nothing.
    ///
    /// `HAProxy` applies them in a `global` section, and at once: the next line already sees the change.
    pub fn obey(&mut self, words: &[Word<'_>]) {
        let Some((verb, arguments)) = words.split_first() else { return };
        let mut arguments = arguments.iter().map(|word| word.text().into_owned());
        match &*verb.text() {
            "setenv" => {
                if let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
                    self.variables.insert(name, value);
                }
            }
            "presetenv" => {
                if let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
                    self.variables.entry(name).or_insert(value);
                }
            }
            "unsetenv" => {
                for name in arguments {
                    self.variables.remove(&name);
                }
            }
            "resetenv" => {
                let kept: Vec<String> = arguments.collect();
                self.variables.retain(|name, _| kept.contains(name));
            }
            _ => {}
        }
    }

    /// The longest expanded address, in bytes: no real address is longer.
    const MAX_ADDRESS: usize = 1024;

    /// Applies the second expansion, which only addresses get: `$NAME` and `${NAME}`, in any quoting.
    ///
    /// An unset variable is empty, so `${NOPE}:80` is `:80`, which is 0.0.0.0. As in `HAProxy`, a brace that
    /// is not closed right after the name is dropped: `${NAME-default}` leaves `-default}`. A text that gets
    /// too long for an address is cut there.
    #[must_use]
    pub fn expand<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !text.contains('$') {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let (after, braced) = after.strip_prefix('{').map_or((after, false), |inner| (inner, true));
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            let (name, tail) = after.split_at(end);
            rest = if braced { tail.strip_prefix('}').unwrap_or(tail) } else { tail };
            let value = self.variables.get(name).map_or("", String::as_str);
            out.extend(value.chars().take(Self::MAX_ADDRESS));
            if out.len() > Self::MAX_ADDRESS {
                return Cow::Owned(out);
            }
        }
        out.push_str(rest);
        Cow::Owned(out)
    }
}

/// Returns whether a configuration contains a variable's name as a word, in any position: `"$NAME"`,
/// `env(NAME)`, `defined(NAME)`, `setenv NAME`.
#[must_use]
pub fn names(text: &[u8], variable: &str) -> bool {
    let is_letter = |at: Option<&u8>| at.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let is_word = |start: usize| {
        let end = start + variable.len();
        !is_letter(start.checked_sub(1).and_then(|before| text.get(before))) && !is_letter(text.get(end))
    };
    !variable.is_empty() && memchr::memmem::find_iter(text, variable).any(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_named_as_a_word() {
        let text = b"bind \"$HOST:${PORT-80}\"\n.if defined(STAGE)\nhttp-request set-header x %[env(TOKEN)]\nHOSTNAME";
        for named in ["HOST", "PORT", "STAGE", "TOKEN", "HOSTNAME"] {
            assert!(names(text, named), "{named}");
        }
        for other in ["", "HOS", "OST", "TOKE", "LD_PRELOAD"] {
            assert!(!names(text, other), "{other}");
        }
    }
}
