//! The live view on a terminal: the plain lines, and below them one moving line for each lane in progress.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::stderr::{Terminal, styled};
use super::text::line;
use crate::model::ids::LaneId;
use crate::model::sanitize;
use crate::model::words::{list, sessions};
use crate::run::event::{Event, EventKind, Reporter};
use crate::run::story::{Activity, LaneStory, Pulling, Story};

/// How often a moving line is redrawn while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// The maximum redraw rate.
const FRAMES_A_SECOND: u8 = 20;

/// A reporter that shows a run on a terminal.
#[derive(Debug)]
pub struct Progress {
    bars: MultiProgress,
    rows: BTreeMap<Option<LaneId>, Row>,
    story: Story,
}

/// A moving line on the terminal.
#[derive(Debug)]
struct Row {
    bar: ProgressBar,
    since: Option<Timestamp>,
}

impl Default for Progress {
    fn default() -> Self {
        let terminal = ProgressDrawTarget::term_like_with_hz(Box::new(Terminal::default()), FRAMES_A_SECOND);
        let bars = MultiProgress::with_draw_target(terminal);
        let mut progress = Self { bars, rows: BTreeMap::new(), story: Story::default() };
        progress.show();
        progress
    }
}

impl Progress {
    /// Shows what the run is doing now.
    fn show(&mut self) {
        let lines = live(&self.story);
        self.rows.retain(|lane, row| {
            let stays = lines.contains_key(lane);
            if !stays {
                row.bar.finish_and_clear();
                self.bars.remove(&row.bar);
            }
            stays
        });
        for (lane, line) in lines {
            let bars = &self.bars;
            let row = self.rows.entry(lane).or_insert_with(|| Row { bar: new_bar(bars), since: None });
            if row.since != line.since {
                row.since = line.since;
                row.bar.reset_elapsed();
            }
            row.bar.set_message(line.text);
        }
    }
}

fn new_bar(bars: &MultiProgress) -> ProgressBar {
    let bar = bars.add(ProgressBar::no_length());
    let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(TICK);
    bar
}

impl Reporter for Progress {
    fn report(&mut self, event: &Event) {
        self.story.record(event);
        if let Some(text) = line(event, &self.story) {
            // A terminal that has gone is no reason to stop.
            let _gone = self.bars.println(styled(&text));
        }
        if matches!(event.kind, EventKind::RunEnded { .. }) {
            self.rows.values().for_each(|row| row.bar.finish_and_clear());
            self.rows.clear();
        } else {
            self.show();
        }
    }
}

/// The content of a moving line.
#[derive(Debug, PartialEq, Eq)]
struct LiveLine {
    /// One line, which does not move the cursor.
    text: String,
    /// The time from which its seconds count.
    since: Option<Timestamp>,
}

/// Returns the moving lines: one for each lane in progress, or one for the run.
fn live(story: &Story) -> BTreeMap<Option<LaneId>, LiveLine> {
    let of_lane = |lane: &LaneStory| {
        let (activity, since) = lane.activity.as_ref()?;
        let text = sanitize::line(&format!("{}: {}", lane.title(), words(activity)));
        Some((Some(lane.id), LiveLine { text, since: Some(*since) }))
    };
    let mut lines: BTreeMap<_, _> = story.lanes.values().filter_map(of_lane).collect();
    if lines.is_empty() {
        let text = sanitize::line(&story.pulling.as_ref().map(pulling).unwrap_or_default());
        let since = story.pulling.as_ref().map(|pulling| pulling.since);
        lines.insert(None, LiveLine { text, since });
    }
    lines
}

fn pulling(pulling: &Pulling) -> String {
    let of = |received: u64, expected: u64| format!("{} of {}", megabytes(received), megabytes(expected));
    let Some((received, expected)) = pulling.received else { return format!("pulling {}", pulling.image) };
    let each = pulling.engines.iter().map(|it| {
        let name = if it.engine.is_empty() { "docker" } else { &it.engine };
        format!("{name} {}", of(it.received, it.expected))
    });
    let each: Vec<String> = each.collect();
    let all = if each.is_empty() { of(received, expected) } else { each.join(", ") };
    format!("pulling {all}")
}

/// Returns what the run is doing in a lane.
fn words(activity: &Activity) -> String {
    match activity {
        Activity::Checking => "checking again".to_owned(),
        Activity::AwaitingSlowStart(servers) => format!("waiting for the slow start of {}", list(servers)),
        Activity::AwaitingQueue(backend) => format!("waiting for the queue of {backend}"),
        Activity::Draining { sessions: None, .. } => "out of rotation, draining".to_owned(),
        Activity::Draining { sessions: Some(left), before } => {
            format!("out of rotation, {} left{}", sessions(*left), trend(*left, *before))
        }
        Activity::Stopping => "out of rotation, stopping the old container".to_owned(),
        Activity::Starting => "out of rotation, starting the new container".to_owned(),
        Activity::Booting { container } => format!("out of rotation, {container} is booting"),
        Activity::NotReady { answer } => format!("out of rotation, {answer}"),
        Activity::Returning => "waiting for its first request".to_owned(),
        Activity::Undoing => "undoing".to_owned(),
        Activity::Finishing => "finishing".to_owned(),
    }
}

/// Returns an arrow that shows whether the number of sessions went down or up.
fn trend(now: u64, before: Option<u64>) -> &'static str {
    match before.map(|before| now.cmp(&before)) {
        Some(Ordering::Less) => " ↓",
        Some(Ordering::Greater) => " ↑",
        Some(Ordering::Equal) | None => "",
    }
}

fn megabytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people, to a tenth")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.1} MB")
}

