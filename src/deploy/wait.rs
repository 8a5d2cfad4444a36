//! The only place that sleeps: look again and again until it is so, a limit passes, or somebody says stop.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long `HAProxy` may be away while it is started anew.
pub const OUTAGE: Duration = Duration::from_secs(10);

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited<T> {
    /// It is so.
    Done(T),
    /// The limit passed first.
    TimedOut,
    /// Somebody said stop first.
    Stopped,
}

/// Looks every `every`, starting now, until `look` finds something, fails, `limit` has passed, or
/// `stop` is cancelled. A look under way when the limit passes is given up.
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

/// Looks every `every`, starting now, until `look` finds something. It goes on beside something that has an end, and is
/// given up with that.
pub async fn meanwhile<T>(every: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look().await {
            return found;
        }
        #[expect(clippy::disallowed_methods, reason = "this is the place that waits")]
        sleep(every).await;
    }
}

/// Waits for something that is never given up, and calls `tick` every `every` until it is done.
pub async fn patiently<T>(every: Duration, work: impl Future<Output = T>, mut tick: impl FnMut()) -> T {
    let mut work = pin!(work);
    loop {
        match timeout(every, &mut work).await {
            Ok(done) => return done,
            Err(_elapsed) => tick(),
        }
    }
}

/// One pause between two looks.
pub async fn pause(long: Duration) {
    #[expect(clippy::disallowed_methods, reason = "this is the place that waits")]
    sleep(long).await;
}

/// Tries every `every` until a try succeeds, fails for good, or `limit` has passed since the first. A try under way
/// is never cut: its effect must be known.
pub async fn insist<T, E>(
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
    async fn it_looks_at_once_and_then_every_tick() {
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
    async fn who_looks_meanwhile_looks_until_something_is_found() {
        let start = Instant::now();
        let mut looks = 0;
        let found = meanwhile(TICK, async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!((found.await, start.elapsed()), (3, TICK * 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_is_given_up_at_the_limit() {
        let start = Instant::now();
        let hang = async || std::future::pending::<Result<Option<()>, ()>>().await;
        assert_eq!(until(TICK, LIMIT, &CancellationToken::new(), hang).await, Ok(Waited::TimedOut));
        assert_eq!(start.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_given_up_ticks_until_it_is_done() {
        for (takes, expected) in [(TICK, 0), (LIMIT * 10 + TICK, 10)] {
            let mut ticks = 0;
            patiently(LIMIT, pause(takes), || ticks += 1).await;
            assert_eq!(ticks, expected, "{takes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
        let mut tries = 0;
        let result = insist(
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
        assert_eq!(insist(TICK, LIMIT, |_| true, busy).await, Err("busy"));
        assert_eq!(start.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn stop_ends_it_between_two_looks() {
        let stop = CancellationToken::new();
        let look = async || {
            stop.cancel();
            Ok::<Option<()>, ()>(None)
        };
        assert_eq!(until(TICK, LIMIT, &stop, look).await, Ok(Waited::Stopped));
    }
}
