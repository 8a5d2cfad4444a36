//! The live view on a terminal: the plain lines, and one moving line below them.

use std::cmp::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::stderr::{Terminal, styled};
use super::text::{line, position};
use crate::model::sanitize;
use crate::model::words::{list, sessions};
use crate::run::event::{Event, EventKind, Reporter};

/// How often the moving line is redrawn while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// The maximum redraw rate.
const FRAMES_A_SECOND: u8 = 20;

/// A reporter that shows a run on a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    view: View,
}

impl Default for Progress {
    fn default() -> Self {
        let terminal = ProgressDrawTarget::term_like_with_hz(Box::new(Terminal::default()), FRAMES_A_SECOND);
        let bar = ProgressBar::with_draw_target(None, terminal);
        let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(TICK);
        Self { bar, view: View::default() }
    }
}

impl Reporter for Progress {
    fn report(&mut self, event: &Event) {
        if let Some(text) = line(event) {
            self.bar.println(styled(&text));
        }
        match self.view.update(event) {
            Some(LiveLine::Phase(message)) => {
                self.bar.reset_elapsed();
                self.bar.set_message(message);
            }
            Some(LiveLine::Detail(message)) => self.bar.set_message(message),
            None => {}
        }
        if matches!(event.kind, EventKind::RunEnded { .. }) {
            self.bar.finish_and_clear();
        }
    }
}

/// An update of the moving line.
enum LiveLine {
    /// A new phase, whose seconds are counted from now.
    Phase(String),
    /// More detail about the same phase.
    Detail(String),
}

/// The subject of the moving line.
#[derive(Debug, Default)]
struct View {
    /// The lane in progress: `[2/4] mobile/app1`.
    lane: String,
    /// The last reported number of sessions.
    sessions: Option<u64>,
}

impl View {
    /// Starts a new phase of the lane.
    fn phase(&self, what: &str) -> LiveLine {
        LiveLine::Phase(format!("{}: {what}", self.lane))
    }

    /// Adds detail about the lane's time out of rotation, which is counted from its start.
    fn out(&self, what: &str) -> LiveLine {
        LiveLine::Detail(format!("{}: out of rotation, {what}", self.lane))
    }

    /// Returns an arrow that shows whether the number of sessions went down or up.
    fn trend(&mut self, now: u64) -> &'static str {
        match self.sessions.replace(now).map(|before| now.cmp(&before)) {
            Some(Ordering::Less) => " ↓",
            Some(Ordering::Greater) => " ↑",
            Some(Ordering::Equal) | None => "",
        }
    }

    /// Returns the update for an event, as one line that does not move the cursor.
    fn update(&mut self, event: &Event) -> Option<LiveLine> {
        Some(match self.change_for(event)? {
            LiveLine::Phase(message) => LiveLine::Phase(sanitize::line(&message)),
            LiveLine::Detail(message) => LiveLine::Detail(sanitize::line(&message)),
        })
    }

    fn change_for(&mut self, event: &Event) -> Option<LiveLine> {
        Some(match &event.kind {
            EventKind::PullStarted { image } => LiveLine::Phase(format!("pulling {image}")),
            EventKind::PullProgressed { received, expected, engines } => {
                let of = |received: u64, expected: u64| {
                    format!("{} of {}", megabytes(received), megabytes(expected))
                };
                let each = engines.iter().map(|it| {
                    let name = if it.engine.is_empty() { "docker" } else { &it.engine };
                    format!("{name} {}", of(it.received, it.expected))
                });
                let each: Vec<String> = each.collect();
                let all = if each.is_empty() { of(*received, *expected) } else { each.join(", ") };
                LiveLine::Detail(format!("pulling {all}"))
            }
            EventKind::LaneStarted { of, servers, .. } => {
                let lane = format!("{} {}", position(event.lane, *of), list(servers));
                *self = Self { lane, sessions: None };
                self.phase("checking again")
            }
            EventKind::DrainStarted { .. } => self.phase("out of rotation, draining"),
            EventKind::SessionsLeft { sessions: left, .. } => {
                let trend = self.trend(*left);
                self.out(&format!("{} left{trend}", sessions(*left)))
            }
            EventKind::Drained { .. } | EventKind::DrainForced { .. } => {
                self.out("stopping the old container")
            }
            EventKind::ContainerStopped { .. } => self.out("starting the new container"),
            EventKind::ContainerStarted { container, .. } => self.out(&format!("{container} is booting")),
            EventKind::NotReadyYet { answer, .. } => self.out(answer),
            EventKind::Enabled { .. } => self.phase("waiting for its first request"),
            EventKind::UndoStarted { servers, .. } => {
                *self = Self { lane: list(servers), sessions: None };
                self.phase("undoing")
            }
            EventKind::LaneResumed { servers, .. } => {
                *self = Self { lane: list(servers), sessions: None };
                self.phase("finishing")
            }
            EventKind::SlowStartAwaited { servers } => {
                LiveLine::Phase(format!("waiting for the slow start of {}", list(servers)))
            }
            EventKind::QueueAwaited { backend, .. } => {
                LiveLine::Phase(format!("waiting for the queue of {backend}"))
            }
            EventKind::RunStarted { .. }
            | EventKind::DrainProgressed { .. }
            | EventKind::PersistenceEnded { .. }
            | EventKind::SessionsShutDown { .. }
            | EventKind::QueueWoken { .. }
            | EventKind::CheckOverruled { .. }
            | EventKind::HookEnded { .. }
            | EventKind::LaneSkipped { .. }
            | EventKind::HaproxyReloaded { .. }
            | EventKind::OutageBegan { .. }
            | EventKind::OutageEnded { .. }
            | EventKind::Warned { .. }
            | EventKind::Pulled { .. }
            | EventKind::Created { .. }
            | EventKind::Verified { .. }
            | EventKind::BecameReady { .. }
            | EventKind::Confirmed { .. }
            | EventKind::LaneFinished { .. }
            | EventKind::StepFailed { .. }
            | EventKind::StopRequested { .. }
            | EventKind::Undone { .. }
            | EventKind::Removed { .. }
            | EventKind::Sampled { .. }
            | EventKind::RunEnded { .. } => return None,
        })
    }
}

