//! The events of a run, as facts in the past tense, for people and machines.

mod json;
mod version_1;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::hook::HookPoint;
use crate::model::ids::{LaneId, RunId, ServerId};
use crate::model::image::Image;
use crate::plan::{Cause, RunKind, Step};
use crate::run::outcome::Outcome;
use crate::topology::Role;
use crate::topology::traffic::Forecast;

pub use version_1::name_lanes;

/// One event of a run. As JSON it is one object: the fields of its kind beside the version, time, run and lane
/// ([`Event::to_json`]).
#[derive(Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
pub struct Event {
    /// The version of the event format. It increases when a field is removed or changes its meaning.
    #[schemars(extend("const" = VERSION))]
    pub version: u32,
    /// When the event happened, in UTC.
    pub at: Timestamp,
    /// The identifier of the run.
    pub run: RunId,
    /// The number of the lane that the event belongs to, from 1 in the order of `lanes` in `run_started`. Events of the
    /// run as a whole have none.
    pub lane: Option<LaneId>,
    /// What happened.
    #[schemars(flatten)]
    pub kind: EventKind,
}

/// The end of a command that did not start a run: the last line of `-o json` in that case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "event")]
#[schemars(rename = "NoRun")]
pub enum CommandFailed {
    /// The command failed before a run started.
    Failed {
        /// The version of the event format.
        #[schemars(extend("const" = VERSION))]
        version: u32,
        /// The exit code of the command.
        exit: u8,
        /// What went wrong, where, and what to do next.
        error: String,
    },
}

/// A receiver of events. A listener never stops a run, so it must handle its own errors.
pub trait Reporter {
    /// Receives an event.
    fn report(&mut self, event: &Event);
}

/// The version of the [`Event`] format. Since version 2, an event names its lane, and `run_started` the waves.
pub const VERSION: u32 = 2;

