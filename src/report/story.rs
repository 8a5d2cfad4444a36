//! A run as its events tell it: what every summary of a run is written from.

use jiff::Timestamp;

use crate::event::{Event, Fact, Timing};
use crate::ids::{RunId, ServerId};
use crate::image::Image;
use crate::outcome::Outcome;
use crate::plan::{Purpose, Step};

/// A run, as far as it was told.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// Which run.
    pub run: Option<RunId>,
    /// On which backend.
    pub backend: String,
    /// Forward or back.
    pub purpose: Option<Purpose>,
    /// The images that its servers get.
    pub images: Vec<Image>,
    /// When its first event was.
    pub began: Option<Timestamp>,
    /// When its last event was.
    pub last: Option<Timestamp>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// The images that were pulled, and how long each took.
    pub pulls: Vec<(Image, u64)>,
    /// Its lanes, in order.
    pub lanes: Vec<LaneStory>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// How long it took.
    pub took_ms: u64,
    /// The lane that is worked on.
    current: Option<usize>,
}

/// What happened to one lane.
#[derive(Clone, Debug)]
pub struct LaneStory {
    /// Its servers.
    pub servers: Vec<ServerId>,
    /// Why it was worked on.
    pub cause: String,
    /// Where its traffic was to go meanwhile.
    pub meanwhile: Vec<String>,
    /// Where its servers were while they were not simply in service.
    pub phases: Vec<Phase>,
    /// The steps that were done, and how long each took.
    pub steps: Vec<(Step, u64)>,
    /// How far it came.
    pub state: LaneState,
    /// Where the time went.
    pub timing: Option<Timing>,
    /// What failed.
    pub failure: Option<LaneFailure>,
}

/// How far a lane came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneState {
    /// It was not begun.
    Waiting,
    /// It is worked on.
    UnderWay,
    /// Its servers are in service, as they were to be.
    InService,
    /// A hook has left it out.
    LeftOut,
    /// A step of it has failed.
    Failed,
    /// It is as it was before the run.
    PutBack,
}

impl LaneState {
    /// The same in a person's words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "not begun",
            Self::UnderWay => "under way",
            Self::InService => "in service",
            Self::LeftOut => "left out",
            Self::Failed => "failed",
            Self::PutBack => "put back",
        }
    }
}

/// A stretch of time in which servers were on their way out or back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// What was done.
    pub kind: PhaseKind,
    /// From when.
    pub from: Timestamp,
    /// Until when; `None` where that was not told.
    pub to: Option<Timestamp>,
}

/// What was done with servers that were not simply in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseKind {
    /// They get nothing new, and their sessions end.
    Draining,
    /// They are out of rotation, and the old container is stopped.
    Stopping,
    /// They are out of rotation, and the new container boots.
    Booting,
    /// They are ready, and `HAProxy` gives them traffic again.
    Returning,
    /// What was done is taken back.
    Undoing,
}

impl PhaseKind {
    /// The same in a person's words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Booting => "booting",
            Self::Returning => "returning",
            Self::Undoing => "taken back",
        }
    }
}

/// What failed in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneFailure {
    /// The step.
    pub step: Step,
    /// Why.
    pub reason: String,
    /// The container's last log lines, and the last runs of its healthcheck.
    pub log: Vec<String>,
}

