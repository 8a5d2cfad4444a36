//! Probes of servers in memory.

use tokio::time::timeout;

use super::call::{Part, PortError};
use super::{Memory, SimulatedSite};
use crate::model::probe::{Probe, Question};
use crate::observation::Answer;
use crate::ports::Prober;

/// Probes the servers of a site.
pub struct MemoryProber(pub(super) Memory);

/// The reason for a failed probe.
struct NoAnswer(&'static str);

impl PortError for NoAnswer {
    fn silence(_what: &'static str) -> Self {
        Self("no answer in time")
    }

    fn refusal(_what: &'static str) -> Self {
        Self("500, expected 2xx or 3xx")
    }
}

impl Prober for MemoryProber {
    async fn probe(&self, probe: &Probe) -> Answer {
        let ask = |site: &mut SimulatedSite| {
            let answers = match probe.question {
                Question::Tcp => site.accepts(probe.address),
                Question::Http { .. } | Question::AnyHttp => site.answers(probe.address),
            };
            if answers { Ok(()) } else { Err(NoAnswer("connection refused")) }
        };
        match timeout(probe.timeout, self.0.call(Part::Server, "probe", ask)).await {
            Ok(Ok(())) => Answer::Ready("GET /health → 200".to_owned()),
            Ok(Err(NoAnswer(why))) => Answer::NotReady(why.to_owned()),
            Err(_elapsed) => Answer::NotReady("no answer in time".to_owned()),
        }
    }
}
