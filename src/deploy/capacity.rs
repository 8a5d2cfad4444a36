//! Counts the lanes that are out of rotation together, so that floor and headroom hold with all of them out.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::{Mutex, MutexGuard};

use crate::model::ids::ServerId;

/// The gate through which servers leave rotation, one lane at a time.
#[derive(Default)]
pub(super) struct CapacityGate {
    gate: Mutex<()>,
    /// The servers of each lane that has left rotation and is not back.
    out: RefCell<BTreeMap<usize, BTreeSet<ServerId>>>,
}

impl CapacityGate {
    /// Enters the gate. Until the guard is dropped, no other lane checks whether it may leave.
    pub async fn enter(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().await
    }

    /// Counts a lane's servers as out.
    pub fn leaves(&self, lane: usize, servers: BTreeSet<ServerId>) {
        self.out.borrow_mut().insert(lane, servers);
    }

    /// Counts a lane's servers as in service again.
    pub fn returns(&self, lane: usize) {
        self.out.borrow_mut().remove(&lane);
    }

    /// Returns the servers of all other lanes that are out.
    pub fn others(&self, lane: usize) -> BTreeSet<ServerId> {
        let out = self.out.borrow();
        out.iter().filter(|(other, _)| **other != lane).flat_map(|(_, servers)| servers.clone()).collect()
    }
}
