//! Several reporters of one run.

use std::fmt;

use crate::event::{Event, Listener};

/// A reporter that passes every event on to a list of reporters.
#[derive(Default)]
pub struct Several(Vec<Box<dyn Listener + Send>>);

impl Several {
    /// Creates an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a reporter.
    pub fn add(&mut self, listener: impl Listener + Send + 'static) {
        self.0.push(Box::new(listener));
    }
}

impl Listener for Several {
    fn hear(&mut self, event: &Event) {
        for listener in &mut self.0 {
            listener.hear(event);
        }
    }
}

impl fmt::Debug for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Several").field(&self.0.len()).finish()
    }
}
