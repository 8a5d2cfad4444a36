//! What a run was about to do and has done, made durable before and after each step.
//!
//! One file a run, one JSON object a line. A record that could not be written whole, because the
//! machine died, can only be the last one, and is left out. Who reads the file says so.

mod line;
mod site;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine_call::EngineCall;
use crate::ids::ContainerId;
use crate::observation::Container;
use crate::outcome::Outcome;
use crate::plan::{Lane, Plan, Step};

pub use line::line;
use line::{Sum, check};
pub use site::Site;

/// The version of the records' form. Since version 2 every record has a checksum, and a run names its site.
pub const VERSION: u32 = 2;

/// The version whose records have no checksum.
const WITHOUT_SUMS: u32 = 1;

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
        /// Where it works; version 1 did not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        site: Option<Box<Site>>,
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
    /// The run is about to end, and an engine may still carry out what it was asked.
    Unanswered {
        /// When.
        at: Timestamp,
        /// The engine's name; empty for the one that is asked where none is named.
        engine: String,
        /// What it has not answered.
        call: EngineCall,
    },
    /// A lane was taken back as a whole.
    Undone {
        /// When.
        at: Timestamp,
        /// The lane's index.
        lane: usize,
    },
    /// The run ended. One that ended stuck may be resumed, and more records follow.
    Closed {
        /// When.
        at: Timestamp,
        /// How.
        outcome: Outcome,
    },
    /// An operator said that a run of another site belongs to this one, whether or not it had ended.
    Adopted {
        /// When.
        at: Timestamp,
        /// The site that it belongs to from now on.
        site: Box<Site>,
    },
}

/// What the records of one run add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What it was to do.
    pub plan: Plan,
    /// The version of its first record.
    pub version: u32,
    /// Where it works; `None` where version 1 did not say.
    pub site: Option<Site>,
    /// The process that ran it.
    pub pid: u32,
    /// What each lane has begun and not taken back.
    pub begun: BTreeMap<usize, Vec<Step>>,
    /// The new container of each lane.
    pub created: BTreeMap<usize, ContainerId>,
    /// The steps that were begun and not ended, each with its lane.
    pub under_way: BTreeSet<(usize, Step)>,
    /// What engines had not answered when it ended, each with the engine's name.
    pub unanswered: Vec<(String, EngineCall)>,
    /// How it ended; `None` while it runs, or when it was killed.
    pub outcome: Option<Outcome>,
}

