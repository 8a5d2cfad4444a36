//! Decides whether the image that one site runs may be deployed at another: its last run must have succeeded, and all
//! its servers must run the same image.

use crate::model::image::{Image, ImageReference};
use crate::run::outcome::Outcome;
use crate::topology::{Backend, Server};

/// The reason why nothing can be promoted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPromotable {
    #[error(
        "the last run there did not succeed. Deploy there first (`drainswap deploy`), then promote again. That run: {outcome}"
    )]
    LastRun { outcome: String },
    #[error("{server} does not serve there: {why}. Put it in service, then promote again")]
    NotServing { server: String, why: String },
    #[error(
        "servers run different images: {one} runs {of_one}, {other} runs {of_other}. Deploy one image to all of them, then promote again"
    )]
    Mixed { one: String, of_one: Image, other: String, of_other: Image },
    #[error(
        "{image} has no digest from a registry, so no other host can pull it. Push it to a registry, deploy it from there, then promote again"
    )]
    NoDigest { image: Image },
}

/// Returns the image, by digest, that every server of a backend runs and serves with. The backend's last run, if there
/// is one, must have succeeded.
pub fn promotable_image(
    backend: &Backend,
    last: Option<Option<&Outcome>>,
) -> Result<ImageReference, NotPromotable> {
    match last {
        None => {}
        Some(Some(outcome)) if outcome.is_success() => {}
        Some(Some(outcome)) => return Err(NotPromotable::LastRun { outcome: outcome.to_string() }),
        Some(None) => return Err(NotPromotable::LastRun { outcome: "it is not finished".to_owned() }),
    }
    let mut found: Option<(String, Image)> = None;
    // A server without a container has no image to promote.
    for server in backend.servers.iter().filter(|server| !server.is_foreign()) {
        let (id, image) = (server.id.to_string(), running(server)?);
        match &found {
            None => found = Some((id, image)),
            Some((_, known)) if is_same(known, &image) => {}
            Some((one, of_one)) => {
                let (one, of_one) = (one.clone(), of_one.clone());
                return Err(NotPromotable::Mixed { one, of_one, other: id, of_other: image });
            }
        }
    }
    match found {
        Some((_, Image::Registry { reference, digest })) => {
            Ok(ImageReference { digest: Some(digest), ..reference })
        }
        Some((_, image)) => Err(NotPromotable::NoDigest { image }),
        None => Err(NotPromotable::NotServing {
            server: backend.name.clone(),
            why: "it has no server with a container".to_owned(),
        }),
    }
}

/// Returns whether two images are the same: tags may differ if the digest is equal.
fn is_same(one: &Image, other: &Image) -> bool {
    match (one, other) {
        (Image::Registry { digest: one, .. }, Image::Registry { digest: other, .. }) => one == other,
        (one, other) => one == other,
    }
}

/// Returns the image that a server runs, if it serves.
fn running(server: &Server) -> Result<Image, NotPromotable> {
    let not_serving = |why: String| NotPromotable::NotServing { server: server.id.to_string(), why };
    let container = server.container().ok_or_else(|| not_serving("it has no container".to_owned()))?;
    if !server.is_usable() {
        let status = server.state.as_ref().map_or("no state for it", |state| &state.status);
        return Err(not_serving(format!("HAProxy reports {status}")));
    }
    if !server.answers() {
        return Err(not_serving(server.answer_detail().to_owned()));
    }
    Ok(container.running_image())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::rest::Rest;
    use crate::testing::World;

    fn promotable_image(world: &World) -> Result<String, String> {
        let topology = world.topology();
        let found = super::promotable_image(topology.backend("mobile").unwrap(), None);
        found.map(|image| image.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn only_an_image_that_every_server_serves_is_promoted() {
        let found = promotable_image(&World::pair()).unwrap();
        assert!(found.starts_with("registry.example.org/mobile:v1@sha256:1111"), "{found}");
        let mixed = promotable_image(&World::pair().runs("mobile-app1b", "v2")).unwrap_err();
        assert!(mixed.starts_with("servers run different images: mobile/app1 runs registry"), "{mixed}");
        let down = promotable_image(&World::pair().down("mobile/app1b")).unwrap_err();
        assert!(down.starts_with("mobile/app1b does not serve there"), "{down}");
    }

    #[test]
    fn a_last_run_that_failed_prevents_a_promotion() {
        let topology = World::pair().topology();
        let backend = topology.backend("mobile").unwrap();
        let failed = Outcome::Refused { reason: "no".to_owned() };
        assert!(super::promotable_image(backend, Some(Some(&failed))).is_err());
        assert!(super::promotable_image(backend, Some(None)).is_err());
        let deployed = Outcome::Deployed { replaced: 2, put_back: 0, skipped: vec![], rest: Rest::default() };
        assert!(super::promotable_image(backend, Some(Some(&deployed))).is_ok());
    }

    #[test]
    fn a_server_without_a_container_or_an_answer_prevents_a_promotion() {
        let gone = promotable_image(&World::pair().down("mobile/app1b").gone("mobile-app1b")).unwrap_err();
        assert!(gone.starts_with("mobile/app1b does not serve there: it has no container"), "{gone}");
        let silent = promotable_image(&World::pair().silent("mobile/app1b")).unwrap_err();
        assert!(silent.starts_with("mobile/app1b does not serve there: connection refused"), "{silent}");
        let mut world = World::pair().gone("mobile-app1").gone("mobile-app1b");
        world.observation.host_addresses.clear();
        let none = promotable_image(&world).unwrap_err();
        assert!(none.starts_with("mobile does not serve there: it has no server with a container"), "{none}");
    }

    #[test]
    fn an_image_that_no_registry_has_is_not_promoted() {
        let built = |world: World, name: &str| world.container(name, |it| it.repo_digests.clear());
        let one = built(World::pair(), "mobile-app1");
        let mixed = promotable_image(&one).unwrap_err();
        assert!(mixed.starts_with("servers run different images"), "{mixed}");
        let both = promotable_image(&built(one, "mobile-app1b")).unwrap_err();
        assert!(both.contains(" has no digest from a registry, so no other host can pull it"), "{both}");
    }
}
