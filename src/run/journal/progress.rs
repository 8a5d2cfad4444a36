//! How far a run came: the one fold of its records, used while it runs and when its journal is read.

use std::collections::{BTreeMap, BTreeSet};

use super::{Record, SurgeProgress};
use crate::model::ids::ContainerId;
use crate::plan::recover::{self, Begun, touches_traffic};
use crate::plan::{Lane, Plan, Step};
use crate::run::engine_call::EngineCall;
use crate::run::outcome::Outcome;

/// How far a run came, as its records describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The steps that each lane has begun and not undone.
    pub begun: Begun,
    pub created: BTreeMap<usize, ContainerId>,
    /// What became of each surge server that the run has begun with, by its index.
    pub surge: BTreeMap<usize, SurgeProgress>,
    /// The steps that were begun and not finished, each with its lane.
    pub under_way: BTreeSet<(usize, Step)>,
    /// The calls that engines had not answered when the run ended, each with the engine's name.
    pub unanswered: Vec<(String, EngineCall)>,
    /// How it ended; `None` while it runs, or if it was killed.
    pub outcome: Option<Outcome>,
}

impl Progress {
    /// Applies a record. This is the only place that defines the legal transitions. A step may be begun again at any
    /// time, and a lane undone: a resumed run repeats what may have had no effect.
    ///
    /// # Errors
    /// Why the record cannot follow the ones before it.
    pub fn apply(&mut self, plan: &Plan, record: &Record) -> Result<(), String> {
        if !self.is_unfinished() && !matches!(record, Record::Adopted { .. }) {
            return Err("comes after the run was closed".to_owned());
        }
        // A resumed run has not ended, whatever it recorded before.
        let ended = self.outcome.take();
        if ended.is_some() && !matches!(record, Record::Adopted { .. }) {
            // A resume has asked the engines first. Only the answer to another stop shows what a stop did.
            self.unanswered.retain(|(_, call)| matches!(call, EngineCall::Stop { .. }));
        }
        match record {
            Record::Opened { .. } => return Err("opens the run a second time".to_owned()),
            Record::Begun { lane, step, .. } => {
                if !planned(plan, *lane)?.steps.contains(step) {
                    return Err(format!(
                        "begins the step {step:?}, which the plan does not have for lane {lane}"
                    ));
                }
                self.begun.entry(*lane).or_default().push(*step);
                self.under_way.insert((*lane, *step));
            }
            Record::Done { lane, step, .. } => {
                planned(plan, *lane)?;
                if !self.under_way.remove(&(*lane, *step)) {
                    return Err(format!("ends the step {step:?}, which was not begun"));
                }
            }
            Record::Created { lane, container } => {
                planned(plan, *lane)?;
                if !self.has_begun(*lane, Step::Create) {
                    return Err("names a container whose creation was not begun".to_owned());
                }
                if self.created.insert(*lane, container.clone()).is_some() {
                    return Err(format!("names a second container of lane {lane}"));
                }
            }
            Record::Surge { surge, step, .. } => {
                let surges = plan.surge.len();
                if *surge >= surges {
                    return Err(format!(
                        "names surge server {surge}, but the plan has only {surges}, counted from 0"
                    ));
                }
                self.surge.entry(*surge).or_default().apply(step)?;
            }
            Record::Unanswered { engine, call, .. } => {
                let call = (engine.clone(), call.clone());
                if !self.unanswered.contains(&call) {
                    self.unanswered.push(call);
                }
            }
            Record::Undone { lane, .. } => {
                planned(plan, *lane)?;
                self.begun.remove(lane);
                self.under_way.retain(|(of, _)| of != lane);
            }
            Record::Closed { outcome, .. } => self.outcome = Some(outcome.clone()),
            Record::Adopted { .. } => self.outcome = ended,
        }
        Ok(())
    }

    /// Returns whether `resume` has something to do: the run has no recorded end, or could not put everything back.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        matches!(self.outcome, None | Some(Outcome::Stuck { .. }))
    }

    /// Returns the steps that a lane has begun and not undone, in their order.
    #[must_use]
    pub fn begun(&self, lane: usize) -> &[Step] {
        self.begun.get(&lane).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns whether a lane has begun a step and not undone it.
    #[must_use]
    pub fn has_begun(&self, lane: usize, step: Step) -> bool {
        self.begun(lane).contains(&step)
    }

    /// Returns whether a lane went beyond the creation of its container.
    #[must_use]
    pub fn has_touched_traffic(&self, lane: usize) -> bool {
        touches_traffic(self.begun(lane))
    }

    /// Returns the container that takes over in a lane: the one that was created, or a kept one that comes back.
    #[must_use]
    pub fn new_container<'a>(&'a self, plan: &'a Plan, lane: usize) -> Option<&'a ContainerId> {
        let returning = || Some(&plan.lanes.get(lane)?.replacement.as_ref()?.returning.as_ref()?.id);
        self.created.get(&lane).or_else(returning)
    }

    /// Returns the lanes that the run was working on.
    #[must_use]
    pub fn in_flight(&self, plan: &Plan) -> Vec<usize> {
        recover::in_flight(plan, &self.begun)
    }

    /// Returns whether a step of a lane was begun and not finished.
    #[must_use]
    pub fn is_under_way(&self, lane: usize, step: Step) -> bool {
        self.under_way.contains(&(lane, step))
    }
}

fn planned(plan: &Plan, lane: usize) -> Result<&Lane, String> {
    let lanes = &plan.lanes;
    let unknown = || format!("names lane {lane}, but the plan has only {}, counted from 0", lanes.len());
    lanes.get(lane).ok_or_else(unknown)
}
