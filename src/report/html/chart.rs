//! Requests per second, computed from samples of the total number of requests.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::timeline::{Axis, Versions};
use crate::model::ids::ServerId;
use crate::run::event::{Event, EventKind, Sample};

/// The height of a drawing, in its own units.
const HEIGHT: u64 = 100;

/// A line of a drawing. It is in pieces where values are missing.
#[derive(Debug, Serialize)]
pub(super) struct ChartLine {
    name: String,
    colour: usize,
    /// `x,y x,y …`, for each piece.
    pieces: Vec<String>,
    peak: String,
}

/// Requests per second over the time of a run.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    top: String,
    lines: Vec<ChartLine>,
}

/// The rate between two samples: the time of the second one, and tenths of requests per second.
type Rate = (Timestamp, u64);

/// The samples, in order.
pub(super) struct Samples<'a>(Vec<(Timestamp, &'a BTreeMap<ServerId, Sample>)>);

impl<'a> Samples<'a> {
    pub fn of(events: &'a [Event]) -> Self {
        let looks = events.iter().filter_map(|event| {
            let EventKind::Sampled { servers } = &event.kind else { return None };
            Some((event.at, servers))
        });
        Self(looks.collect())
    }

    /// Returns the rates of every server, by its name.
    pub fn by_server(&self) -> BTreeMap<ServerId, Vec<Option<Rate>>> {
        let mut servers: BTreeMap<ServerId, Vec<Option<Rate>>> = BTreeMap::new();
        for pair in self.0.windows(2) {
            let [(before, was), (at, is)] = pair else { continue };
            for (id, sample) in *is {
                let rate = was.get(id).and_then(|was| rate(was, sample, *before, *at));
                servers.entry(id.clone()).or_default().push(rate.map(|rate| (*at, rate)));
            }
        }
        servers
    }
}

/// Returns the rate between two samples, or nothing if HAProxy restarted in between, which resets its counters.
fn rate(was: &Sample, is: &Sample, before: Timestamp, at: Timestamp) -> Option<u64> {
    let more = is.sessions_total.checked_sub(was.sessions_total)?;
    let ms = u64::try_from(at.duration_since(before).as_millis()).ok().filter(|ms| *ms > 0)?;
    Some(more.saturating_mul(10_000) / ms)
}

/// Returns the requests of all servers together, by the version that answered them.
pub(super) fn by_version(
    servers: &BTreeMap<ServerId, Vec<Option<Rate>>>,
    versions: &Versions,
    axis: &Axis,
) -> Option<Chart> {
    let mut sums: BTreeMap<Timestamp, BTreeMap<&str, u64>> = BTreeMap::new();
    for (id, rates) in servers {
        for (at, rate) in rates.iter().flatten() {
            let sum = sums.entry(*at).or_default().entry(versions.at(id, *at)).or_default();
            *sum = sum.saturating_add(*rate);
        }
    }
    let mut names: Vec<&str> = Vec::new();
    for name in sums.values().flat_map(BTreeMap::keys) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let of = |name: &&str| {
        let rates = sums.iter().map(|(at, by)| Some((*at, by.get(name).copied().unwrap_or_default())));
        ((*name).to_owned(), rates.collect())
    };
    chart(names.iter().map(of).collect(), axis)
}

/// Returns a chart of lines with a common height.
pub(super) fn chart(lines: Vec<(String, Vec<Option<Rate>>)>, axis: &Axis) -> Option<Chart> {
    let top = lines
        .iter()
        .flat_map(|(_, rates)| rates.iter().flatten())
        .map(|(_, rate)| *rate)
        .max()
        .filter(|top| *top > 0)?;
    let line = |(colour, (name, rates)): (usize, (String, Vec<Option<Rate>>))| {
        let peak = rates.iter().flatten().map(|(_, rate)| *rate).max().unwrap_or_default();
        ChartLine { name, colour, pieces: pieces(&rates, top, axis), peak: per_second(peak) }
    };
    let lines = lines.into_iter().enumerate().map(line).collect();
    Some(Chart { top: per_second(top), lines })
}

fn pieces(rates: &[Option<Rate>], top: u64, axis: &Axis) -> Vec<String> {
    let piece = |rates: &[Option<Rate>]| {
        rates.iter().flatten().fold(String::new(), |mut points, (at, rate)| {
            let y = HEIGHT - rate.saturating_mul(HEIGHT) / top.max(1);
            // Writing to a string never fails.
            let _written = write!(points, "{},{y} ", axis.x(*at));
            points
        })
    };
    rates.split(Option::is_none).map(piece).filter(|points| !points.is_empty()).collect()
}

/// Formats tenths as `48`, or as `0.3` for small values.
fn per_second(tenths: u64) -> String {
    if tenths >= 100 { (tenths / 10).to_string() } else { format!("{}.{}", tenths / 10, tenths % 10) }
}

/// Returns the sessions of a lane during its drain, as steps: the number stays the same until a session ends.
pub(super) fn sessions(left: &[(Timestamp, u64)], axis: &Axis, until: Timestamp) -> Option<Chart> {
    let most = left.iter().map(|(_, sessions)| *sessions).max().filter(|most| *most > 0)?;
    let y = |sessions: u64| HEIGHT - sessions.saturating_mul(HEIGHT) / most;
    let ends = left.iter().skip(1).map(|(at, _)| *at).chain([until]);
    let points = left.iter().zip(ends).fold(String::new(), |mut points, ((from, sessions), to)| {
        let y = y(*sessions);
        let _written = write!(points, "{},{y} {},{y} ", axis.x(*from), axis.x(to));
        points
    });
    let line =
        ChartLine { name: "sessions".to_owned(), colour: 0, pieces: vec![points], peak: most.to_string() };
    Some(Chart { top: most.to_string(), lines: vec![line] })
}
