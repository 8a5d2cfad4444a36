//! Docker's own healthcheck of the new container, which must be healthy before it goes into service.

use std::time::Duration;

use super::runs;
use crate::observation::{Container, Described, Health, Healthcheck};
use crate::plan::Replacement;
use crate::plan::refusal::Refusal;
use crate::plan::text::seconds;
use crate::topology::Server;

/// The healthcheck of the new container, as it is known before the container exists.
struct NewHealthcheck<'a> {
    /// The container that is known to have it.
    of: &'a Container,
    check: Healthcheck,
    /// Whether no image can change it.
    is_certain: bool,
}

impl NewHealthcheck<'_> {
    /// Returns whether Docker runs it too late for any container to be healthy within `ready_timeout`.
    fn is_late(&self, ready_timeout: Duration) -> bool {
        self.check.first_check >= ready_timeout
    }
}

fn coming<'a>(replacement: &'a Replacement, described: Option<&Described>) -> Option<NewHealthcheck<'a>> {
    if let Some(kept) = &replacement.returning {
        return Some(NewHealthcheck { of: kept, check: kept.healthcheck?, is_certain: true });
    }
    let of = &replacement.like;
    if replacement.described {
        // The engine is unknown here, and Podman runs the first check at once.
        return Some(NewHealthcheck { of, check: described?.healthcheck?, is_certain: false });
    }
    let check = of.healthcheck?;
    let is_certain = check.is_given || replacement.image.is_run_by(&of.image, &of.repo_digests);
    Some(NewHealthcheck { of, check, is_certain })
}

/// Returns a refusal if the new container of these servers certainly would not be healthy in time.
pub(super) fn refusal(
    replacement: &Replacement,
    servers: &[&Server],
    described: Option<&Described>,
    ready_timeout: Duration,
) -> Option<Refusal> {
    let coming = coming(replacement, described)?;
    (coming.is_certain && coming.is_late(ready_timeout)).then(|| Refusal::HealthyTooLate {
        server: servers[0].id.clone(),
        container: replacement.name.clone(),
        first_check: coming.check.first_check,
        ready_timeout,
    })
}

/// Returns the warnings about the healthcheck.
pub(super) fn warnings(
    replacement: &Replacement,
    answers: bool,
    described: Option<&Described>,
    ready_timeout: Duration,
) -> Vec<String> {
    let Some(coming) = coming(replacement, described) else { return Vec::new() };
    let unless = if coming.is_certain { "" } else { ", unless its image has another healthcheck or none" };
    let mut warnings = Vec::new();
    if !coming.is_certain && coming.is_late(ready_timeout) {
        warnings.push(format!(
            "Docker first runs the healthcheck of {} {} after a start, and --ready-timeout is {}: the new container will fail{unless}",
            coming.of.name,
            seconds(coming.check.first_check),
            seconds(ready_timeout)
        ));
    }
    // The new container may fix one that does not answer either.
    let is_unhealthy = |old: &&Container| runs(old) && old.health == Some(Health::Unhealthy) && answers;
    if let Some(old) = replacement.old.as_ref().filter(is_unhealthy) {
        warnings.push(format!(
            "{} answers, but Docker reports it as unhealthy: the new container must be healthy and will fail if that healthcheck fails again{unless}",
            old.name
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    /// Returns a pair whose first container has a healthcheck with its first check after this time.
    fn checked(seconds: u64, is_given: bool, health: Health) -> World {
        let first_check = Duration::from_secs(seconds);
        World::pair().container("mobile-app1", |it| {
            (it.health, it.healthcheck) = (Some(health), Some(Healthcheck { first_check, is_given }));
        })
    }

    /// Returns the warnings of a deploy of v2, or its refusal.
    fn said(world: &World) -> String {
        match world.plan("v2") {
            Ok(plan) => plan.warnings.join("\n"),
            Err(refusals) => format!("refused: {}", refusals[0]),
        }
    }

    const LATE: &str = "Docker first runs the healthcheck of mobile-app1 90 s after a start, and --ready-timeout is 60 s: the new container will fail, unless its image has another healthcheck or none";
    const TOO_LATE: &str = "refused: Docker first runs the healthcheck of mobile-app1 behind mobile/app1 90 s after a start, but a new container must be healthy within 60 s (--ready-timeout), so it would fail. Use a longer --ready-timeout, or give the container a shorter interval (--health-interval) or, from Docker 25 on, a start period (--health-start-period)";

    #[test]
    fn a_healthcheck_that_runs_too_late_is_reported_before_anything_is_touched() {
        assert_eq!(said(&checked(59, true, Health::Healthy)), "");
        assert_eq!(said(&checked(90, false, Health::Healthy)), LATE);
        assert_eq!(said(&checked(90, true, Health::Starting)), TOO_LATE);
        assert!(
            said(&checked(60, true, Health::Healthy)).starts_with("refused"),
            "the check itself takes time"
        );
        let mut patient = checked(90, true, Health::Healthy);
        patient.policy.ready_timeout = Duration::from_secs(120);
        assert_eq!(said(&patient), "");
        // The image stays the same, and so does its healthcheck.
        let again = checked(90, false, Health::Healthy).runs("mobile-app1", "v2").runs("mobile-app1b", "v2");
        assert_eq!(said(&again), "", "nothing is replaced");
        assert_eq!(said(&again.silent("mobile/app1")), TOO_LATE);
    }

    #[test]
    fn an_old_container_that_is_unhealthy_and_answers_is_named() {
        let unhealthy = "mobile-app1 answers, but Docker reports it as unhealthy: the new container must be healthy and will fail if that healthcheck fails again";
        assert_eq!(said(&checked(30, true, Health::Unhealthy)), unhealthy);
        let by_image = format!("{unhealthy}, unless its image has another healthcheck or none");
        assert_eq!(said(&checked(30, false, Health::Unhealthy)), by_image);
        assert_eq!(said(&checked(30, true, Health::Starting)), "");
        let silent = said(&checked(30, true, Health::Unhealthy).silent("mobile/app1"));
        assert!(!silent.contains("Docker reports"), "the new one may fix it: {silent}");
    }

    #[test]
    fn the_description_decides_for_a_described_container() {
        let described = |check: Option<(u64, bool)>| {
            let mut world = checked(90, true, Health::Healthy);
            let healthcheck = check.map(|(seconds, is_given)| Healthcheck {
                first_check: Duration::from_secs(seconds),
                is_given,
            });
            let described = Described { port: 8080, healthcheck, ..Described::default() };
            world.observation.described.insert("mobile".to_owned(), described);
            said(&world)
        };
        assert_eq!(described(None), "");
        assert_eq!(described(Some((30, true))), "");
        for is_given in [true, false] {
            assert!(described(Some((90, is_given))).starts_with(LATE), "{is_given}");
        }
    }

    #[test]
    fn an_unhealthy_container_that_does_not_run_is_not_named() {
        let stopped = said(&checked(30, true, Health::Unhealthy).stopped("mobile-app1"));
        assert!(!stopped.contains("Docker reports"), "{stopped}");
    }
}
