//! An event as one JSON object: its own keys come first, and then those of its kind.

use jiff::Timestamp;
use schemars::Schema;
use serde::{Deserialize, Serialize};
use serde_json::{Result, Value, from_str, to_string};

use super::{Event, EventKind};
use crate::model::ids::{LaneId, RunId};
use crate::run::outcome::Outcome;

/// The keys that every event has.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    at: Timestamp,
    run: RunId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lane: Option<LaneId>,
}

/// The key that names the kind.
#[derive(Serialize, Deserialize)]
struct Name {
    event: String,
}

/// The keys of [`EventKind::RunEnded`] beside those of its outcome.
#[derive(Serialize, Deserialize)]
struct End {
    took_ms: u64,
    own_ms: Option<u64>,
}

/// The name of [`EventKind::RunEnded`].
const RUN_ENDED: &str = "run_ended";

impl Event {
    /// Returns the event as one JSON object on one line.
    ///
    /// # Errors
    /// Fails if a part of it cannot be written as JSON.
    pub fn to_json(&self) -> Result<String> {
        let Self { version, at, run, lane, kind } = self;
        let mut objects =
            vec![to_string(&Head { version: *version, at: *at, run: run.clone(), lane: *lane })];
        if let EventKind::RunEnded { outcome, took_ms, own_ms } = kind {
            let name = Name { event: RUN_ENDED.to_owned() };
            let end = End { took_ms: *took_ms, own_ms: *own_ms };
            objects.extend([to_string(&name), to_string(outcome), to_string(&end)]);
        } else {
            objects.push(to_string(kind));
        }
        objects.into_iter().collect::<Result<Vec<_>>>().map(|objects| joined(&objects))
    }

    /// Reads an event of any version. Ignores keys that it does not know.
    ///
    /// # Errors
    /// Fails if the text is not an event.
    pub fn from_json(text: &str) -> Result<Self> {
        let Head { version, at, run, lane } = from_str(text)?;
        let Name { event } = from_str(text)?;
        let kind = if event == RUN_ENDED {
            let End { took_ms, own_ms } = from_str(text)?;
            EventKind::RunEnded { outcome: from_str::<Outcome>(text)?, took_ms, own_ms }
        } else {
            from_str(text)?
        };
        Ok(Self { version, at, run, lane, kind })
    }
}

/// Joins objects that are not empty to one with the keys of all.
fn joined(objects: &[String]) -> String {
    let inner = |object: &String| object[1..object.len() - 1].to_owned();
    format!("{{{}}}", objects.iter().map(inner).collect::<Vec<_>>().join(","))
}

/// Adds to the schema of a kind that its events always name their lane.
pub(super) fn require_lane(schema: &mut Schema) {
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.push("lane".into());
    }
}
