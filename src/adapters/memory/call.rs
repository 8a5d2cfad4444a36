//! A call of a port: its fault, its effect and its duration.

use std::time::Duration;

use tokio::time::sleep;

use super::{Fault, Memory, Millis, ScheduledEvent, SimulatedSite};
use crate::ports::{EngineError, JournalError, LoadBalancerError};

/// The part of the site that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The load balancer with this index.
    LoadBalancer(usize),
    Engine,
    /// A server, by a probe.
    Server,
    /// The disk with the journal.
    Journal,
    /// A hook's command.
    Hook,
}

impl Part {
    /// Returns how long a call takes.
    fn latency(self, what: &str) -> Millis {
        match (self, what) {
            (Self::Engine, "stop") => 30,
            (Self::Engine, "start" | "create" | "pull") => 15,
            (Self::Engine, _) => 3,
            (Self::Hook, _) => 50,
            (Self::LoadBalancer(_) | Self::Server | Self::Journal, _) => 1,
        }
    }

    /// Returns how long a slow call takes. Still below the deadline.
    fn slow(self) -> Millis {
        match self {
            Self::Server => 1_500,
            Self::LoadBalancer(_) | Self::Engine | Self::Hook | Self::Journal => 3_000,
        }
    }

    /// Returns how long the caller waits for a change.
    fn patience(self) -> Millis {
        match self {
            Self::LoadBalancer(_) => 30_000,
            // The real engine adapter waits ten minutes, in which nothing else would happen.
            Self::Engine => 60_000,
            Self::Server | Self::Journal | Self::Hook => self.deadline(),
        }
    }

    /// Returns how long after the caller has given up a change may still happen.
    fn lateness(self) -> std::ops::Range<Millis> {
        match self {
            Self::LoadBalancer(_) => 0..9_900,
            Self::Engine | Self::Server | Self::Journal | Self::Hook => 300..1_500,
        }
    }

    /// Returns the deadline of a call.
    fn deadline(self) -> Millis {
        match self {
            Self::LoadBalancer(_) => 5_000,
            Self::Engine => 30_000,
            Self::Hook => 10_000,
            Self::Server | Self::Journal => 2_000,
        }
    }
}

