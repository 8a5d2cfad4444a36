//! When a backend is in an outage: one look that sees no server that serves is not enough.

use std::time::Duration;

use tokio::time::Instant;

/// How long no server of a backend may serve before that is an outage. A reload, or a check that comes late, is over
/// sooner.
pub const AFTER: Duration = Duration::from_secs(2);

/// How far apart two looks may be that show an outage between them.
const GAP: Duration = Duration::from_secs(1);

/// What the looks at one backend amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// A server serves, or no look has been taken yet.
    #[default]
    None,
    /// No server has served since then, which is not long ago.
    Suspected {
        /// The first look that saw none.
        since: Instant,
        /// The last one.
        seen: Instant,
    },
    /// No server has served since then.
    On(Instant),
}

/// What a look has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// An outage: no server has served for so long.
    Began(Duration),
    /// A server serves again, after so long.
    Ended(Duration),
}

impl Outage {
    /// Takes a look over: whether a server serves. Says when an outage begins or ends by it.
    pub fn take(&mut self, serves: bool) -> Option<Turn> {
        let now = Instant::now();
        let (next, turn) = match *self {
            Self::On(since) if serves => (Self::None, Some(Turn::Ended(now - since))),
            _ if serves => (Self::None, None),
            // Of a time in which nothing looked nothing is known.
            Self::Suspected { since, seen } if now - seen < GAP && now - since >= AFTER => {
                (Self::On(since), Some(Turn::Began(now - since)))
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

    /// Whether there is one.
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
            turns.extend(outage.take(false));
            assert_eq!(outage.is_on(), began.elapsed() >= AFTER, "{:?}", began.elapsed());
            advance(LOOK).await;
        }
        turns.extend(outage.take(true));
        assert!(!outage.is_on());
        assert_eq!(outage.take(true), None, "it ends once");
        assert_eq!(turns, [Turn::Began(AFTER), Turn::Ended(Duration::from_secs(5))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_serves_in_between_begins_the_time_anew() {
        let mut outage = Outage::default();
        for serves in [[false; 9], [true; 9], [false; 9]].into_iter().flatten() {
            assert_eq!(outage.take(serves), None);
            advance(LOOK).await;
        }
        assert_eq!(outage.take(false), None, "the time counts from the last server that served");
        advance(LOOK).await;
        assert_eq!(outage.take(false), Some(Turn::Began(AFTER)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_in_which_nothing_looked_is_no_outage() {
        let mut outage = Outage::default();
        assert_eq!(outage.take(false), None);
        advance(LOOK * 25).await;
        assert_eq!(outage.take(false), None, "two moments are no time");
    }
}
