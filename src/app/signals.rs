//! Turns signals into requests to stop.

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::deploy::StopRequest;

/// The signal of `drainswap stop`: SIGUSR1 rather than SIGINT, so that one Ctrl-C plus one `stop` do not count as two
/// requests.
pub(super) const ASKED: Signal = Signal::USR1;

/// Runs some work that stops at the first safe point after a signal.
pub(super) async fn with_signals<T>(work: impl AsyncFnOnce(StopRequest) -> T) -> T {
    let stop = StopRequest::default();
    let signals = tokio::spawn(signals(stop.clone()));
    let done = work(stop).await;
    signals.abort();
    done
}

/// Turns the first SIGINT or SIGTERM, and the first `drainswap stop`, into «stop at the next safe point», and the
/// second of either into «stop now». Further signals are ignored: an undo must not be interrupted. SIGHUP, which a lost
/// ssh session sends, is ignored: the deploy continues, and its journal records how it ends.
async fn signals(stop: StopRequest) {
    let kinds =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::user_defined1(), SignalKind::hangup()];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut asked), Ok(_ignored)] = kinds.map(signal) else {
        return;
    };
    let (mut pressed, mut sent) = (0_u32, 0_u32);
    loop {
        let wishes = tokio::select! {
            _ = interrupt.recv() => &mut pressed,
            _ = terminate.recv() => &mut pressed,
            _ = asked.recv() => &mut sent,
        };
        let token = if *wishes == 0 { &stop.asked } else { &stop.now };
        token.cancel();
        *wishes = wishes.saturating_add(1);
    }
}
