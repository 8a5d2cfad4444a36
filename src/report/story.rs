//! A run as its events describe it: the basis of every summary.

use jiff::Timestamp;

use crate::model::ids::{RunId, ServerId};
use crate::model::image::Image;
use crate::plan::{RunKind, Step};
use crate::run::event::{Event, EventKind, Timing};
use crate::run::outcome::Outcome;

/// A run, from the events so far.
#[derive(Clone, Debug, Default)]
pub struct Story {
    pub run: Option<RunId>,
    pub backend: String,
    /// Whether the run deploys or rolls back.
    pub purpose: Option<RunKind>,
    /// The images that its servers get.
    pub images: Vec<Image>,
    /// The time of its first event.
    pub began: Option<Timestamp>,
    /// The time of its last event.
    pub last: Option<Timestamp>,
    /// Warnings for a person.
    pub notes: Vec<String>,
    /// The pulled images, and how long each pull took, in milliseconds.
    pub pulls: Vec<(Image, u64)>,
    /// Its lanes, in order.
    pub lanes: Vec<LaneStory>,
    pub outcome: Option<Outcome>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The lane in progress.
    current: Option<usize>,
}

/// The events of one lane.
#[derive(Clone, Debug)]
pub struct LaneStory {
    pub servers: Vec<ServerId>,
    /// The reason why the run works on it.
    pub cause: String,
    /// The servers that take over its traffic.
    pub meanwhile: Vec<String>,
    /// The periods in which its servers were not simply in service.
    pub phases: Vec<Phase>,
    /// The completed steps, and how long each took, in milliseconds.
    pub steps: Vec<(Step, u64)>,
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
        }
    }
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

/// A failure in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneFailure {
    pub step: Step,
    pub reason: String,
    /// The container's last log lines, followed by the last runs of its healthcheck.
    pub log: Vec<String>,
}

