//! Decides when a backend has an outage: one sample without a serving server is not enough.

use std::time::Duration;

use tokio::time::Instant;

/// How long a backend must have no serving server before that counts as an outage. A reload or a late check is over
/// sooner.
pub const AFTER: Duration = Duration::from_secs(2);

/// The longest gap between two samples that still proves an outage between them.
const GAP: Duration = Duration::from_secs(1);

/// The outage state of one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// A server serves, or no sample was taken yet.
    #[default]
    None,
    /// No server has served recently, but not for long enough yet.
    Suspected {
        /// The first sample without a serving server.
        since: Instant,
        /// The last such sample.
        seen: Instant,
    },
    /// No server has served since this time.
    On(Instant),
}

/// A change of state that a sample caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutageChange {
    /// An outage began: no server has served for this long.
    Began(Duration),
    /// An outage ended: a server serves again after this long.
    Ended(Duration),
}

impl Outage {
    /// Takes a sample: whether a server serves. Returns the beginning or the end of an outage that it caused.
    pub fn record(&mut self, serves: bool) -> Option<OutageChange> {
        let now = Instant::now();
        let (next, turn) = match *self {
            Self::On(since) if serves => (Self::None, Some(OutageChange::Ended(now - since))),
            _ if serves => (Self::None, None),
            // A period without samples proves nothing.
            Self::Suspected { since, seen } if now - seen < GAP && now - since >= AFTER => {
                (Self::On(since), Some(OutageChange::Began(now - since)))
            }
            Self::Suspected { since, seen } if now - seen < GAP => {
                (Self::Suspected { since, seen: now }, None)
            }
            Self::None | Self::Suspected { .. } => (Self::Suspected { since: now, seen: now }, None),
            same @ Self::On(_) => (same, None),
        };
        *self = next;
        turn
    }

    /// Returns whether the backend has an outage.
    #[must_use]
    pub fn is_on(self) -> bool {
        matches!(self, Self::On(_))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LOOK: Duration = Duration::from_millis(200);

    #[tokio::test(start_paused = true)]
    async fn an_outage_begins_after_two_seconds_and_ends_with_the_first_server_that_serves() {
        let (mut outage, mut turns) = (Outage::default(), Vec::new());
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            turns.extend(outage.record(false));
            assert_eq!(outage.is_on(), began.elapsed() >= AFTER, "{:?}", began.elapsed());
            advance(LOOK).await;
        }
        turns.extend(outage.record(true));
        assert!(!outage.is_on());
        assert_eq!(outage.record(true), None, "it ends once");
        assert_eq!(turns, [OutageChange::Began(AFTER), OutageChange::Ended(Duration::from_secs(5))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_serves_in_between_restarts_the_time() {
        let mut outage = Outage::default();
        for serves in [[false; 9], [true; 9], [false; 9]].into_iter().flatten() {
            assert_eq!(outage.record(serves), None);
            advance(LOOK).await;
        }
        assert_eq!(outage.record(false), None, "the time counts from the last server that served");
        advance(LOOK).await;
        assert_eq!(outage.record(false), Some(OutageChange::Began(AFTER)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_period_without_samples_is_not_an_outage() {
        let mut outage = Outage::default();
        assert_eq!(outage.record(false), None);
        advance(LOOK * 25).await;
        assert_eq!(outage.record(false), None, "two samples far apart prove nothing");
    }
}
