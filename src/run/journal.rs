//! The journal of a run: records what it is about to do and has done, durably, before and after each step.
//!
//! A journal is one file per run, with one JSON object per line. Only the last record can be incomplete, because the
//! machine failed while it was written; it is left out, and the reader of the file reports that.

mod line;
mod progress;
mod site;
mod surge;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::ids::ContainerId;
use crate::observation::Container;
use crate::plan::recover::{LaneFound, Recovery, Towards, recover};
use crate::plan::{Lane, Plan, Step};
use crate::run::engine_call::EngineCall;
use crate::run::outcome::Outcome;

pub use line::line;
use line::{Checksum, check};
pub use progress::Progress;
pub use site::SiteIdentity;
pub use surge::{SurgeProgress, SurgeStep};

/// The version of the record format. Since version 2, every record has a checksum and a run names its site.
pub const VERSION: u32 = 2;

/// The version of records without a checksum.
const WITHOUT_SUMS: u32 = 1;

/// One record of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
pub enum Record {
    Opened {
        version: u32,
        pid: u32,
        plan: Box<Plan>,
        /// `None` in version 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        site: Option<Box<SiteIdentity>>,
    },
    Begun {
        at: Timestamp,
        lane: usize,
        step: Step,
    },
    Done {
        at: Timestamp,
        lane: usize,
        step: Step,
    },
    Created {
        lane: usize,
        container: ContainerId,
    },
    /// What becomes of a surge server.
    Surge {
        at: Timestamp,
        /// Its index in the plan.
        surge: usize,
        step: SurgeStep,
    },
    /// The run is about to end, and an engine may still carry out this call.
    Unanswered {
        at: Timestamp,
        /// The engine's name; empty for the default engine.
        engine: String,
        call: EngineCall,
    },
    Undone {
        at: Timestamp,
        lane: usize,
    },
    /// The run ended. A run that ended stuck may be resumed, and more records follow.
    Closed {
        at: Timestamp,
        outcome: Outcome,
    },
    /// An operator assigned a run of another site to this one, whether or not it had ended.
    Adopted {
        at: Timestamp,
        site: Box<SiteIdentity>,
    },
}

/// The state of a run, as its records describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub plan: Plan,
    /// The version of the first record.
    pub version: u32,
    /// `None` if version 1 wrote the journal.
    pub site: Option<SiteIdentity>,
    pub pid: u32,
    /// How far it came.
    pub progress: Progress,
}

/// The reason why a journal cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// A record is malformed, or cannot follow the one before it.
    #[error(
        "record {number}, at byte {offset}, {reason}. Find out how that run ended (`drainswap status`), then move the file away"
    )]
    Record {
        /// The number of the record and of its line, from 1.
        number: usize,
        /// The offset of the record's line, from 0.
        offset: usize,
        reason: String,
    },
    #[error(
        "it has version {version}, but this drainswap reads only up to version {VERSION}: update drainswap"
    )]
    Newer { version: u64 },
}

/// Returns the complete records; a torn last line is dropped.
#[must_use]
pub fn complete_records(bytes: &[u8]) -> &[u8] {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(&[], |end| &bytes[..=end])
}

impl Run {
    /// Returns a run that has begun nothing.
    #[must_use]
    pub fn opened(plan: Plan, version: u32, site: Option<SiteIdentity>, pid: u32) -> Self {
        Self { plan, version, site, pid, progress: Progress::default() }
    }

