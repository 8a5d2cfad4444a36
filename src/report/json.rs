//! One event a line on stdout.

use std::io::Write;

use crate::event::{Event, Listener};

/// Writes every event as one JSON object a line, flushed at once.
#[derive(Debug, Default)]
pub struct Json {
    /// A reader that went away is no reason to stop a run; nothing more is written to it.
    muted: bool,
}

impl Listener for Json {
    fn hear(&mut self, event: &Event) {
        if self.muted {
            return;
        }
        let mut out = std::io::stdout().lock();
        let written = serde_json::to_string(event)
            .map_err(std::io::Error::other)
            .and_then(|line| writeln!(out, "{line}").and_then(|()| out.flush()));
        self.muted = written.is_err();
    }
}
