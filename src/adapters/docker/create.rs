//! Creating a candidate: the container that is to take another's place.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::ErrorKind;

use bollard::models::{
    ContainerInspectResponse, EndpointIpamConfig, EndpointSettings, ImageConfig, NetworkConnectRequest,
};
use tokio::io::AsyncReadExt;

use super::call::Purpose;
use super::recreate::beyond::{self, Beyond};
use super::recreate::{ALL_AT_ONCE, ApiVersion, Blueprint};
use super::registry::PODMANS_OWN;
use super::{CALL_LIMIT, DockerEngine, describe, drift, look, recreate};
use crate::command_line::shell;
use crate::foreign;
use crate::ids::{ContainerId, ImageId};
use crate::image::Image;
use crate::observation::{ContainerState, PinnedAddress};
use crate::ports::{Change, ContainerEngine, EngineError, Model, Recipe};
use crate::service::Container;
use crate::service::container::Environment;

/// What every candidate's name holds, [`Recipe::name`]; nothing else is ever removed to make room.
const CANDIDATE_MARK: &str = ".new-";

/// The API from which on a container's platform can be chosen.
const CHOOSES_PLATFORM: ApiVersion = (1, 41);

impl DockerEngine {
    /// Creates the candidate in every network of its model, stopped.
    pub(super) async fn create_candidate(&self, recipe: &Recipe) -> Result<ContainerId, EngineError> {
        let name = recipe.name.as_str();
        let purpose = Purpose { action: "create", subject: name };
        let (mut asked_for, mut volumes_before) = (Vec::new(), BTreeSet::new());
        let mut blueprint = match &recipe.model {
            Model::Like(like) => {
                let old = self.predecessor(like, purpose).await?;
                asked_for = recreate::pins::chosen(&old, &recipe.pinned);
                volumes_before = recreate::volumes::unnamed(&old);
                self.check_namespaces(&old, name).await?;
                self.blueprint(&old, recipe).await?
            }
            Model::Described { wanted, instead_of } => {
                volumes_before.extend(wanted.named_volumes().map(str::to_owned));
                let old = match instead_of {
                    Some(old) => {
                        let old = self.predecessor(old, purpose).await?;
                        asked_for = recreate::pins::chosen(&old, &recipe.pinned);
                        volumes_before.extend(recreate::volumes::unnamed(&old));
                        Some(old)
                    }
                    None => None,
                };
                self.check_networks(wanted, purpose).await?;
                let image = self.find_exactly(&recipe.image).await?.and_then(|image| image.config);
                self.blueprint_described(wanted, recipe, old.as_ref(), &image.unwrap_or_default()).await?
            }
        };
        self.remove_leftover(recipe, &volumes_before).await?;

        let named = self.give_name(&recipe.image).await?;
        if let Some((image_name, _)) = &named {
            blueprint.body.image = Some(image_name.clone());
        } else if let Some(image_name) = self.known_as(&recipe.image).await? {
            blueprint.body.image = Some(image_name);
        }
        let id = self.create_of(&blueprint, recipe, purpose).await?;
        if let Some((image_name, image)) = named
            && self.find("create", &id.0).await?.is_some_and(|it| it.image != Some(image))
        {
            let _ = self.remove_with_volumes(&id, &volumes_before).await;
            return Err(purpose.refused(format!(
                "the name {image_name} belongs to another image by now. Run the command again"
            )));
        }
        if blueprint.beyond != Beyond::default() {
            let refused = match self.beyond(&id.0, purpose).await {
                Ok(new) => lost(&blueprint.beyond.lost_in(&new)).map(|reason| purpose.refused(reason)),
                Err(error) => Some(error),
            };
            if let Some(error) = refused {
                let _ = self.remove_with_volumes(&id, &volumes_before).await;
                return Err(error);
            }
        }
        for (network, endpoint) in blueprint.connect {
            let request = NetworkConnectRequest { container: id.0.clone(), endpoint_config: Some(endpoint) };
            let call = self.client.connect_network(&network, request);
            if let Err(failure) = self.change(purpose, call).await {
                // What is left if this fails too is a leftover of that name, which the next try removes.
                let _ = self.remove_with_volumes(&id, &volumes_before).await;
                return Err(failure.error);
            }
        }
        for address in asked_for {
            if let Err(failure) = self.may_ask_for(&id, address, purpose).await {
                let _ = self.remove_with_volumes(&id, &volumes_before).await;
                return Err(failure);
            }
        }
        Ok(id)
    }

    /// Sends the create call, with what the client's types do not know.
    async fn create_of(
        &self,
        blueprint: &Blueprint,
        recipe: &Recipe,
        purpose: Purpose<'_>,
    ) -> Result<ContainerId, EngineError> {
        let dialect = self.dialect();
        let path = create_path(recipe, dialect.api);
        let call = async {
            let mut body = serde_json::to_value(&blueprint.body)?;
            blueprint.beyond.lay_over(&mut body, dialect);
            self.raw.post(dialect.api, &path, &body).await
        };
        let created = self.change(purpose, call).await?;
        let id = created["Id"].as_str().ok_or_else(|| purpose.refused("the answer has no container id"))?;
        Ok(ContainerId(foreign::name(id)))
    }

