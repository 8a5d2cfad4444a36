//! GitLab: a collapsible section for each wave of lanes.

use std::io::Write;

use super::super::text::{is_bad, line};
use super::{Fold, Lines};
use crate::model::sanitize;
use crate::run::event::{Event, Reporter};
use crate::run::story::Story;

/// A reporter for a GitLab job.
#[derive(Debug)]
pub struct Gitlab {
    lines: Lines,
    quiet: bool,
    story: Story,
    /// The name of the open section.
    section: Option<String>,
    sections: usize,
}

impl Gitlab {
    /// Creates a reporter; a quiet one reports only failures and warnings.
    #[must_use]
    pub fn new(out: impl Write + Send + 'static, quiet: bool) -> Self {
        Self { lines: Lines::new(out), quiet, story: Story::default(), section: None, sections: 0 }
    }

    fn begin(&mut self, event: &Event, header: &str) {
        self.end(event);
        self.sections += 1;
        let (at, name) = (event.at.as_second(), format!("drainswap_{}", self.sections));
        let header = sanitize::line(header);
        self.lines.command(&format!("\u{1b}[0Ksection_start:{at}:{name}[collapsed=true]\r\u{1b}[0K{header}"));
        self.section = Some(name);
    }

    fn end(&mut self, event: &Event) {
        if let Some(name) = self.section.take() {
            self.lines.command(&format!("\u{1b}[0Ksection_end:{}:{name}\r\u{1b}[0K", event.at.as_second()));
        }
    }
}

impl Reporter for Gitlab {
    fn report(&mut self, event: &Event) {
        self.story.record(event);
        if self.quiet {
            if is_bad(&event.kind)
                && let Some(text) = line(event, &self.story)
            {
                self.lines.text(&text);
            }
            return;
        }
        match Fold::at(event, &self.story) {
            Some(Fold::Begin(header)) => self.begin(event, &header),
            Some(Fold::End) => self.end(event),
            None => {}
        }
        if let Some(text) = line(event, &self.story) {
            self.lines.text(&text);
        }
    }
}
