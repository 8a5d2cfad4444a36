//! Cleaning up after a stage, however it ended.

use super::engine::Engine;
use super::ports::random;
use std::thread;

/// Removes every container and image of a stage when it is dropped.
pub struct Sweeper {
    stage: String,
    swept: bool,
}

impl Sweeper {
    /// For a new stage with an id of its own.
    pub fn new() -> Self {
        Self { stage: format!("t{:012x}", random() >> 16), swept: false }
    }

    /// The stage's id.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Sweeps now; a failure is a failure of the test.
    pub async fn sweep(&mut self, engine: &Engine) {
        self.swept = true;
        engine.sweep(&self.stage).await.expect("remove what the stage made");
    }
}

impl Drop for Sweeper {
    /// On a thread and a runtime of its own, since a test may be unwinding in the middle of its runtime.
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
            eprintln!("containers or images of stage {} may be left: {swept:?}", self.stage);
        }
    }
}
