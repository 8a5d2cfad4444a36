//! Which image a reference means, and getting it. The engine talks to the registry, so that its mirrors,
//! proxies and certificates count; the login is that of drainswap.toml, or Docker's own.

use std::time::Duration;

use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

use super::call::{Failure, Purpose};
use super::credentials::{self, Login, Origin};
use super::layers::Layers;
use super::platform::Wanted;
use super::recreate::ApiVersion;
use super::{CALL_LIMIT, DockerEngine, Endpoint};
use crate::command_line::shell;
use crate::foreign;
use crate::ids::ImageId;
use crate::image::{Image, ImageReference, Platform, is_digest, previous};
use crate::ports::{EngineError, PullProgress};

/// How long the registry may take to name a digest; the engine waits for it in the call.
pub(super) const REGISTRY_LIMIT: Duration = Duration::from_secs(60);
/// The oldest version of Podman's own API that every Podman takes which speaks it.
pub(super) const PODMANS_OWN: ApiVersion = (4, 0);
/// How long a pull may go without a sign of progress. Its whole time has no limit.
const STALL_LIMIT: Duration = Duration::from_secs(120);

/// Where an image came from.
#[derive(Debug)]
pub(super) enum Source {
    /// A registry has it.
    Registry,
    /// It was built or loaded here.
    Here(ImageId),
    /// The engine does not tell, and the registry cannot be asked: the image by its digest.
    Untold(String),
}

impl DockerEngine {
    /// The registry's digest; failing that, an image that was never in a registry.
    pub(super) async fn resolve_reference(&self, reference: &ImageReference) -> Result<Image, EngineError> {
        if let Some(digest) = &reference.digest {
            return Ok(Image::Registry { reference: reference.clone(), digest: digest.clone() });
        }
        let name = reference.to_string();
        let Login { credentials, origin } = self.login(reference).await?;
        let call = self.client.inspect_registry_image(&name, credentials);
        let failure =
            match self.within(REGISTRY_LIMIT, Purpose { action: "resolve", subject: &name }, call).await {
                Ok(answer) => {
                    return match answer.descriptor.digest.filter(|digest| is_digest(digest)) {
                        Some(digest) => Ok(Image::Registry { reference: reference.clone(), digest }),
                        None => Err(EngineError::Registry {
                            image: name,
                            reason: "it names no digest".to_owned(),
                        }),
                    };
                }
                Err(failure) => failure,
            };
        if matches!(failure.error, EngineError::Unreachable { .. }) {
            return Err(failure.error);
        }
        if self.is_podman && failure.is_absent() {
            return self.as_podman_has_it(reference, name).await;
        }
        let here = match self.find_image(&name).await? {
            Some(found) => Box::pin(self.source(&found, Some(reference))).await?,
            None => Source::Registry,
        };
        match here {
            Source::Here(id) => Ok(Image::Local { reference: name, id }),
            Source::Registry if failure.is_absent() => {
                Err(EngineError::NoSuchImage { image: name, reason: said(&failure.error) })
            }
            Source::Registry => Err(registry_error(name, &failure.error, &origin)),
            Source::Untold(digest) => {
                let mut error = registry_error(name, &failure.error, &origin);
                if let EngineError::Registry { reason, .. } = &mut error {
                    *reason =
                        format!("{reason}; --image {digest} is the one of that name that this engine has");
                }
                Err(error)
            }
        }
    }

    /// The login for an image's registry, if it may go to this engine.
    async fn login(&self, reference: &ImageReference) -> Result<Login, EngineError> {
        let login = credentials::login(reference.registry(), &self.registries).await?;
        if self.allow_plain_password { Ok(login) } else { unless_overheard(login, reference, &self.endpoint) }
    }

