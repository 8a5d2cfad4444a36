//! Repeats calls that reach a process that a reload is replacing.

use std::time::Duration;

use tokio::time::sleep;

/// How often a call is repeated when it reaches a process that a reload is replacing, and the pause in between.
///
/// That process still answers a connection that it accepted just before the reload.
const RELOAD_TRIES: u32 = 20;

const RELOAD_PAUSE: Duration = Duration::from_millis(25);

/// Repeats a call for a moment while its result is stale.
pub(super) async fn past_reload<T, F: Future<Output = T>>(
    call: impl Fn() -> F,
    is_stale: impl Fn(&T) -> bool,
) -> T {
    let mut result = call().await;
    for _ in 0..RELOAD_TRIES {
        if !is_stale(&result) {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "a bounded retry while a worker hands over")]
        sleep(RELOAD_PAUSE).await;
        result = call().await;
    }
    result
}
