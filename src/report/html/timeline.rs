//! The state of every server over the time of a run.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::ids::{LaneId, ServerId};
use crate::plan::Lane;
use crate::report::text::seconds;
use crate::run::journal::Run;
use crate::run::story::{LaneState, LaneStory, PhaseKind, Story};

/// The width of a drawing, in its own units.
pub(super) const WIDTH: u64 = 1000;

/// The duration of a run, mapped to the width of a drawing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub from: Timestamp,
    span_ms: u64,
}

impl Axis {
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        Self { from, span_ms: millis(from, to).max(1) }
    }

    /// Returns the milliseconds since the run began.
    pub fn after(&self, at: Timestamp) -> u64 {
        millis(self.from, at)
    }

    pub fn x(&self, at: Timestamp) -> u64 {
        (self.after(at) * WIDTH / self.span_ms).min(WIDTH)
    }

    /// Returns the labels below a drawing: five times from left to right.
    pub fn ticks(&self) -> Vec<String> {
        (0..=4).map(|quarter| seconds(self.span_ms * quarter / 4)).collect()
    }
}

fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or_default()
}

/// The state of a server for a period of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tone {
    /// In service, as before the run.
    Old,
    /// Out of service before the run.
    Down,
    Draining,
    Stopping,
    Booting,
    Returning,
    Undoing,
    /// In service as the run planned it.
    New,
}

impl Tone {
    const ALL: [Self; 8] = [
        Self::Old,
        Self::Down,
        Self::Draining,
        Self::Stopping,
        Self::Booting,
        Self::Returning,
        Self::Undoing,
        Self::New,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Old => "in service as before",
            Self::Down => "did not serve",
            Self::Draining => PhaseKind::Draining.word(),
            Self::Stopping => PhaseKind::Stopping.word(),
            Self::Booting => PhaseKind::Booting.word(),
            Self::Returning => PhaseKind::Returning.word(),
            Self::Undoing => PhaseKind::Undoing.word(),
            Self::New => "in service, new",
        }
    }
}

impl From<PhaseKind> for Tone {
    fn from(kind: PhaseKind) -> Self {
        match kind {
            PhaseKind::Draining => Self::Draining,
            PhaseKind::Stopping => Self::Stopping,
            PhaseKind::Booting => Self::Booting,
            PhaseKind::Returning => Self::Returning,
            PhaseKind::Undoing => Self::Undoing,
        }
    }
}

/// A part of a server's bar.
#[derive(Debug, Serialize)]
pub(super) struct Bar {
    x: u64,
    width: u64,
    like: Tone,
    title: String,
}

/// A colour and its meaning.
#[derive(Debug, Serialize)]
pub(super) struct LegendEntry {
    like: Tone,
    word: &'static str,
}

/// Returns the meanings of the colours in these bars.
pub(super) fn legend<'a>(bars: impl Iterator<Item = &'a Bar>) -> Vec<LegendEntry> {
    let seen: Vec<Tone> = bars.map(|bar| bar.like).collect();
    let used = Tone::ALL.into_iter().filter(|like| seen.contains(like));
    used.map(|like| LegendEntry { like, word: like.word() }).collect()
}

/// Returns the states of a server with their start times, in order.
pub(super) fn stretches(lane: &LaneStory, served: bool, axis: &Axis) -> Vec<(Timestamp, Tone)> {
    let before = if served { Tone::Old } else { Tone::Down };
    let mut stretches = vec![(axis.from, before)];
    for phase in &lane.phases {
        stretches.push((phase.from, phase.kind.into()));
        let Some(to) = phase.to else { continue };
        let after = match phase.kind {
            PhaseKind::Undoing if is_put_back(lane) => before,
            PhaseKind::Returning | PhaseKind::Undoing => Tone::New,
            PhaseKind::Draining | PhaseKind::Stopping | PhaseKind::Booting => continue,
        };
        stretches.push((to, after));
    }
    if lane.state == LaneState::InService && lane.phases.is_empty() {
        stretches.push((axis.from, Tone::New));
    }
    stretches
}

/// Returns whether an undo gave the lane its old container back.
fn is_put_back(lane: &LaneStory) -> bool {
    lane.state != LaneState::KeptNew
}

/// Returns the bar of a server.
pub(super) fn bars(stretches: &[(Timestamp, Tone)], until: Timestamp, axis: &Axis) -> Vec<Bar> {
    let ends = stretches.iter().skip(1).map(|(from, _)| *from).chain([until]);
    let bar = |((from, like), to): (&(Timestamp, Tone), Timestamp)| {
        let (x, end) = (axis.x(*from), axis.x(to));
        let took = axis.after(to).saturating_sub(axis.after(*from));
        let title = format!("{}: {}, starting at {}", like.word(), seconds(took), seconds(axis.after(*from)));
        // A short state is still visible.
        (took > 0).then(|| Bar {
            x: x.min(WIDTH - 2),
            width: end.saturating_sub(x).max(2),
            like: *like,
            title,
        })
    };
    stretches.iter().zip(ends).filter_map(bar).collect()
}

/// The image that every server ran over time, under the name that it has on the page.
#[derive(Debug, Default)]
pub(super) struct Versions {
    servers: BTreeMap<ServerId, Vec<(Timestamp, String)>>,
}

impl Versions {
    pub fn of(run: &Run, story: &Story, axis: &Axis) -> Self {
        let mut servers = BTreeMap::new();
        for (index, lane) in run.plan.lanes.iter().enumerate() {
            let (old, new) = images(lane);
            for id in lane.ids() {
                let mut ran = vec![(axis.from, old.clone())];
                let told = story.lanes.get(&LaneId::at(index));
                for phase in told.iter().flat_map(|told| &told.phases) {
                    match (phase.kind, phase.to) {
                        (PhaseKind::Booting, _) => ran.push((phase.from, new.clone())),
                        (PhaseKind::Undoing, Some(to)) if told.is_some_and(is_put_back) => {
                            ran.push((to, old.clone()));
                        }
                        _ => {}
                    }
                }
                servers.insert(id, ran);
            }
        }
        if let [image] = run.plan.images.as_slice() {
            let unchanged = run.plan.unchanged.iter();
            servers.extend(unchanged.map(|id| (id.clone(), vec![(axis.from, image.to_string())])));
        }
        Self { servers }
    }

    pub fn at(&self, server: &ServerId, at: Timestamp) -> &str {
        let ran = self.servers.get(server).map(Vec::as_slice).unwrap_or_default();
        ran.iter().rev().find(|(from, _)| *from <= at).map_or("unchanged by this run", |(_, image)| image)
    }
}

/// Returns the image that a lane ran before, and the one that it was to run.
fn images(lane: &Lane) -> (String, String) {
    let Some(replacement) = &lane.replacement else {
        return ("put back in service only".to_owned(), "put back in service only".to_owned());
    };
    let old = replacement.old.as_ref().map(|old| old.running_image().to_string());
    (old.unwrap_or_else(|| "nothing".to_owned()), replacement.image.to_string())
}
