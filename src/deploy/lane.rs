//! The state of one lane of a run: what no other lane writes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ReplacementOnEngine;
use crate::model::ids::{ContainerId, ServerId};
use crate::run::event::Timing;

/// What is true of a lane besides the steps that it has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// Its servers are in maint, until they are ready again or put back.
    Out,
    /// It is a lane of an unfinished run that has its old container again.
    Back,
    /// A hook skipped it.
    Skipped,
    /// Another tool replaced its old container.
    TakenOver,
    /// A warning has said that its old container runs again.
    RunsAgain,
}

/// Whether a lane goes on or is being undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Undo {
        /// Whether the current step must reach every load balancer.
        needs_all: bool,
    },
}

/// The state of one lane.
pub(super) struct LaneRun<'a, E> {
    /// The replacement and its engine; `None` if the lane only puts servers back in service.
    pub swap: Option<ReplacementOnEngine<'a, E>>,
    /// Cancelled when the lane must stop at its next safe point.
    pub stop: CancellationToken,
    pub direction: Cell<Direction>,
    pub timing: Cell<Timing>,
    pub left_rotation: Cell<Option<Instant>>,
    /// The process of each load balancer that this lane has seen. Another process means a reload.
    pub processes: RefCell<BTreeMap<String, u32>>,
    /// The sessions since `HAProxy` started, right before the servers were made ready.
    pub sessions_before_ready: RefCell<BTreeMap<ServerId, u64>>,
    /// The present addresses of the containers behind servers whose lines have a host name.
    pub sent_to: RefCell<BTreeMap<ServerId, SocketAddr>>,
    /// The copy that replaces an old container which could not get its ports again.
    pub stand_in: RefCell<Option<ContainerId>>,
    marks: RefCell<BTreeSet<Mark>>,
}

impl<'a, E> LaneRun<'a, E> {
    /// Returns a lane that has done nothing, and knows these processes. It stops when `stop` is cancelled.
    pub fn new(
        swap: Option<ReplacementOnEngine<'a, E>>,
        stop: &CancellationToken,
        processes: BTreeMap<String, u32>,
    ) -> Self {
        Self {
            swap,
            stop: stop.child_token(),
            direction: Cell::new(Direction::Forward),
            timing: Cell::default(),
            left_rotation: Cell::default(),
            processes: RefCell::new(processes),
            sessions_before_ready: RefCell::default(),
            sent_to: RefCell::default(),
            stand_in: RefCell::default(),
            marks: RefCell::default(),
        }
    }

    /// Starts in a direction, with what the run knows of `HAProxy`'s processes.
    pub fn starts(&self, direction: Direction, processes: BTreeMap<String, u32>) {
        self.direction.set(direction);
        self.left_rotation.set(None);
        *self.processes.borrow_mut() = processes;
    }

    pub fn is(&self, mark: Mark) -> bool {
        self.marks.borrow().contains(&mark)
    }

    pub fn mark(&self, mark: Mark) {
        self.marks.borrow_mut().insert(mark);
    }

    pub fn unmark(&self, mark: Mark) {
        self.marks.borrow_mut().remove(&mark);
    }

    /// Changes the timing.
    pub fn time(&self, change: impl FnOnce(&mut Timing)) {
        let mut timing = self.timing.get();
        change(&mut timing);
        self.timing.set(timing);
    }

    /// Starts the time out of rotation, unless it has started.
    pub fn leaves_rotation(&self) {
        self.left_rotation.set(self.left_rotation.get().or_else(|| Some(Instant::now())));
    }

    /// Notes the present address of the container behind a server whose line has a host name.
    pub fn send_to(&self, server: ServerId, address: SocketAddr) {
        self.sent_to.borrow_mut().insert(server, address);
    }
}
