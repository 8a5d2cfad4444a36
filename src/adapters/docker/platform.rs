//! Whether an image is made for what the engine runs.

use bollard::auth::DockerCredentials;
use bollard::models::{ImageInspect, OciPlatform};

use super::call::Purpose;
use super::registry::REGISTRY_LIMIT;
use super::{CALL_LIMIT, DockerEngine};
use crate::image::Platform;
use crate::ports::{Change, EngineError};

/// What an image has to be made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub platform: Platform,
    /// Whether the description asks for it. Otherwise it is what the engine's host is.
    pub is_asked_for: bool,
}

impl DockerEngine {
    /// What was asked for, or else what the engine's host is.
    pub(super) async fn wanted_platform(&self, asked: Option<&Platform>) -> Result<Wanted, EngineError> {
        if let Some(platform) = asked {
            return Ok(Wanted { platform: platform.clone(), is_asked_for: true });
        }
        let purpose = Purpose { action: "tell", subject: "its platform" };
        let version = self.within(CALL_LIMIT, purpose, self.client.version()).await?;
        let platform = Platform::told(version.os.as_deref(), version.arch.as_deref(), None);
        let platform = platform.ok_or_else(|| purpose.refused("its version names none"))?;
        Ok(Wanted { platform, is_asked_for: false })
    }

    /// What a container has otherwise by the platform that is asked for, if its image is made for another.
    pub(super) async fn other_platform(
        &self,
        image: Option<&str>,
        asked: Option<&Platform>,
    ) -> Result<Option<Change>, EngineError> {
        let (Some(image), Some(asked)) = (image, asked) else { return Ok(None) };
        let made_for = self.find_image(image).await?.and_then(|image| of_image(&image));
        Ok(made_for.filter(|it| !it.suits(asked)).map(|it| Change::Value {
            field: "Platform".into(),
            from: it.to_string(),
            to: asked.to_string(),
        }))
    }

    /// Looks whether an image that the engine has is made for what is wanted. One that does not say is believed.
    pub(super) fn check_platform(
        &self,
        name: &str,
        image: &ImageInspect,
        wanted: &Wanted,
    ) -> Result<(), EngineError> {
        self.check(name, of_image(image).into_iter().collect(), wanted)
    }

    /// Looks whether the registry has the image for what is wanted, before anything is downloaded. A registry that
    /// does not say is believed: the pull has the last word.
    pub(super) async fn check_offer(
        &self,
        name: &str,
        credentials: Option<DockerCredentials>,
        wanted: &Wanted,
    ) -> Result<(), EngineError> {
        let purpose = Purpose { action: "resolve", subject: name };
        let call = self.client.inspect_registry_image(name, credentials);
        let Ok(answer) = self.within(REGISTRY_LIMIT, purpose, call).await else { return Ok(()) };
        self.check(name, answer.platforms.iter().filter_map(told).collect(), wanted)
    }

    fn check(&self, name: &str, made_for: Vec<Platform>, wanted: &Wanted) -> Result<(), EngineError> {
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

fn of_image(image: &ImageInspect) -> Option<Platform> {
    Platform::told(image.os.as_deref(), image.architecture.as_deref(), image.variant.as_deref())
}

fn told(platform: &OciPlatform) -> Option<Platform> {
    Platform::told(platform.os.as_deref(), platform.architecture.as_deref(), platform.variant.as_deref())
}