/// Returns the moving lines at this point of a run.
#[cfg(test)]
pub(super) fn live_lines(story: &Story) -> Vec<String> {
    live(story).into_values().map(|line| line.text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts::{recorded, side_by_side};

    /// Returns the moving lines after each event that changes them. A star marks those whose seconds start anew.
    fn moving(events: &[Event]) -> String {
        let (mut story, mut shown, mut text) = (Story::default(), BTreeMap::new(), Vec::new());
        for event in events {
            story.record(event);
            let now = live(&story);
            for (lane, line) in now.iter().filter(|(lane, line)| shown.get(*lane) != Some(*line)) {
                let is_new = shown.get(lane).is_none_or(|it: &LiveLine| it.since != line.since);
                let words = if line.text.is_empty() { "(nothing)" } else { &line.text };
                text.push(format!("{} {words}", if is_new { '*' } else { ' ' }));
            }
            shown = now;
        }
        text.join("\n")
    }

    #[test]
    fn the_moving_line_follows_a_whole_run() {
        insta::assert_snapshot!(moving(&recorded()), @"
        * (nothing)
        * pulling registry.example.org/mobile:v2 (9b3ce17a40d2)
          pulling 1.0 MB of 12.5 MB
          pulling docker 6.2 MB of 6.3 MB, ssh://app2.example.org 3.2 MB of 6.2 MB
        * (nothing)
        * [1/4] mobile/app2: checking again
        * [1/4] mobile/app2: out of rotation, draining
          [1/4] mobile/app2: out of rotation, stopping the old container
          [1/4] mobile/app2: out of rotation, starting the new container
          [1/4] mobile/app2: out of rotation, mobile-app2 is booting
          [1/4] mobile/app2: out of rotation, connection refused
          [1/4] mobile/app2: out of rotation, GET /health → 503
        * [1/4] mobile/app2: waiting for its first request
        * (nothing)
        * [2/4] mobile/app1, tablet/one: checking again
        * [2/4] mobile/app1, tablet/one: waiting for the slow start of mobile/app2
        * [2/4] mobile/app1, tablet/one: waiting for the queue of tablet
        * [2/4] mobile/app1, tablet/one: out of rotation, draining
          [2/4] mobile/app1, tablet/one: out of rotation, 17 sessions left
          [2/4] mobile/app1, tablet/one: out of rotation, 9 sessions left ↓
          [2/4] mobile/app1, tablet/one: out of rotation, 5 sessions left ↓
          [2/4] mobile/app1, tablet/one: out of rotation, 0 sessions left ↓
          [2/4] mobile/app1, tablet/one: out of rotation, stopping the old container
          [2/4] mobile/app1, tablet/one: out of rotation, starting the new container
          [2/4] mobile/app1, tablet/one: out of rotation, mobile-app1 is booting
          [2/4] mobile/app1, tablet/one: out of rotation, connection refused
        * [2/4] mobile/app1, tablet/one: waiting for its first request
        * (nothing)
        * [3/4] mobile/app2b: checking again
        * (nothing)
        * [4/4] mobile/app1b: checking again
        * [4/4] mobile/app1b: out of rotation, draining
          [4/4] mobile/app1b: out of rotation, 1 session left
          [4/4] mobile/app1b: out of rotation, stopping the old container
          [4/4] mobile/app1b: out of rotation, starting the new container
          [4/4] mobile/app1b: out of rotation, mobile-app1b is booting
          [4/4] mobile/app1b: out of rotation, connection refused
        * (nothing)
        * [4/4] mobile/app1b: undoing
        * (nothing)
        ");
    }

    #[test]
    fn each_lane_of_a_wave_has_its_own_moving_line() {
        insta::assert_snapshot!(moving(&side_by_side()), @"
        * (nothing)
        * pulling registry.example.org/mobile:v2 (9b3ce17a40d2)
        * (nothing)
        * [1/3] mobile/app1, mobile/app1t: checking again
        * [2/3] mobile/app22: checking again
        * [1/3] mobile/app1, mobile/app1t: out of rotation, draining
        * [2/3] mobile/app22: out of rotation, draining
          [1/3] mobile/app1, mobile/app1t: out of rotation, 4 sessions left
          [2/3] mobile/app22: out of rotation, 9 sessions left
          [2/3] mobile/app22: out of rotation, 0 sessions left ↓
          [2/3] mobile/app22: out of rotation, stopping the old container
          [1/3] mobile/app1, mobile/app1t: out of rotation, 0 sessions left ↓
          [2/3] mobile/app22: out of rotation, starting the new container
          [1/3] mobile/app1, mobile/app1t: out of rotation, stopping the old container
          [2/3] mobile/app22: out of rotation, mobile-app22 is booting
          [1/3] mobile/app1, mobile/app1t: out of rotation, starting the new container
        * [1/3] mobile/app1, mobile/app1t: finishing
          [2/3] mobile/app22: out of rotation, connection refused
          [1/3] mobile/app1, mobile/app1t: out of rotation, mobile-app1 is booting
          [1/3] mobile/app1, mobile/app1t: out of rotation, GET /health → 503
        * [1/3] mobile/app1, mobile/app1t: waiting for its first request
        * (nothing)
        * [2/3] mobile/app22: undoing
        * (nothing)
        * [1/3] mobile/app1, mobile/app1t: undoing
        * [1/3] mobile/app1, mobile/app1t: out of rotation, draining
          [1/3] mobile/app1, mobile/app1t: out of rotation, 3 sessions left
        * [1/3] mobile/app1, mobile/app1t: waiting for its first request
        * (nothing)
        ");
    }
}
