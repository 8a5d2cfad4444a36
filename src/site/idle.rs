//! Decides when a server counts as idle: one sample without sessions is not enough.

use std::time::Duration;

use tokio::time::Instant;

/// How long a server must have zero sessions, with no new one counted, before it counts as idle. `HAProxy` counts a
/// request that it balanced just before the drain only once it is connected.
pub const SETTLE: Duration = Duration::from_millis(100);

/// The result of sampling a server's sessions.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdleTracker {
    /// When the server became free of sessions, and its session total at that time.
    since: Option<(Instant, u64)>,
}

impl IdleTracker {
    /// Takes a sample: the sessions in flight, and the total of all sessions so far. Returns whether none has been in
    /// flight for `settle`, with no new one counted.
    pub fn update(&mut self, now: u64, total: u64, settle: Duration) -> bool {
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

    /// A request that was balanced just before the drain is counted only when it is connected: after the first sample
    /// that shows nothing in flight.
    #[tokio::test(start_paused = true)]
    async fn a_request_on_its_way_delays_idleness() {
        let mut idle = IdleTracker::default();
        // Sessions in flight and total sessions, sample by sample.
        for (sessions, total) in [(0, 7), (0, 7), (1, 8), (1, 8), (0, 8)] {
            assert!(!idle.update(sessions, total, SETTLE), "{sessions} {total}");
            advance(LOOK).await;
        }
        // A session that came and went between two samples shows only in the total.
        advance(SETTLE).await;
        assert!(!idle.update(0, 9, SETTLE));
        let mut looks = 0;
        while !idle.update(0, 9, SETTLE) {
            advance(LOOK).await;
            looks += 1;
        }
        assert_eq!(looks * LOOK, SETTLE);
    }
}
