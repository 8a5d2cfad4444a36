//! config check: every problem, with its line and a caret.

use serde_json::json;

use super::super::{App, print};
use crate::cfg::{Document, Problem, Severity};
use crate::cli::Output;
use crate::error::Error;
use crate::exit::Exit;

impl App {
    pub(super) fn config_check(&self) -> Result<Exit, Error> {
        let (document, configuration) = self.document()?;
        let problems = &configuration.problems;
        match self.output {
            Output::Json => print(&format!("{}\n", json!({ "version": 1, "problems": problems })))?,
            Output::Text => {
                for problem in problems {
                    print(&format!("{:?}\n", problem.report(&document)))?;
                }
                print(&format!("{}\n", verdict(&document, problems)))?;
            }
        }
        Ok(if configuration.has_errors() { Exit::Configuration } else { Exit::Done })
    }
}

fn verdict(document: &Document, problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let warnings = problems.len() - errors;
    let lines: usize = document.files.iter().map(|file| file.lines().len()).sum();
    let files = document.files.len();
    let version = document.environment.version;
    format!(
        "{files} file(s), {lines} lines, read as HAProxy {version}: {errors} error(s), {warnings} warning(s)"
    )
}
