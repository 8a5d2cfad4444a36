//! When a container's healthcheck is asked first, and whether its successor has the same.

use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ImageInspect};

use super::{ApiVersion, Dialect, defaults};
use crate::adapters::docker::look::SeenImage;
use crate::millis::YEAR;
use crate::observation::{Healthcheck, START_INTERVAL};

/// What Docker takes where neither the container nor its image says how often it asks.
const INTERVAL: Duration = Duration::from_secs(30);

/// The API from which on a container is asked more often within its start period. An engine before it asks nothing until
/// the interval has passed once, whatever the start period.
const ASKS_AT_THE_START: ApiVersion = (1, 44);

/// The healthcheck of a container, if it has one.
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
        // It asks by a timer of systemd's, of which the inspection says nothing.
        Duration::ZERO
    } else if asks_at_the_start {
        length(check.start_interval).unwrap_or(START_INTERVAL)
    } else {
        length(check.interval).unwrap_or(INTERVAL)
    };
    let of_image = |image: &ImageInspect| image.config.as_ref()?.healthcheck.clone();
    let of_image = match image {
        SeenImage::Known(image) => of_image(image),
        // All of it is carried over then.
        SeenImage::Gone => None,
        SeenImage::Unreadable => Some(check.clone()),
    };
    let own = defaults::healthcheck(check.clone(), of_image.as_ref()).unwrap_or_default();
    // A start period of the new image's would have it asked sooner.
    let keeps_start = dialect.api < ASKS_AT_THE_START || length(own.start_period).is_some();
    let is_given = own.test.is_some() && length(own.interval).is_some() && keeps_start;
    Some(Healthcheck { first_check: first_check.min(YEAR), is_given })
}

/// A length of time as the engine has it: none, and nothing at all, mean that it was not chosen.
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

    /// A healthcheck with these seconds between two runs, of the start period, and between two runs in that.
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

    /// When the engine asks first, in seconds, and whether that stays with another image.
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
    fn an_engine_asks_first_after_its_interval_or_within_the_start_period() {
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
    fn what_the_image_says_of_it_goes_with_the_image() {
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
    fn what_is_not_asked_or_never_or_at_times_that_are_not_known() {
        let off = HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() };
        assert_eq!(seen(off, None, NEW), None);
        assert_eq!(seen(HealthConfig::default(), None, NEW), None);
        let podman = Dialect { is_podman: true, ..OLD };
        assert_eq!(seen(check("ok", 90, 0, 0), None, podman), Some((0, true)));
        let unending = seen(check("ok", 9_000_000_000, 0, 0), None, NEW);
        assert_eq!(unending, Some((YEAR.as_secs(), false)), "what is stored can be read again");
    }
}
