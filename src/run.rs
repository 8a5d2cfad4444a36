//! What a run is and what it leaves: its events, its outcome, its journal, and the history of them.

pub mod engine_call;
pub mod event;
pub mod history;
pub mod journal;
pub mod outcome;
pub mod promotion;
pub mod retention;
pub mod story;