impl Story {
    /// What these events tell, in their order.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut story = Self::default();
        for event in events {
            story.hear(event);
        }
        story
    }

    /// One event more.
    pub fn hear(&mut self, event: &Event) {
        self.run.get_or_insert_with(|| event.run.clone());
        self.began.get_or_insert(event.at);
        self.last = Some(event.at);
        self.hear_of_run(&event.fact);
        self.hear_of_lane(&event.fact, event.at);
    }

    fn hear_of_run(&mut self, fact: &Fact) {
        if let Fact::RunStarted { backend, purpose, lanes, images } = fact {
            self.backend.clone_from(backend);
            self.purpose = Some(*purpose);
            self.images.clone_from(images);
            for servers in lanes {
                self.lane(servers);
            }
            self.current = None;
        }
        if let Fact::Warned { message } = fact {
            self.notes.push(message.clone());
        }
        if let Fact::Pulled { image, took_ms } = fact {
            self.pulls.push((image.clone(), *took_ms));
        }
        if let Fact::RunEnded { outcome, took_ms, .. } = fact {
            self.outcome = Some(outcome.clone());
            self.took_ms = *took_ms;
        }
    }

    fn hear_of_lane(&mut self, fact: &Fact, at: Timestamp) {
        match fact {
            Fact::LaneStarted { servers, cause, forecasts, .. } => {
                let lane = self.lane(servers);
                lane.cause = cause.to_string();
                lane.meanwhile = forecasts.iter().map(ToString::to_string).collect();
                lane.state = LaneState::UnderWay;
            }
            Fact::DrainStarted { servers } => self.lane(servers).enter(PhaseKind::Draining, at),
            Fact::Drained { servers, took_ms } => {
                let lane = self.lane(servers);
                lane.steps.push((Step::AwaitIdle, *took_ms));
                lane.enter(PhaseKind::Stopping, at);
            }
            Fact::DrainForced { servers, .. } => self.lane(servers).enter(PhaseKind::Stopping, at),
            Fact::ContainerKept { took_ms, .. } => self.with_current(|lane| {
                lane.steps.push((Step::Keep, *took_ms));
            }),
            Fact::ContainerStarted { took_ms, .. } => self.with_current(|lane| {
                lane.steps.push((Step::Start, *took_ms));
                lane.enter(PhaseKind::Booting, at);
            }),
            Fact::BecameReady { servers, took_ms, .. } => {
                self.lane(servers).steps.push((Step::Prove, *took_ms));
            }
            Fact::Enabled { servers } => self.lane(servers).enter(PhaseKind::Returning, at),
            Fact::Confirmed { servers, .. } => self.lane(servers).confirm(at),
            Fact::LaneFinished { servers, timing } => {
                let lane = self.lane(servers);
                lane.leave(at);
                lane.state = LaneState::InService;
                lane.timing = Some(*timing);
            }
            Fact::LaneSkipped { servers } => self.lane(servers).state = LaneState::LeftOut,
            Fact::StepFailed { servers, step, reason, log, health } => {
                let lane = self.lane(servers);
                lane.state = LaneState::Failed;
                let log = log.iter().chain(health).cloned().collect();
                lane.failure = Some(LaneFailure { step: *step, reason: reason.clone(), log });
            }
            Fact::UndoStarted { servers } => self.lane(servers).enter(PhaseKind::Undoing, at),
            Fact::Undone { servers } => {
                let lane = self.lane(servers);
                lane.leave(at);
                lane.state = LaneState::PutBack;
            }
            Fact::RunStarted { .. }
            | Fact::Warned { .. }
            | Fact::PullStarted { .. }
            | Fact::PullProgressed { .. }
            | Fact::Pulled { .. }
            | Fact::Created { .. }
            | Fact::HookEnded { .. }
            | Fact::Verified { .. }
            | Fact::SessionsLeft { .. }
            | Fact::DrainGoesOn { .. }
            | Fact::PersistenceEnded { .. }
            | Fact::SessionsShutDown { .. }
            | Fact::QueueWoken { .. }
            | Fact::CheckOverruled { .. }
            | Fact::QueueAwaited { .. }
            | Fact::SlowStartAwaited { .. }
            | Fact::HaproxyReloaded { .. }
            | Fact::OutageBegan { .. }
            | Fact::OutageEnded { .. }
            | Fact::NotReadyYet { .. }
            | Fact::StopAsked { .. }
            | Fact::Removed { .. }
            | Fact::Sampled { .. }
            | Fact::RunEnded { .. } => {}
        }
    }

    /// The lane of these servers, which is the one that is worked on from now on.
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
