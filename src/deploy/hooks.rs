//! The points of a run at which it waits for a hook.

use futures_util::future::OptionFuture;
use tokio::time::Instant;

use super::{Executor, Failure, millis};
use crate::event::Fact;
use crate::hook::{HookFacts, Moment, SKIP, VERSION};
use crate::outcome::Outcome;
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, WallClock};

/// A hook's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    GoOn,
    /// Skip this run or lane.
    Skip,
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Runs the hook of a moment, if there is one. A stop request ends it.
    pub(super) async fn hook(&self, hook: Moment, lane: Option<usize>) -> Result<Wish, Failure> {
        if !self.plan.hooks.contains(&hook) {
            return Ok(Wish::GoOn);
        }
        let facts = self.facts(hook, lane, None);
        let stop = lane.map_or_else(|| self.stop.asked.clone(), |lane| self.stop_request(lane));
        // Until the old container is stopped, its servers can go back into service at once.
        let may_go_back = lane.filter(|_| hook == Moment::AfterDrain).map(|lane| self.lane_of(lane));
        let unserved = OptionFuture::from(may_go_back.map(|lane| self.watch.until_broken(lane)));
        let begun = Instant::now();
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => {
                self.report_stop_requests();
                return Err(Failure::Stopped);
            }
            ended = self.world.hooks.run(&facts) => ended?,
            Some(failure) = unserved => return Err(failure),
        };
        let Some(ended) = ended else { return Ok(Wish::GoOn) };
        let code = ended.code;
        self.tell(Fact::HookEnded {
            hook,
            servers: facts.servers,
            code,
            output: ended.output,
            took_ms: millis(begun),
        });
        match code {
            Some(0) => Ok(Wish::GoOn),
            Some(SKIP) if hook.may_skip() => Ok(Wish::Skip),
            code => Err(Failure::Hook { hook, code }),
        }
    }

    /// Runs the last hook, which does not change how the run ended.
    pub(super) async fn after_run(&self, outcome: &Outcome) {
        let (hook, begun) = (Moment::AfterRun, Instant::now());
        let facts = self.facts(hook, None, Some(outcome.word().to_owned()));
        match self.world.hooks.run(&facts).await {
            Ok(None) => {}
            Ok(Some(ended)) => self.tell(Fact::HookEnded {
                hook,
                servers: facts.servers,
                code: ended.code,
                output: ended.output,
                took_ms: millis(begun),
            }),
            Err(error) => self.tell(Fact::Warned { message: error.to_string() }),
        }
    }

    fn facts(&self, hook: Moment, lane: Option<usize>, outcome: Option<String>) -> HookFacts {
        let plan = self.plan;
        let replacement = lane.and_then(|lane| self.replacement(lane));
        let lanes = lane.map_or(&plan.lanes[..], |lane| &plan.lanes[lane..=lane]);
        HookFacts {
            version: VERSION,
            hook,
            run: plan.run.clone(),
            backend: plan.backend.clone(),
            purpose: plan.purpose,
            servers: lanes.iter().flat_map(crate::plan::Lane::ids).collect(),
            container: replacement.map(|it| it.name.clone()),
            image: replacement.map(|it| it.image.pinned()),
            outcome,
        }
    }
}
