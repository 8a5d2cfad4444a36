//! What became of every single request of a load.

use super::http::{Answer, Loss};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Page,
    Slow { ms: u64 },
    Stream { seconds: u64 },
}

impl Kind {
    pub fn path(self) -> String {
        match self {
            Self::Page => "/".to_owned(),
            Self::Slow { ms } => format!("/slow?ms={ms}"),
            Self::Stream { seconds } => format!("/stream?s={seconds}"),
        }
    }

    /// How long the application takes by intention, beyond a page's work.
    pub fn length(self) -> Duration {
        match self {
            Self::Page => Duration::ZERO,
            Self::Slow { ms } => Duration::from_millis(ms),
            Self::Stream { seconds } => Duration::from_secs(seconds),
        }
    }
}

/// How a request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The application answered.
    App {
        status: u16,
        server: String,
        version: String,
    },
    /// HAProxy answered with a page of its own.
    Proxy {
        status: u16,
    },
    Lost(Loss),
}

impl Outcome {
    pub fn of(result: Result<Answer, Loss>) -> Self {
        match result {
            Ok(Answer { status, server: Some(server), version: Some(version), .. }) => {
                Self::App { status, server, version }
            }
            Ok(Answer { status, .. }) => Self::Proxy { status },
            Err(loss) => Self::Lost(loss),
        }
    }

    pub fn is_success(&self) -> bool {
        matches!(self, Self::App { status: 200..=299, .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App { status, server, version } => write!(f, "{status} from {server} ({version})"),
            Self::Proxy { status } => write!(f, "{status} from HAProxy"),
            Self::Lost(loss) => loss.fmt(f),
        }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it was due, from the start of the load.
    pub at: Duration,
    pub kind: Kind,
    /// From when it was due to the end of its answer.
    pub latency: Duration,
    pub outcome: Outcome,
    /// A used connection was closed under it, and it was sent once more on a new one.
    pub retried: bool,
}

/// A finished load.
#[derive(Clone, Debug)]
pub struct Report {
    /// How long the load ran.
    pub took: Duration,
    /// Every request, in the order in which they were due.
    pub records: Vec<Record>,
}

impl Report {
    pub fn new(took: Duration, mut records: Vec<Record>) -> Self {
        records.sort_by_key(|record| record.at);
        Self { took, records }
    }

    pub fn total(&self) -> usize {
        self.records.len()
    }

    pub fn failures(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| !record.outcome.is_success())
    }

    /// How many requests did not get the application's whole answer with a success.
    pub fn failed(&self) -> usize {
        self.failures().count()
    }

    /// How many requests a client had to send twice; whether the second try succeeded is counted in `failed`.
    pub fn client_retries(&self) -> usize {
        self.records.iter().filter(|record| record.retried).count()
    }

    /// How many successes each version gave.
    pub fn by_version(&self) -> BTreeMap<&str, usize> {
        self.count(|server_and_version| server_and_version.1)
    }

    /// How many successes each server gave.
    pub fn by_server(&self) -> BTreeMap<&str, usize> {
        self.count(|server_and_version| server_and_version.0)
    }

    fn count<'a>(&'a self, key: impl Fn((&'a str, &'a str)) -> &'a str) -> BTreeMap<&'a str, usize> {
        let mut counts = BTreeMap::new();
        for record in &self.records {
            if let Outcome::App { status: 200..=299, server, version } = &record.outcome {
                *counts.entry(key((server, version))).or_default() += 1;
            }
        }
        counts
    }

    /// How many streams came whole, and how many did not.
    pub fn streams(&self) -> (usize, usize) {
        let streams = self.records.iter().filter(|record| matches!(record.kind, Kind::Stream { .. }));
        let (whole, cut): (Vec<_>, Vec<_>) = streams.partition(|record| record.outcome.is_success());
        (whole.len(), cut.len())
    }

    /// The latency that so many of a thousand successful pages stayed below; slow requests and streams not counted.
    pub fn page_latency(&self, per_mille: usize) -> Duration {
        let pages =
            self.records.iter().filter(|record| record.kind == Kind::Page && record.outcome.is_success());
        let mut latencies: Vec<_> = pages.map(|record| record.latency).collect();
        latencies.sort_unstable();
        let index = (latencies.len() * per_mille / 1000).min(latencies.len().saturating_sub(1));
        latencies.get(index).copied().unwrap_or_default()
    }

    pub fn p50(&self) -> Duration {
        self.page_latency(500)
    }

    pub fn p99(&self) -> Duration {
        self.page_latency(990)
    }

    pub fn max(&self) -> Duration {
        self.page_latency(1000)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, cut) = self.streams();
        writeln!(
            f,
            "{} requests in {:.1} s, {} failed, {} retried by the client; pages p50 {:.0?}, p99 {:.0?}, max {:.0?}; \
             streams {whole} whole, {cut} cut",
            self.total(),
            self.took.as_secs_f64(),
            self.failed(),
            self.client_retries(),
            self.p50(),
            self.p99(),
            self.max(),
        )?;
        writeln!(f, "by version {:?}, by server {:?}", self.by_version(), self.by_server())?;
        for record in self.failures().take(10) {
            let path = record.kind.path();
            writeln!(f, "  at {:.3} s  {path}  {}", record.at.as_secs_f64(), record.outcome)?;
        }
        match self.failed() {
            0..=10 => Ok(()),
            more => writeln!(f, "  … and {} more failures", more - 10),
        }
    }
}
