//! Tells the listener of a run what happens, also from beside a step that is under way.

use std::cell::RefCell;

use crate::event::{Event, Fact, Listener, VERSION};
use crate::ids::RunId;
use crate::ports::WallClock;

/// The way to the listener of one run.
pub(super) struct Teller<'a, C> {
    run: &'a RunId,
    clock: &'a C,
    listener: RefCell<&'a mut dyn Listener>,
}

impl<'a, C: WallClock> Teller<'a, C> {
    pub fn new(run: &'a RunId, clock: &'a C, listener: &'a mut dyn Listener) -> Self {
        Self { run, clock, listener: RefCell::new(listener) }
    }

    /// Tells a fact, with the time and the run.
    pub fn tell(&self, fact: Fact) {
        let event = Event { version: VERSION, at: self.clock.now(), run: self.run.clone(), fact };
        self.listener.borrow_mut().hear(&event);
    }
}
