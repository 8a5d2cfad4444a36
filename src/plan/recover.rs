//! What becomes of a run that did not come to its end: which of its lanes are finished, undone and kept, and by which
//! steps. A resume, a requested undo and the rollback after a failure all execute a [`Recovery`].

use std::collections::BTreeMap;
use std::fmt;

use crate::model::ids::{ContainerId, ServerId};
use crate::model::words::list;
use crate::observation::{Container, ContainerState};
use crate::plan::rest::Rest;
use crate::plan::step::in_parentheses;
use crate::plan::undo::{UndoMode, is_replaced, restore_steps, undo};
use crate::plan::{Goal, Lane, Plan, RunKind, Step, Target};

/// The steps that each lane has begun and not undone, by the lane's index.
pub type Begun = BTreeMap<usize, Vec<Step>>;

/// Which way an unfinished run is brought to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// Lanes that were replaced are finished, and lanes that were not are put back. A new plan deploys the rest.
    Finish,
    /// Everything that was begun is undone.
    Undo,
}

/// What is known of a lane's containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneFound {
    pub old: OldFound,
    pub new: NewFound,
}

/// What is known of a lane's old container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldFound {
    /// It is where the records say.
    #[default]
    AsRecorded,
    /// It runs in its place again, although no record says so.
    Back,
    /// It was removed, and no other one has its name.
    Gone,
}

/// What is known of a lane's new container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewFound {
    #[default]
    There,
    /// The engine may still stop it.
    MayStop,
    /// It was removed, or never created.
    Gone,
}

impl LaneFound {
    /// Returns what these containers of the lane's engine show, for a lane that has begun these steps.
    #[must_use]
    pub fn of(lane: &Lane, begun: &[Step], new: Option<&ContainerId>, containers: &[Container]) -> Self {
        let new_is_gone = new.is_none_or(|new| containers.iter().all(|it| it.id != *new));
        let of_new = if new_is_gone { NewFound::Gone } else { NewFound::There };
        let Some(old) = lane.replacement.as_ref().and_then(|it| it.old.as_ref()) else {
            return Self { new: of_new, ..Self::default() };
        };
        let runs =
            |it: &Container| it.id == old.id && it.name == old.name && it.state == ContainerState::Running;
        let is_another = |it: &Container| it.id != old.id && (it.name != old.name || Some(&it.id) == new);
        // Before its successor is started, the old container runs only if it was brought back, or never stopped.
        let is_decided = begun.contains(&Step::Start) || new.is_some() && new_is_gone;
        let old = if is_replaced(begun) && is_decided && containers.iter().any(runs) {
            OldFound::Back
        } else if containers.iter().all(is_another) {
            OldFound::Gone
        } else {
            OldFound::AsRecorded
        };
        Self { old, new: of_new }
    }

    /// Adds whether the engine may still stop these containers. One that may be stopping is not back.
    #[must_use]
    pub fn with_stops(self, of_old: bool, of_new: bool) -> Self {
        Self {
            old: if of_old && self.old == OldFound::Back { OldFound::AsRecorded } else { self.old },
            new: if of_new && self.new == NewFound::There { NewFound::MayStop } else { self.new },
        }
    }
}

/// What is done with a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its remaining steps are run.
    Finish,
    /// Its steps are undone.
    Undo(UndoMode),
    /// It has its old container again. What may still be missing of its settings and states is restored.
    Restore,
    /// Its new container, which was never started, is removed.
    RemoveNew,
    /// It keeps its new container.
    Keep,
    /// It had not begun.
    Nothing,
}

/// What is done with one lane, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneRecovery {
    /// The lane's index in the plan.
    pub lane: usize,
    pub servers: Vec<ServerId>,
    pub action: Action,
    /// The steps, in order. A lane that is kept has none.
    pub steps: Vec<Step>,
}

impl LaneRecovery {
    /// Returns what the undo of the lane knows about the container that it takes away.
    #[must_use]
    pub fn undo_mode(&self) -> UndoMode {
        match self.action {
            Action::Undo(mode) => mode,
            Action::RemoveNew => UndoMode::Immediate,
            Action::Finish | Action::Restore | Action::Keep | Action::Nothing => UndoMode::Graceful,
        }
    }

    fn new(plan: &Plan, begun: &Begun, lane: usize, action: Action) -> Self {
        let (of, begun) = (&plan.lanes[lane], steps_of(begun, lane));
        let steps = match action {
            Action::Undo(mode) => undo(of, begun, mode),
            Action::RemoveNew => undo(of, begun, UndoMode::Immediate),
            Action::Restore => restore_steps(of),
            // The caller knows which steps remain.
            Action::Finish | Action::Keep | Action::Nothing => Vec::new(),
        };
        Self { lane, servers: of.ids(), action, steps }
    }

    fn finish(plan: &Plan, begun: &Begun, lane: usize, found: LaneFound) -> Self {
        let steps = remaining_steps(&plan.lanes[lane], steps_of(begun, lane), found);
        Self { steps, ..Self::new(plan, begun, lane, Action::Finish) }
    }
}

