//! `drainswap doctor`: lists leftovers of runs and of manual changes.

pub mod findings;
use std::collections::BTreeMap;

use serde_json::json;

use super::live_site::SystemClock;
use super::session::{Access, Session};
use super::{App, print, print_object};
use crate::adapters::haproxy::state_file::saved_states_in;
use crate::adapters::journal_file::StoredRun;
use crate::app::doctor::findings::{DoctorFinding, LeftOver, OpenRun, OpenState, RunRecords, examine};
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::cli::Output;
use crate::model::ids::ServerId;
use crate::model::image::previous;
use crate::plan::LbQuorum;
use crate::ports::{ContainerEngine, WallClock};
use crate::run::journal::SiteIdentity;
use crate::run::outcome::Outcome;

impl App {
    pub(super) async fn doctor(
        &self,
        fix: bool,
        keep: Option<usize>,
        exit_code: bool,
    ) -> Result<Exit, Error> {
        let session = self.open(Access::Look, &[]).await?;
        let (observation, topology) = self.observe(&session, LbQuorum::Reachable).await?;
        let (configuration, Session { site, .. }) = (session.configuration(), &session);
        let kept = configuration.server_state_file.as_deref().and_then(saved_states_in);
        let runs = self.runs(keep, &site.identity)?;
        let findings = examine(configuration, &kept, &observation, &topology, &runs, &self.typed);
        let mut left = Vec::new();
        for finding in findings {
            match &finding.left_over {
                Some(LeftOver { container, previous_of }) if fix => {
                    let engine = site.engines.of(container)?;
                    if let Some(server) = previous_of {
                        // An image that no longer exists cannot be tagged; the other leftovers are still removed.
                        if let Err(error) = engine.tag(&container.image, &previous::name(server)).await {
                            self.note(&format!("note: cannot tag its image for a rollback: {error}"));
                        }
                    }
                    engine.remove(&container.id).await?;
                    self.note(&format!("fixed: {}; removed it", finding.what));
                }
                Some(_) | None => left.push(finding),
            }
        }
        self.show_findings(&left)?;
        Ok(if exit_code && !left.is_empty() { Exit::Pending } else { Exit::Done })
    }

    fn show_findings(&self, findings: &[DoctorFinding]) -> Result<(), Error> {
        if self.output == Output::Json {
            return print_object(&json!({ "version": 1, "at": SystemClock.now(), "findings": findings }));
        }
        if findings.is_empty() {
            return print("nothing was left behind\n");
        }
        for finding in findings {
            let fix = || format!("  ({} does it)", self.typed.command(&["doctor", "--fix"]));
            let safe = finding.left_over.as_ref().map_or_else(String::new, |_| fix());
            print(&format!("{}\n  → {}{safe}\n", finding.what, finding.fix))?;
        }
        Ok(())
    }

    /// Returns the runs in this site's journals. Containers that a run of another site put aside are not removed here.
    fn runs(&self, keep: Option<usize>, identity: &SiteIdentity) -> Result<RunRecords, Error> {
        let mut runs = RunRecords { keep: self.settings.keep(keep), ..RunRecords::default() };
        for mut of_backend in self.every_run(identity)? {
            // Containers that a stuck run put aside may still be needed until another run follows it.
            if let Some(last) = of_backend.own.last().and_then(open_run) {
                runs.open.push(last);
                of_backend.own.pop();
            }
            runs.last_aside.extend(last_put_aside(&of_backend.own));
            runs.over.extend(of_backend.own.into_iter().map(|stored| stored.run.plan.run));
        }
        Ok(runs)
    }
}

/// Returns the container that was last replaced behind each server, as its engine and kept name, with that server. The
/// runs are those of one backend, oldest first.
fn last_put_aside(runs: &[StoredRun]) -> BTreeMap<(String, String), ServerId> {
    let mut last: BTreeMap<&ServerId, (String, String)> = BTreeMap::new();
    for stored in runs {
        let plan = &stored.run.plan;
        for lane in &plan.lanes {
            let is_new = |id: &ServerId| {
                stored.run.progress.outcome.as_ref().is_some_and(|it| it.keeps_new_container(id))
            };
            let replaced = lane.replacement.as_ref().filter(|it| it.old.is_some() && is_new(lane.name()));
            if let Some(old) = replaced {
                last.insert(lane.name(), (old.like.engine.clone(), old.kept_name(&plan.run)));
            }
        }
    }
    last.into_iter().map(|(server, place)| (place, server.clone())).collect()
}

/// Returns what the last run of a backend left open, or `None` if it finished.
pub(super) fn open_run(stored: &StoredRun) -> Option<OpenRun> {
    if !stored.run.is_unfinished() {
        return None;
    }
    let plan = &stored.run.plan;
    let left = if let Some(Outcome::Stuck { servers, .. }) = &stored.run.progress.outcome {
        let lines = plan.lanes.iter().flat_map(|lane| lane.servers.iter().map(move |it| (lane, it)));
        let stranded = |id: &ServerId| servers.iter().any(|stranded| stranded.server == *id);
        OpenState::Stuck {
            servers: lines
                .filter(|(_, server)| stranded(&server.id))
                .map(|(lane, server)| (server.id.clone(), lane.state_after_undo(server)))
                .collect(),
            commands: servers.iter().flat_map(|stranded| stranded.commands.clone()).collect(),
        }
    } else {
        OpenState::Unfinished { touches: plan.backends() }
    };
    Some(OpenRun { run: plan.run.clone(), backend: plan.goal.backend.clone(), left })
}