    /// What of a container the client's types leave out.
    async fn beyond(&self, container: &str, purpose: Purpose<'_>) -> Result<Beyond, EngineError> {
        let dialect = self.dialect();
        let (api, path) = if dialect.is_podman {
            (PODMANS_OWN, format!("/libpod/containers/{container}/json"))
        } else {
            (beyond::inspected_by(dialect.api), format!("/containers/{container}/json"))
        };
        let call = self.raw.get(api, &path);
        Ok(Beyond::of(&self.within(CALL_LIMIT, purpose, call).await?, dialect))
    }

    /// The name that was asked for, with the identifier of the image, where the engine has that image by that name: other
    /// tools compare names, and would create the container anew for the digest in one. An image whose name no other
    /// has gets it; none is taken from another.
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

    /// The name that was asked for, if the engine has that image by that name.
    pub(super) async fn by_name(&self, image: &Image) -> Result<Option<String>, EngineError> {
        let found = self.identifiers(image).await?;
        Ok(found.filter(|(_, named, id)| named.as_ref() == Some(id)).map(|(name, ..)| name))
    }

    /// The name that was asked for, the identifier of what the engine has by that name, and that of the image itself.
    async fn identifiers(
        &self,
        image: &Image,
    ) -> Result<Option<(String, Option<String>, String)>, EngineError> {
        let Some(name) = image.asked_for() else { return Ok(None) };
        let Some(id) = self.find_exactly(image).await?.and_then(|found| found.id) else { return Ok(None) };
        let named = self.find_image(&name).await?.and_then(|found| found.id);
        Ok(Some((name, named, id)))
    }