/// What is done with every lane of a run, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    pub towards: Towards,
    pub lanes: Vec<LaneRecovery>,
}

impl Recovery {
    /// Returns the indices of the lanes that keep their new container.
    #[must_use]
    pub fn kept(&self) -> Vec<usize> {
        self.lanes.iter().filter(|it| it.action == Action::Keep).map(|it| it.lane).collect()
    }

    /// Returns whether any lane is left for the plan that deploys the rest.
    #[must_use]
    pub fn has_rest(&self) -> bool {
        self.lanes.iter().any(|it| !matches!(it.action, Action::Finish | Action::Keep))
    }

    /// Returns the plan that this amounts to. If the run is finished, it includes the lanes that the run had not
    /// reached, with the steps that they were to have: the plan that deploys them is made when the recovery is done.
    #[must_use]
    pub fn as_plan(&self, plan: &Plan) -> Plan {
        let lanes = self.lanes.iter().filter_map(|it| {
            let of = &plan.lanes[it.lane];
            let again: &[Step] = match (it.action, self.towards) {
                (Action::Keep, _) | (Action::RemoveNew | Action::Nothing, Towards::Undo) => return None,
                (Action::Finish, _) | (Action::Undo(_) | Action::Restore, Towards::Undo) => &[],
                (_, Towards::Finish) => &of.steps,
            };
            Some(Lane { steps: [&it.steps, again].concat(), ..of.clone() })
        });
        let lanes = lanes.collect();
        let kept = self.kept().into_iter().flat_map(|lane| plan.lanes[lane].ids());
        match self.towards {
            Towards::Finish => Plan {
                lanes,
                waves: Vec::new(),
                unchanged: plan.unchanged.iter().cloned().chain(kept).collect(),
                ..plan.clone()
            },
            Towards::Undo => Plan {
                goal: Goal { purpose: RunKind::Rollback, target: Target::Unknown, ..plan.goal.clone() },
                lanes,
                waves: Vec::new(),
                images: Vec::new(),
                unchanged: Vec::new(),
                rest: Rest::default(),
                warnings: Vec::new(),
                ..plan.clone()
            },
        }
    }
}

impl fmt::Display for Recovery {
    /// Writes a line for each lane.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for lane in &self.lanes {
            let what = match (lane.action, self.towards) {
                (Action::Finish, _) => "will be finished",
                (Action::Undo(_), Towards::Finish) => "will be put back and replaced again",
                (Action::Undo(_), Towards::Undo) => "will be undone",
                (Action::Restore, _) => "has its old container again",
                (Action::RemoveNew, _) => "has a new container that was never started and will be removed",
                (Action::Keep, _) => "was finished",
                (Action::Nothing, _) => "was not started",
            };
            // The sentence says already that the new container is removed.
            let steps = if lane.action == Action::RemoveNew { &[] } else { &lane.steps[..] };
            writeln!(f, "  {}: {what}{}", list(&lane.servers), in_parentheses(steps))?;
        }
        Ok(())
    }
}

/// Returns what is done with an unfinished run. A run that was removing old containers had succeeded with the lanes
/// that it had reached, so these are kept.
#[must_use]
pub fn recover(plan: &Plan, begun: &Begun, towards: Towards, found: impl Fn(usize) -> LaneFound) -> Recovery {
    let touched: Vec<usize> = touched(begun).collect();
    let action = |lane: usize, action| LaneRecovery::new(plan, begun, lane, action);
    let is_back = |lane: &usize| found(*lane).old == OldFound::Back;
    let (back, others): (Vec<usize>, Vec<usize>) = touched.iter().copied().partition(is_back);
    let treated: Vec<LaneRecovery> = match towards {
        _ if was_removing(begun) => touched.iter().map(|lane| action(*lane, Action::Keep)).collect(),
        Towards::Undo => {
            let undo = |lane: &usize| {
                let kind = if is_back(lane) { Action::Restore } else { Action::Undo(UndoMode::Graceful) };
                action(*lane, kind)
            };
            touched.iter().rev().map(undo).collect()
        }
        Towards::Finish => {
            // The record of these undos is missing, so the lane that was in flight is one before them.
            let in_flight = in_flight(plan, &others.iter().map(|it| (*it, begun[it].clone())).collect());
            let (in_flight, kept): (Vec<usize>, Vec<usize>) =
                others.into_iter().partition(|lane| in_flight.contains(lane));
            let can_finish = |lane: &usize| {
                let found = found(*lane);
                found.new != NewFound::Gone && (is_replaced(&begun[lane]) || found.old == OldFound::Gone)
            };
            let (finished, undone): (Vec<usize>, Vec<usize>) = in_flight.into_iter().partition(can_finish);
            let back = back.into_iter().map(|lane| action(lane, Action::Restore));
            // If its new container is gone, there are no sessions to preserve.
            let undone = undone.into_iter().map(|lane| action(lane, Action::Undo(UndoMode::Immediate)));
            let finished =
                finished.into_iter().map(|lane| LaneRecovery::finish(plan, begun, lane, found(lane)));
            let kept = kept.into_iter().map(|lane| action(lane, Action::Keep));
            back.chain(undone).chain(finished).chain(kept).collect()
        }
    };
    Recovery { towards, lanes: with_the_rest(plan, begun, treated) }
}