fn megabytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people, to a tenth")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.1} MB")
}

/// Returns the moving line for an event that comes first.
#[cfg(test)]
pub(super) fn live_line(event: &Event) -> Option<String> {
    let (LiveLine::Phase(message) | LiveLine::Detail(message)) = View::default().update(event)?;
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts::recorded;

    #[test]
    fn the_moving_line_follows_a_whole_run() {
        let mut view = View::default();
        let mut line = |event: &Event| {
            Some(match view.update(event)? {
                LiveLine::Phase(message) => format!("* {message}\n"),
                LiveLine::Detail(message) => format!("  {message}\n"),
            })
        };
        let lines: String = recorded().iter().filter_map(&mut line).collect();
        insta::assert_snapshot!(lines, @"
        * pulling registry.example.org/mobile:v2 (9b3ce17a40d2)
          pulling 1.0 MB of 12.5 MB
          pulling docker 6.2 MB of 6.3 MB, ssh://app2.example.org 3.2 MB of 6.2 MB
        * [1/4] mobile/app2: checking again
        * [1/4] mobile/app2: out of rotation, draining
          [1/4] mobile/app2: out of rotation, stopping the old container
          [1/4] mobile/app2: out of rotation, starting the new container
          [1/4] mobile/app2: out of rotation, mobile-app2 is booting
          [1/4] mobile/app2: out of rotation, connection refused
          [1/4] mobile/app2: out of rotation, GET /health → 503
        * [1/4] mobile/app2: waiting for its first request
        * [2/4] mobile/app1, tablet/one: checking again
        * waiting for the slow start of mobile/app2
        * waiting for the queue of tablet
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
        * [3/4] mobile/app2b: checking again
        * [4/4] mobile/app1b: checking again
        * [4/4] mobile/app1b: out of rotation, draining
          [4/4] mobile/app1b: out of rotation, 1 session left
          [4/4] mobile/app1b: out of rotation, stopping the old container
          [4/4] mobile/app1b: out of rotation, starting the new container
          [4/4] mobile/app1b: out of rotation, mobile-app1b is booting
          [4/4] mobile/app1b: out of rotation, connection refused
        * mobile/app1b: undoing
        ");
    }
}