/// A port's error for a failed call.
pub(super) trait PortError: Sized {
    /// Returns the error for a call without an answer.
    fn silence(what: &'static str) -> Self;
    /// Returns the error for a permanent refusal.
    fn refusal(what: &'static str) -> Self;
    /// Returns the error for a broken connection, after which the call may still take effect.
    fn unanswered(what: &'static str) -> Self {
        Self::silence(what)
    }
    /// Returns the error for a call without an answer at the deadline, which may still take effect.
    fn given_up(what: &'static str) -> Self {
        Self::unanswered(what)
    }
}

impl PortError for LoadBalancerError {
    fn silence(what: &'static str) -> Self {
        Self::Unreachable { socket: "memory".to_owned(), reason: format!("no answer to {what}") }
    }

    fn refusal(what: &'static str) -> Self {
        Self::Refused { command: what.to_owned(), reply: "Permission denied".to_owned() }
    }

    fn unanswered(what: &'static str) -> Self {
        let (socket, reason) = ("memory".to_owned(), "the connection broke".to_owned());
        Self::Unanswered { socket, command: what.to_owned(), reason }
    }
}

impl PortError for EngineError {
    fn silence(what: &'static str) -> Self {
        Self::Unreachable { endpoint: "memory".to_owned(), reason: format!("no answer to {what}") }
    }

    fn refusal(what: &'static str) -> Self {
        Self::Refused { action: what, subject: "it".to_owned(), reason: "no space left on device".to_owned() }
    }

    fn unanswered(what: &'static str) -> Self {
        let reason = "the connection broke".to_owned();
        Self::Unanswered { action: what, subject: "it".to_owned(), reason }
    }

    fn given_up(what: &'static str) -> Self {
        let limit = Duration::from_millis(Part::Engine.patience());
        Self::GivenUp { action: what, subject: "it".to_owned(), limit }
    }
}

impl PortError for JournalError {
    fn silence(what: &'static str) -> Self {
        Self { path: "memory".to_owned(), action: what, reason: "input/output error".to_owned() }
    }

    fn refusal(what: &'static str) -> Self {
        Self { path: "memory".to_owned(), action: what, reason: "no space left on device".to_owned() }
    }
}

/// How a call ends, with its fault.
enum Course<T, E> {
    Ends(Result<T, E>, Millis),
    Dies,
}

impl Memory {
    /// Executes a call of a port: its effect happens at once, and then the call takes its time.
    pub(super) async fn call<T: Send, E: PortError + Send>(
        &self,
        part: Part,
        what: &'static str,
        effect: impl FnOnce(&mut SimulatedSite) -> Result<T, E> + Send,
    ) -> Result<T, E> {
        self.call_or_late(part, what, None, effect).await
    }

    /// Like [`Self::call`], with an event that happens if the caller gives up first.
    pub(super) async fn call_or_late<T: Send, E: PortError + Send>(
        &self,
        part: Part,
        what: &'static str,
        late: Option<ScheduledEvent>,
        effect: impl FnOnce(&mut SimulatedSite) -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let course = self.course(part, what, late, effect);
        match course {
            Course::Ends(result, takes) => {
                #[expect(clippy::disallowed_methods, reason = "a call takes its time on a paused clock")]
                sleep(Duration::from_millis(takes)).await;
                result
            }
            Course::Dies => {
                self.dies.notify_one();
                std::future::pending().await
            }
        }
    }

    fn course<T, E: PortError>(
        &self,
        part: Part,
        what: &'static str,
        late: Option<ScheduledEvent>,
        effect: impl FnOnce(&mut SimulatedSite) -> Result<T, E>,
    ) -> Course<T, E> {
        let mut site = self.site();
        let number = site.calls.len();
        site.calls.push((part, what));
        site.log(|| format!("call {number}: {what} ({part:?})"));
        let fault = site.fault(number, what);
        if let Some(fault) = fault {
            site.inject(fault, part);
        }
        let latency = part.latency(what);
        match fault {
            Some(Fault::DiesBefore) => {
                if let Some(ScheduledEvent::LateCall(called)) = &late {
                    site.continue_request(called);
                }
                Course::Dies
            }
            Some(Fault::Refused) => Course::Ends(Err(E::refusal(what)), latency),
            Some(Fault::LateEffect) if late.is_some() && !site.is_away(part) => {
                // The connection breaks at once, or the caller gives up at the deadline.
                let (error, given_up) = if site.rng.bool() {
                    (E::unanswered(what), latency)
                } else {
                    (E::given_up(what), part.patience())
                };
                let after = site.rng.u64(part.lateness());
                if let Some(late) = late {
                    site.schedule(given_up + after, late);
                }
                Course::Ends(Err(error), given_up)
            }
            // A question has no effect that could happen late.
            Some(Fault::Hangs) if late.is_some() => Course::Ends(Err(E::given_up(what)), part.patience()),
            Some(Fault::Hangs | Fault::LateEffect) => Course::Ends(Err(E::silence(what)), part.deadline()),
            Some(Fault::Unheard) => Course::Ends(Err(E::silence(what)), latency),
            _ if site.is_away(part) => Course::Ends(Err(E::silence(what)), latency),
            Some(Fault::DiesAfter) => {
                let _unheard = effect(&mut site);
                Course::Dies
            }
            Some(Fault::ReplyLost) => {
                let _lost = effect(&mut site);
                let error = if late.is_some() { E::unanswered(what) } else { E::silence(what) };
                Course::Ends(Err(error), latency)
            }
            Some(Fault::Slow) => Course::Ends(effect(&mut site), part.slow()),
            _ => Course::Ends(effect(&mut site), latency),
        }
    }
}
