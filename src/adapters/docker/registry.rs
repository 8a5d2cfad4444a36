//! Resolves image references and pulls images. The engine talks to the registry, so its mirrors, proxies and
//! certificates apply. The login comes from drainswap.toml, or from Docker's own configuration.

use std::time::Duration;

use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

use super::call::{CallContext, CallFailure};
use super::credentials::{self, Login, LoginOrigin};
use super::layers::Layers;
use super::platform::RequestedPlatform;
use super::recreate::ApiVersion;
use super::{CALL_LIMIT, DockerEngine, Endpoint};
use crate::model::command_line::shell;
use crate::model::ids::ImageId;
use crate::model::image::{Image, ImageReference, Platform, is_digest, previous};
use crate::model::sanitize;
use crate::ports::{EngineError, PullProgress};

/// The time limit for the registry to return a digest; the engine waits for it during the call.
pub(super) const REGISTRY_LIMIT: Duration = Duration::from_secs(60);
/// The oldest version of Podman's own API, accepted by every Podman that has this API.
pub(super) const PODMANS_OWN: ApiVersion = (4, 0);
/// How long a pull may make no progress. Its total time has no limit.
const STALL_LIMIT: Duration = Duration::from_secs(120);

/// The origin of an image.
#[derive(Debug)]
pub(super) enum ImageOrigin {
    /// A registry has it.
    Registry,
    /// It was built or loaded on this engine.
    Local(ImageId),
    /// The engine does not show it, and the registry cannot be queried: the image by its digest.
    Unknown(String),
}

impl DockerEngine {
    /// Returns the image with the registry's digest, or else an image that was never in a registry.
    pub(super) async fn resolve_reference(&self, reference: &ImageReference) -> Result<Image, EngineError> {
        if let Some(digest) = &reference.digest {
            return Ok(Image::Registry { reference: reference.clone(), digest: digest.clone() });
        }
        let name = reference.to_string();
        let Login { credentials, origin } = self.login(reference).await?;
        let call = self.client.inspect_registry_image(&name, credentials);
        let failure = match self
            .within(REGISTRY_LIMIT, CallContext { action: "resolve", subject: &name }, call)
            .await
        {
            Ok(answer) => {
                return match answer.descriptor.digest.filter(|digest| is_digest(digest)) {
                    Some(digest) => Ok(Image::Registry { reference: reference.clone(), digest }),
                    None => Err(EngineError::Registry {
                        image: name,
                        reason: "its answer names no digest".to_owned(),
                    }),
                };
            }
            Err(failure) => failure,
        };
        if matches!(failure.error, EngineError::Unreachable { .. }) {
            return Err(failure.error);
        }
        if self.is_podman && failure.is_absent() {
            return self.resolve_with_podman(reference, name).await;
        }
        let here = match self.find_image(&name).await? {
            Some(found) => Box::pin(self.origin(&found, Some(reference))).await?,
            None => ImageOrigin::Registry,
        };
        match here {
            ImageOrigin::Local(id) => Ok(Image::Local { reference: name, id }),
            ImageOrigin::Registry if failure.is_absent() => {
                Err(EngineError::NoSuchImage { image: name, reason: engine_message(&failure.error) })
            }
            ImageOrigin::Registry => Err(registry_error(name, &failure.error, &origin)),
            ImageOrigin::Unknown(digest) => {
                let mut error = registry_error(name, &failure.error, &origin);
                if let EngineError::Registry { reason, .. } = &mut error {
                    *reason = format!(
                        "{reason}; to use the image of that name that this engine has, give --image {digest}"
                    );
                }
                Err(error)
            }
        }
    }

    /// Returns the login for an image's registry, if it may be sent to this engine.
    async fn login(&self, reference: &ImageReference) -> Result<Login, EngineError> {
        let login = credentials::login(reference.registry(), &self.registries).await?;
        if self.allow_plain_password {
            Ok(login)
        } else {
            unless_unencrypted(login, reference, &self.endpoint)
        }
    }

    /// Resolves a reference on Podman, which does not query registries for tags. Images named `localhost/…` were
    /// never in a registry.
    async fn resolve_with_podman(
        &self,
        reference: &ImageReference,
        name: String,
    ) -> Result<Image, EngineError> {
        let found = self.find_image(&name).await?.and_then(|image| image.id);
        if let Some(id) = found.filter(|_| matches!(reference.registry(), None | Some("localhost"))) {
            return Ok(Image::Local { reference: name, id: ImageId(sanitize::name(&id)) });
        }
        let reason =
            "Podman does not resolve tags in a registry; name the image by its digest, as `skopeo inspect` \
                      shows it: NAME@sha256:…"
                .to_owned();
        Err(EngineError::NoSuchImage { image: name, reason })
    }

