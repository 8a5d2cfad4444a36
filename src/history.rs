//! What earlier runs left, and so what a rollback returns to.

use std::collections::BTreeMap;

use crate::ids::ServerId;
use crate::image::Image;
use crate::journal::Run;
use crate::outcome::Outcome;
use crate::plan::{Plan, Purpose};

/// What ran before the last deploy that has not been rolled back; `None` where there is no such deploy.
///
/// Deploys are a stack: one that replaced anything is put on it, however it ended, and a rollback that came to
/// its end takes the topmost off. A server whose container was gone goes back to what its sibling ran.
#[must_use]
pub fn before<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Option<BTreeMap<ServerId, Image>> {
    let mut deploys: Vec<&Plan> = Vec::new();
    for run in runs {
        let Some(outcome) = &run.outcome else { continue };
        match run.plan.purpose {
            Purpose::Deploy if outcome.left_new() => deploys.push(&run.plan),
            Purpose::Rollback if matches!(outcome, Outcome::Deployed { .. }) => {
                deploys.pop();
            }
            Purpose::Deploy | Purpose::Rollback => {}
        }
    }
    let replaced = deploys.pop()?.lanes.iter().filter_map(|lane| Some((lane, lane.replacement.as_ref()?)));
    let images = replaced.flat_map(|(lane, replacement)| {
        let image = replacement.like.running_image();
        lane.ids().into_iter().map(move |id| (id, image.clone()))
    });
    Some(images.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn run(image: &str, purpose: Purpose, outcome: impl Into<Option<Outcome>>) -> Run {
        let plan = Plan { purpose, ..World::pair().plan(image).unwrap() };
        Run { plan, pid: 7, begun: BTreeMap::new(), created: BTreeMap::new(), outcome: outcome.into() }
    }

    fn deployed() -> Outcome {
        Outcome::Deployed { replaced: 2, put_back: 0 }
    }

    /// How often one can go back.
    fn depth(runs: &[Run]) -> usize {
        let mut runs = runs.to_vec();
        let mut depth = 0;
        while before(&runs).is_some() {
            runs.push(run("v2", Purpose::Rollback, deployed()));
            depth += 1;
        }
        depth
    }

    #[test]
    fn only_what_replaced_something_can_be_taken_back() {
        let app1 = || vec![ServerId::new("mobile", "app1")];
        let kept = |kept| Some(Outcome::RolledBack { reason: String::new(), kept, left_out: vec![] });
        let cancelled = |replaced| Some(Outcome::Cancelled { replaced, remaining: vec![] });
        for (outcome, expected) in [
            (Some(deployed()), 1),
            (Some(Outcome::Deployed { replaced: 0, put_back: 1 }), 0),
            (Some(Outcome::Unchanged), 0),
            (Some(Outcome::Refused { reason: String::new() }), 0),
            (cancelled(vec![]), 0),
            (cancelled(app1()), 1),
            (kept(vec![]), 0),
            (kept(app1()), 1),
            (None, 0),
        ] {
            let runs = [run("v2", Purpose::Deploy, outcome.clone())];
            assert_eq!(depth(&runs), expected, "{outcome:?}");
        }
    }

    #[test]
    fn a_rollback_that_was_given_up_takes_nothing_off() {
        let cancelled =
            Outcome::Cancelled { replaced: vec![ServerId::new("mobile", "app1")], remaining: vec![] };
        let runs = [
            run("v2", Purpose::Deploy, deployed()),
            run("v3", Purpose::Deploy, deployed()),
            run("v2", Purpose::Rollback, cancelled),
        ];
        assert_eq!(depth(&runs), 2);
    }
}