    /// Podman asks no registry what a tag means. What is called `localhost/…` was never in one.
    async fn as_podman_has_it(&self, reference: &ImageReference, name: String) -> Result<Image, EngineError> {
        let found = self.find_image(&name).await?.and_then(|image| image.id);
        if let Some(id) = found.filter(|_| matches!(reference.registry(), None | Some("localhost"))) {
            return Ok(Image::Local { reference: name, id: ImageId(foreign::name(&id)) });
        }
        let reason =
            "Podman asks no registry what a tag means; name the image by its digest, as `skopeo inspect` \
                      shows it: NAME@sha256:…"
                .to_owned();
        Err(EngineError::NoSuchImage { image: name, reason })
    }

    /// Where an image came from, of this repository or of any. With containerd's store an image that was built here has a
    /// digest of each repository that it is named by, too: there the registry is asked whether it has that.
    pub(super) async fn source(
        &self,
        image: &ImageInspect,
        of: Option<&ImageReference>,
    ) -> Result<Source, EngineError> {
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
                return Ok(Source::Registry);
            }
            // Of one that hangs or wants another login it is not known, and another need not be waited for.
            if untold.is_some() {
                continue;
            }
            let Ok(Login { credentials, .. }) = self.login(&known).await else {
                untold = Some(foreign::name(name));
                continue;
            };
            let purpose = Purpose { action: "resolve", subject: name };
            let call = self.client.inspect_registry_image(name, credentials);
            match self.within(REGISTRY_LIMIT, purpose, call).await {
                Ok(_) => return Ok(Source::Registry),
                Err(failure) if failure.is_absent() => {}
                Err(Failure { error: error @ EngineError::Unreachable { .. }, .. }) => return Err(error),
                Err(_) => untold = Some(foreign::name(name)),
            }
        }
        Ok(untold.map_or_else(|| Source::Here(ImageId(foreign::name(id))), Source::Untold))
    }

    /// What the engine tells of an image.
    pub(super) async fn inspect_image(&self, name: &str) -> Result<ImageInspect, Failure> {
        let purpose = Purpose { action: "inspect", subject: name };
        let mut image = self.within(CALL_LIMIT, purpose, self.client.inspect_image(name)).await?;
        if self.is_podman
            && let Some(config) = &mut image.config
        {
            // By Docker's API it leaves the healthcheck out, by its own it does not.
            let path = format!("/libpod/images/{}/json", image.id.as_deref().unwrap_or_default());
            let shown = self.within(CALL_LIMIT, purpose, self.raw.get(PODMANS_OWN, &path)).await?;
            config.healthcheck = serde_json::from_value(shown["Healthcheck"].clone()).ok().flatten();
        }
        Ok(image)
    }

    /// The engine's image, by name, digest or identifier; `None` if it has none such.
    pub(super) async fn find_image(&self, name: &str) -> Result<Option<ImageInspect>, EngineError> {
        match self.inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(failure) if failure.is_absent() => Ok(None),
            Err(failure) => Err(failure.error),
        }
    }

    /// The engine's image. One that lost its name to another is found by its digest alone where that identifies images, in
    /// containerd's store.
    pub(super) async fn find_exactly(&self, image: &Image) -> Result<Option<ImageInspect>, EngineError> {
        match (self.find_image(&image.pinned()).await?, image) {
            (None, Image::Registry { digest, .. }) => {
                Ok(self.find_image(digest).await?.filter(|found| is_by_digest(found, digest)))
            }
            (found, _) => Ok(found),
        }
    }

    /// The text by which the engine has an image: its name, or its digest alone where another image has got the name.
    pub(super) async fn known_as(&self, image: &Image) -> Result<Option<String>, EngineError> {
        let name = image.pinned();
        if self.find_image(&name).await?.is_some() {
            return Ok(Some(name));
        }
        Ok(self.find_exactly(image).await?.and_then(|found| found.id))
    }

    /// Pulls an image unless the engine has it, and looks whether it is there, made for the right platform.
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
            let reason = "this engine has it no longer, and it came from no registry; build or load it again"
                .to_owned();
            return suits.unwrap_or(Err(EngineError::NoSuchImage { image: image.to_string(), reason }));
        };
        self.receive(reference, digest, &wanted, progress).await.map_err(|error| {
            // The words of an engine whose store holds one platform of a digest.
            if suits.is_some() && error.to_string().to_lowercase().contains("cannot overwrite digest") {
                Purpose { action: "pull", subject: &name }.refused(format!(
                    "it has this image for another platform than {}, and can hold one of the two only: \
                     `{}` there, if no container needs it",
                    wanted.platform,
                    shell(&["docker", "image", "rm", &format!("{}@{digest}", reference.repository)])
                ))
            } else {
                error
            }
        })?;
        match self.find_for(image, &wanted).await? {
            Some(found) => self.check_platform(&name, &found, &wanted),
            // It was pulled for that platform, and this engine does not show which it has.
            None if self.hides_platform(image).await? => Ok(()),
            None => Err(Purpose { action: "pull", subject: &name }
                .refused("the pull ended well, yet the image is not there")),
        }
    }

    async fn receive(
        &self,
        reference: &ImageReference,
        digest: &str,
        wanted: &Wanted,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        let name = format!("{}@{digest}", reference.repository);
        let Login { credentials, origin } = self.login(reference).await?;
        self.check_offer(&name, credentials.clone(), wanted).await?;
        // As `docker pull` does it; without a tag the engine would pull every tag there is.
        let mut options = CreateImageOptionsBuilder::new().from_image(&reference.repository).tag(digest);
        if wanted.is_asked_for {
            options = options.platform(&wanted.platform.to_string());
        }
        let mut messages = self.client.create_image(Some(options.build()), None, credentials).boxed();
        let mut layers = Layers::default();
        let room = self.room().await;
        let no_room =
            |reason| EngineError::NoRoom { image: name.clone(), endpoint: self.endpoint.to_string(), reason };
        let purpose = Purpose { action: "pull", subject: &name };
        loop {
            let message = async { messages.next().await.transpose() };
            match self.within(STALL_LIMIT, purpose, message).await {
                Ok(Some(message)) => {
                    let now = layers.add(&message);
                    // Returning ends the pull: the engine gives it up when nobody listens.
                    if let Some(reason) = room.as_ref().and_then(|room| room.lacks(now.expected)) {
                        return Err(no_room(reason));
                    }
                    progress(now);
                }
                Ok(None) => return Ok(()),
                Err(failure) if said(&failure.error).contains("no space left") => {
                    return Err(no_room(said(&failure.error)));
                }
                Err(failure) => return Err(pull_error(name, failure.status, failure.error, &origin)),
            }
        }
    }
}