    /// Whether the engine gives an address of this network on request: engines before API 1.44 find out at the start
    /// only, and connecting a container once more changes nothing.
    async fn may_ask_for(
        &self,
        id: &ContainerId,
        PinnedAddress { network, address }: &PinnedAddress,
        purpose: Purpose<'_>,
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
                "it must have the address {address} of the container before it, which haproxy.cfg names, and the network {network} gives that to no container on request ({}). Use a network with a subnet (docker network create --subnet), publish the port, or write the container's name in haproxy.cfg",
                failure.error
            ))),
        }
    }

    /// Looks whether the networks are there: the engine itself would find out at the start only.
    async fn check_networks(&self, wanted: &Container, purpose: Purpose<'_>) -> Result<(), EngineError> {
        for name in wanted.networks.0.keys() {
            match self.within(CALL_LIMIT, purpose, self.client.inspect_network(name, None)).await {
                Ok(_) => {}
                Err(failure) if failure.is_absent() => {
                    let reason = format!(
                        "its network {name} is not there: {}",
                        shell(&["docker", "network", "create", name])
                    );
                    return Err(purpose.refused(reason));
                }
                Err(failure) => return Err(failure.error),
            }
        }
        Ok(())
    }

    /// The container whose place the new one takes, or that it is like.
    async fn predecessor(
        &self,
        id: &ContainerId,
        purpose: Purpose<'_>,
    ) -> Result<ContainerInspectResponse, EngineError> {
        let reason = || format!("the container that it is to be like, {}, is gone", id.short());
        self.find(purpose.action, &id.0).await?.ok_or_else(|| purpose.refused(reason()))
    }

    /// The container as it is described, with what goes on of the one whose place it takes.
    async fn blueprint_described(
        &self,
        wanted: &Container,
        recipe: &Recipe,
        old: Option<&ContainerInspectResponse>,
        image: &ImageConfig,
    ) -> Result<Blueprint, EngineError> {
        let environment = environment(wanted, &recipe.name).await?;
        let image_name = recipe.image.pinned();
        let mut blueprint =
            describe::blueprint(wanted, &environment, &image_name, recipe.publish, self.dialect().api);
        if let Some(old) = old {
            let old_image = self.image_of(old).await?;
            describe::succeed(&mut blueprint, old, &old_image, image, recipe.renew_volumes);
            recreate::pins::pin(&mut blueprint, &recipe.pinned);
        }
        Ok(blueprint)
    }

    async fn blueprint(
        &self,
        old: &ContainerInspectResponse,
        recipe: &Recipe,
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
        let purpose = Purpose { action: "create", subject: &recipe.name };
        let beyond = self.beyond(old.id.as_deref().unwrap_or_default(), purpose).await?;
        recreate::blueprint(&old, beyond, old_image.as_ref(), self.dialect(), recipe)
    }

    /// What the new container has otherwise than its predecessor.
    pub(super) async fn changes_by(&self, recipe: &Recipe) -> Result<Option<Vec<Change>>, EngineError> {
        let old = match &recipe.model {
            Model::Like(old) | Model::Described { instead_of: Some(old), .. } => old,
            Model::Described { instead_of: None, .. } => return Ok(None),
        };
        let Some(old) = self.find("inspect", &old.0).await? else { return Ok(None) };
        let image = self.find_exactly(&recipe.image).await?.and_then(|image| image.config);
        let Model::Described { wanted, .. } = &recipe.model else {
            let Some(image) = image else { return Ok(None) };
            let blueprint = self.blueprint(&old, recipe).await?;
            let config = old.config.unwrap_or_default();
            let changes = recreate::changes::changes(&config, &blueprint.body, &image);
            return Ok(Some(changes.into_iter().map(readable).collect()));
        };
        // Until the new image is here, its defaults are taken to be those of the one that runs.
        let image = match (image, &old.image) {
            (None, Some(running)) => self.find_image(running).await?.and_then(|image| image.config),
            (image, _) => image,
        };
        let image = image.unwrap_or_default();
        let platform = self.other_platform(&old, recipe.platform.as_ref()).await?;
        let blueprint = self.blueprint_described(wanted, recipe, Some(&old), &image).await?;
        let purpose = Purpose { action: "ask for", subject: "its settings" };
        let info = self.within(CALL_LIMIT, purpose, self.client.info()).await?;
        let drift = drift::drift(&old, &blueprint, &image, &info.into());
        Ok(Some(drift.into_iter().chain(platform).map(readable).collect()))
    }

    /// Makes room for a candidate: what an earlier, interrupted try left under its name goes away, with the volumes that came
    /// into being with it. Those that were there before are named.
    async fn remove_leftover(&self, recipe: &Recipe, volumes: &BTreeSet<String>) -> Result<(), EngineError> {
        let Some(leftover) = self.find("create", &recipe.name).await? else { return Ok(()) };
        let purpose = Purpose { action: "create", subject: &recipe.name };
        let id = ContainerId(leftover.id.clone().unwrap_or_default());
        let is_idle = matches!(look::state(&leftover), ContainerState::Created | ContainerState::Stopped);
        let is_model = recipe.model == Model::Like(id.clone());
        if !recipe.name.contains(CANDIDATE_MARK) || is_model || look::name(&leftover) != recipe.name {
            return Err(purpose.refused("a container has that name already"));
        }
        if !is_idle {
            return Err(
                purpose.refused("an earlier try left a container of that name, and it runs; stop it first")
            );
        }
        self.remove_with_volumes(&id, volumes).await
    }

    /// Looks whether the containers whose namespaces are to be shared still run: the engine would find out at the start
    /// only, when the old container is down.
    async fn check_namespaces(&self, old: &ContainerInspectResponse, name: &str) -> Result<(), EngineError> {
        for (what, owner) in recreate::namespace_owners(old) {
            let found = self.find("create", &owner).await?;
            let owner = owner.get(..12).unwrap_or(&owner);
            let wrong = match found.map(|found| look::state(&found)) {
                Some(ContainerState::Running) => continue,
                Some(_) => "does not run; start that one first",
                None => "is gone; create it again with one that exists",
            };
            return Err(Purpose { action: "create", subject: name }.refused(format!(
                "the container that it is to be like uses the {what} of container {owner}, which {wrong}"
            )));
        }
        Ok(())
    }
}

/// Why a container is not kept that lacks these settings of its model.
fn lost(settings: &[String]) -> Option<String> {
    (!settings.is_empty()).then(|| {
        format!(
            "the engine dropped {} of the container that it is to be like. Recreate that one without it, or use a newer \
             drainswap",
            settings.join(", ")
        )
    })
}

/// The path of a create call, with what is asked for in the query.
fn create_path(recipe: &Recipe, api: ApiVersion) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("name", &recipe.name);
    // An older engine takes the image that it has, which was looked at when it was pulled.
    if let Some(platform) = recipe.platform.as_ref().filter(|_| api >= CHOOSES_PLATFORM) {
        query.append_pair("platform", &platform.to_string());
    }
    format!("/containers/create?{}", query.finish())
}

/// The same with its texts cleaned: names and values of containers and images may hold anything.
fn readable(change: Change) -> Change {
    let line = |text: Cow<'static, str>| Cow::Owned(foreign::line(&text));
    let text = |text: String| foreign::line(&text);
    match change {
        Change::Value { field, from, to } => {
            Change::Value { field: line(field), from: text(from), to: text(to) }
        }
        Change::Hidden { field } => Change::Hidden { field: line(field) },
        Change::Added { field, name } => Change::Added { field: line(field), name: text(name) },
        Change::Gone { field, name } => Change::Gone { field: line(field), name: text(name) },
        Change::Changed { field, name } => Change::Changed { field: line(field), name: text(name) },
    }
}

/// The whole environment of a description: what its files say, under what stands in itself.
async fn environment(wanted: &Container, container: &str) -> Result<Environment, EngineError> {
    /// No file of variables that a person wrote is longer.
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
