//! Sends the events of a run to its listener, even while a step is under way.

use std::cell::RefCell;

use crate::model::ids::{LaneId, RunId};
use crate::ports::WallClock;
use crate::run::event::{Event, EventKind, Reporter, VERSION};

/// The connection to the listener of one run.
pub(super) struct Emitter<'a, C> {
    run: &'a RunId,
    clock: &'a C,
    listener: RefCell<&'a mut dyn Reporter>,
}

impl<'a, C: WallClock> Emitter<'a, C> {
    pub fn new(run: &'a RunId, clock: &'a C, listener: &'a mut dyn Reporter) -> Self {
        Self { run, clock, listener: RefCell::new(listener) }
    }

    /// Reports an event with the time and the run. `lane` is `None` if the event belongs to the run as a whole.
    pub fn emit(&self, lane: Option<LaneId>, kind: EventKind) {
        let event = Event { version: VERSION, at: self.clock.now(), run: self.run.clone(), lane, kind };
        self.listener.borrow_mut().report(&event);
    }
}
