//! What people and machines are told of a run. A reporter sees only events.

mod json;
mod progress;
mod text;

pub use json::Json;
pub use progress::Progress;
pub use text::Text;
