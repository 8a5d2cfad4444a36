//! What happened, as facts in the past tense, for people and machines.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hook::Moment;
use crate::ids::{RunId, ServerId};
use crate::image::Image;
use crate::outcome::Outcome;
use crate::plan::{Cause, Purpose, Step};
use crate::topology::Role;
use crate::topology::traffic::Forecast;

/// One fact of one run. As JSON: one object, the fact's fields beside the stamp's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Event {
    /// The form's version. It grows when a field changes its meaning or goes away.
    #[schemars(extend("const" = VERSION))]
    pub version: u32,
    /// When.
    pub at: Timestamp,
    /// Which run.
    pub run: RunId,
    /// What.
    #[serde(flatten)]
    pub fact: Fact,
}

/// The end of a command that came to no run: the last line of `-o json` then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum NoRun {
    /// Something kept it from running.
    Failed {
        /// The form's version.
        #[schemars(extend("const" = VERSION))]
        version: u32,
        /// The exit code.
        exit: u8,
        /// What went wrong, where, and what to do next.
        error: String,
    },
}

/// Where events go. A listener that fails keeps it to itself: it never stops a run.
pub trait Listener {
    /// Takes an event.
    fn hear(&mut self, event: &Event);
}

/// The version of [`Event`]'s form.
pub const VERSION: u32 = 1;

/// What happened. All times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Fact {
    /// A run was opened.
    RunStarted {
        /// The backend.
        backend: String,
        /// Forward or back.
        purpose: Purpose,
        /// The lanes, in order: their servers.
        lanes: Vec<Vec<ServerId>>,
        /// The images that they get.
        images: Vec<Image>,
    },
    /// Something that a person should know.
    Warned {
        /// What.
        message: String,
    },
    /// A pull was started.
    PullStarted {
        /// The image.
        image: Image,
    },
    /// More of an image arrived.
    PullProgressed {
        /// Bytes received.
        received: u64,
        /// Bytes expected so far.
        expected: u64,
        /// How far each engine is, where there are several.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        engines: Vec<EnginePull>,
    },
    /// The image is present.
    Pulled {
        /// The image.
        image: Image,
        /// How long it took.
        took_ms: u64,
    },
    /// The new container was created, stopped.
    Created {
        /// The lane's servers.
        servers: Vec<ServerId>,
        /// The new container's name.
        container: String,
        /// The container whose settings it has.
        like: String,
    },
    /// Work on a lane began.
    LaneStarted {
        /// The lane's number, from 1.
        lane: usize,
        /// How many there are.
        of: usize,
        /// Its servers.
        servers: Vec<ServerId>,
        /// Its part.
        role: Role,
        /// Why.
        cause: Cause,
        /// Where the traffic goes meanwhile.
        forecasts: Vec<Forecast>,
    },
    /// A hook of somebody's own has ended.
    HookEnded {
        /// Which.
        hook: Moment,
        /// The servers that it was about.
        servers: Vec<ServerId>,
        /// Its exit code; `None` where it was killed, because its time was over or by a signal.
        code: Option<i32>,
        /// What it printed.
        output: Vec<String>,
        /// How long it took.
        took_ms: u64,
    },
    /// A hook wants a lane to be left out; its servers stay as they are.
    LaneSkipped {
        /// The lane's servers.
        servers: Vec<ServerId>,
    },
    /// The floor holds on a fresh look, and these servers answered.
    Verified {
        /// The servers that will carry the traffic.
        carriers: Vec<ServerId>,
    },
    /// The servers were set to drain.
    DrainStarted {
        /// Which.
        servers: Vec<ServerId>,
    },
    /// The number of sessions in flight changed.
    SessionsLeft {
        /// Whose.
        servers: Vec<ServerId>,
        /// How many.
        sessions: u64,
        /// Since the drain began.
        after_ms: u64,
    },
    /// The drain goes on: what is left, told now and then.
    DrainGoesOn {
        /// Whose.
        servers: Vec<ServerId>,
        /// Requests whose answer has not begun.
        waiting: u64,
        /// Answers under way.
        answering: u64,
        /// Tunnels, websockets, connections in TCP mode.
        tunnels: u64,
        /// How many of all of these are held by workers that a reload has replaced.
        in_old_workers: u64,
        /// How many more there are than when it was told last.
        change: i64,
        /// Since the drain began.
        after_ms: u64,
    },
    /// The drain's limit passed: the servers were set to maint, so that nobody comes back to them.
    PersistenceEnded {
        /// Which servers.
        servers: Vec<ServerId>,
        /// How many sessions were left.
        sessions: u64,
    },
    /// The sessions that were left were ended.
    SessionsShutDown {
        /// Whose.
        servers: Vec<ServerId>,
        /// How many.
        sessions: u64,
    },
    /// Requests waited in a backend's queue although a server was free, and it was told to look.
    QueueWoken {
        /// The server.
        server: ServerId,
        /// How many waited.
        queued: u64,
    },
    /// `HAProxy`'s check had a new container down that answers, and it is counted as healthy again.
    CheckOverruled {
        /// The server.
        server: ServerId,
    },
    /// Requests wait in a backend's queue, which this version would leave there, so they are let through first.
    QueueAwaited {
        /// The backend.
        backend: String,
        /// How many wait.
        queued: u64,
    },
    /// A server that was put back is in its slow start, and the next one is not taken out before that is over.
    SlowStartAwaited {
        /// Which servers.
        servers: Vec<ServerId>,
    },
    /// `HAProxy` was reloaded or started anew, and had forgotten what was set: it is set again.
    HaproxyReloaded {
        /// The process that answered before.
        was: u32,
        /// The process that answers now.
        is: u32,
    },
    /// Nothing is in flight, and nothing new can land.
    Drained {
        /// Which servers.
        servers: Vec<ServerId>,
        /// Since the drain began, the time for which zero had to hold included.
        took_ms: u64,
    },
    /// The drain's limit passed, and the run goes on all the same, as asked.
    DrainForced {
        /// Which servers.
        servers: Vec<ServerId>,
        /// How many sessions will be cut.
        sessions: u64,
    },
    /// No server of a backend has served at a load balancer for 2 s.
    OutageBegan {
        /// The load balancer.
        load_balancer: String,
        /// The backend.
        backend: String,
        /// For how long none has served.
        after_ms: u64,
    },
    /// A server of that backend serves there again.
    OutageEnded {
        /// The load balancer.
        load_balancer: String,
        /// The backend.
        backend: String,
        /// For how long none had served.
        took_ms: u64,
    },
    /// The old container was stopped and kept.
    ContainerKept {
        /// Its name.
        container: String,
        /// Its name while it is kept.
        as_name: String,
        /// How long it took to stop.
        took_ms: u64,
    },
    /// The new container was started.
    ContainerStarted {
        /// Its name.
        container: String,
        /// How long the engine took.
        took_ms: u64,
    },
    /// The container does not answer yet, or answers something else than before.
    NotReadyYet {
        /// The server.
        server: ServerId,
        /// What came instead.
        answer: String,
    },
    /// The container answers.
    BecameReady {
        /// The servers.
        servers: Vec<ServerId>,
        /// What proved it.
        answer: String,
        /// Since it was started.
        took_ms: u64,
    },
    /// The servers were set to ready.
    Enabled {
        /// Which.
        servers: Vec<ServerId>,
    },
    /// `HAProxy` has the servers up.
    Confirmed {
        /// Which.
        servers: Vec<ServerId>,
        /// What is known of their first request.
        first_request: FirstRequest,
    },
    /// Work on a lane ended well.
    LaneFinished {
        /// Its servers.
        servers: Vec<ServerId>,
        /// Where the time went.
        timing: Timing,
    },
    /// A step failed.
    StepFailed {
        /// The lane's servers.
        servers: Vec<ServerId>,
        /// Which step.
        step: Step,
        /// Why.
        reason: String,
        /// The container's last log lines.
        log: Vec<String>,
        /// The last runs of its healthcheck, where Docker has one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        health: Vec<String>,
    },
    /// Somebody asked the run to stop.
    StopAsked {
        /// Whether for the second time.
        at_once: bool,
        /// Servers whose old container was stopped: their new one is waited for first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        seen_through: Vec<ServerId>,
    },
    /// A lane is being taken back.
    UndoStarted {
        /// Its servers.
        servers: Vec<ServerId>,
    },
    /// A lane was taken back.
    Undone {
        /// Its servers.
        servers: Vec<ServerId>,
    },
    /// The old container of a lane was removed.
    Removed {
        /// Its name.
        container: String,
    },
    /// How busy the servers were, looked at now and then. Only what is kept of a run tells it.
    Sampled {
        /// Every server of the backends that the run touches.
        servers: BTreeMap<ServerId, Sample>,
    },
    /// The run ended.
    RunEnded {
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
        /// How long it took.
        took_ms: u64,
        /// The tool's own share of the time out of rotation, at the median of the lanes that ended well.
        own_ms: Option<u64>,
    },
}

