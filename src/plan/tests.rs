use std::fmt::Write;

use insta::assert_snapshot;
use serde_json::Value;

use super::*;
use crate::model::hook::HookPoint;
use crate::model::ids::ContainerId;
use crate::observation::AdminState;
use crate::observation::Container;
use crate::observation::ContainerChange;
use crate::observation::ContainerState;
use crate::service::create_spec::SpecSource;
use crate::testing::World;
use crate::topology::matching::ContainerRole;
use std::fmt;

const STEPS: [Step; 16] = [
    Step::Create,
    Step::Verify,
    Step::Drain,
    Step::AwaitIdle,
    Step::Maint,
    Step::Settle,
    Step::Stop,
    Step::Start,
    Step::Prove,
    Step::Ready,
    Step::Confirm,
    Step::Remove,
    Step::Discard,
    Step::Return,
    Step::ProveOld,
    Step::PutBack,
];

const MOMENTS: [HookPoint; 6] = [
    HookPoint::BeforeRun,
    HookPoint::BeforeDrain,
    HookPoint::AfterDrain,
    HookPoint::BeforeEnable,
    HookPoint::AfterEnable,
    HookPoint::AfterRun,
];

/// Returns a plan with a line of every kind: unchanged servers, notes, hooks, engines, changes, kept and removed
/// containers, and every step, including those of an undo.
fn with_everything() -> Plan {
    let kept = |name: &str, run: &str| ContainerRole::Previous.name(name, &run.into());
    let mut world = World::origin()
        .runs("mobile-app2", "v2")
        .server("mobile/app1b", |server| server.sessions = 0)
        .another("mobile-app1", &kept("mobile-app1", "20261101T000000.000000Z"), |it| {
            it.state = ContainerState::Stopped;
        });
    world.policy.keep = 1;
    world.policy.on_drain_timeout = OnDrainTimeout::Force;
    let mut plan = world.plan("v2").unwrap();
    plan.goal.hooks = MOMENTS.to_vec();
    let first = plan.lanes[0].replacement.as_mut().unwrap();
    first.changes = Some(vec![ContainerChange::Hidden { field: "command".into() }]);
    first.like.engine = "web-a".to_owned();
    plan.lanes[0].steps = STEPS.to_vec();
    plan.lanes[1].replacement.as_mut().unwrap().described = true;
    plan
}

#[test]
fn a_plan_with_everything_in_it() {
    assert_snapshot!(with_everything().to_string());
}

/// A writer with room for a limited number of bytes.
struct Paper(usize);

