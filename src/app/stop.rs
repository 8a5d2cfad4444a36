//! stop: asks the run on a backend to end at its next safe point.

use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;

use super::hold::LOCK_EVERY;
use super::{App, nearest};
use crate::adapters::journal_file::BackendDir;
use crate::deploy::wait::{Waited, until};
use crate::error::Error;
use crate::exit::Exit;

impl App {
    /// What Ctrl-C does where the run is; its end is waited for as long as `--lock-wait` says.
    pub(super) async fn stop(&self, backend: &str) -> Result<Exit, Error> {
        let dir = BackendDir::new(&self.settings.state_dir, backend);
        let Some(pid) = dir.holder()? else {
            let all = BackendDir::all(&self.settings.state_dir).unwrap_or_default();
            let known: Vec<String> = all.iter().map(BackendDir::name).collect();
            let meant = nearest(backend, &known).filter(|meant| meant != backend);
            let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
            self.say(&format!("nothing runs on backend {backend}{hint}"))?;
            return Ok(Exit::Done);
        };
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let asked = process.ok_or(rustix::io::Errno::SRCH).and_then(|it| kill_process(it, Signal::INT));
        asked.map_err(|error| Error::NotStopped {
            backend: backend.to_owned(),
            pid,
            reason: error.to_string(),
        })?;
        self.say(&format!("process {pid} was asked to stop at its next safe point"))?;
        let limit = self.settings.lock_wait;
        let ended = async || Ok::<_, Error>(dir.holder()?.is_none_or(|holder| holder != pid).then_some(()));
        match until(LOCK_EVERY, limit, &CancellationToken::new(), ended).await? {
            Waited::Done(()) => self.say("it has ended")?,
            Waited::TimedOut | Waited::Stopped if limit.is_zero() => {}
            Waited::TimedOut | Waited::Stopped => {
                self.say(&format!(
                    "it goes on after {} s (--lock-wait); ask again to take back at once what is under way",
                    limit.as_secs()
                ))?;
            }
        }
        Ok(Exit::Done)
    }
}
