//! Reports of a run, for people and machines. A reporter sees only events.

pub mod ci;
mod html;
mod json;
mod outlet;
mod progress;
mod several;
pub mod stderr;
mod story;
mod template;
mod text;

pub use html::html;
pub use json::Json;
pub use progress::Progress;
pub use several::Several;
pub use text::Text;

#[cfg(test)]
mod tests;
