//! Looks up the names on the command line, and suggests others for those that do not exist.

use crate::app::error::{Error, nearest};
use crate::cfg::{Configuration, Proxy};
use crate::model::ids::ServerId;
use crate::model::image::ImageReference;
use crate::plan::scope::Scope;
use crate::topology::with_servers;

/// Returns the backend of that name, or an error with the name that was probably meant.
pub(super) fn known_backend<'a>(configuration: &'a Configuration, name: &str) -> Result<&'a Proxy, Error> {
    with_servers(configuration).find(|proxy| proxy.name == name).ok_or_else(|| {
        let known: Vec<String> = with_servers(configuration).map(|proxy| proxy.name.clone()).collect();
        Error::NoBackend { name: name.to_owned(), nearest: nearest(name, &known), known }
    })
}

/// Checks that the server exists.
pub(super) fn known_server(configuration: &Configuration, server: &ServerId) -> Result<(), Error> {
    let proxy = known_backend(configuration, &server.backend)?;
    if proxy.servers.iter().any(|line| line.name == server.server) {
        return Ok(());
    }
    let known: Vec<String> = proxy.servers.iter().map(|line| line.name.clone()).collect();
    Err(Error::NoServer { server: server.clone(), nearest: nearest(&server.server, &known), known })
}

/// Checks that every server exists that a run is limited to or has to leave alone: with a typing error the run would
/// work on others.
pub(super) fn known_scope(configuration: &Configuration, backend: &str, scope: &Scope) -> Result<(), Error> {
    for name in &scope.only {
        known_server(configuration, &ServerId::new(backend, name))?;
    }
    for server in &scope.leave {
        let wrong =
            |error| Error::InvalidLeaveSetting { backend: server.backend.clone(), error: Box::new(error) };
        known_server(configuration, server).map_err(wrong)?;
    }
    Ok(())
}

/// Returns the image that was probably meant: the same tag or digest in a repository whose path is near in each part
/// and wrong in at least one, or, for a tag that was typed alone, that tag in a repository that runs.
///
/// Tags themselves are never compared for nearness: v1 and v2 are one letter apart.
pub(super) fn nearest_image(typed: &ImageReference, running: &[String]) -> Option<ImageReference> {
    let running: Vec<ImageReference> = running.iter().filter_map(|text| text.parse().ok()).collect();
    let meant = |running: &ImageReference| {
        let pairs: Vec<_> = typed.repository.split('/').zip(running.repository.split('/')).collect();
        let as_long = running.repository.split('/').count() == pairs.len();
        as_long
            && typed.repository.split('/').count() == pairs.len()
            && typed.repository != running.repository
            && pairs.iter().all(|(typed, running)| nearest(typed, &[(*running).to_owned()]).is_some())
    };
    if let Some(running) = running.iter().find(|it| meant(it)) {
        return Some(ImageReference { repository: running.repository.clone(), ..typed.clone() });
    }
    let tag = tag_alone(typed)?;
    let repository = running.into_iter().map(|running| running.repository).find(|it| it != tag)?;
    Some(ImageReference { repository, tag: Some(tag.to_owned()), digest: None })
}

/// Returns what was typed if it is probably a tag without its repository: `v2`, `1.4.2`, `latest`. Repository names
/// seldom contain a digit.
fn tag_alone(typed: &ImageReference) -> Option<&str> {
    let ImageReference { repository, tag, digest } = typed;
    let is_bare = tag.as_deref() == Some("latest") && digest.is_none() && !repository.contains(['/', ':']);
    let is_tag = repository == "latest" || repository.contains(|it: char| it.is_ascii_digit());
    (is_bare && is_tag).then_some(repository.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_a_run_is_limited_to_or_leaves_alone_must_exist() {
        let configuration = crate::testing::configuration(
            "backend web\n server app1 127.0.0.1:1\n server sorry 127.0.0.1:2\nbackend pay\n server app1 127.0.0.1:3\n",
        );
        let said = |only: &[&str], leave: &[&str]| {
            let scope = Scope {
                only: only.iter().map(|&it| it.to_owned()).collect(),
                leave: leave.iter().map(|it| it.parse().unwrap()).collect(),
                ..Scope::default()
            };
            let said = known_scope(&configuration, "web", &scope);
            said.map_err(|error| (error.exit().code(), error.to_string()))
        };
        assert!(said(&["app1", "sorry"], &["web/sorry", "pay/app1"]).is_ok());
        let slip = |server: &str| format!("backend web has no server {server}; did you mean sorry?");
        assert_eq!(said(&["sory"], &[]).unwrap_err(), (2, slip("sory")));
        let wrong =
            |said: String, backend: &str| format!("[backends.{backend}] leave in drainswap.toml: {said}");
        assert_eq!(said(&[], &["web/sory"]).unwrap_err(), (3, wrong(slip("sory"), "web")));
        let no_backend = "there is no backend wbe; did you mean web?".to_owned();
        assert_eq!(said(&[], &["wbe/sorry"]).unwrap_err(), (3, wrong(no_backend, "wbe")));
    }

    #[test]
    fn an_image_is_near_when_each_part_of_its_path_is() {
        let near = |typed: &str| {
            let running = ["registry.example.org/shop/mobile:v1@sha256:".to_owned() + &"0".repeat(64)];
            nearest_image(&typed.parse().unwrap(), &running).map(|image| image.to_string())
        };
        let mobile = Some("registry.example.org/shop/mobile:v2".to_owned());
        assert_eq!(near("registry.example.org/shop/mobil:v2"), mobile);
        assert_eq!(near("registry.exmaple.org/shop/mobile:v2"), mobile);
        // A tag that does not exist yet is not a typing error, and neither is another image of the same shop.
        assert_eq!(near("registry.example.org/shop/mobile:v2"), None);
        assert_eq!(near("registry.example.org/shop/tablet:v2"), None);
        assert_eq!(near("registry.example.org/mobile:v2"), None);
        assert_eq!(near("mobile:v2"), None);
    }

    #[test]
    fn a_tag_alone_is_taken_from_the_repository_that_runs() {
        let near = |typed: &str| {
            let running = ["registry.example.org/shop/mobile:v1".to_owned()];
            nearest_image(&typed.parse().unwrap(), &running).map(|image| image.to_string())
        };
        for tag in ["v2", "1.4.2", "2026-11-30", "latest"] {
            assert_eq!(near(tag), Some(format!("registry.example.org/shop/mobile:{tag}")));
        }
        for image in ["nginx", "redis:7", "shop/mobile2", "r.io:5000/v2"] {
            assert_eq!(near(image), None, "{image}");
        }
        assert_eq!(nearest_image(&"v2".parse().unwrap(), &["v2:v1".to_owned()]), None);
    }
}
