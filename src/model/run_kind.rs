//! Whether a run deploys or rolls back.

use serde::{Deserialize, Serialize};

/// Whether a run deploys or rolls back, which decides what the next rollback returns to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Purpose")]
pub enum RunKind {
    /// Moves to the requested image.
    Deploy,
    /// Returns to the images that ran before the last deploy.
    Rollback,
}