/// Whether the engine keeps this image with containerd, where its digest is its identifier.
pub(super) fn is_by_digest(image: &ImageInspect, digest: &str) -> bool {
    image.id.as_deref() == Some(digest)
}

/// The login, unless others on the way to the engine could read it.
fn unless_overheard(
    login: Login,
    reference: &ImageReference,
    endpoint: &Endpoint,
) -> Result<Login, EngineError> {
    if login.credentials.is_none() || !endpoint.is_overheard() {
        return Ok(login);
    }
    let registry = reference.registry().unwrap_or("docker.io").to_owned();
    Err(EngineError::PlainPassword { registry, endpoint: endpoint.to_string() })
}

/// A repository's name as Docker shows it: `docker.io/library/mobile` is `mobile`.
fn familiar(repository: &str) -> &str {
    let hub = ["docker.io/", "index.docker.io/"].iter().find_map(|prefix| repository.strip_prefix(prefix));
    let path = hub.unwrap_or(repository);
    path.strip_prefix("library/").filter(|name| !name.contains('/')).unwrap_or(path)
}

/// The engine's own words, where the error has some.
fn said(error: &EngineError) -> String {
    if let EngineError::Refused { reason, .. } = error {
        reason.clone()
    } else if let EngineError::TimedOut { limit, .. } = error {
        format!("no answer within {} s", limit.as_secs())
    } else {
        error.to_string()
    }
}