    /// Returns the origin of an image, within one repository or within any. With containerd's image store, an image
    /// that was built here also has a digest in each repository of its names. In that case the registry is queried
    /// for the digest.
    pub(super) async fn origin(
        &self,
        image: &ImageInspect,
        of: Option<&ImageReference>,
    ) -> Result<ImageOrigin, EngineError> {
        let id = image.id.as_deref().unwrap_or_default();
        let mut untold = None;
        for name in image.repo_digests.iter().flatten() {
            let Ok(known) = name.parse::<ImageReference>() else { continue };
            if previous::is_repository(&known.repository) {
                continue;
            }
            if of.is_some_and(|of| familiar(&of.repository) != familiar(&known.repository)) {
                continue;
            }
            if !known.digest.as_ref().is_some_and(|digest| is_by_digest(image, digest)) {
                return Ok(ImageOrigin::Registry);
            }
            // One registry has already hung or required another login, so the origin is unknown: do not wait for
            // another one.
            if untold.is_some() {
                continue;
            }
            let Ok(Login { credentials, .. }) = self.login(&known).await else {
                untold = Some(sanitize::name(name));
                continue;
            };
            let purpose = CallContext { action: "resolve", subject: name };
            let call = self.client.inspect_registry_image(name, credentials);
            match self.within(REGISTRY_LIMIT, purpose, call).await {
                Ok(_) => return Ok(ImageOrigin::Registry),
                Err(failure) if failure.is_absent() => {}
                Err(CallFailure { error: error @ EngineError::Unreachable { .. }, .. }) => return Err(error),
                Err(_) => untold = Some(sanitize::name(name)),
            }
        }
        Ok(untold.map_or_else(|| ImageOrigin::Local(ImageId(sanitize::name(id))), ImageOrigin::Unknown))
    }

    /// Returns the engine's information about an image.
    pub(super) async fn inspect_image(&self, name: &str) -> Result<ImageInspect, CallFailure> {
        let purpose = CallContext { action: "inspect", subject: name };
        let mut image = self.within(CALL_LIMIT, purpose, self.client.inspect_image(name)).await?;
        if self.is_podman
            && let Some(config) = &mut image.config
        {
            // Podman omits the healthcheck from Docker's API, but not from its own.
            let path = format!("/libpod/images/{}/json", image.id.as_deref().unwrap_or_default());
            let shown = self.within(CALL_LIMIT, purpose, self.raw.get(PODMANS_OWN, &path)).await?;
            config.healthcheck = serde_json::from_value(shown["Healthcheck"].clone()).ok().flatten();
        }
        Ok(image)
    }