/// What becomes of the lanes that were finished before another one failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// They keep their new containers.
    Stay,
    /// They are undone, the last one first.
    Undone,
}

/// Returns what is done after these lanes failed. They come first, so that none stays out of rotation because another
/// one cannot be undone.
#[must_use]
pub fn after_failure(
    plan: &Plan,
    begun: &Begun,
    failed: &[(usize, UndoMode)],
    finished: Finished,
) -> Recovery {
    let has_failed = |lane: &usize| failed.iter().any(|(of, _)| of == lane);
    let touched: Vec<usize> = touched(begun).collect();
    let first = failed.iter().filter(|(lane, _)| touched.contains(lane));
    let first = first.map(|(lane, mode)| LaneRecovery::new(plan, begun, *lane, Action::Undo(*mode)));
    let others = touched.iter().filter(|lane| !has_failed(lane));
    let others: Vec<LaneRecovery> = match finished {
        Finished::Stay => others.map(|lane| LaneRecovery::new(plan, begun, *lane, Action::Keep)).collect(),
        Finished::Undone => {
            let undo = Action::Undo(UndoMode::Graceful);
            others.rev().map(|lane| LaneRecovery::new(plan, begun, *lane, undo)).collect()
        }
    };
    let treated = first.chain(others).collect();
    Recovery { towards: Towards::Undo, lanes: with_the_rest(plan, begun, treated) }
}

/// Returns the lanes whose new containers were created and never started: these are removed.
#[must_use]
pub fn candidates(plan: &Plan, begun: &Begun) -> Vec<LaneRecovery> {
    let created = begun.iter().filter(|(_, begun)| !touches_traffic(begun)).map(|(lane, _)| *lane);
    created.map(|lane| LaneRecovery::new(plan, begun, lane, Action::RemoveNew)).collect()
}

/// Adds the lanes that have not touched traffic.
fn with_the_rest(plan: &Plan, begun: &Begun, mut treated: Vec<LaneRecovery>) -> Vec<LaneRecovery> {
    for lane in 0..plan.lanes.len() {
        if treated.iter().all(|it| it.lane != lane) {
            let is_created = !steps_of(begun, lane).is_empty();
            let action = if is_created { Action::RemoveNew } else { Action::Nothing };
            treated.push(LaneRecovery::new(plan, begun, lane, action));
        }
    }
    treated
}

/// Returns the steps that remain for a lane that was interrupted after its old container may have been stopped. Each
/// step may be repeated. A reload since then may have put the servers back into rotation, so they are drained again
/// unless the new container is known to serve.
fn remaining_steps(lane: &Lane, begun: &[Step], found: LaneFound) -> Vec<Step> {
    let serves = begun.contains(&Step::Ready) && found.new != NewFound::MayStop;
    let is_over = |step: &&Step| {
        matches!(step, Step::Create | Step::Remove)
            // The old container has no traffic to take over, and it cannot be stopped and kept.
            || found.old == OldFound::Gone && matches!(step, Step::Verify | Step::Stop)
            || serves && !matches!(step, Step::Prove | Step::Ready | Step::Confirm)
    };
    lane.steps.iter().filter(|step| !is_over(step)).copied().collect()
}

/// Returns the lanes of the last wave that went beyond the creation of their containers. The waves before it were
/// finished.
#[must_use]
pub fn in_flight(plan: &Plan, begun: &Begun) -> Vec<usize> {
    let is_touched = |lane: &usize| touches_traffic(steps_of(begun, *lane));
    let mut waves = plan.waves().into_iter().rev();
    let last = waves.find(|wave| wave.clone().any(|lane| is_touched(&lane)));
    last.into_iter().flatten().filter(is_touched).collect()
}

/// Returns whether the run was removing old containers. Then it had succeeded with the lanes that it had reached.
#[must_use]
pub fn was_removing(begun: &Begun) -> bool {
    begun.values().flatten().any(|step| *step == Step::Remove)
}

/// Returns whether these steps of a lane went beyond the creation of its container.
#[must_use]
pub fn touches_traffic(begun: &[Step]) -> bool {
    begun.iter().any(|step| step.touches_traffic())
}

fn touched(begun: &Begun) -> impl Iterator<Item = usize> {
    begun.iter().filter(|(_, begun)| touches_traffic(begun)).map(|(lane, _)| *lane)
}

fn steps_of(begun: &Begun, lane: usize) -> &[Step] {
    begun.get(&lane).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests;
