//! Reports of a run, for people and machines. A reporter sees only events.

mod background_writer;
pub mod ci;
mod html;
mod json;
mod multi;
mod progress;
pub mod status;
pub mod stderr;
mod template;
mod text;

pub use html::html;
pub use json::Json;
pub use multi::MultiReporter;
pub use progress::Progress;
pub use text::Text;

#[cfg(test)]
mod tests;
