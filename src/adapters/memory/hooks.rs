//! Hooks in memory.

use super::call::{Failing, Part};
use super::{Memory, Site};
use crate::hook::{Ended, HookFacts};
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

impl Failing for NotEnded {
    fn silence(_what: &'static str) -> Self {
        Self::Killed
    }

    fn refusal(_what: &'static str) -> Self {
        Self::NotRun
    }
}

impl Hooks for MemoryHooks {
    async fn run(&self, facts: &HookFacts) -> Result<Option<Ended>, HookError> {
        let hook = self.0.site().hook;
        let Some(code) = hook(facts) else { return Ok(None) };
        let ended = |code| Ok(Some(Ended { code, output: vec![format!("this is {}", facts.hook)] }));
        match self.0.call(Part::Hook, "hook", |_: &mut Site| Ok(())).await {
            Ok(()) => ended(Some(code)),
            Err(NotEnded::Killed) => ended(None),
            Err(NotEnded::NotRun) => {
                Err(HookError { hook: facts.hook, reason: "permission denied".to_owned() })
            }
        }
    }
}