/// The kinds of events. All durations are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "event")]
#[schemars(rename = "Fact")]
pub enum EventKind {
    /// A run was opened.
    RunStarted {
        /// The backend.
        backend: String,
        /// Whether the run deploys or rolls back.
        purpose: RunKind,
        /// The servers of each lane, in order.
        lanes: Vec<Vec<ServerId>>,
        /// The lanes of each wave, in order: they run at the same time. In version 1, each lane ran alone.
        #[serde(default)]
        waves: Vec<Vec<LaneId>>,
        /// The images that the lanes get.
        images: Vec<Image>,
    },
    /// A warning for the operator.
    Warned {
        /// The text of the warning.
        message: String,
    },
    /// An engine started to pull an image.
    PullStarted {
        /// The image.
        image: Image,
    },
    /// More of an image was received.
    PullProgressed {
        /// Bytes received so far.
        received: u64,
        /// Bytes expected so far.
        expected: u64,
        /// The progress of each engine, if there are several.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        engines: Vec<EnginePull>,
    },
    /// The image is present on every engine that needs it.
    Pulled {
        /// The image.
        image: Image,
        /// How long the pull took.
        took_ms: u64,
    },
    /// The new container was created but not started.
    Created {
        /// The lane's servers.
        servers: Vec<ServerId>,
        /// The new container's name.
        container: String,
        /// The name of the container whose settings the new one has.
        like: String,
    },
    /// A lane was started.
    #[schemars(transform = json::require_lane)]
    LaneStarted {
        /// The number of lanes.
        of: usize,
        /// The lane's servers.
        servers: Vec<ServerId>,
        /// Whether its servers are primaries or backups.
        role: Role,
        /// The reason why the lane is needed.
        cause: Cause,
        /// Where the traffic goes while the servers are out.
        forecasts: Vec<Forecast>,
    },
    /// A lane of an unfinished run is being finished.
    LaneResumed {
        /// The lane's servers.
        servers: Vec<ServerId>,
        /// The steps that remain, in order.
        steps: Vec<Step>,
    },
    /// A hook exited.
    HookEnded {
        /// The name of the hook.
        hook: HookPoint,
        /// The servers that the hook was run for.
        servers: Vec<ServerId>,
        /// Its exit code; `null` if it timed out or a signal killed it.
        code: Option<i32>,
        /// The lines that it printed.
        output: Vec<String>,
        /// How long the hook took.
        took_ms: u64,
    },
    /// A hook skipped a lane; its servers stay as they are.
    LaneSkipped {
        /// The lane's servers.
        servers: Vec<ServerId>,
    },
    /// The floor holds on a new check, and the servers that take over answered.
    Verified {
        /// The servers that take over the traffic.
        carriers: Vec<ServerId>,
    },
    /// The servers were set to drain.
    DrainStarted {
        /// The servers.
        servers: Vec<ServerId>,
    },
    /// The number of sessions in flight changed.
    SessionsLeft {
        /// The servers that hold the sessions.
        servers: Vec<ServerId>,
        /// The number of sessions in flight.
        sessions: u64,
        /// The time since the drain began.
        after_ms: u64,
    },
    /// The drain goes on: what is left, reported regularly.
    #[serde(rename = "drain_goes_on")]
    DrainProgressed {
        /// The servers that hold the sessions.
        servers: Vec<ServerId>,
        /// Requests whose answer has not begun.
        waiting: u64,
        /// Requests whose answer is under way.
        answering: u64,
        /// Tunnels, websockets and connections in TCP mode.
        tunnels: u64,
        /// How many of all these sessions are held by workers that a reload has replaced.
        in_old_workers: u64,
        /// The change in the number of sessions since the last report.
        change: i64,
        /// The time since the drain began.
        after_ms: u64,
    },
    /// The drain timed out, and the servers were set to maint, so that persistent clients do not return to them.
    PersistenceEnded {
        /// The servers.
        servers: Vec<ServerId>,
        /// The number of sessions left.
        sessions: u64,
    },
    /// The remaining sessions were shut down.
    SessionsShutDown {
        /// The servers that hold the sessions.
        servers: Vec<ServerId>,
        /// The number of sessions that were shut down.
        sessions: u64,
    },
    /// The container of a surge server was started, before anything left rotation.
    SurgeStarted {
        /// The servers that it will be behind.
        servers: Vec<ServerId>,
        /// The servers that they stand in for.
        stands_in_for: Vec<ServerId>,
        /// The container.
        container: String,
    },
    /// A surge server joined: it takes traffic at every load balancer.
    SurgeJoined {
        /// The servers.
        servers: Vec<ServerId>,
        /// Where their traffic goes.
        address: std::net::SocketAddr,
        /// How long it took since its container was started.
        took_ms: u64,
    },
    /// `HAProxy` had forgotten a surge server, for example because of a reload, and has it again.
    SurgeRestored {
        /// The servers.
        servers: Vec<ServerId>,
        /// The load balancer.
        load_balancer: String,
    },
    /// A surge server left, and its container was removed.
    SurgeLeft {
        /// The servers.
        servers: Vec<ServerId>,
        /// How long it took.
        took_ms: u64,
    },
    /// Requests waited in a backend's queue although a server was free, and drainswap made `HAProxy` check the queue.
    QueueWoken {
        /// The server.
        server: ServerId,
        /// The number of requests that waited.
        queued: u64,
    },
    /// `HAProxy`'s check reported a new container down that answers, and the server was set healthy again.
    CheckOverruled {
        /// The server.
        server: ServerId,
    },
    /// Requests wait in a backend's queue. This `HAProxy` version would strand them there, so they are let through
    /// first.
    QueueAwaited {
        /// The backend.
        backend: String,
        /// The number of requests that wait.
        queued: u64,
    },
    /// A server that was put back is in its slow start. The next server is taken out when that is over.
    SlowStartAwaited {
        /// The servers.
        servers: Vec<ServerId>,
    },
    /// `HAProxy` was reloaded or restarted and lost its runtime states, so drainswap sets them again.
    HaproxyReloaded {
        /// The PID of the process that answered before.
        was: u32,
        /// The PID of the process that answers now.
        is: u32,
    },
    /// No session is in flight, and no new one can arrive.
    Drained {
        /// The servers.
        servers: Vec<ServerId>,
        /// The time since the drain began, including the time for which there had to be no session.
        took_ms: u64,
    },
    /// The drain timed out, and the run goes on regardless, as requested.
    DrainForced {
        /// The servers.
        servers: Vec<ServerId>,
        /// The number of sessions that will be cut off.
        sessions: u64,
    },
    /// No server of a backend has served at a load balancer for 2 s.
    OutageBegan {
        /// The load balancer.
        load_balancer: String,
        /// The backend.
        backend: String,
        /// The time for which no server has served.
        after_ms: u64,
    },
    /// A server of that backend serves there again.
    OutageEnded {
        /// The load balancer.
        load_balancer: String,
        /// The backend.
        backend: String,
        /// The time for which no server had served.
        took_ms: u64,
    },
    /// The old container was stopped and kept.
    #[serde(rename = "container_kept")]
    ContainerStopped {
        /// The container's name.
        container: String,
        /// The container's name while it is kept.
        as_name: String,
        /// The time that the stop took.
        took_ms: u64,
    },
    /// The new container was started.
    ContainerStarted {
        /// The container's name.
        container: String,
        /// The time that the engine took.
        took_ms: u64,
    },
    /// The container does not answer yet, or not as it did before.
    NotReadyYet {
        /// The server.
        server: ServerId,
        /// The answer, or the reason why there is none.
        answer: String,
    },
    /// The container answers.
    BecameReady {
        /// The servers.
        servers: Vec<ServerId>,
        /// The answer that proved it.
        answer: String,
        /// The time since the container was started.
        took_ms: u64,
    },
    /// The servers were set to ready.
    Enabled {
        /// The servers.
        servers: Vec<ServerId>,
    },
    /// `HAProxy` reports the servers up.
    Confirmed {
        /// The servers.
        servers: Vec<ServerId>,
        /// Whether the servers got their first request.
        first_request: FirstRequest,
    },
    /// A lane was finished.
    LaneFinished {
        /// The lane's servers.
        servers: Vec<ServerId>,
        /// How long each part took.
        timing: Timing,
    },
    /// A step failed.
    StepFailed {
        /// The lane's servers.
        servers: Vec<ServerId>,
        /// The step.
        step: Step,
        /// The reason.
        reason: String,
        /// The last log lines of the container.
        log: Vec<String>,
        /// The last runs of its healthcheck, if Docker has one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        health: Vec<String>,
    },
    /// The run was asked to stop.
    #[serde(rename = "stop_asked")]
    StopRequested {
        /// Whether this is the second request, which stops the run at once.
        at_once: bool,
        /// Servers whose old container was stopped: the run waits for their new one first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        seen_through: Vec<ServerId>,
    },
    /// A lane is being undone.
    UndoStarted {
        /// The lane's servers.
        servers: Vec<ServerId>,
        /// The steps of the undo, in order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        steps: Vec<Step>,
    },
    /// A lane was undone.
    Undone {
        /// The lane's servers.
        servers: Vec<ServerId>,
    },
    /// A lane was not undone, because that would lose requests: its servers stay in service with the new container. A
    /// warning says why.
    LaneKept {
        /// The lane's servers.
        servers: Vec<ServerId>,
    },
    /// The old container of a lane was removed.
    Removed {
        /// The container's name.
        container: String,
    },
    /// How busy the servers were, sampled regularly. Only the stored events of a run include it.
    Sampled {
        /// Every server of the backends that the run touches.
        servers: BTreeMap<ServerId, Sample>,
    },
    /// The run ended.
    RunEnded {
        /// The outcome. Its keys are beside the others.
        #[schemars(flatten)]
        outcome: Outcome,
        /// How long the run took.
        took_ms: u64,
        /// drainswap's share of the time out of rotation: the median of the lanes that succeeded.
        own_ms: Option<u64>,
    },
}

