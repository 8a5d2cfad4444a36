//! Decides what is kept for a rollback, and what no rollback needs any more.

use crate::model::image::Image;
use crate::observation::{Container, Published, UnnamedVolume};
use crate::plan::Replacement;
use crate::run::history::Revision;
use crate::run::journal::Run;
use crate::topology::matching::ContainerRole;

/// Returns the containers that runs kept of the container with this name, the latest first. A running container does
/// not count as kept.
#[must_use]
pub fn kept<'a>(containers: &'a [Container], name: &str) -> Vec<&'a Container> {
    let run = |container: &'a Container| {
        let (of, run) = ContainerRole::Previous.read(&container.name)?;
        (of == name && container.state.is_idle()).then_some((run, container))
    };
    let mut kept: Vec<(&str, &Container)> = containers.iter().filter_map(run).collect();
    kept.sort_by(|(a, _), (b, _)| b.cmp(a));
    kept.into_iter().map(|(_, container)| container).collect()
}

/// Returns the kept containers of one name, the latest first, that exceed the number to keep for each place.
#[must_use]
pub fn surplus<'a>(kept: &[&'a Container], keep: usize) -> Vec<&'a Container> {
    let is_surplus = |(index, container): &(usize, &&Container)| {
        let newer = kept[..*index].iter().filter(|newer| may_share_place(container, &newer.published));
        newer.count() >= keep
    };
    kept.iter().enumerate().filter(is_surplus).map(|(_, container)| *container).collect()
}

/// Returns whether a kept container may come from the place with these published ports. An operator can swap the names
/// of two servers' containers, but each keeps its ports. Without ports on both sides only the name counts.
#[must_use]
pub fn may_share_place(kept: &Container, ports: &[Published]) -> bool {
    let is_same = |one: &Published, other: &Published| {
        let is_everywhere = one.ip.is_unspecified() || other.ip.is_unspecified();
        one.port == other.port && (one.ip == other.ip || is_everywhere)
    };
    let is_there = |it: &Published| ports.iter().any(|port| is_same(port, it));
    kept.published.is_empty() || ports.is_empty() || kept.published.iter().any(is_there)
}

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
    use crate::observation::ContainerState;
    use crate::testing::World;

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
    fn containers_of_swapped_names_do_not_displace_each_other() {
        let model = &World::pair().observation.containers[0];
        let port = |port| Published { port, ..model.published[0] };
        let kept = |name: &str, ports: &[Published]| Container {
            name: name.to_owned(),
            published: ports.to_vec(),
            ..model.clone()
        };
        let all =
            [kept("new", &[port(1)]), kept("other", &[port(2)]), kept("old", &[port(1)]), kept("any", &[])];
        let kept: Vec<&Container> = all.iter().collect();
        let names = |keep| surplus(&kept, keep).iter().map(|it| it.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names(1), ["old", "any"]);
        assert_eq!(names(2), ["any"]);
        assert_eq!(names(0), ["new", "other", "old", "any"]);
    }

    #[test]
    fn kept_containers_are_idle_and_the_latest_comes_first() {
        let mut world = World::pair();
        let model = world.observation.containers[0].clone();
        for (name, state) in [
            ("mobile-app1.old-20261123T221500.000Z", ContainerState::Stopped),
            ("mobile-app1.old-20261124T221500.000Z", ContainerState::Stopped),
            ("mobile-app1.old-20261125T221500.000Z", ContainerState::Running),
            ("mobile-app2.old-20261126T221500.000Z", ContainerState::Stopped),
            ("mobile-app1.new-20261126T221500.000Z", ContainerState::Created),
        ] {
            world.observation.containers.push(Container { name: name.to_owned(), state, ..model.clone() });
        }
        let kept = kept(&world.observation.containers, "mobile-app1");
        let runs: Vec<&str> = kept.iter().map(|it| it.name.rsplit_once('-').unwrap().1).collect();
        assert_eq!(runs, ["20261124T221500.000Z", "20261123T221500.000Z"]);
    }
}
