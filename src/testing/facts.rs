//! Example facts: one recorded run, and one example of every outcome.

use std::io;
use std::sync::{Arc, Mutex};

use super::{World, at, image};
use crate::adapters::events_file::events_in;
use crate::model::ids::{LaneId, RunId, ServerId};
use crate::observation::AdminState;
use crate::plan::rest::{LeftReason, LeftServer, OutOfService, Rest};
use crate::plan::{LaneServer, Plan, RunKind, Step};
use crate::run::event::{Event, EventKind, FirstRequest, Sample, Timing, VERSION};
use crate::run::journal::Run;
use crate::run::outcome::{Outcome, StuckServer};

fn app1() -> Vec<ServerId> {
    vec![ServerId::new("mobile", "app1")]
}

fn app2() -> Vec<ServerId> {
    vec![ServerId::new("mobile", "app2")]
}

fn surge() -> Vec<ServerId> {
    vec![ServerId::new("mobile", "app2-surge")]
}

/// The events file of a run with every kind of event, even of policies that exclude each other.
pub const RECORDED: &str = include_str!("../../fixtures/events/version-1.jsonl");

/// Returns the events in [`RECORDED`].
pub fn recorded() -> Vec<Event> {
    events_in(RECORDED.as_bytes())
}

/// The events file of a run with two lanes side by side.
pub const SIDE_BY_SIDE: &str = include_str!("../../fixtures/events/version-2.jsonl");

/// Returns the events in [`SIDE_BY_SIDE`].
pub fn side_by_side() -> Vec<Event> {
    events_in(SIDE_BY_SIDE.as_bytes())
}

/// Returns an event with this content.
pub fn event(lane: Option<LaneId>, kind: EventKind) -> Event {
    Event { version: VERSION, at: at(), run: RunId::from("20261123T221500.000Z"), lane, kind }
}

/// Returns every fact except [`EventKind::RunEnded`], for which see [`outcomes`].
pub fn facts() -> Vec<EventKind> {
    let plan = World::pair().plan("v2").unwrap();
    let mut facts = opening(&plan);
    facts.extend(lane(&plan));
    facts.extend(trouble());
    facts
}

fn opening(plan: &Plan) -> Vec<EventKind> {
    let image = || image("v2");
    let created = EventKind::Created {
        servers: app1(),
        container: "mobile-app1.new-20261123T221500.000Z".to_owned(),
        like: "mobile-app1".to_owned(),
    };
    vec![
        EventKind::RunStarted {
            backend: "mobile".to_owned(),
            purpose: RunKind::Deploy,
            lanes: plan.lanes.iter().map(crate::plan::Lane::ids).collect(),
            waves: vec![vec![LaneId::at(0)], vec![LaneId::at(1)]],
            images: vec![image()],
        },
        EventKind::Warned { message: "mobile/app2 is in maint, and will be put back in service".to_owned() },
        EventKind::PullStarted { image: image() },
        EventKind::PullProgressed { received: 1_000_000, expected: 12_500_000, engines: Vec::new() },
        EventKind::Pulled { image: image(), took_ms: 4_321 },
        created,
    ]
}

fn lane(plan: &Plan) -> Vec<EventKind> {
    let lane = &plan.lanes[0];
    let started = EventKind::LaneStarted {
        of: 2,
        servers: app1(),
        role: lane.role,
        cause: lane.cause.clone(),
        forecasts: lane.forecasts.clone(),
    };
    let kept = EventKind::ContainerStopped {
        container: "mobile-app1".to_owned(),
        as_name: "mobile-app1.old-20261123T221500.000Z".to_owned(),
        took_ms: 310,
    };
    let confirmed = |first_request| EventKind::Confirmed { servers: app1(), first_request };
    let timing = Timing { out_of_rotation_ms: 12_345, drain_ms: 1_200, engine_ms: 620, boot_ms: 10_400 };
    vec![
        started,
        EventKind::Verified { carriers: app2() },
        EventKind::Verified { carriers: vec![] },
        EventKind::DrainStarted { servers: app1() },
        EventKind::SessionsLeft { servers: app1(), sessions: 3, after_ms: 900 },
        EventKind::Drained { servers: app1(), took_ms: 1_200 },
        EventKind::DrainForced { servers: app1(), sessions: 1 },
        EventKind::DrainForced { servers: app1(), sessions: 3 },
        kept,
        EventKind::ContainerStarted { container: "mobile-app1".to_owned(), took_ms: 310 },
        EventKind::NotReadyYet { server: app1().remove(0), answer: "connection refused".to_owned() },
        EventKind::BecameReady { servers: app1(), answer: "GET /health → 200".to_owned(), took_ms: 10_425 },
        EventKind::Enabled { servers: app1() },
        confirmed(FirstRequest::Taken),
        confirmed(FirstRequest::NotYet),
        confirmed(FirstRequest::NotDue),
        EventKind::LaneFinished { servers: app1(), timing },
        EventKind::LaneFinished { servers: app1(), timing: Timing::default() },
    ]
}

