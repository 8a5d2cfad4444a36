//! The points of a run at which it waits for a hook.

use futures_util::future::OptionFuture;
use tokio::time::Instant;

use super::{Executor, StepError, millis};
use crate::model::hook::{HookContext, HookPoint, SKIP, VERSION};
use crate::model::ids::LaneId;
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::EventKind;
use crate::run::outcome::Outcome;

/// A hook's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HookVerdict {
    Continue,
    /// Skip this run or lane.
    Skip,
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Runs the hook of a moment, if there is one. A stop request ends it.
    pub(super) async fn hook(&self, hook: HookPoint, lane: Option<usize>) -> Result<HookVerdict, StepError> {
        if !self.plan.goal.hooks.contains(&hook) {
            return Ok(HookVerdict::Continue);
        }
        let facts = self.hook_context(hook, lane, None);
        let stop = lane.map_or_else(|| self.stop.asked.clone(), |lane| self.stop_request(lane));
        // Until the old container is stopped, its servers can go back into service at once.
        let may_go_back = lane.filter(|_| hook == HookPoint::AfterDrain).map(|lane| self.lane_of(lane));
        let unserved = OptionFuture::from(may_go_back.map(|lane| self.watch.wait_for_promised_outage(lane)));
        let begun = Instant::now();
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => {
                self.report_stop_requests();
                return Err(StepError::Stopped);
            }
            ended = self.site.hooks.run(&facts) => ended?,
            Some(failure) = unserved => return Err(failure),
        };
        let Some(ended) = ended else { return Ok(HookVerdict::Continue) };
        let code = ended.code;
        let (servers, output, took_ms) = (facts.servers, ended.output, millis(begun));
        let ended = EventKind::HookEnded { hook, servers, code, output, took_ms };
        self.emitter.emit(lane.map(LaneId::at), ended);
        match code {
            Some(0) => Ok(HookVerdict::Continue),
            Some(SKIP) if hook.may_skip() => Ok(HookVerdict::Skip),
            code => Err(StepError::Hook { hook, code }),
        }
    }

    /// Runs the last hook, which does not change how the run ended.
    pub(super) async fn after_run(&self, outcome: &Outcome) {
        let (hook, begun) = (HookPoint::AfterRun, Instant::now());
        let facts = self.hook_context(hook, None, Some(outcome.word().to_owned()));
        match self.site.hooks.run(&facts).await {
            Ok(None) => {}
            Ok(Some(ended)) => self.emit_run(EventKind::HookEnded {
                hook,
                servers: facts.servers,
                code: ended.code,
                output: ended.output,
                took_ms: millis(begun),
            }),
            Err(error) => self.emit_run(EventKind::Warned { message: error.to_string() }),
        }
    }

    fn hook_context(&self, hook: HookPoint, lane: Option<usize>, outcome: Option<String>) -> HookContext {
        let plan = self.plan;
        let replacement = lane.and_then(|lane| self.replacement(lane));
        let lanes = lane.map_or(&plan.lanes[..], |lane| &plan.lanes[lane..=lane]);
        HookContext {
            version: VERSION,
            hook,
            run: plan.run.clone(),
            backend: plan.goal.backend.clone(),
            purpose: plan.goal.purpose,
            servers: lanes.iter().flat_map(crate::plan::Lane::ids).collect(),
            container: replacement.map(|it| it.name.clone()),
            image: replacement.map(|it| it.image.pinned()),
            outcome,
        }
    }
}
