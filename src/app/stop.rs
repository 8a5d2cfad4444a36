//! stop: asks the run on a backend to end at its next safe point.

use tokio_util::sync::CancellationToken;

use super::hold::LOCK_EVERY;
use super::signals::ASKED;
use super::{App, known_backend};
use crate::adapters::journal_file::BackendDir;
use crate::adapters::lock_file::HeldBy;
use crate::deploy::wait::{Waited, until};
use crate::error::Error;
use crate::exit::Exit;

impl App {
    /// What Ctrl-C does where the run is, whoever has pressed that already; its end is waited for as long as `--lock-wait` says.
    pub(super) async fn stop(&self, backend: &str) -> Result<Exit, Error> {
        let dir = BackendDir::new(&self.settings.state_dir, backend);
        let holder = match dir.holder()? {
            HeldBy::Process(holder) => holder,
            HeldBy::Unseen(holder) => {
                return Err(Error::HolderUnseen { backend: backend.to_owned(), holder });
            }
            HeldBy::Nobody => {
                // One that no run was ever on is known to haproxy.cfg alone.
                if !dir.exists() {
                    let (_, configuration) = self.document().await?;
                    known_backend(&configuration, backend)?;
                }
                self.say(&format!("nothing runs on backend {backend}"));
                return Ok(Exit::Done);
            }
        };
        let pid = holder.pid;
        holder.signal(ASKED).map_err(|error| Error::NotStopped {
            backend: backend.to_owned(),
            pid,
            reason: error.to_string(),
        })?;
        self.say(&format!("process {pid} was asked to stop at its next safe point"));
        let limit = self.settings.lock_wait;
        let ended = async || {
            let is_there = matches!(dir.holder()?, HeldBy::Process(now) if now.is(&holder));
            Ok::<_, Error>((!is_there).then_some(()))
        };
        match until(LOCK_EVERY, limit, &CancellationToken::new(), ended).await? {
            Waited::Done(()) => self.say("it has ended"),
            Waited::TimedOut | Waited::Stopped if limit.is_zero() => {}
            Waited::TimedOut | Waited::Stopped => {
                self.say(&format!(
                    "it goes on after {} s (--lock-wait); ask again to take back at once what is under way",
                    limit.as_secs()
                ));
            }
        }
        Ok(Exit::Done)
    }
}
