//! Decides what no rollback needs any more.

use crate::model::image::Image;
use crate::observation::{Container, UnnamedVolume};
use crate::plan::Replacement;
use crate::run::history::Revision;
use crate::run::journal::Run;
use crate::topology::matching::ContainerRole;

/// Returns the unnamed volumes that are removed with a kept container: those that the run which kept it has renewed
/// (`--renew-anon-volumes`), for which its successor has another volume, and which no other container uses. Any other
/// volume may hold the only copy of its data.
#[must_use]
pub fn renewed<'a>(kept: &'a Container, others: &[&Container], runs: &[&Run]) -> Vec<&'a UnnamedVolume> {
    let Some((name, run)) = ContainerRole::Previous.read(&kept.name) else { return Vec::new() };
    let has_renewed =
        |it: &Replacement| it.renew_volumes && it.old.as_ref().is_some_and(|old| old.id == kept.id);
    let mut of_run = runs.iter().filter(|it| it.plan.run.0 == run).flat_map(|it| &it.plan.lanes);
    if !of_run.any(|lane| lane.replacement.as_ref().is_some_and(has_renewed)) {
        return Vec::new();
    }
    let mut own = kept.own_volumes(others.iter().copied());
    let successor = others.iter().find(|it| it.engine == kept.engine && it.name == name);
    let targets: Vec<&str> = successor
        .iter()
        .flat_map(|it| it.unnamed_volumes.iter().flatten())
        .map(|it| it.target.as_str())
        .collect();
    own.retain(|it| targets.contains(&it.target.as_str()));
    own
}

/// Returns the images that a backend once ran, and that a rollback to one of the `keep` latest states does not need.
#[must_use]
pub fn unneeded(revisions: &[Revision], keep: usize) -> Vec<Image> {
    let (needed, older) = revisions.split_at(keep.min(revisions.len()));
    let needed = images(needed);
    let mut unneeded = images(older);
    unneeded.retain(|image| !needed.contains(image));
    unneeded
}

/// Returns the images of these states, without duplicates.
#[must_use]
pub fn images(revisions: &[Revision]) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    for returned in revisions.iter().flat_map(|revision| revision.servers.values()) {
        if !images.contains(&returned.image) {
            images.push(returned.image.clone());
        }
    }
    images
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RollbackTarget;
    use crate::testing::{World, image};

    #[test]
    fn only_renewed_volumes_are_removed_with_a_kept_container() {
        let volume = |name: &str, target: &str| UnnamedVolume {
            name: name.to_owned(),
            target: target.to_owned(),
            by_image: true,
        };
        let has = |container: &Container, name: &str, volumes: &[UnnamedVolume]| Container {
            name: name.to_owned(),
            id: crate::model::ids::ContainerId(name.to_owned()),
            unnamed_volumes: Some(volumes.to_vec()),
            ..container.clone()
        };
        let model = &World::pair().observation.containers[0];
        let kept = has(
            model,
            "mobile-app1.old-20261123T221500.000Z",
            &[volume("a", "/data"), volume("b", "/carried"), volume("c", "/alone")],
        );
        let next = has(model, "mobile-app1", &[volume("d", "/data"), volume("b", "/carried")]);
        let mut plan = World::pair().plan("v2").unwrap();
        plan.run = crate::model::ids::RunId("20261123T221500.000Z".to_owned());
        let replacement = plan.lanes[0].replacement.as_mut().unwrap();
        replacement.renew_volumes = true;
        replacement.old = Some(kept.clone());
        let run = Run::opened(plan, crate::run::journal::VERSION, None, 7);
        let names_after = |run: &Run, others: &[&Container]| -> Vec<String> {
            renewed(&kept, others, &[run]).iter().map(|it| it.name.clone()).collect()
        };
        let names = |others: &[&Container]| names_after(&run, others);
        assert_eq!(names(&[&next]), ["a"]);
        // A successor also has another volume after a rollback and a second deploy of an image with a new VOLUME.
        let mut without = run.clone();
        without.plan.lanes[0].replacement.as_mut().unwrap().renew_volumes = false;
        assert_eq!(names_after(&without, &[&next]), [""; 0], "the run has not renewed it");
        let mut another = run.clone();
        another.plan.run = crate::model::ids::RunId("20261122T221500.000Z".to_owned());
        assert_eq!(
            names_after(&another, &[&next]),
            [""; 0],
            "another run has renewed volumes, of this container too"
        );
        let lodger = has(model, "backup", &[volume("a", "/mnt")]);
        assert_eq!(names(&[&next, &lodger]), [""; 0], "another container uses it");
        assert_eq!(names(&[]), [""; 0], "it has no successor");
    }

    #[test]
    fn a_container_that_no_run_has_kept_loses_no_volume() {
        let mut world = World::pair();
        let container = &mut world.observation.containers[0];
        let volume = UnnamedVolume { name: "a".to_owned(), target: "/data".to_owned(), by_image: true };
        container.unnamed_volumes = Some(vec![volume]);
        let mut plan = World::pair().plan("v2").unwrap();
        let replacement = plan.lanes[0].replacement.as_mut().unwrap();
        replacement.renew_volumes = true;
        replacement.old = Some(container.clone());
        let run = Run::opened(plan, crate::run::journal::VERSION, None, 7);
        assert!(renewed(container, &[], &[&run]).is_empty());
    }

    #[test]
    fn an_image_that_a_rollback_needs_is_kept_even_if_an_older_state_has_it_too() {
        let state = |tags: &[(&str, &str)]| {
            let target = |tag| RollbackTarget { image: image(tag), container: None, engine: String::new() };
            let servers = tags.iter().map(|(server, tag)| (server.parse().unwrap(), target(tag))).collect();
            Revision { deployed_by: None, at: None, takes_back: Vec::new(), servers }
        };
        let states = [
            state(&[("mobile/app1", "v3"), ("mobile/app2", "v3")]),
            state(&[("mobile/app1", "v2")]),
            state(&[("mobile/app1", "v3"), ("mobile/app2", "v1")]),
        ];
        assert_eq!(images(&states), [image("v3"), image("v2"), image("v1")]);
        assert_eq!(unneeded(&states, 1), [image("v2"), image("v1")]);
        assert_eq!(unneeded(&states, 2), [image("v1")]);
        assert_eq!(unneeded(&states, 9), []);
    }
}
