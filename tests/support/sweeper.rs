//! Cleanup after a stage, even after a panic.

use super::engine::Engine;
use super::ports::random;
use std::thread;

/// Removes every container and image of a stage on drop.
pub struct Sweeper {
    stage: String,
    swept: bool,
}

impl Sweeper {
    /// Creates a sweeper for a new stage with a unique id.
    pub fn new() -> Self {
        Self { stage: format!("t{:012x}", random() >> 16), swept: false }
    }

    /// Returns the stage's id.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Sweeps now, and panics on failure.
    pub async fn sweep(&mut self, engine: &Engine) {
        self.swept = true;
        engine.sweep(&self.stage).await.expect("remove the stage's containers and images");
    }
}

impl Drop for Sweeper {
    /// Sweeps on a separate thread and runtime, because the test's runtime may be unwinding.
    #[expect(clippy::print_stderr, reason = "a panic while unwinding would hide the test's own")]
    fn drop(&mut self) {
        if self.swept {
            return;
        }
        let stage = self.stage.clone();
        let swept = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { Engine::connect().await?.sweep(&stage).await })
        })
        .join();
        if !matches!(swept, Ok(Ok(()))) {
            eprintln!("containers or images of stage {} may remain: {swept:?}", self.stage);
        }
    }
}
