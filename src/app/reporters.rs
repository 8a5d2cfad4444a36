//! Chooses the reporters of a run, and annotates errors for a CI system.

use std::io::{IsTerminal, Write};

use super::App;
use crate::adapters::environment;
use crate::adapters::haproxy_service::Message;
use crate::app::error::Error;
use crate::cfg::{self, Problem};
use crate::cli::{CiFlags, Output};
use crate::report::ci::{
    AnnotationLevel, AnnotationLocation, Ci, Files, Github, GithubFiles, Gitlab, annotation,
};
use crate::report::stderr::Stderr;
use crate::report::{Json, MultiReporter, Progress, Text};

/// Returns the CI system of `--ci`, or else the one that the environment shows.
pub(super) fn ci(flags: &CiFlags) -> Ci {
    flags.ci.unwrap_or_else(|| Ci::of(&environment::variables()))
}

/// Annotates a GitHub workflow run with an error. Problems in haproxy.cfg are annotated on their lines.
pub(super) fn annotate(error: &Error, text: &str) {
    if let Error::Configuration { problems, .. } = error {
        problems.iter().for_each(annotate_problem);
    } else {
        write_command(&annotation(AnnotationLevel::Error, "drainswap", None, text));
    }
}

/// Annotates a GitHub workflow run with a problem in haproxy.cfg.
pub(super) fn annotate_problem(problem: &Problem) {
    let severity = match problem.severity {
        cfg::Severity::Warning => AnnotationLevel::Warning,
        cfg::Severity::Error => AnnotationLevel::Error,
    };
    let Problem { line, column, .. } = *problem;
    let place = AnnotationLocation { file: problem.path.display().to_string(), line, column: Some(column) };
    let help = problem.help.iter().map(|help| format!("\n{help}"));
    let message: String = std::iter::once(problem.message.clone()).chain(help).collect();
    write_command(&annotation(severity, problem.code, Some(&place), &message));
}

/// Annotates a GitHub workflow run with a message of HAProxy.
pub(super) fn annotate_message(message: &Message) {
    let severity = if message.is_alert { AnnotationLevel::Error } else { AnnotationLevel::Warning };
    let place = message.place.as_ref().map(|(file, line)| AnnotationLocation {
        file: file.clone(),
        line: *line,
        column: None,
    });
    write_command(&annotation(severity, "HAProxy", place.as_ref(), &message.text));
}

fn write_command(command: &str) {
    let _gone = writeln!(Stderr, "{command}");
}

impl App {
    /// Returns the reporters: JSON on stdout, a CI system's format, a live line on a terminal, or plain lines
    /// elsewhere; and those for the files that were asked for, such as events.
    pub(super) fn listener(&self) -> Result<MultiReporter, Error> {
        let live =
            std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let mut several = MultiReporter::default();
        match (self.output, ci(&self.ci)) {
            (Output::Json, _) => several.add(Json::on_stdout()),
            (Output::Text, Ci::Github) => {
                let files = GithubFiles::of(&environment::variables());
                several.add(Github::new(Stderr, files, self.quiet));
            }
            (Output::Text, Ci::Gitlab) => several.add(Gitlab::new(Stderr, self.quiet)),
            (Output::Text, Ci::None) if live && !self.quiet => several.add(Progress::default()),
            (Output::Text, Ci::None) => several.add(Text::new(self.quiet)),
        }
        if let Some(files) = Files::new(self.ci.junit.clone(), self.ci.dotenv.clone()) {
            several.add(files);
        }
        if let Some(events) = self.events()? {
            several.add(events);
        }
        Ok(several)
    }
}