/// Why a journal is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// A record is no record, or cannot follow the one before it.
    #[error("record {number}, at byte {offset}, {reason}. Move the file away if you know how that run ended")]
    Record {
        /// The record's number, from 1; it is that of its line.
        number: usize,
        /// Where its line begins, from 0.
        offset: usize,
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
    /// One that has begun nothing.
    #[must_use]
    pub fn opened(plan: Plan, version: u32, site: Option<Site>, pid: u32) -> Self {
        Self {
            plan,
            version,
            site,
            pid,
            begun: BTreeMap::new(),
            created: BTreeMap::new(),
            under_way: BTreeSet::new(),
            unanswered: Vec::new(),
            outcome: None,
        }
    }

    /// Reads a run's journal. `None` where not even its first record was written whole.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Corrupt> {
        let mut run: Option<Self> = None;
        let mut next = 0;
        for (index, line) in whole(bytes).split(|byte| *byte == b'\n').enumerate() {
            let offset = next;
            next += line.len() + 1;
            if line.is_empty() {
                continue;
            }
            let corrupt = |reason: String| Corrupt::Record { number: index + 1, offset, reason };
            if run.is_none() {
                refuse_newer(line)?;
            }
            let sum = check(line);
            if sum == Sum::Wrong {
                return Err(corrupt("is not as it was written: its checksum is another one".to_owned()));
            }
            let record: Record = serde_json::from_slice(line)
                .map_err(|error| corrupt(format!("is not understood: {error}")))?;
            let next = match run {
                None => Self::open(record).map_err(corrupt)?,
                Some(run) => run.add(record).map_err(corrupt)?,
            };
            if sum == Sum::Missing && next.version > WITHOUT_SUMS {
                return Err(corrupt("has lost its checksum".to_owned()));
            }
            run = Some(next);
        }
        Ok(run)
    }

    /// Whether `resume` has something to do: nothing says how it ended, or it could not put everything back.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        matches!(self.outcome, None | Some(Outcome::Stuck { .. }))
    }

    /// Whether it belongs to this site. One of an older drainswap, which did not record a site, is taken for this site's.
    #[must_use]
    pub fn is_of(&self, site: &Site) -> bool {
        self.site.as_ref().is_none_or(|of| site.owns(of, &self.plan.backend))
    }

    /// Whether a run by this plan, at this site, would meet a container or a server line that this run works on.
    #[must_use]
    pub fn meets(&self, plan: &Plan, site: &Site) -> bool {
        let is_same_haproxy = self.site.as_ref().is_none_or(|own| own.shares_socket(site));
        let own = self.containers();
        let servers = |plan: &Plan| plan.lanes.iter().flat_map(Lane::ids).collect::<BTreeSet<_>>();
        is_same_haproxy && !servers(&self.plan).is_disjoint(&servers(plan))
            || plan.lanes.iter().flat_map(Lane::containers).any(|id| own.contains(id))
    }

    /// Whether a container is left that a person or a resume could bring back to a server that this run has left out, or
    /// take from it.
    #[must_use]
    pub fn is_left_in(&self, containers: &[Container]) -> bool {
        self.begun.iter().filter(|(_, begun)| begun.iter().any(|step| step.touches_traffic())).any(
            |(lane, _)| {
                let Some(replacement) = &self.plan.lanes[*lane].replacement else { return true };
                let known = [replacement.old.as_ref().map(|old| &old.id), self.created.get(lane)];
                known.into_iter().flatten().any(|id| containers.iter().any(|it| it.id == *id))
            },
        )
    }

    /// The containers that it works on, by their identifiers.
    fn containers(&self) -> BTreeSet<&ContainerId> {
        self.plan.lanes.iter().flat_map(Lane::containers).chain(self.created.values()).collect()
    }

    /// The lane that was worked on last, beyond the creation of its container. Those before it were through.
    #[must_use]
    pub fn in_hand(&self) -> Option<usize> {
        let touched = |begun: &[Step]| begun.iter().any(|step| step.touches_traffic());
        self.begun.iter().filter(|(_, begun)| touched(begun)).map(|(lane, _)| *lane).max()
    }

    /// Whether a step of a lane was begun and not ended.
    #[must_use]
    pub fn is_under_way(&self, lane: usize, step: Step) -> bool {
        self.under_way.contains(&(lane, step))
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

/// What the records add up to, and whether the next one can follow.
impl Run {
    fn open(record: Record) -> Result<Self, String> {
        match record {
            Record::Opened { version: version @ WITHOUT_SUMS..=VERSION, pid, plan, site } => {
                Ok(Self::opened(*plan, version, site.map(|site| *site), pid))
            }
            Record::Opened { version, .. } => Err(format!("has version {version}, which nobody ever wrote")),
            Record::Begun { .. }
            | Record::Done { .. }
            | Record::Created { .. }
            | Record::Unanswered { .. }
            | Record::Undone { .. }
            | Record::Closed { .. }
            | Record::Adopted { .. } => Err("comes before the run was opened".to_owned()),
        }
    }

    /// The one place that holds every legal transition. A step may be begun again at any time, and a lane taken back:
    /// who resumes a run repeats what may not have had its effect.
    fn add(mut self, record: Record) -> Result<Self, String> {
        if !self.is_unfinished() && !matches!(record, Record::Adopted { .. }) {
            return Err("comes after the run was closed".to_owned());
        }
        // A run that is resumed has not ended, whatever it said before.
        let ended = self.outcome.take();
        if ended.is_some() && !matches!(record, Record::Adopted { .. }) {
            // Who resumes it has asked the engines first. What a stop does only the answer to another one tells.
            self.unanswered.retain(|(_, call)| matches!(call, EngineCall::Stop { .. }));
        }
        match record {
            Record::Opened { .. } => return Err("opens the run a second time".to_owned()),
            Record::Begun { lane, step, .. } => {
                if !self.planned(lane)?.steps.contains(&step) {
                    return Err(format!("begins the step {step:?}, which the plan has not for lane {lane}"));
                }
                self.begun.entry(lane).or_default().push(step);
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
                if self.created.insert(lane, container).is_some() {
                    return Err(format!("names a second container of lane {lane}"));
                }
            }
            Record::Unanswered { engine, call, .. } => {
                let call = (engine, call);
                if !self.unanswered.contains(&call) {
                    self.unanswered.push(call);
                }
            }
            Record::Undone { lane, .. } => {
                self.begun(lane)?.clear();
                self.under_way.retain(|(of, _)| *of != lane);
            }
            Record::Closed { outcome, .. } => self.outcome = Some(outcome),
            Record::Adopted { site, .. } => {
                self.site = Some(*site);
                self.outcome = ended;
            }
        }
        Ok(self)
    }

    fn planned(&self, lane: usize) -> Result<&Lane, String> {
        let lanes = &self.plan.lanes;
        let unknown = || format!("names lane {lane}, and the plan has {}, counted from 0", lanes.len());
        lanes.get(lane).ok_or_else(unknown)
    }

    /// What a lane of the plan has begun.
    fn begun(&mut self, lane: usize) -> Result<&mut Vec<Step>, String> {
        self.planned(lane)?;
        Ok(self.begun.entry(lane).or_default())
    }
}

#[cfg(test)]
mod tests;
