//! An open-loop load generator: requests leave on schedule, whatever became of those before.
//!
//! It has a thread of its own, so that a test that blocks does not slow the load down. When it falls behind, it sends
//! what is due at once, and the latency, which counts from the schedule, shows it.

use super::client::{Client, Exchange};
use super::report::{Kind, Outcome, Record, Report};
use super::wait::wait_until;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

/// No load runs longer than this, whatever happens to its test.
const LONGEST: Duration = Duration::from_secs(600);

/// A request without an answer after this is lost; a stream may take its own length longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What kinds of requests there are and how often.
#[derive(Clone, Debug)]
pub struct Mix {
    /// Requests a second, streams not counted.
    pub rate: u32,
    /// Every so many-th request is a slow one; 0 for none.
    pub slow_one_in: u32,
    /// How long the application works on a slow one.
    pub slow: Duration,
    pub streams: Option<Streams>,
    /// Kept-alive connections from the start; more are opened when needed.
    pub connections: usize,
}

/// Long answers, which a drain must wait for.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    /// One is started each.
    pub every: Duration,
    pub seconds: u64,
}

impl Default for Mix {
    /// 300 requests a second, 5 % of them slow, no streams.
    fn default() -> Self {
        Self { rate: 300, slow_one_in: 20, slow: Duration::from_millis(1500), streams: None, connections: 50 }
    }
}

impl Mix {
    /// The same with a stream of 10 s started every 2 s.
    pub fn with_streams() -> Self {
        let streams = Streams { every: Duration::from_secs(2), seconds: 10 };
        Self { streams: Some(streams), ..Self::default() }
    }
}

/// A running load; stopped when dropped.
pub struct Load {
    stop: watch::Sender<bool>,
    records: Records,
    report: oneshot::Receiver<Report>,
}

impl Load {
    /// Starts sending to the address.
    pub fn start(address: SocketAddr, mix: Mix) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (reporting, report) = oneshot::channel();
        let records = Records::default();
        let run = run(Client::new(address), mix, stopped, records.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let report = runtime.expect("a runtime for the load").block_on(run);
            // Nobody waits for the report of a load that was dropped.
            let _ = reporting.send(report);
        });
        Self { stop, records, report }
    }

    /// How many requests have an outcome so far.
    pub fn so_far(&self) -> usize {
        self.records.lock().len()
    }

    /// Waits until `more` requests have been answered from now on: how a test lets the load run for a while.
    pub async fn answered(&self, more: usize) {
        let goal = self.so_far() + more;
        let what = format!("{more} more requests have an outcome");
        wait_until(&what, Duration::from_secs(120), async || self.so_far() >= goal).await;
    }

    /// Sends no more, lets what is in flight finish, streams too, and reports.
    pub async fn stop(self) -> Report {
        self.stop.send_replace(true);
        self.report.await.expect("the load's thread reports")
    }
}

async fn run(client: Client, mix: Mix, stop: watch::Receiver<bool>, records: Records) -> Report {
    client.warm_up(mix.connections).await;
    let sender = Arc::new(Sender { client, start: Instant::now(), records });
    let slow = Kind::Slow { ms: u64::try_from(mix.slow.as_millis()).expect("a short time") };
    let requests = send_on_schedule(
        Arc::clone(&sender),
        Duration::from_secs(1) / mix.rate,
        move |index| match mix.slow_one_in {
            0 => Kind::Page,
            one_in if index % one_in == one_in - 1 => slow,
            _ => Kind::Page,
        },
        stop.clone(),
    );
    let streams = async {
        if let Some(Streams { every, seconds }) = mix.streams {
            send_on_schedule(Arc::clone(&sender), every, move |_| Kind::Stream { seconds }, stop).await;
        }
    };
    tokio::join!(requests, streams);
    Report::new(sender.start.elapsed(), std::mem::take(&mut sender.records.lock()))
}

/// Starts a request at each tick, late ones at once, and returns when the last of them has an outcome.
async fn send_on_schedule(
    sender: Arc<Sender>,
    every: Duration,
    kind: impl Fn(u32) -> Kind,
    mut stop: watch::Receiver<bool>,
) {
    let mut ticks = interval(every);
    let mut flying = JoinSet::new();
    for index in 0.. {
        let scheduled = tokio::select! {
            biased;
            _ = stop.changed() => break,
            scheduled = ticks.tick() => scheduled,
        };
        if sender.start.elapsed() > LONGEST {
            break;
        }
        let sender = Arc::clone(&sender);
        let kind = kind(index);
        flying.spawn(async move { sender.send(kind, scheduled).await });
        while flying.try_join_next().is_some() {}
    }
    while flying.join_next().await.is_some() {}
}

/// Sends single requests and records what became of them.
struct Sender {
    client: Client,
    start: Instant,
    records: Records,
}

impl Sender {
    async fn send(&self, kind: Kind, scheduled: Instant) {
        let Exchange { result, retried } = self.client.get(&kind.path(), PATIENCE + kind.length()).await;
        let record = Record {
            at: scheduled.saturating_duration_since(self.start),
            kind,
            latency: scheduled.elapsed(),
            outcome: Outcome::of(result),
            retried,
        };
        self.records.lock().push(record);
    }
}

/// The records of a load, still growing.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<Record>>>);

impl Records {
    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}
