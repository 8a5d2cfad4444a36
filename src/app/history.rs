//! `drainswap history`: the deploys of a backend, and whether a rollback can return to each.

use std::fmt;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;
use serde_json::json;

use super::journals::Runs;
use super::live_site::LiveSite;
use super::session::{Access, Session};
use super::{App, print, print_object};
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::cli::Output;
use crate::model::ids::RunId;
use crate::model::image::Image;
use crate::observation::{Container, Observation};
use crate::plan::{Approved, LbQuorum, RollbackTarget};
use crate::ports::{ContainerEngine, EngineError};
use crate::run::history::{Revision, revisions};

/// Whether a rollback can return to a revision, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "returnable", content = "reason")]
enum RollbackMethod {
    /// The revision runs now.
    Now,
    /// Its containers are kept.
    Kept,
    /// Its images are on the host.
    Present,
    /// Its images must be pulled, and the registry has them.
    Pulled,
    /// A rollback cannot return to it, for this reason.
    No(String),
}

impl fmt::Display for RollbackMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("runs now"),
            Self::Kept => f.write_str("yes: its containers are kept"),
            Self::Present => f.write_str("yes: its images are here"),
            Self::Pulled => f.write_str("yes: its images will be pulled again"),
            Self::No(reason) => write!(f, "no: {reason}"),
        }
    }
}

/// A revision that a backend's servers ran.
#[derive(Clone, Debug, Serialize)]
struct Row {
    /// The run that deployed it.
    run: Option<String>,
    at: Option<jiff::Timestamp>,
    /// The plan file that the run applied, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    approved: Option<Approved>,
    /// Each image once.
    images: Vec<Image>,
    #[serde(flatten)]
    way: RollbackMethod,
}

impl App {
    pub(super) async fn history(&self, backend: &str) -> Result<Exit, Error> {
        let session = self.open(Access::Plan, &[backend.to_owned()]).await?;
        let Session { site, .. } = &session;
        let Runs { own: runs, foreign } = self.runs_on(&site.identity, backend)?;
        let (observation, topology) = self.observe(&session, LbQuorum::Reachable).await?;
        let revisions = revisions(runs.iter().map(|stored| &stored.run));
        let last = revisions.first().and_then(|revision| revision.takes_back.first());
        let run = runs.iter().map(|stored| &stored.run.plan).find(|plan| Some(&plan.run) == last);
        let servers = topology.backend(backend).into_iter().flat_map(|backend| &backend.servers);
        let now = servers.filter_map(|server| Some(server.container()?.running_image()));
        let plans = || runs.iter().map(|stored| &stored.run.plan);
        let approved = |run: &RunId| plans().find(|plan| plan.run == *run)?.goal.approved.clone();
        let mut rows = vec![Row {
            run: run.map(|plan| plan.run.to_string()),
            at: run.map(|plan| plan.at),
            approved: run.and_then(|plan| plan.goal.approved.clone()),
            images: each_once(now),
            way: RollbackMethod::Now,
        }];
        for revision in &revisions {
            rows.push(Row {
                run: revision.deployed_by.as_ref().map(ToString::to_string),
                at: revision.at,
                approved: revision.deployed_by.as_ref().and_then(approved),
                images: each_once(revision.servers.values().map(|returned| returned.image.clone())),
                way: rollback_method(site, &observation, revision).await?,
            });
        }
        match self.output {
            Output::Json => {
                print_object(&json!({ "version": 1, "backend": backend, "states": rows }))?;
            }
            Output::Text => print(&table(&rows))?,
        }
        self.note_foreign(backend, &foreign);
        self.warn_of_unfinished(backend, &site.identity);
        Ok(Exit::Done)
    }
}

fn each_once(images: impl Iterator<Item = Image>) -> Vec<Image> {
    let mut once: Vec<Image> = Vec::new();
    for image in images {
        if !once.contains(&image) {
            once.push(image);
        }
    }
    once
}

/// Returns how a rollback would return to a revision, judged by its worst server.
async fn rollback_method(
    site: &LiveSite,
    observation: &Observation,
    revision: &Revision,
) -> Result<RollbackMethod, Error> {
    let mut worst = RollbackMethod::Kept;
    for returned in revision.servers.values() {
        worst = worst.max(server_rollback_method(site, &observation.containers, returned).await?);
    }
    Ok(worst)
}

async fn server_rollback_method(
    site: &LiveSite,
    containers: &[Container],
    returned: &RollbackTarget,
) -> Result<RollbackMethod, EngineError> {
    if returned.kept_among(containers).is_some() {
        return Ok(RollbackMethod::Kept);
    }
    let engine = site.engines.named(&returned.engine)?;
    if engine.has(&returned.image).await? {
        return Ok(RollbackMethod::Present);
    }
    let Image::Registry { reference, digest } = &returned.image else {
        return Ok(RollbackMethod::No(format!(
            "its image {} is gone and did not come from a registry",
            returned.image
        )));
    };
    let pinned = crate::model::image::ImageReference { digest: Some(digest.clone()), ..reference.clone() };
    Ok(match engine.resolve(&pinned).await {
        Ok(_) => RollbackMethod::Pulled,
        Err(error) => RollbackMethod::No(format!("its image is no longer here: {error}")),
    })
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["RUN", "IMAGE", "ROLLBACK"]);
    for row in rows {
        let images: Vec<String> = row.images.iter().map(ToString::to_string).collect();
        let run = row.run.clone().unwrap_or_else(|| "before".to_owned());
        let plan = row.approved.as_ref().map(|Approved { at, .. }| format!("by the plan of {at:.0}"));
        let run = std::iter::once(run).chain(plan).collect::<Vec<_>>().join("\n");
        table.add_row([run, images.join("\n"), row.way.to_string()]);
    }
    table.to_string().lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}
