//! Containers that a run created beside others and did not remove.

use super::{DoctorFinding, FindingKind, RunRecords};
use crate::model::command_line::shell;
use crate::model::ids::RunId;
use crate::observation::Container;

/// Returns the finding for such a container of a run that is over or unknown here. `users` is what reaches it in
/// `HAProxy`.
pub(super) fn left_over(
    container: &Container,
    run: &RunId,
    runs: &RunRecords,
    users: &[String],
) -> DoctorFinding {
    let is_over = runs.over.contains(run) || runs.open.iter().any(|it| it.run == *run);
    let remove = shell(&["docker", "rm", "-fv", &container.name]);
    DoctorFinding {
        kind: FindingKind::LeftOver,
        what: format!(
            "the container {} was created beside another one by a run that {}, and {}",
            container.name,
            if is_over { "is over" } else { "is not in this state directory" },
            if container.state.is_idle() { "does not run" } else { "still runs" }
        ),
        fix: if !users.is_empty() {
            format!(
                "keep it: HAProxy sends requests to it for {}; take that out of service first",
                users.join(", ")
            )
        } else if is_over {
            remove
        } else {
            format!("{remove}, if no other drainswap installation uses it")
        },
        left_over: None,
    }
}

#[cfg(test)]
mod tests {
    use crate::app::doctor::findings::{RunRecords, examine};
    use crate::model::command_line::CommandLine;
    use crate::model::ids::RunId;
    use crate::observation::SurgeLabel;
    use crate::testing::World;

    #[test]
    fn a_container_that_ran_beside_others_is_found_and_removed_with_its_volumes() {
        let run = RunId("20261123T221500.000Z".to_owned());
        let runs = RunRecords { over: [run.clone()].into(), ..RunRecords::default() };
        let world = World::pair().another("mobile-app1", "mobile-surge1", |it| {
            it.published[0].port = 50002;
            it.surge = SurgeLabel::Of(run.clone());
        });
        let found = |world: &World, runs: &RunRecords| {
            let World { configuration, observation, .. } = world;
            let typed = CommandLine::default();
            let found = examine(configuration, &None, observation, &world.topology(), runs, &typed);
            let surge = found.into_iter().find(|it| it.what.contains("mobile-surge1 was created"));
            surge.map(|it| (it.what, it.fix)).unwrap_or_default()
        };
        let (what, fix) = found(&world, &runs);
        assert!(what.ends_with("beside another one by a run that is over, and still runs"), "{what}");
        assert_eq!(fix, "docker rm -fv mobile-surge1");
        let (what, fix) = found(&world, &RunRecords::default());
        assert!(what.contains("not in this state directory") && fix.contains("no other drainswap"), "{fix}");
        let (_, fix) = found(&world.unlisted("mobile/surge1", "127.0.0.1:50002"), &runs);
        assert!(fix.starts_with("keep it: "), "{fix}");
    }
}