/// The registry's refusal, with what to do where it wants another login, or is away.
fn registry_error(image: String, error: &EngineError, origin: &Origin) -> EngineError {
    let reason = said(error);
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    // The words of Go's network errors.
    let is_away = says(&["connection refused", "connection reset", "EOF", "timeout", "no route to host"]);
    let wants_login = says(&["unauthorized", "no basic auth credentials", "denied"]);
    let reason = if is_away {
        format!("{reason} (deploy again when it answers)")
    } else if wants_login || matches!(origin, Origin::Trouble(_)) {
        format!("{reason} ({origin})")
    } else {
        reason
    };
    EngineError::Registry { image, reason }
}

/// What ended a pull: the registry, the want of an image, or the engine itself.
fn pull_error(image: String, status: Option<u16>, error: EngineError, origin: &Origin) -> EngineError {
    if let EngineError::TimedOut { limit, .. } = error {
        let reason = format!("the pull made no progress for {} s", limit.as_secs());
        return EngineError::Registry { image, reason };
    }
    let EngineError::Refused { reason, .. } = &error else { return error };
    // What is private and what is not there look the same without a login.
    let may_be_private = reason.contains("pull access denied");
    if !may_be_private && (status == Some(404) || reason.contains("manifest unknown")) {
        return EngineError::NoSuchImage { image, reason: reason.clone() };
    }
    // The engine's own words for a layer that it cannot store.
    if reason.contains("failed to register layer") {
        return error;
    }
    registry_error(image, &error, origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_over_no_network_for_everybody_to_read() {
        let login =
            |credentials| Login { credentials, origin: Origin::Nowhere { server: "r.io".to_owned() } };
        let some = || login(Some(bollard::auth::DockerCredentials::default()));
        let endpoint = |text: &str, tls: bool| {
            let variables = [("DOCKER_CERT_PATH", "/c"), ("DOCKER_TLS_VERIFY", if tls { "1" } else { "" })];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Endpoint::read(Some(text), &variables.into()).unwrap()
        };
        let may = |login, endpoint: &Endpoint| {
            unless_overheard(login, &"r.io/m:v1".parse().unwrap(), endpoint).is_ok()
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
        let error = unless_overheard(some(), &"r.io/m:v1".parse().unwrap(), &endpoint("tcp://app1", false));
        let error = error.err().unwrap();
        assert!(error.to_string().contains("allow_plain_password = true"), "{error}");
        assert_eq!(crate::error::Error::from(error).exit(), crate::exit::Exit::Refused);
    }

    #[test]
    fn docker_hub_has_many_names_and_shows_one() {
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
    fn the_end_of_a_pull_says_whose_fault_it_was() {
        let error = |reason: &str| {
            let refused = Purpose { action: "pull", subject: "m" }.refused(reason);
            pull_error("m".to_owned(), None, refused, &Origin::Trouble("the helper failed".to_owned()))
        };
        assert!(matches!(error("manifest unknown: manifest unknown"), EngineError::NoSuchImage { .. }));
        let refused = Purpose { action: "pull", subject: "m" }
            .refused("pull access denied for m, or no such repository");
        let private = pull_error("m".to_owned(), Some(404), refused, &Origin::Trouble("no login".to_owned()));
        assert!(private.to_string().ends_with("(no login)"), "{private}");
        assert!(matches!(error("failed to register layer: invalid argument"), EngineError::Refused { .. }));
        let other = pull_error(
            "m".to_owned(),
            None,
            Purpose { action: "pull", subject: "m" }.refused("unauthorized"),
            &Origin::Nowhere { server: "r.io".to_owned() },
        );
        assert!(other.to_string().contains("docker login"));
        assert_eq!(
            error("unauthorized").to_string(),
            "the registry does not give m: unauthorized (the helper failed)"
        );
    }
}
