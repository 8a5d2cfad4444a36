//! The values that fill the template of the page.

use anstream::adapter::strip_str;
use jiff::Timestamp;
use serde::Serialize;

use super::chart::{Chart, Samples, by_version, chart, sessions};
use super::timeline::{Axis, Bar, LegendEntry, Versions, bars, legend, stretches};
use crate::model::ids::LaneId;
use crate::model::words::list;
use crate::plan::{Lane, RunKind};
use crate::report::text::{is_bad, line, seconds};
use crate::run::event::{Event, EventKind};
use crate::run::journal::Run;
use crate::run::story::{Answer, LaneStory, Story};

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
        let lanes = || {
            let numbered = plan.lanes.iter().enumerate();
            numbered.map(|(index, lane)| (lane, story.lanes.get(&LaneId::at(index))))
        };
        let what = if plan.goal.purpose == RunKind::Rollback { "Rollback of" } else { "Deploy of" };
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
            title: format!("{what} {}", plan.goal.backend),
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
            lanes: lanes().map(|(lane, told)| LaneView::of(lane, told, until, &axis)).collect(),
            plan: plan.to_string(),
            log: events.iter().filter_map(|event| LogLine::of(event, &story, &axis)).collect(),
        }
    }
}

impl LaneView {
    fn of(lane: &Lane, told: Option<&LaneStory>, until: Timestamp, axis: &Axis) -> Self {
        let failure = told.and_then(|told| told.failure.as_ref());
        let changes = lane.replacement.iter().flat_map(|it| it.changes.iter().flatten());
        Self {
            servers: list(&lane.ids()),
            role: lane.role.to_string(),
            state: told.map_or("", |told| told.state.word()),
            cause: lane.cause.to_string(),
            meanwhile: lane.forecasts.iter().map(ToString::to_string).collect(),
            changes: changes.map(ToString::to_string).collect(),
            times: told.map_or_else(Vec::new, times),
            drain: told.and_then(|told| drain(told, until)),
            probes: told.map_or_else(Vec::new, |told| probes(told, axis)),
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
fn drain(lane: &LaneStory, until: Timestamp) -> Option<Drain> {
    let until = lane.drained_at().unwrap_or(until);
    // Those of an undo come later.
    let left: Vec<_> = lane.sessions.iter().copied().filter(|(at, _)| *at <= until).collect();
    let axis = Axis::new(left.first()?.0, until);
    Some(Drain { chart: sessions(&left, &axis, until)?, took: seconds(axis.after(until)) })
}

/// Returns the answers of a lane's servers to probes.
fn probes(lane: &LaneStory, axis: &Axis) -> Vec<TimedText> {
    let text = |it: &Answer| {
        let at = seconds(axis.after(it.at));
        TimedText { at, text: it.text.clone(), is_good: it.is_ready }
    };
    lane.answers.iter().map(text).collect()
}

impl LogLine {
    fn of(event: &Event, story: &Story, axis: &Axis) -> Option<Self> {
        let text = strip_str(&line(event, story)?).to_string();
        let is_bad = is_bad(&event.kind)
            && !matches!(event.kind, EventKind::Warned { .. } | EventKind::OutageEnded { .. });
        Some(Self { at: seconds(axis.after(event.at)), text, is_bad })
    }
}
