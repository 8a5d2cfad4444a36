//! `drainswap prune`: removes the containers and images that no rollback needs any more.

use std::collections::BTreeSet;

use super::App;
use super::live_site::LiveSite;
use super::session::{Access, Session};
use crate::adapters::journal_file::{BackendDir, StoredRun};
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::model::ids::{ContainerId, ServerId};
use crate::model::image::{Image, previous};
use crate::observation::Container;
use crate::plan::kept::{kept, surplus};
use crate::ports::ContainerEngine;
use crate::run::history::revisions;
use crate::run::journal::Run;
use crate::run::retention::{images, renewed, unneeded};
use crate::topology::with_servers;

impl App {
    pub(super) async fn prune(
        &self,
        wanted: &[String],
        keep: Option<usize>,
        dry_run: bool,
    ) -> Result<Exit, Error> {
        let session = self.open(Access::Plan, wanted).await?;
        let Session { site, .. } = &session;
        let keep = self.settings.keep(keep);
        let known = self.every_run(&site.identity)?;
        let known: Vec<&Run> = known.iter().flat_map(|runs| &runs.own).map(|stored| &stored.run).collect();
        let (mut gone, mut old_images, mut needed) = (BTreeSet::new(), Vec::new(), Vec::new());
        let mut names = 0;
        for proxy in with_servers(session.configuration()) {
            let backend = &proxy.name;
            let runs = self.runs_at(&site.identity, &BackendDir::new(&self.settings.state_dir, backend))?;
            let of = |runs: &[StoredRun]| revisions(runs.iter().map(|stored| &stored.run));
            // Images of another site's runs are kept: only that site knows whether it needs them.
            let mut of_backend = images(&of(&runs.foreign));
            needed.extend(of_backend.iter().cloned());
            let revisions = of(&runs.own);
            if !wanted.is_empty() && !wanted.contains(backend) {
                needed.extend(images(&revisions));
                continue;
            }
            let Some(held) = self.lock_if_idle(backend, &site.identity).await? else {
                self.note(&format!("note: skipping backend {backend}: a run on it is unfinished"));
                needed.extend(images(&revisions));
                continue;
            };
            let replaced = held.containers();
            gone.extend(self.prune_containers(site, &replaced, &known, keep, dry_run).await?);
            let latest = images(&revisions[..keep.min(revisions.len())]);
            needed.extend(latest.iter().cloned());
            of_backend.extend(latest);
            let servers = proxy.servers.iter().map(|it| ServerId::new(backend, &it.name));
            names += self.prune_names(site, servers, &of_backend, dry_run).await?;
            old_images.extend(unneeded(&revisions, keep));
        }
        old_images.retain(|image| !needed.contains(image));
        self.keep_described(site, &mut old_images).await;
        let images = self.prune_images(site, &old_images, &gone, dry_run).await?;
        if gone.is_empty() && images + names == 0 {
            self.note("nothing to remove");
        }
        Ok(Exit::Done)
    }

    /// Keeps the images of described services: they will be deployed again, and may exist nowhere else.
    async fn keep_described(&self, site: &LiveSite, images: &mut Vec<Image>) {
        // No registry is asked if nothing would be removed anyway.
        if images.is_empty() {
            return;
        }
        for image in self.settings.services.values().filter_map(|it| it.container.image.as_ref()) {
            for (_, engine) in site.engines.all() {
                if let Ok(described) = engine.resolve(image).await {
                    images.retain(|it| it.pinned() != described.pinned());
                }
            }
        }
    }

    async fn prune_containers(
        &self,
        site: &LiveSite,
        names: &BTreeSet<&str>,
        runs: &[&Run],
        keep: usize,
        dry_run: bool,
    ) -> Result<Vec<ContainerId>, Error> {
        let mut gone: Vec<ContainerId> = Vec::new();
        for (_, engine) in site.engines.all() {
            let all = engine.containers().await?;
            for container in names.iter().flat_map(|name| surplus(&kept(&all, name), keep)) {
                let is_left = |it: &&Container| it.id != container.id && !gone.contains(&it.id);
                let volumes = renewed(container, &all.iter().filter(is_left).collect::<Vec<_>>(), runs);
                let with = match volumes.as_slice() {
                    [] => String::new(),
                    volumes => {
                        let targets: Vec<&str> = volumes.iter().map(|it| it.target.as_str()).collect();
                        format!(", with its data at {}, which no other container uses", targets.join(", "))
                    }
                };
                if !dry_run {
                    let goes = |name: &&str| volumes.iter().any(|it| it.name == **name);
                    let stay = container.unnamed_volume_names().filter(|name| !goes(name));
                    engine.remove_with_volumes(&container.id, &stay.map(str::to_owned).collect()).await?;
                }
                self.note(&removed(dry_run, &format!("container {}{with}", container.name)));
                gone.push(container.id.clone());
            }
        }
        Ok(gone)
    }

    /// Removes the tags with which runs have kept images for these servers, if no rollback needs them. Returns the
    /// number removed.
    async fn prune_names(
        &self,
        site: &LiveSite,
        servers: impl Iterator<Item = ServerId>,
        needed: &[Image],
        dry_run: bool,
    ) -> Result<usize, Error> {
        let mut count = 0;
        let all: Vec<String> = servers.map(|server| previous::name(&server)).collect();
        for (_, engine) in site.engines.all() {
            for name in &all {
                let Some((id, digests)) = engine.named(name).await? else { continue };
                if needed.iter().any(|it| it.is_run_by(&id, &digests)) {
                    continue;
                }
                let image = Image::Local { reference: name.clone(), id };
                if digests.is_empty() && engine.only_copy(&image).await?.is_none() {
                    self.note(&format!(
                        "note: keeping the image {name}: it was built or loaded here and has no other tag"
                    ));
                    continue;
                }
                if dry_run || engine.untag(name).await? {
                    self.note(&removed(dry_run, &format!("tag {name} of an image")));
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    /// Removes images, but keeps those that a container uses or that no registry has. Returns the number removed.
    async fn prune_images(
        &self,
        site: &LiveSite,
        images: &[Image],
        gone: &BTreeSet<ContainerId>,
        dry_run: bool,
    ) -> Result<usize, Error> {
        let mut count = 0;
        for (_, engine) in site.engines.all() {
            let mut all = engine.containers().await?;
            all.retain(|container| !gone.contains(&container.id));
            for image in images {
                let is_used = all.iter().any(|it| image.is_run_by(&it.image, &it.repo_digests));
                if is_used || !engine.has(image).await? {
                    continue;
                }
                if let Some(name) = engine.only_copy(image).await? {
                    self.note(&format!("note: keeping the image {name}: it was built or loaded here, and no registry is known to have it"));
                    continue;
                }
                if dry_run || engine.remove_image(image).await? {
                    self.note(&removed(dry_run, &format!("image {image}")));
                    count += 1;
                }
            }
        }
        Ok(count)
    }
}

fn removed(dry_run: bool, what: &str) -> String {
    if dry_run { format!("would remove the {what}") } else { format!("removed the {what}") }
}
