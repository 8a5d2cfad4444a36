//! What a CI system makes of a log, and the files that it reads.

mod files;
mod github;
mod gitlab;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::event::Fact;
use crate::foreign;
use crate::outcome::list;
use crate::output_file;

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

/// Whether GitHub reads what this process prints.
static GITHUB_READS: AtomicBool = AtomicBool::new(false);

/// From now on nothing that [`shown`] returns is a command to this system.
pub fn read_by(ci: Ci) {
    if ci == Ci::Github {
        GITHUB_READS.store(true, Ordering::Relaxed);
    }
}

/// A text as it may be printed: line ends and colours stay, no other control character does, and where a CI system reads
/// it no line is a command.
#[must_use]
pub fn shown(text: &str) -> String {
    let text = foreign::shown(text);
    if GITHUB_READS.load(Ordering::Relaxed) { inert(&text) } else { text.into_owned() }
}

/// The text with no line that GitHub takes for a command: `::name::` at a line's beginning, `##[name]` anywhere in it.
/// Colours before the `::` change nothing.
fn inert(text: &str) -> String {
    let text = text.replace("##[", "## [");
    let lines = text.split_inclusive('\n').map(|line| {
        let is_command = anstream::adapter::strip_str(line).to_string().trim_start().starts_with("::");
        if is_command { format!("| {line}") } else { line.to_owned() }
    });
    lines.collect()
}

/// The one way to a CI system's log: a command is made of parts that cannot end it, and no line of a text is one. When
/// nobody reads any more, nothing more is written, and the run goes on.
struct Lines {
    out: Box<dyn Write + Send>,
    muted: bool,
}

impl Lines {
    fn new(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), muted: false }
    }

    /// Writes a command, which is one line.
    fn command(&mut self, line: &str) {
        self.put(line);
    }

    /// Writes what a person reads.
    fn text(&mut self, text: &str) {
        inert(&plain(text)).lines().for_each(|line| self.put(line));
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

/// The text without colours and control characters, in as many lines as it has.
fn plain(text: &str) -> String {
    foreign::lines(anstream::adapter::strip_str(text).to_string().as_bytes())
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
    let file = output_file::append(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
}

/// What is said of a file that was not written.
fn not_written(path: &Path, error: &dyn fmt::Display) -> String {
    format!("note     {} was not written: {error}", path.display())
}

#[cfg(test)]
mod tests;
