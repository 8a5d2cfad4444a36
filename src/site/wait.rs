//! The only module that sleeps: polls until a condition holds, a limit passes, or a stop is requested.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long `HAProxy` may be away while it restarts.
pub const OUTAGE: Duration = Duration::from_secs(10);

/// The result of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited<T> {
    /// The condition holds.
    Done(T),
    TimedOut,
    /// A stop was requested first.
    Stopped,
}

/// Polls every `every`, starting now, until `look` returns a value or fails, `limit` has passed, or `stop` is
/// cancelled. Drops a call of `look` that is under way when the limit passes.
pub async fn until<T, E>(
    every: Duration,
    limit: Duration,
    stop: &CancellationToken,
    mut look: impl AsyncFnMut() -> Result<Option<T>, E>,
) -> Result<Waited<T>, E> {
    let deadline = Instant::now() + limit;
    loop {
        match timeout_at(deadline, look()).await {
            Ok(Ok(Some(found))) => return Ok(Waited::Done(found)),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_elapsed) => return Ok(Waited::TimedOut),
        }
        if Instant::now() + every >= deadline {
            return Ok(Waited::TimedOut);
        }
        #[expect(clippy::disallowed_methods, reason = "this is the place that waits")]
        let pause = sleep(every);
        tokio::select! {
            () = stop.cancelled() => return Ok(Waited::Stopped),
            () = pause => {}
        }
    }
}

/// Polls every `every`, starting now, until `look` returns a value. Meant to run beside other work, and to be dropped
/// when that work ends.
pub async fn poll<T>(every: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look().await {
            return found;
        }
        #[expect(clippy::disallowed_methods, reason = "this is the place that waits")]
        sleep(every).await;
    }
}

/// Awaits `work` without a limit, and calls `tick` every `every` until it is done.
pub async fn wait_with_ticks<T>(every: Duration, work: impl Future<Output = T>, mut tick: impl FnMut()) -> T {
    let mut work = pin!(work);
    loop {
        match timeout(every, &mut work).await {
            Ok(done) => return done,
            Err(_elapsed) => tick(),
        }
    }
}

/// Sleeps between two polls.
pub async fn pause(long: Duration) {
    #[expect(clippy::disallowed_methods, reason = "this is the place that waits")]
    sleep(long).await;
}

/// Retries every `every` until an attempt succeeds or fails for good, or `limit` has passed since the first. Never cuts
/// off an attempt that is under way, because its effect must be known.
pub async fn retry<T, E>(
    every: Duration,
    limit: Duration,
    may_pass: impl Fn(&E) -> bool,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt().await {
            Err(error) if may_pass(&error) && Instant::now() < deadline => {}
            result => return result,
        }
        #[expect(clippy::disallowed_methods, reason = "this is the place that waits")]
        sleep(every).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(20);
    const LIMIT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn until_polls_at_once_and_then_every_tick() {
        let start = Instant::now();
        let mut looks = 0;
        let stop = CancellationToken::new();
        let waited = until(TICK, LIMIT, &stop, async || {
            looks += 1;
            Ok::<_, ()>((looks == 3).then_some(looks))
        });
        assert_eq!(waited.await, Ok(Waited::Done(3)));
        assert_eq!(start.elapsed(), TICK * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn meanwhile_polls_until_something_is_found() {
        let start = Instant::now();
        let mut looks = 0;
        let found = poll(TICK, async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!((found.await, start.elapsed()), (3, TICK * 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_hangs_ends_at_the_limit() {
        let start = Instant::now();
        let hang = async || std::future::pending::<Result<Option<()>, ()>>().await;
        assert_eq!(until(TICK, LIMIT, &CancellationToken::new(), hang).await, Ok(Waited::TimedOut));
        assert_eq!(start.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn patiently_ticks_until_the_work_is_done() {
        for (takes, expected) in [(TICK, 0), (LIMIT * 10 + TICK, 10)] {
            let mut ticks = 0;
            wait_with_ticks(LIMIT, pause(takes), || ticks += 1).await;
            assert_eq!(ticks, expected, "{takes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_errors_that_may_pass_are_retried() {
        let mut tries = 0;
        let result = retry(
            TICK,
            LIMIT,
            |error| *error == "busy",
            async || {
                tries += 1;
                if tries < 3 { Err("busy") } else { Err("gone") }
            },
        );
        assert_eq!((result.await, tries), (Err::<(), _>("gone"), 3));
        let start = Instant::now();
        let busy = async || Err::<(), _>("busy");
        assert_eq!(retry(TICK, LIMIT, |_| true, busy).await, Err("busy"));
        assert_eq!(start.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait_between_two_polls() {
        let stop = CancellationToken::new();
        let look = async || {
            stop.cancel();
            Ok::<Option<()>, ()>(None)
        };
        assert_eq!(until(TICK, LIMIT, &stop, look).await, Ok(Waited::Stopped));
    }
}
