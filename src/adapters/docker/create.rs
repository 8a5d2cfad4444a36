//! Creates a candidate: the container that takes the place of another one.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::ErrorKind;

use bollard::models::{
    ContainerInspectResponse, EndpointIpamConfig, EndpointSettings, ImageConfig, NetworkConnectRequest,
};
use tokio::io::AsyncReadExt;

use super::call::CallContext;
use super::recreate::raw_settings::{self, RawSettings};
use super::recreate::{ALL_AT_ONCE, ApiVersion, Blueprint};
use super::registry::PODMANS_OWN;
use super::{CALL_LIMIT, DockerEngine, describe, drift, inspect, recreate};
use crate::model::command_line::shell;
use crate::model::ids::{ContainerId, ImageId};
use crate::model::image::Image;
use crate::model::sanitize;
use crate::observation::ContainerChange;
use crate::observation::{ContainerState, PinnedAddress};
use crate::ports::{ContainerEngine, EngineError};
use crate::service::Container;
use crate::service::container::Environment;
use crate::service::create_spec::{CreateSpec, SpecSource};

/// A part of every candidate's name, [`CreateSpec::name`]. No container without it is ever removed to make room.
const CANDIDATE_MARK: &str = ".new-";

/// The first API version in which a container's platform can be chosen.
const CHOOSES_PLATFORM: ApiVersion = (1, 41);

/// What a candidate is created from.
struct Outline<'a> {
    blueprint: Blueprint,
    /// The addresses of its predecessor, which it must get.
    asked_for: Vec<&'a PinnedAddress>,
    /// The volumes that existed before, and stay if the candidate is removed.
    volumes_before: BTreeSet<String>,
}

impl DockerEngine {
    /// Creates the candidate in every network of its model, without starting it.
    pub(super) async fn create_candidate(&self, recipe: &CreateSpec) -> Result<ContainerId, EngineError> {
        let purpose = CallContext { action: "create", subject: recipe.name.as_str() };
        let mut outline = self.outline(recipe, purpose).await?;
        self.remove_leftover(recipe, &outline.volumes_before).await?;

        let named = self.give_name(&recipe.image).await?;
        if let Some((image_name, _)) = &named {
            outline.blueprint.body.image = Some(image_name.clone());
        } else if let Some(image_name) = self.local_name(&recipe.image).await? {
            outline.blueprint.body.image = Some(image_name);
        }
        let id = self.create_of(&outline.blueprint, recipe, purpose).await?;
        if let Err(error) = self.complete(&id, &outline, named, purpose).await {
            // If this fails too, the next attempt removes the leftover container of that name.
            let _ = self.remove_with_volumes(&id, &outline.volumes_before).await;
            return Err(error);
        }
        Ok(id)
    }

