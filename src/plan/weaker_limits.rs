//! Compares policies to find settings that permit more than others.

use super::drift::differences;
use super::surge::SurgeSetting;
use super::{LbQuorum, OnDrainTimeout, OnFailure, Policy};

/// Returns where a policy is laxer than the settings: the name, the policy's value and the settings' value. A longer
/// wait is not laxer.
#[must_use]
pub fn weaker_limits(policy: &Policy, settings: &Policy) -> Vec<(String, String, String)> {
    let Policy {
        floor,
        drain_timeout,
        on_drain_timeout,
        shutdown_over,
        lb_quorum,
        headroom,
        ready_timeout: _,
        rise,
        probe,
        on_failure,
        keep,
        renew_anon_volumes,
        silence_check,
        surge,
        surge_shares_volumes,
        scope,
    } = policy;
    let cuts = !matches!(on_drain_timeout, OnDrainTimeout::Fail);
    let laxer = [
        ("floor", *floor < settings.floor),
        ("drain_timeout_ms", cuts && *drain_timeout < settings.drain_timeout),
        ("on_drain_timeout", harm(*on_drain_timeout) > harm(settings.on_drain_timeout)),
        ("shutdown_over_ms", cuts && *shutdown_over < settings.shutdown_over),
        ("lb_quorum", *lb_quorum == LbQuorum::Reachable && settings.lb_quorum == LbQuorum::All),
        ("headroom", *headroom < settings.headroom),
        ("rise", *rise < settings.rise),
        ("probe", settings.probe.is_some() && *probe != settings.probe),
        ("on_failure", *on_failure == OnFailure::Stop && settings.on_failure == OnFailure::Rollback),
        ("keep", *keep < settings.keep),
        ("renew_anon_volumes", *renew_anon_volumes && !settings.renew_anon_volumes),
        ("silence_check", silence_check.leaves_out_more_than(&settings.silence_check)),
        ("surge", *surge != SurgeSetting::Never && settings.surge == SurgeSetting::Never),
        ("surge_shares_volumes", *surge_shares_volumes && !settings.surge_shares_volumes),
        ("scope", scope.does_more_than(&settings.scope)),
    ];
    let is_laxer = |name: &str| laxer.contains(&(name, true));
    differences(policy, settings).into_iter().filter(|(name, ..)| is_laxer(name)).collect()
}

/// Ranks how much a choice harms the remaining sessions.
fn harm(what: OnDrainTimeout) -> u8 {
    match what {
        OnDrainTimeout::Fail => 0,
        OnDrainTimeout::Maint => 1,
        OnDrainTimeout::Shutdown => 2,
        OnDrainTimeout::Force => 3,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::silence_check::SilenceCheck;
    use crate::testing::World;

    fn named(change: impl FnOnce(&mut Policy)) -> Vec<String> {
        let mut settings = World::pair().policy;
        (settings.floor, settings.keep, settings.rise) = (2, 1, 3);
        settings.probe = "/deep".parse().ok();
        let mut policy = settings.clone();
        change(&mut policy);
        weaker_limits(&policy, &settings).into_iter().map(|(name, ..)| name).collect()
    }

    #[test]
    fn only_laxer_settings_are_named() {
        assert_eq!(named(|_| ()), [""; 0]);
        assert_eq!(named(|policy| policy.floor = 0), ["floor"]);
        assert_eq!(named(|policy| policy.floor = 3), [""; 0]);
        assert_eq!(named(|policy| policy.drain_timeout = Duration::from_secs(1)), [""; 0]);
        let cut = |policy: &mut Policy| {
            policy.on_drain_timeout = OnDrainTimeout::Shutdown;
            policy.drain_timeout = Duration::from_secs(1);
            policy.shutdown_over = Duration::ZERO;
        };
        assert_eq!(named(cut), ["drain_timeout_ms", "on_drain_timeout", "shutdown_over_ms"]);
        assert_eq!(named(|policy| policy.probe = None), ["probe"]);
        let unchecked = |policy: &mut Policy| policy.silence_check = SilenceCheck::Everywhere(false);
        assert_eq!(named(unchecked), ["silence_check"]);
        assert_eq!(named(|policy| policy.scope.enable = true), ["scope"]);
        assert_eq!(named(|policy| policy.renew_anon_volumes = true), ["renew_anon_volumes"]);
        assert_eq!(named(|policy| policy.surge = SurgeSetting::Never), [""; 0]);
        assert_eq!(named(|policy| policy.surge_shares_volumes = true), ["surge_shares_volumes"]);
        assert_eq!(named(|policy| policy.scope.no_create = true), [""; 0]);
        let more = |policy: &mut Policy| {
            (policy.keep, policy.rise, policy.ready_timeout) = (0, 1, Duration::from_secs(9000));
            (policy.lb_quorum, policy.on_failure) = (LbQuorum::Reachable, OnFailure::Stop);
        };
        assert_eq!(named(more), ["keep", "lb_quorum", "on_failure", "rise"]);
    }

    #[test]
    fn a_choice_that_ends_more_sessions_is_laxer() {
        use OnDrainTimeout::{Fail, Force, Maint, Shutdown};
        let ranked = [Fail, Maint, Shutdown, Force];
        for (index, settings) in ranked.into_iter().enumerate() {
            let settings = Policy { on_drain_timeout: settings, ..Policy::default() };
            for (other, on_drain_timeout) in ranked.into_iter().enumerate() {
                let policy = Policy { on_drain_timeout, ..Policy::default() };
                let is_laxer = !weaker_limits(&policy, &settings).is_empty();
                assert_eq!(is_laxer, other > index, "{on_drain_timeout:?} {:?}", settings.on_drain_timeout);
            }
        }
    }
}
