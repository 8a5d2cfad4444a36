//! Signals: who asks to stop, and how urgently.

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::deploy::Stop;

/// What `drainswap stop` sends. It is not what Ctrl-C sends: who has pressed that once, where the run is, has not asked a
/// second time when somebody elsewhere asks for the same.
pub(super) const ASKED: Signal = Signal::USR1;

/// Works, and heeds signals meanwhile: all that is done in there stops at the first safe point after one.
pub(super) async fn heeding_signals<T>(work: impl AsyncFnOnce(Stop) -> T) -> T {
    let stop = Stop::default();
    let signals = tokio::spawn(signals(stop.clone()));
    let done = work(stop).await;
    signals.abort();
    done
}

/// Turns the first SIGINT or SIGTERM, and the first `drainswap stop`, into «stop at the next safe point», the second of
/// either into «now». Further ones are swallowed: what is being taken back must not be cut short. SIGHUP, which a lost ssh
/// session sends, is ignored: a deploy is seen through, and its journal tells how it ended.
async fn signals(stop: Stop) {
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
