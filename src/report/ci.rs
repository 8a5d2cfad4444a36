//! What a CI system makes of a log, and the files that it reads.

mod files;
mod github;
mod gitlab;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::Path;

use crate::event::Fact;
use crate::outcome::list;

pub use files::Files;
pub use github::{Github, GithubFiles, Place, Severity, annotation};
pub use gitlab::Gitlab;

/// The CI system that a run is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Ci {
    /// GitHub Actions: groups, annotations, a step summary, outputs.
    Github,
    /// GitLab: sections that fold.
    Gitlab,
    /// Plain lines.
    None,
}

impl Ci {
    /// The one whose variables these are.
    #[must_use]
    pub fn of(variables: &BTreeMap<String, String>) -> Self {
        let is_set = |name: &str| variables.get(name).is_some_and(|value| value == "true");
        if is_set("GITHUB_ACTIONS") {
            Self::Github
        } else if is_set("GITLAB_CI") {
            Self::Gitlab
        } else {
            Self::None
        }
    }
}

/// Where the lines of a log go. When nobody reads them any more, nothing more is written, and the run goes on.
struct Lines {
    out: Box<dyn Write + Send>,
    muted: bool,
}

impl Lines {
    fn new(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), muted: false }
    }

    fn put(&mut self, line: &str) {
        if !self.muted {
            self.muted = writeln!(self.out, "{line}").and_then(|()| self.out.flush()).is_err();
        }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("muted", &self.muted).finish_non_exhaustive()
    }
}

/// The text without colours and control characters: what others have written moves no cursor and opens no section.
fn plain(text: &str) -> String {
    let shown = |letter: char| match letter {
        '\n' | '\t' => letter,
        letter if letter.is_control() => '\u{fffd}',
        letter => letter,
    };
    anstream::adapter::strip_str(text).to_string().chars().map(shown).collect()
}

/// How a log is folded at a fact.
enum Fold {
    /// What follows is folded under this title.
    Begin(String),
    /// What follows is to be seen.
    End,
}

impl Fold {
    fn at(fact: &Fact) -> Option<Self> {
        if let Fact::RunStarted { backend, .. } = fact {
            return Some(Self::Begin(format!("{backend}: before any server leaves rotation")));
        }
        if let Fact::LaneStarted { lane, of, servers, role, .. } = fact {
            return Some(Self::Begin(format!("[{lane}/{of}] {} ({role})", list(servers))));
        }
        let ends = matches!(
            fact,
            Fact::LaneFinished { .. }
                | Fact::LaneSkipped { .. }
                | Fact::StepFailed { .. }
                | Fact::UndoStarted { .. }
                | Fact::RunEnded { .. }
        );
        ends.then_some(Self::End)
    }
}

/// Adds to a file that the CI system has made, or makes it.
fn append(path: &Path, text: &str) -> std::io::Result<()> {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
}

/// What is said of a file that was not written.
fn not_written(path: &Path, error: &dyn fmt::Display) -> String {
    format!("note     {} was not written: {error}", path.display())
}

#[cfg(test)]
mod tests;
