//! What a run was about to do and has done, made durable before and after each step.
//!
//! One file a run, one JSON object a line. A record that could not be written whole, because the
//! machine died, can only be the last one, and is dropped.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::ContainerId;
use crate::outcome::Outcome;
use crate::plan::{Plan, Step};

/// The version of the records' form.
pub const VERSION: u32 = 1;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
pub enum Record {
    /// The run was opened.
    Opened {
        /// The form's version.
        version: u32,
        /// The process that runs it.
        pid: u32,
        /// All that it will do.
        plan: Box<Plan>,
    },
    /// A step is about to be done.
    Begun {
        /// When.
        at: Timestamp,
        /// The lane's index.
        lane: usize,
        /// Which step.
        step: Step,
    },
    /// A step has been done.
    Done {
        /// When.
        at: Timestamp,
        /// The lane's index.
        lane: usize,
        /// Which step.
        step: Step,
    },
    /// A lane's new container exists.
    Created {
        /// The lane's index.
        lane: usize,
        /// The new container.
        container: ContainerId,
    },
    /// A lane was taken back as a whole.
    Undone {
        /// When.
        at: Timestamp,
        /// The lane's index.
        lane: usize,
    },
    /// The run ended.
    Closed {
        /// When.
        at: Timestamp,
        /// How.
        outcome: Outcome,
    },
}

/// What the records of one run add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What it was to do.
    pub plan: Plan,
    /// The process that ran it.
    pub pid: u32,
    /// What each lane has begun and not taken back.
    pub begun: BTreeMap<usize, Vec<Step>>,
    /// The new container of each lane.
    pub created: BTreeMap<usize, ContainerId>,
    /// How it ended; `None` while it runs, or when it was killed.
    pub outcome: Option<Outcome>,
}

/// Why a journal is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {number} {reason}")]
pub struct Corrupt {
    /// The record's number, from 1.
    pub number: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl Run {
    /// Reads a run's journal. `None` where not even its first record was written whole.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Corrupt> {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut run: Option<Self> = None;
        for (index, line) in
            bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate()
        {
            let corrupt = |reason: String| Corrupt { number: index + 1, reason };
            let record: Record = serde_json::from_slice(line)
                .map_err(|error| corrupt(format!("is not understood: {error}")))?;
            match &mut run {
                None => run = Some(Self::open(record).map_err(corrupt)?),
                Some(run) => run.add(record).map_err(corrupt)?,
            }
        }
        Ok(run)
    }

    /// The lane that was worked on last, beyond the creation of its container. Those before it were through.
    #[must_use]
    pub fn in_hand(&self) -> Option<usize> {
        let touched = |begun: &[Step]| begun.iter().any(|step| step.touches_traffic());
        self.begun.iter().filter(|(_, begun)| touched(begun)).map(|(lane, _)| *lane).max()
    }

    /// Whether it was removing old containers: then it had succeeded with what it had reached.
    #[must_use]
    pub fn was_removing(&self) -> bool {
        self.begun.values().flatten().any(|step| *step == Step::Remove)
    }

    fn open(record: Record) -> Result<Self, String> {
        match record {
            Record::Opened { plan, .. } if plan.lanes.iter().any(|lane| lane.servers.is_empty()) => {
                Err("has a lane without a server".to_owned())
            }
            Record::Opened { version: VERSION, pid, plan } => {
                Ok(Self { plan: *plan, pid, begun: BTreeMap::new(), created: BTreeMap::new(), outcome: None })
            }
            Record::Opened { version, .. } => {
                Err(format!("has version {version}; this drainswap reads version {VERSION}"))
            }
            Record::Begun { .. }
            | Record::Done { .. }
            | Record::Created { .. }
            | Record::Undone { .. }
            | Record::Closed { .. } => Err("comes before the run was opened".to_owned()),
        }
    }

    /// The one place that holds every legal transition.
    fn add(&mut self, record: Record) -> Result<(), String> {
        if self.outcome.is_some() {
            return Err("comes after the run was closed".to_owned());
        }
        match record {
            Record::Opened { .. } => return Err("opens the run a second time".to_owned()),
            Record::Begun { lane, step, .. } => self.lane(lane)?.push(step),
            Record::Done { lane, step, .. } if self.lane(lane)?.contains(&step) => {}
            Record::Done { step, .. } => return Err(format!("ends the step {step:?}, which was not begun")),
            Record::Created { lane, container } => {
                self.lane(lane)?;
                self.created.insert(lane, container);
            }
            Record::Undone { lane, .. } => self.lane(lane)?.clear(),
            Record::Closed { outcome, .. } => self.outcome = Some(outcome),
        }
        Ok(())
    }

    fn lane(&mut self, lane: usize) -> Result<&mut Vec<Step>, String> {
        if lane >= self.plan.lanes.len() {
            return Err(format!(
                "names lane {lane}, and the plan has {}, counted from 0",
                self.plan.lanes.len()
            ));
        }
        Ok(self.begun.entry(lane).or_default())
    }
}

#[cfg(test)]
mod tests;
