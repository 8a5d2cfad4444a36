//! What a run was about to do and has done, made durable before and after each step.
//!
//! One file a run, one JSON object a line. A record that could not be written whole, because the
//! machine died, can only be the last one, and is left out. Who reads the file says so.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::ContainerId;
use crate::outcome::Outcome;
use crate::plan::{Lane, Plan, Step};

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
pub enum Corrupt {
    /// A record is no record, or cannot follow the one before it.
    #[error("record {number} {reason}. Move the file away if you know how that run ended")]
    Record {
        /// The record's number, from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer drainswap wrote it.
    #[error("it has version {version}, and this drainswap reads version {VERSION}: update drainswap")]
    Newer {
        /// The version that it has.
        version: u64,
    },
}

/// The records that were written whole: all that is told of a journal. What is behind them is a torn one.
#[must_use]
pub fn whole(bytes: &[u8]) -> &[u8] {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(&[], |end| &bytes[..=end])
}

impl Run {
    /// Reads a run's journal. `None` where not even its first record was written whole.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Corrupt> {
        let mut fold: Option<Fold> = None;
        let lines = whole(bytes).split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for (index, line) in lines.enumerate() {
            let corrupt = |reason: String| Corrupt::Record { number: index + 1, reason };
            if fold.is_none() {
                refuse_newer(line)?;
            }
            let record: Record = serde_json::from_slice(line)
                .map_err(|error| corrupt(format!("is not understood: {error}")))?;
            match &mut fold {
                None => fold = Some(Fold::open(record).map_err(corrupt)?),
                Some(fold) => fold.add(record).map_err(corrupt)?,
            }
        }
        Ok(fold.map(|fold| fold.run))
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
}

/// A version of tomorrow may say everything else in another way.
fn refuse_newer(line: &[u8]) -> Result<(), Corrupt> {
    #[derive(Deserialize)]
    struct Form {
        version: u64,
    }
    match serde_json::from_slice(line) {
        Ok(Form { version }) if version > u64::from(VERSION) => Err(Corrupt::Newer { version }),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// What the records add up to so far, and what decides whether the next one can follow.
struct Fold {
    run: Run,
    /// The steps that were begun and not ended, each with its lane.
    under_way: BTreeSet<(usize, Step)>,
}

impl Fold {
    fn open(record: Record) -> Result<Self, String> {
        match record {
            Record::Opened { version: VERSION, pid, plan } => {
                let run =
                    Run { plan: *plan, pid, begun: BTreeMap::new(), created: BTreeMap::new(), outcome: None };
                Ok(Self { run, under_way: BTreeSet::new() })
            }
            Record::Opened { version, .. } => Err(format!("has version {version}, which nobody ever wrote")),
            Record::Begun { .. }
            | Record::Done { .. }
            | Record::Created { .. }
            | Record::Undone { .. }
            | Record::Closed { .. } => Err("comes before the run was opened".to_owned()),
        }
    }

    /// The one place that holds every legal transition. A step may be begun again at any time, and a lane taken back:
    /// who resumes a run repeats what may not have had its effect.
    fn add(&mut self, record: Record) -> Result<(), String> {
        if self.run.outcome.is_some() {
            return Err("comes after the run was closed".to_owned());
        }
        match record {
            Record::Opened { .. } => return Err("opens the run a second time".to_owned()),
            Record::Begun { lane, step, .. } => {
                if !self.planned(lane)?.steps.contains(&step) {
                    return Err(format!("begins the step {step:?}, which the plan has not for lane {lane}"));
                }
                self.run.begun.entry(lane).or_default().push(step);
                self.under_way.insert((lane, step));
            }
            Record::Done { lane, step, .. } => {
                self.planned(lane)?;
                if !self.under_way.remove(&(lane, step)) {
                    return Err(format!("ends the step {step:?}, which was not begun"));
                }
            }
            Record::Created { lane, container } => {
                if !self.begun(lane)?.contains(&Step::Create) {
                    return Err("names a container whose creation was not begun".to_owned());
                }
                if self.run.created.insert(lane, container).is_some() {
                    return Err(format!("names a second container of lane {lane}"));
                }
            }
            Record::Undone { lane, .. } => {
                self.begun(lane)?.clear();
                self.under_way.retain(|(of, _)| *of != lane);
            }
            Record::Closed { outcome, .. } => self.run.outcome = Some(outcome),
        }
        Ok(())
    }

    fn planned(&self, lane: usize) -> Result<&Lane, String> {
        let lanes = &self.run.plan.lanes;
        let unknown = || format!("names lane {lane}, and the plan has {}, counted from 0", lanes.len());
        lanes.get(lane).ok_or_else(unknown)
    }

    /// What a lane of the plan has begun.
    fn begun(&mut self, lane: usize) -> Result<&mut Vec<Step>, String> {
        self.planned(lane)?;
        Ok(self.run.begun.entry(lane).or_default())
    }
}

#[cfg(test)]
mod tests;
