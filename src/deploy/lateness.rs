//! Until when something may still take effect whose caller has given it up.

use std::time::Duration;

use tokio::time::Instant;

/// How long the other side may be away, beside the time for which it must answer.
pub(super) const AWAY: Duration = Duration::from_secs(60);

/// Something that may still take effect, until the other side has answered others for long enough.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Late {
    /// Since when the other side has answered other questions.
    answers_since: Option<Instant>,
}

impl Late {
    /// Notes since when it answers now, or that it does not, and tells whether it has answered for `long_enough`. While it
    /// does not answer it carries out nothing either.
    pub(super) fn is_over(&mut self, answers: Option<Instant>, long_enough: Duration) -> bool {
        self.answers_since = answers.map(|now| self.answers_since.unwrap_or(now));
        self.answers_since.is_some_and(|since| since.elapsed() >= long_enough)
    }
}