/// How busy a server was, on all load balancers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Sample {
    /// Sessions in flight.
    pub sessions: u64,
    /// Sessions since `HAProxy` started.
    pub sessions_total: u64,
}

/// How far one engine is with an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EnginePull {
    /// The engine, as `[engines]` names it; empty for the one that `docker` names.
    pub engine: String,
    /// Bytes received.
    pub received: u64,
    /// Bytes expected so far.
    pub expected: u64,
}

/// What is known of the first request of a server that is back in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirstRequest {
    /// It took one.
    Taken,
    /// None came while it was watched: a quiet night.
    NotYet,
    /// None was to be expected: a backup, while primaries serve.
    NotDue,
}

/// Where the time went in which a lane's servers were out of rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Timing {
    /// From the command that took the servers out to the reply of the one that put them back.
    pub out_of_rotation_ms: u64,
    /// Until the last session had ended, the time for which zero had to hold included.
    pub drain_ms: u64,
    /// The engine's share: stop, until the address is silent, and start.
    pub engine_ms: u64,
    /// From the start to the last answer that was not the wanted one.
    pub boot_ms: u64,
}

impl Timing {
    /// The tool's own share: what is left. The time between the last unwanted answer and the first
    /// wanted one counts here, so this is never too small.
    #[must_use]
    pub fn own_ms(&self) -> u64 {
        let others = [self.drain_ms, self.engine_ms, self.boot_ms].into_iter().fold(0, u64::saturating_add);
        self.out_of_rotation_ms.saturating_sub(others)
    }
}

#[cfg(test)]
mod tests;
