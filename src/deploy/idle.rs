//! When a server counts as idle: one look that sees nothing is not enough.

use std::time::Duration;

use tokio::time::Instant;

/// How long zero sessions must hold, with no new one counted, before a server counts as idle: a request
/// that was balanced just before the drain is counted only when it is connected.
pub const SETTLE: Duration = Duration::from_millis(100);

/// What the looks at a server's sessions amount to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle {
    /// Since when there is none, and how many there had been until then.
    since: Option<(Instant, u64)>,
}

impl Idle {
    /// Takes a count over: of sessions in flight, and of all that there ever were. Says whether none has been in flight
    /// for `settle`, with no new one counted.
    pub fn holds(&mut self, now: u64, total: u64, settle: Duration) -> bool {
        self.since = match self.since {
            _ if now > 0 => None,
            Some((since, counted)) if counted == total => Some((since, counted)),
            Some(_) | None => Some((Instant::now(), total)),
        };
        self.since.is_some_and(|(since, _)| since.elapsed() >= settle)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LOOK: Duration = Duration::from_millis(20);

    /// A request that was balanced just before the drain is counted only when it is connected: after the first look
    /// that sees nothing in flight.
    #[tokio::test(start_paused = true)]
    async fn a_request_that_was_on_its_way_is_waited_for() {
        let mut idle = Idle::default();
        // Sessions in flight and sessions ever, look by look.
        for (sessions, total) in [(0, 7), (0, 7), (1, 8), (1, 8), (0, 8)] {
            assert!(!idle.holds(sessions, total, SETTLE), "{sessions} {total}");
            advance(LOOK).await;
        }
        // One that came and went between two looks is seen by the count alone.
        advance(SETTLE).await;
        assert!(!idle.holds(0, 9, SETTLE));
        let mut looks = 0;
        while !idle.holds(0, 9, SETTLE) {
            advance(LOOK).await;
            looks += 1;
        }
        assert_eq!(looks * LOOK, SETTLE);
    }
}
