//! Waiting for a condition, the only way in which a test waits.

use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until the condition holds; panics with `what` when it does not within `limit`.
pub async fn wait_until(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    wait_for(what, limit, async || condition().await.then_some(())).await;
}

/// Waits until there is a value; panics with `what` when there is none within `limit`.
pub async fn wait_for<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
    }
}
