//! Reads version 1 of the format, in which an event did not name its lane.

use super::{Event, EventKind, VERSION};
use crate::model::ids::{LaneId, ServerId};

/// The version whose events did not name their lane.
const WITHOUT_LANES: u32 = 1;

/// The lanes of a run of version 1, in which one lane ran after the other.
#[derive(Default)]
struct Lanes {
    /// The servers of each lane.
    servers: Vec<Vec<ServerId>>,
    /// The lane in progress.
    current: Option<LaneId>,
}

/// Gives events of version 1 the lane that they belong to, which makes them events of the present version. The events
/// must be in the order in which they happened.
pub fn name_lanes(events: &mut [Event]) {
    let mut lanes = Lanes::default();
    for event in events.iter_mut().filter(|event| event.version == WITHOUT_LANES) {
        event.version = VERSION;
        event.lane = event.lane.or_else(|| lanes.lane_of(&event.kind));
        if let EventKind::LaneStarted { servers, .. } = &event.kind {
            lanes.current = event.lane;
            lanes.with(servers);
        }
    }
}

impl Lanes {
    /// Returns the lane that an event of this kind belongs to.
    fn lane_of(&mut self, kind: &EventKind) -> Option<LaneId> {
        match kind {
            EventKind::RunStarted { lanes, .. } => {
                self.servers.clone_from(lanes);
                None
            }
            EventKind::Created { servers, .. } => Some(self.with(servers)),
            EventKind::HookEnded { hook, servers, .. } if hook.is_of_lane() => self.enter(servers),
            EventKind::LaneStarted { servers, .. }
            | EventKind::LaneSkipped { servers }
            | EventKind::DrainStarted { servers }
            | EventKind::SessionsLeft { servers, .. }
            | EventKind::DrainProgressed { servers, .. }
            | EventKind::PersistenceEnded { servers, .. }
            | EventKind::SessionsShutDown { servers, .. }
            | EventKind::Drained { servers, .. }
            | EventKind::DrainForced { servers, .. }
            | EventKind::BecameReady { servers, .. }
            | EventKind::Enabled { servers }
            | EventKind::Confirmed { servers, .. }
            | EventKind::LaneFinished { servers, .. }
            | EventKind::StepFailed { servers, .. }
            | EventKind::UndoStarted { servers, .. }
            | EventKind::LaneResumed { servers, .. }
            | EventKind::Undone { servers }
            | EventKind::LaneKept { servers } => self.enter(servers),
            EventKind::NotReadyYet { server, .. } => self.enter(std::slice::from_ref(server)),
            // These name no servers, or those that take over from the lane.
            EventKind::Verified { .. }
            | EventKind::QueueWoken { .. }
            | EventKind::CheckOverruled { .. }
            | EventKind::QueueAwaited { .. }
            | EventKind::SlowStartAwaited { .. }
            | EventKind::ContainerStopped { .. }
            | EventKind::ContainerStarted { .. } => self.current,
            EventKind::HookEnded { .. }
            | EventKind::Warned { .. }
            | EventKind::PullStarted { .. }
            | EventKind::PullProgressed { .. }
            | EventKind::Pulled { .. }
            | EventKind::HaproxyReloaded { .. }
            | EventKind::SurgeStarted { .. }
            | EventKind::SurgeJoined { .. }
            | EventKind::SurgeRestored { .. }
            | EventKind::SurgeLeft { .. }
            | EventKind::OutageBegan { .. }
            | EventKind::OutageEnded { .. }
            | EventKind::StopRequested { .. }
            | EventKind::Removed { .. }
            | EventKind::Sampled { .. }
            | EventKind::RunEnded { .. } => None,
        }
    }

    /// Returns the lane with one of these servers, as the one in progress.
    fn enter(&mut self, servers: &[ServerId]) -> Option<LaneId> {
        self.current = Some(self.with(servers));
        self.current
    }

    /// Returns the lane with one of these servers. A lane that no event has named before comes after the others.
    fn with(&mut self, servers: &[ServerId]) -> LaneId {
        let known = self.servers.iter().position(|lane| lane.iter().any(|it| servers.contains(it)));
        LaneId::at(known.unwrap_or_else(|| {
            self.servers.push(servers.to_vec());
            self.servers.len() - 1
        }))
    }
}