    /// Reads a run's journal. Returns `None` if not even its first record is complete.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Corrupt> {
        let mut run: Option<Self> = None;
        let mut next = 0;
        for (index, line) in complete_records(bytes).split(|byte| *byte == b'\n').enumerate() {
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
            if sum == Checksum::Wrong {
                return Err(corrupt("does not match its checksum".to_owned()));
            }
            let record: Record = serde_json::from_slice(line)
                .map_err(|error| corrupt(format!("is not understood: {error}")))?;
            let next = match run {
                None => Self::open(record).map_err(corrupt)?,
                Some(run) => run.add(record).map_err(corrupt)?,
            };
            if sum == Checksum::Missing && next.version > WITHOUT_SUMS {
                return Err(corrupt("has lost its checksum".to_owned()));
            }
            run = Some(next);
        }
        Ok(run)
    }

    /// Returns whether `resume` has something to do: the run has no recorded end, or could not put everything back.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.progress.is_unfinished()
    }

    /// Returns whether the run belongs to this site. A run of an older drainswap, which did not record a site, counts
    /// as this site's.
    #[must_use]
    pub fn is_of(&self, site: &SiteIdentity) -> bool {
        self.site.as_ref().is_none_or(|of| site.owns(of, &self.plan.goal.backend))
    }

    /// Returns whether a run of this plan at this site would touch a container or a server line that this run works on.
    #[must_use]
    pub fn conflicts_with(&self, plan: &Plan, site: &SiteIdentity) -> bool {
        let is_same_haproxy = self.site.as_ref().is_none_or(|own| own.shares_socket(site));
        let own = self.containers();
        let servers = |plan: &Plan| plan.lanes.iter().flat_map(Lane::ids).collect::<BTreeSet<_>>();
        is_same_haproxy && !servers(&self.plan).is_disjoint(&servers(plan))
            || plan.lanes.iter().flat_map(Lane::containers).any(|id| own.contains(id))
    }

    /// Returns whether a container is left that an operator or a resume could bring back to a server which this run
    /// left out, or take away from it. One that the operator has prepared for a new deploy does not count: the old
    /// container is gone, and the new one has its name and its restart policy.
    #[must_use]
    pub fn is_left_in(&self, containers: &[Container]) -> bool {
        let stranded = |lane: &Lane| match &self.progress.outcome {
            Some(Outcome::Stuck { servers, .. }) => {
                lane.servers.iter().any(|it| servers.iter().any(|stranded| stranded.server == it.id))
            }
            Some(_) | None => true,
        };
        let touched = self.plan.lanes.iter().enumerate();
        touched.filter(|(index, _)| self.progress.has_touched_traffic(*index)).any(|(index, lane)| {
            let Some(replacement) = lane.replacement.as_ref().filter(|_| stranded(lane)) else {
                return stranded(lane);
            };
            let find = |id: &ContainerId| containers.iter().find(|it| it.id == *id);
            let is_prepared = |new: &Container| {
                replacement.old.is_some()
                    && new.name == replacement.name
                    && new.restart.is_same(replacement.restart_of_new())
            };
            replacement.old.as_ref().is_some_and(|old| find(&old.id).is_some())
                || self.progress.created.get(&index).and_then(find).is_some_and(|new| !is_prepared(new))
        })
    }

    /// Returns what becomes of the run's lanes, given the containers of all engines. The engines have not been asked yet
    /// what became of calls that they had not answered: a container that may be stopping counts as stopped.
    #[must_use]
    pub fn recovery(&self, containers: &[Container], towards: Towards) -> Recovery {
        let (plan, progress) = (&self.plan, &self.progress);
        let find = |lane: usize| {
            let Some(replacement) = &plan.lanes[lane].replacement else { return LaneFound::default() };
            let engine = &replacement.like.engine;
            let there: Vec<Container> =
                containers.iter().filter(|it| it.engine == *engine).cloned().collect();
            let new = progress.new_container(plan, lane);
            let found = LaneFound::of(&plan.lanes[lane], progress.begun(lane), new, &there);
            let may_stop = |id: &ContainerId| {
                let stops = |(_, call): &(String, EngineCall)| matches!(call, EngineCall::Stop { container } if container == id);
                progress.unanswered.iter().any(stops)
            };
            let is_stopping = progress.is_under_way(lane, Step::Stop);
            let of_old = is_stopping || replacement.old.as_ref().is_some_and(|old| may_stop(&old.id));
            found.with_stops(of_old, new.is_some_and(may_stop))
        };
        recover(plan, &progress.begun, towards, find)
    }

    /// Returns the identifiers of the containers that the run works on.
    fn containers(&self) -> BTreeSet<&ContainerId> {
        self.plan.lanes.iter().flat_map(Lane::containers).chain(self.progress.created.values()).collect()
    }
}

/// Rejects a newer version first, because everything else in its records may have changed.
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

/// Replays the records, and checks that each one can follow the one before.
impl Run {
    fn open(record: Record) -> Result<Self, String> {
        match record {
            Record::Opened { version: version @ WITHOUT_SUMS..=VERSION, pid, plan, site } => {
                Ok(Self::opened(*plan, version, site.map(|site| *site), pid))
            }
            Record::Opened { version, .. } => Err(format!("has version {version}, which does not exist")),
            Record::Begun { .. }
            | Record::Done { .. }
            | Record::Created { .. }
            | Record::Surge { .. }
            | Record::Unanswered { .. }
            | Record::Undone { .. }
            | Record::Closed { .. }
            | Record::Adopted { .. } => Err("comes before the run was opened".to_owned()),
        }
    }

    fn add(mut self, record: Record) -> Result<Self, String> {
        self.progress.apply(&self.plan, &record)?;
        if let Record::Adopted { site, .. } = record {
            self.site = Some(*site);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
