//! The time of a container's first healthcheck, and whether its successor keeps it.

use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ImageInspect};

use super::{ApiVersion, Dialect, defaults};
use crate::adapters::docker::inspect::SeenImage;
use crate::model::millis::YEAR;
use crate::observation::{Healthcheck, START_INTERVAL};

/// Docker's interval if neither the container nor its image sets one.
const INTERVAL: Duration = Duration::from_secs(30);

/// The first API version in which an engine checks more often during the start period. Earlier engines run no check
/// until the interval has passed once, regardless of the start period.
const ASKS_AT_THE_START: ApiVersion = (1, 44);

/// Returns the healthcheck of a container, if it has one.
pub(in crate::adapters::docker) fn healthcheck(
    inspect: &ContainerInspectResponse,
    image: &SeenImage,
    dialect: Dialect,
) -> Option<Healthcheck> {
    let check = inspect.config.as_ref()?.healthcheck.as_ref()?;
    let command = check.test.iter().flatten().next()?;
    if command == "NONE" {
        return None;
    }
    let asks_at_the_start = dialect.api >= ASKS_AT_THE_START && length(check.start_period).is_some();
    let first_check = if dialect.is_podman {
        // Podman runs the check from a systemd timer, which the inspection does not show.
        Duration::ZERO
    } else if asks_at_the_start {
        length(check.start_interval).unwrap_or(START_INTERVAL)
    } else {
        length(check.interval).unwrap_or(INTERVAL)
    };
    let of_image = |image: &ImageInspect| image.config.as_ref()?.healthcheck.clone();
    let of_image = match image {
        SeenImage::Known(image) => of_image(image),
        // In this case all of it is carried over.
        SeenImage::Gone => None,
        SeenImage::Unreadable => Some(check.clone()),
    };
    let own = defaults::healthcheck(check.clone(), of_image.as_ref()).unwrap_or_default();
    // A start period in the new image would make the first check earlier.
    let keeps_start = dialect.api < ASKS_AT_THE_START || length(own.start_period).is_some();
    let is_given = own.test.is_some() && length(own.interval).is_some() && keeps_start;
    Some(Healthcheck { first_check: first_check.min(YEAR), is_given })
}

/// Converts a duration from the engine. A missing value and zero both mean that it was not set.
fn length(nanoseconds: Option<i64>) -> Option<Duration> {
    let nanoseconds = nanoseconds.and_then(|it| u64::try_from(it).ok()).filter(|it| *it > 0);
    nanoseconds.map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, HealthConfig, ImageConfig};

    use super::*;

    const OLD: Dialect = Dialect { api: (1, 41), is_podman: false };
    const NEW: Dialect = Dialect { api: (1, 51), is_podman: false };

    /// A healthcheck with this interval, start period and start interval, in seconds.
    fn check(test: &str, interval: i64, start_period: i64, start_interval: i64) -> HealthConfig {
        let length = |seconds: i64| (seconds > 0).then_some(seconds * 1_000_000_000);
        HealthConfig {
            test: Some(vec!["CMD-SHELL".to_owned(), test.to_owned()]),
            interval: length(interval),
            start_period: length(start_period),
            start_interval: length(start_interval),
            ..HealthConfig::default()
        }
    }

    /// Returns the time of the first check in seconds, and whether it stays the same with another image.
    fn seen(check: HealthConfig, of_image: Option<HealthConfig>, dialect: Dialect) -> Option<(u64, bool)> {
        let config = ContainerConfig { healthcheck: Some(check), ..ContainerConfig::default() };
        let inspect =
            ContainerInspectResponse { config: Some(config), ..ContainerInspectResponse::default() };
        let config = ImageConfig { healthcheck: of_image, ..ImageConfig::default() };
        let image = ImageInspect { config: Some(config), ..ImageInspect::default() };
        let found = healthcheck(&inspect, &SeenImage::Known(Box::new(image)), dialect)?;
        Some((found.first_check.as_secs(), found.is_given))
    }

    #[test]
    fn the_first_check_runs_after_the_interval_or_within_the_start_period() {
        for (check, old, new) in [
            (check("ok", 90, 0, 0), 90, 90),
            (check("ok", 0, 0, 0), 30, 30),
            (check("ok", 90, 20, 0), 90, 5),
            (check("ok", 90, 20, 2), 90, 2),
            (check("ok", 90, 0, 2), 90, 90),
        ] {
            assert_eq!(seen(check.clone(), None, OLD).map(|it| it.0), Some(old), "{check:?}");
            assert_eq!(seen(check.clone(), None, NEW).map(|it| it.0), Some(new), "{check:?}");
        }
    }

    #[test]
    fn settings_from_the_image_change_with_the_image() {
        let own = check("own", 90, 0, 0);
        assert_eq!(seen(own.clone(), None, OLD), Some((90, true)));
        assert_eq!(
            seen(own.clone(), None, NEW),
            Some((90, false)),
            "the next image may bring a start period"
        );
        assert_eq!(seen(own.clone(), Some(own.clone()), NEW), Some((90, false)));
        let slower = check("own", 40, 0, 0);
        assert_eq!(seen(own.clone(), Some(slower), NEW), Some((90, false)), "the test is the image's");
        let other = check("built in", 40, 0, 0);
        assert_eq!(seen(own.clone(), Some(other.clone()), OLD), Some((90, true)));
        assert_eq!(seen(own, Some(other.clone()), NEW), Some((90, false)), "a start period would change it");
        assert_eq!(seen(check("own", 90, 9, 0), Some(other), NEW), Some((5, true)));
        assert_eq!(seen(check("own", 0, 0, 0), None, NEW), Some((30, false)), "the image may choose");
    }

    #[test]
    fn disabled_checks_and_unknown_times_are_handled() {
        let off = HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() };
        assert_eq!(seen(off, None, NEW), None);
        assert_eq!(seen(HealthConfig::default(), None, NEW), None);
        let podman = Dialect { is_podman: true, ..OLD };
        assert_eq!(seen(check("ok", 90, 0, 0), None, podman), Some((0, true)));
        let unending = seen(check("ok", 9_000_000_000, 0, 0), None, NEW);
        assert_eq!(unending, Some((YEAR.as_secs(), false)), "a stored value can be read again");
    }
}
