//! Hooks in memory.

use super::call::{Part, PortError};
use super::{Memory, SimulatedSite};
use crate::model::hook::{HookContext, HookResult};
use crate::ports::{HookError, Hooks};

/// Runs the hooks of a site.
pub struct MemoryHooks(pub(super) Memory);

/// The reasons why a hook did not finish.
enum NotEnded {
    /// It exceeded its time limit.
    Killed,
    /// The system could not run it.
    NotRun,
}

impl PortError for NotEnded {
    fn silence(_what: &'static str) -> Self {
        Self::Killed
    }

    fn refusal(_what: &'static str) -> Self {
        Self::NotRun
    }
}

impl Hooks for MemoryHooks {
    async fn run(&self, facts: &HookContext) -> Result<Option<HookResult>, HookError> {
        let hook = self.0.site().hook;
        let Some(code) = hook(facts) else { return Ok(None) };
        let ended = |code| Ok(Some(HookResult { code, output: vec![format!("this is {}", facts.hook)] }));
        match self.0.call(Part::Hook, "hook", |_: &mut SimulatedSite| Ok(())).await {
            Ok(()) => ended(Some(code)),
            Err(NotEnded::Killed) => ended(None),
            Err(NotEnded::NotRun) => {
                Err(HookError { hook: facts.hook, reason: "permission denied".to_owned() })
            }
        }
    }
}
