//! The outcome of every request of a load.

use super::http::{Answer, Loss};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The kind of a request.
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

    /// Returns the intended duration of the response.
    pub fn length(self) -> Duration {
        match self {
            Self::Page => Duration::ZERO,
            Self::Slow { ms } => Duration::from_millis(ms),
            Self::Stream { seconds } => Duration::from_secs(seconds),
        }
    }
}

/// The outcome of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The application answered.
    App {
        status: u16,
        server: String,
        version: String,
    },
    /// HAProxy itself answered.
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

/// A request with its outcome.
#[derive(Clone, Debug)]
pub struct Record {
    /// The scheduled time, from the start of the load.
    pub at: Duration,
    pub kind: Kind,
    /// The time from the schedule to the end of the response.
    pub latency: Duration,
    pub outcome: Outcome,
    /// Whether the client retried the request because the server had closed a used connection.
    pub retried: bool,
}

/// The report of a finished load.
#[derive(Clone, Debug)]
pub struct Report {
    pub took: Duration,
    /// All requests in scheduled order.
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

    /// Returns the number of requests without a complete, successful response of the application.
    pub fn failed(&self) -> usize {
        self.failures().count()
    }

    /// Returns the number of requests that the client retried; `failed` counts failed retries.
    pub fn client_retries(&self) -> usize {
        self.records.iter().filter(|record| record.retried).count()
    }

    /// Returns the number of successful requests by version.
    pub fn by_version(&self) -> BTreeMap<&str, usize> {
        self.count(|server_and_version| server_and_version.1)
    }

    /// Returns the number of successful requests by server.
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

    /// Returns the numbers of complete and of cut streams.
    pub fn streams(&self) -> (usize, usize) {
        let streams = self.records.iter().filter(|record| matches!(record.kind, Kind::Stream { .. }));
        let (whole, cut): (Vec<_>, Vec<_>) = streams.partition(|record| record.outcome.is_success());
        (whole.len(), cut.len())
    }

    /// Returns a percentile, in per mille, of the latency of successful pages without slow requests and streams.
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