impl Write for Paper {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

#[test]
fn every_write_error_is_returned_when_a_plan_is_printed() {
    let mut stop = with_everything();
    stop.goal.policy.on_failure = OnFailure::Stop;
    let put_back = World::pair().maint("mobile/app1").runs("mobile-app1", "v2").runs("mobile-app1b", "v2");
    let nothing = World::pair().runs("mobile-app1", "v2").runs("mobile-app1b", "v2");
    for plan in [with_everything(), stop, put_back.plan("v2").unwrap(), nothing.plan("v2").unwrap()] {
        let length = plan.to_string().len();
        assert!(write!(Paper(length), "{plan}").is_ok());
        for room in 0..length {
            assert!(write!(Paper(room), "{plan}").is_err(), "{room} of {length}");
        }
    }
}

#[test]
fn the_policy_is_part_of_the_printed_plan() {
    let mut plan = World::pair().plan("v2").unwrap();
    let mut said = |change: fn(&mut Plan), text: &str| {
        change(&mut plan);
        assert!(plan.to_string().contains(text), "{text:?} is missing in\n{plan}");
    };
    said(|plan| plan.goal.policy.floor = 2, "at least 2 servers serve without it");
    said(|plan| plan.goal.policy.rise = 3, "3 times in a row, 60 s at most");
    said(
        |plan| plan.goal.policy.on_drain_timeout = OnDrainTimeout::Maint,
        "after 300 s set to maint and wait the same time again",
    );
    said(
        |plan| plan.goal.policy.on_drain_timeout = OnDrainTimeout::Shutdown,
        "after 300 s set to maint and shut down the rest",
    );
    said(|plan| plan.goal.policy.keep = 1, "  keep       mobile-app1.old-");
    let returns = |plan: &mut Plan| {
        let replacement = plan.lanes[0].replacement.as_mut().unwrap();
        let name = "mobile-app1.old-20261101T000000.000000Z".to_owned();
        replacement.returning = Some(Container { name, ..replacement.like.clone() });
    };
    said(returns, "mobile-app1.old-20261101T000000.000000Z, as mobile-app1 again");
}

#[test]
fn every_cause_has_a_text() {
    let causes = [
        Cause::OtherImage { runs: crate::testing::image("v1") },
        Cause::NotServing { why: "connection refused".to_owned() },
        Cause::ContainerGone { like: "mobile-app2".to_owned() },
        Cause::NotYetThere,
        Cause::Drifted,
        Cause::Superseded,
        Cause::OutOfService { left_in: AdminState::Drain },
    ];
    assert_snapshot!(causes.map(|cause| cause.to_string()).join("\n"), @"
    runs registry.example.org/mobile:v1 (111111111111)
    does not serve: connection refused
    its container is gone; a new one gets the settings of mobile-app2
    has no container yet; drainswap.toml describes one
    differs from its description in drainswap.toml
    the previous container comes back
    runs the wanted image, but was left in drain
    ");
}

#[test]
fn a_kept_container_counts_until_it_is_removed_renamed_or_started() {
    let mut container = World::pair().observation.containers[0].clone();
    container.state = ContainerState::Stopped;
    let returned = |container: &Container| RollbackTarget {
        image: crate::testing::image("v1"),
        container: Some(container.clone()),
        engine: String::new(),
    };
    let is_kept = |now: Container| returned(&container).kept_among(&[now]).is_some();
    assert!(is_kept(container.clone()));
    let unknown = RollbackTarget { container: None, ..returned(&container) };
    assert!(unknown.kept_among(&[container.clone()]).is_none());
    assert!(!is_kept(Container { id: ContainerId("f".repeat(64)), ..container.clone() }), "removed");
    assert!(!is_kept(Container { name: "mine".to_owned(), ..container.clone() }), "renamed");
    assert!(!is_kept(Container { state: ContainerState::Running, ..container.clone() }), "started");
}

#[test]
fn a_container_is_created_as_it_is_described_or_like_the_one_before() {
    let mut plan = World::pair().plan("v2").unwrap();
    let mut replacement = plan.lanes.remove(0).replacement.unwrap();
    let platform = "linux/arm64".parse().ok();
    let wanted = crate::service::Container { platform, ..Default::default() };
    let like = replacement.create_spec(&plan.run, Some(&wanted));
    assert_eq!(like.model, SpecSource::CopyOf(replacement.like.id.clone()));
    assert_eq!(like.platform, wanted.platform, "a rollback runs there too");
    replacement.described = true;
    let instead_of = replacement.old.as_ref().map(|old| old.id.clone());
    let described = replacement.create_spec(&plan.run, Some(&wanted));
    assert_eq!(described.model, SpecSource::Described { wanted: Box::new(wanted.clone()), instead_of });
    assert_eq!(described.name, "mobile-app1.new-20261123T221500.000000Z");
    replacement.old = None;
    let first = replacement.create_spec(&plan.run, Some(&wanted));
    assert_eq!(first.model, SpecSource::Described { wanted: Box::new(wanted), instead_of: None });
}

/// Journals of earlier versions hold plans without the fields that were added later.
#[test]
fn fields_that_earlier_plans_lack_have_defaults() {
    let mut stored = serde_json::to_value(World::pair().plan("v2").unwrap()).unwrap();
    let mut without = |pointer: &str, keys: &[&str]| {
        let table = stored.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap();
        for key in keys {
            assert!(table.remove(*key).is_some(), "{pointer} has no {key}");
        }
    };
    without("", &["takes_back", "continues", "hooks", "target"]);
    without("/policy", &["rise", "probe", "keep"]);
    without("/lanes/0/servers/0", &["also", "sessions"]);
    without("/lanes/0/replacement", &["described", "returning", "changes", "outdated"]);
    let plan: Plan = serde_json::from_value(stored).unwrap();
    assert_eq!((plan.goal.policy.rise, plan.goal.policy.keep, plan.goal.continues.is_none()), (1, 0, true));
    assert_eq!(plan.first_run(), &plan.run);
    assert_eq!((&plan.goal.target, plan.goal.parallel), (&Target::Unknown, 1));
    let replacement = plan.lanes[0].replacement.as_ref().unwrap();
    assert!(!replacement.keeps_all(0) && replacement.keeps_all(1));
}

#[test]
fn a_duration_beyond_a_year_is_refused() {
    let mut stored = serde_json::to_value(World::pair().plan("v2").unwrap()).unwrap();
    stored["policy"]["drain_timeout_ms"] = u64::MAX.into();
    let error = serde_json::from_value::<Plan>(stored).unwrap_err();
    assert_eq!(error.to_string(), "invalid duration: expected at most one year");
}

/// Programs read these keys, and earlier versions of drainswap do.
#[test]
fn the_goal_is_stored_beside_the_rest_of_the_plan() {
    let mut plan = with_everything();
    plan.goal.parallel = 2;
    plan.goal.continues = Some(plan.run.clone());
    plan.goal.approved = Some(Approved { run: plan.run.clone(), at: plan.at });
    let stored = serde_json::to_value(&plan).unwrap();
    let keys = ["backend", "purpose", "takes_back", "continues", "approved", "policy", "hooks", "images"];
    for key in keys {
        assert!(!stored[key].is_null(), "{key}");
    }
    assert_eq!((&stored["purpose"], &stored["policy"]["floor"]), (&"deploy".into(), &1.into()));
    assert_eq!(serde_json::from_value::<Plan>(stored).unwrap(), plan);
    let returned = World::pair().plan_rollback(&[("mobile/app1", "v0")]).unwrap();
    let stored = serde_json::to_value(&returned).unwrap();
    assert_eq!(stored["target"]["each"]["mobile/app1"]["engine"], "");
    assert_eq!(serde_json::from_value::<Plan>(stored).unwrap(), returned);
}

/// An earlier drainswap wrote this plan. What an earlier version wrote always loads.
#[test]
fn a_plan_of_version_1_loads() {
    let plan: Plan =
        serde_json::from_str(include_str!("../../fixtures/journal/plan-version-1.json")).unwrap();
    assert_eq!((plan.goal.backend.as_str(), plan.lanes.len()), ("mobile", 4));
}
