//! `drainswap status`: the current state of every server, once or repeatedly.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::screen::Screen;
use super::session::{Access, Session};
use super::{App, print, print_object};
use crate::adapters::journal_file::{BackendDir, HistoryError};
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::cli::Output;
use crate::model::ids::ContainerId;
use crate::observation::ContainerChange;
use crate::observation::Observation;
use crate::plan::LbQuorum;
use crate::run::journal::SiteIdentity;
use crate::topology::Backend;
use crate::topology::divergence::{Divergence, divergences};
use crate::topology::traffic::Balance;

/// The shortest interval of `--watch`: people cannot read faster.
const OFTEN_ENOUGH: Duration = Duration::from_millis(200);

/// The status of the servers, for programs and for people.
struct Status {
    object: Value,
    table: String,
    notes: Vec<String>,
}

/// Returns the status for programs, without secrets.
fn object(
    observation: &Observation,
    backends: &[&Backend],
    drift: &BTreeMap<ContainerId, Vec<ContainerChange>>,
) -> Value {
    let haproxy = observation.load_balancers.iter().map(|seen| {
        json!({ "socket": seen.name, "version": seen.version, "pid": seen.pid, "old_workers": seen.old_workers })
    });
    let haproxy: Vec<_> = haproxy.collect();
    let backends: Vec<_> = backends.iter().map(|backend| backend.without_secrets()).collect();
    json!({ "version": 1, "at": observation.at, "haproxy": haproxy, "backends": backends, "drift": drift })
}

impl App {
    pub(super) async fn status(&self, wanted: &[String]) -> Result<Exit, Error> {
        let status = self.read_status(wanted).await?;
        match self.output {
            Output::Json => print_object(&status.object)?,
            Output::Text => print(&status.table)?,
        }
        for note in &status.notes {
            self.note(&format!("note: {note}"));
        }
        Ok(Exit::Done)
    }

    /// Shows the status repeatedly until Ctrl-C: on a terminal's alternate screen, or elsewhere one below the other.
    pub(super) async fn watch(&self, wanted: &[String], every: Duration) -> Result<Exit, Error> {
        let [mut interrupt, mut terminate] =
            [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
        let mut screen = Screen::open(self.output == Output::Text);
        let mut ticks = tokio::time::interval(every.max(OFTEN_ENOUGH));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let look = async {
                ticks.tick().await;
                self.read_status(wanted).await
            };
            let status = tokio::select! {
                status = look => status,
                _ = interrupt.recv() => return Ok(Exit::Done),
                _ = terminate.recv() => return Ok(Exit::Done),
            };
            match (status, self.output) {
                (Ok(status), Output::Json) => print_object(&status.object)?,
                (Ok(status), Output::Text) => screen.show(&status.table, &status.notes)?,
                // An unreachable socket may answer next time; a mistyped name never exists.
                (Err(error), Output::Text) if error.exit() == Exit::Unreachable => {
                    screen.show("", &[error.to_string()])?;
                }
                (Err(error), _) => return Err(error),
            }
        }
    }

    async fn read_status(&self, wanted: &[String]) -> Result<Status, Error> {
        let session = self.open(Access::Look, wanted).await?;
        let Session { site, .. } = &session;
        let (observation, topology) = self.observe(&session, LbQuorum::All).await?;
        let shown = |backend: &&crate::topology::Backend| wanted.is_empty() || wanted.contains(&backend.name);
        let backends: Vec<_> = topology.backends.iter().filter(shown).collect();
        let mut notes = Vec::new();
        notes.extend(self.settings.described().err().map(|error| error.to_string()));
        // Without access to the files of a description, everything else is still shown.
        let drift = site.drift(backends.iter().copied()).await.unwrap_or_else(|error| {
            notes.push(format!("cannot compare the containers with their descriptions: {error}"));
            BTreeMap::new()
        });
        let object = object(&observation, &backends, &drift);
        for worker in observation.load_balancers.iter().flat_map(|seen| seen.old_workers.iter().flatten()) {
            let held: u64 = worker.servers.iter().map(|server| server.sessions).sum();
            notes.push(format!(
                "HAProxy's old worker {} still holds {}",
                worker.pid,
                crate::model::words::sessions(held)
            ));
        }
        for server in backends.iter().flat_map(|backend| &backend.servers) {
            let changes = server.container().and_then(|it| drift.get(&it.id)).map_or(0, Vec::len);
            if changes > 0 {
                let (server, plan) = (&server.id, self.typed.command(&["plan", &server.id.backend]));
                notes.push(format!(
                    "{server} is not as drainswap.toml describes it; `{plan}` shows what differs"
                ));
            }
        }
        let diverging = divergences(session.configuration(), &observation.load_balancers);
        let is_shown = |it: &&Divergence| backends.iter().any(|backend| backend.name == it.server.backend);
        notes.extend(diverging.iter().filter(is_shown).map(ToString::to_string));
        let balances = backends.iter().map(|backend| Balance::of(backend));
        notes.extend(balances.filter_map(|balance| balance.unpublished(&observation.load_balancers)));
        notes.extend(backends.iter().filter_map(|backend| self.unfinished(&backend.name, &site.identity)));
        Ok(Status { object, table: crate::report::status::table(&backends), notes })
    }

    /// Returns a note if the last run on a backend is unfinished, or if a run is active.
    fn unfinished(&self, backend: &str, identity: &SiteIdentity) -> Option<String> {
        let dir = BackendDir::new(&self.settings.state_dir, backend);
        let runs = match self.runs_at(identity, &dir) {
            Ok(runs) => runs,
            // Without access to the state directory, everything else is still shown.
            Err(Error::History(HistoryError::Journal(_))) => return None,
            Err(error) => return Some(error.to_string()),
        };
        let foreign = || runs.unfinished_elsewhere().last().map(|stored| self.foreign_run(stored));
        let left = runs.unfinished().map(|stored| self.unfinished_run(stored)).or_else(foreign)?;
        Some(match dir.lock(backend, "a look") {
            Ok(_free) => left.to_string(),
            Err(busy) => busy.to_string(),
        })
    }

    /// Notes an unfinished or active run on the backend.
    pub(super) fn warn_of_unfinished(&self, backend: &str, identity: &SiteIdentity) {
        if let Some(note) = self.unfinished(backend, identity) {
            self.note(&format!("note: {note}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn the_status_hides_the_tokens_of_checks() {
        let world = World::of(
            "
backend mobile
    mode http
    option httpchk
    http-check send meth POST uri /health hdr Authorization \"Bearer hunter2\" body hunter2
    server app1 127.0.0.1:50000 check
",
        );
        let topology = world.topology();
        let backends: Vec<_> = topology.backends.iter().collect();
        let told = object(&world.observation, &backends, &BTreeMap::new()).to_string();
        assert!(told.contains("Authorization") && !told.contains("hunter2"), "{told}");
    }
}