fn hook(code: Option<i32>) -> EventKind {
    let (hook, output) =
        (crate::model::hook::HookPoint::BeforeDrain, vec!["tests pass".to_owned(), "2 of 2".to_owned()]);
    EventKind::HookEnded { hook, servers: app2(), code, output, took_ms: 1_234 }
}

fn load_balancer() -> String {
    "/run/haproxy/admin.sock".to_owned()
}

fn trouble() -> Vec<EventKind> {
    let failed = |step| EventKind::StepFailed {
        servers: app2(),
        step,
        reason: "the container exited with code 1".to_owned(),
        log: vec!["starting".to_owned(), "cannot read /etc/mobile.toml".to_owned()],
        health: vec!["exit code 1: connection refused".to_owned()],
    };
    vec![
        failed(Step::Prove),
        failed(Step::AwaitIdle),
        EventKind::CheckOverruled { server: app2().remove(0) },
        EventKind::SurgeStarted { servers: surge(), stands_in_for: app2(), container: "app2-surge".into() },
        EventKind::SurgeJoined {
            servers: surge(),
            address: "127.0.0.1:49153".parse().expect("an address"),
            took_ms: 1_700,
        },
        EventKind::SurgeRestored { servers: surge(), load_balancer: load_balancer() },
        EventKind::SurgeLeft { servers: surge(), took_ms: 900 },
        EventKind::QueueWoken { server: app2().remove(0), queued: 3 },
        EventKind::OutageBegan {
            load_balancer: load_balancer(),
            backend: "mobile".to_owned(),
            after_ms: 2_004,
        },
        EventKind::OutageEnded {
            load_balancer: load_balancer(),
            backend: "mobile".to_owned(),
            took_ms: 3_120,
        },
        hook(Some(0)),
        hook(Some(75)),
        hook(None),
        EventKind::LaneSkipped { servers: app2() },
        EventKind::LaneKept { servers: app2() },
        EventKind::StopRequested { at_once: false, seen_through: Vec::new() },
        EventKind::StopRequested { at_once: false, seen_through: app1() },
        EventKind::StopRequested { at_once: true, seen_through: app1() },
        EventKind::UndoStarted { servers: app2(), steps: vec![Step::Maint, Step::Return] },
        EventKind::LaneResumed { servers: app2(), steps: vec![Step::Start, Step::Ready] },
        EventKind::Undone { servers: app2() },
        EventKind::Undone { servers: [app1(), app2()].concat() },
        EventKind::Removed { container: "mobile-app1.old-20261123T221500.000Z".to_owned() },
        EventKind::Sampled {
            servers: [(app1().remove(0), Sample { sessions: 3, sessions_total: 4_711 })].into(),
        },
    ]
}

fn rolled_back(
    reason: String,
    kept: Vec<ServerId>,
    left_out: Vec<ServerId>,
    restored: Vec<ServerId>,
    asked: bool,
) -> Outcome {
    Outcome::RolledBack { reason, kept, left_out, restored, asked }
}