    /// Returns the engine's image by name, digest or identifier; `None` if the engine does not have it.
    pub(super) async fn find_image(&self, name: &str) -> Result<Option<ImageInspect>, EngineError> {
        match self.inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(failure) if failure.is_absent() => Ok(None),
            Err(failure) => Err(failure.error),
        }
    }

    /// Returns the engine's image. An image that has lost its name to another one is found by its digest alone, if
    /// digests identify images as in containerd's store.
    pub(super) async fn find_exactly(&self, image: &Image) -> Result<Option<ImageInspect>, EngineError> {
        match (self.find_image(&image.pinned()).await?, image) {
            (None, Image::Registry { digest, .. }) => {
                Ok(self.find_image(digest).await?.filter(|found| is_by_digest(found, digest)))
            }
            (found, _) => Ok(found),
        }
    }

    /// Returns the text by which the engine knows an image: its name, or only its digest if another image has taken
    /// the name.
    pub(super) async fn local_name(&self, image: &Image) -> Result<Option<String>, EngineError> {
        let name = image.pinned();
        if self.find_image(&name).await?.is_some() {
            return Ok(Some(name));
        }
        Ok(self.find_exactly(image).await?.and_then(|found| found.id))
    }

    /// Pulls an image unless the engine has it, and checks that it exists and is built for the right platform.
    pub(super) async fn pull_image(
        &self,
        image: &Image,
        platform: Option<&Platform>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        let name = image.pinned();
        let wanted = self.wanted_platform(platform).await?;
        let found = self.find_for(image, &wanted).await?;
        let suits = found.as_ref().map(|found| self.check_platform(&name, found, &wanted));
        if let Some(Ok(())) = suits {
            return Ok(());
        }
        let Image::Registry { reference, digest } = image else {
            let reason = "this engine no longer has it, and no registry does".to_owned();
            return suits.unwrap_or(Err(EngineError::NoSuchImage { image: image.to_string(), reason }));
        };
        self.receive(reference, digest, &wanted, progress).await.map_err(|error| {
            // The message of an engine whose store holds only one platform of a digest.
            if suits.is_some() && error.to_string().to_lowercase().contains("cannot overwrite digest") {
                CallContext { action: "pull", subject: &name }.refused(format!(
                    "it has this image for another platform than {} and can hold only one of the two: \
                     run `{}` there if no container needs it",
                    wanted.platform,
                    shell(&["docker", "image", "rm", &format!("{}@{digest}", reference.repository)])
                ))
            } else {
                error
            }
        })?;
        match self.find_for(image, &wanted).await? {
            Some(found) => self.check_platform(&name, &found, &wanted),
            // It was pulled for that platform, but this engine does not show which platforms it has.
            None if self.hides_platform(image).await? => Ok(()),
            None => Err(CallContext { action: "pull", subject: &name }
                .refused("the pull succeeded, but the image is missing")),
        }
    }

    async fn receive(
        &self,
        reference: &ImageReference,
        digest: &str,
        wanted: &RequestedPlatform,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        let name = format!("{}@{digest}", reference.repository);
        let Login { credentials, origin } = self.login(reference).await?;
        self.check_offer(&name, credentials.clone(), wanted).await?;
        // Like `docker pull`: without a tag, the engine would pull every tag.
        let mut options = CreateImageOptionsBuilder::new().from_image(&reference.repository).tag(digest);
        if wanted.is_asked_for {
            options = options.platform(&wanted.platform.to_string());
        }
        let mut messages = self.client.create_image(Some(options.build()), None, credentials).boxed();
        let mut layers = Layers::default();
        let room = self.disk_space().await;
        let no_room = |reason| EngineError::NotEnoughSpace {
            image: name.clone(),
            endpoint: self.endpoint.to_string(),
            reason,
        };
        let purpose = CallContext { action: "pull", subject: &name };
        loop {
            let message = async { messages.next().await.transpose() };
            match self.within(STALL_LIMIT, purpose, message).await {
                Ok(Some(message)) => {
                    let now = layers.add(&message);
                    // Returning ends the pull: the engine aborts it when the client disconnects.
                    if let Some(reason) = room.as_ref().and_then(|room| room.shortage(now.expected)) {
                        return Err(no_room(reason));
                    }
                    progress(now);
                }
                Ok(None) => return Ok(()),
                Err(failure) if engine_message(&failure.error).contains("no space left") => {
                    return Err(no_room(engine_message(&failure.error)));
                }
                Err(failure) => return Err(pull_error(name, failure.status, failure.error, &origin)),
            }
        }
    }
}

/// Returns whether the engine stores this image with containerd, where the digest is the identifier.
pub(super) fn is_by_digest(image: &ImageInspect, digest: &str) -> bool {
    image.id.as_deref() == Some(digest)
}

/// Returns the login, unless it could be read on the way to the engine.
fn unless_unencrypted(
    login: Login,
    reference: &ImageReference,
    endpoint: &Endpoint,
) -> Result<Login, EngineError> {
    if login.credentials.is_none() || !endpoint.is_unencrypted() {
        return Ok(login);
    }
    let registry = reference.registry().unwrap_or("docker.io").to_owned();
    Err(EngineError::PlainPassword { registry, endpoint: endpoint.to_string() })
}

/// Returns a repository's name as Docker shows it: `docker.io/library/mobile` is `mobile`.
fn familiar(repository: &str) -> &str {
    let hub = ["docker.io/", "index.docker.io/"].iter().find_map(|prefix| repository.strip_prefix(prefix));
    let path = hub.unwrap_or(repository);
    path.strip_prefix("library/").filter(|name| !name.contains('/')).unwrap_or(path)
}

/// Returns the engine's own message, if the error has one.
fn engine_message(error: &EngineError) -> String {
    if let EngineError::Refused { reason, .. } = error {
        reason.clone()
    } else if let EngineError::TimedOut { limit, .. } = error {
        format!("no answer within {} s", limit.as_secs())
    } else {
        error.to_string()
    }
}

/// Returns the registry's error, with what to do if it requires another login or is down.
fn registry_error(image: String, error: &EngineError, origin: &LoginOrigin) -> EngineError {
    let reason = engine_message(error);
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    // The messages of Go's network errors.
    let is_away = says(&["connection refused", "connection reset", "EOF", "timeout", "no route to host"]);
    let wants_login = says(&["unauthorized", "no basic auth credentials", "denied"]);
    let reason = if is_away {
        format!("{reason} (deploy again when it answers)")
    } else if wants_login || matches!(origin, LoginOrigin::Failed(_)) {
        format!("{reason} ({origin})")
    } else {
        reason
    };
    EngineError::Registry { image, reason }
}

