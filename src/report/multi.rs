//! Several reporters of one run.

use std::fmt;

use crate::run::event::{Event, Reporter};

/// A reporter that passes every event on to a list of reporters.
#[derive(Default)]
pub struct MultiReporter(Vec<Box<dyn Reporter + Send>>);

impl MultiReporter {
    /// Creates an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a reporter.
    pub fn add(&mut self, listener: impl Reporter + Send + 'static) {
        self.0.push(Box::new(listener));
    }
}

impl Reporter for MultiReporter {
    fn report(&mut self, event: &Event) {
        for listener in &mut self.0 {
            listener.report(event);
        }
    }
}

impl fmt::Debug for MultiReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Several").field(&self.0.len()).finish()
    }
}