/// Returns every outcome of a run, with one server and with several.
pub fn outcomes() -> Vec<Outcome> {
    let reason = || "the container exited with code 1".to_owned();
    let unfinished = || "run 20261123T221500.000Z was not finished".to_owned();
    let both = || [app1(), app2()].concat();
    let stranded = StuckServer {
        server: app1().remove(0),
        status: "HAProxy has it in MAINT; the engine does not answer".to_owned(),
        commands: vec!["docker start a1a1a1a1a1a1".to_owned(), "drainswap ready mobile/app1".to_owned()],
    };
    vec![
        Outcome::Unchanged { rest: Rest::default() },
        Outcome::Deployed { replaced: 1, put_back: 0, skipped: vec![], rest: Rest::default() },
        Outcome::Deployed { replaced: 4, put_back: 0, skipped: vec![], rest: Rest::default() },
        Outcome::Deployed { replaced: 3, put_back: 1, skipped: vec![], rest: Rest::default() },
        Outcome::Deployed { replaced: 0, put_back: 2, skipped: vec![], rest: Rest::default() },
        Outcome::Deployed { replaced: 1, put_back: 0, skipped: app2(), rest: Rest::default() },
        Outcome::Deployed { replaced: 0, put_back: 0, skipped: app2(), rest: Rest::default() },
        Outcome::Deployed { replaced: 2, put_back: 0, skipped: vec![], rest: rest() },
        Outcome::Deployed { replaced: 2, put_back: 1, skipped: vec![], rest: stays() },
        Outcome::Unchanged { rest: rest() },
        Outcome::Unchanged { rest: stays() },
        Outcome::Skipped,
        rolled_back(reason(), vec![], vec![], app1(), false),
        rolled_back(reason(), app1(), vec![], vec![], false),
        rolled_back(reason(), both(), app2(), vec![], false),
        rolled_back(reason(), vec![], both(), vec![], false),
        Outcome::Refused { reason: reason() },
        Outcome::Cancelled { replaced: vec![], remaining: both(), left_out: vec![], rest: Rest::default() },
        Outcome::Cancelled { replaced: app1(), remaining: app2(), left_out: vec![], rest: Rest::default() },
        Outcome::Cancelled { replaced: vec![], remaining: both(), left_out: app1(), rest: Rest::default() },
        Outcome::Stuck {
            reason: reason(),
            servers: vec![stranded],
            kept: app2(),
            journal: "/var/lib/drainswap/mobile/20261123T221500.000Z.jsonl".to_owned(),
            resume: "drainswap resume mobile".to_owned(),
        },
        rolled_back(unfinished(), vec![], vec![], both(), true),
        rolled_back(unfinished(), app1(), app2(), vec![], true),
    ]
}

/// Returns a rest with one server that stays out of service.
fn stays() -> Rest {
    let out_of_service =
        vec![OutOfService { server: app2().remove(0), state: AdminState::Maint, has_agent: false }];
    Rest { out_of_service, ..Rest::default() }
}

/// Returns the same rest with a line without a container in addition.
fn rest() -> Rest {
    let left = vec![LeftServer { server: ServerId::new("mobile", "sorry"), why: LeftReason::NoContainer }];
    Rest { left, ..stays() }
}

/// Returns a journal of the recorded run.
pub fn run_of(events: &[Event]) -> Run {
    let mut plan = World::pair().plan("v2").unwrap();
    let model = plan.lanes[0].clone();
    let EventKind::RunStarted { lanes, images, .. } = &events[0].kind else { panic!("a run begins") };
    plan.run = events[0].run.clone();
    plan.images.clone_from(images);
    plan.lanes = lanes
        .iter()
        .map(|ids| {
            let mut lane = model.clone();
            let server = |id: &ServerId| LaneServer { id: id.clone(), ..model.servers[0].clone() };
            lane.servers = ids.iter().map(server).collect();
            lane
        })
        .collect();
    let EventKind::RunEnded { outcome, .. } = &events.last().unwrap().kind else { panic!("a run ends") };
    let mut run = Run::opened(plan, crate::run::journal::VERSION, None, 7);
    run.progress.outcome = Some(outcome.clone());
    run
}

/// The output of a reporter.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Returns everything written so far.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}
