//! `drainswap stop`: asks the run on a backend to stop at its next safe point.

use tokio_util::sync::CancellationToken;

use super::backend_lock::LOCK_EVERY;
use super::signals::ASKED;
use super::{App, known_backend};
use crate::adapters::journal_file::BackendDir;
use crate::adapters::lock_file::LockState;
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::site::wait::{Waited, until};

impl App {
    /// Asks the run to stop, independently of any Ctrl-C, and waits up to `--lock-wait` for its end.
    pub(super) async fn stop(&self, backend: &str) -> Result<Exit, Error> {
        let dir = BackendDir::new(&self.settings.state_dir, backend);
        let holder = match dir.holder()? {
            LockState::Held(holder) => holder,
            LockState::Unknown(holder) => {
                return Err(Error::LockHolderUnknown { backend: backend.to_owned(), holder });
            }
            LockState::Free => {
                // A backend without any run is known from haproxy.cfg alone.
                if !dir.exists() {
                    known_backend(&self.load_config().await?.configuration, backend)?;
                }
                self.note(&format!("no run on backend {backend}"));
                return Ok(Exit::Done);
            }
        };
        let pid = holder.pid;
        holder.signal(ASKED).map_err(|error| Error::NotStopped {
            backend: backend.to_owned(),
            pid,
            reason: error.to_string(),
        })?;
        self.note(&format!("asked process {pid} to stop at its next safe point"));
        let limit = self.settings.lock_wait;
        let ended = async || {
            let is_there = matches!(dir.holder()?, LockState::Held(now) if now.is(&holder));
            Ok::<_, Error>((!is_there).then_some(()))
        };
        match until(LOCK_EVERY, limit, &CancellationToken::new(), ended).await? {
            Waited::Done(()) => self.note("the run has ended"),
            Waited::TimedOut | Waited::Stopped if limit.is_zero() => {}
            Waited::TimedOut | Waited::Stopped => {
                self.note(&format!(
                    "the run is still active after {} s (--lock-wait); ask again to undo the current step at once",
                    limit.as_secs()
                ));
            }
        }
        Ok(Exit::Done)
    }
}
