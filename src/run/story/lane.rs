//! One lane of a run, as its events describe it.

use jiff::Timestamp;

use crate::model::ids::{LaneId, ServerId};
use crate::model::words::list;
use crate::plan::Step;
use crate::run::event::{Event, EventKind, Timing};

/// A lane, from its events so far.
#[derive(Clone, Debug)]
pub struct LaneStory {
    pub id: LaneId,
    /// The number of lanes of the run, once the lane has started.
    of: Option<usize>,
    pub servers: Vec<ServerId>,
    /// The reason why the run works on it.
    pub cause: String,
    /// What the run is doing in it, and the time since when that counts.
    pub activity: Option<(Activity, Timestamp)>,
    /// The periods in which its servers were not simply in service.
    pub phases: Vec<Phase>,
    /// The completed steps, and how long each took, in milliseconds.
    pub steps: Vec<(Step, u64)>,
    /// The sessions that the drain waited for, at each change.
    pub sessions: Vec<(Timestamp, u64)>,
    /// The answers to probes, each with its time.
    pub answers: Vec<Answer>,
    pub state: LaneState,
    /// How its time was spent.
    pub timing: Option<Timing>,
    pub failure: Option<LaneFailure>,
}

/// The progress of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneState {
    /// The lane has not started.
    Waiting,
    /// The lane is in progress.
    UnderWay,
    /// Its servers are in service as planned.
    InService,
    /// A hook skipped it.
    LeftOut,
    /// A step of it failed.
    Failed,
    /// It is as it was before the run.
    PutBack,
    /// It was not undone and keeps its new container.
    KeptNew,
}

impl LaneState {
    /// Returns the state as a text for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "not started",
            Self::UnderWay => "in progress",
            Self::InService => "in service",
            Self::LeftOut => "skipped",
            Self::Failed => "failed",
            Self::PutBack => "undone",
            Self::KeptNew => "keeps the new container",
        }
    }
}

/// What the run is doing in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It checks the floor and the servers that take over.
    Checking,
    /// It waits for the slow start of other servers.
    AwaitingSlowStart(Vec<ServerId>),
    /// It waits for the queue of a backend.
    AwaitingQueue(String),
    /// The servers drain. `before` is the number of sessions that was reported before.
    Draining {
        sessions: Option<u64>,
        before: Option<u64>,
    },
    /// The old container stops.
    Stopping,
    /// The old container has stopped.
    Starting,
    /// The new container boots.
    Booting {
        container: String,
    },
    /// The new container does not answer yet, or not as it did before.
    NotReady {
        answer: String,
    },
    /// The servers are ready, and `HAProxy` gives them traffic again.
    Returning,
    Undoing,
    /// The lane of an unfinished run is being finished.
    Finishing,
}

/// A period in which servers were leaving or returning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    pub kind: PhaseKind,
    /// The time it started.
    pub from: Timestamp,
    /// The time it ended, if an event recorded it.
    pub to: Option<Timestamp>,
}

/// The kind of work on servers that are not simply in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseKind {
    /// They get nothing new, and their sessions end.
    Draining,
    /// They are out of rotation, and the old container stops.
    Stopping,
    /// They are out of rotation, and the new container boots.
    Booting,
    /// They are ready, and `HAProxy` gives them traffic again.
    Returning,
    /// The lane is being undone.
    Undoing,
}

impl PhaseKind {
    /// Returns the kind as a text for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Booting => "booting",
            Self::Returning => "returning",
            Self::Undoing => "undoing",
        }
    }
}

/// An answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub at: Timestamp,
    pub text: String,
    pub is_ready: bool,
}

/// A failure in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneFailure {
    pub step: Step,
    pub reason: String,
    /// The container's last log lines, followed by the last runs of its healthcheck.
    pub log: Vec<String>,
}

impl LaneStory {
    pub(super) fn new(id: LaneId) -> Self {
        Self {
            id,
            of: None,
            servers: Vec::new(),
            cause: String::new(),
            activity: None,
            phases: Vec::new(),
            steps: Vec::new(),
            sessions: Vec::new(),
            answers: Vec::new(),
            state: LaneState::Waiting,
            timing: None,
            failure: None,
        }
    }