/// How busy a server was, summed over all load balancers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Sample {
    /// Sessions in flight.
    pub sessions: u64,
    /// Sessions since `HAProxy` started.
    pub sessions_total: u64,
}

/// The pull progress of one engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EnginePull {
    /// The engine's name in `[engines]`; empty for the default engine.
    pub engine: String,
    /// Bytes received so far.
    pub received: u64,
    /// Bytes expected so far.
    pub expected: u64,
}

/// Whether a server that is back in service got its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirstRequest {
    /// It got a request.
    Taken,
    /// It got none while it was watched: a quiet night.
    NotYet,
    /// It is not expected to get one: a backup, while primaries serve.
    NotDue,
}

/// How the time that a lane's servers were out of rotation was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Timing {
    /// The time from the command that took the servers out to the reply to the one that put them back.
    pub out_of_rotation_ms: u64,
    /// The time until the last session had ended, including the time for which there had to be none.
    pub drain_ms: u64,
    /// The time that the engine took to stop the old container, until its address was silent, and to start the new one.
    pub engine_ms: u64,
    /// The time from the start to the last answer that was not the expected one.
    pub boot_ms: u64,
}

impl Timing {
    /// Returns drainswap's own share: the rest of the time. It includes the time between the last unexpected answer and
    /// the first expected one, so it is never too small.
    #[must_use]
    pub fn own_ms(&self) -> u64 {
        let others = [self.drain_ms, self.engine_ms, self.boot_ms].into_iter().fold(0, u64::saturating_add);
        self.out_of_rotation_ms.saturating_sub(others)
    }
}

#[cfg(test)]
mod tests;
