//! The live view of a terminal: the plain lines, and below them one line that moves.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::text::{line, seconds};
use crate::event::{Event, Fact, Listener};
use crate::outcome::{list, sessions};

/// How often the moving line is drawn again while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// Shows a run on a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Default for Progress {
    fn default() -> Self {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(TICK);
        Self { bar }
    }
}

impl Listener for Progress {
    fn hear(&mut self, event: &Event) {
        if let Some(text) = line(&event.fact) {
            // Colours go through the same gate as everywhere: NO_COLOR, TERM=dumb.
            let text = if anstream::AutoStream::choice(&std::io::stderr()) == anstream::ColorChoice::Never {
                anstream::adapter::strip_str(&text).to_string()
            } else {
                text
            };
            self.bar.println(text);
        }
        match moving(&event.fact) {
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

fn moving(fact: &Fact) -> Option<Moving> {
    Some(match fact {
        Fact::PullStarted { image } => Moving::Phase(format!("pulling {image}")),
        Fact::PullProgressed { received, expected } => {
            Moving::Detail(format!("pulling {} of {}", megabytes(*received), megabytes(*expected)))
        }
        Fact::LaneStarted { servers, .. } => Moving::Phase(format!("{}: looking again", list(servers))),
        Fact::DrainStarted { servers } => Moving::Phase(format!("{}: draining", list(servers))),
        Fact::SessionsLeft { servers, sessions: left, after_ms } => Moving::Detail(format!(
            "{}: {} left after {}",
            list(servers),
            sessions(*left),
            seconds(*after_ms)
        )),
        Fact::Drained { servers, .. } | Fact::DrainForced { servers, .. } => {
            Moving::Detail(format!("{}: out of rotation, stopping the old container", list(servers)))
        }
        Fact::ContainerKept { container, .. } => {
            Moving::Detail(format!("out of rotation, starting {container}"))
        }
        Fact::ContainerStarted { container, .. } => {
            Moving::Detail(format!("out of rotation, {container} boots"))
        }
        Fact::NotReadyYet { server, answer } => {
            Moving::Detail(format!("{server}: out of rotation, {answer}"))
        }
        Fact::Enabled { servers } => {
            Moving::Phase(format!("{}: waiting for its first request", list(servers)))
        }
        Fact::UndoStarted { servers } => Moving::Phase(format!("{}: taking back", list(servers))),
        Fact::SlowStartAwaited { servers } => {
            Moving::Phase(format!("waiting for the slow start of {}", list(servers)))
        }
        Fact::QueueAwaited { backend, .. } => Moving::Phase(format!("waiting for the queue of {backend}")),
        Fact::RunStarted { .. }
        | Fact::DrainGoesOn { .. }
        | Fact::PersistenceEnded { .. }
        | Fact::SessionsShutDown { .. }
        | Fact::QueueWoken { .. }
        | Fact::CheckOverruled { .. }
        | Fact::HookEnded { .. }
        | Fact::LaneSkipped { .. }
        | Fact::HaproxyReloaded { .. }
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

fn megabytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people, to a tenth")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.1} MB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts::recorded;

    #[test]
    fn the_moving_line_follows_a_whole_run() {
        let line = |fact: &Fact| {
            Some(match moving(fact)? {
                Moving::Phase(message) => format!("* {message}\n"),
                Moving::Detail(message) => format!("  {message}\n"),
            })
        };
        let lines: String = recorded().iter().filter_map(|event| line(&event.fact)).collect();
        insta::assert_snapshot!(lines, @"
        * pulling registry.example.org/mobile:v2 (9b3ce17a40d2)
          pulling 1.0 MB of 12.5 MB
          pulling 9.4 MB of 12.5 MB
        * mobile/app2: looking again
        * mobile/app2: draining
          mobile/app2: out of rotation, stopping the old container
          out of rotation, starting mobile-app2
          out of rotation, mobile-app2 boots
          mobile/app2: out of rotation, connection refused
          mobile/app2: out of rotation, GET /health → 503
        * mobile/app2: waiting for its first request
        * mobile/app1, tablet/one: looking again
        * waiting for the slow start of mobile/app2
        * waiting for the queue of tablet
        * mobile/app1, tablet/one: draining
          mobile/app1, tablet/one: 17 sessions left after 0.00 s
          mobile/app1, tablet/one: 9 sessions left after 5.00 s
          mobile/app1, tablet/one: 5 sessions left after 20.0 s
          mobile/app1, tablet/one: 0 sessions left after 40.0 s
          mobile/app1, tablet/one: out of rotation, stopping the old container
          out of rotation, starting mobile-app1
          out of rotation, mobile-app1 boots
          mobile/app1: out of rotation, connection refused
        * mobile/app1, tablet/one: waiting for its first request
        * mobile/app2b: looking again
        * mobile/app1b: looking again
        * mobile/app1b: draining
          mobile/app1b: 1 session left after 0.00 s
          mobile/app1b: out of rotation, stopping the old container
          out of rotation, starting mobile-app1b
          out of rotation, mobile-app1b boots
          mobile/app1b: out of rotation, connection refused
        * mobile/app1b: taking back
        ");
    }
}
