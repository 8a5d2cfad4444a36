//! `drainswap config check`: shows every problem with its line and a caret.

use serde_json::json;

use super::super::contained::refuse_to_check;
use super::super::loaded_config::LoadedConfig;
use super::super::{App, print, print_object, reporters};
use crate::adapters::haproxy_service::{CheckReport, HaproxyService};
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::cfg::{Document, Problem, Severity, reports};
use crate::cli::Output;
use crate::report::ci::Ci;

impl App {
    pub(super) async fn config_check(&self, with_haproxy: bool) -> Result<Exit, Error> {
        let LoadedConfig { document, configuration, known, .. } = self.load_config().await?;
        let asked = if with_haproxy {
            refuse_to_check(&known.running)?;
            self.note_other_version(&known);
            known.service.check(None)?.map(|verdict| (known.service, verdict))
        } else {
            None
        };
        let problems = &configuration.problems;
        match self.output {
            Output::Json => {
                let haproxy = asked.as_ref().map(|(service, verdict)| {
                    json!({
                        "as": service.source.to_string(), "accepted": verdict.accepted, "messages": verdict.messages,
                    })
                });
                print_object(&json!({ "version": 1, "problems": problems, "haproxy": haproxy }))?;
            }
            Output::Text => {
                for report in reports(problems, &document) {
                    print(&(report + "\n"))?;
                }
                print(&format!("{}\n", summary(&document, problems)))?;
                if let Some((service, verdict)) = &asked {
                    print(&haproxy_report(service, verdict))?;
                }
            }
        }
        if reporters::ci(&self.ci) == Ci::Github {
            problems.iter().for_each(reporters::annotate_problem);
            let messages = asked.iter().flat_map(|(_, verdict)| &verdict.messages);
            messages.for_each(reporters::annotate_message);
        }
        let refused = asked.is_some_and(|(_, verdict)| !verdict.accepted);
        Ok(if configuration.has_errors() || refused { Exit::Configuration } else { Exit::Done })
    }
}

fn summary(document: &Document, problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let lines: usize = document.files.iter().map(|file| file.lines().len()).sum();
    let counted = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    };
    format!(
        "{}, {}, read as HAProxy {}: {}, {}",
        counted(document.files.len(), "file"),
        counted(lines, "line"),
        document.environment.version,
        counted(errors, "error"),
        counted(problems.len() - errors, "warning")
    )
}

fn haproxy_report(service: &HaproxyService, verdict: &CheckReport) -> String {
    let messages = verdict.messages.iter().map(|message| {
        let level = if message.is_alert { "alert" } else { "warning" };
        format!("  {level}: {message}\n")
    });
    let accepts = if verdict.accepted { "accepts it" } else { "rejects it" };
    format!("haproxy -c, run like {}, {accepts}\n{}", service.source, messages.collect::<String>())
}
