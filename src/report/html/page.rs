//! The values that fill the template of the page.

use anstream::adapter::strip_str;
use jiff::Timestamp;
use serde::Serialize;

use super::chart::{Chart, Samples, by_version, chart, sessions};
use super::timeline::{Axis, Bar, LegendEntry, Versions, bars, legend, stretches};
use crate::model::ids::ServerId;
use crate::model::words::list;
use crate::plan::{Lane, RunKind};
use crate::report::story::{LaneStory, Story};
use crate::report::text::{is_bad, line, seconds};
use crate::run::event::{Event, EventKind};
use crate::run::journal::Run;

/// All values of the page.
#[derive(Serialize)]
pub(super) struct Page {
    title: String,
    run: String,
    /// `good`, `bad` or `open`.
    kind: &'static str,
    message: String,
    began: String,
    took: String,
    images: Vec<String>,
    notes: Vec<String>,
    /// Whether there are events, and not only the plan and the outcome.
    is_told: bool,
    ticks: Vec<String>,
    servers: Vec<ServerView>,
    legend: Vec<LegendEntry>,
    versions: Option<Chart>,
    lanes: Vec<LaneView>,
    plan: String,
    log: Vec<LogLine>,
}

/// A server of a lane, with its timeline from left to right.
#[derive(Serialize)]
struct ServerView {
    name: String,
    role: String,
    state: &'static str,
    bars: Vec<Bar>,
    requests: Option<Chart>,
}

/// The events of one lane.
#[derive(Serialize)]
struct LaneView {
    servers: String,
    role: String,
    state: &'static str,
    cause: String,
    meanwhile: Vec<String>,
    changes: Vec<String>,
    /// Each phase, and how long it took.
    times: Vec<(&'static str, String)>,
    /// The sessions that were left during the drain.
    drain: Option<Drain>,
    probes: Vec<TimedText>,
    failure: Option<String>,
    words: Vec<String>,
}

/// The sessions that a drain waited for.
#[derive(Serialize)]
struct Drain {
    chart: Chart,
    took: String,
}

/// An answer to a probe, with its time.
#[derive(Serialize)]
struct TimedText {
    at: String,
    text: String,
    is_good: bool,
}

#[derive(Serialize)]
struct LogLine {
    at: String,
    text: String,
    is_bad: bool,
}

impl Page {
    pub fn of(run: &Run, events: &[Event]) -> Self {
        let (plan, story) = (&run.plan, Story::of(events));
        let from = story.began.unwrap_or(plan.at);
        let until = story.last.unwrap_or(from);
        let axis = Axis::new(from, until);
        let outcome = run.progress.outcome.as_ref();
        let rates = Samples::of(events).by_server();
        let versions = Versions::of(run, &story, &axis);
        let lanes = || plan.lanes.iter().map(|lane| (lane, lane_story(&story, lane)));
        let what = if plan.purpose == RunKind::Rollback { "Rollback of" } else { "Deploy of" };
        let servers: Vec<ServerView> = lanes()
            .flat_map(|(lane, told)| lane.servers.iter().map(move |server| (lane, told, server)))
            .map(|(lane, told, server)| {
                let stretches = told.map_or_else(Vec::new, |told| stretches(told, server.served, &axis));
                let requests = rates.get(&server.id).cloned().unwrap_or_default();
                ServerView {
                    name: server.id.to_string(),
                    role: lane.role.to_string(),
                    state: told.map_or("", |told| told.state.word()),
                    bars: bars(&stretches, until, &axis),
                    requests: chart(vec![("requests a second".to_owned(), requests)], &axis),
                }
            })
            .collect();
        Self {
            title: format!("{what} {}", plan.backend),
            run: plan.run.to_string(),
            kind: outcome.map_or("open", |outcome| if outcome.is_success() { "good" } else { "bad" }),
            message: outcome.map_or_else(|| "this run was not finished".to_owned(), ToString::to_string),
            began: plan.at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            took: seconds(axis.after(until)),
            images: plan.images.iter().map(ToString::to_string).collect(),
            notes: plan.warnings.clone(),
            is_told: !events.is_empty(),
            ticks: axis.ticks(),
            legend: legend(servers.iter().flat_map(|server| &server.bars)),
            servers,
            versions: by_version(&rates, &versions, &axis),
            lanes: lanes().map(|(lane, told)| LaneView::of(lane, told, events, until, &axis)).collect(),
            plan: plan.to_string(),
            log: events.iter().filter_map(|event| LogLine::of(event, &axis)).collect(),
        }
    }
}

fn lane_story<'a>(story: &'a Story, lane: &Lane) -> Option<&'a LaneStory> {
    let name = lane.name();
    story.lanes.iter().find(|told| told.servers.contains(name))
}

