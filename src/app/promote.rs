//! `drainswap promote`: deploys in one place what another runs.

use super::App;
use super::session::Access;
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::cli::{DeployGoal, PolicyFlags};
use crate::model::image::ImageReference;
use crate::plan::LbQuorum;
use crate::run::promotion::promotable_image;

impl App {
    /// Deploys here the image that the other place runs.
    pub(super) async fn promote(
        &self,
        from: &App,
        backend: &str,
        flags: &PolicyFlags,
        dry_run: bool,
    ) -> Result<Exit, Error> {
        let image = from.promotable_image(backend).await?;
        self.note(&format!("every server of {backend} there runs {image}"));
        let goal = DeployGoal { backend: backend.to_owned(), image: Some(image) };
        if dry_run {
            return self.plan(&goal, flags, false, None).await;
        }
        self.deploy(&goal, flags).await
    }

    /// Returns the image that every server of the backend runs here, by digest.
    async fn promotable_image(&self, backend: &str) -> Result<ImageReference, Error> {
        let session = self.open(Access::Plan, &[backend.to_owned()]).await?;
        let (_, topology) = self.observe(&session, LbQuorum::All).await?;
        let runs = self.runs_on(&session.site.identity, backend)?.own;
        let last = runs.last().map(|stored| stored.run.progress.outcome.as_ref());
        let found = topology.backend(backend).map(|backend| promotable_image(backend, last));
        let found = found.ok_or_else(|| Error::NoBackend {
            name: backend.to_owned(),
            nearest: None,
            known: Vec::new(),
        })?;
        found.map_err(|reason| Error::NotPromoted { backend: backend.to_owned(), reason })
    }
}
