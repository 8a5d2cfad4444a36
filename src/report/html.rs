//! A run as one HTML page: what happened to every server, and why. The page has no external resources and no
//! scripts.

mod chart;
mod page;
mod timeline;

use crate::report::template::Template;
use crate::run::event::Event;
use crate::run::journal::Run;

/// Renders the page of a run from its journal and its stored events.
///
/// # Errors
/// Fails only if the template does not match its values, which is a bug.
pub fn html(run: &Run, events: &[Event]) -> tera::TeraResult<String> {
    Template::Report.fill(&page::Page::of(run, events))
}

#[cfg(test)]
mod tests;