    /// Returns the name of its first server.
    #[must_use]
    pub fn name(&self) -> String {
        self.servers.first().map_or_else(|| format!("lane {}", self.id), ToString::to_string)
    }

    /// Returns its position among all lanes, and its servers: `[2/4] mobile/app1`.
    #[must_use]
    pub fn title(&self) -> String {
        let servers = list(&self.servers);
        self.of.map_or_else(|| servers.clone(), |of| format!("[{}/{of}] {servers}", self.id))
    }

    /// Returns the time at which its drain ended, if an event recorded it.
    #[must_use]
    pub fn drained_at(&self) -> Option<Timestamp> {
        self.phases.iter().find(|phase| phase.kind == PhaseKind::Draining).and_then(|phase| phase.to)
    }

    /// Adds an event of the lane.
    pub(super) fn record(&mut self, event: &Event) {
        self.record_servers(&event.kind);
        self.record_state(&event.kind, event.at);
        self.record_activity(&event.kind, event.at);
        self.record_step(&event.kind, event.at);
        self.record_phase(&event.kind, event.at);
    }

    /// Closes the lane at the end of the run. If the run was stopped before the lane had left rotation, the lane counts
    /// as not started.
    pub(super) fn end(&mut self) {
        self.activity = None;
        if self.state == LaneState::UnderWay && self.phases.is_empty() {
            self.state = LaneState::Waiting;
        }
    }