/// Returns the error for a failed pull: it names the registry, the missing image, or the engine itself.
fn pull_error(image: String, status: Option<u16>, error: EngineError, origin: &LoginOrigin) -> EngineError {
    if let EngineError::TimedOut { limit, .. } = error {
        let reason = format!("the pull made no progress for {} s", limit.as_secs());
        return EngineError::Registry { image, reason };
    }
    let EngineError::Refused { reason, .. } = &error else { return error };
    // Without a login, a private image and a missing image look the same.
    let may_be_private = reason.contains("pull access denied");
    if !may_be_private && (status == Some(404) || reason.contains("manifest unknown")) {
        return EngineError::NoSuchImage { image, reason: reason.clone() };
    }
    // The engine's message for a layer that it cannot store.
    if reason.contains("failed to register layer") {
        return error;
    }
    registry_error(image, &error, origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_never_crosses_a_network_in_plain_text() {
        let login =
            |credentials| Login { credentials, origin: LoginOrigin::NotFound { server: "r.io".to_owned() } };
        let some = || login(Some(bollard::auth::DockerCredentials::default()));
        let endpoint = |text: &str, tls: bool| {
            let variables = [("DOCKER_CERT_PATH", "/c"), ("DOCKER_TLS_VERIFY", if tls { "1" } else { "" })];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Endpoint::read(Some(text), &variables.into()).unwrap()
        };
        let may = |login, endpoint: &Endpoint| {
            unless_unencrypted(login, &"r.io/m:v1".parse().unwrap(), endpoint).is_ok()
        };
        for plain in
            ["tcp://10.0.0.5:2375", "tcp://app1:2375", "http://[fd00::5]:2375", "tcp://localhost.example.org"]
        {
            assert!(
                !may(some(), &endpoint(plain, false)) && may(login(None), &endpoint(plain, false)),
                "{plain}"
            );
            assert!(may(some(), &endpoint(plain, true)), "{plain}");
        }
        for own in [
            "tcp://127.0.0.9:2375",
            "tcp://[::1]:2375",
            "tcp://localhost:2375",
            "tcp://",
            "ssh://app1",
            "/d.sock",
        ] {
            assert!(may(some(), &endpoint(own, false)), "{own}");
        }
        let error = unless_unencrypted(some(), &"r.io/m:v1".parse().unwrap(), &endpoint("tcp://app1", false));
        let error = error.err().unwrap();
        assert!(error.to_string().contains("allow_plain_password = true"), "{error}");
        assert_eq!(crate::app::error::Error::from(error).exit(), crate::app::exit::Exit::Refused);
    }

    #[test]
    fn all_names_of_docker_hub_have_one_form() {
        for name in [
            "mobile",
            "library/mobile",
            "docker.io/mobile",
            "docker.io/library/mobile",
            "index.docker.io/library/mobile",
        ] {
            assert_eq!(familiar(name), "mobile", "{name}");
        }
        assert_eq!(familiar("r.io/library/mobile"), "r.io/library/mobile");
        assert_eq!(familiar("docker.io/team/mobile"), "team/mobile");
    }

    #[test]
    fn a_failed_pull_names_its_cause() {
        let error = |reason: &str| {
            let refused = CallContext { action: "pull", subject: "m" }.refused(reason);
            pull_error("m".to_owned(), None, refused, &LoginOrigin::Failed("the helper failed".to_owned()))
        };
        assert!(matches!(error("manifest unknown: manifest unknown"), EngineError::NoSuchImage { .. }));
        let refused = CallContext { action: "pull", subject: "m" }
            .refused("pull access denied for m, or no such repository");
        let private =
            pull_error("m".to_owned(), Some(404), refused, &LoginOrigin::Failed("no login".to_owned()));
        assert!(private.to_string().contains("(no login). Check"), "{private}");
        assert!(matches!(error("failed to register layer: invalid argument"), EngineError::Refused { .. }));
        let other = pull_error(
            "m".to_owned(),
            None,
            CallContext { action: "pull", subject: "m" }.refused("unauthorized"),
            &LoginOrigin::NotFound { server: "r.io".to_owned() },
        );
        assert!(other.to_string().contains("docker login"));
        assert_eq!(
            error("unauthorized").to_string(),
            "cannot get m from its registry: unauthorized (the helper failed). Check the registry and the login, then try again"
        );
    }
}
