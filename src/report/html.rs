//! A run as one page: what happened to every server, and why. The page needs nothing beside itself and runs no script.

mod chart;
mod page;
mod timeline;

use crate::event::Event;
use crate::journal::Run;
use crate::report::template::Template;

/// The page of a run, from its journal and from what is kept of its events.
///
/// # Errors
/// Only a template that does not fit its values, which is a bug.
pub fn html(run: &Run, events: &[Event]) -> tera::TeraResult<String> {
    Template::Report.fill(&page::Page::of(run, events))
}

#[cfg(test)]
mod tests;
