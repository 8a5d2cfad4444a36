//! An open-loop load generator: it sends requests on schedule, without waiting for earlier ones.
//!
//! The load runs on its own thread, so that a blocking test does not slow it down. If it falls behind, it sends all
//! due requests at once. The latency counts from the schedule and so shows the delay.

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

/// The maximum duration of a load, even if its test hangs.
const LONGEST: Duration = Duration::from_secs(600);

/// The time after which a request without a response is lost, in addition to the intended length of the response.
const PATIENCE: Duration = Duration::from_secs(10);

/// The kinds of requests and their rates.
#[derive(Clone, Debug)]
pub struct Mix {
    /// The number of requests per second without streams.
    pub rate: u32,
    /// One in this many requests is slow; 0 means none.
    pub slow_one_in: u32,
    /// The processing time of a slow request.
    pub slow: Duration,
    pub streams: Option<Streams>,
    /// The number of kept-alive connections at the start; the client opens more if necessary.
    pub connections: usize,
}

/// Long responses, for which a drain must wait.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    /// The time between the starts of two streams.
    pub every: Duration,
    pub seconds: u64,
}

impl Default for Mix {
    /// Returns 100 requests per second, 5 % of them slow, without streams.
    fn default() -> Self {
        Self { rate: 100, slow_one_in: 20, slow: Duration::from_millis(500), streams: None, connections: 20 }
    }
}

impl Mix {
    /// Returns 300 requests per second, 5 % of them slow, for the stories that are about the load.
    pub fn full() -> Self {
        Self { rate: 300, slow: Duration::from_millis(1500), connections: 50, ..Self::default() }
    }

    /// Returns the mix with additional streams.
    #[must_use]
    pub fn with_streams(self, every: Duration, seconds: u64) -> Self {
        Self { streams: Some(Streams { every, seconds }), ..self }
    }
}

/// A running load, which stops when it is dropped.
pub struct Load {
    stop: watch::Sender<bool>,
    records: Records,
    report: oneshot::Receiver<Report>,
}

impl Load {
    /// Starts sending requests to an address.
    pub fn start(address: SocketAddr, mix: Mix) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (reporting, report) = oneshot::channel();
        let records = Records::default();
        let run = run(Client::new(address), mix, stopped, records.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let report = runtime.expect("a runtime for the load").block_on(run);
            // The report of a dropped load has no receiver.
            let _ = reporting.send(report);
        });
        Self { stop, records, report }
    }

    /// Returns the number of requests with an outcome so far.
    pub fn so_far(&self) -> usize {
        self.records.lock().len()
    }

    /// Waits until `more` further requests have an outcome, which lets the load run for a while.
    pub async fn answered(&self, more: usize) {
        let goal = self.so_far() + more;
        let what = format!("{more} more requests have an outcome");
        wait_until(&what, Duration::from_secs(120), async || self.so_far() >= goal).await;
    }

    /// Stops sending, waits for requests and streams in flight, and returns the report.
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

/// Starts a request at each tick, late ones at once, and returns when all requests have an outcome.
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

/// Sends single requests and records their outcomes.
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

/// The growing records of a running load.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<Record>>>);

impl Records {
    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}