impl Story {
    /// Builds the story from events in their order.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut story = Self::default();
        for event in events {
            story.record(event);
        }
        story
    }

    /// Adds one event.
    pub fn record(&mut self, event: &Event) {
        self.run.get_or_insert_with(|| event.run.clone());
        self.began.get_or_insert(event.at);
        self.last = Some(event.at);
        self.record_run_event(&event.kind);
        self.record_lane_event(&event.kind, event.at);
    }

    fn record_run_event(&mut self, fact: &EventKind) {
        if let EventKind::RunStarted { backend, purpose, lanes, images, .. } = fact {
            self.backend.clone_from(backend);
            self.purpose = Some(*purpose);
            self.images.clone_from(images);
            for servers in lanes {
                self.lane(servers);
            }
            self.current = None;
        }
        if let EventKind::Warned { message } = fact {
            self.notes.push(message.clone());
        }
        if let EventKind::Pulled { image, took_ms } = fact {
            self.pulls.push((image.clone(), *took_ms));
        }
        if let EventKind::RunEnded { outcome, took_ms, .. } = fact {
            self.outcome = Some(outcome.clone());
            self.took_ms = *took_ms;
        }
    }

    fn record_lane_event(&mut self, fact: &EventKind, at: Timestamp) {
        match fact {
            EventKind::LaneStarted { servers, cause, forecasts, .. } => {
                let lane = self.lane(servers);
                lane.cause = cause.to_string();
                lane.meanwhile = forecasts.iter().map(ToString::to_string).collect();
                lane.state = LaneState::UnderWay;
            }
            EventKind::DrainStarted { servers } => self.lane(servers).enter(PhaseKind::Draining, at),
            EventKind::Drained { servers, took_ms } => {
                let lane = self.lane(servers);
                lane.steps.push((Step::AwaitIdle, *took_ms));
                lane.enter(PhaseKind::Stopping, at);
            }
            EventKind::DrainForced { servers, .. } => self.lane(servers).enter(PhaseKind::Stopping, at),
            EventKind::ContainerStopped { took_ms, .. } => self.with_current(|lane| {
                lane.steps.push((Step::Stop, *took_ms));
            }),
            EventKind::ContainerStarted { took_ms, .. } => self.with_current(|lane| {
                lane.steps.push((Step::Start, *took_ms));
                lane.enter(PhaseKind::Booting, at);
            }),
            EventKind::BecameReady { servers, took_ms, .. } => {
                self.lane(servers).steps.push((Step::Prove, *took_ms));
            }
            EventKind::Enabled { servers } => self.lane(servers).enter(PhaseKind::Returning, at),
            EventKind::Confirmed { servers, .. } => self.lane(servers).confirm(at),
            EventKind::LaneFinished { servers, timing } => {
                let lane = self.lane(servers);
                lane.leave(at);
                lane.state = LaneState::InService;
                lane.timing = Some(*timing);
            }
            EventKind::LaneSkipped { servers } => self.lane(servers).state = LaneState::LeftOut,
            EventKind::StepFailed { servers, step, reason, log, health } => {
                let lane = self.lane(servers);
                lane.state = LaneState::Failed;
                let log = log.iter().chain(health).cloned().collect();
                lane.failure = Some(LaneFailure { step: *step, reason: reason.clone(), log });
            }
            EventKind::UndoStarted { servers, .. } => self.lane(servers).enter(PhaseKind::Undoing, at),
            EventKind::LaneResumed { servers, .. } => self.lane(servers).state = LaneState::UnderWay,
            EventKind::Undone { servers } => {
                let lane = self.lane(servers);
                lane.leave(at);
                lane.state = LaneState::PutBack;
            }
            EventKind::RunStarted { .. }
            | EventKind::Warned { .. }
            | EventKind::PullStarted { .. }
            | EventKind::PullProgressed { .. }
            | EventKind::Pulled { .. }
            | EventKind::Created { .. }
            | EventKind::HookEnded { .. }
            | EventKind::Verified { .. }
            | EventKind::SessionsLeft { .. }
            | EventKind::DrainProgressed { .. }
            | EventKind::PersistenceEnded { .. }
            | EventKind::SessionsShutDown { .. }
            | EventKind::QueueWoken { .. }
            | EventKind::CheckOverruled { .. }
            | EventKind::QueueAwaited { .. }
            | EventKind::SlowStartAwaited { .. }
            | EventKind::HaproxyReloaded { .. }
            | EventKind::OutageBegan { .. }
            | EventKind::OutageEnded { .. }
            | EventKind::NotReadyYet { .. }
            | EventKind::StopRequested { .. }
            | EventKind::Removed { .. }
            | EventKind::Sampled { .. }
            | EventKind::RunEnded { .. } => {}
        }
    }

    /// Returns the lane of these servers, and makes it the current one.
    fn lane(&mut self, servers: &[ServerId]) -> &mut LaneStory {
        let known = self.lanes.iter().position(|lane| lane.servers.iter().any(|it| servers.contains(it)));
        let index = known.unwrap_or_else(|| {
            self.lanes.push(LaneStory::new(servers));
            self.lanes.len() - 1
        });
        self.current = Some(index);
        &mut self.lanes[index]
    }

    fn with_current(&mut self, change: impl FnOnce(&mut LaneStory)) {
        if let Some(index) = self.current {
            change(&mut self.lanes[index]);
        }
    }
}

impl LaneStory {
    fn new(servers: &[ServerId]) -> Self {
        Self {
            servers: servers.to_vec(),
            cause: String::new(),
            meanwhile: Vec::new(),
            phases: Vec::new(),
            steps: Vec::new(),
            state: LaneState::Waiting,
            timing: None,
            failure: None,
        }
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

    fn confirm(&mut self, at: Timestamp) {
        let since = self.phases.last().filter(|phase| phase.kind == PhaseKind::Returning);
        if let Some(phase) = since {
            let took = at.duration_since(phase.from).as_millis();
            self.steps.push((Step::Confirm, u64::try_from(took).unwrap_or_default()));
        }
        self.leave(at);
    }
}
