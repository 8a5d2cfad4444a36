//! The steps of a lane.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

/// One step of a lane. Every step can be repeated harmlessly.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Create the new container without starting it.
    Create,
    /// Check again that the floor holds and that the servers that take over answer.
    Verify,
    /// Set the server lines to drain.
    Drain,
    /// Wait until nothing is in flight and nothing new can arrive.
    AwaitIdle,
    /// Set the server lines to maint.
    Maint,
    /// Check once more that requests which arrived just before maint have ended, and that no reload has undone maint.
    Settle,
    /// Stop the old container and keep it under another name.
    #[serde(rename = "keep")]
    Stop,
    /// Give the new container the old one's name and start it.
    Start,
    /// Wait until the new container answers.
    Prove,
    /// Set the server lines to ready.
    Ready,
    /// Check that `HAProxy` reports them up and gives them traffic.
    Confirm,
    /// Remove the old containers that are not kept.
    Remove,
    /// Undo: stop and remove the new container, or put a kept one aside again.
    Discard,
    /// Undo: give the old container its name back and start it.
    Return,
    /// Undo: wait until the old container answers.
    ProveOld,
    /// Undo: set the server lines back to the state that they had.
    PutBack,
}

impl Step {
    /// Returns whether the step may change which servers serve.
    #[must_use]
    pub fn touches_traffic(self) -> bool {
        !matches!(self, Self::Create | Self::Verify | Self::Prove)
    }

    /// Returns whether the step belongs to those that take servers out of rotation.
    #[must_use]
    pub fn takes_out(self) -> bool {
        matches!(self, Self::Verify | Self::Drain | Self::AwaitIdle | Self::Maint | Self::Settle)
    }
}

impl fmt::Display for Step {
    /// Writes the word that begins the step's line in the printed plan.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Verify => "verify",
            Self::Drain => "drain",
            Self::AwaitIdle => "wait",
            Self::Maint => "maint",
            Self::Settle => "settle",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Prove => "prove",
            Self::Ready => "ready",
            Self::Confirm => "confirm",
            Self::Remove => "remove",
            Self::Discard => "discard",
            Self::Return => "return",
            Self::ProveOld => "prove old",
            Self::PutBack => "put back",
        })
    }
}

/// Returns the names of steps in parentheses, with a space before them, or nothing if there are none.
#[must_use]
pub fn in_parentheses(steps: &[Step]) -> String {
    let names: Vec<String> = steps.iter().map(ToString::to_string).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}
