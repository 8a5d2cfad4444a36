//! The live view on a terminal: the plain lines, and one moving line below them.

use std::cmp::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::stderr::{Terminal, styled};
use super::text::line;
use crate::event::{Event, Fact, Listener};
use crate::foreign;
use crate::outcome::{list, sessions};

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

impl Listener for Progress {
    fn hear(&mut self, event: &Event) {
        if let Some(text) = line(&event.fact) {
            self.bar.println(styled(&text));
        }
        match self.view.hear(&event.fact) {
            Some(Moving::Phase(message)) => {
                self.bar.reset_elapsed();
                self.bar.set_message(message);
            }
            Some(Moving::Detail(message)) => self.bar.set_message(message),
            None => {}
        }
        if matches!(event.fact, Fact::RunEnded { .. }) {
            self.bar.finish_and_clear();
        }
    }
}

/// An update of the moving line.
enum Moving {
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
    fn phase(&self, what: &str) -> Moving {
        Moving::Phase(format!("{}: {what}", self.lane))
    }

    /// Adds detail about the lane's time out of rotation, which is counted from its start.
    fn out(&self, what: &str) -> Moving {
        Moving::Detail(format!("{}: out of rotation, {what}", self.lane))
    }

    /// Returns an arrow that shows whether the number of sessions went down or up.
    fn trend(&mut self, now: u64) -> &'static str {
        match self.sessions.replace(now).map(|before| now.cmp(&before)) {
            Some(Ordering::Less) => " ↓",
            Some(Ordering::Greater) => " ↑",
            Some(Ordering::Equal) | None => "",
        }
    }

    /// Returns the update for a fact, as one line that does not move the cursor.
    fn hear(&mut self, fact: &Fact) -> Option<Moving> {
        Some(match self.moved_by(fact)? {
            Moving::Phase(message) => Moving::Phase(foreign::line(&message)),
            Moving::Detail(message) => Moving::Detail(foreign::line(&message)),
        })
    }

    fn moved_by(&mut self, fact: &Fact) -> Option<Moving> {
        Some(match fact {
            Fact::PullStarted { image } => Moving::Phase(format!("pulling {image}")),
            Fact::PullProgressed { received, expected, engines } => {
                let of = |received: u64, expected: u64| {
                    format!("{} of {}", megabytes(received), megabytes(expected))
                };
                let each = engines.iter().map(|it| {
                    let name = if it.engine.is_empty() { "docker" } else { &it.engine };
                    format!("{name} {}", of(it.received, it.expected))
                });
                let each: Vec<String> = each.collect();
                let all = if each.is_empty() { of(*received, *expected) } else { each.join(", ") };
                Moving::Detail(format!("pulling {all}"))
            }
            Fact::LaneStarted { lane, of, servers, .. } => {
                *self = Self { lane: format!("[{lane}/{of}] {}", list(servers)), sessions: None };
                self.phase("checking again")
            }
            Fact::DrainStarted { .. } => self.phase("out of rotation, draining"),
            Fact::SessionsLeft { sessions: left, .. } => {
                let trend = self.trend(*left);
                self.out(&format!("{} left{trend}", sessions(*left)))
            }
            Fact::Drained { .. } | Fact::DrainForced { .. } => self.out("stopping the old container"),
            Fact::ContainerKept { .. } => self.out("starting the new container"),
            Fact::ContainerStarted { container, .. } => self.out(&format!("{container} is booting")),
            Fact::NotReadyYet { answer, .. } => self.out(answer),
            Fact::Enabled { .. } => self.phase("waiting for its first request"),
            Fact::UndoStarted { servers } => {
                *self = Self { lane: list(servers), sessions: None };
                self.phase("undoing")
            }
            Fact::SlowStartAwaited { servers } => {
                Moving::Phase(format!("waiting for the slow start of {}", list(servers)))
            }
            Fact::QueueAwaited { backend, .. } => {
                Moving::Phase(format!("waiting for the queue of {backend}"))
            }
            Fact::RunStarted { .. }
            | Fact::DrainGoesOn { .. }
            | Fact::PersistenceEnded { .. }
            | Fact::SessionsShutDown { .. }
            | Fact::QueueWoken { .. }
            | Fact::CheckOverruled { .. }
            | Fact::HookEnded { .. }
            | Fact::LaneSkipped { .. }
            | Fact::HaproxyReloaded { .. }
            | Fact::OutageBegan { .. }
            | Fact::OutageEnded { .. }
            | Fact::Warned { .. }
            | Fact::Pulled { .. }
            | Fact::Created { .. }
            | Fact::Verified { .. }
            | Fact::BecameReady { .. }
            | Fact::Confirmed { .. }
            | Fact::LaneFinished { .. }
            | Fact::StepFailed { .. }
            | Fact::StopAsked { .. }
            | Fact::Undone { .. }
            | Fact::Removed { .. }
            | Fact::Sampled { .. }
            | Fact::RunEnded { .. } => return None,
        })
    }
}

fn megabytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people, to a tenth")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.1} MB")
}

/// Returns the moving line for a fact that comes first.
#[cfg(test)]
pub(super) fn moving(fact: &Fact) -> Option<String> {
    let (Moving::Phase(message) | Moving::Detail(message)) = View::default().hear(fact)?;
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts::recorded;

    #[test]
    fn the_moving_line_follows_a_whole_run() {
        let mut view = View::default();
        let mut line = |fact: &Fact| {
            Some(match view.hear(fact)? {
                Moving::Phase(message) => format!("* {message}\n"),
                Moving::Detail(message) => format!("  {message}\n"),
            })
        };
        let lines: String = recorded().iter().filter_map(|event| line(&event.fact)).collect();
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
