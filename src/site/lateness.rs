//! Decides when a call whose caller gave up can no longer take effect.

use std::time::Duration;

use tokio::time::Instant;

/// How long the other side may be unavailable, in addition to the time for which it must answer.
pub(super) const AWAY: Duration = Duration::from_secs(60);

/// A call that may still take effect until the other side has answered other calls for long enough.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Late {
    /// When the other side began to answer other calls.
    answers_since: Option<Instant>,
}

impl Late {
    /// Records whether the other side answers now, and returns whether it has answered for `long_enough`. While it does
    /// not answer, it does not carry out anything either.
    pub(super) fn is_over(&mut self, answers: Option<Instant>, long_enough: Duration) -> bool {
        self.answers_since = answers.map(|now| self.answers_since.unwrap_or(now));
        self.answers_since.is_some_and(|since| since.elapsed() >= long_enough)
    }
}