    /// Takes the servers over, which a resumed run does not announce at its start.
    fn record_servers(&mut self, kind: &EventKind) {
        if let EventKind::LaneStarted { servers, .. }
        | EventKind::Created { servers, .. }
        | EventKind::BecameReady { servers, .. }
        | EventKind::LaneFinished { servers, .. }
        | EventKind::StepFailed { servers, .. }
        | EventKind::UndoStarted { servers, .. }
        | EventKind::LaneResumed { servers, .. } = kind
        {
            self.servers.clone_from(servers);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds do not change the state")]
    fn record_state(&mut self, kind: &EventKind, at: Timestamp) {
        match kind {
            EventKind::LaneStarted { of, cause, .. } => {
                self.of = Some(*of);
                self.cause = cause.to_string();
                self.state = LaneState::UnderWay;
            }
            EventKind::LaneFinished { timing, .. } => {
                self.state = LaneState::InService;
                self.timing = Some(*timing);
            }
            EventKind::LaneResumed { .. } => self.state = LaneState::UnderWay,
            EventKind::LaneSkipped { .. } => self.state = LaneState::LeftOut,
            EventKind::StepFailed { step, reason, log, health, .. } => {
                self.state = LaneState::Failed;
                let log = log.iter().chain(health).cloned().collect();
                self.failure = Some(LaneFailure { step: *step, reason: reason.clone(), log });
            }
            EventKind::Undone { .. } => self.state = LaneState::PutBack,
            EventKind::LaneKept { .. } => self.state = LaneState::KeptNew,
            EventKind::NotReadyYet { answer, .. } => self.answered(at, answer, false),
            EventKind::BecameReady { answer, .. } => self.answered(at, answer, true),
            _ => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds do not change what the run is doing")]
    fn record_activity(&mut self, kind: &EventKind, at: Timestamp) {
        let activity = match kind {
            EventKind::LaneStarted { .. } => Activity::Checking,
            EventKind::SlowStartAwaited { servers } => Activity::AwaitingSlowStart(servers.clone()),
            EventKind::QueueAwaited { backend, .. } => Activity::AwaitingQueue(backend.clone()),
            EventKind::DrainStarted { .. } => Activity::Draining { sessions: None, before: None },
            EventKind::SessionsLeft { sessions, .. } => {
                let before = match &self.activity {
                    Some((Activity::Draining { sessions, .. }, _)) => *sessions,
                    Some(_) | None => None,
                };
                self.sessions.push((at, *sessions));
                Activity::Draining { sessions: Some(*sessions), before }
            }
            EventKind::Drained { .. } | EventKind::DrainForced { .. } => Activity::Stopping,
            EventKind::ContainerStopped { .. } => Activity::Starting,
            EventKind::ContainerStarted { container, .. } => {
                Activity::Booting { container: container.clone() }
            }
            EventKind::NotReadyYet { answer, .. } => Activity::NotReady { answer: answer.clone() },
            EventKind::Enabled { .. } => Activity::Returning,
            EventKind::UndoStarted { .. } => Activity::Undoing,
            EventKind::LaneResumed { .. } => Activity::Finishing,
            EventKind::LaneFinished { .. }
            | EventKind::LaneSkipped { .. }
            | EventKind::StepFailed { .. }
            | EventKind::Undone { .. }
            | EventKind::LaneKept { .. } => {
                self.activity = None;
                return;
            }
            _ => return,
        };
        // The time out of rotation counts as a whole.
        let since = self.activity.as_ref().filter(|_| activity.is_out_of_rotation());
        let since = since.map_or(at, |(_, since)| *since);
        self.activity = Some((activity, since));
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds end no step")]
    fn record_step(&mut self, kind: &EventKind, at: Timestamp) {
        let step = match kind {
            EventKind::Drained { took_ms, .. } => (Step::AwaitIdle, *took_ms),
            EventKind::ContainerStopped { took_ms, .. } => (Step::Stop, *took_ms),
            EventKind::ContainerStarted { took_ms, .. } => (Step::Start, *took_ms),
            EventKind::BecameReady { took_ms, .. } => (Step::Prove, *took_ms),
            EventKind::Confirmed { .. } => {
                let since = self.phases.last().filter(|phase| phase.kind == PhaseKind::Returning);
                let Some(phase) = since else { return };
                let took = at.duration_since(phase.from).as_millis();
                (Step::Confirm, u64::try_from(took).unwrap_or_default())
            }
            _ => return,
        };
        self.steps.push(step);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds begin and end no phase")]
    fn record_phase(&mut self, kind: &EventKind, at: Timestamp) {
        let is_undoing =
            self.phases.last().is_some_and(|it| it.kind == PhaseKind::Undoing && it.to.is_none());
        match kind {
            EventKind::Undone { .. } | EventKind::LaneKept { .. } => self.leave(at),
            // An undo is one phase, whatever it does.
            _ if is_undoing => {}
            EventKind::DrainStarted { .. } => self.enter(PhaseKind::Draining, at),
            EventKind::Drained { .. } | EventKind::DrainForced { .. } => self.enter(PhaseKind::Stopping, at),
            EventKind::ContainerStarted { .. } => self.enter(PhaseKind::Booting, at),
            EventKind::Enabled { .. } => self.enter(PhaseKind::Returning, at),
            EventKind::UndoStarted { .. } => self.enter(PhaseKind::Undoing, at),
            EventKind::Confirmed { .. } | EventKind::LaneFinished { .. } => self.leave(at),
            _ => {}
        }
    }

    fn answered(&mut self, at: Timestamp, text: &str, is_ready: bool) {
        self.answers.push(Answer { at, text: text.to_owned(), is_ready });
    }

    fn enter(&mut self, kind: PhaseKind, at: Timestamp) {
        self.leave(at);
        self.phases.push(Phase { kind, from: at, to: None });
    }

    fn leave(&mut self, at: Timestamp) {
        if let Some(phase) = self.phases.last_mut() {
            phase.to.get_or_insert(at);
        }
    }
}

impl Activity {
    /// Returns whether the activity continues the time out of rotation that the drain began.
    #[must_use]
    pub fn is_out_of_rotation(&self) -> bool {
        match self {
            Self::Draining { sessions, .. } => sessions.is_some(),
            Self::Stopping | Self::Starting | Self::Booting { .. } | Self::NotReady { .. } => true,
            Self::Checking
            | Self::AwaitingSlowStart(_)
            | Self::AwaitingQueue(_)
            | Self::Returning
            | Self::Undoing
            | Self::Finishing => false,
        }
    }
}
