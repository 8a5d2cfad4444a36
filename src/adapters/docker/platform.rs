//! Checks whether an image is built for the engine's platform.

use bollard::auth::DockerCredentials;
use bollard::models::{ContainerInspectResponse, ImageInspect, OciPlatform};
use serde_json::json;

use super::call::CallContext;
use super::recreate::ApiVersion;
use super::registry::{REGISTRY_LIMIT, is_by_digest};
use super::{CALL_LIMIT, DockerEngine};
use crate::model::image::{Image, Platform};
use crate::observation::ContainerChange;
use crate::ports::EngineError;

/// The first API version in which an engine can show an image for a requested platform.
const SHOWS_PLATFORM: ApiVersion = (1, 49);

/// The platform that an image must be built for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestedPlatform {
    pub platform: Platform,
    /// Whether the description requests it. Otherwise it is the platform of the engine's host.
    pub is_asked_for: bool,
}

impl DockerEngine {
    /// Returns the requested platform, or else the platform of the engine's host.
    pub(super) async fn wanted_platform(
        &self,
        asked: Option<&Platform>,
    ) -> Result<RequestedPlatform, EngineError> {
        if let Some(platform) = asked {
            return Ok(RequestedPlatform { platform: platform.clone(), is_asked_for: true });
        }
        let purpose = CallContext { action: "report", subject: "its platform" };
        let version = self.within(CALL_LIMIT, purpose, self.client.version()).await?;
        let platform = Platform::of_parts(version.os.as_deref(), version.arch.as_deref(), None);
        let platform = platform.ok_or_else(|| purpose.refused("its version information names none"))?;
        Ok(RequestedPlatform { platform, is_asked_for: false })
    }

    /// Returns the engine's image for the requested platform. With containerd's store, an engine may have an image
    /// for several platforms, and shows its own platform unless another one is requested. `None` if the engine does
    /// not have the requested platform or cannot show it.
    pub(super) async fn find_for(
        &self,
        image: &Image,
        wanted: &RequestedPlatform,
    ) -> Result<Option<ImageInspect>, EngineError> {
        let Some(found) = self.find_exactly(image).await? else { return Ok(None) };
        let shows_one = !matches!(image, Image::Registry { digest, .. } if is_by_digest(&found, digest));
        if !wanted.is_asked_for || shows_one {
            return Ok(Some(found));
        }
        let api = self.dialect().api;
        if api < SHOWS_PLATFORM {
            let is_it = of_image(&found).is_some_and(|it| it.suits(&wanted.platform));
            return Ok(is_it.then_some(found));
        }
        let id = found.id.unwrap_or_default();
        let path = format!("/images/{id}/json?{}", query(&wanted.platform));
        let purpose = CallContext { action: "inspect", subject: &id };
        let call = async {
            let found = self.raw.get(api, &path).await?;
            Ok(serde_json::from_value(found)?)
        };
        match self.within(CALL_LIMIT, purpose, call).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_absent() => Ok(None),
            Err(failure) => Err(failure.error),
        }
    }

    /// Returns whether the engine has an image but does not show its platforms.
    pub(super) async fn hides_platform(&self, image: &Image) -> Result<bool, EngineError> {
        Ok(self.dialect().api < SHOWS_PLATFORM && self.find_exactly(image).await?.is_some())
    }

    /// Returns the change of platform, if a container's image is not built for the requested platform.
    pub(super) async fn other_platform(
        &self,
        old: &ContainerInspectResponse,
        asked: Option<&Platform>,
    ) -> Result<Option<ContainerChange>, EngineError> {
        let (Some(image), Some(asked)) = (&old.image, asked) else { return Ok(None) };
        let own =
            old.image_manifest_descriptor.as_ref().and_then(|image| parse_platform(image.platform.as_ref()?));
        let made_for = match own {
            Some(platform) => Some(platform),
            None => self.find_image(image).await?.and_then(|image| of_image(&image)),
        };
        Ok(made_for.filter(|it| !it.suits(asked)).map(|it| ContainerChange::Value {
            field: "Platform".into(),
            from: it.to_string(),
            to: asked.to_string(),
        }))
    }

    /// Checks that an image of the engine is built for the wanted platform. An image without this information is
    /// accepted.
    pub(super) fn check_platform(
        &self,
        name: &str,
        image: &ImageInspect,
        wanted: &RequestedPlatform,
    ) -> Result<(), EngineError> {
        self.check(name, of_image(image).into_iter().collect(), wanted)
    }

    /// Checks that the registry has the image for the wanted platform, before anything is downloaded. A registry
    /// without this information is accepted: the pull decides.
    pub(super) async fn check_offer(
        &self,
        name: &str,
        credentials: Option<DockerCredentials>,
        wanted: &RequestedPlatform,
    ) -> Result<(), EngineError> {
        let purpose = CallContext { action: "resolve", subject: name };
        let call = self.client.inspect_registry_image(name, credentials);
        let Ok(answer) = self.within(REGISTRY_LIMIT, purpose, call).await else { return Ok(()) };
        self.check(name, answer.platforms.iter().filter_map(parse_platform).collect(), wanted)
    }

    fn check(
        &self,
        name: &str,
        made_for: Vec<Platform>,
        wanted: &RequestedPlatform,
    ) -> Result<(), EngineError> {
        if made_for.is_empty() || made_for.iter().any(|it| it.suits(&wanted.platform)) {
            return Ok(());
        }
        Err(EngineError::OtherPlatform {
            image: name.to_owned(),
            made_for,
            endpoint: self.endpoint.to_string(),
            wanted: wanted.platform.clone(),
            is_asked_for: wanted.is_asked_for,
        })
    }
}

/// Returns the query for an image that is built for a platform.
fn query(Platform { os, architecture, variant }: &Platform) -> String {
    let platform = json!({ "os": os, "architecture": architecture, "variant": variant });
    form_urlencoded::Serializer::new(String::new()).append_pair("platform", &platform.to_string()).finish()
}

fn of_image(image: &ImageInspect) -> Option<Platform> {
    Platform::of_parts(image.os.as_deref(), image.architecture.as_deref(), image.variant.as_deref())
}

fn parse_platform(platform: &OciPlatform) -> Option<Platform> {
    Platform::of_parts(platform.os.as_deref(), platform.architecture.as_deref(), platform.variant.as_deref())
}
