//! The live view of a terminal: the plain lines, and below them one line that moves.

use std::cmp::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::stderr::{Terminal, styled};
use super::text::line;
use crate::event::{Event, Fact, Listener};
use crate::foreign;
use crate::outcome::{list, sessions};

/// How often the moving line is drawn again while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// How often it is drawn again at most.
const FRAMES_A_SECOND: u8 = 20;

/// Shows a run on a terminal.
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

/// What the moving line says.
enum Moving {
    /// A new phase, whose seconds are counted from now.
    Phase(String),
    /// More of the same phase.
    Detail(String),
}

/// What the moving line is about.
#[derive(Debug, Default)]
struct View {
    /// The lane that is worked on: `[2/4] mobile/app1`.
    lane: String,
    /// How many sessions were left when that was told last.
    sessions: Option<u64>,
}

impl View {
    /// A new phase of the lane.
    fn phase(&self, what: &str) -> Moving {
        Moving::Phase(format!("{}: {what}", self.lane))
    }

    /// More of the lane's time out of rotation, which is counted from its beginning on.
    fn out(&self, what: &str) -> Moving {
        Moving::Detail(format!("{}: out of rotation, {what}", self.lane))
    }

    /// Whether there are fewer sessions than before, or more.
    fn trend(&mut self, now: u64) -> &'static str {
        match self.sessions.replace(now).map(|before| now.cmp(&before)) {
            Some(Ordering::Less) => " ↓",
            Some(Ordering::Greater) => " ↑",
            Some(Ordering::Equal) | None => "",
        }
    }

    /// What the line says after a fact, in one line that moves no cursor.
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
                self.phase("looking again")
            }
            Fact::DrainStarted { .. } => self.phase("out of rotation, draining"),
            Fact::SessionsLeft { sessions: left, .. } => {
                let trend = self.trend(*left);
                self.out(&format!("{} left{trend}", sessions(*left)))
            }
            Fact::Drained { .. } | Fact::DrainForced { .. } => self.out("the old container stops"),
            Fact::ContainerKept { .. } => self.out("the new container starts"),
            Fact::ContainerStarted { container, .. } => self.out(&format!("{container} boots")),
            Fact::NotReadyYet { answer, .. } => self.out(answer),
            Fact::Enabled { .. } => self.phase("waiting for its first request"),
            Fact::UndoStarted { servers } => {
                *self = Self { lane: list(servers), sessions: None };
                self.phase("taking back")
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

/// What the moving line says of a fact that comes first.
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
        * [1/4] mobile/app2: looking again
        * [1/4] mobile/app2: out of rotation, draining
          [1/4] mobile/app2: out of rotation, the old container stops
          [1/4] mobile/app2: out of rotation, the new container starts
          [1/4] mobile/app2: out of rotation, mobile-app2 boots
          [1/4] mobile/app2: out of rotation, connection refused
          [1/4] mobile/app2: out of rotation, GET /health → 503
        * [1/4] mobile/app2: waiting for its first request
        * [2/4] mobile/app1, tablet/one: looking again
        * waiting for the slow start of mobile/app2
        * waiting for the queue of tablet
        * [2/4] mobile/app1, tablet/one: out of rotation, draining
          [2/4] mobile/app1, tablet/one: out of rotation, 17 sessions left
          [2/4] mobile/app1, tablet/one: out of rotation, 9 sessions left ↓
          [2/4] mobile/app1, tablet/one: out of rotation, 5 sessions left ↓
          [2/4] mobile/app1, tablet/one: out of rotation, 0 sessions left ↓
          [2/4] mobile/app1, tablet/one: out of rotation, the old container stops
          [2/4] mobile/app1, tablet/one: out of rotation, the new container starts
          [2/4] mobile/app1, tablet/one: out of rotation, mobile-app1 boots
          [2/4] mobile/app1, tablet/one: out of rotation, connection refused
        * [2/4] mobile/app1, tablet/one: waiting for its first request
        * [3/4] mobile/app2b: looking again
        * [4/4] mobile/app1b: looking again
        * [4/4] mobile/app1b: out of rotation, draining
          [4/4] mobile/app1b: out of rotation, 1 session left
          [4/4] mobile/app1b: out of rotation, the old container stops
          [4/4] mobile/app1b: out of rotation, the new container starts
          [4/4] mobile/app1b: out of rotation, mobile-app1b boots
          [4/4] mobile/app1b: out of rotation, connection refused
        * mobile/app1b: taking back
        ");
    }
}