    /// Returns what the candidate is created from, after checking the networks and namespaces that it needs.
    async fn outline<'a>(
        &self,
        recipe: &'a CreateSpec,
        purpose: CallContext<'_>,
    ) -> Result<Outline<'a>, EngineError> {
        match &recipe.model {
            SpecSource::CopyOf(like) => {
                let old = self.predecessor(like, purpose).await?;
                self.check_namespaces(&old, &recipe.name).await?;
                Ok(Outline {
                    asked_for: asked_for(Some(&old), recipe),
                    volumes_before: recreate::volumes::unnamed(&old),
                    blueprint: self.blueprint(&old, recipe).await?,
                })
            }
            SpecSource::Described { wanted, instead_of } => {
                let old = match instead_of {
                    Some(old) => Some(self.predecessor(old, purpose).await?),
                    None => None,
                };
                self.check_networks(wanted, purpose).await?;
                let image = self.find_exactly(&recipe.image).await?.and_then(|image| image.config);
                let image = image.unwrap_or_default();
                let named = wanted.named_volumes().map(str::to_owned);
                Ok(Outline {
                    asked_for: asked_for(old.as_ref(), recipe),
                    volumes_before: named.chain(old.iter().flat_map(recreate::volumes::unnamed)).collect(),
                    blueprint: self.blueprint_described(wanted, recipe, old.as_ref(), &image).await?,
                })
            }
        }
    }

    /// Checks that the engine created what was requested, connects the container to the other networks, and checks
    /// that it can get its addresses. `named` is the name of its image and the image's identifier.
    async fn complete(
        &self,
        id: &ContainerId,
        outline: &Outline<'_>,
        named: Option<(String, String)>,
        purpose: CallContext<'_>,
    ) -> Result<(), EngineError> {
        if let Some((image_name, image)) = named
            && self.find("create", &id.0).await?.is_some_and(|it| it.image != Some(image))
        {
            return Err(purpose.refused(format!(
                "the name {image_name} now belongs to another image. Run the command again"
            )));
        }
        if outline.blueprint.raw != RawSettings::default() {
            let new = self.raw_settings(&id.0, purpose).await?;
            if let Some(reason) = lost_settings_reason(&outline.blueprint.raw.missing_from(&new)) {
                return Err(purpose.refused(reason));
            }
        }
        for (network, endpoint) in &outline.blueprint.connect {
            let endpoint_config = Some(endpoint.clone());
            let request = NetworkConnectRequest { container: id.0.clone(), endpoint_config };
            self.change(purpose, self.client.connect_network(network, request)).await?;
        }
        for address in &outline.asked_for {
            self.may_ask_for(id, address, purpose).await?;
        }
        Ok(())
    }

    /// Sends the create call, including the settings that the client's types do not have.
    async fn create_of(
        &self,
        blueprint: &Blueprint,
        recipe: &CreateSpec,
        purpose: CallContext<'_>,
    ) -> Result<ContainerId, EngineError> {
        let dialect = self.dialect();
        let path = create_path(recipe, dialect.api);
        let call = async {
            let mut body = serde_json::to_value(&blueprint.body)?;
            blueprint.raw.apply_to(&mut body, dialect);
            self.raw.post(dialect.api, &path, &body).await
        };
        let created = self.change(purpose, call).await?;
        let id = created["Id"].as_str().ok_or_else(|| purpose.refused("the answer has no container id"))?;
        Ok(ContainerId(sanitize::name(id)))
    }

    /// Returns the parts of a container that the client's types omit.
    async fn raw_settings(
        &self,
        container: &str,
        purpose: CallContext<'_>,
    ) -> Result<RawSettings, EngineError> {
        let dialect = self.dialect();
        let (api, path) = if dialect.is_podman {
            (PODMANS_OWN, format!("/libpod/containers/{container}/json"))
        } else {
            (raw_settings::inspected_by(dialect.api), format!("/containers/{container}/json"))
        };
        let call = self.raw.get(api, &path);
        Ok(RawSettings::of(&self.within(CALL_LIMIT, purpose, call).await?, dialect))
    }

    /// Returns the requested name and the identifier of the image, if the engine has the image under that name. Other
    /// tools compare names, and would recreate a container that was created by digest. A name that no image has is
    /// given to this image; a name is never taken from another image.
    async fn give_name(&self, image: &Image) -> Result<Option<(String, String)>, EngineError> {
        let Some((name, named, id)) = self.identifiers(image).await? else { return Ok(None) };
        let has_name = match named {
            Some(named) => named == id,
            None => match self.tag(&ImageId(id.clone()), &name).await {
                Ok(()) => true,
                Err(error) => {
                    tracing::debug!("{error}: the container is created by the image's digest");
                    false
                }
            },
        };
        Ok(has_name.then_some((name, id)))
    }

    /// Returns the requested name if the engine has the image under that name.
    pub(super) async fn by_name(&self, image: &Image) -> Result<Option<String>, EngineError> {
        let found = self.identifiers(image).await?;
        Ok(found.filter(|(_, named, id)| named.as_ref() == Some(id)).map(|(name, ..)| name))
    }

    /// Returns the requested name, the identifier of the engine's image of that name, and that of the image itself.
    async fn identifiers(
        &self,
        image: &Image,
    ) -> Result<Option<(String, Option<String>, String)>, EngineError> {
        let Some(name) = image.asked_for() else { return Ok(None) };
        let Some(id) = self.find_exactly(image).await?.and_then(|found| found.id) else { return Ok(None) };
        let named = self.find_image(&name).await?.and_then(|found| found.id);
        Ok(Some((name, named, id)))
    }

    /// Checks that the engine assigns this address of the network on request. Engines before API 1.44 detect a
    /// refusal only at the start, and connecting a container once more changes nothing.
    async fn may_ask_for(
        &self,
        id: &ContainerId,
        PinnedAddress { network, address }: &PinnedAddress,
        purpose: CallContext<'_>,
    ) -> Result<(), EngineError> {
        if self.dialect().api >= ALL_AT_ONCE || self.dialect().is_podman {
            return Ok(());
        }
        let (v4, v6) = if address.is_ipv4() {
            (Some(address.to_string()), None)
        } else {
            (None, Some(address.to_string()))
        };
        let ipam = EndpointIpamConfig { ipv4_address: v4, ipv6_address: v6, link_local_ips: None };
        let endpoint = EndpointSettings { ipam_config: Some(ipam), ..EndpointSettings::default() };
        let request = NetworkConnectRequest { container: id.0.clone(), endpoint_config: Some(endpoint) };
        let call = self.client.connect_network(network, request);
        match self.change(purpose, call).await {
            Ok(()) => Ok(()),
            Err(failure) if failure.status.is_none() => Err(failure.error),
            Err(failure) => Err(purpose.refused(format!(
                "it must keep the address {address} of its predecessor, which haproxy.cfg names, but the network {network} does not assign addresses on request ({}). Use a network with a subnet (docker network create --subnet), publish the port, or use the container's name in haproxy.cfg",
                failure.error
            ))),
        }
    }

    /// Checks that the networks exist: the engine itself detects a missing one only at the start.
    async fn check_networks(&self, wanted: &Container, purpose: CallContext<'_>) -> Result<(), EngineError> {
        for name in wanted.networks.0.keys() {
            match self.within(CALL_LIMIT, purpose, self.client.inspect_network(name, None)).await {
                Ok(_) => {}
                Err(failure) if failure.is_absent() => {
                    let reason = format!(
                        "its network {name} does not exist; create it with `{}`",
                        shell(&["docker", "network", "create", name])
                    );
                    return Err(purpose.refused(reason));
                }
                Err(failure) => return Err(failure.error),
            }
        }
        Ok(())
    }

    /// Returns the container that the new one replaces or copies.
    async fn predecessor(
        &self,
        id: &ContainerId,
        purpose: CallContext<'_>,
    ) -> Result<ContainerInspectResponse, EngineError> {
        let reason = || format!("the container {} that it copies or replaces no longer exists", id.short());
        self.find(purpose.action, &id.0).await?.ok_or_else(|| purpose.refused(reason()))
    }

    /// Computes the described container, with what it inherits from the container that it replaces.
    async fn blueprint_described(
        &self,
        wanted: &Container,
        recipe: &CreateSpec,
        old: Option<&ContainerInspectResponse>,
        image: &ImageConfig,
    ) -> Result<Blueprint, EngineError> {
        let environment = environment(wanted, &recipe.name).await?;
        let image_name = recipe.image.pinned();
        let mut blueprint =
            describe::blueprint(wanted, &environment, &image_name, recipe.publish, self.dialect().api);
        if let Some(beside) = &recipe.beside {
            recreate::beside::separate(&mut blueprint, beside);
        } else if let Some(old) = old {
            let old_image = self.image_of(old).await?;
            describe::succeed(&mut blueprint, old, &old_image, image, recipe.renew_volumes);
            recreate::pins::pin(&mut blueprint, &recipe.pinned);
        }
        Ok(blueprint)
    }

    async fn blueprint(
        &self,
        old: &ContainerInspectResponse,
        recipe: &CreateSpec,
    ) -> Result<Blueprint, EngineError> {
        let old_image = match &old.image {
            Some(image) => self.find_image(image).await?,
            None => None,
        };
        let mut gone = Vec::new();
        for lender in recreate::volumes::lenders(old) {
            if self.find("create", &lender).await?.is_none() {
                gone.push(lender);
            }
        }
        let old = recreate::volumes::without_lenders(old, &gone);
        let purpose = CallContext { action: "create", subject: &recipe.name };
        let raw = self.raw_settings(old.id.as_deref().unwrap_or_default(), purpose).await?;
        recreate::blueprint(&old, raw, old_image.as_ref(), self.dialect(), recipe)
    }

    /// Returns the differences between the new container and its predecessor.
    pub(super) async fn changes_by(
        &self,
        recipe: &CreateSpec,
    ) -> Result<Option<Vec<ContainerChange>>, EngineError> {
        let old = match &recipe.model {
            SpecSource::CopyOf(old) | SpecSource::Described { instead_of: Some(old), .. } => old,
            SpecSource::Described { instead_of: None, .. } => return Ok(None),
        };
        let Some(old) = self.find("inspect", &old.0).await? else { return Ok(None) };
        let image = self.find_exactly(&recipe.image).await?.and_then(|image| image.config);
        let SpecSource::Described { wanted, .. } = &recipe.model else {
            let Some(image) = image else { return Ok(None) };
            let blueprint = self.blueprint(&old, recipe).await?;
            let (config, image) = recreate::comparable(&old, image, self.is_podman);
            let changes = recreate::changes::changes(&config, &blueprint.body, &image);
            return Ok(Some(changes.into_iter().map(readable).collect()));
        };
        // Until the engine has the new image, its defaults are assumed to be those of the running one.
        let image = match (image, &old.image) {
            (None, Some(running)) => self.find_image(running).await?.and_then(|image| image.config),
            (image, _) => image,
        };
        let image = image.unwrap_or_default();
        let platform = self.other_platform(&old, recipe.platform.as_ref()).await?;
        let blueprint = self.blueprint_described(wanted, recipe, Some(&old), &image).await?;
        let purpose = CallContext { action: "report", subject: "its settings" };
        let info = self.within(CALL_LIMIT, purpose, self.client.info()).await?;
        let (config, image) = recreate::comparable(&old, image, self.is_podman);
        let old = ContainerInspectResponse { config: Some(config), ..old };
        let drift = drift::drift(&old, &blueprint, &image, &info.into());
        Ok(Some(drift.into_iter().chain(platform).map(readable).collect()))
    }

    /// Makes room for a candidate: removes the container that an earlier, interrupted attempt left under its name,
    /// and the volumes created for it. `volumes` names those that existed before.
    async fn remove_leftover(
        &self,
        recipe: &CreateSpec,
        volumes: &BTreeSet<String>,
    ) -> Result<(), EngineError> {
        let Some(leftover) = self.find("create", &recipe.name).await? else { return Ok(()) };
        let purpose = CallContext { action: "create", subject: &recipe.name };
        let id = ContainerId(leftover.id.clone().unwrap_or_default());
        let is_idle = matches!(inspect::state(&leftover), ContainerState::Created | ContainerState::Stopped);
        let is_model = recipe.model == SpecSource::CopyOf(id.clone());
        if !recipe.name.contains(CANDIDATE_MARK) || is_model || inspect::name(&leftover) != recipe.name {
            return Err(purpose.refused("a container of that name already exists"));
        }
        if !is_idle {
            return Err(
                purpose.refused("an earlier attempt left a running container of that name; stop it first")
            );
        }
        self.remove_with_volumes(&id, volumes).await
    }

    /// Checks that the containers whose namespaces are to be shared still run: the engine detects this only at the
    /// start, when the old container is down.
    async fn check_namespaces(&self, old: &ContainerInspectResponse, name: &str) -> Result<(), EngineError> {
        for (what, owner) in recreate::namespace_owners(old) {
            let found = self.find("create", &owner).await?;
            let owner = owner.get(..12).unwrap_or(&owner);
            let wrong = match found.map(|found| inspect::state(&found)) {
                Some(ContainerState::Running) => continue,
                Some(_) => "is not running; start that container first",
                None => "no longer exists; recreate the copied container with one that does",
            };
            return Err(CallContext { action: "create", subject: name }.refused(format!(
                "the container that it copies uses the {what} of container {owner}, which {wrong}"
            )));
        }
        Ok(())
    }
}