impl LaneView {
    fn of(lane: &Lane, told: Option<&LaneStory>, events: &[Event], until: Timestamp, axis: &Axis) -> Self {
        let ids = lane.ids();
        let failure = told.and_then(|told| told.failure.as_ref());
        let changes = lane.replacement.iter().flat_map(|it| it.changes.iter().flatten());
        Self {
            servers: list(&ids),
            role: lane.role.to_string(),
            state: told.map_or("", |told| told.state.word()),
            cause: lane.cause.to_string(),
            meanwhile: lane.forecasts.iter().map(ToString::to_string).collect(),
            changes: changes.map(ToString::to_string).collect(),
            times: told.map_or_else(Vec::new, times),
            drain: drain(&ids, events, until),
            probes: probes(&ids, events, axis),
            failure: failure.map(|it| format!("{} failed: {}", it.step, it.reason)),
            words: failure.map_or_else(Vec::new, |it| it.log.clone()),
        }
    }
}

fn times(lane: &LaneStory) -> Vec<(&'static str, String)> {
    let Some(timing) = lane.timing.filter(|timing| timing.out_of_rotation_ms > 0) else { return Vec::new() };
    let times = [
        ("out of rotation", timing.out_of_rotation_ms),
        ("drain", timing.drain_ms),
        ("stop and start", timing.engine_ms),
        ("boot", timing.boot_ms),
        ("drainswap itself", timing.own_ms()),
    ];
    times.into_iter().map(|(what, ms)| (what, seconds(ms))).collect()
}

/// Returns the sessions of a lane during its drain.
fn drain(lane: &[ServerId], events: &[Event], until: Timestamp) -> Option<Drain> {
    let of_lane = |servers: &[ServerId]| servers == lane;
    let left = events.iter().filter_map(|event| {
        let EventKind::SessionsLeft { servers, sessions, .. } = &event.kind else { return None };
        of_lane(servers).then_some((event.at, *sessions))
    });
    let left: Vec<(Timestamp, u64)> = left.collect();
    let is_over = |event: &&Event| {
        let (EventKind::Drained { servers, .. }
        | EventKind::DrainForced { servers, .. }
        | EventKind::UndoStarted { servers, .. }) = &event.kind
        else {
            return false;
        };
        of_lane(servers)
    };
    let until = events.iter().find(is_over).map_or(until, |event| event.at);
    let axis = Axis::new(left.first()?.0, until);
    Some(Drain { chart: sessions(&left, &axis, until)?, took: seconds(axis.after(until)) })
}

/// Returns the answers of a lane's servers to probes.
fn probes(lane: &[ServerId], events: &[Event], axis: &Axis) -> Vec<TimedText> {
    let told = |event: &Event, text: &str, is_good: bool| {
        let at = seconds(axis.after(event.at));
        Some(TimedText { at, text: text.to_owned(), is_good })
    };
    let probe = |event: &Event| {
        if let EventKind::NotReadyYet { server, answer } = &event.kind {
            return lane.contains(server).then(|| told(event, answer, false))?;
        }
        if let EventKind::BecameReady { servers, answer, .. } = &event.kind {
            return (servers == lane).then(|| told(event, answer, true))?;
        }
        None
    };
    events.iter().filter_map(probe).collect()
}

impl LogLine {
    fn of(event: &Event, axis: &Axis) -> Option<Self> {
        let text = strip_str(&line(event)?).to_string();
        let is_bad = is_bad(&event.kind)
            && !matches!(event.kind, EventKind::Warned { .. } | EventKind::OutageEnded { .. });
        Some(Self { at: seconds(axis.after(event.at)), text, is_bad })
    }
}