/// Returns the addresses that the engine chose for the old container and that the new one must get: none if both run at
/// the same time.
fn asked_for<'a>(old: Option<&ContainerInspectResponse>, recipe: &'a CreateSpec) -> Vec<&'a PinnedAddress> {
    let old = old.filter(|_| recipe.beside.is_none());
    old.map(|old| recreate::pins::chosen(old, &recipe.pinned)).unwrap_or_default()
}

/// Returns the reason to reject a container that lacks these settings of its model.
fn lost_settings_reason(settings: &[String]) -> Option<String> {
    (!settings.is_empty()).then(|| {
        format!(
            "the engine dropped {} of the container that it copies. Recreate that container without it, or use a newer \
             drainswap",
            settings.join(", ")
        )
    })
}

/// Returns the path of a create call, including its query.
fn create_path(recipe: &CreateSpec, api: ApiVersion) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("name", &recipe.name);
    // An older engine uses the image that it has, whose platform was checked at the pull.
    if let Some(platform) = recipe.platform.as_ref().filter(|_| api >= CHOOSES_PLATFORM) {
        query.append_pair("platform", &platform.to_string());
    }
    format!("/containers/create?{}", query.finish())
}

/// Returns the change with its texts cleaned: names and values of containers and images may hold anything.
fn readable(change: ContainerChange) -> ContainerChange {
    let line = |text: Cow<'static, str>| Cow::Owned(sanitize::line(&text));
    let text = |text: String| sanitize::line(&text);
    match change {
        ContainerChange::Value { field, from, to } => {
            ContainerChange::Value { field: line(field), from: text(from), to: text(to) }
        }
        ContainerChange::Hidden { field } => ContainerChange::Hidden { field: line(field) },
        ContainerChange::Added { field, name } => {
            ContainerChange::Added { field: line(field), name: text(name) }
        }
        ContainerChange::Gone { field, name } => {
            ContainerChange::Gone { field: line(field), name: text(name) }
        }
        ContainerChange::Changed { field, name } => {
            ContainerChange::Changed { field: line(field), name: text(name) }
        }
    }
}

/// Returns the complete environment of a description. Its own entries take precedence over those of its files.
async fn environment(wanted: &Container, container: &str) -> Result<Environment, EngineError> {
    /// The limit in bytes, larger than any file of variables written by hand.
    const MOST_BYTES: u64 = 1 << 20;

    let mut all = Environment::default();
    for file in &wanted.env_file.0 {
        let refused = |reason: String| EngineError::BadDescription {
            container: container.to_owned(),
            reason: format!("its env_file {}: {reason}", file.path.display()),
        };
        let mut text = String::new();
        let read = async {
            let opened = tokio::fs::File::open(&file.path).await?;
            opened.take(MOST_BYTES + 1).read_to_string(&mut text).await
        };
        match read.await {
            Ok(_) if text.len() as u64 > MOST_BYTES => {
                return Err(refused(format!("it is longer than {MOST_BYTES} bytes")));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound && !file.required => continue,
            Err(error) => return Err(refused(error.to_string())),
        }
        all = all.under(&Environment::of_file(&text, file.variables.as_deref()).map_err(refused)?);
    }
    Ok(all.under(&wanted.environment))
}
